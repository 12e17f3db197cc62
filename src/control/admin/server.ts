/** A small read-only HTTP server for probes, metrics and the admin API. Nothing here changes state. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP, type AddressInfo, type Socket } from 'node:net';
import { formatHostPort, type HostPort } from '../../contract/resources/units.ts';
import type { Secret } from '../../lib/secret.ts';

export interface Answer {
  readonly status: number;
  readonly type: string;
  /** Pieces are made only as fast as the client reads them. */
  readonly body: string | Iterable<string>;
}

export interface Asked {
  readonly accept: string;
}

export interface Route {
  /** Answered without the token. */
  readonly open: boolean;
  answer(asked: Asked): Answer | Promise<Answer>;
}

export interface ServerOptions {
  readonly address: HostPort;
  readonly routes: ReadonlyMap<string, Route>;
  readonly maxConnections: number;
  /** Refuse host names that are not ours: a page in a browser may have rebound its name to our address. */
  readonly checkHost: boolean;
  /** Names accepted beside IP literals and `localhost`. */
  readonly hostNames: readonly string[];
  /** null: no token is asked for. Read per request, so that a changed file holds at once. */
  readonly token: () => Secret | null;
  readonly onError: (e: unknown) => void;
}

export interface AdminServer {
  readonly address: HostPort;
  close(): Promise<void>;
}

const HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' } as const;
const SLICE_MS = 10;
const WRITE_CHARS = 128 * 1024;
/** Long answers that are made at the same time. */
const MAX_STREAMING = 8;

export const text = (status: number, body: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: body === '' ? '' : `${body}\n`,
});

const hostOf = (header: string): string => {
  const bracketed = /^\[([^\]]*)\](:\d*)?$/.exec(header);
  return (bracketed?.[1] ?? header.replace(/:\d*$/, '')).toLowerCase();
};

const hostAllowed = (request: IncomingMessage, o: ServerOptions): boolean => {
  const host = hostOf(request.headers.host ?? '');
  if (isIP(host) === 0 && host !== 'localhost' && !o.hostNames.includes(host)) return false;
  // A browser's request from another site carries its Origin; nobody else sends one with GET.
  const origin = request.headers.origin;
  return origin === undefined || origin === `http://${request.headers.host ?? ''}`;
};

const digest = (bytes: Uint8Array | string): Buffer => createHash('sha256').update(bytes).digest();

/** Digests have one length, so that the comparison says nothing about the token's. */
export const tokenMatches = (header: string | undefined, token: Secret): boolean => {
  const given = /^bearer +([^ ]+) *$/i.exec(header ?? '')?.[1] ?? '';
  return timingSafeEqual(digest(given), digest(token.reveal())) && given !== '';
};

const refuse = (request: IncomingMessage, response: ServerResponse, o: ServerOptions): Answer | Route => {
  if (o.checkHost && !hostAllowed(request, o)) return text(403, 'host not allowed');
  const path = (request.url ?? '').split('?', 1)[0] as string;
  const route = o.routes.get(path);
  const token = o.token();
  if (token !== null && route?.open !== true && !tokenMatches(request.headers.authorization, token)) {
    response.setHeader('www-authenticate', 'Bearer');
    return text(401, 'a bearer token is required');
  }
  if (route === undefined) return text(404, 'not found');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD');
    return text(405, 'only GET and HEAD');
  }
  return route;
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Resolves false when the client has gone. */
const drained = (response: ServerResponse): Promise<boolean> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve(!response.destroyed);
    };
    response.on('drain', done);
    response.on('close', done);
  });

const stream = async (response: ServerResponse, pieces: Iterable<string>): Promise<void> => {
  let buffer = '';
  let began = performance.now();
  for (const piece of pieces) {
    buffer += piece;
    if (buffer.length >= WRITE_CHARS) {
      const room = response.write(buffer);
      buffer = '';
      if (!room && !(await drained(response))) return;
    }
    if (performance.now() - began >= SLICE_MS) {
      await turn();
      if (response.destroyed) return;
      began = performance.now();
    }
  }
  response.end(buffer);
};

class Requests {
  private readonly o: ServerOptions;
  private streaming = 0;

  constructor(o: ServerOptions) {
    this.o = o;
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const found = refuse(request, response, this.o);
    let answer: Answer;
    if (!('answer' in found)) answer = found;
    else if (this.streaming >= MAX_STREAMING && !found.open) answer = text(503, 'too many requests at once');
    else answer = await this.ask(found, request);
    request.resume();
    response.writeHead(answer.status, { ...HEADERS, 'content-type': answer.type });
    if (request.method === 'HEAD' || typeof answer.body === 'string') {
      response.end(request.method === 'HEAD' ? '' : answer.body);
      return;
    }
    this.streaming++;
    try {
      await stream(response, answer.body);
    } finally {
      this.streaming--;
    }
  }

  private async ask(route: Route, request: IncomingMessage): Promise<Answer> {
    // Counted from here: what is being collected is work under way too.
    if (!route.open) this.streaming++;
    try {
      return await route.answer({ accept: String(request.headers.accept ?? '') });
    } finally {
      if (!route.open) this.streaming--;
    }
  }
}

const listen = (server: Server, address: HostPort): Promise<HostPort> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, exclusive: true }, () => {
      server.off('error', reject);
      resolve({ host: address.host, port: (server.address() as AddressInfo).port });
    });
  });

/** `[::]` is every address: on a machine without IPv6 that is every address of the other family. */
const listenOnAny = async (server: Server, address: HostPort): Promise<HostPort> => {
  try {
    return await listen(server, address);
  } catch (e) {
    const code = (e as NodeJS.ErrnoException).code;
    if (address.host !== '::' || (code !== 'EAFNOSUPPORT' && code !== 'EADDRNOTAVAIL')) throw e;
    return listen(server, { host: '0.0.0.0', port: address.port });
  }
};

/** Whoever takes the last place sends away those who keep theirs for nothing: a probe must not be turned away for them. */
const makeRoom = (server: Server, most: number): void => {
  let open = 0;
  // Before it is one of them itself.
  server.prependListener('connection', (socket: Socket) => {
    if (++open >= most) server.closeIdleConnections();
    socket.once('close', () => open--);
  });
};

/** Rejects with the error of `listen`. */
export const startServer = async (o: ServerOptions): Promise<AdminServer> => {
  const requests = new Requests(o);
  const server = createServer(
    {
      maxHeaderSize: 16 * 1024,
      headersTimeout: 10_000,
      requestTimeout: 30_000,
      keepAliveTimeout: 15_000,
      connectionsCheckingInterval: 5000,
    },
    (request, response) => {
      request.on('error', () => {});
      response.on('error', () => {});
      requests.serve(request, response).catch((e: unknown) => {
        o.onError(e);
        response.destroy();
      });
    },
  );
  server.maxConnections = o.maxConnections;
  makeRoom(server, o.maxConnections);
  server.maxRequestsPerSocket = 10_000;
  // A client that neither sends nor reads.
  server.timeout = 30_000;
  const address = await listenOnAny(server, o.address);
  server.on('error', o.onError);
  return {
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

export { formatHostPort };
