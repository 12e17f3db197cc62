import type { Connection } from './connection.ts';
import {
  FRAME,
  frameHead,
  INCOMPLETE,
  INVALID,
  isReservedHttp2Frame,
  MAX_FRAME_HEAD,
  priorityUpdate,
  readFrameHead,
  readIdPayload,
  readPriorityUpdate,
  readSettings,
  SETTINGS_INVALID,
  SETTINGS_TRUNCATED,
  type PeerSettings,
} from './frames.ts';

const MAX_SETTINGS = 4096;
const MAX_PRIORITY_UPDATE = 256;
const MAX_ID = 8;

const latin1Slice = Buffer.prototype.latin1Slice;

/** The client's control stream (RFC 9114 s6.2.1). */
export class ControlStream {
  readonly settings: PeerSettings = { maxFieldSectionSize: -1, qpackMaxTableCapacity: -1, qpackBlockedStreams: -1 };
  private readonly connection: Connection;
  private hasSettings = false;
  private maxPushId = -1;
  private goaway = Infinity;
  /** A frame head or payload that has not arrived whole. */
  private held = new Uint8Array(MAX_FRAME_HEAD);
  private heldLength = 0;
  private isPayload = false;
  private type = 0;
  private length = 0;
  /** Bytes to come of a frame that nobody reads. */
  private skip = 0;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  push(buf: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end && !this.connection.isClosed) {
      if (this.skip > 0) at = this.skipSome(at, end);
      else if (this.isPayload) at = this.readPayload(buf, at, end);
      else at = this.readHead(buf, at, end);
    }
  }

  private skipSome(at: number, end: number): number {
    const n = Math.min(this.skip, end - at);
    this.skip -= n;
    if (!this.connection.budget.skip(n)) this.connection.fail('H3_EXCESSIVE_LOAD', 'H10');
    return at + n;
  }

  /** Byte by byte: these frames are few and short. */
  private readHead(buf: Uint8Array, at: number, end: number): number {
    while (at < end) {
      this.held[this.heldLength++] = buf[at++] as number;
      if (readFrameHead(this.held, 0, this.heldLength) === INCOMPLETE) continue;
      this.heldLength = 0;
      this.beginFrame(frameHead.type, frameHead.length);
      return at;
    }
    return at;
  }

  private beginFrame(type: number, length: number): void {
    const { connection } = this;
    if (!this.hasSettings && type !== FRAME.SETTINGS) return connection.fail('H3_MISSING_SETTINGS', 'H4');
    this.type = type;
    this.length = length;
    switch (type) {
      case FRAME.SETTINGS:
        if (this.hasSettings) return connection.fail('H3_FRAME_UNEXPECTED', 'H4');
        this.hasSettings = true;
        if (length > MAX_SETTINGS) return connection.fail('H3_EXCESSIVE_LOAD', 'H10');
        return this.expect(length);
      case FRAME.DATA:
      case FRAME.HEADERS:
        return connection.fail('H3_FRAME_UNEXPECTED', 'H2');
      case FRAME.PUSH_PROMISE:
        return connection.fail('H3_FRAME_UNEXPECTED', 'H7');
      case FRAME.CANCEL_PUSH:
      case FRAME.GOAWAY:
      case FRAME.MAX_PUSH_ID:
        // s7.1: exactly one varint.
        if (length === 0 || length > MAX_ID) return connection.fail('H3_FRAME_ERROR', 'H9');
        if (!this.connection.budget.frame()) return connection.fail('H3_EXCESSIVE_LOAD', 'H11');
        return this.expect(length);
      case FRAME.PRIORITY_UPDATE_REQUEST:
      case FRAME.PRIORITY_UPDATE_PUSH:
        if (length > MAX_PRIORITY_UPDATE || !connection.budget.frame()) return connection.fail('H3_EXCESSIVE_LOAD', 'H20');
        if (length === 0) return connection.fail('H3_FRAME_ERROR', 'H9');
        return this.expect(length);
    }
    if (isReservedHttp2Frame(type)) return connection.fail('H3_FRAME_UNEXPECTED', 'H3');
    if (!connection.budget.frame()) return connection.fail('H3_EXCESSIVE_LOAD', 'H11');
    this.skip = length;
  }

  private expect(length: number): void {
    if (length === 0) return this.endFrame(this.held, 0, 0);
    if (length > this.held.length) this.held = new Uint8Array(length);
    this.isPayload = true;
  }

  private readPayload(buf: Uint8Array, at: number, end: number): number {
    const stop = Math.min(end, at + this.length - this.heldLength);
    this.held.set(buf.subarray(at, stop), this.heldLength);
    this.heldLength += stop - at;
    if (this.heldLength === this.length) {
      this.isPayload = false;
      this.heldLength = 0;
      this.endFrame(this.held, 0, this.length);
    }
    return stop;
  }

  private endFrame(buf: Uint8Array, start: number, end: number): void {
    switch (this.type) {
      case FRAME.SETTINGS:
        return this.onSettings(buf, start, end);
      case FRAME.PRIORITY_UPDATE_REQUEST:
      case FRAME.PRIORITY_UPDATE_PUSH:
        return this.onPriorityUpdate(buf, start, end);
      default:
        return this.onId(readIdPayload(buf, start, end));
    }
  }

  private onSettings(buf: Uint8Array, start: number, end: number): void {
    const result = readSettings(buf, start, end, this.settings);
    if (result === SETTINGS_TRUNCATED) this.connection.fail('H3_FRAME_ERROR', 'H9');
    else if (result === SETTINGS_INVALID) this.connection.fail('H3_SETTINGS_ERROR', 'H4');
  }

  private onId(id: number): void {
    const { connection } = this;
    if (id === INVALID) return connection.fail('H3_FRAME_ERROR', 'H9');
    switch (this.type) {
      case FRAME.MAX_PUSH_ID:
        // s7.2.7.
        if (id < this.maxPushId) return connection.fail('H3_ID_ERROR', 'H8');
        this.maxPushId = id;
        return;
      case FRAME.GOAWAY:
        // s5.2: a push id here, and we push nothing; it must not grow.
        if (id > this.goaway) return connection.fail('H3_ID_ERROR', 'H8');
        this.goaway = id;
        return;
      default:
        // s7.2.3: CANCEL_PUSH of something that was never promised.
        return connection.fail('H3_ID_ERROR', 'H8');
    }
  }

  private onPriorityUpdate(buf: Uint8Array, start: number, end: number): void {
    const { connection } = this;
    if (!readPriorityUpdate(buf, start, end)) return connection.fail('H3_FRAME_ERROR', 'H9');
    // RFC 9218 s7.2: a push that was never promised, or no request stream.
    if (this.type === FRAME.PRIORITY_UPDATE_PUSH || priorityUpdate.id % 4 !== 0) return connection.fail('H3_ID_ERROR', 'H20');
    connection.onPriorityUpdate(priorityUpdate.id, latin1Slice.call(buf, priorityUpdate.valueAt, end));
  }
}
