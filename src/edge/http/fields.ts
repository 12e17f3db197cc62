/**
 * A list of header fields in order of arrival. Names are lower-case ASCII, values latin-1 (one character per byte),
 * so that what arrives is what leaves. Two parallel arrays: no object per field, nothing keyed by a name that a peer chose.
 */
export class Fields {
  readonly names: string[] = [];
  readonly values: string[] = [];
  /** Never-indexed (RFC 9204 s7.1.3, RFC 7541 s7.1.3): kept so on every hop. */
  readonly never: boolean[] = [];

  get length(): number {
    return this.names.length;
  }

  add(name: string, value: string, never = false): void {
    this.names.push(name);
    this.values.push(value);
    this.never.push(never);
  }

  /** The first value of `name`, or null. */
  get(name: string): string | null {
    const i = this.names.indexOf(name);
    return i < 0 ? null : (this.values[i] as string);
  }

  clear(): void {
    this.names.length = 0;
    this.values.length = 0;
    this.never.length = 0;
  }
}
