import type { Socket } from 'node:net';
import { WheelTimer, type TimerOwner } from '../../../lib/wheel.ts';
import type { Reason } from '../../../contract/reasons.ts';
import { Fields } from '../fields.ts';
import { HpackDecoder } from '../hpack/decoder.ts';
import type { BackendFailure, ClientRequest, ResponseHandler } from '../message.ts';
import { FrameBudget } from './budget.ts';
import { ErrorCode, Flag, FrameType, FRAME_SIZE, Setting, STREAM_MOST, WINDOW_MOST, errorName } from './codes.ts';
import { CONNECTION_WINDOW } from './flow.ts';
import { readU16, readU31, readU32 } from './frames.ts';
import type { Inlet } from './inlet.ts';
import type { SessionEvents, SessionOptions } from './options.ts';
import { Pinger } from './pinger.ts';
import { FrameReader, type FrameSink } from './reader.ts';
import { Resets } from './resets.ts';
import { H2Stream } from './stream.ts';
import { FrameWriter } from './writer.ts';

const READY = 0;
const KEEP_ALIVE = 1;
const CONFIRM = 2;
const CLOSE = 3;

/** SETTINGS_HEADER_TABLE_SIZE of ours: the initial one. */
const TABLE = 4096;

/** How long a reset may stay unconfirmed, and how long the last bytes may take to leave. */
const CONFIRM_MS = 5000;
const CLOSE_MS = 1000;

/** Header lists beyond the limits, before the connection is ended. */
const OVERSIZED = 5;

const DESTROYED: BackendFailure = { reason: 'backend_closed', unseen: false, detail: 'given up' };

const HTTP1 = 'HTTP/1.';

/**
 * The client's side of one HTTP/2 connection (RFC 9113). Everything that arrives is a plain call down to the handlers
 * of its streams; everything that leaves goes through the writer, once per turn of the event loop.
 */
export class H2Session implements FrameSink, TimerOwner {
  readonly options: SessionOptions;
  /** When the last stream ended, on the wheel's clock; -1 while there are any. */
  idleSince: number;

  private readonly socket: Socket;
  private readonly events: SessionEvents;
  private readonly writer: FrameWriter;
  private readonly reader: FrameReader;
  private readonly decoder: HpackDecoder;
  private readonly pseudo = new Fields();
  private readonly streams = new Map<number, H2Stream>();
  private readonly resets = new Resets();
  private readonly pinger = new Pinger();
  private readonly budget: FrameBudget;
  private readonly timers: readonly WheelTimer[];
  private readonly now: () => number;

  private nextId = 1;
  private ready = false;
  private draining = false;
  private dead = false;
  private first = true;
  /** How many of the first bytes were those of HTTP/1.x; -1 once one was not. */
  private sniffed = 0;
  private heard = true;
  private watching = false;
  private oversize = 0;
  /** The id of the last GOAWAY (s6.8). */
  private goawayId = STREAM_MOST;
  private peerStreams = Number.MAX_SAFE_INTEGER;

  /** The connection's receive window: what the peer may still send, and what was not given back. */
  private window = CONNECTION_WINDOW;
  private owed = 0;

  /** The DATA frame that is being read; its stream is null when that is gone. */
  private dataStream: H2Stream | null = null;
  private dataEnds = false;

  constructor(socket: Socket, options: SessionOptions, events: SessionEvents, inlet: Inlet | null = null) {
    const { wheel } = options;
    this.socket = socket;
    this.options = options;
    this.events = events;
    this.now = () => wheel.now();
    this.idleSince = wheel.now();
    this.budget = new FrameBudget(wheel.now());
    this.decoder = new HpackDecoder(TABLE, { bytes: options.headerBytes, count: options.headerCount });
    const blockBytes = 2 * options.headerBytes + FRAME_SIZE;
    this.reader = new FrameReader(this, { blockBytes, continuations: 8 + (2 * blockBytes) / FRAME_SIZE });
    this.writer = new FrameWriter(socket, (e) => this.internal('h2_write', e));
    this.timers = [READY, KEEP_ALIVE, CONFIRM, CLOSE].map((kind) => new WheelTimer(this, kind));
    this.attach(inlet);
    this.writer.preface([
      [Setting.HEADER_TABLE_SIZE, TABLE],
      [Setting.ENABLE_PUSH, 0],
      [Setting.MAX_HEADER_LIST_SIZE, options.headerBytes],
    ]);
    this.arm(READY, options.readyMs);
  }

  // For the pool.

  get active(): number {
    return this.streams.size;
  }

  /** Streams that may be opened now. Those whose reset the peer has not confirmed still count. */
  get capacity(): number {
    if (!this.ready || this.draining || this.dead) return 0;
    return Math.max(0, Math.min(this.peerStreams, this.options.streams) - this.streams.size - this.resets.unconfirmed);
  }

  /** False when there is no capacity; otherwise `onRequestSent` has been called when this returns. */
  open(request: ClientRequest, end: boolean, handler: ResponseHandler): boolean {
    if (this.capacity === 0) return false;
    const id = this.nextId;
    this.nextId += 2;
    const stream = new H2Stream(this, id, handler, request.method, end, this.writer.initialWindow);
    this.streams.set(id, stream);
    this.writer.request(id, request, end);
    this.budget.earn(8);
    if (this.idleSince >= 0) this.wake();
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
    const frames = this.writer.data(stream, buf, start, end);
    if (frames > 0) this.budget.earn(4 * frames);
  }

  endRequest(stream: H2Stream): void {
    this.writer.end(stream);
  }

  /** RST_STREAM by us; the handler is told nothing. */
  reset(stream: H2Stream, code: number): void {
    this.abandon(stream, code);
    this.released();
  }

  private abandon(stream: H2Stream, code: number): void {
    this.forget(stream);
    // Closed on both sides: there is nothing to reset (s5.1).
    if (stream.localEnded && stream.remoteEnded) return;
    this.writer.reset(stream.id, code);
    this.resets.add(stream.id, !stream.remoteEnded);
    // What is on its way must not count against the peer.
    this.budget.earn(16 + stream.window.left / 1024);
    this.seekConfirmation();
  }

  giveCredit(stream: H2Stream): void {
    this.writer.windowUpdate(stream.id, stream.window.credit(this.now()));
  }

  /** The response is complete. A request that is not has become pointless (RFC 9113 s8.1). */
  completed(stream: H2Stream): void {
    this.forget(stream);
    if (stream.localEnded) return;
    this.writer.reset(stream.id, ErrorCode.NO_ERROR);
    this.resets.add(stream.id, false);
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

  // Frames.

  onHeaderBlock(id: number, flags: number, buf: Uint8Array, start: number, end: number): void {
    if (this.refusedFirst(-1, 0)) return;
    this.pinger.heard();
    const stream = this.streams.get(id) ?? null;
    const fields = new Fields();
    this.pseudo.clear();
    if (stream === null && this.isIdle(id)) return this.connectionError(ErrorCode.PROTOCOL_ERROR, `HEADERS on idle stream ${id} (s5.1)`);
    if (!this.decoder.decode(buf, start, end, this.pseudo, fields)) {
      return this.connectionError(ErrorCode.COMPRESSION_ERROR, 'a header block that does not decode (s4.3)');
    }
    if (stream === null) return this.onGone(id, 'HEADERS');
    this.budget.earn(4);
    if (this.resets.heard(id)) this.onConfirmed();
    if (!stream.closed) stream.onHeaders(this.decoder, this.pseudo, fields, (flags & Flag.END_STREAM) !== 0);
  }

  onData(id: number, flags: number, length: number): void {
    if (this.refusedFirst(-1, 0)) return;
    this.pinger.heard();
    this.dataEnds = (flags & Flag.END_STREAM) !== 0;
    const stream = this.streams.get(id) ?? null;
    this.dataStream = stream;
    if (!this.receive(length)) return this.connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the connection’s window (s6.9)');
    if (stream === null) {
      if (this.isIdle(id)) return this.connectionError(ErrorCode.PROTOCOL_ERROR, `DATA on idle stream ${id} (s5.1)`);
      return this.onGone(id, 'DATA');
    }
    if (length === 0 && !this.dataEnds) return this.spend(1, 'empty DATA');
    this.budget.earn(2);
    if (!stream.window.receive(length)) {
      this.failStream(stream, ErrorCode.FLOW_CONTROL_ERROR, 'backend_protocol_error', 'DATA beyond the stream’s window (s6.9)');
    }
  }

  onDataBytes(buf: Uint8Array, start: number, end: number): void {
    const stream = this.dataStream;
    if (stream !== null && !stream.closed) stream.onData(buf, start, end);
  }

  onDataEnd(): void {
    const stream = this.dataStream;
    this.dataStream = null;
    if (stream !== null && this.dataEnds && !stream.closed) stream.onEnd();
  }

  onFrame(type: number, flags: number, id: number, buf: Uint8Array, start: number, end: number): void {
    if (this.refusedFirst(type, flags)) return;
    switch (type) {
      case FrameType.WINDOW_UPDATE:
        return this.onWindowUpdate(id, readU31(buf, start));
      case FrameType.RST_STREAM:
        return this.onRstStream(id, readU32(buf, start));
      case FrameType.SETTINGS:
        return (flags & Flag.ACK) !== 0 ? this.spend(1, 'SETTINGS') : this.onSettings(buf, start, end);
      case FrameType.PING:
        return this.onPing((flags & Flag.ACK) !== 0, buf, start);
      case FrameType.GOAWAY:
        return this.onGoaway(readU31(buf, start), readU32(buf, start + 4));
      default:
        return this.onPriority(id, end - start);
    }
  }

  onUnknownFrame(type: number, length: number): void {
    if (!this.refusedFirst(-1, 0)) this.spend(1 + length / 1024, `frames of type ${type}`);
  }

  onFrameError(code: number, detail: string): void {
    this.connectionError(code, detail);
  }

  /** The first frame is SETTINGS, and no acknowledgement (s3.4). */
  private refusedFirst(type: number, flags: number): boolean {
    if (!this.first) return false;
    this.first = false;
    if (type === FrameType.SETTINGS && (flags & Flag.ACK) === 0) return false;
    this.connectionError(ErrorCode.PROTOCOL_ERROR, 'the first frame is not SETTINGS (s3.4)');
    return true;
  }

  private onSettings(buf: Uint8Array, start: number, end: number): void {
    this.spend(1 + (end - start) / 96, 'SETTINGS');
    for (let at = start; at < end && !this.dead; at += 6) this.onSetting(readU16(buf, at), readU32(buf, at + 2));
    if (this.dead) return;
    this.writer.settingsAck();
    if (!this.ready) {
      this.ready = true;
      this.disarm(READY);
      this.events.onReady(this);
    } else this.events.onCapacity(this);
    this.writer.pump();
  }

  /** s6.5.2 */
  private onSetting(identifier: number, value: number): void {
    switch (identifier) {
      case Setting.HEADER_TABLE_SIZE:
        return this.writer.setTableLimit(value);
      case Setting.ENABLE_PUSH:
        if (value !== 0) this.connectionError(ErrorCode.PROTOCOL_ERROR, 'ENABLE_PUSH from a server (s6.5.2)');
        return;
      case Setting.MAX_CONCURRENT_STREAMS:
        this.peerStreams = value;
        return;
      case Setting.INITIAL_WINDOW_SIZE:
        return this.onInitialWindow(value);
      case Setting.MAX_FRAME_SIZE:
        if (!this.writer.setFrameSize(value)) this.connectionError(ErrorCode.PROTOCOL_ERROR, `MAX_FRAME_SIZE ${value} (s6.5.2)`);
        return;
      default:
    }
  }

  /** s6.9.2: the windows of open streams move along, and may become negative. */
  private onInitialWindow(value: number): void {
    if (value > WINDOW_MOST) return this.connectionError(ErrorCode.FLOW_CONTROL_ERROR, `INITIAL_WINDOW_SIZE ${value} (s6.5.2)`);
    const by = value - this.writer.initialWindow;
    this.writer.initialWindow = value;
    for (const stream of this.streams.values()) {
      stream.sendWindow += by;
      if (stream.sendWindow > WINDOW_MOST)
        return this.connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a stream’s window above 2^31-1 (s6.9.2)');
      this.writer.enqueue(stream);
    }
  }

  /** s6.9 */
  private onWindowUpdate(id: number, increment: number): void {
    this.spend(1, 'WINDOW_UPDATE');
    if (this.dead) return;
    if (id === 0) {
      if (increment === 0) return this.connectionError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0 (s6.9)');
      if (!this.writer.grow(increment)) this.connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'the connection’s window above 2^31-1 (s6.9.1)');
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.isIdle(id)) this.connectionError(ErrorCode.PROTOCOL_ERROR, `WINDOW_UPDATE on idle stream ${id} (s5.1)`);
      return;
    }
    if (increment === 0) return this.failStream(stream, ErrorCode.PROTOCOL_ERROR, 'backend_protocol_error', 'WINDOW_UPDATE of 0 (s6.9)');
    stream.sendWindow += increment;
    if (stream.sendWindow > WINDOW_MOST) {
      return this.failStream(stream, ErrorCode.FLOW_CONTROL_ERROR, 'backend_protocol_error', 'the stream’s window above 2^31-1 (s6.9.1)');
    }
    this.writer.enqueue(stream);
    this.writer.pump();
  }

  /** s6.4. A complete response has taken its stream out of the table already: what follows it changes nothing (s8.1). */
  private onRstStream(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.isIdle(id)) this.connectionError(ErrorCode.PROTOCOL_ERROR, `RST_STREAM on idle stream ${id} (s6.4)`);
      else this.spend(1, 'RST_STREAM');
      return;
    }
    this.forget(stream);
    const unseen = code === ErrorCode.REFUSED_STREAM && !stream.answered;
    stream.fail({ reason: 'backend_reset', unseen, detail: `RST_STREAM ${errorName(code)}` });
    this.released();
  }

  private onPing(ack: boolean, buf: Uint8Array, at: number): void {
    this.spend(1, 'PING');
    if (this.dead) return;
    if (!ack) return this.writer.ping(true, buf, at);
    if (!this.pinger.outstanding || !this.writer.isOurPing(buf, at)) return;
    this.pinger.answered();
    if (this.resets.confirm()) this.onConfirmed();
  }

  /** s6.8 */
  private onGoaway(lastId: number, code: number): void {
    this.spend(1, 'GOAWAY');
    if (this.dead) return;
    if (lastId > this.goawayId) return this.connectionError(ErrorCode.PROTOCOL_ERROR, 'GOAWAY with a higher stream than before (s6.8)');
    this.goawayId = lastId;
    this.drain();
    const unseen: H2Stream[] = [];
    for (const stream of this.streams.values()) if (stream.id > lastId) unseen.push(stream);
    const failure: BackendFailure = { reason: 'backend_closed', unseen: true, detail: `GOAWAY ${errorName(code)}` };
    for (const stream of unseen) {
      if (stream.closed) continue;
      this.forget(stream);
      stream.fail(failure);
    }
    this.closeWhenEmpty();
  }

  private onPriority(id: number, length: number): void {
    this.spend(1, 'PRIORITY');
    if (length === 5 || this.dead) return;
    const stream = this.streams.get(id);
    if (stream !== undefined)
      this.failStream(stream, ErrorCode.FRAME_SIZE_ERROR, 'backend_protocol_error', 'PRIORITY not of 5 bytes (s6.3)');
  }

  /** HEADERS or DATA on a stream that has ended. */
  private onGone(id: number, what: string): void {
    if (this.resets.has(id)) this.spend(1, `${what} on streams that were reset`);
    else this.connectionError(ErrorCode.STREAM_CLOSED, `${what} behind END_STREAM or RST_STREAM on stream ${id} (s5.1)`);
  }

  /** Never opened by us; even ones would be the server's, which may not push. */
  private isIdle(id: number): boolean {
    return id % 2 === 0 || id >= this.nextId;
  }

  /** Takes flow-controlled bytes into the connection's window, and gives it back in large pieces. */
  private receive(length: number): boolean {
    this.window -= length;
    this.owed += length;
    if (this.window < 0) return false;
    if (this.owed * 2 >= CONNECTION_WINDOW) {
      this.writer.windowUpdate(0, this.owed);
      this.window += this.owed;
      this.owed = 0;
    }
    return true;
  }

  private spend(n: number, what: string): void {
    if (this.budget.spend(n, this.now)) this.connectionError(ErrorCode.ENHANCE_YOUR_CALM, `a flood of ${what} (s10.5)`);
  }

  // Life.

  private attach(inlet: Inlet | null): void {
    const { socket } = this;
    const receive = (buf: Uint8Array, start: number, end: number): void => this.onBytes(buf, start, end);
    if (inlet !== null) inlet.sink = receive;
    else socket.on('data', (b: Buffer) => receive(b, 0, b.length));
    let cause = '';
    socket.on('error', (e: Error) => (cause = e.message));
    socket.on('end', () => this.onSocketEnd('closed by the backend'));
    socket.on('close', () => {
      this.onSocketEnd(cause === '' ? 'closed' : cause);
      this.release(CLOSE);
    });
    socket.on('drain', () => this.guard('h2_drain', () => this.writer.drained()));
  }

  private onBytes(buf: Uint8Array, start: number, end: number): void {
    if (this.dead) return;
    this.heard = true;
    try {
      if (this.sniffed >= 0) this.sniff(buf, start, end);
      this.reader.read(buf, start, end);
    } catch (e) {
      this.internal('h2_receive', e);
    }
  }

  /** Whether the very first bytes are those of another protocol; as a frame they would only be a strange one. */
  private sniff(buf: Uint8Array, start: number, end: number): void {
    for (let at = start; at < end && this.sniffed >= 0; at++) {
      this.sniffed = buf[at] === HTTP1.charCodeAt(this.sniffed) ? this.sniffed + 1 : -1;
      if (this.sniffed < HTTP1.length) continue;
      this.options.onProtocolError('connection', 'HTTP_1_1_REQUIRED', 'the first bytes are HTTP/1.');
      return this.finish({ reason: 'backend_not_http2', unseen: false, detail: 'the backend answers in HTTP/1.x' }, false);
    }
  }

  private onSocketEnd(detail: string): void {
    this.guard('h2_close', () => {
      const clean = this.ready && this.streams.size === 0;
      this.finish(clean ? null : { reason: 'backend_closed', unseen: false, detail }, false);
    });
  }

  /** s5.4.1 */
  private connectionError(code: number, detail: string): void {
    if (this.dead) return;
    this.options.onProtocolError('connection', errorName(code), detail);
    this.writer.goaway(code);
    this.finish({ reason: 'backend_protocol_error', unseen: false, detail: `${errorName(code)}: ${detail}` }, true);
  }

  private internal(where: string, error: unknown): void {
    this.options.onInternalError(where, error);
    this.finish({ reason: 'internal', unseen: false, detail: where }, false);
  }

  private guard(where: string, fn: () => void): void {
    try {
      fn();
    } catch (e) {
      this.internal(where, e);
    }
  }

  private drain(): void {
    if (this.draining) return;
    this.draining = true;
    this.events.onDraining(this);
  }

  private closeWhenEmpty(): void {
    if (!this.draining || this.dead || this.streams.size > 0) return;
    this.writer.goaway(ErrorCode.NO_ERROR);
    this.finish(null, true);
  }

  /** The end of everything. `politely`: what was written last still leaves. */
  private finish(failure: BackendFailure | null, politely: boolean): void {
    if (this.dead) return;
    this.dead = true;
    this.reader.stop();
    const streams = [...this.streams.values()];
    this.streams.clear();
    for (const kind of [READY, KEEP_ALIVE, CONFIRM]) this.release(kind);
    this.closeSocket(politely);
    for (const stream of streams) {
      stream.closed = true;
      stream.held = null;
      this.tell(() => stream.fail(failure ?? { reason: 'backend_closed', unseen: false, detail: 'closed' }));
    }
    this.tell(() => this.drain());
    this.tell(() => this.events.onClosed(this, failure));
  }

  private closeSocket(politely: boolean): void {
    if (politely && !this.socket.destroyed) {
      this.writer.flush();
      this.socket.destroySoon();
      this.arm(CLOSE, CLOSE_MS);
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

  /** Takes a stream out of the table; nothing is told of it any more. */
  private forget(stream: H2Stream): void {
    stream.closed = true;
    stream.held = null;
    this.streams.delete(stream.id);
    if (this.streams.size === 0) this.idleSince = this.now();
  }

  // Time.

  onTimer(kind: number): void {
    this.guard('h2_timer', () => {
      if (kind === READY)
        this.finish({ reason: 'connect_timeout', unseen: false, detail: `no SETTINGS within ${this.options.readyMs} ms` }, false);
      else if (kind === KEEP_ALIVE) this.onKeepAlive();
      else if (kind === CONFIRM) {
        if (this.resets.confirm()) this.onConfirmed();
      } else this.socket.destroy();
    });
  }

  /** The first stream after none: a connection that was silent for long may be dead, and the request would wait. */
  private wake(): void {
    const { keepAliveMs } = this.options;
    const silent = this.now() - this.idleSince;
    this.idleSince = -1;
    if (keepAliveMs === 0) return;
    if (silent >= keepAliveMs && this.pinger.allowed(this.now())) this.ping();
    else if (!this.watching) this.arm(KEEP_ALIVE, keepAliveMs);
    this.watching = true;
  }

  private ping(): void {
    this.heard = false;
    this.pinger.sent(this.now());
    this.writer.ourPing();
    this.watching = true;
    this.arm(KEEP_ALIVE, this.options.keepAliveTimeoutMs);
  }

  private onKeepAlive(): void {
    const { keepAliveMs, keepAliveTimeoutMs } = this.options;
    const waiting = this.pinger.outstanding && !this.heard;
    this.watching = false;
    if (waiting && this.now() - this.pinger.sentAt >= keepAliveTimeoutMs) {
      return this.finish({ reason: 'backend_closed', unseen: false, detail: `no answer to PING within ${keepAliveTimeoutMs} ms` }, false);
    }
    if (this.streams.size === 0) return;
    if (!this.heard && this.pinger.allowed(this.now())) return this.ping();
    this.heard = false;
    this.watching = true;
    this.arm(KEEP_ALIVE, keepAliveMs);
  }

  /** Asks the peer to confirm resets: by PING where that is welcome, else by the answer to a later stream or by time. */
  private seekConfirmation(): void {
    if (!this.resets.wantsBarrier || this.dead) return;
    this.resets.setBarrier(this.nextId - 2);
    this.arm(CONFIRM, CONFIRM_MS);
    if (this.options.keepAliveMs > 0 && this.pinger.allowed(this.now())) this.ping();
  }

  private onConfirmed(): void {
    this.seekConfirmation();
    this.released();
  }

  private arm(kind: number, ms: number): void {
    this.options.wheel.arm(this.timers[kind] as WheelTimer, ms);
  }

  private disarm(kind: number): void {
    this.options.wheel.disarm(this.timers[kind] as WheelTimer);
  }

  private release(kind: number): void {
    this.options.wheel.release(this.timers[kind] as WheelTimer);
  }
}
