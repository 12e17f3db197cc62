/** The HTTP/2 client under test with everything that it tells written down, and promises for what tests wait for. */
import { connect, type Socket } from 'node:net';
import { Fields } from '../../src/edge/http/fields.ts';
import type { KnownHead } from '../../src/edge/http/known.ts';
import type { BackendFailure, ClientStream, ResponseHandler } from '../../src/edge/http/message.ts';
import { SESSION_DEFAULTS, type SessionEvents, type SessionOptions } from '../../src/edge/http/h2/options.ts';
import { H2Session } from '../../src/edge/http/h2/session.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { TimerWheel } from '../../src/lib/wheel.ts';
import type { Rows } from './h2server.ts';

const rowsOf = (f: Fields): Rows => f.names.map((name, i) => [name, f.values[i] as string] as const);

export const fieldsOf = (rows: Rows): Fields => {
  const f = new Fields();
  for (const [name, value] of rows) f.add(name, value);
  return f;
};

/** A response as it came. */
export class Recorder implements ResponseHandler {
  stream: ClientStream | null = null;
  informs: [number, Rows][] = [];
  status = 0;
  fields: Rows = [];
  never: string[] = [];
  readonly pieces: Buffer[] = [];
  /** Undefined until the end. */
  trailers: Rows | null | undefined = undefined;
  failure: BackendFailure | null = null;
  /** Calls of onResponseEnd and onResponseFailure: must come to exactly one. */
  ends = 0;
  late = 0;
  /** Heads that the session had seen before. */
  known = 0;
  writable = 0;
  onBody: ((n: number) => void) | null = null;
  onHead: (() => void) | null = null;
  onWritable: (() => void) | null = null;
  private readonly waiting: { done: () => boolean; resolve: () => void }[] = [];

  get body(): Buffer {
    return Buffer.concat(this.pieces);
  }

  get bytes(): number {
    return this.pieces.reduce((n, p) => n + p.length, 0);
  }

  onRequestSent(stream: ClientStream): void {
    this.stream = stream;
  }

  onInform(status: number, fields: Fields): void {
    this.note();
    this.informs.push([status, rowsOf(fields)]);
    this.check();
  }

  onKnownResponse(known: KnownHead): void {
    this.known++;
    this.onResponse(known.status, known.fields);
  }

  onResponse(status: number, fields: Fields): void {
    this.note();
    this.status = status;
    this.fields = rowsOf(fields);
    this.never = fields.names.filter((_, i) => fields.isNever(i));
    this.onHead?.();
    this.check();
  }

  onResponseBody(buf: Uint8Array, start: number, end: number): void {
    this.note();
    this.pieces.push(Buffer.from(buf.subarray(start, end)));
    this.onBody?.(end - start);
    this.check();
  }

  onResponseEnd(trailers: Fields | null): void {
    this.note();
    this.ends++;
    this.trailers = trailers === null ? null : rowsOf(trailers);
    this.check();
  }

  onResponseFailure(failure: BackendFailure): void {
    this.note();
    this.ends++;
    this.failure = failure;
    this.check();
  }

  onRequestWritable(): void {
    this.writable++;
    this.onWritable?.();
    this.check();
  }

  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ done, resolve }));
  }

  async untilOver(): Promise<this> {
    await this.until(() => this.ends > 0);
    return this;
  }

  private note(): void {
    if (this.ends > 0) this.late++;
  }

  private check(): void {
    for (const w of this.waiting) if (w.done()) w.resolve();
  }
}

export interface TestRequest {
  readonly method?: string;
  readonly path?: string;
  readonly fields?: Rows;
  /** Undefined: no body; null: the test writes it. */
  readonly body?: string | Uint8Array | null;
  readonly trailers?: Rows;
}

export class TestClient implements SessionEvents {
  readonly session: H2Session;
  readonly socket: Socket;
  readonly wheel: TimerWheel;
  readonly internal: [string, unknown][] = [];
  readonly errors: [scope: string, code: string, detail: string][] = [];
  ready = 0;
  draining = 0;
  closed = 0;
  capacities = 0;
  failure: BackendFailure | null = null;
  onRoom: (() => void) | null = null;
  private readonly waiting: { done: () => boolean; resolve: () => void }[] = [];

  constructor(socket: Socket, options: Partial<SessionOptions> = {}, clock: Clock = systemClock) {
    this.socket = socket;
    this.wheel = new TimerWheel(clock, (e) => this.internal.push(['wheel', e]));
    this.session = new H2Session(
      socket,
      {
        ...SESSION_DEFAULTS,
        wheel: this.wheel,
        onInternalError: (where, e) => this.internal.push([where, e]),
        onProtocolError: (scope, code, detail) => this.errors.push([scope, code, detail]),
        ...options,
      },
      this,
    );
  }

  static async connect(port: number, options: Partial<SessionOptions> = {}, clock: Clock = systemClock): Promise<TestClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new TestClient(socket, options, clock);
  }

  onReady(): void {
    this.ready++;
    this.check();
  }

  onCapacity(): void {
    this.capacities++;
    this.onRoom?.();
    this.check();
  }

  onDraining(): void {
    this.draining++;
    this.check();
  }

  onClosed(_session: H2Session, failure: BackendFailure | null): void {
    this.closed++;
    this.failure = failure;
    this.check();
  }

  until(done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ done, resolve }));
  }

  async untilReady(): Promise<this> {
    await this.until(() => this.ready > 0 || this.closed > 0);
    return this;
  }

  async untilClosed(): Promise<this> {
    await this.until(() => this.closed > 0);
    return this;
  }

  /** Opens a stream; throws when there is no capacity. */
  send(r: TestRequest = {}): Recorder {
    const recorder = new Recorder();
    const request = {
      method: r.method ?? (r.body === undefined ? 'GET' : 'POST'),
      scheme: 'http',
      authority: 'test.example',
      path: r.path ?? '/',
      fields: fieldsOf(r.fields ?? []),
    };
    const open = r.body !== undefined || r.trailers !== undefined;
    if (!this.session.open(request, !open, recorder)) throw new Error('no capacity');
    if (r.body !== undefined && r.body !== null) {
      const bytes = Buffer.from(r.body);
      recorder.stream?.write(bytes, 0, bytes.length);
    }
    if (open && r.body !== null) recorder.stream?.end(r.trailers === undefined ? null : fieldsOf(r.trailers));
    return recorder;
  }

  async fetch(r: TestRequest = {}): Promise<Recorder> {
    return this.send(r).untilOver();
  }

  end(): void {
    this.session.destroy();
    this.wheel.stop();
  }

  private check(): void {
    for (const w of this.waiting) if (w.done()) w.resolve();
  }
}
