import type { Socket } from 'node:net';
import { specimens } from '../../../lib/specimens.ts';
import type { Reason } from '../../../contract/reasons.ts';
import type { BackendFailure, ClientRequest, ResponseHandler } from '../message.ts';
import { StreamTable } from '../streamtable.ts';
import { FrameBudget } from './budget.ts';
import { ErrorCode, FRAME_SIZE, Setting, STREAM_MOST, errorName } from './codes.ts';
import { Inbound, TABLE } from './inbound.ts';
import type { Inlet } from './inlet.ts';
import { Liveness } from './liveness.ts';
import type { SessionEvents, SessionOptions } from './options.ts';
import { FrameReader } from './reader.ts';
import { Resets } from './resets.ts';
import { H2Stream } from './stream.ts';
import { FrameWriter } from './writer.ts';

/** Header lists beyond the limits, before the connection is ended. */
const OVERSIZED = 5;

const DESTROYED: BackendFailure = { reason: 'backend_closed', unseen: false, detail: 'given up' };

const HTTP1 = 'HTTP/1.';

/**
 * The client's side of one HTTP/2 connection (RFC 9113). Everything that arrives is a plain call down to the handlers
 * of its streams; everything that leaves goes through the writer, once per turn of the event loop.
 *
 *     socket -> FrameReader -> Inbound -> H2Stream -> ResponseHandler
 *     socket <- Output <- FrameWriter <- H2Stream <- the proxy
 *
 * The pool uses the first few members; the others are for the parts of the session.
 */
export class H2Session {
  /** When the last stream ended, on the wheel's clock; -1 while there are any. */
  idleSince: number;

  readonly options: SessionOptions;
  readonly now: () => number;
  readonly streams = new StreamTable<H2Stream>(1, 128);
  readonly resets = new Resets();
  readonly budget: FrameBudget;
  readonly writer: FrameWriter;
  readonly liveness: Liveness;
  /** The backend's SETTINGS_MAX_CONCURRENT_STREAMS. */
  peerStreams = Number.MAX_SAFE_INTEGER;
  dead = false;
  /** The latest stream that was answered to its end, by its place among all; 0: none. */
  answered = 0;
  /** How many streams the peer's GOAWAY says that it took; -1: there was none. */
  taken = -1;

  private readonly socket: Socket;
  private readonly events: SessionEvents;
  private readonly reader: FrameReader;
  private nextId = 1;
  private ready = false;
  private draining = false;
  private oversize = 0;
  private isReading = false;
  /** Streams were opened by what was read. */
  private refilled = false;
  /** How many of the first bytes were those of HTTP/1.x; -1 once one was not. */
  private sniffed = 0;

  constructor(socket: Socket, options: SessionOptions, events: SessionEvents, inlet: Inlet | null = null) {
    const { wheel } = options;
    this.socket = socket;
    this.options = options;
    this.events = events;
    this.now = () => wheel.now();
    this.idleSince = wheel.now();
    this.budget = new FrameBudget(wheel.now());
    const blockBytes = 2 * options.headerBytes + FRAME_SIZE;
    this.reader = new FrameReader(new Inbound(this), { blockBytes, continuations: 8 + (2 * blockBytes) / FRAME_SIZE });
    this.writer = new FrameWriter(
      socket,
      () => this.liveness.seekConfirmation(),
      (e) => this.internal('h2_write', e),
    );
    this.liveness = new Liveness(this);
    this.attach(inlet);
    this.writer.preface([
      [Setting.HEADER_TABLE_SIZE, TABLE],
      [Setting.ENABLE_PUSH, 0],
      [Setting.MAX_HEADER_LIST_SIZE, options.headerBytes],
    ]);
  }

  // For the pool.

  get active(): number {
    return this.streams.size;
  }

  get writing(): boolean {
    return this.writer.writing;
  }

  get opened(): number {
    return (this.nextId - 1) / 2;
  }

  /** Streams that may be opened now. Those whose reset the peer has not confirmed still count. */
  get capacity(): number {
    if (!this.ready || this.draining || this.dead) return 0;
    return Math.max(0, Math.min(this.peerStreams, this.options.streams) - this.streams.size - this.resets.unconfirmed);
  }

  /** False when there is no capacity; otherwise `onRequestSent` has been called when this returns. */
  open(request: ClientRequest, end: boolean, handler: ResponseHandler): boolean {
    if (this.capacity === 0) return false;
    this.refilled ||= this.isReading;
    const id = this.nextId;
    this.nextId += 2;
    const stream = new H2Stream(this, id, handler, request.method, end, this.writer.initialWindow);
    this.streams.add(stream);
    this.writer.request(id, request, end);
    this.budget.earn(8);
    if (this.idleSince >= 0) {
      this.liveness.wake(this.now() - this.idleSince);
      this.idleSince = -1;
    }
    if (this.nextId > STREAM_MOST) this.drain();
    handler.onRequestSent(stream);
    return true;
  }

  /** No further streams; closes when the last one is done. */
  shutdown(): void {
    this.drain();
    this.closeWhenEmpty();
  }

  /** Ends it now; its streams fail with this. */
  destroy(failure: BackendFailure = DESTROYED): void {
    this.finish(failure, false);
  }

  // For its streams.

  sendData(stream: H2Stream, buf: Uint8Array, start: number, end: number): void {
    this.writer.data(stream, buf, start, end);
  }

  endRequest(stream: H2Stream): void {
    this.writer.end(stream);
  }

  giveCredit(stream: H2Stream): void {
    this.writer.windowUpdate(stream.id, stream.window.credit(this.now()));
  }

  /** RST_STREAM by us; the handler is told nothing. */
  reset(stream: H2Stream, code: number): void {
    this.abandon(stream, code);
    this.released();
  }

  /** The response is complete. A request that is not has become pointless (s8.1). */
  completed(stream: H2Stream): void {
    this.answered = Math.max(this.answered, (stream.id + 1) / 2);
    this.forget(stream);
    specimens.backendStream = stream;
    if (stream.localEnded) return;
    this.writer.reset(stream.id, ErrorCode.NO_ERROR);
    this.resets.add(stream.id, false, 0);
  }

  /** A stream is gone and its handler knows. */
  released(): void {
    if (this.dead) return;
    this.events.onCapacity(this);
    this.closeWhenEmpty();
  }

  /** A stream error (s5.4.2). */
  failStream(stream: H2Stream, code: number, reason: Reason, detail: string): void {
    if (stream.closed) return;
    this.options.onProtocolError('stream', errorName(code), detail);
    this.abandon(stream, code);
    stream.fail({ reason, unseen: false, detail });
    this.released();
  }

  oversized(stream: H2Stream): void {
    this.failStream(stream, ErrorCode.ENHANCE_YOUR_CALM, 'malformed_response', 'a header list above the limits');
    if (++this.oversize >= OVERSIZED) this.connectionError(ErrorCode.ENHANCE_YOUR_CALM, 'header lists above the limits, again and again');
  }

  private abandon(stream: H2Stream, code: number): void {
    this.forget(stream);
    // Closed on both sides: there is nothing to reset (s5.1).
    if (stream.localEnded && stream.remoteEnded) return;
    this.writer.reset(stream.id, code);
    this.resets.add(stream.id, !stream.remoteEnded, this.nextId - 2);
    // What is on its way must not count against the peer.
    this.budget.expect(16 + stream.window.left / 1024);
    this.writer.beforeFlush();
  }

  // For what arrives.

  /** Never opened by us; even ones would be the server's, which may not push. */
  isIdle(id: number): boolean {
    return id % 2 === 0 || id >= this.nextId;
  }

  settingsSeen(): void {
    if (this.ready) return this.events.onCapacity(this);
    this.ready = true;
    this.liveness.ready();
    this.events.onReady(this);
  }

  /** Takes a stream out of the table; nothing is told of it any more. */
  forget(stream: H2Stream): void {
    stream.closed = true;
    stream.held = null;
    this.streams.delete(stream);
    if (this.streams.size === 0) this.idleSince = this.now();
  }

  // Life.

  drain(): void {
    if (this.draining) return;
    this.draining = true;
    this.events.onDraining(this);
  }

  closeWhenEmpty(): void {
    if (!this.draining || this.dead || this.streams.size > 0) return;
    this.writer.goaway(ErrorCode.NO_ERROR);
    this.finish(null, true);
  }

  /** s5.4.1 */
  connectionError(code: number, detail: string): void {
    if (this.dead) return;
    this.options.onProtocolError('connection', errorName(code), detail);
    this.writer.goaway(code);
    this.finish({ reason: 'backend_protocol_error', unseen: false, detail: `${errorName(code)}: ${detail}` }, true);
  }

  expire(reason: Reason, detail: string): void {
    this.finish({ reason, unseen: false, detail }, false);
  }

  /** An exception at one of the boundaries. */
  internal(where: string, error: unknown): void {
    this.options.onInternalError(where, error);
    this.finish({ reason: 'internal', unseen: false, detail: where }, false);
  }

  closeNow(): void {
    this.socket.destroy();
  }

  private attach(inlet: Inlet | null): void {
    const { socket } = this;
    if (inlet !== null) inlet.sink = (buf, start, end) => this.onBytes(buf, start, end);
    else socket.on('data', (b: Buffer) => this.onBytes(b, 0, b.length));
    let cause = 'closed';
    socket.on('error', (e: NodeJS.ErrnoException) => {
      cause = e.message;
      // With TLS 1.3 a server refuses our certificate, or that we have none, when for us the handshake is done (RFC 8446 s4.4.2.4).
      if (!this.ready && e.code?.startsWith('ERR_SSL_') === true) this.expire('tls_failed', e.message);
    });
    socket.on('end', () => this.onSocketEnd('closed by the backend'));
    socket.on('close', () => {
      this.onSocketEnd(cause);
      this.liveness.stop();
    });
    socket.on('drain', () => this.onDrain());
  }

  private onBytes(buf: Uint8Array, start: number, end: number): void {
    if (this.dead) return;
    this.liveness.bytes();
    this.isReading = true;
    try {
      if (this.sniffed >= 0) this.sniff(buf, start, end);
      this.reader.read(buf, start, end);
      this.refill();
    } catch (e) {
      this.internal('h2_receive', e);
    }
    this.isReading = false;
  }

  /** Requests have waited for the streams that became free: what goes there does not wait for the end of a turn, which may be long. */
  private refill(): void {
    if (!this.refilled) return;
    this.refilled = false;
    if (!this.dead) this.writer.flush();
  }

  /** Whether the very first bytes are those of another protocol; as a frame they would only be a strange one. */
  private sniff(buf: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end && this.sniffed >= 0; at++) {
      this.sniffed = buf[at] === HTTP1.charCodeAt(this.sniffed) ? this.sniffed + 1 : -1;
      if (this.sniffed < HTTP1.length) continue;
      this.options.onProtocolError('connection', 'HTTP_1_1_REQUIRED', 'the first bytes are HTTP/1.');
      return this.expire('backend_not_http2', 'the backend answers in HTTP/1.x');
    }
  }

  private onDrain(): void {
    try {
      this.writer.drained();
    } catch (e) {
      this.internal('h2_drain', e);
    }
  }

  /** A backend may close what is idle. */
  private onSocketEnd(detail: string): void {
    const clean = this.ready && this.streams.size === 0;
    this.finish(clean ? null : { reason: 'backend_closed', unseen: false, detail }, false);
  }

  /** The end of everything. `politely`: what was written last still leaves. */
  private finish(failure: BackendFailure | null, politely: boolean): void {
    if (this.dead) return;
    this.dead = true;
    this.reader.stop();
    const streams = this.streams.takeAll();
    this.closeSocket(politely && !this.socket.destroyed);
    for (const stream of streams) {
      stream.closed = true;
      stream.held = null;
      this.tell(() => stream.fail(failure ?? DESTROYED));
    }
    this.tell(() => this.drain());
    this.tell(() => this.events.onClosed(this, failure));
  }

  private closeSocket(politely: boolean): void {
    this.liveness.over(politely);
    if (politely) {
      this.writer.flush();
      this.socket.destroySoon();
    } else this.socket.destroy();
    this.writer.close();
  }

  /** One handler's exception is not another's. */
  private tell(fn: () => void): void {
    try {
      fn();
    } catch (e) {
      this.options.onInternalError('h2_finish', e);
    }
  }
}
