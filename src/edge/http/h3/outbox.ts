import { FRAME, frameHeadSize, writeFrameHead } from './frames.ts';

/** Whoever has bytes in the outbox. */
export interface OutboxOwner {
  /** Hands `buf[0, end)` to the engine. */
  flushHeld(buf: Uint8Array, end: number): void;
}

const SIZE = 64 * 1024;

const { copy } = Buffer.prototype;

/**
 * The last few frames of one stream, held back until the stream ends, another one writes, or the turn is over: an answer's
 * HEADERS, small DATA and trailers leave as one write. It belongs to one stream at a time, since the frames of an answer
 * mostly come in one piece from the backend.
 */
export class Outbox {
  buf: Uint8Array = Buffer.allocUnsafeSlow(SIZE);
  end = 0;
  private owner: OutboxOwner | null = null;

  isOwnedBy(owner: OutboxOwner): boolean {
    return this.owner === owner;
  }

  /** Makes `owner` the owner, with `room` bytes free behind `end`. */
  claim(owner: OutboxOwner, room: number): void {
    if (this.owner !== owner) this.flush();
    else if (this.end + room > this.buf.length) this.flush();
    this.owner = owner;
    if (room > this.buf.length) this.buf = Buffer.allocUnsafeSlow(room);
  }

  flush(): void {
    const { owner, buf, end } = this;
    if (owner === null) return;
    this.release();
    owner.flushHeld(buf, end);
  }

  /** Forgets what is held. */
  release(): void {
    this.owner = null;
    this.end = 0;
    // A field section beyond all measure got a buffer of its own: it does not stay.
    if (this.buf.length > SIZE) this.buf = Buffer.allocUnsafeSlow(SIZE);
  }

  /** Starts a HEADERS frame whose section has at most `room` bytes; returns where the section goes. */
  beginHeaders(room: number): number {
    this.buf[this.end] = FRAME.HEADERS;
    return this.end + (room < SHORT_LENGTH ? 3 : 5);
  }

  /** Ends the frame: its length goes into the two or four bytes kept for it (a varint need not be the shortest). */
  endHeaders(sectionAt: number, sectionEnd: number): void {
    const { buf } = this;
    const length = sectionEnd - sectionAt;
    if (sectionAt - this.end === 3) {
      buf[sectionAt - 2] = 0x40 | (length >> 8);
      buf[sectionAt - 1] = length & 0xff;
    } else {
      buf[sectionAt - 4] = 0x80 | (length >>> 24);
      buf[sectionAt - 3] = (length >>> 16) & 0xff;
      buf[sectionAt - 2] = (length >>> 8) & 0xff;
      buf[sectionAt - 1] = length & 0xff;
    }
    this.end = sectionEnd;
  }

  dataHead(length: number): void {
    this.end = writeFrameHead(this.buf, this.end, FRAME.DATA, length);
  }

  appendAll(from: Uint8Array): void {
    this.buf.set(from, this.end);
    this.end += from.length;
  }

  append(from: Uint8Array, start: number, end: number): void {
    const { buf } = this;
    const n = end - start;
    let at = this.end;
    // Cheaper than `set`, which wants a view of its source, and worth it for more than a few bytes.
    if (n > LOOP_BYTES) copy.call(from, buf, at, start, end);
    else for (let i = start; i < end; i++) buf[at++] = from[i] as number;
    this.end += n;
  }
}

const SHORT_LENGTH = 0x4000;
const LOOP_BYTES = 48;

/** Room for the head of a HEADERS frame. */
export const HEADERS_HEAD_ROOM = 5;

export function dataRoom(length: number): number {
  return frameHeadSize(FRAME.DATA, length) + length;
}
