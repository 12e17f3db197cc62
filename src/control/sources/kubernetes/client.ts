/** The API server over `node:https`: what is asked of it is bounded in time and size, and every failure is an answer. */
import type { IncomingMessage } from 'node:http';
import type { Clock } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import type { Access, Credentials } from './access.ts';
import { apiError, messageOf, statusError } from './answers.ts';
import type { ApiAnswer, ApiError, ApiRequest, KubeApi, StreamEnd, StreamOptions } from './api.ts';
import { parseBody, SLICE_MS } from './bodies.ts';
import { Connections } from './connections.ts';
import { exchange, type Outcome, type Reading } from './exchange.ts';
import { Lines } from './lines.ts';

export const MAX_BODY = 64 * 1024 * 1024;
/** etcd takes 1.5 MiB by default; as JSON, with escapes and managed fields, an object is larger. */
export const MAX_LINE = 4 * 1024 * 1024;
/** What is read of an answer that says no. */
const MAX_REFUSAL = 1024 * 1024;
const BODY_MS = 30_000;

export interface ClientOptions {
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly log: Log;
  /** `spooky/VERSION (POD)`. */
  readonly userAgent: string;
}

export const createClient = (options: ClientOptions): KubeApi => new Client(options);

/** What is sent, and which connections it takes. */
interface Call {
  readonly use: 'requests' | 'watches';
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
  readonly signal: AbortSignal | null;
}

/** Reads the whole body, then calls `done` with it; ends the exchange itself when it is too much or too late. */
const readBody = (clock: Clock, { response, finish, onOver }: Reading, limit: number, done: (bytes: Buffer) => void): void => {
  const chunks: Buffer[] = [];
  let size = 0;
  const cancel = clock.after(BODY_MS, () =>
    finish(apiError('timeout', `no complete answer within ${BODY_MS / 1000} s`, response.statusCode)),
  );
  response.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= limit) chunks.push(chunk);
    else finish(apiError('too_large', `an answer of more than ${limit} bytes`, response.statusCode));
  });
  onOver(cancel);
  response.on('end', () => {
    if (size <= limit) done(Buffer.concat(chunks, size));
    finish(null);
  });
};

/** What the body of a refusal says; proxies in between write HTML. */
const refusal = (response: IncomingMessage, bytes: Buffer): ApiError => {
  let body: unknown = null;
  try {
    body = JSON.parse(bytes.toString('utf8'));
  } catch {
    // The code says enough.
  }
  return statusError(response.statusCode ?? 0, body, response.headers['retry-after']);
};

const isGood = (status: number): boolean => status >= 200 && status < 300;

/** Lines for as long as the stream lasts. */
const readLines = (clock: Clock, { response, finish, over, onOver }: Reading, o: StreamOptions): void => {
  const lines = new Lines(MAX_LINE, (line) => {
    if (!over()) o.onLine(line);
  });
  let heardAt = clock.now();
  let cancel = (): void => {};
  const watch = (): void => {
    const left = heardAt + o.silenceMs - clock.now();
    if (left <= 0) finish(apiError('timeout', `nothing was heard for ${o.silenceMs / 1000} s`, 200));
    else cancel = clock.after(left, watch);
  };
  watch();
  let spent = 0;
  const turned = (): void => {
    spent = 0;
    response.resume();
  };
  response.on('data', (chunk: Buffer) => {
    heardAt = clock.now();
    const from = performance.now();
    try {
      if (!lines.push(chunk)) finish(apiError('too_large', `a line of more than ${MAX_LINE} bytes`, 200));
    } catch (e) {
      finish(apiError('malformed', messageOf(e), 200));
    }
    spent += performance.now() - from;
    if (spent < SLICE_MS) return;
    response.pause();
    setImmediate(turned);
  });
  onOver(() => cancel());
  response.on('end', () => {
    finish(lines.rest === 0 ? null : apiError('connection', 'the stream ended within a line', 200));
  });
  o.onOpen();
};

type Said = { readonly refused: ApiError } | { readonly status: number; readonly bytes: Buffer };

class Client implements KubeApi {
  private readonly o: ClientOptions;
  private readonly connections = new Connections();
  private readonly running = new Set<() => void>();
  private closed = false;

  constructor(o: ClientOptions) {
    this.o = o;
  }

  async request(r: ApiRequest): Promise<ApiAnswer> {
    const said = await this.call(asCall(r), (reading, done) => {
      const status = reading.response.statusCode ?? 0;
      if (isGood(status)) readBody(this.o.clock, reading, MAX_BODY, (bytes) => done({ status, bytes }));
      else this.readRefusal(reading, done);
    });
    if ('refused' in said) return { ok: false, error: said.refused };
    try {
      return { ok: true, status: said.status, body: await parseBody(said.bytes) };
    } catch (e) {
      return { ok: false, error: apiError('malformed', `the answer is no JSON: ${messageOf(e)}`, said.status) };
    }
  }

  async stream(path: string, options: StreamOptions): Promise<StreamEnd> {
    const headers = { accept: options.accept ?? 'application/json' };
    const call: Call = { use: 'watches', method: 'GET', path, headers, body: null, signal: options.signal };
    const said = await this.call(call, (reading, done) => {
      if (reading.response.statusCode === 200) readLines(this.o.clock, reading, options);
      else this.readRefusal(reading, done);
    });
    return 'refused' in said ? said.refused : null;
  }

  close(): void {
    this.closed = true;
    for (const end of this.running) end();
    this.connections.close();
  }

  private readRefusal(reading: Reading, done: (said: Said) => void): void {
    readBody(this.o.clock, reading, MAX_REFUSAL, (bytes) => done({ refused: refusal(reading.response, bytes) }));
  }

  /** Once, and once more when that can do no harm and may help: with new credentials, or on a new connection when an idle one had ended. */
  private async call(call: Call, read: (reading: Reading, done: (said: Said) => void) => void): Promise<Said> {
    const used = await this.o.credentials.access();
    const { said, stale, untrusted } = await this.once(call, used, read);
    if (!('refused' in said) || this.closed) return said;
    if (said.refused.kind === 'unauthorized' || untrusted) {
      await this.o.credentials.renew();
      const now = await this.o.credentials.access();
      if (now.identity === used.identity && now.headers['authorization'] === used.headers['authorization']) return said;
    } else if (!stale || call.method !== 'GET') return said;
    return (await this.once(call, await this.o.credentials.access(), read)).said;
  }

  private async once(
    call: Call,
    access: Access,
    read: (reading: Reading, done: (said: Said) => void) => void,
  ): Promise<{ readonly said: Said } & Omit<Outcome, 'error'>> {
    if (this.closed) return { said: { refused: apiError('aborted', 'closed') }, stale: false, untrusted: false };
    let said: Said = { status: 200, bytes: Buffer.alloc(0) };
    const lease = this.connections.lease(access, call.use);
    const { clock, userAgent } = this.o;
    const headers = { 'user-agent': userAgent, ...call.headers };
    const outcome = await exchange({ ...call, access, headers, agent: lease.agent, clock, running: this.running }, (reading) => {
      read(reading, (s) => {
        said = s;
      });
    });
    lease.release();
    return { said: outcome.error === null ? said : { refused: outcome.error }, stale: outcome.stale, untrusted: outcome.untrusted };
  }
}

const asCall = ({ method, path, body, contentType, accept, signal }: ApiRequest): Call => ({
  use: 'requests',
  method,
  path,
  headers: {
    accept: accept ?? 'application/json',
    ...(body === undefined ? {} : { 'content-type': contentType ?? 'application/json' }),
  },
  body: body === undefined ? null : Buffer.from(JSON.stringify(body)),
  signal: signal ?? null,
});
