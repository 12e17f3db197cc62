/** Things that several users share, each made for the first of them and ended after the last. */
export class Shared<K, V> {
  private readonly entries = new Map<K, { readonly value: V; uses: number }>();
  private readonly end: (value: V) => void;

  constructor(end: (value: V) => void) {
    this.end = end;
  }

  take(key: K, make: () => V): V {
    let entry = this.entries.get(key);
    if (entry === undefined) this.entries.set(key, (entry = { value: make(), uses: 0 }));
    entry.uses++;
    return entry.value;
  }

  give(key: K): void {
    const entry = this.entries.get(key);
    if (entry === undefined || --entry.uses > 0) return;
    this.entries.delete(key);
    this.end(entry.value);
  }
}
