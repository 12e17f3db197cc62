/**
 * When a worker cannot do what comes, newcomers wait outside: a handshake costs as much as dozens of requests, and one that is begun for a client
 * that has given up by then costs all of it for nothing.
 *
 * The sign is that the loop never rests while what comes has to wait too long: the kernel drops what it has no more room for, or even the quickest
 * of the handshakes since the last look took longer than a second. Each look that sees it takes a quarter from the handshakes that may
 * begin in a second; each that does not gives a tenth back, and half after a second without a sign. Those that are too many the engine's gate drops before
 * a token is looked at, and counts them: their clients ask again by themselves, later and later.
 */
import type { EventLoopUtilization } from 'node:perf_hooks';
import type { Clock } from '../../lib/clock.ts';

export const LOOK_MS = 250;
/** The share of its time that a loop with too much to do works. */
const BUSY = 0.9;
const SLOW_MS = 1000;
const LESS = 0.75;
const MORE = 1.1;
/** After so many looks without a sign there is no load to be careful of. */
const CALM = 4;
const MUCH_MORE = 1.5;
export const LEAST_SHARE = 1 / 32;
/** Handshakes per second that a listener may begin however much comes. */
export const LEAST_HANDSHAKES = 8;

export class Overload {
  /** Of the handshakes per second that each listener allows. */
  share = 1;
  private dropped = 0;
  private quickest = Infinity;
  private calm = 0;

  get sheds(): boolean {
    return this.share < 1;
  }

  /** What is left of a listener's limit. */
  handshakes(perSecond: number): number {
    return Math.min(perSecond, Math.max(LEAST_HANDSHAKES, Math.ceil(perSecond * this.share)));
  }

  /** A handshake is over. */
  took(ms: number): void {
    if (ms < this.quickest) this.quickest = ms;
  }

  /** `busy`: the share of the time since the last look that the loop has worked; `dropped`: what the kernel has, so far. Whether the share is another. */
  look(busy: number, dropped: number): boolean {
    const before = this.share;
    const late = dropped > this.dropped || (this.quickest > SLOW_MS && this.quickest < Infinity);
    // A listener that is gone has taken its count with it.
    this.dropped = dropped;
    this.quickest = Infinity;
    this.calm = late && busy >= BUSY ? 0 : this.calm + 1;
    if (this.calm === 0) this.share = Math.max(LEAST_SHARE, this.share * LESS);
    else this.share = Math.min(1, this.share * (this.calm > CALM ? MUCH_MORE : MORE));
    return this.share !== before;
  }
}

export type Utilization = (since: EventLoopUtilization | undefined) => EventLoopUtilization;

/** Looks again and again; `changed` is called when the share is another than before. */
export function watchOverload(
  overload: Overload,
  clock: Clock,
  utilization: Utilization,
  dropped: () => number,
  changed: () => void,
): () => void {
  let last = utilization(undefined);
  let cancel = (): void => {};
  const look = (): void => {
    const now = utilization(undefined);
    const active = now.active - last.active;
    const idle = now.idle - last.idle;
    last = now;
    if (overload.look(active / Math.max(1, active + idle), dropped())) changed();
    cancel = clock.after(LOOK_MS, look);
  };
  cancel = clock.after(LOOK_MS, look);
  return () => cancel();
}
