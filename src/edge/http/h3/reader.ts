import { FRAME, frameHead, INCOMPLETE, MAX_FRAME_HEAD, readFrameHead } from './frames.ts';

/** What takes the frames of a stream that a server sent. */
export interface FrameSink {
  onDataBytes(buf: Uint8Array, start: number, end: number): void;
  /** A whole payload, of every type but DATA that is within the limit. Valid until return. */
  onFrame(type: number, payload: Uint8Array): void;
  /** A payload over the limit began; its bytes are skipped. */
  onLongFrame(type: number): void;
}

/** Cuts a stream into frames, for the client's side, where convenience comes before speed. */
export class FrameReader {
  private readonly sink: FrameSink;
  private readonly limit: number;
  private readonly head = new Uint8Array(MAX_FRAME_HEAD);
  private headLength = 0;
  private isPayload = false;
  private type = 0;
  private left = 0;
  /** Null: the payload is handed on or skipped as it comes. */
  private held: Uint8Array | null = null;
  private heldLength = 0;

  constructor(sink: FrameSink, limit: number) {
    this.sink = sink;
    this.limit = limit;
  }

  /** Nothing has begun that has not ended. */
  get isBetween(): boolean {
    return !this.isPayload && this.headLength === 0;
  }

  push(buf: Uint8Array, start: number, end: number): void {
    let at = start;
    while (at < end) at = this.isPayload ? this.readPayload(buf, at, end) : this.readHead(buf, at, end);
  }

  private readHead(buf: Uint8Array, at: number, end: number): number {
    while (at < end) {
      this.head[this.headLength++] = buf[at++] as number;
      if (readFrameHead(this.head, 0, this.headLength) === INCOMPLETE) continue;
      this.headLength = 0;
      this.begin(frameHead.type, frameHead.length);
      return at;
    }
    return at;
  }

  private begin(type: number, length: number): void {
    this.type = type;
    this.left = length;
    this.held = null;
    this.heldLength = 0;
    if (type !== FRAME.DATA) {
      if (length > this.limit) this.sink.onLongFrame(type);
      else if (length === 0) this.sink.onFrame(type, new Uint8Array(0));
      else this.held = new Uint8Array(length);
    }
    this.isPayload = length > 0;
  }

  private readPayload(buf: Uint8Array, at: number, end: number): number {
    const stop = Math.min(end, at + this.left);
    this.left -= stop - at;
    this.isPayload = this.left > 0;
    const { held } = this;
    if (held !== null) {
      held.set(buf.subarray(at, stop), this.heldLength);
      this.heldLength += stop - at;
      if (this.left === 0) this.sink.onFrame(this.type, held);
    } else if (this.type === FRAME.DATA) this.sink.onDataBytes(buf, at, stop);
    return stop;
  }
}
