/** What quiche 0.18 keeps for a byte of the dearest frames, measured with PATH_CHALLENGE. */
const KEPT = 4;
/** Less is garbage as any other: V8 collects in time by itself. */
const NOTICED = 64 * 1024;
const ENOUGH = 32 * 1024 * 1024;

/**
 * The memory of a closed connection goes when V8 finds that nobody holds its wrapper, and V8 does not see how much that is: after a flood thousands of
 * them would wait for a collection that a small heap never needs. This asks for one as soon as there is enough to be had.
 */
export class Remains {
  private readonly collector: () => () => unknown;
  private collect: (() => unknown) | null = null;
  private bytes = 0;

  constructor(collector: () => () => unknown) {
    this.collector = collector;
  }

  /** A connection has gone that was sent so much of which nothing came. */
  left(owed: number): void {
    if (owed < NOTICED) return;
    this.bytes += owed * KEPT;
    if (this.bytes < ENOUGH) return;
    this.bytes = 0;
    this.collect ??= this.collector();
    this.collect();
  }
}
