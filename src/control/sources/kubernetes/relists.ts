/** Lists that no answer of the server asks for: soon after events out of order, and each few hours whatever happens. */
import type { ReflectorOptions } from './handler.ts';
import { JITTER_MS } from './backoff.ts';

/** A server that never keeps the order is not listed more often than this for it. */
const SUSPECT_MS = 30_000;
const SAFETY_MS = 6 * 3_600_000;

type Needs = Pick<ReflectorOptions<unknown>, 'clock' | 'random'>;

export class Relists {
  private readonly o: Needs;
  private readonly onDue: () => void;
  private listedAt = -Infinity;
  private cancelSafety: (() => void) | null = null;
  private cancelSuspect: (() => void) | null = null;

  constructor(o: Needs, onDue: () => void) {
    this.o = o;
    this.onDue = onDue;
  }

  /** A complete list is in: what there was to suspect is settled. */
  listed(): void {
    this.listedAt = this.o.clock.now();
    this.stop();
    this.cancelSafety = this.o.clock.after(SAFETY_MS * (1 + this.o.random()), this.onDue);
  }

  /** How long ago that was. */
  age(): number {
    return this.o.clock.now() - this.listedAt;
  }

  /** The order is broken, so that something may be missing. In how many milliseconds it is listed; null: that was planned before. */
  suspect(): number | null {
    if (this.cancelSuspect !== null) return null;
    const wait = Math.max(SUSPECT_MS - this.age(), 0) + this.o.random() * JITTER_MS;
    this.cancelSuspect = this.o.clock.after(wait, () => {
      this.cancelSuspect = null;
      this.onDue();
    });
    return wait;
  }

  stop(): void {
    this.cancelSafety?.();
    this.cancelSuspect?.();
    this.cancelSuspect = null;
  }
}
