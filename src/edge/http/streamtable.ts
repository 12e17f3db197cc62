/** What a table holds. */
export interface HasId {
  readonly id: number;
}

/**
 * The open streams of a connection by id. Nearly all of them find the slot of their number free; a stream whose slot
 * belongs to a longer-lived one goes into a map, which costs more to fill and empty than a request may.
 */
export class StreamTable<T extends HasId> {
  private readonly slots: (T | null)[];
  /** Ids of neighbouring streams differ by 2 to this power. */
  private readonly shift: number;
  private readonly mask: number;
  private others: Map<number, T> | null = null;
  size = 0;

  /** `slots`: a power of two. */
  constructor(shift: number, slots: number) {
    this.shift = shift;
    this.mask = slots - 1;
    this.slots = Array.from({ length: slots }, () => null);
  }

  get(id: number): T | null {
    const found = this.slots[(id >>> this.shift) & this.mask] as T | null;
    if (found !== null && found.id === id) return found;
    return this.others === null ? null : (this.others.get(id) ?? null);
  }

  /** The id is not in the table. */
  add(item: T): void {
    const slot = (item.id >>> this.shift) & this.mask;
    this.size++;
    if (this.slots[slot] === null) this.slots[slot] = item;
    else (this.others ??= new Map()).set(item.id, item);
  }

  delete(item: T): boolean {
    const slot = (item.id >>> this.shift) & this.mask;
    if (this.slots[slot] === item) this.slots[slot] = null;
    else if (this.others === null || !this.others.delete(item.id)) return false;
    this.size--;
    return true;
  }

  /** In the order in which they were opened. */
  all(): T[] {
    const all = this.slots.filter((item) => item !== null);
    if (this.others !== null) all.push(...this.others.values());
    return all.sort((a, b) => a.id - b.id);
  }

  /** Empties the table; returns what was in it. */
  takeAll(): T[] {
    const all = this.all();
    this.slots.fill(null);
    this.others = null;
    this.size = 0;
    return all;
  }
}
