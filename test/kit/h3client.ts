/**
 * An HTTP/3 client for tests, over any engine: many requests on one connection, and any bytes at all on any stream.
 *
 *     const client = await H3Client.connect(engine, connectOptions(port));
 *     const answer = await client.get('/');
 *     client.raw(client.nextBidi(), data('before HEADERS'));
 *     expect((await client.closed).code).toBe(0x105);
 */
import { FRAME } from '../../src/edge/http/h3/frames.ts';
import { FrameReader, type FrameSink } from '../../src/edge/http/h3/reader.ts';
import type { CloseReason, ConnectOptions, QuicConn, QuicEngine, QuicHandler } from '../../src/edge/quic/engine.ts';
import { readVarint, varintLength } from '../../src/lib/bytes/varint.ts';
import { concat, data, fieldsOf, frame, headers, type Pair } from './h3bytes.ts';

export interface Answer {
  readonly informs: readonly number[];
  readonly status: number;
  readonly fields: ReadonlyMap<string, string>;
  readonly pairs: readonly Pair[];
  readonly body: Buffer;
  readonly trailers: ReadonlyMap<string, string> | null;
}

/** The stream or the connection ended before the answer did. */
export class Cut extends Error {
  readonly by: 'reset' | 'close' | 'goaway' | 'malformed';
  readonly code: number;

  constructor(by: Cut['by'], code: number) {
    super(`${by} 0x${code.toString(16)}`);
    this.by = by;
    this.code = code;
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(e: Error): void;
}

/** Nobody has to wait for it: a rejection that nobody looks at is no accident here. */
function deferred<T>(): Deferred<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** One request and what has come of its answer. */
export class ClientExchange implements FrameSink {
  readonly id: number;
  private readonly client: H3Client;
  private readonly reader = new FrameReader(this, 1 << 24);
  private readonly begun = deferred<ClientExchange>();
  private readonly ended = deferred<Answer>();
  private readonly stopped = deferred<number>();
  private readonly chunks: Buffer[] = [];
  private waiting: { bytes: number; done: Deferred<void> }[] = [];
  private writable: Deferred<void> | null = null;
  readonly informs: number[] = [];
  status = 0;
  pairs: Pair[] = [];
  trailers: Map<string, string> | null = null;
  bodyBytes = 0;
  dataFrames = 0;
  /** Keeps no body, for large ones. */
  discards = false;
  isOver = false;

  constructor(client: H3Client, id: number) {
    this.client = client;
    this.id = id;
  }

  /** The final head is there. */
  get head(): Promise<ClientExchange> {
    return this.begun.promise;
  }

  /** The answer is complete; rejects with `Cut`. */
  get answer(): Promise<Answer> {
    return this.ended.promise;
  }

  /** STOP_SENDING arrived, with this code. */
  get stopCode(): Promise<number> {
    return this.stopped.promise;
  }

  get body(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** So many bytes of body have arrived. */
  bodyOf(bytes: number): Promise<void> {
    if (this.bodyBytes >= bytes) return Promise.resolve();
    const done = deferred<void>();
    if (this.isOver) done.reject(new Cut('close', 0));
    else this.waiting.push({ bytes, done });
    return done.promise;
  }

  /** DATA; resolves when the engine has room for more. */
  async write(body: string | Uint8Array): Promise<void> {
    await this.raw(data(body));
  }

  async raw(bytes: Uint8Array, fin = false): Promise<void> {
    if (this.client.raw(this.id, bytes, fin) || fin || this.isOver) return;
    this.writable ??= deferred<void>();
    await this.writable.promise;
  }

  end(trailers: readonly Pair[] = []): void {
    this.client.raw(this.id, trailers.length > 0 ? headers(trailers) : Buffer.alloc(0), true);
  }

  pause(): void {
    this.client.conn.pause(this.id);
  }

  resume(): void {
    this.client.conn.resume(this.id);
  }

  /** RESET_STREAM alone. */
  reset(code: number): void {
    this.client.conn.reset(this.id, code);
  }

  /** STOP_SENDING alone. */
  stop(code: number): void {
    this.client.conn.stop(this.id, code);
  }

  /** As a browser does: both directions. */
  cancel(code = 0x10c): void {
    this.stop(code);
    this.reset(code);
    this.cut(new Cut('reset', code));
  }

  // --- what arrives

  onBytes(buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (this.isOver) return;
    this.reader.push(buf, start, end);
    if (!fin) return;
    if (this.status === 0 || !this.reader.isBetween) return this.cut(new Cut('malformed', 0));
    this.isOver = true;
    const { informs, status, pairs, body, trailers } = this;
    this.ended.resolve({ informs, status, fields: new Map(pairs.map(([n, v]) => [n, v])), pairs, body, trailers });
    this.settleWaiting();
  }

  onDataBytes(buf: Uint8Array, start: number, end: number): void {
    this.dataFrames++;
    this.bodyBytes += end - start;
    if (!this.discards) this.chunks.push(Buffer.from(buf.subarray(start, end)));
    this.waiting = this.waiting.filter(({ bytes, done }) => {
      if (this.bodyBytes < bytes) return true;
      done.resolve();
      return false;
    });
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type !== FRAME.HEADERS) return;
    const pairs = fieldsOf(payload);
    const line = pairs.find(([name]) => name === ':status');
    const status = line === undefined ? 0 : Number(line[1]);
    if (this.status !== 0) this.trailers = new Map(pairs.map(([n, v]) => [n, v]));
    else if (status < 200) this.informs.push(status);
    else {
      this.status = status;
      this.pairs = pairs;
      this.begun.resolve(this);
    }
  }

  onLongFrame(): void {
    this.cut(new Cut('malformed', 0));
  }

  onWritable(): void {
    this.writable?.resolve();
    this.writable = null;
  }

  onStopped(code: number): void {
    this.stopped.resolve(code);
    this.onWritable();
  }

  cut(e: Cut): void {
    if (this.isOver) return;
    this.isOver = true;
    this.begun.reject(e);
    this.ended.reject(e);
    this.stopped.reject(e);
    this.onWritable();
    this.settleWaiting();
  }

  private settleWaiting(): void {
    for (const { bytes, done } of this.waiting) {
      if (this.bodyBytes >= bytes) done.resolve();
      else done.reject(new Cut('close', 0));
    }
    this.waiting = [];
  }
}

export interface RequestOptions {
  readonly method?: string;
  readonly authority?: string;
  readonly scheme?: string;
  readonly fields?: readonly Pair[];
  /** Without one the request ends with its head, unless `open`. */
  readonly body?: string | Uint8Array;
  readonly trailers?: readonly Pair[];
  /** The request goes on: `write` and `end`. */
  readonly open?: boolean;
  readonly discards?: boolean;
}

export class H3Client implements QuicHandler, FrameSink {
  conn!: QuicConn;
  readonly authority: string;
  private readonly exchanges = new Map<number, ClientExchange>();
  private readonly uni = new Map<number, { type: number; reader: FrameReader; held: Buffer }>();
  private readonly closing = deferred<CloseReason>();
  private readonly settled = deferred<void>();
  private readonly leaving = deferred<number>();
  private nextRequest = 0;
  /** The lowest id that the server's GOAWAYs have excluded. */
  goaway = Infinity;
  /** Every GOAWAY, in order; beyond 2^53 as 2^53-1. */
  readonly goaways: number[] = [];
  readonly settings = new Map<number, number>();
  isClosed = false;

  private constructor(authority: string) {
    this.authority = authority;
  }

  /** A connection with our control stream and empty SETTINGS, unless `bare`. */
  static async connect(engine: QuicEngine, options: ConnectOptions, o: { bare?: boolean; authority?: string } = {}): Promise<H3Client> {
    const client = new H3Client(o.authority ?? options.sni ?? 'localhost');
    client.conn = await engine.connect(options, client);
    if (o.bare !== true) client.openUni(0x00, frame(FRAME.SETTINGS));
    return client;
  }

  /** How the connection ended. */
  get closed(): Promise<CloseReason> {
    return this.closing.promise;
  }

  /** The server's SETTINGS are there. */
  get ready(): Promise<void> {
    return this.settled.promise;
  }

  /** The first GOAWAY is there. */
  get warned(): Promise<number> {
    return this.leaving.promise;
  }

  async get(path: string, fields: readonly Pair[] = []): Promise<Answer> {
    return this.request(path, { fields }).answer;
  }

  async post(path: string, body: string | Uint8Array, fields: readonly Pair[] = []): Promise<Answer> {
    return this.request(path, { method: 'POST', fields, body }).answer;
  }

  /** Sends nothing after GOAWAY: the exchange is cut at once, as with anything the server will not see. */
  request(path: string, o: RequestOptions = {}): ClientExchange {
    const exchange = new ClientExchange(this, this.nextBidi());
    exchange.discards = o.discards ?? false;
    if (this.isClosed || this.goaway !== Infinity) {
      exchange.cut(new Cut(this.isClosed ? 'close' : 'goaway', 0));
      return exchange;
    }
    this.exchanges.set(exchange.id, exchange);
    const head = headers([
      [':method', o.method ?? 'GET'],
      [':scheme', o.scheme ?? 'https'],
      [':authority', o.authority ?? this.authority],
      [':path', path],
      ...(o.fields ?? []),
    ]);
    const body = o.body === undefined ? Buffer.alloc(0) : data(o.body);
    const trailers = o.trailers === undefined ? Buffer.alloc(0) : headers(o.trailers);
    this.raw(exchange.id, concat(head, body, trailers), o.open !== true);
    return exchange;
  }

  /** What arrives on a stream that was written to by hand. */
  watch(id: number): ClientExchange {
    const exchange = new ClientExchange(this, id);
    this.exchanges.set(id, exchange);
    return exchange;
  }

  nextBidi(): number {
    const id = this.nextRequest;
    this.nextRequest += 4;
    return id;
  }

  /** A unidirectional stream of this type, or of none at all. */
  openUni(type: number | null, bytes: Uint8Array = Buffer.alloc(0)): number {
    const id = this.conn.openUni();
    const typed = type === null ? bytes : concat(Buffer.of(type), bytes);
    if (typed.length > 0) this.raw(id, typed);
    return id;
  }

  raw(id: number, bytes: Uint8Array, fin = false): boolean {
    return this.conn.write(id, bytes, 0, bytes.length, fin);
  }

  close(code = 0x100): void {
    this.conn.close(true, code, '');
  }

  // --- the engine

  onConnection(): void {}

  onData(_c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (id % 4 === 3) this.onUni(id, Buffer.from(buf.subarray(start, end)));
    else this.exchanges.get(id)?.onBytes(buf, start, end, fin);
  }

  onReset(_c: QuicConn, id: number, code: number): void {
    this.exchanges.get(id)?.cut(new Cut('reset', code));
  }

  onStop(_c: QuicConn, id: number, code: number): void {
    this.exchanges.get(id)?.onStopped(code);
  }

  onWritable(_c: QuicConn, id: number): void {
    this.exchanges.get(id)?.onWritable();
  }

  onClose(_c: QuicConn, why: CloseReason): void {
    this.isClosed = true;
    for (const exchange of this.exchanges.values()) exchange.cut(new Cut('close', why.code));
    this.closing.resolve(why);
    this.leaving.reject(new Cut('close', why.code));
  }

  onDatagram(): void {}
  onPath(): void {}
  onTurnEnd(): void {}
  onForeign(): void {}
  onFault(): void {}

  // --- the server's control stream

  private onUni(id: number, bytes: Buffer): void {
    let stream = this.uni.get(id);
    if (stream === undefined) {
      stream = { type: -1, reader: new FrameReader(this, 1 << 16), held: Buffer.alloc(0) };
      this.uni.set(id, stream);
    }
    let at = 0;
    if (stream.type < 0) {
      const held = concat(stream.held, bytes);
      if (held.length === 0 || held.length < varintLength(held[0] as number)) {
        stream.held = held;
        return;
      }
      stream.type = readVarint(held, 0);
      at = varintLength(held[0] as number);
      bytes = held;
    }
    if (stream.type === 0x00) stream.reader.push(bytes, at, bytes.length);
  }

  onDataBytes(): void {}
  onLongFrame(): void {}

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.SETTINGS) this.onSettings(payload);
    else if (type === FRAME.GOAWAY) this.onGoaway(readVarint(payload, 0));
  }

  private onSettings(payload: Uint8Array): void {
    for (let at = 0; at < payload.length;) {
      const id = readVarint(payload, at);
      at += varintLength(payload[at] as number);
      this.settings.set(id, readVarint(payload, at));
      at += varintLength(payload[at] as number);
    }
    this.settled.resolve();
  }

  private onGoaway(id: number): void {
    this.goaways.push(id);
    this.goaway = Math.min(this.goaway, id);
    this.leaving.resolve(id);
    for (const exchange of this.exchanges.values()) if (exchange.id >= this.goaway) exchange.cut(new Cut('goaway', id));
  }
}
