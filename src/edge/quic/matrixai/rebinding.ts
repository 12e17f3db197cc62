/** Attempts to follow a client to another port, per second: each costs two looks into quiche's statistics. */
const ATTEMPTS = 8;
const PER_MS = 1000;
/** Beyond a round trip: packets that come from the new port after this answer what was sent there. */
const MARGIN_MS = 50;

/** How much may be sent to a port that a client seems to have moved to: three times what comes from there, until it has answered. */
export class Rebinding {
  /** Bytes that may leave; without bound where the address is settled. */
  credit = Infinity;
  private at = 0;
  private left = ATTEMPTS;
  private since = 0;

  mayTry(now: number): boolean {
    if (now - this.since > PER_MS) {
      this.since = now;
      this.left = ATTEMPTS;
    }
    return this.left-- > 0;
  }

  moved(now: number, bytes: number): void {
    this.at = now;
    this.credit = 3 * bytes;
  }

  received(now: number, rttMs: number, bytes: number): void {
    this.credit = now - this.at > rttMs + MARGIN_MS ? Infinity : this.credit + 3 * bytes;
  }
}
