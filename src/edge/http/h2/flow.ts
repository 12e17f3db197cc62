/** Flow control of RFC 9113 s5.2: bytes that wait for a window, and the window that we give. */

const BLOCK = 4096;

/** Bytes in order, copied in, taken out in pieces. Holds at most one block more than its bytes. */
export class ByteQueue {
  size = 0;
  private readonly blocks: Uint8Array[] = [];
  /** Of the first block: where its bytes start. Of the last one: where they end. */
  private head = 0;
  private tail = 0;

  push(buf: Uint8Array, start: number, end: number): void {
    this.size += end - start;
    const last = this.blocks.at(-1);
    if (last !== undefined && this.tail < last.length) {
      const fits = Math.min(last.length - this.tail, end - start);
      last.set(buf.subarray(start, start + fits), this.tail);
      this.tail += fits;
      start += fits;
    }
    if (start === end) return;
    const block = Buffer.allocUnsafeSlow(Math.max(BLOCK, end - start));
    block.set(buf.subarray(start, end));
    this.blocks.push(block);
    if (this.blocks.length === 1) this.head = 0;
    this.tail = end - start;
  }

  /** Copies the first `n` bytes to `out` at `at`; there are at least as many. */
  take(out: Uint8Array, at: number, n: number): void {
    this.size -= n;
    while (n > 0) {
      const first = this.blocks[0] as Uint8Array;
      const end = this.blocks.length === 1 ? this.tail : first.length;
      const part = Math.min(n, end - this.head);
      out.set(first.subarray(this.head, this.head + part), at);
      this.head += part;
      at += part;
      n -= part;
      if (this.head === end) {
        this.blocks.shift();
        this.head = 0;
      }
    }
  }

  clear(): void {
    this.size = 0;
    this.blocks.length = 0;
    this.head = 0;
    this.tail = 0;
  }
}

/**
 * The window of one response. It starts small, so that a client that does not read pins little, and doubles each time
 * that half of it was used quickly and the consumer waited for bytes longer than they for it: what a round trip brings in
 * one go takes a moment to pass on. 4 MiB fill 1 Gbit/s at a round trip of 33 ms.
 */
export const STREAM_WINDOW = 256 * 1024;
export const STREAM_WINDOW_MOST = 4 * 1024 * 1024;

/** The connection's window is never withheld: a stalled stream must not stop the others. */
export const CONNECTION_WINDOW = 16 * 1024 * 1024;

/** Half a window used within this time asks for a larger one. */
const QUICK_MS = 100;

export class ReceiveWindow {
  /** What the peer may still send. */
  left = STREAM_WINDOW;
  private size = STREAM_WINDOW;
  /** What was taken in and not given back. */
  private owed = 0;
  /** When the consumer paused; -1 while it takes. */
  private pausedAt = -1;
  /** How long it was paused since the last credit; -1: not at all. */
  private pausedMs = -1;
  private creditAt = -1;

  /** `length` flow-controlled bytes arrived; false when the peer had no window for them. */
  receive(length: number): boolean {
    this.left -= length;
    this.owed += length;
    return this.left >= 0;
  }

  pause(now: number): void {
    if (this.pausedAt < 0) this.pausedAt = now;
  }

  resume(now: number): void {
    if (this.pausedAt < 0) return;
    this.pausedMs = Math.max(0, this.pausedMs) + now - this.pausedAt;
    this.pausedAt = -1;
  }

  /** Whether `credit` has something to give. */
  get due(): boolean {
    return this.pausedAt < 0 && this.owed * 2 >= this.size;
  }

  /** The increment to send. */
  credit(now: number): number {
    let increment = this.owed;
    if (this.hungry(now) && this.size < STREAM_WINDOW_MOST) {
      increment += this.size;
      this.size *= 2;
    }
    this.owed = 0;
    this.pausedMs = -1;
    this.creditAt = now;
    this.left += increment;
    return increment;
  }

  private hungry(now: number): boolean {
    if (this.creditAt < 0) return this.pausedMs < 0;
    const passed = now - this.creditAt;
    return passed < QUICK_MS && this.pausedMs * 2 < passed;
  }
}
