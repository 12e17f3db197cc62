/** `spooky demo`: a small h2c backend to try things against. */
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { formatHostPort, listenAddress } from '../contract/resources/index.ts';
import { EXIT, readArguments, usageFault, type Command } from './command.ts';
import { untilSignal } from './signals.ts';

const MAX_SLOW_MS = 60_000;
const MAX_BYTES = 10 * 1024 ** 3;
const CHUNK = Buffer.alloc(64 * 1024, 'spooky\n');
const MAX_EVENTS = 100_000;

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
  close(): Promise<void>;
}

/** Rejects with the error of `listen`. */
export const startDemo = (host: string, port: number): Promise<Demo> => {
  const server: Http2Server = createServer();
  const sessions = new Set<{ destroy(): void }>();
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
      resolve({ host: bound.address, port: bound.port, close });
    });
  });
};

export const demo: Command = {
  name: 'demo',
  summary: 'A small h2c backend to try things against: /, /echo, /slow?ms=, /status/CODE, /bytes/N, /trailers, /events, /health, /whoami.',
  usage: 'spooky demo [--listen 127.0.0.1:7001]',
  options: [{ flag: '--listen', value: 'ADDR', help: 'The address to listen on.', default: '127.0.0.1:7001' }],
  async run(args, io) {
    const read = readArguments(demo, args, io);
    if (read.arguments === null) return read.exit;
    if (read.arguments.positional.length > 0) return usageFault(demo, `unexpected ${JSON.stringify(read.arguments.positional[0])}`, io);
    const address = listenAddress(read.arguments.value('--listen') ?? '127.0.0.1:7001');
    if (!address.ok) return usageFault(demo, `--listen ${address.error}`, io);
    try {
      const running = await startDemo(address.value.host, address.value.port);
      io.stdout(`demo backend on h2c://${formatHostPort(running)}\n`);
      await untilSignal();
      await running.close();
      return EXIT.ok;
    } catch (e) {
      io.stderr(`spooky demo: ${formatHostPort(address.value)} cannot be bound: ${e instanceof Error ? e.message : String(e)}\n`);
      return EXIT.bind;
    }
  },
};
