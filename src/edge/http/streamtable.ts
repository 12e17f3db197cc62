/** What a table holds. */
export interface HasId {
  readonly id: number;
}

/** Slots at most. */
const MOST = 4096;

/**
 * The open streams of a connection by id. Nearly all of them find the slot of their number free: there are a few times more slots
 * than streams. One whose slot belongs to a longer-lived stream goes into a map, which costs more to fill and empty than a request
 * may: a map that is made anew again and again leaves old ones behind, and they what was in them, until V8 looks at its old space.
 */
export class StreamTable<T extends HasId> {
  private slots: (T | null)[];
  /** Ids of neighbouring streams differ by 2 to this power. */
  private readonly shift: number;
  private mask: number;
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
    this.size++;
    if (this.place(item)) return;
    if (this.isTight) {
      this.grow();
      if (this.place(item)) return;
    }
    (this.others ??= new Map()).set(item.id, item);
  }

  private place(item: T): boolean {
    const slot = (item.id >>> this.shift) & this.mask;
    if (this.slots[slot] !== null) return false;
    this.slots[slot] = item;
    return true;
  }

  /** It is the number of streams that they meet in one slot. */
  private get isTight(): boolean {
    return this.size * 4 > this.slots.length && this.slots.length < MOST;
  }

  /** Streams that had slots of their own have them afterwards as well. */
  private grow(): void {
    const before = this.slots;
    this.slots = Array.from({ length: before.length * 2 }, () => null);
    this.mask = this.slots.length - 1;
    for (const item of before) if (item !== null) this.place(item);
    const { others } = this;
    if (others === null) return;
    for (const item of others.values()) if (this.place(item)) others.delete(item.id);
    if (others.size === 0) this.others = null;
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
