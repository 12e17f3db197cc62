/**
 * Numbers of worker processes, as connection ids carry them (one octet). A number belongs to a process until that is gone: one that drains keeps
 * its own while its replacement serves under another. A dead one's is free at once: ids of its connections begin with another generation
 * than those of whoever takes the number next, so they are answered by stateless resets.
 */
export const MAX_NUMBERS = 256;

export class Numbers {
  private readonly taken = new Set<number>();
  private reserved: ReadonlySet<number> = new Set();
  private readonly onScarce: () => void;

  /** `onScarce`: there was none to take, and what others have may be known better by the next time. */
  constructor(onScarce: () => void = () => {}) {
    this.onScarce = onScarce;
  }

  /** The preferred number when it is free, else the lowest free one; null when there is none. */
  take(preferred = -1): number | null {
    if (preferred >= 0 && this.free(preferred)) return this.hold(preferred);
    for (let n = 0; n < MAX_NUMBERS; n++) if (this.free(n)) return this.hold(n);
    this.onScarce();
    return null;
  }

  /**
   * The highest free one, for a process that begins beside others that serve: a tree that is about to take over has been told which numbers are in
   * use, and takes the lowest of the others.
   */
  takeHighest(): number | null {
    for (let n = MAX_NUMBERS - 1; n >= 0; n--) if (this.free(n)) return this.hold(n);
    this.onScarce();
    return null;
  }

  /** The process is gone. */
  give(n: number): void {
    this.taken.delete(n);
  }

  /** What another process tree of this node uses, as far as is known by now: replaces what was known before. Numbers taken already stay. */
  reserve(list: Iterable<number>): void {
    this.reserved = new Set(list);
  }

  /** The numbers of our own processes, in order. */
  inUse(): number[] {
    return [...this.taken].sort((a, b) => a - b);
  }

  private free(n: number): boolean {
    return n < MAX_NUMBERS && !this.taken.has(n) && !this.reserved.has(n);
  }

  private hold(n: number): number {
    this.taken.add(n);
    return n;
  }
}
