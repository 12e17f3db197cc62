/** What a head of 60 KiB costs, whatever it is made of: an attacker must not get ten times the work of an honest client for the same bytes. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { backend, type RecordingBackend } from '../../kit/backend.ts';
import { gateway, head, type Client, type Gateway } from '../../kit/gateway.ts';
import type { Pair } from '../../kit/h3bytes.ts';

const SIZE = 60_000;
const fill = (piece: string): string => piece.repeat(Math.ceil(SIZE / piece.length)).slice(0, SIZE);

let b: RecordingBackend;
let g: Gateway;
let c: Client;

const FIELDS = ['x-a', 'x-b', 'cookie'] as const;

beforeAll(async () => {
  b = await backend((r) => {
    r.answer(200, 'ok');
    b.server.requests.length = 0;
    r.connection.frames.length = 0;
    r.connection.requests.clear();
  });
  const routes = gateway({
    limits: { requestsPerConnection: 1_000_000 },
    listener: { trust: ['127.0.0.0/8'] },
    start: { accessLog: 'all' },
  });
  for (let i = 0; i < 8; i++) {
    const query = [{ name: `q${i}`, type: 'Regex' as const, value: '(a+)+$' }];
    const headers = [{ name: FIELDS[i % 3] as string, type: 'Regex' as const, value: '(x+x+)+y' }];
    routes.routeTo({ match: { path: { type: 'Prefix', value: `/p${i}` }, query } }, { to: [b] });
    routes.routeTo({ match: { path: { type: 'Regex', value: `/(a|b)*c${i}` } } }, { to: [b] });
    routes.routeTo({ match: { query } }, { to: [b] });
    routes.routeTo({ match: { headers } }, { to: [b] });
    routes.routeTo({ host: `*.w${i}.example`, match: { query } }, { to: [b] });
  }
  routes.routeTo({ balancing: { type: 'ConsistentHash', key: { type: 'Cookie', name: 'sid' } } }, { to: [b] });
  routes.routeTo({ host: '*', balancing: { type: 'ConsistentHash', key: { type: 'Query', name: 'sid' } } }, { to: [b] });
  g = await routes.start();
  c = await g.client(null);
});
afterAll(async () => {
  await g.close();
  await b.close();
});

const path = (value: string): Pair[] => [...head('GET', '/').filter(([n]) => n !== ':path'), [':path', value]];
const host = (value: string): Pair[] => [[':authority', value], ...head('GET', '/').filter(([n]) => n !== ':authority')];
const field = (name: string, value: string): Pair[] => [...head('GET', '/'), [name, value]];

const ODD: readonly (readonly [name: string, pairs: readonly Pair[]])[] = [
  ...['&', '=', 'a&', '%41&', '%', 'q0=', '+', 'q7=a&', '?'].map((p): [string, Pair[]] => [
    `a query of ${p}`,
    path(`/?${fill(p)}`.slice(0, SIZE)),
  ]),
  ...['/', '/.', '/..', '/a', '/%2e%2e', '%41', '/p0', ';', '/a/..', 'ab', '%c3%a9', '/p1/'].map((p): [string, Pair[]] => [
    `a path of ${p}`,
    path(`/${fill(p)}`),
  ]),
  ...['a.', '.', '1', ':', 'w0.example.', '-', '[', 'xn--a.'].map((p): [string, Pair[]] => [`a host of ${p}`, host(fill(p))]),
  ...[
    'x-forwarded-for',
    'forwarded',
    'via',
    'cookie',
    'priority',
    'te',
    'x-a',
    'user-agent',
    'expect',
    'x-request-id',
    'accept-encoding',
    'content-type',
  ].flatMap((name) =>
    [', ', ';', '=', '"', '\\', 'x', '(', '1.2.3.4,', '\xff', 'sid', 'for=', 'u=1,'].map((p): [string, Pair[]] => [
      `${name} of ${p}`,
      field(name, `x${fill(p)}x`),
    ]),
  ),
  ['100 lines of cookies', [...head('GET', '/'), ...Array.from({ length: 100 }, (): Pair => ['cookie', 'a=b; '.repeat(90).trim()])]],
  ['100 fields of one name', [...head('GET', '/'), ...Array.from({ length: 100 }, (): Pair => ['x-a', 'x'.repeat(500)])]],
  [
    '100 lines of x-forwarded-for',
    [...head('GET', '/'), ...Array.from({ length: 100 }, (): Pair => ['x-forwarded-for', '1.2.3.4, '.repeat(50) + '::1'])],
  ],
];

/** CPU time of one request, the least of several: other processes are no part of it. Stops early when it is below `enough`. */
async function cost(pairs: readonly Pair[], enough: number): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < 20 && least > enough; i++) {
    const before = process.cpuUsage();
    await c.answer(c.send(pairs));
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, user + system);
    // Five heads over a limit end a connection.
    if (c.recorder.closes.length > 0) c = await g.client(null);
  }
  return least;
}

test('J4: no head of 60 KiB costs ten times what a plain one of that size does, whatever it is made of', async () => {
  // Below 2 ms the clock is too coarse to compare with.
  const bound = 10 * Math.max(await cost(field('x-plain', fill('abc')), 0), 2000);
  const dear: (readonly [string, number])[] = [];
  for (const [name, pairs] of ODD) {
    const took = await cost(pairs, bound);
    if (took > bound) dear.push([name, took]);
  }
  expect(dear).toEqual([]);
}, 60_000);
