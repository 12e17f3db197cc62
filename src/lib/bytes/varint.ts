/**
 * Variable-length integers of QUIC (RFC 9000 s16) as plain numbers.
 * Values above 2^53-1 are legal on the wire; they are read saturated at `VARINT_SATURATED`, since nothing here needs them exactly.
 */
export const VARINT_SATURATED = Number.MAX_SAFE_INTEGER;

/** Length in bytes (1, 2, 4, 8) of the integer that starts with this octet. */
export function varintLength(first: number): number {
  return 1 << (first >> 6);
}

/** The integer at `at`; the caller has made sure that `varintLength` bytes are there. */
export function readVarint(buf: Uint8Array, at: number): number {
  const first = buf[at] as number;
  switch (first >> 6) {
    case 0:
      return first;
    case 1:
      return ((first & 0x3f) << 8) | (buf[at + 1] as number);
    case 2:
      return (first & 0x3f) * 0x1000000 + (((buf[at + 1] as number) << 16) | ((buf[at + 2] as number) << 8) | (buf[at + 3] as number));
    default: {
      const high =
        (first & 0x3f) * 0x1000000 + (((buf[at + 1] as number) << 16) | ((buf[at + 2] as number) << 8) | (buf[at + 3] as number));
      const low =
        (buf[at + 4] as number) * 0x1000000 + (((buf[at + 5] as number) << 16) | ((buf[at + 6] as number) << 8) | (buf[at + 7] as number));
      return high > 0x1fffff ? VARINT_SATURATED : high * 0x100000000 + low;
    }
  }
}

/** How many bytes `writeVarint` takes for `value`. */
export function varintSize(value: number): number {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x40000000 ? 4 : 8;
}

/** Writes the shortest form at `at`; returns the offset behind it. */
export function writeVarint(buf: Uint8Array, at: number, value: number): number {
  if (value < 0x40) {
    buf[at] = value;
    return at + 1;
  }
  if (value < 0x4000) {
    buf[at] = 0x40 | (value >> 8);
    buf[at + 1] = value & 0xff;
    return at + 2;
  }
  if (value < 0x40000000) {
    buf[at] = 0x80 | (value >>> 24);
    buf[at + 1] = (value >>> 16) & 0xff;
    buf[at + 2] = (value >>> 8) & 0xff;
    buf[at + 3] = value & 0xff;
    return at + 4;
  }
  const high = Math.floor(value / 0x100000000);
  const low = value >>> 0;
  buf[at] = 0xc0 | (high >>> 24);
  buf[at + 1] = (high >>> 16) & 0xff;
  buf[at + 2] = (high >>> 8) & 0xff;
  buf[at + 3] = high & 0xff;
  buf[at + 4] = low >>> 24;
  buf[at + 5] = (low >>> 16) & 0xff;
  buf[at + 6] = (low >>> 8) & 0xff;
  buf[at + 7] = low & 0xff;
  return at + 8;
}
