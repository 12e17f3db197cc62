/**
 * When a worker has too much memory. Over the soft limit it is replaced while it serves: its replacement first, then it drains. One at a time, and
 * with a pause between, so that a limit which no worker can keep costs little. Over the hard limit there is no time for that.
 */
export interface MemoryLimits {
  /** Bytes of resident memory; 0: none. */
  readonly soft: number;
  readonly hard: number;
  /** Whether a second process can serve beside the one that it replaces. */
  readonly relievable: boolean;
}

/** A process as the watch sees it. */
export interface Watched {
  readonly number: number;
  /** Bytes, as of its last heartbeat; 0: not known yet. */
  readonly memory: number;
  readonly startedAt: number;
  /** It serves, and has no replacement yet. */
  readonly settled: boolean;
}

export type Judgement =
  | { readonly kind: 'keep' }
  | { readonly kind: 'kill'; readonly number: number }
  | { readonly kind: 'relieve'; readonly number: number }
  /** It would be relieved in so many milliseconds, -1: cannot be. Said once per pause. */
  | { readonly kind: 'wait'; readonly number: number; readonly ms: number };

const KEEP: Judgement = { kind: 'keep' };
/** What a garbage collection would have given back by now is not counted. */
export const OVER_MS = 1000;
export const LEAST_PAUSE_MS = 60_000;
const MOST_PAUSE_MS = 16 * 60_000;
/** Whoever needs longer than this to get there is relieved in peace; those that are quicker wait for each other twice as long each time. */
const SLOW_MS = 600_000;

export class MemoryWatch {
  private readonly limits: MemoryLimits;
  /** By number: since when it has been over the soft limit. */
  private readonly over = new Map<number, number>();
  private notBefore = -Infinity;
  private pause = LEAST_PAUSE_MS;
  private saidWait = false;

  constructor(limits: MemoryLimits) {
    this.limits = limits;
  }

  /** The most urgent thing to be done; `free`: no replacement is under way. */
  judge(now: number, all: readonly Watched[], free: boolean): Judgement {
    const { soft, hard, relievable } = this.limits;
    if (soft === 0) return KEEP;
    let worst: Watched | null = null;
    for (const w of all) {
      if (hard > 0 && w.memory > hard) return { kind: 'kill', number: w.number };
      if (this.isOver(now, w) && w.settled && (worst === null || w.memory > worst.memory)) worst = w;
    }
    if (worst === null || !free) return KEEP;
    if (relievable && now >= this.notBefore) return { kind: 'relieve', number: worst.number };
    if (this.saidWait) return KEEP;
    this.saidWait = true;
    return { kind: 'wait', number: worst.number, ms: relievable ? this.notBefore - now : -1 };
  }

  /** A replacement was begun; answers how long the next one waits at least. */
  began(now: number, replaced: Watched): number {
    const slow = now - replaced.startedAt > SLOW_MS;
    this.pause = slow ? LEAST_PAUSE_MS : Math.min(this.notBefore === -Infinity ? LEAST_PAUSE_MS : this.pause * 2, MOST_PAUSE_MS);
    this.notBefore = now + this.pause;
    this.saidWait = false;
    return this.pause;
  }

  /** The process is gone; its number may be another one's. */
  forget(number: number): void {
    this.over.delete(number);
    if (!this.limits.relievable) this.saidWait = false;
  }

  private isOver(now: number, w: Watched): boolean {
    if (w.memory <= this.limits.soft) {
      this.over.delete(w.number);
      return false;
    }
    const since = this.over.get(w.number) ?? now;
    this.over.set(w.number, since);
    return now - since >= OVER_MS;
  }
}
