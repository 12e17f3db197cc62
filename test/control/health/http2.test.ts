import { afterEach, describe, expect, test } from '@jest/globals';
import { once } from 'node:events';
import {
  createSecureServer,
  createServer,
  type Http2SecureServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2';
import { createServer as createTcp, type AddressInfo, type Server, type Socket } from 'node:net';
import type { BackendTlsPart, GroupId, GroupPart, HealthCheckPart } from '../../../src/contract/snapshot/parts.ts';
import type { Checker, CheckReason } from '../../../src/control/health/index.ts';
import { http2Checks } from '../../../src/control/health/http2.ts';
import { ManualClock, systemClock, type Clock } from '../../../src/lib/clock.ts';
import { ALWAYS_DENIED, DenyList, LOOPBACK } from '../../../src/lib/deny.ts';
import { makeCertificate } from '../../kit/x509.ts';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const fn of cleanups.splice(0)) fn();
});

const CHECK: HealthCheckPart = {
  path: '/health?full=1',
  statuses: [
    [200, 299],
    [404, 404],
  ],
  hostname: null,
  intervalMs: 1000,
  timeoutMs: 3000,
  cooldownMs: 0,
  healthyThreshold: 1,
  unhealthyThreshold: 1,
  initial: 'Healthy',
};

interface Answered {
  readonly success: boolean;
  readonly reason: CheckReason;
}

const errors: unknown[] = [];
const checker = (
  port: number,
  check: Partial<HealthCheckPart> = {},
  tls: BackendTlsPart | null = null,
  deny: readonly string[] = ALWAYS_DENIED,
  clock: Clock = systemClock,
): Checker => {
  const transport = http2Checks({
    clock,
    deny: new DenyList(deny),
    certificate: () => null,
    onInternalError: (_, e) => errors.push(e),
  });
  const group: GroupPart = {
    kind: 'group',
    id: 'g' as GroupId,
    upstream: { namespace: 'default', name: 'u' },
    name: 'default',
    protocol: tls === null ? 'H2C' : 'H2',
    tls,
    healthCheck: { ...CHECK, ...check },
  };
  const opened = transport.open({
    group,
    check: { ...CHECK, ...check },
    endpoint: { address: '127.0.0.1', port, host: 'backend.test', label: 'b' },
  });
  cleanups.push(() => opened.close());
  return opened;
};
const run = (c: Checker): Promise<Answered> => new Promise((resolve) => c.check((success, reason) => resolve({ success, reason })));

const listen = async (server: Http2Server | Http2SecureServer | Server): Promise<number> => {
  const sockets = new Set<Socket>();
  server.on('connection', (s: Socket) => {
    sockets.add(s);
    s.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
};

const backend = async (status: number, seen: IncomingHttpHeaders[] = []): Promise<number> => {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    seen.push(headers);
    stream.respond({ ':status': status }, { endStream: status === 204 });
    if (status !== 204) stream.end('x'.repeat(100_000));
  });
  return listen(server);
};

describe('cleartext', () => {
  test.each([
    [200, true, 'ok'],
    [204, true, 'ok'],
    [404, true, 'ok'],
    [300, false, 'unexpected_status'],
    [503, false, 'unexpected_status'],
  ] as const)('status %i', async (status, success, reason) => {
    expect(await run(checker(await backend(status)))).toEqual({ success, reason });
  });

  test('the request is a GET of the path with the name that the user wrote, over one connection', async () => {
    const seen: IncomingHttpHeaders[] = [];
    let connections = 0;
    const server = createServer();
    server.on('session', () => connections++);
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      seen.push(headers);
      stream.respond({ ':status': 200 });
      stream.end();
    });
    const port = await listen(server);
    const c = checker(port);
    for (let i = 0; i < 3; i++) expect(await run(c)).toEqual({ success: true, reason: 'ok' });
    expect(seen[0]).toMatchObject({
      ':method': 'GET',
      ':path': '/health?full=1',
      ':scheme': 'http',
      ':authority': `backend.test:${port}`,
      'user-agent': 'spooky-health-check',
    });
    expect(connections).toBe(1);
    expect(await run(checker(port, { hostname: 'x.example' }))).toMatchObject({ success: true });
    expect(seen.at(-1)?.[':authority']).toBe('x.example');
  });

  test('a connection that ended is made anew for the next check', async () => {
    const server = createServer();
    const sessions: { destroy(): void }[] = [];
    server.on('session', (s) => sessions.push(s));
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.respond({ ':status': 200 });
      stream.end();
    });
    const c = checker(await listen(server));
    expect(await run(c)).toMatchObject({ success: true });
    sessions[0]?.destroy();
    // Whether the end was noticed before the check or by it, the one after it is well.
    await run(c);
    expect(await run(c)).toMatchObject({ success: true });
    expect(sessions.length).toBeGreaterThanOrEqual(2);
  });
});

describe('failures', () => {
  test('nobody listens', async () => {
    const server = createTcp();
    const port = await listen(server);
    server.close();
    await once(server, 'close');
    expect(await run(checker(port))).toEqual({ success: false, reason: 'connect_refused' });
  });

  test('no answer in time, and the next check is on a new connection', async () => {
    let streams = 0;
    const clock = new ManualClock();
    const server = createServer();
    server.on('stream', (stream: ServerHttp2Stream) => {
      stream.on('error', () => {});
      if (++streams === 1) return clock.advance(150);
      stream.respond({ ':status': 200 });
      stream.end();
    });
    const c = checker(await listen(server), { timeoutMs: 150 }, null, ALWAYS_DENIED, clock);
    expect(await run(c)).toEqual({ success: false, reason: 'response_timeout' });
    expect(await run(c)).toEqual({ success: true, reason: 'ok' });
  });

  test('accepted and silent: no SETTINGS in time', async () => {
    const port = await listen(createTcp(() => {}));
    expect(await run(checker(port, { timeoutMs: 100 }))).toEqual({ success: false, reason: 'connect_timeout' });
  });

  test('a backend that speaks HTTP/1.1 says so', async () => {
    const port = await listen(createTcp((s) => s.once('data', () => s.end('HTTP/1.1 400 Bad Request\r\n\r\n'))));
    expect(await run(checker(port))).toEqual({ success: false, reason: 'backend_not_http2' });
  });

  test('an address that is denied is never connected to', async () => {
    let connections = 0;
    const port = await listen(createTcp(() => connections++));
    expect(await run(checker(port, {}, null, LOOPBACK))).toEqual({ success: false, reason: 'connect_refused' });
    expect(connections).toBe(0);
  });

  test('closing answers a check under way and nothing is left open', async () => {
    const port = await listen(createTcp(() => {}));
    const c = checker(port);
    const answer = run(c);
    c.close();
    expect((await answer).success).toBe(false);
    expect((await run(c)).success).toBe(false);
  });
});

describe('TLS', () => {
  const ca = makeCertificate({ subject: 'health test CA', ca: true });
  const leaf = makeCertificate({ names: ['DNS:backend.test'], issuer: ca });
  const secure = async (): Promise<number> => {
    const server = createSecureServer({ cert: leaf.chain, key: leaf.key });
    server.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
      stream.respond({ ':status': headers[':scheme'] === 'https' ? 200 : 500 });
      stream.end();
    });
    server.on('sessionError', () => {});
    return listen(server);
  };
  const tls = (more: Partial<BackendTlsPart>): BackendTlsPart => ({
    verify: true,
    serverName: null,
    sni: true,
    ca: ca.cert,
    client: null,
    ...more,
  });

  test('the name of the address is verified by default', async () => {
    expect(await run(checker(await secure(), {}, tls({})))).toEqual({ success: true, reason: 'ok' });
  });

  test.each([
    ['another name', { serverName: 'other.test' }],
    ['another CA', { ca: makeCertificate({ subject: 'stranger', ca: true }).cert }],
    ['the system’s roots', { ca: null }],
    ['a CA that is none', { ca: 'nonsense' }],
  ])('%s fails', async (_, more) => {
    expect(await run(checker(await secure(), {}, tls(more)))).toEqual({ success: false, reason: 'tls_failed' });
  });

  test('verify: None takes any certificate', async () => {
    expect(await run(checker(await secure(), {}, tls({ verify: false, ca: null, serverName: 'other.test' })))).toEqual({
      success: true,
      reason: 'ok',
    });
  });

  test('a client certificate that is missing fails closed', async () => {
    expect(await run(checker(await secure(), {}, tls({ client: 'hash' as never })))).toEqual({ success: false, reason: 'tls_failed' });
  });
});
