/** Long work in slices, between which the event loop has its turns: packets, timers, the sign of life for main. */

/** A slice is over after this: a few times what a turn of traffic takes. */
const SLICE_MS = 3;
/** Looking at the clock costs more than many a step. */
const STEPS = 16;

export interface SlicesOptions {
  readonly now: () => number;
  /** Lets the event loop have a turn. */
  readonly turn: () => Promise<void>;
}

const immediate = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

export class Slices {
  private readonly o: SlicesOptions;
  private since: number;
  private steps = 0;

  constructor(o: SlicesOptions = { now: () => performance.now(), turn: immediate }) {
    this.o = o;
    this.since = o.now();
  }

  /** After each step of the work: whether to `pause` before the next one. */
  due(): boolean {
    if (++this.steps < STEPS) return false;
    this.steps = 0;
    return this.o.now() - this.since >= SLICE_MS;
  }

  async pause(): Promise<void> {
    await this.o.turn();
    this.steps = 0;
    this.since = this.o.now();
  }
}
