/** `spooky demo`: a small HTTP/2 backend to try things against. */
import { readFileSync } from 'node:fs';
import { createSecureServer, createServer, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { formatHostPort, listenAddress } from '../contract/resources/index.ts';
import { err, ok, type Result } from '../lib/result.ts';
import { EXIT, readArguments, usageFault, type Command } from './command.ts';
import { untilSignal } from './signals.ts';

const MAX_SLOW_MS = 60_000;
const MAX_BYTES = 10 * 1024 ** 3;
const CHUNK = Buffer.alloc(64 * 1024, 'spooky\n');
const MAX_EVENTS = 100_000;
/** How long open requests may take once a signal has come: less than the grace period of a pod. */
const DRAIN_MS = 25_000;

interface Request {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  readonly path: string;
  readonly query: URLSearchParams;
}

const whole = (value: string | null, most: number): number | null => {
  if (value === null || !/^[0-9]{1,15}$/.test(value)) return null;
  const n = Number(value);
  return n <= most ? n : null;
};

const plain = (r: Request, status: number, body: string): void => {
  r.stream.respond({ ':status': status, 'content-type': 'text/plain; charset=utf-8' });
  r.stream.end(body);
};

const echo = (r: Request): void => {
  r.stream.respond({ ':status': 200, 'content-type': r.headers['content-type'] ?? 'application/octet-stream' });
  r.stream.pipe(r.stream);
};

const slow = (r: Request): void => {
  const ms = whole(r.query.get('ms') ?? '1000', MAX_SLOW_MS);
  if (ms === null) return plain(r, 400, `ms must be a number up to ${MAX_SLOW_MS}\n`);
  const timer = setTimeout(() => plain(r, 200, `after ${ms} ms\n`), ms);
  r.stream.once('close', () => clearTimeout(timer));
};

const status = (r: Request, text: string): void => {
  const code = whole(text, 599);
  if (code === null || code < 200) return plain(r, 400, 'a status from 200 to 599\n');
  if (code === 204 || code === 205 || code === 304) r.stream.respond({ ':status': code }, { endStream: true });
  else plain(r, code, `${code}\n`);
};

const bytes = (r: Request, text: string): void => {
  const wanted = whole(text, MAX_BYTES);
  if (wanted === null) return plain(r, 400, `a number up to ${MAX_BYTES}\n`);
  r.stream.respond({ ':status': 200, 'content-type': 'application/octet-stream', 'content-length': wanted });
  if (r.headers[':method'] === 'HEAD') {
    r.stream.end();
    return;
  }
  let left = wanted;
  const more = (): void => {
    let room = true;
    while (left > 0 && room && !r.stream.destroyed) {
      const n = Math.min(left, CHUNK.length);
      room = r.stream.write(n === CHUNK.length ? CHUNK : CHUNK.subarray(0, n));
      left -= n;
    }
    if (left === 0) r.stream.end();
    else r.stream.once('drain', more);
  };
  more();
};

const trailers = (r: Request): void => {
  r.stream.respond({ ':status': 200, 'content-type': 'text/plain; charset=utf-8', trailer: 'x-demo' }, { waitForTrailers: true });
  r.stream.once('wantTrailers', () => r.stream.sendTrailers({ 'x-demo': 'the end' }));
  r.stream.end('trailers follow\n');
};

const events = (r: Request): void => {
  const ms = whole(r.query.get('ms') ?? '1000', MAX_SLOW_MS) ?? 1000;
  const count = whole(r.query.get('count'), MAX_EVENTS) ?? MAX_EVENTS;
  r.stream.respond({ ':status': 200, 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  let n = 0;
  const next = (): void => {
    if (n >= count) {
      clearInterval(timer);
      r.stream.end();
      return;
    }
    // A reader that stalls gets no more until it reads on.
    if (!r.stream.writableNeedDrain) r.stream.write(`id: ${++n}\ndata: ${new Date().toISOString()}\n\n`);
  };
  const timer = setInterval(next, Math.max(1, ms));
  r.stream.once('close', () => clearInterval(timer));
  next();
};

const whoami = (r: Request): void => {
  const { method, authority } = { method: r.headers[':method'], authority: r.headers[':authority'] };
  const peer = r.stream.session?.socket;
  const fields = Object.entries(r.headers).filter(([name]) => !name.startsWith(':'));
  r.stream.respond({ ':status': 200, 'content-type': 'application/json' });
  r.stream.end(
    `${JSON.stringify({ host: hostname(), pid: process.pid, peer: `${peer?.remoteAddress}:${peer?.remotePort}`, method, authority, path: r.headers[':path'], headers: Object.fromEntries(fields) }, null, 2)}\n`,
  );
};

const PAGES: ReadonlyMap<string, (r: Request) => void> = new Map([
  ['/', (r: Request) => plain(r, 200, 'Boo! This is the demo backend of Spooky.\n')],
  ['/health', (r: Request) => plain(r, 200, 'ok\n')],
  ['/echo', echo],
  ['/slow', slow],
  ['/trailers', trailers],
  ['/events', events],
  ['/whoami', whoami],
]);

const serve = (r: Request): void => {
  const page = PAGES.get(r.path);
  if (page !== undefined) return page(r);
  const [, folder, rest, more] = r.path.split('/');
  if (folder === 'status' && rest !== undefined && more === undefined) return status(r, rest);
  if (folder === 'bytes' && rest !== undefined && more === undefined) return bytes(r, rest);
  return plain(r, 404, 'not found\n');
};

export interface Demo {
  readonly host: string;
  readonly port: number;
  /** GOAWAY, and the end when every open request is answered or `ms` are over. */
  drain(ms: number): Promise<void>;
  close(): Promise<void>;
}

export interface DemoTls {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Rejects with the error of `listen`. With `tls`: h2 over TLS 1.3 instead of h2c. */
export const startDemo = (host: string, port: number, tls: DemoTls | null = null): Promise<Demo> => {
  const server = tls === null ? createServer() : createSecureServer({ ...tls, minVersion: 'TLSv1.3', ALPNProtocols: ['h2'] });
  const sessions = new Set<ServerHttp2Session>();
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => {});
    const target = headers[':path'] ?? '/';
    const mark = target.indexOf('?');
    const path = mark < 0 ? target : target.slice(0, mark);
    serve({ stream: stream as ServerHttp2Stream, headers, path, query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)) });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const bound = server.address() as AddressInfo;
      const close = (): Promise<void> =>
        new Promise((done) => {
          server.close(() => done());
          for (const session of sessions) session.destroy();
        });
      const drain = (ms: number): Promise<void> =>
        new Promise((done) => {
          const late = setTimeout(() => sessions.forEach((session) => session.destroy()), ms);
          server.close(() => {
            clearTimeout(late);
            done();
          });
          for (const session of sessions) session.close();
        });
      resolve({ host: bound.address, port: bound.port, drain, close });
    });
  });
};

const readTls = (cert: string | null, key: string | null): Result<DemoTls | null, string> => {
  if (cert === null && key === null) return ok(null);
  if (cert === null || key === null) return err('--cert and --key belong together');
  const files: Buffer[] = [];
  for (const [flag, path] of [
    ['--cert', cert],
    ['--key', key],
  ] as const) {
    try {
      files.push(readFileSync(path));
    } catch (e) {
      return err(`${flag}: ${e instanceof Error ? e.message : String(e)}`);
    }
  }
  return ok({ cert: files[0] as Buffer, key: files[1] as Buffer });
};

export const demo: Command = {
  name: 'demo',
  summary:
    'A small HTTP/2 backend to try things against: /, /echo, /slow?ms=, /status/CODE, /bytes/N, /trailers, /events, /health, /whoami.',
  usage: 'spooky demo [--listen 127.0.0.1:7001] [--cert FILE --key FILE]',
  options: [
    { flag: '--listen', value: 'ADDR', help: 'The address to listen on.', default: '127.0.0.1:7001' },
    { flag: '--cert', value: 'FILE', help: 'A certificate: HTTP/2 over TLS then.', default: 'none: h2c' },
    { flag: '--key', value: 'FILE', help: 'Its key.' },
  ],
  details: 'TERM and INT end it once open requests are answered, 25 s later at the latest; a second one ends it at once.',
  async run(args, io) {
    const read = readArguments(demo, args, io);
    if (read.arguments === null) return read.exit;
    const given = read.arguments;
    if (given.positional.length > 0) return usageFault(demo, `unexpected ${JSON.stringify(given.positional[0])}`, io);
    const address = listenAddress(given.value('--listen') ?? '127.0.0.1:7001');
    if (!address.ok) return usageFault(demo, `--listen ${address.error}`, io);
    const tls = readTls(given.value('--cert'), given.value('--key'));
    if (!tls.ok) return usageFault(demo, tls.error, io);
    try {
      const running = await startDemo(address.value.host, address.value.port, tls.value);
      io.stdout(`demo backend on ${tls.value === null ? 'h2c' : 'https'}://${formatHostPort(running)}\n`);
      await untilSignal();
      await Promise.race([running.drain(DRAIN_MS), untilSignal()]);
      return EXIT.ok;
    } catch (e) {
      const why = e instanceof Error ? e.message : String(e);
      io.stderr(`spooky demo: ${formatHostPort(address.value)} cannot be bound: ${why}\n`);
      return EXIT.bind;
    }
  },
};
