import { addressFrom } from '../quic/address.ts';

interface Range {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

/** Ranges of addresses, compared on bytes: no spelling of an address is another address. */
export class AddressList {
  private readonly ranges: readonly Range[];

  constructor(cidrs: readonly string[]) {
    // What does not parse holds nobody; compile has refused it with a message.
    this.ranges = cidrs.map(parseCidr).filter((r) => r !== null);
  }

  has(address: string): boolean {
    if (this.ranges.length === 0) return false;
    const bytes = addressFrom(address, 0);
    return bytes !== null && this.ranges.some((r) => within(bytes, r));
  }
}

function parseCidr(text: string): Range | null {
  const slash = text.indexOf('/');
  const host = slash < 0 ? text : text.slice(0, slash);
  const bytes = addressFrom(host, 0);
  if (bytes === null) return null;
  const width = host.includes(':') ? 128 : 32;
  const length = slash < 0 ? width : prefixLength(text, slash + 1, width);
  // An IPv4 range lies under ::ffff:0:0/96.
  return length < 0 ? null : { bytes, bits: length + 128 - width };
}

function prefixLength(text: string, at: number, max: number): number {
  if (at === text.length || text.length - at > 3) return -1;
  let n = 0;
  for (let i = at; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    n = n * 10 + digit;
  }
  return n > max ? -1 : n;
}

function within(address: Uint8Array, range: Range): boolean {
  const whole = range.bits >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== range.bytes[i]) return false;
  const rest = range.bits & 7;
  return rest === 0 || ((address[whole] as number) ^ (range.bytes[whole] as number)) >> (8 - rest) === 0;
}
