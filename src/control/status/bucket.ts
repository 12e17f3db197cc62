import type { Clock } from '../../lib/clock.ts';

/** Tokens: so many at once, then one per interval. */
export class TokenBucket {
  private readonly clock: Clock;
  private readonly burst: number;
  private readonly intervalMs: number;
  private tokens: number;
  private at: number;

  constructor(clock: Clock, burst: number, intervalMs: number) {
    this.clock = clock;
    this.burst = burst;
    this.intervalMs = intervalMs;
    this.tokens = burst;
    this.at = clock.now();
  }

  /** When the next one is there: now, or later. */
  readyAt(): number {
    this.refill();
    return this.tokens >= WHOLE ? this.at : this.at + (1 - this.tokens) * this.intervalMs;
  }

  /** Whether there was one. */
  take(): boolean {
    this.refill();
    if (this.tokens < WHOLE) return false;
    this.tokens -= 1;
    return true;
  }

  private refill(): void {
    const now = this.clock.now();
    this.tokens = Math.min(this.burst, this.tokens + (now - this.at) / this.intervalMs);
    this.at = now;
  }
}

// A fraction that is lost in adding up must not make a timer spin.
const WHOLE = 1 - 1e-6;
