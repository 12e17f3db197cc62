/** The receiving half of a stream: bytes in any order become chunks in order. */
export class Inflow {
  private readonly parts = new Map<number, Uint8Array>();
  private readonly ready: Uint8Array[] = [];
  private next = 0;
  /** Given to the reader. */
  consumed = 0;
  /** The highest byte seen. */
  highest = 0;
  private size = -1;

  add(offset: number, bytes: Uint8Array, fin: boolean): void {
    if (fin) this.size = offset + bytes.length;
    this.highest = Math.max(this.highest, offset + bytes.length);
    if (bytes.length > 0 && offset >= this.next) this.parts.set(offset, bytes);
    for (let p = this.parts.get(this.next); p !== undefined; p = this.parts.get(this.next)) {
      this.parts.delete(this.next);
      this.ready.push(p);
      this.next += p.length;
    }
  }

  /** Something to tell: bytes, or the end alone. */
  get news(): boolean {
    return this.ready.length > 0 || (this.size >= 0 && this.consumed === this.size);
  }

  take(): { readonly bytes: Uint8Array; readonly fin: boolean } {
    const bytes = this.ready.shift() ?? NOTHING;
    this.consumed += bytes.length;
    return { bytes, fin: this.consumed === this.size };
  }

  /** Forgets what was not read; returns how much window that gives back. */
  discard(): number {
    const n = this.highest - this.consumed;
    this.consumed = this.highest;
    this.parts.clear();
    this.ready.length = 0;
    return n;
  }
}

const NOTHING = new Uint8Array(0);
