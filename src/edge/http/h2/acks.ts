/** Between two questions: servers count SETTINGS as they count PINGs, and some allow a hundred a second. */
const APART_MS = 100;

/**
 * The peer's acknowledgements of our SETTINGS, which it owes in order and at once (RFC 9113 s6.5.3). SETTINGS without a value ask nothing else than
 * whether it has read what was sent before: where a PING is not welcome, they are.
 */
export class Acks {
  /** The connection begins with SETTINGS. */
  private due = 1;
  private asking = false;
  private askedAt = -APART_MS;

  /** How long to wait before the next question; Infinity: until the last one is answered. */
  wait(now: number): number {
    return this.asking ? Infinity : Math.max(0, this.askedAt + APART_MS - now);
  }

  asked(now: number): void {
    this.asking = true;
    this.askedAt = now;
    this.due++;
  }

  /** One has come: whether it answers the question. */
  come(): boolean {
    if (this.due === 0) return false;
    this.due--;
    if (!this.asking || this.due > 0) return false;
    this.asking = false;
    return true;
  }
}
