import type { BackendFailure, ClientStream } from '../http/message.ts';

/** As much of a request's body as is kept, so that it can be sent once more. */
export const KEPT_BYTES = 64 * 1024;
const ATTEMPTS = 2;

/** The first piece has a block of its own size, since most bodies are one piece; those behind it share blocks of at least this. */
const BLOCK = 4096;

/** The beginning of a body: what waits for a backend stream, and what a second attempt would need. */
export class KeptBody {
  private readonly blocks: Buffer[] = [];
  /** Where the bytes of the last block end. */
  private tail = 0;

  /** Copies. A block for each piece would cost a client that sends single bytes three bytes of its own for hundreds of ours. */
  add(buf: Uint8Array, start: number, end: number): void {
    const last = this.blocks.at(-1);
    if (last !== undefined && this.tail < last.length) {
      const fits = Math.min(last.length - this.tail, end - start);
      last.set(buf.subarray(start, start + fits), this.tail);
      this.tail += fits;
      start += fits;
    }
    if (start === end) return;
    // Not from the shared pool: a kept block must not pin a slab of other people's bytes.
    const block = Buffer.allocUnsafeSlow(last === undefined ? end - start : Math.max(BLOCK, end - start));
    block.set(buf.subarray(start, end));
    this.blocks.push(block);
    this.tail = end - start;
  }

  /** False when the stream's last word was to wait. */
  writeTo(stream: ClientStream): boolean {
    let room = true;
    const last = this.blocks.at(-1);
    for (const block of this.blocks) room = stream.write(block, 0, block === last ? this.tail : block.length);
    return room;
  }
}

/** Only what the backend never saw (RFC 9113 s8.7), once, and only while the whole body so far is at hand. */
export function mayRetry(failure: BackendFailure, attempts: number, received: number): boolean {
  return failure.unseen && attempts < ATTEMPTS && received <= KEPT_BYTES;
}
