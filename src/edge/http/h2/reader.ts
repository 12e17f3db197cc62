import { ErrorCode, Flag, FrameType, FRAME_HEADER, FRAME_SIZE } from './codes.ts';
import { parseFrameHeader, type FrameHeader } from './frames.ts';

/** What a reader tells. Buffers are lent until the callee returns. */
export interface FrameSink {
  /** A DATA frame begins; all of `length`, padding included, counts for flow control (RFC 9113 s6.1). */
  onData(id: number, flags: number, length: number): void;
  onDataBytes(buf: Uint8Array, start: number, end: number): void;
  onDataEnd(): void;
  /** HEADERS with its CONTINUATIONs, without padding and priority. */
  onHeaderBlock(id: number, flags: number, buf: Uint8Array, start: number, end: number): void;
  /** SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM and PRIORITY: whole, on a stream and of a length that their type allows. */
  onFrame(type: number, flags: number, id: number, buf: Uint8Array, start: number, end: number): void;
  /** A frame of a type that we do not know: its payload is passed over (s4.1, s5.5). */
  onUnknownFrame(type: number, length: number): void;
  /** A connection error; the reader has stopped. */
  onFrameError(code: number, detail: string): void;
}

export interface ReaderLimits {
  /** Bytes of one header block before decoding, and CONTINUATION frames of one block. */
  readonly blockBytes: number;
  readonly continuations: number;
}

const NOTHING = new Uint8Array(0);

/** What the bytes of a frame that is passed on piece by piece are. */
const DATA = 0;
const PASSED_OVER = 1;

/**
 * Bytes into frames, however they are cut. DATA is passed on piece by piece; of everything else, whole frames of at
 * most SETTINGS_MAX_FRAME_SIZE are gathered, so that a connection never holds more than one frame and one header block.
 */
export class FrameReader {
  private readonly sink: FrameSink;
  private readonly limits: ReaderLimits;
  private readonly header: FrameHeader = { length: 0, type: 0, flags: 0, id: 0 };
  private stopped = false;

  /** The beginning of a frame whose rest has not arrived. */
  private held: Uint8Array = NOTHING;
  private holding = 0;

  /** The frame that is passed on piece by piece: what is left of it, and how much of that is not padding. */
  private left = 0;
  private content = 0;
  private kind = DATA;
  private padLengthNext = false;

  /** The header block that waits for CONTINUATION: its stream, or 0. */
  private blockId = 0;
  private blockFlags = 0;
  private block: Uint8Array = NOTHING;
  private blockLength = 0;
  private blockFrames = 0;

  constructor(sink: FrameSink, limits: ReaderLimits) {
    this.sink = sink;
    this.limits = limits;
  }

  /** Nothing is told any more. */
  stop(): void {
    this.stopped = true;
    this.held = NOTHING;
    this.block = NOTHING;
  }

  read(buf: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end && !this.stopped) {
      if (this.left > 0) at = this.piece(buf, at, end);
      else if (this.holding > 0) at = this.gather(buf, at, end);
      else at = this.next(buf, at, end);
    }
  }

  private fail(code: number, detail: string): void {
    this.stop();
    this.sink.onFrameError(code, detail);
  }

  /** A frame starts at `at`. */
  private next(buf: Uint8Array, at: number, end: number): number {
    if (end - at < FRAME_HEADER) return this.hold(buf, at, end, FRAME_HEADER);
    parseFrameHeader(buf, at, this.header);
    if (!this.admit()) return end;
    const payload = at + FRAME_HEADER;
    if (this.begins()) return payload;
    const behind = payload + this.header.length;
    if (behind > end) return this.hold(buf, at, end, FRAME_HEADER + this.header.length);
    this.whole(buf, payload, behind);
    return behind;
  }

  private hold(buf: Uint8Array, at: number, end: number, needed: number): number {
    if (this.held.length < needed) {
      const grown = new Uint8Array(needed <= 256 ? 256 : FRAME_HEADER + FRAME_SIZE);
      grown.set(this.held.subarray(0, this.holding));
      this.held = grown;
    }
    this.held.set(buf.subarray(at, end), this.holding);
    this.holding += end - at;
    return end;
  }

  /** More bytes of a frame of which some are held. */
  private gather(buf: Uint8Array, at: number, end: number): number {
    if (this.holding < FRAME_HEADER) {
      const take = Math.min(FRAME_HEADER - this.holding, end - at);
      this.hold(buf, at, at + take, FRAME_HEADER);
      at += take;
      if (this.holding < FRAME_HEADER) return at;
      parseFrameHeader(this.held, 0, this.header);
      if (!this.admit()) return end;
      if (this.begins()) {
        this.holding = 0;
        return at;
      }
    }
    const needed = FRAME_HEADER + this.header.length;
    const take = Math.min(needed - this.holding, end - at);
    this.hold(buf, at, at + take, needed);
    if (this.holding === needed) {
      this.holding = 0;
      this.whole(this.held, FRAME_HEADER, needed);
    }
    return at + take;
  }

  /** Whether a frame with this header may come now; if not, the connection has failed. */
  private admit(): boolean {
    const h = this.header;
    if (h.length > FRAME_SIZE) this.fail(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${h.length} bytes (s4.2)`);
    else if (this.blockId !== 0 && (h.type !== FrameType.CONTINUATION || h.id !== this.blockId)) {
      this.fail(ErrorCode.PROTOCOL_ERROR, `frame type ${h.type} within a header block (s6.10)`);
    } else this.admitByType(h);
    return !this.stopped;
  }

  private admitByType(h: FrameHeader): void {
    switch (h.type) {
      case FrameType.DATA:
        if (h.id === 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'DATA on stream 0 (s6.1)');
        else if ((h.flags & Flag.PADDED) !== 0 && h.length === 0)
          this.fail(ErrorCode.FRAME_SIZE_ERROR, 'DATA without its padding length (s6.1)');
        return;
      case FrameType.HEADERS:
        if (h.id === 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'HEADERS on stream 0 (s6.2)');
        return;
      case FrameType.PRIORITY:
        if (h.id === 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'PRIORITY on stream 0 (s6.3)');
        return;
      case FrameType.RST_STREAM:
        if (h.id === 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'RST_STREAM on stream 0 (s6.4)');
        else if (h.length !== 4) this.fail(ErrorCode.FRAME_SIZE_ERROR, 'RST_STREAM not of 4 bytes (s6.4)');
        return;
      case FrameType.SETTINGS:
        if (h.id !== 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'SETTINGS on a stream (s6.5)');
        else if (h.length % 6 !== 0) this.fail(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS not in units of 6 bytes (s6.5)');
        else if ((h.flags & Flag.ACK) !== 0 && h.length > 0) this.fail(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS ACK with a payload (s6.5)');
        return;
      case FrameType.PUSH_PROMISE:
        // Towards clients only, and we have said ENABLE_PUSH 0 (s6.6, s8.4).
        this.fail(ErrorCode.PROTOCOL_ERROR, 'PUSH_PROMISE (s6.6)');
        return;
      case FrameType.PING:
        if (h.id !== 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'PING on a stream (s6.7)');
        else if (h.length !== 8) this.fail(ErrorCode.FRAME_SIZE_ERROR, 'PING not of 8 bytes (s6.7)');
        return;
      case FrameType.GOAWAY:
        if (h.id !== 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'GOAWAY on a stream (s6.8)');
        else if (h.length < 8) this.fail(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY of less than 8 bytes (s6.8)');
        return;
      case FrameType.WINDOW_UPDATE:
        if (h.length !== 4) this.fail(ErrorCode.FRAME_SIZE_ERROR, 'WINDOW_UPDATE not of 4 bytes (s6.9)');
        return;
      case FrameType.CONTINUATION:
        if (this.blockId === 0) this.fail(ErrorCode.PROTOCOL_ERROR, 'CONTINUATION without HEADERS (s6.10)');
        return;
      default:
    }
  }

  /** Starts on a frame that is passed on or over piece by piece; false for those that are gathered. */
  private begins(): boolean {
    const h = this.header;
    if (h.type === FrameType.DATA) {
      this.kind = DATA;
      this.left = h.length;
      this.padLengthNext = (h.flags & Flag.PADDED) !== 0;
      this.content = h.length;
      this.sink.onData(h.id, h.flags, h.length);
      if (h.length === 0 && !this.stopped) this.sink.onDataEnd();
      return true;
    }
    if (h.type <= FrameType.CONTINUATION) return false;
    this.kind = PASSED_OVER;
    this.left = h.length;
    this.sink.onUnknownFrame(h.type, h.length);
    return true;
  }

  private piece(buf: Uint8Array, at: number, end: number): number {
    if (this.kind === PASSED_OVER) {
      const skip = Math.min(this.left, end - at);
      this.left -= skip;
      return at + skip;
    }
    if (this.padLengthNext) {
      this.padLengthNext = false;
      const padding = buf[at++] as number;
      this.left--;
      this.content = this.left - padding;
      if (this.content < 0) {
        this.fail(ErrorCode.PROTOCOL_ERROR, 'padding as long as the DATA frame (s6.1)');
        return end;
      }
    }
    const take = Math.min(this.content, end - at);
    this.content -= take;
    this.left -= take;
    if (take > 0) this.sink.onDataBytes(buf, at, at + take);
    at += take;
    if (this.content === 0) {
      const skip = Math.min(this.left, end - at);
      this.left -= skip;
      at += skip;
      if (this.left === 0 && !this.stopped) this.sink.onDataEnd();
    }
    return at;
  }

  private whole(buf: Uint8Array, start: number, end: number): void {
    const h = this.header;
    if (h.type === FrameType.HEADERS) this.headers(buf, start, end);
    else if (h.type === FrameType.CONTINUATION) this.continuation(buf, start, end);
    else this.sink.onFrame(h.type, h.flags, h.id, buf, start, end);
  }

  /** s6.2 */
  private headers(buf: Uint8Array, start: number, end: number): void {
    const h = this.header;
    const fixed = ((h.flags & Flag.PADDED) !== 0 ? 1 : 0) + ((h.flags & Flag.PRIORITY) !== 0 ? 5 : 0);
    if (end - start < fixed) return this.fail(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS without its fixed part (s6.2)');
    const padding = (h.flags & Flag.PADDED) !== 0 ? (buf[start] as number) : 0;
    const from = start + fixed;
    const to = end - padding;
    if (to < from) return this.fail(ErrorCode.PROTOCOL_ERROR, 'padding as long as the HEADERS frame (s6.2)');
    if ((h.flags & Flag.END_HEADERS) !== 0) return this.sink.onHeaderBlock(h.id, h.flags, buf, from, to);
    this.blockId = h.id;
    this.blockFlags = h.flags;
    this.blockLength = 0;
    this.blockFrames = 0;
    this.appendBlock(buf, from, to);
  }

  /** s6.10 */
  private continuation(buf: Uint8Array, start: number, end: number): void {
    this.blockFrames++;
    this.appendBlock(buf, start, end);
    if (this.stopped || (this.header.flags & Flag.END_HEADERS) === 0) return;
    const id = this.blockId;
    this.blockId = 0;
    const block = this.block;
    this.block = NOTHING;
    this.sink.onHeaderBlock(id, this.blockFlags, block, 0, this.blockLength);
  }

  private appendBlock(buf: Uint8Array, start: number, end: number): void {
    const length = this.blockLength + end - start;
    if (length > this.limits.blockBytes || this.blockFrames > this.limits.continuations) {
      return this.fail(ErrorCode.ENHANCE_YOUR_CALM, `a header block of over ${length} bytes in ${this.blockFrames + 1} frames`);
    }
    if (length > this.block.length) {
      const grown = new Uint8Array(Math.min(this.limits.blockBytes, Math.max(length, this.block.length * 2)));
      grown.set(this.block.subarray(0, this.blockLength));
      this.block = grown;
    }
    this.block.set(buf.subarray(start, end), this.blockLength);
    this.blockLength = length;
  }
}
