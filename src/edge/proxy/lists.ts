/**
 * Lists of endpoints on their way into the groups. A change of one takes no time; when the lists of thousands of groups come at once (a network that was cut
 * and healed, a node that went, health checks of everything), they are taken up in slices, between which the event loop has its turns.
 */
import type { EndpointList, GroupId } from '../../contract/snapshot/index.ts';

/** In one turn of the event loop, whatever number of messages it brings. */
const TURN_MS = 3;
/** Looking at the clock costs as much as a small list. */
const STEPS = 8;

export interface ListsOptions {
  readonly take: (list: EndpointList) => void;
  readonly now?: () => number;
  /** In the next turn of the event loop. */
  readonly later?: (next: () => void) => void;
}

export class Lists {
  private readonly apply: (list: EndpointList) => void;
  private readonly now: () => number;
  private readonly later: (next: () => void) => void;
  private readonly waiting = new Map<GroupId, EndpointList>();
  private readonly waiters: { readonly at: number; readonly resolve: () => void }[] = [];
  /** Those that wait no more. */
  private done = 0;
  /** When this turn took up the first one; null: none yet. */
  private since: number | null = null;

  constructor({ take, now, later }: ListsOptions) {
    this.apply = take;
    this.now = now ?? ((): number => performance.now());
    this.later = later ?? ((next): void => void setImmediate(next));
  }

  /** Of two for one group the newer one counts, whichever comes first. */
  take(lists: readonly EndpointList[]): void {
    for (const list of lists) {
      const known = this.waiting.get(list.group);
      if (known === undefined || known.sequence < list.sequence) this.waiting.set(list.group, list);
    }
    this.work();
  }

  forget(groups: readonly GroupId[]): void {
    for (const group of groups) if (this.waiting.delete(group)) this.done++;
  }

  /** Resolves when all that came before is taken up: what is built from now on is to find its endpoints. */
  async settled(): Promise<void> {
    const at = this.done + this.waiting.size;
    if (at > this.done) await new Promise<void>((resolve) => this.waiters.push({ at, resolve }));
  }

  private work(): void {
    if (this.since === null) {
      this.since = this.now();
      this.later(() => this.next());
    }
    let steps = 0;
    for (const [group, list] of this.waiting) {
      if (steps++ % STEPS === 0 && this.now() - this.since >= TURN_MS) return;
      this.waiting.delete(group);
      this.done++;
      this.apply(list);
    }
  }

  private next(): void {
    this.since = null;
    if (this.waiting.size > 0) this.work();
    // They are taken up in the order of their groups' first: whoever keeps sending holds up nobody.
    while (this.waiters.length > 0 && (this.waiters[0] as { at: number }).at <= this.done) this.waiters.shift()?.resolve();
  }
}
