/** What one connection may cost beside its requests. The numbers leave every honest client far below them. */

/** Premature resets within `RESET_WINDOW_MS` that end a connection. */
const RESETS = 200;
const RESET_WINDOW_MS = 10_000;
/** From so many requests on, half of them must have lived this long. */
const JUDGED_REQUESTS = 500;
const SHORT_LIFE_MS = 1000;
/** Frames without effect (empty, unknown, PRIORITY_UPDATE, instructions, unknown streams), at the start and more per request. */
const FRAMES = 1000;
const FRAMES_PER_REQUEST = 10;
const FRAMES_MOST = 10_000;
/** Bytes inside frames and streams of unknown types. */
const BYTES = 1024 * 1024;
const BYTES_PER_REQUEST = 4096;
const BYTES_MOST = 4 * 1024 * 1024;

export class Budget {
  requests = 0;
  private frames = FRAMES;
  private bytes = BYTES;
  private short = 0;
  /** When the last `RESETS` resets came, in a ring; made with the first one. */
  private resets: Float64Array | null = null;
  private next = 0;

  request(): void {
    this.requests++;
    if (this.frames < FRAMES_MOST) this.frames += FRAMES_PER_REQUEST;
    if (this.bytes < BYTES_MOST) this.bytes += BYTES_PER_REQUEST;
  }

  /** One frame without effect; false: too many. */
  frame(): boolean {
    return --this.frames >= 0;
  }

  /** Bytes without effect; false: too many. */
  skip(bytes: number): boolean {
    this.bytes -= bytes;
    return this.bytes >= 0;
  }

  /** A request that ended before its answer was complete, by the client or through its fault; false: too many. */
  reset(now: number, startedAt: number): boolean {
    if (now - startedAt < SHORT_LIFE_MS) this.short++;
    if (this.requests > JUDGED_REQUESTS && this.short * 2 > this.requests) return false;
    this.resets ??= new Float64Array(RESETS).fill(-Infinity);
    this.resets[this.next] = now;
    this.next = (this.next + 1) % RESETS;
    // The oldest of the last RESETS, this one included.
    return now - (this.resets[this.next] as number) > RESET_WINDOW_MS;
  }
}
