/** Every field of a Listener and an Upstream that acts here, by what it does: a field that were only parsed would fail its test. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { createServer, type AddressInfo } from 'node:net';
import { ManualClock } from '../../../src/lib/clock.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { MemoryNetwork } from '../../../src/edge/quic/memory/network.ts';
import { backend, fieldsOf, named, type RecordingBackend } from '../../kit/backend.ts';
import { endpointOf, gateway, head, type Gateway, type GatewayOptions } from '../../kit/gateway.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { frame, headers } from '../../kit/h3bytes.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const serve = async (options: GatewayOptions, b?: RecordingBackend): Promise<Gateway> =>
  keep(
    await gateway(options)
      .route('/', b ?? keep(await named('ok')))
      .start(),
  );

/** Lets sockets and the memory network run; the edge's time stands still meanwhile. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((done) => setImmediate(done));
};

describe('listener.limits', () => {
  test('headerBytes: 431', async () => {
    const g = await serve({ limits: { headerBytes: 1024 } });
    expect((await g.get('/', [['x-a', 'x'.repeat(500)]])).status).toBe(200);
    const answer = await g.get('/', [['x-a', 'x'.repeat(1024)]]);
    expect(answer.status).toBe(431);
    expect(answer.fields.get('proxy-status')).toContain('error=http_request_error');
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public headerBytes': 1 });
    expect(g.counted('requests_total')['edge/public  431 headers_too_large']).toBe(1);
  });

  test('headerCount: 431', async () => {
    const g = await serve({ limits: { headerCount: 20 } });
    const fields = (n: number) => Array.from({ length: n }, (_, i) => [`x-${i}`, '1'] as const);
    expect((await g.get('/', fields(10))).status).toBe(200);
    expect((await g.get('/', fields(20))).status).toBe(431);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public headerCount': 1 });
  });

  test('requestBody: 413 by length and by counting', async () => {
    const b = keep(await backend((r) => r.answer(200, String(r.body.length))));
    const g = await serve({ limits: { requestBody: 1000 } }, b);
    const c = await g.client();
    expect((await c.post('/', 'x'.repeat(1000))).body).toBe('1000');
    expect((await c.post('/', '', [['content-length', '1001']])).status).toBe(-0x10e);
    expect((await c.answer(c.send(head('POST', '/', undefined, [['content-length', '1001']]), null))).status).toBe(413);
    const id = c.send(head('POST', '/'), null);
    for (let i = 0; i < 11; i++) c.body(id, 'x'.repeat(100));
    const answer = await c.answer(id);
    expect(answer.status).toBe(413);
    // RFC 9114 s4.1: the client hears that the rest is not wanted.
    const seen = c.recorder.seen(c.conn, id);
    await c.recorder.until(() => seen.stops.length > 0);
    expect(seen.stops).toEqual([0x100]);
    expect(g.counted('limit_rejects_total')).toMatchObject({ 'edge/public requestBody': 2 });
  });

  test('headerTimeout: 408', async () => {
    const clock = new ManualClock(1_000);
    const g = await serve({ clock, limits: { headerTimeoutMs: 500 } });
    const c = await g.client();
    c.raw(0, headers(head('GET', '/')).subarray(0, 10), false);
    await settle();
    clock.advance(600);
    const answer = await c.answer(0);
    expect(answer.status).toBe(408);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public headerTimeout': 1 });
    expect(g.counted('requests_total')).toEqual({ 'edge/public  408 header_timeout': 1 });
  });

  test('bodyIdleTimeout: 408', async () => {
    const clock = new ManualClock(1_000);
    const b = keep(await backend());
    const g = await serve({ clock, limits: { bodyIdleTimeoutMs: 500 } }, b);
    const c = await g.client();
    const id = c.send(head('POST', '/'), null);
    const r = await b.began();
    clock.advance(600);
    expect((await c.answer(id)).status).toBe(408);
    await r.untilReset();
    expect(r.reset).toBe(8);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public bodyIdleTimeout': 1 });
  });

  test('H17: responseStall: a client that does not read loses its stream, the backend is paused meanwhile', async () => {
    const clock = new ManualClock(1_000);
    const b = keep(
      await backend((r) => {
        r.respond(200);
        r.write(Buffer.alloc(8 << 20));
      }),
    );
    const g = await serve({ clock, limits: { responseStallMs: 500 } }, b);
    const c = await g.client();
    const id = c.send(head('GET', '/'));
    await c.arrived(id, 1);
    c.conn.pause(id);
    await settle();
    clock.advance(600);
    await settle();
    await b.last.untilReset();
    expect(b.last.reset).toBe(8);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public responseStall': 1 });
    expect(g.counted('requests_total')).toEqual({ 'edge/public web/up1 200 client_idle': 1 });
  });

  test('noRequestTimeout: GOAWAY, then closed', async () => {
    const clock = new ManualClock(1_000);
    const g = await serve({ clock, limits: { noRequestTimeoutMs: 5_000 } });
    const c = await g.client();
    await settle();
    for (let i = 0; i < 8; i++) {
      clock.advance(1_500);
      await settle();
    }
    expect(await c.closed()).toMatchObject({ side: 'remote', app: true, code: 0x100 });
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public noRequestTimeout': 1 });
    expect(g.counted('quic_connection_closed_total')).toEqual({ 'local H3_NO_ERROR': 1 });
  });

  test('requestsPerConnection: GOAWAY after so many', async () => {
    const g = await serve({ limits: { requestsPerConnection: 3 } });
    const c = await g.client();
    for (let i = 0; i < 3; i++) expect((await c.get('/')).status).toBe(200);
    const control = c.recorder.seen(c.conn, 3);
    await c.recorder.until(() => control.data().includes(frame(0x07, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc]))));
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public requestsPerConnection': 1 });
  });

  test('pending: what would wait beyond it is 503 with retry-after', async () => {
    const g = await serve({ limits: { pending: 0 } });
    const answer = await g.get('/');
    expect(answer.status).toBe(503);
    expect(answer.fields.get('retry-after')).toBe('1');
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public pending': 1 });
  });

  test('connections, and the worker’s share of them', async () => {
    const g = await serve({ limits: { connections: 2 } });
    await g.client();
    await g.client();
    await expect(g.client()).rejects.toThrow();
    expect(g.counted('connections_total')).toEqual({ 'edge/public accepted': 2, 'edge/public refused_limit': 1 });
    expect(g.share(3)).toBe(2);
    await g.client();
    await expect(g.client()).rejects.toThrow();
    expect(g.counted('connections_active')).toEqual({ 'edge/public': 3 });
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public connections': 2 });
  });

  test('connections: a share holds from the bind on, before anything is switched to; those who are there stay when it is less', async () => {
    const g = keep(gateway({ limits: { connections: 1 } }).route('/', keep(await named('ok'))));
    await g.load();
    const first = await g.client();
    await expect(g.client()).rejects.toThrow();
    expect(g.share(2)).toBe(1);
    await g.client();
    await expect(g.client()).rejects.toThrow();
    g.switch();
    await expect(g.client()).rejects.toThrow();
    expect(g.share(0)).toBe(2);
    await expect(g.client()).rejects.toThrow();
    expect((await first.get('/')).status).toBe(200);
    expect(g.counted('connections_total')).toEqual({ 'edge/public accepted': 2, 'edge/public refused_limit': 4 });
  });

  test('handshakesPerSecond', async () => {
    const g = await serve({ limits: { handshakesPerSecond: 2 } });
    const tried = await Promise.allSettled(Array.from({ length: 12 }, () => g.client()));
    const made = tried.filter((t) => t.status === 'fulfilled').length;
    expect(made).toBeGreaterThan(0);
    expect(made).toBeLessThan(12);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public handshakesPerSecond': 12 - made });
  });

  test('connectionsPerAddress', async () => {
    const g = await serve({ limits: { connectionsPerAddress: 1 } });
    await g.client();
    await expect(g.client()).rejects.toThrow();
    expect(g.counted('connections_total')).toMatchObject({ 'edge/public accepted': 1 });
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public connectionsPerAddress': 1 });
  });
});

describe('listener', () => {
  test('quic.maxStreams', async () => {
    const b = keep(await backend(() => {}));
    const g = await serve({ quic: { maxStreams: 2 } }, b);
    const c = await g.client();
    for (let i = 0; i < 5; i++) c.send(head('GET', '/'));
    await b.began(2);
    await settle();
    expect(b.requests.length).toBe(2);
    expect(g.counted('requests_active')).toEqual({ 'edge/public': 2 });
    expect(g.counted('streams_active')).toEqual({ 'edge/public': 2 });
  });

  test('quic.idleTimeout', async () => {
    const clock = new ManualClock(1_000);
    const network = new MemoryNetwork({ clock });
    const g = await serve({ clock, engine: new MemoryEngine({ network }), quic: { idleTimeoutMs: 1_000 } });
    const client = g.client();
    for (let i = 0; i < 20; i++) {
      clock.advance(1);
      await settle();
    }
    await client;
    expect(g.counted('connections_active')).toEqual({ 'edge/public': 1 });
    clock.advance(1_100);
    await settle();
    expect(g.counted('connections_active')).toEqual({});
    expect(g.counted('quic_connection_closed_total')).toEqual({ 'timeout timeout': 1 });
  });

  test('quic.keepAlive: a PING while a request is open', async () => {
    const clock = new ManualClock(1_000);
    const b = keep(await backend(() => {}));
    const g = await serve({ clock, quic: { keepAliveMs: 300, idleTimeoutMs: 30_000 } }, b);
    const c = await g.client();
    c.send(head('GET', '/'));
    await b.began();
    await settle();
    const before = c.conn.stats().received;
    clock.advance(1_000);
    await settle();
    expect(c.conn.stats().received - before).toBeGreaterThanOrEqual(3);
  });

  test('hostnames and certificates: 421 for what this certificate was not chosen for', async () => {
    const g = keep(
      await gateway({ unmatched: 'Reject', certificates: [['a.example'], ['b.example']] })
        .routeTo({ host: 'a.example' }, { to: [keep(await named('a'))] })
        .routeTo({ host: 'b.example' }, { to: [keep(await named('b'))] })
        .start(),
    );
    const c = await g.client('a.example');
    expect((await c.get('/', [], 'a.example')).body).toBe('a');
    const answer = await c.get('/', [], 'b.example');
    expect(answer.status).toBe(421);
    expect(answer.fields.get('proxy-status')).toContain('error=http_request_denied');
    await expect(g.client('c.example')).rejects.toThrow();
    await expect(g.client(null)).rejects.toThrow();
    expect(g.counted('connections_total')).toMatchObject({ 'edge/public sni_rejected': 2 });
  });

  test('unmatched Default: a client without a name may ask for anything', async () => {
    const g = keep(
      await gateway({ certificates: [['a.example'], ['b.example']] })
        .routeTo({ host: 'b.example' }, { to: [keep(await named('b'))] })
        .start(),
    );
    const c = await g.client(null);
    expect((await c.get('/', [], 'b.example')).body).toBe('b');
    const named_ = await g.client('a.example');
    expect((await named_.get('/', [], 'b.example')).status).toBe(421);
  });

  test('path.escapedSlashes: Keep', async () => {
    const b = keep(await backend());
    const g = await serve({ listener: { escapedSlashes: 'Keep' } }, b);
    expect((await g.get('/a%2fb')).status).toBe(200);
    expect(b.last.path).toBe('/a%2Fb');
  });

  test('forwarded.trust', async () => {
    const b = keep(await backend());
    const g = await serve({ listener: { trust: ['127.0.0.0/8'] } }, b);
    await g.get('/', [
      ['x-forwarded-for', '198.51.100.1'],
      ['x-request-id', 'abc'],
    ]);
    expect(fieldsOf(b.last)).toMatchObject({ 'x-forwarded-for': '198.51.100.1, 127.0.0.1', 'x-request-id': 'abc' });
    await settle();
    expect(g.lines.at(-1)).toMatchObject({ request_id: 'abc' });
  });

  test('advertisedPort', async () => {
    const b = keep(await backend());
    const g = await serve({ listener: { advertisedPort: 8443 } }, b);
    await g.get('/');
    expect(b.last.field('x-forwarded-port')).toBe('8443');
  });

  test('proxyStatusDetails', async () => {
    const g = keep(await gateway({ listener: { proxyStatusDetails: true } }).start());
    expect((await g.get('/')).fields.get('proxy-status')).toMatch(/^spooky-[0-9a-f]{8}; error=destination_not_found; details="no_route"$/);
  });
});

describe('upstream', () => {
  const clocked = async (timeouts: object, b: RecordingBackend) => {
    const clock = new ManualClock(1_000);
    const g = keep(
      await gateway({ clock })
        .routeTo({ timeouts }, { to: [b] })
        .start(),
    );
    return { clock, g };
  };

  test('timeouts.response: 504', async () => {
    const b = keep(await backend(() => {}));
    const { clock, g } = await clocked({ responseMs: 500 }, b);
    const c = await g.client();
    const id = c.send(head('GET', '/'));
    await b.began();
    await settle();
    clock.advance(600);
    const answer = await c.answer(id);
    expect(answer.status).toBe(504);
    expect(answer.fields.get('proxy-status')).toContain('error=http_response_timeout');
    await b.last.untilReset();
    expect(g.counted('backend_requests_total')).toEqual({ 'web/up1 g0 0 response_timeout': 1 });
  });

  test('timeouts.idle: RESET in the middle of an answer', async () => {
    const b = keep(
      await backend((r) => {
        r.respond(200);
        r.write('begun');
      }),
    );
    const { clock, g } = await clocked({ idleMs: 500 }, b);
    const c = await g.client();
    const id = c.send(head('GET', '/'));
    await c.arrived(id, 5);
    clock.advance(600);
    expect((await c.answer(id)).status).toBe(-0x102);
    expect(g.counted('requests_total')).toEqual({ 'edge/public web/up1 200 idle_timeout': 1 });
  });

  test('timeouts.request: 504', async () => {
    const b = keep(await backend(() => {}));
    const { clock, g } = await clocked({ requestMs: 300 }, b);
    const c = await g.client();
    const id = c.send(head('GET', '/'));
    await b.began();
    clock.advance(400);
    expect((await c.answer(id)).status).toBe(504);
    expect(g.counted('requests_total')).toEqual({ 'edge/public web/up1 504 request_timeout': 1 });
  });

  test('timeouts.connect: 504', async () => {
    const clock = new ManualClock(1_000);
    // TCP is there, TLS never answers.
    const silent = createServer((socket) => socket.on('error', () => {}).resume());
    await new Promise<void>((done) => silent.listen(0, '127.0.0.1', done));
    const { port } = silent.address() as AddressInfo;
    keep({ close: () => new Promise<void>((done) => silent.close(() => done())) });
    const g = keep(
      await gateway({ clock })
        .routeTo(
          { timeouts: { connectMs: 300 } },
          { to: [{ port }], protocol: 'H2', tls: { verify: false, serverName: null, sni: true, ca: null, client: null } },
        )
        .start(),
    );
    const c = await g.client();
    const id = c.send(head('GET', '/'));
    await settle();
    clock.advance(400);
    const answer = await c.answer(id);
    expect(answer.status).toBe(504);
    expect(answer.fields.get('proxy-status')).toContain('error=connection_timeout');
  });

  test('a refused connection: 502; HTTP/1.x: 502 with an event that says what to set', async () => {
    const gone = await named('gone');
    const { port } = gone.server;
    await gone.close();
    const http1 = keep(
      await backend(null, { onConnection: (p) => (p.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')), true), onFrame: () => true }),
    );
    const g = keep(
      await gateway()
        .routeTo({ match: { path: { type: 'Prefix', value: '/gone' } } }, { to: [{ port }] })
        .routeTo({ match: { path: { type: 'Prefix', value: '/http1' } } }, { to: [http1] })
        .start(),
    );
    const c = await g.client();
    const refusedAnswer = await c.get('/gone');
    expect(refusedAnswer.status).toBe(502);
    expect(refusedAnswer.fields.get('proxy-status')).toContain('error=connection_refused');
    const answer = await c.get('/http1');
    expect(answer.status).toBe(502);
    expect(g.counted('requests_total')).toMatchObject({ 'edge/public web/up2 502 backend_not_http2': 1 });
    expect(g.logged.find((l) => l.fields['reason'] === 'backend_not_http2')).toMatchObject({
      level: 'warn',
      fields: { upstream: 'web/up2', hint: expect.stringContaining('set `protocol: H2`') },
    });
  });

  test('protocol H2: verified by the CA and the server name, with a client certificate', async () => {
    const ca = makeCa('backend');
    const leaf = makeLeaf(ca, { names: ['db.internal'] });
    const secure = keep(await backend((r) => r.answer(200, r.scheme), { tls: { cert: leaf.cert, key: leaf.key } }));
    const tls = { verify: true, serverName: 'db.internal', sni: true, ca: ca.cert.toString('latin1'), client: null };
    const path = (value: string) => ({ match: { path: { type: 'Prefix' as const, value } } });
    const g = keep(
      await gateway()
        .routeTo(path('/good'), { to: [secure], protocol: 'H2', tls })
        .routeTo(path('/name'), { to: [secure], protocol: 'H2', tls: { ...tls, serverName: 'other.internal' } })
        .routeTo(path('/ca'), { to: [secure], protocol: 'H2', tls: { ...tls, ca: makeCa('another').cert.toString('latin1') } })
        .routeTo(path('/none'), { to: [secure], protocol: 'H2', tls: { ...tls, ca: null, verify: false } })
        .start(),
    );
    const c = await g.client();
    expect(await c.get('/good')).toMatchObject({ status: 200, body: 'https' });
    for (const p of ['/name', '/ca']) {
      const answer = await c.get(p);
      expect(answer.status).toBe(502);
      expect(answer.fields.get('proxy-status')).toContain('error=tls_protocol_error');
    }
    expect((await c.get('/none')).status).toBe(200);
  });

  test('endpoints: health and draining from their lane; the panic rule', async () => {
    const [a, b] = [keep(await named('a')), keep(await named('b'))];
    const g = keep(
      await gateway()
        .routeTo({ upstream: 'api' }, { name: 'v1', to: [a, b] })
        .start(),
    );
    const c = await g.client();
    const bodies = async (): Promise<string> => {
      const seen = new Set<string>();
      for (let i = 0; i < 6; i++) seen.add((await c.get('/')).body);
      return [...seen].sort().join('');
    };
    expect(await bodies()).toBe('ab');
    const list = (more: object, also: object = {}) => [
      { ...endpointOf(a, 0), ...more },
      { ...endpointOf(b, 1), ...also },
    ];
    g.endpoints('api', 'v1', list({ healthy: false }));
    expect(await bodies()).toBe('b');
    g.endpoints('api', 'v1', list({ draining: true }));
    expect(await bodies()).toBe('b');
    g.endpoints('api', 'v1', list({ healthy: false }, { healthy: false }));
    expect(await bodies()).toBe('ab');
    expect(g.counted('panic_total')).toEqual({ 'web/api': 6 });
    g.endpoints('api', 'v1', []);
    expect((await c.get('/')).status).toBe(503);
    expect(g.counted('backend_connections')).toEqual({});
  });

  test('retry: REFUSED_STREAM goes elsewhere once', async () => {
    const bad = keep(await backend((r) => r.connection.rst(r.id, 7), { early: true }));
    const good = keep(await named('good'));
    const g = keep(
      await gateway()
        .routeTo({ upstream: 'api' }, { to: [bad, good] })
        .start(),
    );
    const c = await g.client();
    for (let i = 0; i < 4; i++) expect((await c.post('/', 'x'.repeat(1000))).body).toBe('good');
    expect(bad.requests.length).toBeGreaterThan(0);
    expect(g.counted('backend_retries_total')['web/api backend_reset']).toBe(bad.requests.length);
    expect(good.last.body.length).toBe(1000);
  });

  test('retry: a request that waited for a connection in vain goes elsewhere, whatever its body; alone it is answered at once', async () => {
    const dead = await named('dead');
    await dead.close();
    const good = keep(await backend((r) => r.answer(200, `good ${r.body.length}`)));
    const g = keep(
      await gateway()
        .routeTo({ upstream: 'api' }, { to: [dead, good] })
        .routeTo({ upstream: 'lonely', match: { path: { type: 'Prefix', value: '/lonely' } } }, { to: [dead] })
        .start(),
    );
    const c = await g.client();
    for (let i = 0; i < 4; i++) expect((await c.post('/', 'x'.repeat(1000))).body).toBe('good 1000');
    for (let i = 0; i < 4; i++) expect((await c.post('/', 'x'.repeat(300_000))).body).toBe('good 300000');
    expect(g.counted('backend_retries_total')).toEqual({ 'web/api connect_refused': 4 });
    expect((await c.get('/lonely')).status).toBe(502);
    expect(g.counted('backend_requests_total')).toEqual({
      'web/api g0 0 connect_refused': 4,
      'web/api g0 200 ok': 8,
      'web/lonely g0 0 connect_refused': 1,
    });
  });

  test('endpointDeny and loopback: refused at connect', async () => {
    const b = keep(await named('x'));
    const g = await serve({ start: { allowLoopbackEndpoints: false } }, b);
    expect((await g.get('/')).status).toBe(502);
    const h = await serve({ start: { endpointDeny: ['127.0.0.0/8'] } }, b);
    expect((await h.get('/')).status).toBe(502);
    expect(b.server.connections.length).toBe(0);
  });
});
