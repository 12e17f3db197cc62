/** How many frames without use a peer may send at once, and how many more each second. */
const MOST = 1000;
const PER_SECOND = 100;

/**
 * What a peer may make us do for nothing: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA, frames of unknown types
 * or on streams that are gone (RFC 9113 s10.5; CVE-2019-9512 to 9518). Whatever serves a request earns some back, so
 * that a busy peer never runs out.
 */
export class FrameBudget {
  private left = MOST;
  private filledAt: number;

  constructor(now: number) {
    this.filledAt = now;
  }

  /** For work that was asked for; not hoarded beyond the beginning. */
  earn(n: number): void {
    if (this.left < MOST) this.left = Math.min(MOST, this.left + n);
  }

  /** For frames that we have called forth ourselves, whenever they come. */
  expect(n: number): void {
    this.left += n;
  }

  /** True when it is used up. The time is looked at only then. */
  spend(n: number, now: () => number): boolean {
    this.left -= n;
    if (this.left >= 0) return false;
    const at = now();
    this.earn(((at - this.filledAt) / 1000) * PER_SECOND);
    this.filledAt = at;
    return this.left < 0;
  }
}
