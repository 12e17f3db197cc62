/** What goes wrong between a client and its API server, on demand. */
import type { ServerResponse } from 'node:http';
import type { LineFaults, WatchStream } from './watches.ts';

export interface Match {
  /** Of the path with its query. */
  readonly path?: RegExp | string;
  readonly method?: string;
  /** Only watches, or only what is none. */
  readonly watch?: boolean;
  /** How many requests; 1 when left out, Infinity until `clear`. */
  readonly times?: number;
}

export interface AskedRequest {
  readonly method: string;
  readonly path: string;
  readonly watch: boolean;
}

/** What becomes of a request; undefined: it is answered as usual. */
export type Spoiled = (response: ServerResponse) => Promise<'answered' | 'go on'>;

interface Armed {
  readonly match: Match;
  left: number;
  readonly spoil: Spoiled;
}

export interface Rate {
  /** Of lines, 0 to 1. */
  readonly duplicate?: number;
  readonly reorder?: number;
  /** Lines are written in two pieces, cut within a character where there is one that can be. */
  readonly split?: number;
  readonly random?: () => number;
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Faults implements LineFaults {
  #armed: Armed[] = [];
  #rate: Rate = {};
  #halfBodies: Match[] = [];
  readonly #streams: ReadonlySet<WatchStream>;

  constructor(streams: ReadonlySet<WatchStream>) {
    this.#streams = streams;
  }

  /** Everything is well again, for requests and lines to come. */
  clear(): void {
    this.#armed = [];
    this.#rate = {};
    this.#halfBodies = [];
  }

  /** Answers with this status. */
  status(
    code: number,
    { retryAfter, reason, message, ...match }: Match & { retryAfter?: number; reason?: string; message?: string } = {},
  ): void {
    this.#arm(match, async (response) => {
      const body = {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        message: message ?? `fault ${code}`,
        reason: reason ?? REASONS[code] ?? '',
        code,
      };
      response.writeHead(code, {
        'content-type': 'application/json',
        ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
      });
      response.end(JSON.stringify(body));
      return 'answered';
    });
  }

  /** A page of some proxy on the way. */
  html(code = 502, match: Match = {}): void {
    this.#arm(match, async (response) => {
      response.writeHead(code, { 'content-type': 'text/html' });
      response.end('<html><body><h1>Bad Gateway</h1></body></html>\n');
      return 'answered';
    });
  }

  /** Bytes of one's own as the answer. */
  answer(code: number, headers: Readonly<Record<string, string>>, body: string | Buffer, match: Match = {}): void {
    this.#arm(match, async (response) => {
      response.writeHead(code, headers);
      response.end(body);
      return 'answered';
    });
  }

  slowHeaders(ms: number, match: Match = {}): void {
    this.#arm(match, async () => {
      await wait(ms);
      return 'go on';
    });
  }

  /** New requests are taken and never answered; streams that are open fall silent. */
  blackHole(match: Match = { times: Infinity }): void {
    this.#arm(match, () => Promise.resolve('answered'));
    for (const stream of this.#matching(match)) stream.freeze();
  }

  /** Open watches end without a word; with `requests` so do as many requests to come. */
  cut(match: Match & { requests?: number } = {}): void {
    if (match.requests !== undefined) {
      this.#arm({ ...match, times: match.requests }, async (response) => {
        response.destroy();
        return 'answered';
      });
    }
    for (const stream of this.#matching(match)) stream.cut();
  }

  /** Open watches get half of a line and then the end. */
  halfLine(match: Match = {}): void {
    for (const stream of this.#matching(match)) stream.half();
  }

  /** Answers that are no watches end after half of their body. */
  halfBody(match: Match = {}): void {
    this.#halfBodies.push(...Array.from({ length: match.times ?? 1 }, () => match));
  }

  /** Open watches get the 410 event; watches to come get it, or the HTTP status. */
  gone({ as = 'event', ...match }: Match & { as?: 'event' | 'status' } = {}): void {
    const message = 'too old resource version: 1 (2)';
    const body = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason: 'Expired', code: 410 } as const;
    for (const stream of this.#matching(match)) stream.error(body);
    if (match.times === undefined) return;
    if (as === 'status') return this.status(410, { ...match, watch: true, reason: 'Expired', message });
    const line = `${JSON.stringify({ type: 'ERROR', object: body })}\n`;
    this.answer(200, { 'content-type': 'application/json' }, line, { ...match, watch: true });
  }

  /** Open watches get this error event and end. */
  errorEvent(code: number, message: string, match: Match = {}): void {
    const body = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message,
      reason: REASONS[code] ?? 'InternalError',
      code,
    } as const;
    for (const stream of this.#matching(match)) stream.error(body);
  }

  /** Bytes of one's own on open watches. */
  raw(text: string | Buffer, match: Match = {}): void {
    for (const stream of this.#matching(match)) stream.raw(text);
  }

  /** A line of so many bytes on open watches: an object with a large annotation. */
  huge(bytes: number, match: Match = {}): void {
    for (const stream of this.#matching(match)) {
      const metadata = {
        name: 'huge',
        namespace: 'default',
        uid: 'huge',
        resourceVersion: '1',
        annotations: { filler: 'x'.repeat(bytes) },
      };
      stream.raw(`${JSON.stringify({ type: 'ADDED', object: { kind: stream.kind.kind, metadata } })}\n`);
    }
  }

  /** What happens to lines from now on. */
  lineRate(rate: Rate): void {
    this.#rate = rate;
  }

  lines(line: string, stream: WatchStream): readonly (string | Buffer)[] {
    const { duplicate = 0, reorder = 0, split = 0, random = Math.random } = this.#rate;
    let out = [line];
    if (stream.held !== null) {
      // What is no change stays behind every change that came before it.
      out = isChange(line) ? [line, stream.held] : [stream.held, line];
      stream.held = null;
    } else if (reorder > 0 && isChange(line) && random() < reorder) {
      stream.held = line;
      return [];
    }
    if (duplicate > 0 && random() < duplicate && isChange(line)) out.push(line);
    return split > 0 && random() < split ? out.flatMap(pieces) : out;
  }

  /** For the server: what becomes of this request. */
  take(request: AskedRequest): Spoiled | undefined {
    const index = this.#armed.findIndex((armed) => armed.left > 0 && matches(armed.match, request));
    const armed = this.#armed[index];
    if (armed === undefined) return undefined;
    armed.left--;
    if (armed.left <= 0) this.#armed.splice(index, 1);
    return armed.spoil;
  }

  takeHalfBody(request: AskedRequest): boolean {
    const index = this.#halfBodies.findIndex((match) => matches(match, request));
    if (index >= 0) this.#halfBodies.splice(index, 1);
    return index >= 0;
  }

  /** Any other thing that can become of a request. */
  custom(match: Match, spoil: Spoiled): void {
    this.#arm(match, spoil);
  }

  #arm(match: Match, spoil: Spoiled): void {
    this.#armed.push({ match, left: match.times ?? 1, spoil });
  }

  #matching({ path, watch }: Match): WatchStream[] {
    if (watch === false) return [];
    return [...this.#streams].filter((stream) =>
      matches(path === undefined ? {} : { path }, { method: 'GET', path: stream.path, watch: true }),
    );
  }
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

function matches({ path, method, watch }: Match, request: AskedRequest): boolean {
  const fits = path === undefined || (typeof path === 'string' ? request.path.includes(path) : path.test(request.path));
  return fits && (method === undefined || method === request.method) && (watch === undefined || watch === request.watch);
}

/** Bookmarks stay in their place: they say that everything before them has been sent. */
const isChange = (line: string): boolean => !line.startsWith('{"type":"BOOKMARK"') && !line.startsWith('{"type":"ERROR"');

/** Two pieces, the first of which ends within a character of more than one byte, if there is one. */
function pieces(line: string): Buffer[] {
  const bytes = Buffer.from(line);
  const inside = bytes.findIndex((byte) => byte >= 0xc0);
  const at = inside < 0 ? Math.floor(bytes.length / 2) : inside + 1;
  return [bytes.subarray(0, at), bytes.subarray(at)];
}
