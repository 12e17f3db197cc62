/**
 * A map of tens of thousands of entries that is the same as another one but for a few: what has changed lies over what has not. A new one costs what its changes
 * cost, and no more: `new Map(other)` of 30,000 entries costs 5 ms. Never changed once it is made. In the order in which a map has its entries, but for a key that
 * went and came back, which may have its old place.
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
    return LayeredMap.of(new Map<K, V>());
  }

  /** The same entries: `map` is never changed again. */
  static of<K, V>(map: ReadonlyMap<K, V>): LayeredMap<K, V> {
    return map instanceof LayeredMap ? (map as LayeredMap<K, V>) : new LayeredMap<K, V>(map, new Map(), new Set());
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
    for (const entry of base) {
      const [key] = entry;
      if (!hidden.has(key)) yield entry;
      else if (over.has(key)) yield [key, over.get(key) as V];
    }
    for (const entry of over) if (!base.has(entry[0])) yield entry;
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

  /** Makes no object for an entry, as iterators do. */
  forEach(each: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    const { base, hidden, over } = this;
    base.forEach((value, key) => {
      if (!hidden.has(key)) each(value, key, this);
      else if (over.has(key)) each(over.get(key) as V, key, this);
    });
    over.forEach((value, key) => {
      if (!base.has(key)) each(value, key, this);
    });
  }

  private flat(changes: ReadonlyMap<K, V | undefined>): LayeredMap<K, V> {
    const base = new Map<K, V>();
    this.forEach((value, key) => void base.set(key, value));
    for (const [key, value] of changes) {
      if (value === undefined) base.delete(key);
      else base.set(key, value);
    }
    return new LayeredMap<K, V>(base, new Map(), new Set());
  }
}
