/** What JavaScript itself adds to the ways of going wrong: names of Object.prototype, caches, expressions, letters, buffers, logs, templates. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Cells } from '../../../src/contract/cells.ts';
import { buildTable, type RouteTable } from '../../../src/contract/routes/table.ts';
import type { FieldMatch, RouteMatch } from '../../../src/contract/snapshot/index.ts';
import { compilePattern } from '../../../src/contract/routes/regex.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { createLog } from '../../../src/lib/log.ts';
import { backend, fieldsOf, type RecordingBackend } from '../../kit/backend.ts';
import { gateway, head, type Client, type Gateway } from '../../kit/gateway.ts';
import { data, type Pair } from '../../kit/h3bytes.ts';
import { leastCost } from '../../kit/cost.ts';
import { eventually } from '../../kit/process.ts';

const NAMES = ['constructor', 'prototype', 'hasownproperty', 'tostring', 'valueof', 'tojson', 'then', 'length'];

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterAll(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

let b: RecordingBackend;
let g: Gateway;
let c: Client;

beforeAll(async () => {
  b = keep(await backend((r) => r.answer(200, r.body)));
  g = keep(await gateway().route('/', b).start());
  c = await g.client();
});

const match = (more: Partial<RouteMatch>): RouteMatch => ({ path: null, methods: [], headers: [], query: [], ...more });
const exact = (name: string, value: string): FieldMatch => ({ name, type: 'Exact', value });

function tableOf(of: RouteMatch): RouteTable<string> {
  const route = { upstream: { namespace: 'n', name: 'u' }, hostname: '*', matchIndex: 0, created: 0, match: of, target: 'x' as never };
  return buildTable([{ kind: 'host', hostname: '*', routes: [route] }], () => 'hit');
}

describe('names of Object.prototype', () => {
  test('J1: as header and trailer names they are names like any other, both ways', async () => {
    b.server.requests.length = 0;
    const fields = NAMES.map((n) => [n, `of ${n}`] as const);
    const id = c.send(head('POST', '/', undefined, fields), null);
    c.body(id, 'body');
    c.trailers(id, fields);
    expect(await c.answer(id)).toMatchObject({ status: 200, body: 'body' });
    for (const n of NAMES) expect([n, b.last.field(n)]).toEqual([n, `of ${n}`]);
    expect(b.last.trailers).toEqual(fields);

    const echoing = keep(
      await backend((r) => {
        r.respond(200, [...fields, ['__proto__', 'x'], ['__definegetter__', 'y']]);
        r.trail(fields);
      }),
    );
    const g2 = keep(await gateway().route('/', echoing).start());
    const answer = await g2.get('/');
    for (const n of NAMES) expect([n, answer.fields.get(n), answer.trailers?.get(n)]).toEqual([n, `of ${n}`, `of ${n}`]);
  });

  test('J1: __proto__ as a header name is dropped as every name with an underscore is', async () => {
    const before = g.counted('fields_dropped_total')['underscore'] ?? 0;
    expect((await c.get('/', [['__proto__', '{"polluted":true}']])).status).toBe(200);
    expect(b.last.field('__proto__')).toBeNull();
    expect(g.counted('fields_dropped_total')['underscore']).toBe(before + 1);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test.each([...NAMES, '__proto__', '__defineGetter__', 'toString', 'hasOwnProperty'])(
    'J1: %s as a name of a match: there when sent, absent when not',
    (name) => {
      const byHeader = tableOf(match({ headers: [{ name: name.toLowerCase(), type: 'Present', value: '' }] }));
      expect(byHeader.match('h', '/', '', 'GET', [], [])).toBeNull();
      expect(byHeader.match('h', '/', '', 'GET', [name.toLowerCase()], ['1'])).toBe('hit');
      const byQuery = tableOf(match({ query: [exact(name, name)] }));
      expect(byQuery.match('h', '/', '', 'GET', [], [])).toBeNull();
      expect(byQuery.match('h', '/', `${name}=x`, 'GET', [], [])).toBeNull();
      expect(byQuery.match('h', '/', `x=1&${name}=${name}`, 'GET', [], [])).toBe('hit');
    },
  );

  test('J1: as hosts and path segments they find no route that nobody wrote', async () => {
    const h = keep(
      await gateway({ certificates: [['a.example']] })
        .routeTo({ host: 'a.example', match: { path: { type: 'Prefix', value: '/a' } } }, { to: [b] })
        .start(),
    );
    const client = await h.client(null);
    for (const name of [...NAMES, '__proto__'.replaceAll('_', '')]) {
      expect((await client.get('/a', [], name)).status).toBe(404);
      expect((await client.get(`/${name}`, [], 'a.example')).status).toBe(404);
      expect((await client.get(`/a/${name}/__proto__`, [], 'a.example')).status).toBe(200);
    }
  });

  test('J1: as a cookie that requests are placed by', async () => {
    const two = [keep(await backend((r) => r.answer(200, 'one'))), keep(await backend((r) => r.answer(200, 'two')))];
    for (const name of ['__proto__', 'constructor']) {
      const h = keep(
        await gateway()
          .routeTo({ balancing: { type: 'ConsistentHash', key: { type: 'Cookie', name } } }, { to: two })
          .start(),
      );
      const client = await h.client();
      const placed = new Set<string>();
      for (let i = 0; i < 20; i++) {
        const crumb: Pair = ['cookie', `other=1; ${name}=user-${i}`];
        const first = (await client.get('/', [crumb])).body;
        expect((await client.get('/', [crumb])).body).toBe(first);
        placed.add(first);
      }
      expect([...placed].sort()).toEqual(['one', 'two']);
      const none = (await client.get('/', [])).body;
      expect((await client.get('/', [['cookie', 'other=2']])).body).toBe(none);
    }
  });

  test('J1: as labels of metrics', async () => {
    const cells = new Cells();
    for (const name of ['__proto__', 'constructor', 'toString']) {
      cells.add(cells.row('requests_total', name, name, '200', 'ok'), 1);
      cells.add(cells.row('requests_total', name, name, '200', 'ok'), 1);
    }
    expect(cells.read().map((r) => [r.labels[0], r.values[0]])).toEqual([
      ['__proto__', 2],
      ['constructor', 2],
      ['toString', 2],
    ]);
    const h = keep(
      await gateway()
        .routeTo({ upstream: 'constructor' }, { to: [b], name: 'tostring' })
        .start(),
    );
    expect((await h.get('/')).status).toBe(200);
    expect(h.counted('requests_total')).toEqual({ 'edge/public web/constructor 200 ok': 1 });
  });
});

describe('maps', () => {
  test('J3: no client makes rows, entries or states that stay: 3,000 requests that differ in everything', async () => {
    const h = keep(
      await gateway({ limits: { requestsPerConnection: 1_000_000 } })
        .route('/', b)
        .start(),
    );
    const vary = async (client: Client, i: number): Promise<void> => {
      const fields: Pair[] = [
        [`x-${i}`, String(i)],
        ['user-agent', `agent/${i}`],
        ['cookie', `c${i}=${i}`],
      ];
      const answer = await client.get(`/p${i}?q${i}=${i}`, fields, i % 2 === 0 ? undefined : `h${i}.site.example`);
      expect(answer.status).toBe(i % 2 === 0 ? 200 : 404);
    };
    const visit = async (from: number, count: number): Promise<void> => {
      const client = await h.client(null);
      for (let i = from; i < from + count; i++) await vary(client, i);
      // With its own count of closes: one that stayed would be idle when the others are done, on a slow machine.
      client.close();
      await eventually(() => Promise.resolve(expect(h.counted('connections_active')).toEqual({})), 30_000, 1);
    };
    await visit(0, 10);
    const rows = (): string[] => h.edge.read().map((r) => `${r.metric} ${r.labels.join(' ')}`);
    const before = rows();
    for (let n = 0; n < 3; n++) await visit(1000 * n, 1000);
    expect(rows()).toEqual(before);
  });
});

describe('expressions', () => {
  test('J4: (a+)+$ on 64 KiB takes less than 10 ms of CPU, as path, header and query', () => {
    const subject = `${'a'.repeat(65_535)}!`;
    const evil: FieldMatch = { name: 'x', type: 'Regex', value: '(a+)+$' };
    const cases: [RouteMatch, (t: RouteTable<string>) => string | null][] = [
      [match({ path: { type: 'Regex', value: '/(a+)+$' } }), (t) => t.match('h', `/${subject}`, '', 'GET', [], [])],
      [match({ headers: [evil] }), (t) => t.match('h', '/', '', 'GET', ['x'], [subject])],
      [match({ query: [evil] }), (t) => t.match('h', '/', `x=${subject}`, 'GET', [], [])],
    ];
    for (const [of, run] of cases) {
      const table = tableOf(of);
      expect(run(table)).toBeNull();
      expect(leastCost(() => expect(run(table)).toBeNull(), 10, 20)).toBeLessThan(10);
    }
  });

  test.each(['(a)\\1', '(?=a)a', '(?<!a)b', '(?>a+)', '(a+', 'a{2000}'])(
    'J4: %s is refused when it is written, not when it is used',
    (source) => {
      expect(compilePattern(source).ok).toBe(false);
    },
  );
});

describe('numbers and letters', () => {
  test.each(['\xe2\x84\xaa.example', 's\xc4\xb1te.example', 'S\xc5\xbfite.example', 'site.example\xe3\x80\x82'])(
    'J5: the host %j folds into no other',
    async (host) => {
      const h = keep(
        await gateway({ certificates: [['k.example', 'site.example']] })
          .routeTo({ host: 'k.example' }, { to: [b] })
          .route('/', b)
          .start(),
      );
      const before = b.requests.length;
      expect((await h.get('/', [], host)).status).not.toBe(200);
      expect(b.requests.length).toBe(before);
    },
  );

  test.each(['2147483648', '4294967296', '4294967301', '9007199254740991'])('J5: content-length %s does not wrap', async (length) => {
    const before = b.requests.length;
    const client = await g.client();
    const id = client.send(head('POST', '/', undefined, [['content-length', length]]), null);
    const r = await b.began(before + 1);
    expect(r.field('content-length')).toBe(length);
    client.body(id, 'short', true);
    expect((await client.answer(id)).status).toBe(-0x10e);
    await r.untilReset();
    expect(r.ended).toBe(false);
  });

  test('J5: what is beyond ASCII arrives as the bytes that it was', async () => {
    const value = '\xc3\xa9\xed\xa0\x80\xff\xe2\x80\xa8';
    expect((await c.get('/', [['x-bytes', value]])).status).toBe(200);
    expect(b.last.field('x-bytes')).toBe(value);
  });
});

describe('buffers, listeners, timers', () => {
  test('J6: bytes that somebody else left in memory never leave', async () => {
    const marker = 'left-in-a-slab-by-somebody-else';
    const dirty = (): void => {
      for (let i = 0; i < 200; i++) Buffer.allocUnsafe(64 + 61 * i).fill(marker);
    };
    const h = keep(await gateway().route('/', b).start());
    const client = await h.client();
    for (let i = 0; i < 30; i++) {
      dirty();
      const body = 'b'.repeat(i * 371);
      const pairs = Array.from({ length: i }, (_, n): Pair => [`x-${n}`, 'v'.repeat(n)]);
      const answer = await client.post('/', body, pairs);
      expect(answer).toMatchObject({ status: 200, body });
    }
    for (const id of client.recorder.ids(client.conn)) expect(client.recorder.seen(client.conn, id).data().includes(marker)).toBe(false);
    for (const peer of b.server.connections) {
      for (const f of peer.frames) expect(f.payload.includes(marker)).toBe(false);
    }
  });

  test('J6: 2,000 exchanges leave no timer, no listener of a socket and no stream behind', async () => {
    const h = keep(
      await gateway({ limits: { requestsPerConnection: 1_000_000 } })
        .route('/', b)
        .start(),
    );
    const client = await h.client();
    await client.get('/');
    const peers = b.server.connections.length;
    const timers = (): number => process.getActiveResourcesInfo().filter((r) => r === 'Timeout').length;
    const before = timers();
    for (let i = 0; i < 2000; i++) {
      if (i % 20 !== 0) expect((await client.get('/')).status).toBe(200);
      else {
        const abandoned = client.send(head('POST', '/'), null);
        await b.began(b.requests.length + 1);
        client.reset(abandoned);
      }
    }
    expect(timers()).toBeLessThanOrEqual(before + 3);
    expect(b.server.connections.length).toBe(peers);
    expect(h.counted('streams_active')).toEqual({});
    expect(h.counted('requests_active')).toEqual({});
  });
});

describe('logs', () => {
  // What a head may hold at all: control characters other than the tab within end the message before (M4).
  const HOSTILE = 'a"b\\c\x80\x9b2J\xe2\x80\xa8\t{"level":"fatal"}\\u000a%0a';

  test('J7: values of clients stay values: one line a request, printable, cut', async () => {
    const raw: string[] = [];
    const h = keep(await gateway({ engine: new MemoryEngine() }).route('/', b).start());
    const client = await h.client();
    const parse = JSON.parse;
    JSON.parse = ((text: string, reviver?: Parameters<typeof parse>[1]) => {
      if (text.startsWith('{"time"')) raw.push(text);
      return parse(text, reviver) as unknown;
    }) as typeof parse;
    try {
      await client.get('/?x=%0d%0a%1b[2J', [['user-agent', HOSTILE]]);
      await client.get(`/${'p'.repeat(5000)}`, [['user-agent', 'u'.repeat(5000)]]);
      await new Promise((done) => setImmediate(done));
    } finally {
      JSON.parse = parse;
    }
    expect(raw).toHaveLength(2);
    for (const line of raw) expect(line).toMatch(/^[\x20-\x7e]+$/);
    expect(h.lines[0]).toMatchObject({ user_agent: HOSTILE, status: 200, reason: 'ok' });
    expect(h.lines[1]).toMatchObject({ user_agent: 'u'.repeat(1024) });
    expect(String(h.lines[1]?.['path'])).toHaveLength(1024);
    expect(raw[1]?.length).toBeLessThan(4000);
  });

  test.each(['a\r\nb', 'a\x1b[2Jb', 'a\0b'])('J7: %j ends the request, and nothing of it is in a log', async (value) => {
    const before = g.lines.length + g.logged.length;
    const client = await g.client();
    expect((await client.answer(client.send([...head('GET', '/'), ['user-agent', value]]))).status).toBe(-0x10e);
    expect(JSON.stringify([g.lines, g.logged].flat().slice(before))).not.toMatch(/\\u001b|\\r|\\u0000/);
  });

  test.each(['json', 'plain'] as const)('J7: text of a peer in a log line (%s): one line, no control characters, cut', (format) => {
    const lines: string[] = [];
    const log = createLog({ level: 'trace', format, write: (l) => lines.push(l), wall: () => 0 });
    const evil = 'x\r\n{"level":"fatal"}\x1b[2J\x9b2J\u2028\x7f\0';
    log.warn(evil, { detail: evil, [evil]: 1, nested: { a: [evil] }, long: 'y'.repeat(10_000) });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+\n$/);
    expect(lines[0]?.length).toBeLessThan(4000);
  });
});

describe('templates', () => {
  test('J8: what looks like a placeholder is text: it arrives as it was sent, and nothing of ours takes its place', async () => {
    process.env['J8_SECRET'] = 'expanded-by-mistake';
    const evil = '${J8_SECRET} $J8_SECRET {env.J8_SECRET} {{.Env.J8_SECRET}} %{J8_SECRET}e {http.request.header.x} $1 $& %s %o `id`';
    const client = await g.client();
    const id = client.send(
      head('POST', '/{env.J8_SECRET}/$1/$&?x={{.}}&y=${J8_SECRET}', undefined, [
        ['x-evil', evil],
        ['user-agent', evil],
      ]),
      null,
    );
    client.raw(id, data(evil), true);
    const answer = await client.answer(id);
    delete process.env['J8_SECRET'];
    expect(answer).toMatchObject({ status: 200, body: evil });
    expect(fieldsOf(b.last)).toMatchObject({ 'x-evil': evil, 'user-agent': evil });
    expect(decodeURIComponent(b.last.path)).toBe('/{env.J8_SECRET}/$1/$&?x={{.}}&y=${J8_SECRET}');
    expect(JSON.stringify([b.last.fields, b.last.path, g.lines])).not.toContain('expanded-by-mistake');
  });
});
