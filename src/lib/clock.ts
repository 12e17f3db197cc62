/** Time as a dependency, so that tests own it. */
export interface Clock {
  /** Monotonic milliseconds. */
  now(): number;
  /** Milliseconds since the epoch: for logs and certificates only. */
  wall(): number;
  /** Calls `fn` once after `ms`; returns the function that cancels it. */
  after(ms: number, fn: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(ms, fn) {
    const t = setTimeout(fn, ms);
    return () => clearTimeout(t);
  },
};

interface Planned {
  at: number;
  order: number;
  fn: (() => void) | null;
}

/** A clock that moves only when told to; due callbacks run in order of time, then of planning. */
export class ManualClock implements Clock {
  private time: number;
  private order = 0;
  private planned: Planned[] = [];

  constructor(start = 0) {
    this.time = start;
  }

  now(): number {
    return this.time;
  }

  wall(): number {
    return 1_700_000_000_000 + this.time;
  }

  after(ms: number, fn: () => void): () => void {
    const entry: Planned = { at: this.time + Math.max(0, ms), order: this.order++, fn };
    this.planned.push(entry);
    return () => {
      entry.fn = null;
    };
  }

  /** How many callbacks wait. */
  pending(): number {
    return this.planned.filter((p) => p.fn !== null).length;
  }

  advance(ms: number): void {
    const end = this.time + ms;
    for (;;) {
      let next: Planned | null = null;
      for (const p of this.planned) {
        if (p.fn === null || p.at > end) continue;
        if (next === null || p.at < next.at || (p.at === next.at && p.order < next.order)) next = p;
      }
      if (next === null) break;
      this.time = Math.max(this.time, next.at);
      const fn = next.fn;
      next.fn = null;
      this.planned = this.planned.filter((p) => p.fn !== null);
      fn?.();
    }
    this.time = end;
  }
}
