import { WheelTimer, type TimerOwner } from '../../../lib/wheel.ts';
import type { Reason } from '../../../contract/reasons.ts';
import { Fields } from '../fields.ts';
import type { RequestAbort, ServerStream } from '../message.ts';
import { decodeSection, section, SECTION_BYTES, SECTION_FAILED, SECTION_OK } from '../qpack/decode.ts';
import { H3, type H3CodeName } from './codes.ts';
import type { Connection } from './connection.ts';
import { FRAME, frameHead, INCOMPLETE, isReservedHttp2Frame, MAX_FRAME_HEAD, readFrameHead } from './frames.ts';
import { Head, HeadSink, TrailerSink } from './head.ts';
import { SendSide } from './send.ts';

/** What has been read of the request. */
const HEAD = 0;
const BODY = 1;
const TRAILED = 2;
/** Complete, refused, ignored or aborted: whatever still arrives is not looked at. */
const DONE = 3;

/** What the bytes of the current frame are for. */
const BETWEEN = 0;
const DATA = 1;
const SECTION = 2;
const SKIP = 3;

/** Readers of the sections of all streams: nothing is kept in them from one section to the next. */
const headSink = new HeadSink();
const trailerSink = new TrailerSink();

/**
 * One request stream of a client.
 *
 *     HEAD --HEADERS--> BODY --DATA*--> BODY --HEADERS--> TRAILED --FIN--> DONE
 *       \                 \------------FIN--------------------------------^
 *        \--limit passed: answered by us, the rest ignored----------------^
 */
export class RequestStream extends SendSide implements ServerStream, TimerOwner {
  readonly head: Head;
  bytesIn = 0;
  private receiveState = HEAD;
  /** FIN has arrived, or the client has been told to stop: the engine needs no STOP_SENDING. */
  private isReceived = false;
  private frame = BETWEEN;
  /** Bytes missing of the current frame. */
  private left = 0;
  /** A frame head, or a field section, that has not arrived whole. */
  private held: Uint8Array | null = null;
  private heldLength = 0;
  private trailers: Fields | null = null;
  private timer: WheelTimer | null = null;
  /** By the application, which wants to hear nothing more. */
  private isReset = false;

  constructor(connection: Connection, id: number, startedAt: number) {
    super(connection, id);
    this.head = new Head(startedAt);
  }

  get hasHead(): boolean {
    return this.receiveState !== HEAD;
  }

  // --- what the engine says

  onData(buf: Uint8Array, start: number, end: number, fin: boolean): void {
    if (this.receiveState === DONE) {
      if (fin) this.isReceived = true;
      return;
    }
    if (fin) this.isReceived = true;
    let at = start;
    while (at < end) {
      at = this.frame === BETWEEN ? this.readHead(buf, at, end) : this.readPayload(buf, at, end);
      if (this.receiveState === DONE) return;
    }
    if (fin) this.onFin();
    else if (this.receiveState === HEAD && this.timer === null) this.arm(this.connection.limits().headerTimeoutMs);
  }

  onReset(code: number): void {
    // After FIN, and in answer to our own STOP_SENDING, it means nothing.
    if (this.receiveState === DONE) return;
    this.isReceived = true;
    this.abort('reset', code, H3.H3_REQUEST_CANCELLED);
  }

  onStop(code: number): void {
    if (this.isSendDone) return;
    this.abort('stop', code, H3.H3_REQUEST_CANCELLED);
  }

  onTimer(): void {
    if (this.connection.isClosed) return;
    this.connection.shared.beginTurn();
    try {
      if (this.receiveState === HEAD) this.onHeaderTimeout();
      else if (this.isBlocked && !this.isSendDone) this.onStall();
    } catch (e) {
      this.connection.crash('stream_timer', e);
    }
  }

  // --- what the application says

  reset(code: number): void {
    if (this.isSendDone && this.receiveState === DONE) return;
    this.isReset = true;
    this.kill(code);
    this.handler = null;
    this.connection.remove(this);
  }

  ignoreRequest(): void {
    if (this.receiveState === DONE) return;
    this.stopReceiving(H3.H3_NO_ERROR);
    this.settle();
  }

  pause(): void {
    if (this.receiveState !== DONE) this.quic.pause(this.id);
  }

  resume(): void {
    if (this.receiveState !== DONE) this.quic.resume(this.id);
  }

  // --- frames

  private readHead(buf: Uint8Array, at: number, end: number): number {
    if (this.heldLength > 0) return this.readSplitHead(buf, at, end);
    const payload = readFrameHead(buf, at, end);
    if (payload === INCOMPLETE) {
      this.held ??= new Uint8Array(MAX_FRAME_HEAD);
      while (at < end) this.held[this.heldLength++] = buf[at++] as number;
      return end;
    }
    return this.beginFrame(buf, payload, end);
  }

  /** Byte by byte, since where the head ends shows only when it is there. */
  private readSplitHead(buf: Uint8Array, at: number, end: number): number {
    const held = this.held as Uint8Array;
    while (at < end) {
      held[this.heldLength++] = buf[at++] as number;
      if (readFrameHead(held, 0, this.heldLength) !== INCOMPLETE) {
        this.heldLength = 0;
        return this.beginFrame(buf, at, end);
      }
    }
    return end;
  }

  private beginFrame(buf: Uint8Array, at: number, end: number): number {
    const { type, length } = frameHead;
    if (type === FRAME.HEADERS) return this.beginSection(buf, at, end, length);
    if (type === FRAME.DATA) this.beginData(length);
    else this.beginOther(type, length);
    return at;
  }

  private beginData(length: number): void {
    // RFC 9114 s4.1: only between HEADERS and trailers.
    if (this.receiveState !== BODY) return this.connection.fail('H3_FRAME_UNEXPECTED', 'H1');
    if (length === 0) {
      if (!this.connection.budget.frame()) this.connection.fail('H3_EXCESSIVE_LOAD', 'H11');
      return;
    }
    // s4.1.2, before a byte too many gets anywhere.
    const { contentLength } = this.head;
    if (contentLength >= 0 && this.bytesIn + length > contentLength) return this.malformed('M2');
    this.frame = DATA;
    this.left = length;
  }

  /** Rare: everything but DATA and HEADERS. */
  private beginOther(type: number, length: number): void {
    const { connection } = this;
    switch (type) {
      // s7.2.5: clients push nothing.
      case FRAME.PUSH_PROMISE:
        return connection.fail('H3_FRAME_UNEXPECTED', 'H7');
      // s7.2.3, 7.2.4, 7.2.6, 7.2.7: the control stream's.
      case FRAME.CANCEL_PUSH:
      case FRAME.SETTINGS:
      case FRAME.GOAWAY:
      case FRAME.MAX_PUSH_ID:
        return connection.fail('H3_FRAME_UNEXPECTED', 'H2');
      // RFC 9218 s7.2.
      case FRAME.PRIORITY_UPDATE_REQUEST:
      case FRAME.PRIORITY_UPDATE_PUSH:
        return connection.fail('H3_FRAME_UNEXPECTED', 'H20');
    }
    if (isReservedHttp2Frame(type)) return connection.fail('H3_FRAME_UNEXPECTED', 'H3');
    // s9: unknown types pass, within a budget.
    if (!connection.budget.frame()) return connection.fail('H3_EXCESSIVE_LOAD', 'H11');
    if (length === 0) return;
    this.frame = SKIP;
    this.left = length;
  }

  private beginSection(buf: Uint8Array, at: number, end: number, length: number): number {
    if (this.receiveState === TRAILED) {
      this.connection.fail('H3_FRAME_UNEXPECTED', 'H1');
      return end;
    }
    if (length <= end - at) {
      // The common case: a whole section, read where it lies.
      this.readSection(buf, at, at + length, at + length === end);
      return at + length;
    }
    // A section is never shorter than its encoding, but for codes longer than a byte that no encoder would choose.
    if (length > this.connection.limits().headerBytes) {
      this.tooLarge('headerBytes');
      return end;
    }
    this.frame = SECTION;
    this.left = length;
    this.held = new Uint8Array(end - at > MIN_HELD ? end - at : MIN_HELD);
    this.heldLength = 0;
    return at;
  }

  private readPayload(buf: Uint8Array, at: number, end: number): number {
    const stop = end - at > this.left ? at + this.left : end;
    this.left -= stop - at;
    const { frame } = this;
    if (this.left === 0) this.frame = BETWEEN;
    if (frame === DATA) {
      this.bytesIn += stop - at;
      this.handler?.onRequestBody(buf, at, stop);
    } else if (frame === SECTION) this.holdSection(buf, at, stop, stop === end);
    else if (!this.connection.budget.skip(stop - at)) this.connection.fail('H3_EXCESSIVE_LOAD', 'H10');
    return stop;
  }

  /** Room grows with what has arrived, never with what was announced. */
  private holdSection(buf: Uint8Array, at: number, stop: number, isLast: boolean): void {
    let held = this.held as Uint8Array;
    const length = this.heldLength + stop - at;
    if (length > held.length) {
      held = new Uint8Array(Math.max(length, held.length * 2));
      held.set((this.held as Uint8Array).subarray(0, this.heldLength));
      this.held = held;
    }
    held.set(buf.subarray(at, stop), this.heldLength);
    this.heldLength = length;
    if (this.left > 0) return;
    this.held = null;
    this.heldLength = 0;
    this.readSection(held, 0, length, isLast);
  }

  // --- field sections

  private readSection(buf: Uint8Array, start: number, end: number, isLast: boolean): void {
    if (this.receiveState === HEAD) this.readHeadSection(buf, start, end, isLast && this.isReceived);
    else this.readTrailers(buf, start, end);
  }

  private readHeadSection(buf: Uint8Array, start: number, end: number, isEnd: boolean): void {
    const { connection, head } = this;
    const limits = connection.limits();
    headSink.begin(head);
    const result = decodeSection(buf, start, end, headSink, limits.headerBytes, limits.headerCount);
    head.bytes = section.bytes;
    if (result === SECTION_FAILED) return connection.fail('QPACK_DECOMPRESSION_FAILED', section.rule);
    const { underscores } = headSink;
    if (result !== SECTION_OK) {
      if (headSink.rule !== '') return this.malformed(headSink.rule);
      return this.tooLarge(result === SECTION_BYTES ? 'headerBytes' : 'headerCount');
    }
    const rule = headSink.finish();
    if (rule !== '') return this.malformed(rule);
    if (isEnd && head.contentLength > 0) return this.malformed('M1');
    connection.dropped('underscore', underscores);
    this.prioritize();
    this.dispatch(isEnd, null);
  }

  private prioritize(): void {
    const { head } = this;
    this.connection.takeEarlyPriority(head, this.id);
    if (head.urgency !== 3 || head.incremental) this.quic.priority(this.id, head.urgency, head.incremental);
  }

  private readTrailers(buf: Uint8Array, start: number, end: number): void {
    const { connection } = this;
    const limits = connection.limits();
    const trailers = new Fields();
    trailerSink.begin(trailers);
    const result = decodeSection(buf, start, end, trailerSink, limits.headerBytes, limits.headerCount);
    if (result === SECTION_FAILED) return connection.fail('QPACK_DECOMPRESSION_FAILED', section.rule);
    if (trailerSink.rule !== '') return this.malformed(trailerSink.rule);
    if (result !== SECTION_OK) return this.tooLarge(result === SECTION_BYTES ? 'headerBytes' : 'headerCount');
    this.receiveState = TRAILED;
    this.trailers = trailers;
    connection.dropped('underscore', trailerSink.underscores);
    connection.dropped('trailer', trailerSink.forbidden);
  }

  /** The request goes to the application: `isEnd` when nothing will follow. */
  private dispatch(isEnd: boolean, rejection: Reason | null): void {
    this.receiveState = isEnd ? DONE : BODY;
    this.disarm();
    const { connection } = this;
    const handler = connection.shared.app.onRequest(this, isEnd, rejection);
    if (!connection.isClosed) this.handler = handler;
    else if (!this.isReset) handler.onRequestAbort('closed', connection.closeCode);
  }

  // --- endings

  private onFin(): void {
    // s7.1: not in the middle of a frame.
    if (this.frame !== BETWEEN || this.heldLength > 0) return this.connection.fail('H3_FRAME_ERROR', 'H9');
    // s4.1: a stream without a request.
    if (this.receiveState === HEAD) return this.refuse('H3_REQUEST_INCOMPLETE', 'H9');
    const { contentLength } = this.head;
    if (contentLength >= 0 && this.bytesIn !== contentLength) return this.malformed(this.bytesIn === 0 ? 'M1' : 'M2');
    this.receiveState = DONE;
    this.handler?.onRequestEnd(this.trailers);
    this.settle();
  }

  /** A limit was passed while reading the head: the application answers, the rest of the request is ignored. */
  private reject(rejection: Reason): void {
    this.stopReceiving(H3.H3_NO_ERROR);
    this.dispatch(true, rejection);
  }

  private tooLarge(limit: string): void {
    const { connection } = this;
    connection.shared.app.onLimit(connection, limit);
    if (connection.countTooLarge()) return;
    if (this.receiveState === HEAD) this.reject('headers_too_large');
    else this.refuse('H3_EXCESSIVE_LOAD', 'P2');
  }

  private onHeaderTimeout(): void {
    const { connection } = this;
    connection.shared.app.onLimit(connection, 'headerTimeout');
    this.reject('header_timeout');
  }

  /** The client has not read for too long. */
  onStall(): void {
    const { connection } = this;
    connection.shared.app.onLimit(connection, 'responseStall');
    this.abort('stalled', H3.H3_REQUEST_CANCELLED, H3.H3_REQUEST_CANCELLED);
  }

  /** RFC 9114 s4.1.2. */
  private malformed(rule: string): void {
    this.refuse('H3_MESSAGE_ERROR', rule);
  }

  /** A stream error of the client's making. */
  private refuse(code: H3CodeName, rule: string): void {
    const { connection } = this;
    connection.shared.app.onProtocolError(connection, 'stream', code, rule);
    this.endHandler('malformed', H3[code], H3[code]);
    connection.countReset(this, 'H16');
  }

  private abort(kind: RequestAbort, code: number, answer: number): void {
    const isPremature = !this.isSendDone;
    this.endHandler(kind, code, answer);
    if (isPremature) this.connection.countReset(this, 'H15');
  }

  private endHandler(kind: RequestAbort, code: number, answer: number): void {
    this.kill(answer);
    this.connection.remove(this);
    const { handler } = this;
    this.handler = null;
    handler?.onRequestAbort(kind, code);
  }

  /** The connection is gone: nothing to send, somebody to tell. */
  onConnectionEnd(code: number, abort: RequestAbort): void {
    this.receiveState = DONE;
    this.silence();
    this.releaseTimer();
    const { handler } = this;
    this.handler = null;
    handler?.onRequestAbort(abort, code);
  }

  private kill(code: number): void {
    if (this.receiveState !== DONE) this.stopReceiving(code);
    if (!this.isSendDone) {
      this.silence();
      this.quic.reset(this.id, code);
    }
    this.releaseTimer();
  }

  private stopReceiving(code: number): void {
    this.receiveState = DONE;
    this.frame = BETWEEN;
    this.held = null;
    this.heldLength = 0;
    if (!this.isReceived) this.quic.stop(this.id, code);
    this.isReceived = true;
  }

  protected override onSendDone(): void {
    this.stopStall();
    this.settle();
  }

  /** Both halves are over. */
  private settle(): void {
    if (this.receiveState !== DONE || !this.isSendDone) return;
    this.releaseTimer();
    this.connection.remove(this);
  }

  // --- one timer: for the head first, for a stalled answer later

  protected override startStall(): void {
    // An engine that knows a client that does not read from a turn that has not come is asked by the connection.
    if (this.quic.stuck === undefined) this.arm(this.connection.limits().responseStallMs);
  }

  protected override stopStall(): void {
    this.disarm();
  }

  private arm(ms: number): void {
    this.timer ??= new WheelTimer(this);
    this.connection.shared.wheel.arm(this.timer, ms);
  }

  private disarm(): void {
    if (this.timer !== null) this.connection.shared.wheel.disarm(this.timer);
  }

  private releaseTimer(): void {
    if (this.timer !== null) this.connection.shared.wheel.release(this.timer);
  }
}

/** The first room for a section that comes in pieces. */
const MIN_HELD = 1024;
