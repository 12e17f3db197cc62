/** Messages at the boundary between HTTP/3 and HTTP/2: each row end to end, with a backend that writes down what reached it. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { backend, fieldsOf, type RecordingBackend } from '../../kit/backend.ts';
import { data, headers, type Pair } from '../../kit/h3bytes.ts';
import { gateway, head, type Client, type Gateway } from '../../kit/gateway.ts';
import type { H2Request } from '../../kit/h2server.ts';

const MESSAGE_ERROR = -0x10e;
const INTERNAL_ERROR = -0x102;
const CANCEL = 8;

let b: RecordingBackend;
let g: Gateway;
let honest: Client;
let script: ((r: H2Request) => void) | null = null;

beforeAll(async () => {
  b = await backend((r) => (script === null ? r.answer(200, r.body) : script(r)));
  g = await gateway({ limits: { requestBody: 1 << 20 } })
    .route('/', b)
    .start();
  honest = await g.client();
});
afterAll(async () => {
  await g.close();
  await b.close();
});
beforeEach(() => {
  script = null;
});

const base = head('GET', '/');
const without = (name: string): Pair[] => base.filter(([n]) => n !== name);

/** Sends, and checks what every row wants: scope, code, counter, nothing at the backend, and an honest client that loses nothing. */
async function refused(rule: string, send: (c: Client) => number, status = MESSAGE_ERROR, reached = 0): Promise<void> {
  const before = b.requests.length;
  const errors = g.counted('protocol_errors_total')[`edge/public H3_MESSAGE_ERROR ${rule}`] ?? 0;
  const client = await g.client();
  const id = send(client);
  const answer = await client.answer(id);
  expect(answer.status).toBe(status);
  if (status === MESSAGE_ERROR) {
    expect(client.recorder.seen(client.conn, id).stops.concat(client.recorder.seen(client.conn, id).resets)).toContain(0x10e);
    expect(g.counted('protocol_errors_total')[`edge/public H3_MESSAGE_ERROR ${rule}`]).toBe(errors + 1);
  }
  // A stream's error is no error of its connection.
  expect((await client.get('/same-connection')).status).toBe(200);
  expect((await honest.post('/honest', 'intact')).body).toBe('intact');
  expect(b.requests.length).toBe(before + reached + 2);
  client.close();
}

const malformed = (rule: string, pairs: readonly Pair[], body: string | null = ''): Promise<void> =>
  refused(rule, (c) => c.send(pairs, body));

describe('M1', () => {
  const cl = (n: number): readonly Pair[] => head('POST', '/', undefined, [['content-length', String(n)]]);

  test('M1: HEADERS with FIN but content-length 5', () => malformed('M1', cl(5)));

  test('M1: HEADERS, then a bare FIN: the backend’s stream is cancelled, never ended', async () => {
    const before = b.requests.length;
    const client = await g.client();
    const id = client.send(cl(5), null);
    const r = await b.began(before + 1);
    client.raw(id, Buffer.alloc(0), true);
    expect((await client.answer(id)).status).toBe(MESSAGE_ERROR);
    await r.untilReset();
    expect(r).toMatchObject({ ended: false, reset: CANCEL });
    expect(g.counted('protocol_errors_total')['edge/public H3_MESSAGE_ERROR M1']).toBeGreaterThan(1);
  });

  test('M1: trailers where the body should be', async () => {
    const before = b.requests.length;
    const client = await g.client();
    const id = client.send(cl(5), null);
    const r = await b.began(before + 1);
    client.trailers(id, [['x-t', '1']]);
    expect((await client.answer(id)).status).toBe(MESSAGE_ERROR);
    await r.untilReset();
    expect(r).toMatchObject({ ended: false, trailers: null, reset: CANCEL });
  });
});

describe('M2', () => {
  test('M2: too little and too much body', async () => {
    for (const text of ['1234', '123456']) {
      const before = b.requests.length;
      const client = await g.client();
      const id = client.send(head('POST', '/', undefined, [['content-length', '5']]), null);
      const r = await b.began(before + 1);
      client.body(id, text, true);
      expect((await client.answer(id)).status).toBe(MESSAGE_ERROR);
      await r.untilReset();
      expect(r.ended).toBe(false);
      expect(r.body.length).toBeLessThanOrEqual(5);
    }
  });

  for (const value of ['5, 5', '+5', '-0', '', '0x5', '5abc', '9007199254740993', '5.0', '1e1']) {
    test(`M2: content-length ${JSON.stringify(value)}`, () => malformed('M2', [...base, ['content-length', value]], null));
  }
  test('M2: duplicates, equal ones too', () => malformed('M2', [...base, ['content-length', '0'], ['content-length', '0']]));
});

describe('M3', () => {
  for (const [name, value] of [
    ['transfer-encoding', 'chunked'],
    ['connection', 'close'],
    ['keep-alive', 'timeout=5'],
    ['proxy-connection', 'keep-alive'],
    ['upgrade', 'websocket'],
    ['te', 'gzip'],
    ['te', 'trailers, trailers'],
    ['te', 'trailers;q=1'],
    ['te', ''],
  ] as const) {
    test(`M3: ${name}: ${value}`, () => malformed('M3', [...base, [name, value]]));
  }
  test('M11: connection: x-forwarded-for strips nothing of ours', () => malformed('M3', [...base, ['connection', 'x-forwarded-for']]));
});

describe('M4', () => {
  for (const value of ['a\r\nx: y', 'a\nb', 'a\rb', 'a\0b', ' a', 'a ', '\ta', 'a\r\n b']) {
    test(`M4: value ${JSON.stringify(value)}`, () => malformed('M4', [...base, ['x-v', value]]));
  }
  test('M4: in :path', () => malformed('M4', [...without(':path'), [':path', '/a\r\nb']]));
});

describe('M5', () => {
  for (const name of ['', 'X-Upper', 'a b', 'a:b', 'a\u0080', 'a(b', 'a\0']) {
    test(`M5: name ${JSON.stringify(name)}`, () => malformed('M5', [...base, [name, 'v']]));
  }

  test('M5: a name with an underscore is dropped and counted', async () => {
    const before = g.counted('fields_dropped_total')['underscore'] ?? 0;
    const client = await g.client();
    expect(
      (
        await client.get('/', [
          ['x_forwarded_for', '1.2.3.4'],
          ['x-ok', '1'],
        ])
      ).status,
    ).toBe(200);
    expect(fieldsOf(b.last)).toMatchObject({ 'x-ok': '1', 'x-forwarded-for': '127.0.0.1' });
    expect(fieldsOf(b.last)['x_forwarded_for']).toBeUndefined();
    expect(g.counted('fields_dropped_total')['underscore']).toBe(before + 1);
  });
});

describe('M6', () => {
  test('M6: duplicate', () =>
    malformed(
      'M6',
      [...base, [':path', '/other']].sort(
        (x, y) => Number(!(x[0] as string).startsWith(':')) - Number(!(y[0] as string).startsWith(':')),
      ) as Pair[],
    ));
  test('M6: missing :method', () => malformed('M6', without(':method')));
  test('M6: missing :path', () => malformed('M6', without(':path')));
  test('M6: missing :scheme', () => malformed('M6', without(':scheme')));
  test('M6: unknown', () => malformed('M6', [...base, [':evil', '1']]));
  test('M6: of a response', () => malformed('M6', [...base, [':status', '200']]));
  test('M6: after a field', () => malformed('M6', [...without(':path'), ['a', 'b'], [':path', '/']]));
  test('M6: in trailers', async () => {
    const before = b.requests.length;
    const client = await g.client();
    const id = client.send(head('POST', '/'), null);
    const r = await b.began(before + 1);
    client.trailers(id, [[':path', '/admin']]);
    expect((await client.answer(id)).status).toBe(MESSAGE_ERROR);
    await r.untilReset();
    expect(r.ended).toBe(false);
  });
});

describe('M7', () => {
  for (const [name, value] of [
    [':method', 'GE T'],
    [':method', ''],
    [':scheme', 'http://evil'],
    [':path', ''],
    [':path', 'a'],
    [':path', '/a b'],
    [':path', '/a#b'],
    [':path', 'http://evil.example/'],
    [':path', '*'],
  ] as const) {
    test(`M7: ${name} ${JSON.stringify(value)}`, () => malformed('M7', [...without(name).slice(0, 0), [name, value], ...without(name)]));
  }
});

describe('M8', () => {
  test('M8: :authority and Host differ', () => malformed('M8', [...base, ['host', 'other.example']]));
  test('M8: both missing', () => malformed('M8', without(':authority')));
  test('M8: two Hosts', () => malformed('M8', [...base, ['host', 'site.example'], ['host', 'site.example']]));
  test('M8: userinfo', () => malformed('M8', [[':authority', 'admin@site.example'], ...without(':authority')]));

  test('M8: one authority, normalised, and no Host, reach the backend', async () => {
    const client = await g.client();
    for (const pairs of [
      [...base, ['host', 'SITE.example']],
      [...without(':authority'), ['host', 'site.example.']],
      [[':authority', 'Site.EXAMPLE.'], ...without(':authority')],
    ] as Pair[][]) {
      expect((await client.answer(client.send(pairs))).status).toBe(200);
      expect(b.last.authority).toBe('site.example');
      expect(b.last.field('host')).toBeNull();
    }
  });

  const FORMS: readonly (readonly [sent: string, reached: string | number])[] = [
    ['site.example:443', 'site.example:443'],
    ['SITE.example.:8443', 'site.example:8443'],
    ['xn--bcher-kva.example', 404],
    ['[::1]:443', 404],
    ['127.1', 404],
    ['site.example:', 400],
    ['site.example:0443', 400],
    ['site.example..', 400],
    ['.site.example', 400],
    ['a..site.example', 400],
    ['*.site.example', 400],
    ['%73ite.example', 400],
    ['site.example,other', 400],
    ['site.example/x', MESSAGE_ERROR],
    ['site.example?x', MESSAGE_ERROR],
    ['site.example:443:443', MESSAGE_ERROR],
    [':443', MESSAGE_ERROR],
    ['', MESSAGE_ERROR],
    ['[::1]x', MESSAGE_ERROR],
    ['[fe80::1%25eth0]', MESSAGE_ERROR],
    ['b\xfccher.example', MESSAGE_ERROR],
  ];
  for (const [sent, reached] of FORMS) {
    test(`M8: ${JSON.stringify(sent)} -> ${reached}`, async () => {
      const before = b.requests.length;
      const client = await g.client();
      const { status } = await client.answer(client.send([[':authority', sent], ...without(':authority')]));
      expect(status).toBe(typeof reached === 'number' ? reached : 200);
      expect(b.requests.slice(before).map((r) => r.authority)).toEqual(typeof reached === 'number' ? [] : [reached]);
      client.close();
    });
  }

  for (const port of ['65536', '0x1bb', '-1', '443x']) {
    test(`M8: port ${port}`, () => malformed('M8', [[':authority', `site.example:${port}`], ...without(':authority')]));
  }
});

describe('M9', () => {
  const connect: readonly Pair[] = [
    [':method', 'CONNECT'],
    [':authority', 'site.example:443'],
  ];
  test('M9: CONNECT is answered 501 and no byte goes on', async () => {
    const before = b.requests.length;
    const client = await g.client();
    const id = client.send(connect, null);
    client.body(id, 'tunnelled');
    const answer = await client.answer(id);
    expect(answer.status).toBe(501);
    expect(answer.fields.get('proxy-status')).toContain('error=http_request_denied');
    expect(b.requests.length).toBe(before);
    expect(g.counted('requests_total')['edge/public  501 method_not_supported']).toBe(1);
  });
  test('M9: extended CONNECT without the setting', () =>
    malformed('M9', [...connect, [':protocol', 'websocket'], [':scheme', 'https'], [':path', '/']], null));
});

test('M10: trailers bring no identity, framing or credentials', async () => {
  const before = b.requests.length;
  const client = await g.client();
  const id = client.send(head('POST', '/'), null);
  client.body(id, 'x');
  client.trailers(id, [
    ['x-forwarded-for', '1.2.3.4'],
    ['forwarded', 'for=1.2.3.4'],
    ['x-real-ip', '1.2.3.4'],
    ['host', 'evil'],
    ['authorization', 'Basic x'],
    ['content-length', '99'],
    ['x-client-cert', 'cn=admin'],
    ['x-envoy-internal', 'true'],
    ['x-checksum', 'ok'],
  ]);
  expect((await client.answer(id)).status).toBe(200);
  expect((await b.began(before + 1)).trailers).toEqual([['x-checksum', 'ok']]);
  expect(g.counted('fields_dropped_total')['trailer']).toBe(8);
});

describe('M12', () => {
  const SPOOFED: readonly Pair[] = [
    ['x-forwarded-for', '10.0.0.1'],
    ['x-forwarded-proto', 'http'],
    ['x-forwarded-host', 'admin.example'],
    ['x-forwarded-prefix', '/admin'],
    ['x-forwarded-port', '1'],
    ['forwarded', 'for=10.0.0.1'],
    ['x-real-ip', '10.0.0.1'],
    ['x-envoy-external-address', '10.0.0.1'],
    ['x-client-cert', 'cn=admin'],
    ['client-cert', ':AAAA:'],
  ];
  test('M12: spoofed identity does not get through', async () => {
    const client = await g.client();
    expect((await client.get('/', SPOOFED)).status).toBe(200);
    expect(JSON.stringify(b.last.fields)).not.toMatch(/10\.0\.0\.1|admin|AAAA/);
    expect(fieldsOf(b.last)).toMatchObject({
      'x-forwarded-for': '127.0.0.1',
      'x-forwarded-proto': 'https',
      'x-forwarded-host': 'site.example',
    });
  });

  test('M12: our own via is 508, another installation’s is not', async () => {
    const client = await g.client();
    await client.get('/');
    const own = b.last.field('via') as string;
    expect(own).toMatch(/^3 spooky-[0-9a-f]{8}$/);
    const answer = await client.get('/', [['via', `1.1 a, ${own}`]]);
    expect(answer.status).toBe(508);
    expect(answer.fields.get('proxy-status')).toContain('error=proxy_loop_detected');
    expect((await client.get('/', [['via', '3 spooky-00000000']])).status).toBe(200);
    expect(b.last.field('via')).toBe(`3 spooky-00000000, ${own}`);
  });
});

describe('M13', () => {
  const PATHS: readonly (readonly [sent: string, reached: string | number])[] = [
    ['/a/%2e%2e/b', '/b'],
    ['/a/%2E./b', '/b'],
    ['/a/../../b', '/b'],
    ['/a//b', '/a//b'],
    ['/a;x=1/b', '/a;x=1/b'],
    ['/..%3bx', '/..%3Bx'],
    ['/a%3Fb', '/a%3Fb'],
    ['/%7euser', '/~user'],
    ['/a%2fb', 400],
    ['/a%2Fb', 400],
    ['/a%5cb', 400],
    ['/a%00b', 400],
    ['/a%c0%afb', 400],
    ['/a%c0%ae%c0%ae/b', 400],
    ['/a%', 400],
    ['/a%g0', 400],
    ['/%u002f', 400],
    ['/a\\..\\b', 400],
    ['/%252e%252e/b', '/%252e%252e/b'],
    ['/..;/b', '/..;/b'],
    ['//other.example/b', '//other.example/b'],
    ['/..//b', '//b'],
    ['/a%0d%0a', '/a%0D%0A'],
    ['/\xe9', '/%E9'],
    ['/b?%00&../', '/b?%00&../'],
  ];
  for (const [sent, reached] of PATHS) {
    test(`M13: ${sent} -> ${reached}`, async () => {
      const before = b.requests.length;
      const client = await g.client();
      const answer = await client.get(sent);
      if (typeof reached === 'number') {
        expect(answer.status).toBe(reached);
        expect(b.requests.length).toBe(before);
      } else {
        expect(answer.status).toBe(200);
        expect(b.last.path).toBe(reached);
      }
    });
  }
});

describe('M14', () => {
  const bad: readonly (readonly [what: string, act: (r: H2Request) => void])[] = [
    ['no :status', (r) => r.connection.headers(r.id, [['a', 'b']], true)],
    [':status 99', (r) => r.connection.headers(r.id, [[':status', '99']], true)],
    [':status 1000', (r) => r.connection.headers(r.id, [[':status', '1000']], true)],
    [':status abc', (r) => r.connection.headers(r.id, [[':status', 'abc']], true)],
    [
      'two :status',
      (r) =>
        r.connection.headers(
          r.id,
          [
            [':status', '200'],
            [':status', '204'],
          ],
          true,
        ),
    ],
    ['101', (r) => r.connection.headers(r.id, [[':status', '101']], false)],
    [
      'upper-case name',
      (r) =>
        r.connection.headers(
          r.id,
          [
            [':status', '200'],
            ['X-A', '1'],
          ],
          true,
        ),
    ],
    [
      'CR LF in a value',
      (r) =>
        r.connection.headers(
          r.id,
          [
            [':status', '200'],
            ['x-a', 'a\r\nset-cookie: b'],
          ],
          true,
        ),
    ],
    [
      'connection field',
      (r) =>
        r.connection.headers(
          r.id,
          [
            [':status', '200'],
            ['connection', 'close'],
          ],
          true,
        ),
    ],
    [
      'transfer-encoding',
      (r) =>
        r.connection.headers(
          r.id,
          [
            [':status', '200'],
            ['transfer-encoding', 'chunked'],
          ],
          true,
        ),
    ],
    ['content-length with nothing behind it', (r) => r.respond(200, [['content-length', '5']], true)],
    [
      'two content-lengths',
      (r) =>
        r.respond(
          200,
          [
            ['content-length', '0'],
            ['content-length', '0'],
          ],
          true,
        ),
    ],
    ['content-length that is no number', (r) => r.respond(200, [['content-length', '5x']])],
    ['DATA before HEADERS', (r) => r.connection.data(r.id, 'smuggled', true)],
    [
      'a header bomb',
      (r) =>
        r.respond(
          200,
          Array.from({ length: 200 }, (_, i) => [`x-${i}`, 'y'.repeat(10)] as const),
          true,
        ),
    ],
    [
      '10^4 interim answers',
      (r) => {
        for (let i = 0; i < 10_000; i++) r.connection.headers(r.id, [[':status', '103']], false);
      },
    ],
  ];
  for (const [what, act] of bad) {
    test(`M14: ${what}: 502`, async () => {
      script = act;
      const client = await g.client();
      const answer = await client.get('/');
      expect([what, answer.status]).toEqual([what, 502]);
      expect(answer.body).toBe('Bad Gateway\n');
      script = null;
      expect((await honest.get('/')).status).toBe(200);
    });
  }

  for (const [method, status] of [
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 304],
  ] as const) {
    test(`M14: a body on ${method} ${status}: 502`, async () => {
      script = (r) => {
        r.respond(status);
        r.connection.data(r.id, 'smuggled', true);
      };
      const client = await g.client();
      const answer = await client.answer(client.send(head(method, '/')));
      expect(answer.status).toBe(502);
      expect(answer.body).not.toContain('smuggled');
    });
  }

  const cut: readonly (readonly [what: string, act: (r: H2Request) => void])[] = [
    [
      'less than content-length',
      (r) => {
        r.respond(200, [['content-length', '10']]);
        r.write('12345', true);
      },
    ],
    [
      'more than content-length',
      (r) => {
        r.respond(200, [['content-length', '3']]);
        r.write('12345', true);
      },
    ],
    [
      'a reset',
      (r) => {
        r.respond(200);
        r.write('12345');
        r.connection.rst(r.id, 2);
      },
    ],
    [
      'a connection that ends',
      (r) => {
        r.respond(200);
        r.write('12345');
        r.connection.socket.end();
      },
    ],
    [
      'malformed trailers',
      (r) => {
        r.respond(200);
        r.write('12345');
        r.connection.headers(r.id, [[':status', '200']], true);
      },
    ],
  ];
  for (const [what, act] of cut) {
    test(`M14: ${what} after the head: RESET H3_INTERNAL_ERROR, never FIN`, async () => {
      script = act;
      const client = await g.client();
      const id = client.send(base);
      const answer = await client.answer(id);
      const seen = client.recorder.seen(client.conn, id);
      // Either nothing had left us yet, or what had left is cut off visibly.
      if (answer.status !== 502) {
        expect([what, answer.status]).toEqual([what, INTERNAL_ERROR]);
        expect(seen.fin).toBe(false);
      }
      script = null;
      expect((await honest.get('/')).status).toBe(200);
    });
  }
});

test('M15: whatever a body holds arrives as body', async () => {
  const frames = Buffer.concat([
    Buffer.from('00000401050000000182868441', 'hex'),
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    headers(base),
    data('x'),
  ]);
  const client = await g.client();
  const before = b.requests.length;
  const id = client.send(head('POST', '/'), frames);
  expect((await client.answer(id)).body).toBe(frames.toString('latin1'));
  expect(b.requests.length).toBe(before + 1);
  expect(b.last.body.equals(frames)).toBe(true);
});

test('M17: two tenants with the same address share no connection', async () => {
  const shared = await backend((r) => r.answer(200, 'ok'));
  const two = await gateway()
    .routeTo({ host: 'site.example', upstream: 'one' }, { to: [shared] })
    .routeTo({ host: 'a.site.example', upstream: 'two' }, { to: [shared] })
    .start();
  expect((await two.get('/', [], 'site.example')).status).toBe(200);
  expect((await two.get('/', [], 'a.site.example')).status).toBe(200);
  expect(shared.server.connections.length).toBe(2);
  await two.close();
  await shared.close();
});

test('nothing of all this was a defect', () => {
  expect(g.counted('internal_errors_total')).toEqual({});
  expect(g.counted('requests_active')).toEqual({});
});
