/**
 * The Huffman code of HPACK and QPACK (RFC 7541 s5.2 and appendix B).
 *
 * The code is canonical (codes of one length count up in order of their symbols, shorter ones first), so the lengths
 * alone define it. Decoding looks at eight bits at a time: 74 symbols, nearly all of real headers, have codes of at
 * most eight bits; the others take the path by length.
 */
import { latin1 } from './latin1.ts';

/** Bits per symbol; the last one is EOS. */
const BITS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10,
  12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7,
  7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22,
  23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
  23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
  24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

const EOS = 256;
const SYMBOLS = 257;
const LONGEST = 30;
const LATIN1_ONLY = 0x3f; // "?": what a character beyond latin-1 becomes, so that it cannot turn into another byte

const CODES = new Uint32Array(SYMBOLS);
const LENGTHS = Uint8Array.from(BITS);
/** By the next eight bits: symbol << 4 | length, 0 where the code is longer. */
const SHORT = new Uint16Array(256);
/** Per length: its first code, how many it has, and where its symbols start in `SORTED`. */
const FIRST = new Uint32Array(LONGEST + 1);
const COUNT = new Uint16Array(LONGEST + 1);
const START = new Uint16Array(LONGEST + 1);
const SORTED = new Uint16Array(SYMBOLS);

buildTables();

function buildTables(): void {
  let code = 0;
  let sorted = 0;
  for (let length = 1; length <= LONGEST; length++) {
    code *= 2;
    FIRST[length] = code;
    START[length] = sorted;
    for (let symbol = 0; symbol < SYMBOLS; symbol++) {
      if (LENGTHS[symbol] !== length) continue;
      CODES[symbol] = code;
      SORTED[sorted++] = symbol;
      if (length <= 8) SHORT.fill((symbol << 4) | length, code << (8 - length), (code + 1) << (8 - length));
      code++;
    }
    COUNT[length] = sorted - (START[length] as number);
  }
}

/** Bytes that `text` takes when encoded. */
export function huffmanSize(text: string): number {
  let bits = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    bits += LENGTHS[c > 255 ? LATIN1_ONLY : c] as number;
  }
  return (bits + 7) >>> 3;
}

/** Encodes at `at`, padded with ones; returns the offset behind. The caller has made room (`huffmanSize`). */
export function huffmanEncode(text: string, out: Uint8Array, at: number): number {
  let bits = 0; // the low `pending` bits (at most 7) wait for their octet
  let pending = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const symbol = c > 255 ? LATIN1_ONLY : c;
    const code = CODES[symbol] as number;
    let length = LENGTHS[symbol] as number;
    if (length > 24) {
      // Keeps pending + length within 32 bits.
      length -= 8;
      bits = (bits << 8) | (code >>> length);
      out[at++] = (bits >>> pending) & 0xff;
    }
    bits = (bits << length) | (code & ((1 << length) - 1));
    pending += length;
    while (pending >= 8) {
      pending -= 8;
      out[at++] = (bits >>> pending) & 0xff;
    }
  }
  if (pending > 0) out[at++] = ((bits << (8 - pending)) | (0xff >>> pending)) & 0xff;
  return at;
}

/** The text being decoded; longer ones than this get a buffer of their own. */
const KEPT = 16 * 1024;
const kept = Buffer.allocUnsafeSlow(KEPT);

/** The text in latin-1, or null when the bytes are no valid code (RFC 7541 s5.2: EOS, padding over seven bits or not of ones). */
export function huffmanDecode(buf: Uint8Array, start: number, end: number): string | null {
  const most = ((end - start) * 8) / 5;
  const out = most <= KEPT ? kept : Buffer.allocUnsafe(Math.ceil(most));
  const last = end * 8;
  let bit = start * 8;
  let n = 0;
  while (bit < last) {
    // Behind the end come ones, as in valid padding.
    const octet = bit >>> 3;
    const pair = ((buf[octet] as number) << 8) | (octet + 1 < end ? (buf[octet + 1] as number) : 0xff);
    const found = SHORT[(pair >>> (8 - (bit & 7))) & 0xff] as number;
    if (found !== 0) {
      bit += found & 15;
      out[n++] = found >>> 4;
      continue;
    }
    if (last - bit < 8) return isPadding(buf, bit, end) ? latin1(out, 0, n) : null;
    const long = longSymbol(buf, bit, end);
    if (long < 0) return null;
    bit += LENGTHS[long] as number;
    if (bit > last) return null;
    out[n++] = long;
  }
  // A symbol that needed bits behind the end: the padding was not ones, or there was none.
  return bit === last ? latin1(out, 0, n) : null;
}

function isPadding(buf: Uint8Array, bit: number, end: number): boolean {
  const mask = 0xff >>> (bit & 7);
  return bit >>> 3 === end - 1 && ((buf[end - 1] as number) & mask) === mask;
}

/** The symbol of more than eight bits at `bit`; -1 for EOS. */
function longSymbol(buf: Uint8Array, bit: number, end: number): number {
  const octet = bit >>> 3;
  const shift = bit & 7;
  let window = 0;
  for (let i = 0; i < 4; i++) window = (window << 8) | (octet + i < end ? (buf[octet + i] as number) : 0xff);
  if (shift > 0) window = (window << shift) | ((octet + 4 < end ? (buf[octet + 4] as number) : 0xff) >>> (8 - shift));
  for (let length = 9; length <= LONGEST; length++) {
    const offset = (window >>> (32 - length)) - (FIRST[length] as number);
    if (offset < (COUNT[length] as number)) {
      const symbol = SORTED[(START[length] as number) + offset] as number;
      return symbol === EOS ? -1 : symbol;
    }
  }
  return -1;
}
