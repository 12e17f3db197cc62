/**
 * A list of header fields in order of arrival. Names are lower-case ASCII, values latin-1 (one character per byte),
 * so that what arrives is what leaves. Two parallel arrays: no object per field, nothing keyed by a name that a peer chose.
 */
export class Fields {
  readonly names: string[] = [];
  readonly values: string[] = [];
  /** Which ones are never-indexed; null while none is, as in nearly all lists. */
  private marks: boolean[] | null = null;

  get length(): number {
    return this.names.length;
  }

  add(name: string, value: string, never = false): void {
    this.names.push(name);
    this.values.push(value);
    if (never) this.setNever(this.names.length - 1);
  }

  /** Never-indexed (RFC 9204 s7.1.3, RFC 7541 s7.1.3): kept so on every hop. */
  isNever(i: number): boolean {
    return this.marks !== null && this.marks[i] === true;
  }

  setNever(i: number): void {
    this.marks ??= [];
    while (this.marks.length < i) this.marks.push(false);
    this.marks[i] = true;
  }

  /** The first value of `name`, or null. */
  get(name: string): string | null {
    const i = this.names.indexOf(name);
    return i < 0 ? null : (this.values[i] as string);
  }

  /** Where the last field of `name` is, or -1: half the cost of `lastIndexOf`. */
  lastOf(name: string): number {
    let i = this.names.length - 1;
    while (i >= 0 && this.names[i] !== name) i--;
    return i;
  }

  /** Puts a copy of the field at `from` in the place of the one at `to`. */
  move(from: number, to: number): void {
    this.names[to] = this.names[from] as string;
    this.values[to] = this.values[from] as string;
    if (this.isNever(from)) this.setNever(to);
    else if (this.marks !== null && to < this.marks.length) this.marks[to] = false;
  }

  /** Leaves the first `length` fields. One by one: to set an array's length gives its memory back, and calls into the runtime. */
  truncate(length: number): void {
    while (this.names.length > length) {
      this.names.pop();
      this.values.pop();
    }
    if (this.marks === null) return;
    if (length === 0) this.marks = null;
    else while (this.marks.length > length) this.marks.pop();
  }

  copy(): Fields {
    const copy = new Fields();
    for (let i = 0; i < this.names.length; i++) copy.add(this.names[i] as string, this.values[i] as string, this.isNever(i));
    return copy;
  }

  clear(): void {
    this.truncate(0);
  }
}
