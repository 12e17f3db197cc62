import type { Reason } from '../../contract/reasons.ts';
import { WheelTimer, type TimerOwner, type TimerWheel } from '../../lib/wheel.ts';

const NEVER = Infinity;

/**
 * The clocks of one exchange, on one timer. Whose turn it is decides which of them run, and each step winds them anew:
 * nobody is timed out for the slowness of another.
 */
export class Deadlines {
  private readonly wheel: TimerWheel;
  private readonly timer: WheelTimer;
  private responseBy = NEVER;
  private idleBy = NEVER;
  private bodyBy = NEVER;
  private requestBy = NEVER;
  private stopped = false;

  constructor(wheel: TimerWheel, owner: TimerOwner) {
    this.wheel = wheel;
    this.timer = new WheelTimer(owner);
  }

  now(): number {
    return this.wheel.now();
  }

  /** The whole exchange; 0: as long as it takes. */
  limit(now: number, requestMs: number): void {
    if (requestMs > 0) this.requestBy = now + requestMs;
  }

  /** From `now` on; 0: that clock stands still. */
  wind(now: number, responseMs: number, idleMs: number, bodyMs: number): void {
    this.responseBy = responseMs > 0 ? now + responseMs : NEVER;
    this.idleBy = idleMs > 0 ? now + idleMs : NEVER;
    this.bodyBy = bodyMs > 0 ? now + bodyMs : NEVER;
    this.schedule(now);
  }

  /** Only the backend's silence counts, from `now` on; the others stand still already. */
  windIdle(now: number, idleMs: number): void {
    const idleBy = idleMs > 0 ? now + idleMs : NEVER;
    if (idleBy === this.idleBy) return;
    this.idleBy = idleBy;
    this.schedule(now);
  }

  /** The backend is done. What is left is the client's reading: its stream times each step of it, and the whole is still the exchange's. */
  rest(): void {
    this.responseBy = NEVER;
    this.idleBy = NEVER;
    this.bodyBy = NEVER;
  }

  /** An answer of ours is on its way: a line, which its stream times. */
  stop(): void {
    this.stopped = true;
  }

  /** The timer fired: what has run out, or null when it fired early. */
  expired(): Reason | null {
    if (this.stopped) return null;
    const now = this.wheel.now();
    if (now >= this.requestBy) return 'request_timeout';
    if (now >= this.responseBy) return 'response_timeout';
    if (now >= this.idleBy) return 'idle_timeout';
    if (now >= this.bodyBy) return 'body_timeout';
    this.schedule(now);
    return null;
  }

  release(): void {
    this.wheel.release(this.timer);
  }

  /** The wheel is only asked for an earlier time than it has: when it fires too early, it is asked again. */
  private schedule(now: number): void {
    const next = Math.min(this.responseBy, this.idleBy, this.bodyBy, this.requestBy);
    if (next === NEVER || (this.timer.armed && this.timer.deadline <= next)) return;
    this.wheel.arm(this.timer, next - now);
  }
}
