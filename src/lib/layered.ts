/**
 * A map of tens of thousands of entries that is the same as another one but for a few: what has changed lies over what has not. A new one costs what its changes
 * cost, and no more: `new Map(other)` of 30,000 entries costs 5 ms. Never changed once it is made.
 */
export class LayeredMap<K, V> implements ReadonlyMap<K, V> {
  private readonly base: ReadonlyMap<K, V>;
  private readonly over: ReadonlyMap<K, V>;
  /** Of the base: gone, or overlaid. */
  private readonly hidden: ReadonlySet<K>;

  private constructor(base: ReadonlyMap<K, V>, over: ReadonlyMap<K, V>, hidden: ReadonlySet<K>) {
    this.base = base;
    this.over = over;
    this.hidden = hidden;
  }

  static empty<K, V>(): LayeredMap<K, V> {
    return new LayeredMap<K, V>(new Map(), new Map(), new Set());
  }

  /** Undefined: the key is gone. */
  with(changes: ReadonlyMap<K, V | undefined>): LayeredMap<K, V> {
    if (changes.size === 0) return this;
    const layers = this.over.size + this.hidden.size + changes.size;
    // What lies over is copied with each change: it stays small beside the base.
    if (layers * layers > 64 * (this.base.size + 64)) return this.flat(changes);
    const over = new Map(this.over);
    const hidden = new Set(this.hidden);
    for (const [key, value] of changes) {
      if (this.base.has(key)) hidden.add(key);
      if (value === undefined) over.delete(key);
      else over.set(key, value);
    }
    return new LayeredMap(this.base, over, hidden);
  }

  get size(): number {
    return this.base.size - this.hidden.size + this.over.size;
  }

  get(key: K): V | undefined {
    return this.over.get(key) ?? (this.hidden.has(key) ? undefined : this.base.get(key));
  }

  has(key: K): boolean {
    return this.over.has(key) || (this.base.has(key) && !this.hidden.has(key));
  }

  *entries(): MapIterator<[K, V]> {
    const { base, hidden, over } = this;
    for (const entry of base) if (!hidden.has(entry[0])) yield entry;
    yield* over;
  }

  *keys(): MapIterator<K> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  forEach(each: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) each(value, key, this);
  }

  private flat(changes: ReadonlyMap<K, V | undefined>): LayeredMap<K, V> {
    const base = new Map<K, V>();
    for (const [key, value] of this.entries()) if (!changes.has(key)) base.set(key, value);
    for (const [key, value] of changes) if (value !== undefined) base.set(key, value);
    return new LayeredMap<K, V>(base, new Map(), new Set());
  }
}
