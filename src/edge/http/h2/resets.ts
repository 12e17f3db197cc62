/** How many reset streams are remembered one by one. */
const REMEMBERED = 4096;

/**
 * Streams that were reset, or never taken (GOAWAY). What the peer sent before it saw our reset must be ignored (RFC 9113 s5.4.2), and its
 * work on them goes on until then: they count as open until the peer is known to have read the reset, because it has
 * answered a PING or begun the response of a stream that was opened later.
 */
export class Resets {
  private readonly ids = new Set<number>();
  private forgotten = 0;
  /** Streams whose reset is not confirmed: those before the barrier, and those after. */
  private before = 0;
  private after = 0;
  /** The last stream that was opened before the latest of them was reset. */
  private opened = 0;
  /** The last stream that was opened before the barrier, or -1 when there is none. */
  private barrier = -1;

  get unconfirmed(): number {
    return this.before + this.after;
  }

  /** `lingers`: the peer was not done with it. `lastOpened`: the last stream that was opened so far. */
  add(id: number, lingers: boolean, lastOpened: number): void {
    this.ids.add(id);
    if (this.ids.size > REMEMBERED) {
      for (const oldest of this.ids) {
        this.ids.delete(oldest);
        this.forgotten = Math.max(this.forgotten, oldest);
        break;
      }
    }
    if (!lingers) return;
    this.after++;
    this.opened = lastOpened;
  }

  has(id: number): boolean {
    return id <= this.forgotten || this.ids.has(id);
  }

  /** Whether a barrier would be of use. */
  get wantsBarrier(): boolean {
    return this.barrier < 0 && this.after > 0;
  }

  /** The peer will pass this point when it answers a PING sent now, or a stream that was opened behind the resets. */
  setBarrier(): void {
    this.barrier = this.opened;
    this.before = this.after;
    this.after = 0;
  }

  /** The peer answers on stream `id`; true when that confirmed something. */
  heard(id: number): boolean {
    return this.barrier >= 0 && id > this.barrier && this.confirm();
  }

  /** The barrier has been passed. */
  confirm(): boolean {
    if (this.barrier < 0) return false;
    const any = this.before > 0;
    this.barrier = -1;
    this.before = 0;
    return any;
  }
}
