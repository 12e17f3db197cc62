/** What a table holds. */
export interface HasId {
  readonly id: number;
}

/** Ids of neighbouring requests differ by four. */
const SLOTS = 32;
const MASK = SLOTS - 1;

/**
 * The open request streams of a connection by id. Nearly all of them find the slot of their number free; a stream whose slot
 * belongs to a longer-lived one goes into a map, which costs more to fill and empty than a request may.
 */
export class StreamTable<T extends HasId> {
  private readonly slots: (T | null)[] = Array.from({ length: SLOTS }, () => null);
  private others: Map<number, T> | null = null;
  size = 0;

  get(id: number): T | null {
    const found = this.slots[(id >>> 2) & MASK] as T | null;
    if (found !== null && found.id === id) return found;
    return this.others === null ? null : (this.others.get(id) ?? null);
  }

  /** The id is not in the table. */
  add(item: T): void {
    const slot = (item.id >>> 2) & MASK;
    this.size++;
    if (this.slots[slot] === null) this.slots[slot] = item;
    else (this.others ??= new Map()).set(item.id, item);
  }

  delete(item: T): boolean {
    const slot = (item.id >>> 2) & MASK;
    if (this.slots[slot] === item) this.slots[slot] = null;
    else if (this.others === null || !this.others.delete(item.id)) return false;
    this.size--;
    return true;
  }

  /** Empties the table; returns what was in it. */
  takeAll(): T[] {
    const all = this.slots.filter((item) => item !== null);
    if (this.others !== null) all.push(...this.others.values());
    this.slots.fill(null);
    this.others = null;
    this.size = 0;
    return all;
  }
}
