/**
 * The only owner of control-plane time. Changes come in bursts (an editor writes three times, a mounted volume swaps five files):
 * the state is applied when nothing has changed for `quietMs`, and at the latest `latestMs` after the first change. One that changes without end
 * gets half of the time at most: after an apply there is a pause as long as that took, in which endpoints, probes and metrics have their turn.
 */
import type { Clock } from '../lib/clock.ts';

export const QUIET_MS = 20;
export const LATEST_MS = 250;
/** The longest pause after an apply. */
export const MAX_PAUSE_MS = 500;

export interface LoopOptions<State> {
  readonly clock: Clock;
  /** Never called twice at once. `since` is when the first of the changes came, on the clock. */
  readonly apply: (state: State, since: number) => Promise<void>;
  readonly onError: (error: unknown) => void;
  readonly quietMs?: number;
  readonly latestMs?: number;
}

export class Loop<State> {
  private readonly o: LoopOptions<State>;
  private readonly quietMs: number;
  private readonly latestMs: number;
  private waiting: { state: State; since: number } | null = null;
  private cancel: (() => void) | null = null;
  private running: Promise<void> | null = null;
  private pausedUntil = -Infinity;
  private stopped = false;

  constructor(o: LoopOptions<State>) {
    this.o = o;
    this.quietMs = o.quietMs ?? QUIET_MS;
    this.latestMs = o.latestMs ?? LATEST_MS;
  }

  changed(state: State): void {
    if (this.stopped) return;
    const now = this.o.clock.now();
    const since = this.waiting?.since ?? now;
    this.waiting = { state, since };
    this.plan(Math.min(this.quietMs, since + this.latestMs - now));
  }

  /** No more applies; resolves when the one under way is over. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.waiting = null;
    this.cancel?.();
    this.cancel = null;
    await this.running;
  }

  private plan(ms: number): void {
    this.cancel?.();
    this.cancel = this.o.clock.after(Math.max(0, ms), () => {
      this.cancel = null;
      this.due();
    });
  }

  private due(): void {
    // One under way: what waits is looked at when it ends, and is older than its quiet time by then.
    if (this.running !== null || this.waiting === null) return;
    const pause = this.pausedUntil - this.o.clock.now();
    if (pause > 0) return this.plan(pause);
    const { state, since } = this.waiting;
    this.waiting = null;
    this.running = this.run(state, since);
  }

  private async run(state: State, since: number): Promise<void> {
    const began = this.o.clock.now();
    try {
      await this.o.apply(state, since);
    } catch (e) {
      this.o.onError(e);
    }
    this.running = null;
    const now = this.o.clock.now();
    this.pausedUntil = now + Math.min(now - began, MAX_PAUSE_MS);
    if (this.waiting !== null && this.cancel === null) this.due();
  }
}
