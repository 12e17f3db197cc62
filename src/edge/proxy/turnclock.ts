import type { Clock } from '../../lib/clock.ts';

const settled = Promise.resolve();

/**
 * The time of the current turn, read once: a batch brings many requests, each of which asks for it several times, and none of
 * their deadlines is that exact. It is forgotten when the callback that asked is done, before the next one begins.
 */
export class TurnClock implements Clock {
  private readonly clock: Clock;
  private time = -1;
  private readonly forget = (): void => {
    this.time = -1;
  };

  constructor(clock: Clock) {
    this.clock = clock;
  }

  now(): number {
    return this.time < 0 ? this.read() : this.time;
  }

  wall(): number {
    return this.clock.wall();
  }

  after(ms: number, fn: () => void): () => void {
    return this.clock.after(ms, () => {
      this.time = -1;
      fn();
    });
  }

  private read(): number {
    void settled.then(this.forget);
    this.time = this.clock.now();
    return this.time;
  }
}
