/**
 * The Huffman code of HPACK and QPACK (RFC 7541 s5.2 and appendix B).
 *
 * The code is canonical (codes of one length count up in order of their symbols, shorter ones first), so the lengths
 * alone define it. Decoding walks a table by half octets: no code is shorter than five bits, so that each step ends at
 * most one symbol.
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

/** A state is an inner node of the tree: how much of a code has been read. By state << 4 | half octet: next state, and what happened. */
const STATES = 256;
const STEPS = new Int32Array(STATES * 16);
const STATE = 0xff;
const EMITS = 0x100;
const SYMBOL_SHIFT = 16;
const FAILS = -1;
/** Whether a string may end in a state: at a symbol's end, or within at most seven ones of padding. */
const MAY_END = new Uint8Array(STATES);

buildCodes();
buildSteps();

function buildCodes(): void {
  let code = 0;
  for (let length = 1; length <= LONGEST; length++) {
    code *= 2;
    for (let symbol = 0; symbol < SYMBOLS; symbol++) if (LENGTHS[symbol] === length) CODES[symbol] = code++;
  }
}

function buildSteps(): void {
  // By node << 1 | bit: the next inner node, or ~symbol, or 0 where nothing leads yet.
  const tree = new Int32Array(STATES * 2);
  let nodes = 1;
  for (let symbol = 0; symbol < SYMBOLS; symbol++) {
    let node = 0;
    for (let i = (LENGTHS[symbol] as number) - 1; i > 0; i--) {
      const edge = (node << 1) | (((CODES[symbol] as number) >>> i) & 1);
      if (tree[edge] === 0) tree[edge] = nodes++;
      node = tree[edge] as number;
    }
    tree[(node << 1) | ((CODES[symbol] as number) & 1)] = ~symbol;
  }
  for (let state = 0; state < STATES; state++) {
    for (let half = 0; half < 16; half++) STEPS[(state << 4) | half] = step(tree, state, half);
  }
  let node = 0;
  for (let ones = 0; ones <= 7; ones++) {
    MAY_END[node] = 1;
    node = tree[(node << 1) | 1] as number;
  }
}

function step(tree: Int32Array, state: number, half: number): number {
  let node = state;
  let emitted = 0;
  for (let i = 3; i >= 0; i--) {
    const next = tree[(node << 1) | ((half >>> i) & 1)] as number;
    if (next >= 0) node = next;
    else if (~next === EOS) return FAILS;
    else {
      emitted = EMITS | (~next << SYMBOL_SHIFT);
      node = 0;
    }
  }
  return node | emitted;
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
  let bits = 0; // the low `pending` bits (at most 15) wait for their octets
  let pending = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const symbol = c > 255 ? LATIN1_ONLY : c;
    const code = CODES[symbol] as number;
    let length = LENGTHS[symbol] as number;
    if (length > 16) {
      // The first 14 bits or less apart, so that 32 always suffice.
      length -= 16;
      bits = (bits << length) | (code >>> 16);
      pending += length;
      if (pending >= 16) {
        pending -= 16;
        out[at++] = bits >>> (pending + 8);
        out[at++] = bits >>> pending;
      }
      length = 16;
    }
    bits = (bits << length) | (code & 0xffff);
    pending += length;
    if (pending >= 16) {
      pending -= 16;
      out[at++] = bits >>> (pending + 8);
      out[at++] = bits >>> pending;
    }
  }
  if (pending >= 8) {
    pending -= 8;
    out[at++] = bits >>> pending;
  }
  if (pending > 0) out[at++] = (bits << (8 - pending)) | (0xff >>> pending);
  return at;
}

/** The text being decoded; longer ones than this get a buffer of their own. */
const KEPT = 16 * 1024;
const kept = Buffer.allocUnsafeSlow(KEPT);

/** The text in latin-1, or null when the bytes are no valid code (RFC 7541 s5.2: EOS, padding over seven bits or not of ones). */
export function huffmanDecode(buf: Uint8Array, start: number, end: number): string | null {
  const out = (end - start) * 8 <= KEPT * 5 ? kept : Buffer.allocUnsafe(Math.ceil(((end - start) * 8) / 5));
  let state = 0;
  let n = 0;
  for (let i = start; i < end; i++) {
    const octet = buf[i] as number;
    const high = STEPS[(state << 4) | (octet >>> 4)] as number;
    if (high < 0) return null;
    if ((high & EMITS) !== 0) out[n++] = high >>> SYMBOL_SHIFT;
    const low = STEPS[((high & STATE) << 4) | (octet & 15)] as number;
    if (low < 0) return null;
    if ((low & EMITS) !== 0) out[n++] = low >>> SYMBOL_SHIFT;
    state = low & STATE;
  }
  return MAY_END[state] === 1 ? latin1(out, 0, n) : null;
}
