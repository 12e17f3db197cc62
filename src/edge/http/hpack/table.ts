/** What a field costs in a table and in a header list (RFC 7541 s4.1, RFC 9113 s6.5.2). */
export const FIELD_OVERHEAD = 32;

/**
 * The dynamic table of one direction (RFC 7541 s2.3.2).
 *
 *     sequence:   0 ... oldest ........... next-1 | next
 *                 gone  |<---- entries ---->|
 *     position of an entry in the ring: sequence & mask; its distance from the newest: next - 1 - sequence
 */
export class DynamicTable {
  /** Bytes in use. */
  size = 0;
  /** Bytes allowed, at most the `limit` of the constructor. */
  capacity: number;
  /** Sequence number of the next entry, and of the oldest one that is still there. */
  next = 0;
  oldest = 0;
  readonly names: string[];
  readonly values: string[];
  /** What the owner wants to remember of an entry. */
  readonly notes: Int32Array;
  readonly mask: number;

  constructor(limit: number) {
    let slots = 1;
    while (slots < limit / FIELD_OVERHEAD) slots *= 2;
    this.mask = slots - 1;
    this.capacity = limit;
    this.names = Array.from({ length: slots }, () => '');
    this.values = Array.from({ length: slots }, () => '');
    this.notes = new Int32Array(slots);
  }

  get length(): number {
    return this.next - this.oldest;
  }

  /** Evicts until `needed` more bytes fit; what is larger than the table empties it (s4.4). */
  makeRoom(needed: number): void {
    while (this.size + needed > this.capacity && this.oldest < this.next) this.evict();
  }

  evict(): void {
    const at = this.oldest++ & this.mask;
    this.size -= (this.names[at] as string).length + (this.values[at] as string).length + FIELD_OVERHEAD;
    this.names[at] = '';
    this.values[at] = '';
  }

  resize(capacity: number): void {
    this.capacity = capacity;
    this.makeRoom(0);
  }

  /** Takes the field in when it fits; false when it has only emptied the table. */
  insert(name: string, value: string, note: number): boolean {
    const size = name.length + value.length + FIELD_OVERHEAD;
    this.makeRoom(size);
    if (size > this.capacity) return false;
    const at = this.next++ & this.mask;
    this.names[at] = name;
    this.values[at] = value;
    this.notes[at] = note;
    this.size += size;
    return true;
  }
}
