/** Every kind of hostile message between HTTP/3 and HTTP/2 a thousand times over, through a whole edge: what is left of them. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { backend, type RecordingBackend } from '../kit/backend.ts';
import { expectNothingLeft } from '../kit/footprint.ts';
import { gateway, head, type Client, type Gateway } from '../kit/gateway.ts';
import type { Pair } from '../kit/h3bytes.ts';
import type { H2Request } from '../kit/h2server.ts';

const REPETITIONS = 1000;
/** Below what a connection may have of resets by our side (H16). */
const PER_CONNECTION = 50;

const base = head('GET', '/');
const post = head('POST', '/');
const without = (name: string): Pair[] => base.filter(([n]) => n !== name);
const more = (...pairs: Pair[]): Pair[] => [...base, ...pairs];

/** What a client sends, and the statuses that may come of it; a reset with H3_MESSAGE_ERROR unless said otherwise. */
const CLIENTS: readonly (readonly [name: string, pairs: readonly Pair[], body: string | null, statuses: readonly number[]])[] = [
  ['M1', [...post, ['content-length', '5']], '', [-0x10e]],
  ['M2 too little', [...post, ['content-length', '5']], '1234', [-0x10e]],
  ['M2 too much', [...post, ['content-length', '5']], '123456', [-0x10e]],
  ['M2 list', more(['content-length', '5, 5']), '', [-0x10e]],
  ['M3', more(['transfer-encoding', 'chunked']), '', [-0x10e]],
  ['M3 upgrade', more(['upgrade', 'websocket']), '', [-0x10e]],
  ['M4', more(['x-v', 'a\r\nb: c']), '', [-0x10e]],
  ['M5 empty', more(['', 'v']), '', [-0x10e]],
  ['M5 upper case', more(['X-Upper', 'v']), '', [-0x10e]],
  ['M5 underscore', more(['x_forwarded_for', '10.0.0.1']), '', [200]],
  ['M6', without(':method'), '', [-0x10e]],
  ['M7', [...without(':path'), [':path', '/a b']], '', [-0x10e]],
  ['M8', more(['host', 'other.example']), '', [-0x10e]],
  [
    'M9',
    [
      [':method', 'CONNECT'],
      [':authority', 'site.example:443'],
    ],
    'tunnelled',
    [501],
  ],
  ['M12', more(['x-forwarded-for', '10.0.0.1'], ['x-client-cert', 'cn=admin']), '', [200]],
  ['M13', [...without(':path'), [':path', '/a%2fb']], '', [400]],
  ['M13 overlong', [...without(':path'), [':path', '/a%c0%af']], '', [400]],
  ['413', [...post, ['content-length', '99999999']], null, [413]],
  ['431', more(['x-a', 'x'.repeat(70_000)]), '', [431, -0x107]],
];

/** What a backend answers. */
const BACKENDS: readonly (readonly [path: string, act: (r: H2Request) => void])[] = [
  ['/no-status', (r) => r.connection.headers(r.id, [['a', 'b']], true)],
  ['/status-99', (r) => r.connection.headers(r.id, [[':status', '99']], true)],
  ['/101', (r) => r.connection.headers(r.id, [[':status', '101']], false)],
  ['/informs', (r) => Array.from({ length: 40 }, () => r.connection.headers(r.id, [[':status', '103']], false))],
  ['/upper', (r) => r.respond(200, [['X-A', '1']], true)],
  ['/connection', (r) => r.respond(200, [['connection', 'close']], true)],
  ['/length', (r) => r.respond(200, [['content-length', '5']], true)],
  ['/no-head', (r) => r.connection.data(r.id, 'smuggled', true)],
  [
    '/bomb',
    (r) =>
      r.respond(
        200,
        Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'y'] as const),
        true,
      ),
  ],
  ['/204', (r) => (r.respond(204), r.connection.data(r.id, 'smuggled', true))],
  ['/reset', (r) => r.connection.rst(r.id, 2)],
  ['/refused', (r) => r.connection.rst(r.id, 7)],
  ['/cut', (r) => (r.respond(200, [['content-length', '10']]), r.write('12345', true))],
];

let b: RecordingBackend;
let g: Gateway;

beforeAll(async () => {
  b = await backend((r) => {
    const act = BACKENDS.find(([path]) => path === r.path)?.[1];
    if (act === undefined) r.answer(200, 'ok');
    else act(r);
    // What a test's backend records must not look like a leak of ours.
    b.server.requests.length = 0;
    r.connection.frames.length = 0;
    r.connection.requests.clear();
  });
  g = await gateway({ limits: { requestBody: 1 << 20 }, start: { accessLog: 'off' } })
    .route('/', b)
    .start();
});
afterAll(async () => {
  await g.close();
  await b.close();
});

async function withClients(n: number, each: (c: Client) => Promise<void>): Promise<void> {
  for (let left = n; left > 0; left -= PER_CONNECTION) {
    const c = await g.client();
    for (let i = 0; i < Math.min(left, PER_CONNECTION); i++) await each(c);
    c.close();
    await c.closed();
  }
  g.forgetClients();
}

async function pass(n: number, honest: Client): Promise<void> {
  for (const [name, pairs, body, statuses] of CLIENTS) {
    await withClients(n, async (c) => {
      // Five heads over a limit end a connection: that is an answer too.
      if (c.recorder.closes.length > 0) return;
      const { status } = await c.answer(c.send(pairs, body));
      if (!statuses.includes(status)) throw new Error(`${name}: ${status}`);
    });
    expect((await honest.get('/')).body).toBe('ok');
  }
  for (const [path] of BACKENDS) {
    await withClients(n, async (c) => {
      const { status } = await c.get(path);
      if (status !== 502 && status !== -0x102) throw new Error(`${path}: ${status}`);
    });
    expect((await honest.get('/')).body).toBe('ok');
  }
}

test('memory and the event loop stay as they were, and an honest client loses nothing', async () => {
  const honest = await g.client();
  await pass(REPETITIONS, honest);
  await expectNothingLeft(() => pass(REPETITIONS, honest), 16 << 20);
  expect(g.counted('internal_errors_total')).toEqual({});
  expect(g.counted('requests_active')).toEqual({});
  expect(g.edge.activity().every((a) => a.active === 0)).toBe(true);
}, 240_000);
