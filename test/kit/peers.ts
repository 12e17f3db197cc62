import { homedir } from 'node:os';
import { join } from 'node:path';
import { Child, parseLine } from './process.ts';

/** Where test/e2e/tools put what they install. */
export const CACHE = process.env['SPOOKY_CACHE'] ?? join(homedir(), '.cache', 'spooky');
export const ROOT = join(import.meta.dirname, '..', '..');
export const TOOLS = join(ROOT, 'test', 'e2e', 'tools');
export const PYTHON = join(CACHE, 'venv', 'bin', 'python');

export interface Dial {
  /** Where datagrams go, `host:port`. */
  readonly address: string;
  /** quic-go: the address to send from; absent: any. */
  readonly local?: string;
  /** SNI. */
  readonly name: string;
  /** File of the trusted CA; without it nothing is verified. */
  readonly ca?: string;
  readonly alpn?: readonly string[];
  readonly timeoutMs?: number;
  readonly idleMs?: number;
  /** aioquic: how often to send a PING; it sends none by itself. */
  readonly keepAliveMs?: number;
  /** quic-go: keep session tickets and use them. */
  readonly resume?: boolean;
  /** quic-go: send early data where a ticket allows it. */
  readonly early?: boolean;
}

export interface RequestSpec {
  readonly method?: string;
  readonly authority: string;
  readonly path: string;
  readonly headers?: readonly (readonly [string, string])[];
  /** Size of the body; absent: none. */
  readonly body?: number;
  /** Whether content-length is sent (default true). */
  readonly declare?: boolean;
  readonly trailers?: readonly (readonly [string, string])[];
  readonly readPauseMs?: number;
  readonly readChunk?: number;
  /** quic-go: reads with `readPauseMs` until the connection has received GOAWAY, then without. */
  readonly linger?: boolean;
  /** Cancels once so many bytes of the answer have come. */
  readonly cancelAfter?: number;
  readonly sendPauseMs?: number;
  /** Cancels after so many milliseconds. */
  readonly cancelMs?: number;
  readonly timeoutMs?: number;
  /** quic-go: moves, in this order, to another local address once so many bytes of both bodies have passed. */
  readonly migrate?: readonly { readonly after: number; readonly local: string }[];
}

export interface Failure {
  readonly kind:
    'application' | 'transport' | 'stream' | 'goaway' | 'timeout' | 'idle' | 'reset' | 'refused' | 'cancelled' | 'usage' | 'other';
  readonly code: number;
  readonly remote: boolean;
  readonly text: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly trailers: readonly (readonly [string, string])[];
  readonly interim: readonly number[];
  readonly size: number;
  readonly sha256: string;
  /** The beginning of the body. */
  readonly text: string;
  /** Hash of the body that was sent. */
  readonly sent: string | null;
  readonly cancelled: boolean;
  readonly firstByteMs: number;
  readonly ms: number;
  readonly error?: Failure;
  /** quic-go: the ids of the GOAWAY frames that the connection had received by the end of the answer. */
  readonly goaways?: readonly number[];
  /** quic-go: the migrations that took place: to which address and port, and how many bytes had passed. */
  readonly moves?: readonly { readonly local: string; readonly at: number }[];
}

export interface LoadResult {
  readonly statuses: Readonly<Record<string, number>>;
  readonly failed: number;
  readonly failures: readonly string[] | null;
  /** Requests that a connection did not begin because it had received GOAWAY. */
  readonly refused: number;
  readonly dials: number;
  readonly gone: number;
  readonly maxMs: number;
}

export interface GrpcCall {
  readonly kind: 'unary' | 'server' | 'client' | 'bidi' | 'error' | 'unimplemented' | 'deadline' | 'cancel';
  readonly authority: string;
  readonly sizes?: readonly number[];
  readonly size?: number;
  readonly code?: number;
  readonly message?: string;
  readonly timeoutMs?: number;
}

export interface GrpcResult {
  readonly code: number;
  readonly message?: string;
  readonly received: readonly number[];
  readonly initial?: string;
  readonly trailing?: string;
  readonly metadata?: readonly (readonly [string, string])[];
}

export class PeerError extends Error {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(`${failure.kind} ${failure.code}: ${failure.text}`);
    this.failure = failure;
  }
}

type Reply = Record<string, unknown> & { error?: Failure };

/** One HTTP/3 client program that takes commands and gives answers as JSON lines; its connections live as long as it. */
export class Driver {
  readonly child: Child;
  #next = 1;
  #pending = new Map<number, (reply: Reply) => void>();

  constructor(command: string, args: readonly string[]) {
    this.child = new Child(command, args);
    let rest = '';
    this.child.process.stdout?.on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) this.#take(line);
    });
    void this.child.exited.then(() => {
      const failure: Failure = { kind: 'other', code: 0, remote: false, text: `the client ended\n${this.child.tail()}` };
      for (const resolve of this.#pending.values()) resolve({ error: failure });
      this.#pending.clear();
    });
  }

  static quicgo(): Driver {
    return new Driver(join(CACHE, 'bin', 'quicgo-client'), []);
  }

  static aioquic(): Driver {
    return new Driver(PYTHON, [join(ROOT, 'test', 'e2e', 'clients', 'aioquic_client.py')]);
  }

  /** aioquic that breaks the rules that its test names: `Connection.flood`. */
  static hostile(): Driver {
    return new Driver(PYTHON, [join(ROOT, 'test', 'e2e', 'clients', 'aioquic_hostile.py')]);
  }

  async open(dial: Dial): Promise<Connection> {
    const conn = `c${this.#next}`;
    const reply = await this.#send({ op: 'open', conn, dial });
    if (reply.error !== undefined) throw new PeerError(reply.error);
    return new Connection(this, conn, reply);
  }

  /** Keeps `conns` x `streams` requests going until `halt`. */
  async load(dial: Dial, request: RequestSpec, shape: { conns: number; streams: number }): Promise<{ halt: () => Promise<LoadResult> }> {
    const id = this.#next;
    const reply = await this.#send({ op: 'load', dial, request, ...shape });
    if (reply.error !== undefined) throw new PeerError(reply.error);
    return { halt: async () => (await this.#send({ op: 'halt', load: id })) as unknown as LoadResult };
  }

  command(command: Record<string, unknown>): Promise<Reply> {
    return this.#send(command);
  }

  async stop(): Promise<void> {
    this.child.process.stdin?.end();
    await this.child.stop();
  }

  #send(command: Record<string, unknown>): Promise<Reply> {
    const id = this.#next++;
    return new Promise((resolve) => {
      if (this.child.exit !== null) {
        resolve({ error: { kind: 'other', code: 0, remote: false, text: `the client has ended\n${this.child.tail()}` } });
        return;
      }
      this.#pending.set(id, resolve);
      this.child.write(JSON.stringify({ id, ...command }));
    });
  }

  #take(line: string): void {
    const reply = parseLine(line);
    const id = Number(reply?.['id']);
    const resolve = this.#pending.get(id);
    if (reply === undefined || resolve === undefined) return;
    this.#pending.delete(id);
    resolve(reply as Reply);
  }
}

export interface End {
  readonly how: Failure;
  readonly goaways: readonly number[];
}

/** A QUIC connection in a driver. */
export class Connection {
  readonly driver: Driver;
  readonly name: string;
  /** SHA-256 of the leaf certificate, hex. */
  readonly certificate: string;
  readonly resumed: boolean;
  /** Whether early data was accepted. */
  readonly early: boolean;
  /** quic-go: the group of the key exchange. */
  readonly group: string;

  constructor(driver: Driver, name: string, facts: Readonly<Record<string, unknown>>) {
    this.driver = driver;
    this.name = name;
    this.certificate = String(facts['certificate']);
    this.resumed = facts['resumed'] === true;
    this.early = facts['early'] === true;
    this.group = String(facts['group'] ?? '');
  }

  /** The answer, complete or not: what ended it early is in `error`. */
  async attempt(request: RequestSpec): Promise<Answer> {
    return (await this.driver.command({ op: 'request', conn: this.name, request })) as unknown as Answer;
  }

  async request(request: RequestSpec): Promise<Answer> {
    const answer = await this.attempt(request);
    if (answer.error !== undefined) throw new PeerError(answer.error);
    return answer;
  }

  async grpc(grpc: GrpcCall): Promise<GrpcResult> {
    const reply = await this.driver.command({ op: 'grpc', conn: this.name, grpc });
    if (reply.error !== undefined) throw new PeerError(reply.error);
    return reply as unknown as GrpcResult;
  }

  /** quic-go: moves to a port of another local address, and answers which. */
  async migrate(local: string): Promise<string> {
    const request = { migrate: [{ after: 0, local }] };
    const reply = await this.driver.command({ op: 'migrate', conn: this.name, request });
    if (reply.error !== undefined) throw new PeerError(reply.error);
    return String((reply['moves'] as { local: string }[])[0]?.local);
  }

  /** What a hostile client does (test/e2e/clients/aioquic_hostile.py); answers how much it could before it was stopped. */
  async flood(what: string, frames: number, more: { readonly mute?: boolean } = {}): Promise<number> {
    const reply = await this.driver.command({ op: 'flood', conn: this.name, what, frames, ...more });
    if (reply.error !== undefined) throw new PeerError(reply.error);
    return Number(reply['sent']);
  }

  closed(): Promise<End> {
    return this.driver.command({ op: 'closed', conn: this.name }) as unknown as Promise<End>;
  }

  async close(): Promise<void> {
    await this.driver.command({ op: 'close', conn: this.name });
  }
}

/** The value of a field, or undefined. */
export function field(answer: { readonly headers: readonly (readonly [string, string])[] }, name: string): string | undefined {
  return answer.headers.find(([key]) => key === name)?.[1];
}
