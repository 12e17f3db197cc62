import type { BackendSession } from './session.ts';

/**
 * What an endpoint's GOAWAYs teach: some end every connection after so many requests (nginx: `keepalive_requests`), and what was on its way
 * beyond comes back refused. A connection then gets that many, and one more, whose answer would show that it was no rule.
 */
export class Allowance {
  private most = Infinity;

  /** Streams that may be opened on it. `again`: for a request that was refused once already; it must not be the one that finds out. */
  room(session: BackendSession, again: boolean): number {
    return Math.min(session.capacity, this.most + (again ? 0 : 1) - session.opened);
  }

  closed(session: BackendSession): void {
    if (session.taken >= 0 && session.taken < session.opened) this.most = Math.max(1, session.taken);
  }

  ended(session: BackendSession): void {
    if (session.answered > this.most) this.most = Infinity;
  }

  /** Whether there was something to forget. */
  forget(): boolean {
    const known = this.most !== Infinity;
    this.most = Infinity;
    return known;
  }
}
