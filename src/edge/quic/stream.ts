/** One stream as the engine sees it: what waits to be sent, and which of its two directions still live. */
export class Stream {
  readonly id: number;
  urgency = 3;
  incremental = false;
  /** The reader asked for a pause. */
  paused = false;
  /** It was paused, and what has come meanwhile is not read to its end. */
  behind = false;
  /** The peer's direction has ended, or was never there. */
  readDone: boolean;
  /** Our direction has ended (all given to quiche, reset or stopped), or was never there. */
  writeDone: boolean;
  /** The last `write` had `fin`. */
  finWaits = false;
  /** `write` returned false; one `onWritable` is owed. */
  owed = false;
  /** quiche took nothing last time: ask for capacity before offering again. */
  stalled = false;
  /** Since when the peer has had no room for its bytes though it was its turn; -1 when it moves, or others are served before it. */
  refusedAt = -1;
  /** The pass over the send queue in which bytes of it were last taken. */
  pass = 0;
  /** quiche knows this stream: bytes or fin went either way. */
  begun: boolean;
  /** Its place among the open bodies; -1 when it is none. */
  body = -1;
  /** A stop that waits until quiche knows the stream; -1 when there is none. */
  stopWaits = -1;
  /** Where it stands in the send queue; -1 when it is not in it. */
  queued = -1;
  /** For incremental streams: when it had its last turn, and what it has got in this one. */
  turn = 0;
  share = 0;
  /** Bytes that quiche has not taken. */
  pending = 0;
  private chunks: Uint8Array[] = [];
  private first = 0;
  private offset = 0;

  constructor(id: number, readable: boolean, writable: boolean, begun: boolean) {
    this.id = id;
    this.readDone = !readable;
    this.writeDone = !writable;
    this.begun = begun;
  }

  push(chunk: Uint8Array): void {
    this.chunks.push(chunk);
    this.pending += chunk.length;
  }

  /** What to offer next, at most `limit` bytes; empty when only a fin waits. */
  peek(limit: number): Uint8Array {
    const c = this.chunks[this.first];
    if (c === undefined) return EMPTY;
    const left = c.length - this.offset;
    return this.offset === 0 && left <= limit ? c : c.subarray(this.offset, this.offset + Math.min(left, limit));
  }

  /** quiche took `n` bytes. */
  took(n: number): void {
    this.pending -= n;
    this.offset += n;
    const c = this.chunks[this.first];
    if (c === undefined || this.offset < c.length) return;
    this.offset = 0;
    this.first++;
    if (this.first === this.chunks.length) {
      this.chunks.length = 0;
      this.first = 0;
    } else if (this.first > 64) {
      this.chunks = this.chunks.slice(this.first);
      this.first = 0;
    }
  }

  /** Forgets what was not sent; returns how much that was. */
  discard(): number {
    const n = this.pending;
    this.chunks = [];
    this.first = 0;
    this.offset = 0;
    this.pending = 0;
    this.finWaits = false;
    this.owed = false;
    return n;
  }
}

export const EMPTY = new Uint8Array(0);
