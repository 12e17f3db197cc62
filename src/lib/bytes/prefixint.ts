/**
 * Integers with an N-bit prefix (RFC 7541 s5.1, RFC 9204 s4.1.1) as plain numbers.
 *
 * The RFCs leave the size open; what a plain number cannot hold is refused here, and so is padding with empty octets
 * beyond ten. Nothing is shifted or masked beyond the single octet: JavaScript's bitwise operators wrap at 32 bits.
 */

/** The integer goes on behind `end`. */
export const INCOMPLETE = -1;
/** Above 2^53-1, or more than ten continuation octets. */
export const TOO_LARGE = -2;

/** Where the last integer that was read ended. */
export const prefixEnd = { at: 0 };

const MAX_CONTINUATION = 10;

/** The integer whose first octet is at `at`, `INCOMPLETE` or `TOO_LARGE`; the offset behind it is left in `prefixEnd.at`. */
export function readPrefixInt(buf: Uint8Array, at: number, end: number, prefixBits: number): number {
  if (at >= end) return INCOMPLETE;
  const max = (1 << prefixBits) - 1;
  const prefix = (buf[at] as number) & max;
  if (prefix < max) {
    prefixEnd.at = at + 1;
    return prefix;
  }
  return readContinuation(buf, at + 1, end, max);
}

function readContinuation(buf: Uint8Array, at: number, end: number, prefix: number): number {
  let value = prefix;
  let factor = 1;
  for (let n = 0; n < MAX_CONTINUATION; n++) {
    if (at >= end) return INCOMPLETE;
    const octet = buf[at++] as number;
    value += (octet & 0x7f) * factor;
    if (value > Number.MAX_SAFE_INTEGER) return TOO_LARGE;
    if (octet < 0x80) {
      prefixEnd.at = at;
      return value;
    }
    factor *= 128;
  }
  return TOO_LARGE;
}

/** How many octets `writePrefixInt` takes. */
export function prefixIntSize(prefixBits: number, value: number): number {
  const max = (1 << prefixBits) - 1;
  if (value < max) return 1;
  let rest = value - max;
  let size = 2;
  while (rest >= 0x80) {
    rest = Math.floor(rest / 128);
    size++;
  }
  return size;
}

/** Writes `value` (0 to 2^53-1) behind the flags of the first octet; returns the offset behind it. */
export function writePrefixInt(buf: Uint8Array, at: number, prefixBits: number, firstOctetFlags: number, value: number): number {
  const max = (1 << prefixBits) - 1;
  if (value < max) {
    buf[at] = firstOctetFlags | value;
    return at + 1;
  }
  buf[at++] = firstOctetFlags | max;
  let rest = value - max;
  while (rest >= 0x80) {
    buf[at++] = 0x80 | (rest % 128);
    rest = Math.floor(rest / 128);
  }
  buf[at] = rest;
  return at + 1;
}
