/** When to try again: longer each time, and never all at once. */
import type { ApiError } from './api.ts';

const FIRST_MS = 200;
const MAX_MS = 10_000;
/** Nobody is there whom knocking could burden, and the way back matters most. */
const MAX_OUTAGE_MS = 5000;
/** What an administrator has to change: missing permissions, missing definitions. */
const MAX_REFUSED_MS = 30_000;
const MAX_RETRY_AFTER_MS = 60_000;
/** What is done at once is not done by everybody at the same moment. */
export const JITTER_MS = 1000;
/** A stream that lived so long was healthy: what fails after it fails for the first time. */
export const HEALTHY_MS = 5000;
const MAX_DOUBLINGS = 16;

export class Backoff {
  private readonly random: () => number;
  private attempts = 0;
  private before = 0;

  /** `random` is in [0, 1). */
  constructor(random: () => number) {
    this.random = random;
  }

  /** The next pause, at most `capMs`. `spread` 1 is full jitter; at 0.5 at least half of the pause is kept. */
  next(capMs = MAX_MS, spread = 1): number {
    const ceiling = Math.min(FIRST_MS * 2 ** this.attempts, capMs);
    if (this.attempts < MAX_DOUBLINGS) this.attempts++;
    return ceiling * (1 - spread * this.random());
  }

  after(error: ApiError): number {
    return this.pause(error) + Math.min(error.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  }

  reset(): void {
    this.attempts = 0;
    this.before = 0;
  }

  /** After an outage the first answer is a good sign: what the server refuses from now on is refused for the first time. */
  hope(): void {
    this.before = this.attempts;
    this.attempts = 0;
  }

  /** It was in vain. */
  despair(): void {
    this.attempts = Math.max(this.attempts, this.before);
  }

  private pause({ kind }: ApiError): number {
    if (kind === 'forbidden' || kind === 'not_found') return this.next(MAX_REFUSED_MS, 0.5);
    return this.next(kind === 'connection' ? MAX_OUTAGE_MS : MAX_MS);
  }
}

/**
 * What the reflectors of one server tell each other. While nobody reaches it, each tries on its own; the first one that is answered wakes the
 * others, so that all are back soon after the server is, without any of them having to knock often.
 */
export class Outage {
  private readonly waiting = new Set<() => void>();

  /** Calls back once, with the next answer that anyone gets; returns what takes that back. */
  wait(fn: () => void): () => void {
    this.waiting.add(fn);
    return () => this.waiting.delete(fn);
  }

  /** The server has answered somebody. */
  over(): void {
    if (this.waiting.size === 0) return;
    const waiting = [...this.waiting];
    this.waiting.clear();
    for (const fn of waiting) fn();
  }
}
