/**
 * Clients as real ones are: connections that live long, many requests on each, and another connection where the server says GOAWAY. quic-go
 * begins nothing on a connection once it has received GOAWAY, and says so: such a request is made again on the next connection. Every other
 * request without a whole answer has failed: it was begun before its client had received GOAWAY.
 */
import { afterAll } from '@jest/globals';
import { Driver, PeerError, type Answer, type Connection, type Dial, type RequestSpec } from '../../kit/peers.ts';
import { eventually } from '../../kit/process.ts';

export const HOST = 'demo.example.com';
export const NODE_PORT = 30443;
/** Both nodes, by the port of the default installation. */
export const ENTRANCES: readonly string[] = ['198.18.0.11', '198.18.0.12'].map((address) => `${address}:${NODE_PORT}`);

let shared: Driver | null = null;
const driver = (): Driver => (shared ??= Driver.quicgo());
afterAll(async () => {
  await shared?.stop();
  shared = null;
});

export type Where = Partial<Dial>;

/** A connection of its own. A node's rules follow a change of Services within a second or two: QUIC sends its first datagram again by itself. */
export const client = (address: string = ENTRANCES[0] ?? '', where: Where = {}): Promise<Connection> =>
  driver().open({ address, name: HOST, timeoutMs: 10_000, ...where });

export const ask = (path: string): RequestSpec => ({ authority: HOST, path });

/** One request on a connection of its own. */
export async function once(path: string, address?: string, where: Where = {}): Promise<Answer> {
  const connection = await client(address, where);
  try {
    return await connection.request({ ...ask(path), authority: where.name ?? HOST });
  } finally {
    await connection.close();
  }
}

export interface Whoami {
  readonly host: string;
  readonly peer: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What the demo backend saw. */
export const whoami = async (address?: string, where: Where = {}): Promise<Whoami> => {
  const answer = await once('/whoami', address, where);
  if (answer.status !== 200) throw new Error(`whoami: ${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as Whoami;
};

export interface DownloadOptions {
  readonly bytes?: number;
  readonly address?: string;
  readonly timeoutMs?: number;
  readonly where?: Where;
}

export interface Download {
  readonly connection: Connection;
  readonly answer: Promise<Answer>;
}

/**
 * An answer that spans a drain, whenever that comes: it is read slowly (64 KiB/s) until the connection has received GOAWAY, then as fast as it
 * comes. `goaways` of the answer says whether it did.
 */
export async function download(options: DownloadOptions = {}): Promise<Download> {
  const connection = await client(options.address, options.where);
  const answer = connection.attempt({
    ...ask(`/bytes/${options.bytes ?? 32 * 1024 * 1024}`),
    readChunk: 16 * 1024,
    readPauseMs: 250,
    linger: true,
    timeoutMs: options.timeoutMs ?? 300_000,
  });
  return { connection, answer };
}

export interface LoadOptions {
  /** Requests a second, over all connections. */
  readonly rps?: number;
  readonly connections?: number;
  /** Where connections go, in turn; one that cannot be made there is made at the next, as with a name that has several addresses. */
  readonly addresses?: readonly string[];
  readonly path?: string;
  readonly where?: Where;
  /** Within which a request must have its whole answer, connections included. */
  readonly timeoutMs?: number;
  /** Every whole answer. */
  readonly heard?: (answer: Answer) => void;
}

export interface LoadCounts {
  /** Requests that were to be made. */
  readonly begun: number;
  /** Those with status 200. */
  readonly ok: number;
  readonly statuses: Readonly<Record<string, number>>;
  /** Those that were begun before their client had received GOAWAY and have no whole answer, and those that had none on another connection either. */
  readonly failedBeforeGoaway: number;
  /** What the first of them said, with the time since the beginning. */
  readonly failures: readonly string[];
  /** How often a request was not begun because of GOAWAY, and was made again on another connection. */
  readonly retried: number;
  /** Connections that were replaced because of GOAWAY. */
  readonly replaced: number;
  readonly dials: number;
  readonly failedDials: number;
  readonly slowestMs: number;
}

/** Requests that may be under way at once; more are failures: nobody answers. */
const MOST_UNDER_WAY = 2000;
const MOST_FAILURES_KEPT = 20;

class Lane {
  readonly #addresses: readonly string[];
  #at: number;
  connection: Promise<Connection> | null = null;

  constructor(addresses: readonly string[], at: number) {
    this.#addresses = addresses;
    this.#at = at;
  }

  get address(): string {
    return this.#addresses[this.#at % this.#addresses.length] ?? '';
  }

  elsewhere(): void {
    this.#at += 1;
  }
}

export class Load {
  readonly #started = Date.now();
  readonly #lanes: readonly Lane[];
  readonly #where: Where;
  readonly #heard: (answer: Answer) => void;
  readonly #request: RequestSpec;
  readonly #timeoutMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #underWay = new Set<Promise<void>>();
  readonly #statuses: Record<string, number> = {};
  readonly #failures: string[] = [];
  #begun = 0;
  #ticks = 0;
  #failed = 0;
  #retried = 0;
  #replaced = 0;
  #dials = 0;
  #failedDials = 0;
  #slowestMs = 0;

  constructor(options: LoadOptions = {}) {
    const addresses = options.addresses ?? ENTRANCES;
    const where = options.where ?? {};
    this.#where = where;
    this.#heard = options.heard ?? (() => undefined);
    this.#lanes = Array.from({ length: options.connections ?? 6 }, (_, i) => new Lane(addresses, i));
    this.#request = { ...ask(options.path ?? '/slow?ms=20'), authority: where.name ?? HOST };
    this.#timeoutMs = options.timeoutMs ?? 20_000;
    const everyMs = 1000 / (options.rps ?? 40);
    // A timer that is late makes up for it, so that the number of requests does not depend on how busy the machine is.
    this.#timer = setInterval(() => {
      const due = Math.floor((Date.now() - this.#started) / everyMs);
      for (; this.#ticks < due; this.#ticks++) this.#begin();
    }, everyMs);
  }

  counts(): LoadCounts {
    return {
      begun: this.#begun,
      ok: this.#statuses['200'] ?? 0,
      statuses: { ...this.#statuses },
      failedBeforeGoaway: this.#failed,
      failures: [...this.#failures],
      retried: this.#retried,
      replaced: this.#replaced,
      dials: this.#dials,
      failedDials: this.#failedDials,
      slowestMs: Math.round(this.#slowestMs),
    };
  }

  /** Waits for so many more good answers. */
  async more(answers: number, timeoutMs = 60_000): Promise<void> {
    const wanted = this.counts().ok + answers;
    await eventually(() => {
      if (this.counts().ok >= wanted) return Promise.resolve();
      return Promise.reject(new Error(`${answers} more answers: ${JSON.stringify(this.counts())}`));
    }, timeoutMs);
  }

  /** Waits until that many connections have been replaced. */
  async replaced(connections: number, timeoutMs = 60_000): Promise<void> {
    await eventually(() => {
      if (this.#replaced >= connections) return Promise.resolve();
      return Promise.reject(new Error(`${connections} connections replaced: ${JSON.stringify(this.counts())}`));
    }, timeoutMs);
  }

  /** Begins nothing more, and waits for what is under way. */
  async stop(): Promise<LoadCounts> {
    clearInterval(this.#timer);
    await Promise.all(this.#underWay);
    await Promise.all(this.#lanes.map(async ({ connection }) => (await connection?.catch(() => null))?.close()));
    return this.counts();
  }

  #begin(): void {
    this.#begun += 1;
    const lane = this.#lanes[this.#begun % this.#lanes.length] as Lane;
    if (this.#underWay.size >= MOST_UNDER_WAY) return this.#fail('nothing comes back', lane);
    const running: Promise<void> = this.#one(lane)
      .catch((cause: unknown) => this.#fail(String(cause), lane))
      .finally(() => this.#underWay.delete(running));
    this.#underWay.add(running);
  }

  async #one(lane: Lane): Promise<void> {
    const started = Date.now();
    const left = (): number => started + this.#timeoutMs - Date.now();
    while (left() > 0) {
      const connecting = (lane.connection ??= this.#dial(lane));
      const connection = await connecting.catch(() => null);
      if (connection === null) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        continue;
      }
      const answer = await connection.attempt({ ...this.#request, timeoutMs: Math.max(1, left()) });
      this.#slowestMs = Math.max(this.#slowestMs, Date.now() - started);
      if (answer.error === undefined) {
        this.#statuses[answer.status] = (this.#statuses[answer.status] ?? 0) + 1;
        return this.#heard(answer);
      }
      const { kind, code, text } = answer.error;
      const first = lane.connection === connecting;
      // The next request dials again; where the connection lives on in spite of an error, the others on it go on.
      if (first && kind !== 'stream' && kind !== 'timeout') lane.connection = null;
      if (kind !== 'goaway') return this.#fail(`${kind} ${code}: ${text}`, lane);
      if (first) this.#replaced += 1;
      this.#retried += 1;
    }
    this.#fail('no answer on any connection', lane);
  }

  async #dial(lane: Lane): Promise<Connection> {
    this.#dials += 1;
    try {
      return await client(lane.address, { timeoutMs: 4000, ...this.#where });
    } catch (cause) {
      this.#failedDials += 1;
      lane.connection = null;
      lane.elsewhere();
      throw cause instanceof PeerError ? cause : new Error('no connection', { cause });
    }
  }

  #fail(what: string, lane: Lane): void {
    this.#failed += 1;
    if (this.#failures.length < MOST_FAILURES_KEPT)
      this.#failures.push(`${((Date.now() - this.#started) / 1000).toFixed(1)} s, ${lane.address}: ${what}`);
  }
}

/** Begins at once; returns when every connection has had an answer. */
export async function startLoad(options: LoadOptions = {}): Promise<Load> {
  const load = new Load(options);
  try {
    await load.more(3 * (options.connections ?? 6));
    return load;
  } catch (cause) {
    await load.stop();
    throw cause;
  }
}

/** What a load must have come to when nothing may go wrong. */
export const WHOLE = { failedBeforeGoaway: 0, failures: [], failedDials: 0 };
