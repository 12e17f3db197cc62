/**
 * An HTTP/3 client for one request per connection, over any engine: what `spooky probe` asks with. It is strict where an answer would
 * otherwise be taken for another one, and ignores what one request has no use for (server push is never allowed, nothing is reused).
 */
import type { Clock } from '../../../lib/clock.ts';
import { Fields } from '../fields.ts';
import type { ConnectOptions, ConnInfo, QuicConn, QuicEngine, QuicHandler } from '../../quic/engine.ts';
import { decodeSection, SECTION_FAILED, SECTION_OK, type FieldSink } from '../qpack/decode.ts';
import { fieldRoom, sectionRoom, writeField, writeFields, writeSectionPrefix } from '../qpack/encode.ts';
import { STATIC_NAMES, STATIC_VALUES } from '../qpack/static.ts';
import { codeName, H3 } from './codes.ts';
import { FRAME, isReservedHttp2Frame, UNI, writeFrameHead, writeSettings } from './frames.ts';
import { FrameReader, type FrameSink } from './reader.ts';
import { isFieldName, isFieldValue } from './syntax.ts';

export interface H3Request {
  method: string;
  scheme: string;
  authority: string;
  path: string;
  fields: Fields;
  body: Uint8Array | null;
}

export interface H3Events {
  onInform?(status: number, fields: Fields): void;
  onResponse?(status: number, fields: Fields): void;
  /** Borrowed until return. */
  onBody?(buf: Uint8Array, start: number, end: number): void;
}

export interface H3Response {
  status: number;
  fields: Fields;
  trailers: Fields | null;
  bodyBytes: number;
  info: ConnInfo;
  /** Milliseconds since the call. */
  connectedMs: number;
  firstByteMs: number;
  doneMs: number;
}

/** Why there was no answer: `phase` is what had been reached. */
export class H3ClientError extends Error {
  readonly phase: 'connect' | 'request' | 'response';

  constructor(phase: 'connect' | 'request' | 'response', message: string) {
    super(message);
    this.name = 'H3ClientError';
    this.phase = phase;
  }
}

const MAX_SECTION = 1024 * 1024;
const MAX_FIELDS = 10_000;
const STREAM = 0;

/** One request and its answer on a connection of its own. Rejects with `H3ClientError`, or with what `connect` rejected with. */
export async function fetchOnce(
  engine: QuicEngine,
  connect: ConnectOptions,
  request: H3Request,
  clock: Clock,
  timeoutMs: number,
  events: H3Events = {},
): Promise<H3Response> {
  const exchange = new Exchange(clock, events);
  const conn = await engine.connect(connect, exchange);
  return exchange.run(conn, request, timeoutMs);
}

/** A HEADERS frame with a request's head, and its body in DATA. */
export function encodeRequest(request: H3Request): Uint8Array {
  const pseudo: readonly (readonly [string, string])[] = [
    [':method', request.method],
    [':scheme', request.scheme],
    [':authority', request.authority],
    [':path', request.path],
  ];
  let room = sectionRoom(request.fields);
  for (const [name, value] of pseudo) room += fieldRoom(name, value);
  const section = new Uint8Array(room);
  let at = writeSectionPrefix(section, 0);
  for (const [name, value] of pseudo) at = writeField(section, at, name, value, false);
  at = writeFields(section, at, request.fields);
  const body = request.body ?? new Uint8Array(0);
  const out = new Uint8Array(at + body.length + 32);
  let end = writeFrameHead(out, 0, FRAME.HEADERS, at);
  out.set(section.subarray(0, at), end);
  end += at;
  if (body.length > 0) {
    end = writeFrameHead(out, end, FRAME.DATA, body.length);
    out.set(body, end);
    end += body.length;
  }
  return out.subarray(0, end);
}

/** A response's field section (RFC 9114 s4.3.2). */
export class ResponseSink implements FieldSink {
  readonly fields = new Fields();
  /** -1 without `:status`, -2 when anything is malformed. */
  status = -1;

  onStatic(index: number): void {
    this.onField(STATIC_NAMES[index] as string, STATIC_VALUES[index] as string, false);
  }

  onField(name: string, value: string, never: boolean): number {
    if (name === ':status')
      this.status = this.status === -1 && this.fields.length === 0 && /^[1-9][0-9][0-9]$/.test(value) ? Number(value) : -2;
    else if (!isFieldName(name) || !isFieldValue(value)) this.status = -2;
    else this.fields.add(name, value, never);
    return -1;
  }

  onChecked(name: string, value: string): void {
    this.onField(name, value, false);
  }
}

class Exchange implements QuicHandler, FrameSink {
  private readonly clock: Clock;
  private readonly events: H3Events;
  private readonly reader: FrameReader;
  private readonly startedAt: number;
  private conn: QuicConn | null = null;
  private response: H3Response | null = null;
  private trailers: Fields | null = null;
  private bodyBytes = 0;
  private connectedMs = 0;
  private firstByteMs = -1;
  private isOver = false;
  private closedWith = '';
  private cancelTimer: () => void = () => {};
  private resolve: (r: H3Response) => void = () => {};
  private reject: (e: H3ClientError) => void = () => {};

  constructor(clock: Clock, events: H3Events) {
    this.clock = clock;
    this.events = events;
    this.reader = new FrameReader(this, MAX_SECTION);
    this.startedAt = clock.now();
  }

  run(conn: QuicConn, request: H3Request, timeoutMs: number): Promise<H3Response> {
    this.conn = conn;
    this.connectedMs = this.since();
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      // Closed before anybody listened.
      if (this.closedWith !== '') {
        this.fail(this.closedWith);
        return;
      }
      this.cancelTimer = this.clock.after(timeoutMs, () => this.fail(`no answer within ${timeoutMs} ms`));
      this.sendSettings(conn);
      const out = encodeRequest(request);
      conn.write(STREAM, out, 0, out.length, true);
    });
  }

  private sendSettings(conn: QuicConn): void {
    const buf = new Uint8Array(32);
    buf[0] = UNI.CONTROL;
    conn.write(conn.openUni(), buf, 0, writeSettings(buf, 1, [[0x06, MAX_SECTION]]), false);
  }

  // --- the engine

  onConnection(): void {}

  onData(c: QuicConn, id: number, buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (this.isOver) return;
    // The server's control and QPACK streams: nothing in them concerns a single request.
    if (id !== STREAM) return;
    if (this.firstByteMs < 0) this.firstByteMs = this.since();
    try {
      this.reader.push(buf, start, end);
    } catch (e) {
      this.fail(e instanceof Error ? e.message : String(e), H3.H3_INTERNAL_ERROR);
    }
    if (fin) this.onEnd(c);
  }

  onReset(_c: QuicConn, id: number, code: number): void {
    if (id === STREAM) this.fail(`the server reset the stream: ${codeText(code)}`);
  }

  /** The server has seen enough of the request; the answer still comes. */
  onStop(): void {}
  onWritable(): void {}
  onDatagram(): void {}
  onPath(): void {}
  onTurnEnd(): void {}
  onForeign(): void {}

  onClose(_c: QuicConn, why: { app: boolean; code: number; side: string; reason: string }): void {
    const code = why.app ? codeText(why.code) : `transport error 0x${why.code.toString(16)}`;
    this.closedWith = why.side === 'timeout' ? 'the connection timed out' : `the connection was closed: ${code}`;
    if (this.conn !== null) this.fail(this.closedWith);
  }

  onFault(e: Error): void {
    this.fail(e.message);
  }

  // --- frames

  onDataBytes(buf: Uint8Array, start: number, end: number): void {
    this.bodyBytes += end - start;
    this.events.onBody?.(buf, start, end);
  }

  onFrame(type: number, payload: Uint8Array): void {
    if (type === FRAME.HEADERS) this.onSection(payload);
    else if (type === FRAME.PUSH_PROMISE || type === FRAME.SETTINGS || type === FRAME.GOAWAY || isReservedHttp2Frame(type)) {
      this.fail('the server sent a frame that has no place in an answer', H3.H3_FRAME_UNEXPECTED);
    }
  }

  onLongFrame(type: number): void {
    if (type === FRAME.HEADERS) this.fail('the server sent more header fields than can be read', H3.H3_EXCESSIVE_LOAD);
  }

  private onSection(payload: Uint8Array): void {
    const sink = new ResponseSink();
    const result = decodeSection(payload, 0, payload.length, sink, MAX_SECTION, MAX_FIELDS);
    if (result === SECTION_FAILED) return this.fail('the server sent header fields that cannot be decoded', H3.QPACK_DECOMPRESSION_FAILED);
    if (result !== SECTION_OK) return this.fail('the server sent more header fields than can be read', H3.H3_EXCESSIVE_LOAD);
    if (this.response !== null) this.onTrailers(sink);
    else if (sink.status < 0) this.fail('the server sent a malformed answer', H3.H3_MESSAGE_ERROR);
    else if (sink.status < 200) this.events.onInform?.(sink.status, sink.fields);
    else this.onHead(sink);
  }

  private onHead(sink: ResponseSink): void {
    this.response = {
      status: sink.status,
      fields: sink.fields,
      trailers: null,
      bodyBytes: 0,
      info: (this.conn as QuicConn).info(),
      connectedMs: this.connectedMs,
      firstByteMs: this.firstByteMs,
      doneMs: 0,
    };
    this.events.onResponse?.(sink.status, sink.fields);
  }

  private onTrailers(sink: ResponseSink): void {
    if (sink.status !== -1 || this.trailers !== null) this.fail('the server sent malformed trailers', H3.H3_MESSAGE_ERROR);
    else this.trailers = sink.fields;
  }

  private onEnd(c: QuicConn): void {
    if (this.isOver) return;
    const { response } = this;
    if (response === null || !this.reader.isBetween) return this.fail('the answer was cut off', H3.H3_FRAME_ERROR);
    this.isOver = true;
    this.cancelTimer();
    response.trailers = this.trailers;
    response.bodyBytes = this.bodyBytes;
    response.doneMs = this.since();
    c.close(true, H3.H3_NO_ERROR, '');
    this.resolve(response);
  }

  private fail(message: string, code: number = H3.H3_REQUEST_CANCELLED): void {
    if (this.isOver) return;
    this.isOver = true;
    this.cancelTimer();
    this.conn?.close(true, code, '');
    this.reject(new H3ClientError(this.conn === null ? 'connect' : this.firstByteMs < 0 ? 'request' : 'response', message));
  }

  private since(): number {
    return this.clock.now() - this.startedAt;
  }
}

function codeText(code: number): string {
  const name = codeName(code);
  return name === 'other' ? `0x${code.toString(16)}` : name;
}
