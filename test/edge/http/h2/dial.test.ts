import { afterEach, describe, expect, test } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { createServer, Socket, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { createServer as createTls } from 'node:tls';
import { connectH2 } from '../../../../src/edge/http/h2/connect.ts';
import { dial, dialTls, type DialOptions, type DialTarget, type DialTlsSettings } from '../../../../src/edge/http/h2/dial.ts';
import { SESSION_DEFAULTS } from '../../../../src/edge/http/h2/options.ts';
import type { H2Session } from '../../../../src/edge/http/h2/session.ts';
import type { BackendFailure } from '../../../../src/edge/http/message.ts';
import { ManualClock, systemClock } from '../../../../src/lib/clock.ts';
import { TimerWheel } from '../../../../src/lib/wheel.ts';
import { makeCa, makeLeaf } from '../../../kit/certs.ts';
import { Recorder, fieldsOf } from '../../../kit/h2client.ts';
import { startH2Server } from '../../../kit/h2server.ts';
import { ROOT } from '../../../kit/peers.ts';
import { Child } from '../../../kit/process.ts';
import { temporaryFolder } from '../../../kit/spooky.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

const internal: [string, unknown][] = [];
afterEach(() => expect(internal.splice(0)).toEqual([]));

const OPTIONS: DialOptions = { clock: systemClock, timeoutMs: 5000, deny: null, onInternalError: (where, e) => internal.push([where, e]) };

const CA = makeCa('backends');
const LEAF = makeLeaf(CA, { names: ['api.internal', '127.0.0.1'] });
const TLS: DialTlsSettings = { serverName: 'api.internal', sni: true, verify: true, ca: CA.cert, clientCertificate: null };

function tls(settings: Partial<DialTlsSettings> = {}): DialTarget['tls'] {
  const made = dialTls({ ...TLS, ...settings });
  if (!made.ok) throw new Error(made.error);
  return made.value;
}

const folder = temporaryFolder();
function file(name: string, content: Buffer | string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** A process of its own: what the system trusts is read once. */
const SYSTEM_DIAL = `
import { dial, dialTls } from '${ROOT}/src/edge/http/h2/dial.ts';
import { systemClock } from '${ROOT}/src/lib/clock.ts';
const tls = dialTls({ serverName: 'api.internal', sni: true, verify: true, ca: null, clientCertificate: null });
const say = (what) => { console.log(what); process.exit(0); };
dial({ address: '127.0.0.1', port: Number(process.argv[1]), tls: tls.value },
  { clock: systemClock, timeoutMs: 5000, deny: null, onInternalError: (where, e) => say(String(e)) },
  { onConnected: () => say('connected'), onFailure: (failure) => say(failure.reason) });
`;

type Outcome = { socket: Socket; failure: null } | { socket: null; failure: BackendFailure };

function dialOnce(
  port: number,
  tlsOf: DialTarget['tls'] = null,
  options: Partial<DialOptions> = {},
  address = '127.0.0.1',
): Promise<Outcome> {
  return new Promise((resolve) => {
    dial(
      { address, port, tls: tlsOf },
      { ...OPTIONS, ...options },
      {
        onConnected(socket, inlet) {
          inlet.sink = () => undefined;
          closers.push(() => socket.destroy());
          resolve({ socket, failure: null });
        },
        onFailure: (failure) => resolve({ socket: null, failure }),
      },
    );
  });
}

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (s: Socket) => {
    sockets.add(s);
    s.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    for (const s of sockets) s.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

async function request(target: DialTarget): Promise<{ r: Recorder; session: H2Session } | BackendFailure> {
  const wheel = new TimerWheel(systemClock, (e) => internal.push(['wheel', e]));
  const onInternalError = (where: string, e: unknown): void => void internal.push([where, e]);
  return new Promise((resolve) => {
    connectH2(
      target,
      OPTIONS,
      { ...SESSION_DEFAULTS, wheel, onInternalError },
      {
        onReady(session) {
          closers.push(() => {
            session.destroy();
            wheel.stop();
          });
          const r = new Recorder();
          session.open({ method: 'GET', scheme: 'https', authority: 'a', path: '/', fields: fieldsOf([]) }, true, r);
          void r.untilOver().then(() => resolve({ r, session }));
        },
        onFailed: resolve,
        onCapacity: () => undefined,
        onClosed: () => undefined,
      },
    );
  });
}

test('cleartext: a request over the connection', async () => {
  const server = await startH2Server();
  closers.push(() => server.close());
  const got = await request({ address: '127.0.0.1', port: server.port, tls: null });
  expect('r' in got && [got.r.status, got.r.body.toString()]).toEqual([200, 'hello']);
});

test('TCP and SETTINGS share one time-out', async () => {
  const clock = new ManualClock();
  const wheel = new TimerWheel(clock, (e) => internal.push(['wheel', e]));
  let heard = (): void => {};
  const preface = new Promise<void>((resolve) => (heard = resolve));
  const port = await listen(createServer((s) => s.once('data', heard)));
  const failed = new Promise<BackendFailure>((resolve) => {
    const onInternalError = OPTIONS.onInternalError;
    const events = { onReady: () => undefined, onFailed: resolve, onCapacity: () => undefined, onClosed: () => undefined };
    connectH2(
      { address: '127.0.0.1', port, tls: null },
      { ...OPTIONS, clock, timeoutMs: 1000 },
      { ...SESSION_DEFAULTS, wheel, onInternalError },
      events,
    );
  });
  // Before the connection is there, which the loop has not seen yet.
  clock.advance(700);
  await preface;
  clock.advance(320);
  expect(await failed).toMatchObject({ reason: 'connect_timeout' });
});

describe('TLS', () => {
  async function tlsServer(options: { ca?: Buffer; alpn?: string[] } = {}) {
    const names: (string | false)[] = [];
    const server = await startH2Server({
      tls: { ...LEAF, ...options },
      onConnection: (c) => void names.push((c.socket as Socket & { servername: string | false }).servername),
    });
    closers.push(() => server.close());
    return { port: server.port, names };
  }

  test('verified by a CA, with the name as SNI: a request', async () => {
    const { port, names } = await tlsServer();
    const got = await request({ address: '127.0.0.1', port, tls: tls() });
    expect('r' in got && got.r.body.toString()).toBe('hello');
    expect(names).toEqual(['api.internal']);
  });

  test('5 MiB up and down, unharmed', async () => {
    const { port } = await tlsServer();
    const got = await request({ address: '127.0.0.1', port, tls: tls() });
    if (!('r' in got)) throw new Error(got.reason);
    const body = Buffer.alloc(5 << 20);
    for (let i = 0; i < body.length; i++) body[i] = (i * 7 + (i >> 12)) & 0xff;
    const r = new Recorder();
    got.session.open({ method: 'POST', scheme: 'https', authority: 'a', path: '/x', fields: fieldsOf([]) }, false, r);
    for (let at = 0; at < body.length; at += 50_000) r.stream?.write(body, at, Math.min(body.length, at + 50_000));
    r.stream?.end(null);
    await r.untilOver();
    expect([r.failure, r.body.equals(body)]).toEqual([null, true]);
  });

  test('sni false: nothing is sent, the name is still verified', async () => {
    const { port, names } = await tlsServer();
    expect('r' in (await request({ address: '127.0.0.1', port, tls: tls({ sni: false }) }))).toBe(true);
    expect(names).toEqual([false]);
    const wrong = await dialOnce(port, tls({ sni: false, serverName: 'other.internal' }));
    expect(wrong.failure?.reason).toBe('tls_failed');
  });

  test('an address as the server’s name is verified and not sent', async () => {
    const { port, names } = await tlsServer();
    expect('r' in (await request({ address: '127.0.0.1', port, tls: tls({ serverName: '127.0.0.1' }) }))).toBe(true);
    expect(names).toEqual([false]);
  });

  test('a certificate for another name', async () => {
    const { port } = await tlsServer();
    const { failure } = await dialOnce(port, tls({ serverName: 'other.internal' }));
    expect(failure?.reason).toBe('tls_failed');
    expect(failure?.detail).toContain('other.internal');
  });

  test('another CA, and the system’s roots', async () => {
    const { port } = await tlsServer();
    expect((await dialOnce(port, tls({ ca: makeCa('stranger').cert }))).failure?.reason).toBe('tls_failed');
    expect((await dialOnce(port, tls({ ca: null }))).failure?.reason).toBe('tls_failed');
  });

  test('verify none takes any certificate', async () => {
    const { port } = await tlsServer();
    expect((await dialOnce(port, tls({ verify: false, ca: null, serverName: 'whatever' }))).failure).toBeNull();
  });

  test('a client certificate where the backend wants one', async () => {
    const { port } = await tlsServer({ ca: CA.cert });
    const client = makeLeaf(CA, { names: ['edge'], purpose: 'client' });
    const got = await request({ address: '127.0.0.1', port, tls: tls({ clientCertificate: client }) });
    expect('r' in got && got.r.body.toString()).toBe('hello');
    // This server hangs up on a client without one.
    const without = await request({ address: '127.0.0.1', port, tls: tls() });
    expect('reason' in without).toBe(true);
  });

  test('a backend that refuses us after the handshake, by an alert: TLS failed', async () => {
    const files = ['-cert', file('leaf.pem', LEAF.cert), '-key', file('leaf-key.pem', LEAF.key), '-CAfile', file('ca.pem', CA.cert)];
    const strict = ['-alpn', 'h2', '-tls1_3', '-Verify', '1', '-verify_return_error'];
    const server = new Child('openssl', ['s_server', '-accept', '127.0.0.1:0', ...strict, ...files]);
    closers.push(() => server.stop());
    const port = await server.waitFor('stdout', (line) => /^ACCEPT 127\.0\.0\.1:(\d+)/.exec(line)?.[1]);
    const without = await request({ address: '127.0.0.1', port: Number(port), tls: tls() });
    expect(without).toMatchObject({ reason: 'tls_failed', detail: expect.stringContaining('certificate required') });
  });

  test('the system’s roots are those of the system: SSL_CERT_FILE decides', async () => {
    const { port } = await tlsServer();
    const outcome = async (roots: string): Promise<string> => {
      const env = { SSL_CERT_FILE: roots, SSL_CERT_DIR: temporaryFolder(), NODE_EXTRA_CA_CERTS: undefined };
      const child = new Child(process.execPath, ['--no-warnings', '--input-type=module', '-e', SYSTEM_DIAL, String(port)], { env });
      closers.push(() => child.stop());
      return child.waitFor('stdout', (line) => line);
    };
    expect(await outcome(file('roots.pem', CA.cert))).toBe('connected');
    expect(await outcome(file('stranger.pem', makeCa('stranger').cert))).toBe('tls_failed');
    expect(await outcome(file('none.pem', ''))).toBe('tls_failed');
  });

  test.each([[['http/1.1']], [['spdy']]])('ALPN %j instead of h2', async (alpn) => {
    const { port } = await tlsServer({ alpn });
    expect((await dialOnce(port, tls())).failure?.reason).toBe('tls_failed');
  });

  test('a server without ALPN', async () => {
    const port = await listen(createTls({ cert: LEAF.cert, key: LEAF.key }));
    const { failure } = await dialOnce(port, tls());
    expect([failure?.reason, failure?.detail]).toEqual(['tls_failed', expect.stringContaining('ALPN gave nothing instead of h2')]);
  });

  test('M16: cleartext where TLS should be: the bytes are nobody’s, and the detail says so', async () => {
    const server = await startH2Server();
    closers.push(() => server.close());
    const { failure } = await dialOnce(server.port, tls());
    expect(failure?.reason).toBe('tls_failed');
    expect(failure?.detail).toContain('cleartext');
  });

  test('settings that do not hold together are an error of theirs', () => {
    const other = makeLeaf(CA, { names: ['other'], purpose: 'client' });
    const client = makeLeaf(CA, { names: ['edge'], purpose: 'client' });
    expect(dialTls({ ...TLS, clientCertificate: { cert: client.cert, key: other.key } }).ok).toBe(false);
    expect(dialTls({ ...TLS, clientCertificate: { cert: Buffer.from('nonsense'), key: client.key } }).ok).toBe(false);
    expect(dialTls({ ...TLS, ca: Buffer.from('-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----') }).ok).toBe(false);
    expect(dialTls({ ...TLS, ca: Buffer.from('') }).ok).toBe(false);
  });
});

describe('failures are data', () => {
  test('nobody listens: connect_refused', async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const { failure } = await dialOnce(port);
    expect([failure?.reason, failure?.unseen]).toEqual(['connect_refused', false]);
  });

  test('a name instead of an address: refused, and never before dial has returned', async () => {
    let returned = false;
    const outcome = new Promise<[BackendFailure, boolean]>((resolve) => {
      dial({ address: 'localhost', port: 1, tls: null }, OPTIONS, {
        onConnected: () => undefined,
        onFailure: (f) => resolve([f, returned]),
      });
      returned = true;
    });
    const [failure, after] = await outcome;
    expect([failure.reason, after]).toEqual(['connect_refused', true]);
  });

  test.each([['65536'], ['-1']])('port %s', async (port) => {
    expect((await dialOnce(Number(port))).failure?.reason).toBe('connect_refused');
  });

  test('no TLS handshake in time: connect_timeout', async () => {
    const clock = new ManualClock();
    const server = createServer(() => clock.advance(5000));
    const port = await listen(server);
    const { failure } = await dialOnce(port, tls(), { clock, timeoutMs: 1000 });
    expect(failure?.reason).toBe('connect_timeout');
    expect(clock.pending()).toBe(0);
  });

  test('no TCP connection in time: connect_timeout', async () => {
    const clock = new ManualClock();
    const outcome = dialOnce(9, null, { clock, timeoutMs: 1000 }, '127.0.0.1');
    clock.advance(1000);
    const { failure } = await outcome;
    expect([failure?.reason, failure?.detail]).toEqual(['connect_timeout', expect.stringContaining('no TCP connection')]);
  });

  test('a server that closes during the handshake: tls_failed', async () => {
    const port = await listen(createServer((s) => void s.once('data', () => s.destroy())));
    expect((await dialOnce(port, tls())).failure?.reason).toBe('tls_failed');
  });

  test('cancel: silence, and the server sees the connection go', async () => {
    const gone = new Promise<void>((resolve) => {
      const server = createServer((s) => void s.on('close', () => resolve()).resume());
      void listen(server).then((port) => {
        const cancel = dial({ address: '127.0.0.1', port, tls: tls() }, OPTIONS, {
          onConnected: () => internal.push(['connected', null]),
          onFailure: () => internal.push(['failed', null]),
        });
        server.once('connection', () => cancel());
      });
    });
    await gone;
  });

  test('an exception in a handler closes the socket, is reported, and goes no further', async () => {
    const closed = new Promise<void>((resolve) => {
      void listen(createServer((s) => void s.on('close', () => resolve()).resume())).then((port) => {
        dial({ address: '127.0.0.1', port, tls: null }, OPTIONS, {
          onConnected() {
            throw new Error('ours');
          },
          onFailure: () => undefined,
        });
      });
    });
    await closed;
    expect(internal.splice(0)).toEqual([['h2_dial', new Error('ours')]]);
  });
});

describe('the deny-list', () => {
  test('K5: asked before connecting: no packet leaves', async () => {
    let connections = 0;
    const port = await listen(createServer(() => connections++));
    const { failure } = await dialOnce(port, null, { deny: { denies: (a) => a === '127.0.0.1' } });
    expect([failure?.reason, connections]).toEqual(['connect_refused', 0]);
    expect(failure?.detail).toContain('may not be a backend');
  });

  test('K5: asked again about where the connection ended up', async () => {
    const port = await listen(createServer());
    const asked: string[] = [];
    const denies = (a: string): boolean => {
      asked.push(a);
      return asked.length > 1;
    };
    const { failure } = await dialOnce(port, null, { deny: { denies } });
    expect(failure?.reason).toBe('connect_refused');
    expect(asked).toEqual(['127.0.0.1', '127.0.0.1']);
  });

  test('a connection that is reset as soon as it stands is not told to be to a denied address', async () => {
    const port = await listen(createServer());
    // Behind `remoteAddress`. As the kernel has it for a moment after a reset: no error yet, and no peer any more.
    const sockets = Socket.prototype as unknown as { _getpeername: () => object };
    const own = sockets._getpeername;
    sockets._getpeername = () => ({});
    try {
      const deny = { denies: () => false };
      const lost = await dialOnce(port, null, { deny });
      expect([lost.failure?.reason, lost.failure?.detail]).toEqual(['backend_closed', `127.0.0.1:${port}: closed by the endpoint`]);
      const secure = await dialOnce(port, tls(), { deny });
      expect([secure.failure?.reason, secure.failure?.detail]).toEqual(['tls_failed', `127.0.0.1:${port}: closed by the endpoint`]);
    } finally {
      sockets._getpeername = own;
    }
  });
});

test('M16: bytes before there is a sink end the socket', async () => {
  const closed = new Promise<void>((resolve) => {
    void listen(
      createServer((s) => {
        s.on('close', () => resolve()).resume();
        s.write('early');
      }),
    ).then((port) => {
      dial({ address: '127.0.0.1', port, tls: null }, OPTIONS, { onConnected: () => undefined, onFailure: () => undefined });
    });
  });
  await closed;
});
