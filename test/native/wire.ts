import { loadAddon, type Addon, type Opened } from '../../src/edge/quic/native/binding.ts';
import { dialJson, listenJson } from '../../src/edge/quic/native/options.ts';
import {
  COMMAND_CLOSE,
  COMMAND_SEND,
  EVENT_CLOSE,
  EVENT_CONN,
  EVENT_DATA,
  EVENT_FAILED,
  FIN,
  highHalf,
  join,
  RECORD_BYTES,
  WORDS,
} from '../../src/edge/quic/native/records.ts';
import { readPairs, type Pair } from '../../src/edge/quic/entry.ts';
import { connectOptions, listenOptions, localEntry } from '../edge/quic/kit.ts';

/** The addon that a case was given. */
export const caseAddon = (): Addon => loadAddon(process.argv[2]);

/** What a case found, for the test that started it. */
export function tell(found: unknown): void {
  process.stdout.write(`${JSON.stringify(found)}\n`);
}

export const LISTEN = (): string =>
  listenJson(listenOptions({ limits: { perAddress: 10_000, connections: 10_000, handshakesPerSecond: 10_000 } }), {});
/** A certificate and its key, as an endpoint gets them. */
export const PAIR = (): Pair => readPairs(localEntry())[0] as Pair;
export const DIAL = (port: number): string => dialJson(connectOptions(port));

export type OnEvent = (w: Wire, at: number) => void;

/** One endpoint of the addon by its records alone: nothing between the test and the addon judges or repairs them. */
export class Wire {
  readonly addon: Addon;
  readonly opened: Opened;
  readonly handle: number;
  readonly port: number;
  readonly events: Uint32Array;
  readonly data: Buffer;
  readonly commands: Uint32Array;
  readonly out: Buffer;
  readonly faults: string[] = [];
  turns = 0;
  /** Called when a batch's events are done. */
  afterTurn: (w: Wire) => void = () => {};
  private waiting = 0;
  private used = 0;
  private readonly onEvent: OnEvent;

  constructor(addon: Addon, kind: 'open' | 'dial', options: string, onEvent: OnEvent) {
    this.addon = addon;
    this.onEvent = onEvent;
    this.opened = addon[kind](
      options,
      (events) => this.turn(events),
      (message) => this.faults.push(message),
    );
    const o = this.opened;
    this.handle = o.handle;
    this.port = (JSON.parse(o.addresses) as { port: number }[])[0]?.port ?? 0;
    this.events = new Uint32Array(o.eventRecords);
    this.data = Buffer.from(o.eventData);
    this.commands = new Uint32Array(o.commandRecords);
    this.out = Buffer.from(o.commandData);
  }

  private turn(events: number): number {
    this.turns++;
    for (let i = 0; i < events; i++) this.onEvent(this, i * WORDS);
    this.afterTurn(this);
    return this.take();
  }

  word(at: number, i: number): number {
    return this.events[at + i] as number;
  }

  kind(at: number): number {
    return this.word(at, 0);
  }

  id(at: number): number {
    return join(this.word(at, 3), this.word(at, 4));
  }

  /** A copy. */
  bytes(at: number): Buffer {
    return Buffer.from(this.data.subarray(this.word(at, 5), this.word(at, 5) + this.word(at, 6)));
  }

  isFin(at: number): boolean {
    return (this.word(at, 7) & FIN) !== 0;
  }

  /** The commands that wait, which are the addon's from here on. */
  take(): number {
    const count = this.waiting;
    this.waiting = 0;
    this.used = 0;
    return count;
  }

  flush(): void {
    this.addon.flush(this.handle, this.take());
  }

  command(words: readonly number[]): void {
    if ((this.waiting + 1) * RECORD_BYTES > this.opened.commandRecords.byteLength) this.addon.submit(this.handle, this.take());
    this.commands.set(words, this.waiting++ * WORDS);
  }

  send(slot: number, generation: number, id: number, bytes: Uint8Array, fin: boolean): void {
    if (this.used + bytes.length > this.out.length) this.addon.submit(this.handle, this.take());
    this.out.set(bytes, this.used);
    this.command([COMMAND_SEND, slot, generation, id >>> 0, highHalf(id), this.used, bytes.length, fin ? FIN : 0]);
    this.used += bytes.length;
  }

  close(): void {
    this.addon.close(this.handle);
  }
}

/** Sends every stream's bytes back. */
export function echoServer(addon: Addon, more: OnEvent = () => {}, options = LISTEN()): Wire {
  return new Wire(addon, 'open', options, (w, at) => {
    more(w, at);
    if (w.kind(at) === EVENT_DATA) w.send(w.word(at, 1), w.word(at, 2), w.id(at), w.bytes(at), w.isFin(at));
  });
}

/** An honest client: one connection, exchanges one after the other. */
export class Client {
  readonly wire: Wire;
  /** Resolves when it is established; rejects when that fails. */
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  slot = 0;
  generation = 0;
  /** That came, of every kind. */
  events = 0;
  private next = 0;
  private parts: Buffer[] = [];
  private readonly established = Promise.withResolvers<void>();
  private readonly ended = Promise.withResolvers<void>();
  private answered = Promise.withResolvers<string>();

  constructor(addon: Addon, port: number) {
    this.ready = this.established.promise;
    this.closed = this.ended.promise;
    this.ready.catch(() => {});
    this.answered.promise.catch(() => {});
    this.wire = new Wire(addon, 'dial', DIAL(port), (w, at) => this.event(w, at));
  }

  private event(w: Wire, at: number): void {
    this.events++;
    const kind = w.kind(at);
    if (kind === EVENT_CONN) {
      [this.slot, this.generation] = [w.word(at, 1), w.word(at, 2)];
      this.established.resolve();
    } else if (kind === EVENT_DATA && w.id(at) === this.next - 4) {
      this.parts.push(w.bytes(at));
      if (w.isFin(at)) this.answered.resolve(Buffer.concat(this.parts).toString());
    } else if (kind === EVENT_CLOSE || kind === EVENT_FAILED) {
      const over = new Error('the connection is over');
      this.established.reject(over);
      this.answered.reject(over);
      this.ended.resolve();
    }
  }

  async exchange(text: string): Promise<string> {
    await this.ready;
    this.answered = Promise.withResolvers();
    this.answered.promise.catch(() => {});
    this.parts = [];
    const id = this.next;
    this.next += 4;
    this.wire.send(this.slot, this.generation, id, Buffer.from(text), true);
    this.wire.flush();
    return this.answered.promise;
  }

  /** CONNECTION_CLOSE, and the endpoint is freed. */
  close(): void {
    this.wire.command([COMMAND_CLOSE, this.slot, this.generation, 0, 0, 0, 0, 1]);
    this.wire.flush();
    this.wire.close();
  }
}

/** Whether an honest client gets its echo from a server of its own. */
export async function honest(addon: Addon): Promise<boolean> {
  const server = echoServer(addon);
  const client = new Client(addon, server.port);
  const text = 'an honest exchange '.repeat(500);
  const good = (await client.exchange(text)) === text && (await client.exchange('again')) === 'again';
  client.close();
  server.close();
  return good;
}

/** What `f` throws: its message; null when it does not, or throws what is no Error. */
export function thrown(f: () => unknown): string | null {
  try {
    f();
    return null;
  } catch (e) {
    return e instanceof Error ? e.message : null;
  }
}

export const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
