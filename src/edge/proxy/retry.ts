import type { BackendFailure, ClientStream } from '../http/message.ts';

/** As much of a request's body as is kept, so that it can be sent once more. */
export const KEPT_BYTES = 64 * 1024;
const ATTEMPTS = 2;

/** The beginning of a body: what waits for a backend stream, and what a second attempt would need. */
export class KeptBody {
  private readonly chunks: Buffer[] = [];
  bytes = 0;

  /** Copies. */
  add(buf: Uint8Array, start: number, end: number): void {
    // Not from the shared pool: a kept chunk must not pin a slab of other people's bytes.
    const copy = Buffer.allocUnsafeSlow(end - start);
    copy.set(buf.subarray(start, end));
    this.chunks.push(copy);
    this.bytes += copy.length;
  }

  /** False when the stream's last word was to wait. */
  writeTo(stream: ClientStream): boolean {
    let room = true;
    for (const chunk of this.chunks) room = stream.write(chunk, 0, chunk.length);
    return room;
  }
}

/** Only what the backend never saw (RFC 9113 s8.7), once, and only while the whole body so far is at hand. */
export function mayRetry(failure: BackendFailure, attempts: number, received: number): boolean {
  return failure.unseen && attempts < ATTEMPTS && received <= KEPT_BYTES;
}
