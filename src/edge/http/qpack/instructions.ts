/**
 * The two instruction streams of RFC 9204 s4.3 and s4.4.
 *
 * `readEncoderInstruction` and `readDecoderInstruction` know the formats; `EncoderStream` and `DecoderStream` know what is
 * allowed where the dynamic table has capacity 0 in both directions: of the peer's encoder nothing but "capacity 0", of its
 * decoder nothing but cancellations.
 */
import { huffmanDecode } from '../../../lib/bytes/huffman.ts';
import { INCOMPLETE, prefixEnd, readPrefixInt, TOO_LARGE } from '../../../lib/bytes/prefixint.ts';

export { INCOMPLETE };
/** The instruction is invalid: an integer too large, a string too long, or no valid Huffman code. */
export const INVALID = -2;

export const INSERT_WITH_NAME = 1;
export const INSERT_LITERAL = 2;
export const SET_CAPACITY = 3;
export const DUPLICATE = 4;

/** What `readEncoderInstruction` found. */
export const instruction = { kind: 0, isStatic: false, number: 0, name: '', value: '' };

/** Reads one encoder instruction; returns the offset behind it, `INCOMPLETE` or `INVALID`. Strings over `maxString` are refused by their declared length. */
export function readEncoderInstruction(buf: Uint8Array, at: number, end: number, maxString: number): number {
  if (at >= end) return INCOMPLETE;
  const first = buf[at] as number;
  instruction.name = '';
  instruction.value = '';
  instruction.isStatic = false;
  if ((first & 0x80) !== 0) {
    instruction.kind = INSERT_WITH_NAME;
    instruction.isStatic = (first & 0x40) !== 0;
    at = readNumber(buf, at, end, 6);
    return at < 0 ? at : readText(buf, at, end, 7, maxString, false);
  }
  if ((first & 0x40) !== 0) {
    instruction.kind = INSERT_LITERAL;
    at = readText(buf, at, end, 5, maxString, true);
    return at < 0 ? at : readText(buf, at, end, 7, maxString, false);
  }
  instruction.kind = (first & 0x20) !== 0 ? SET_CAPACITY : DUPLICATE;
  return readNumber(buf, at, end, 5);
}

export const SECTION_ACKNOWLEDGMENT = 1;
export const STREAM_CANCELLATION = 2;
export const INSERT_COUNT_INCREMENT = 3;

/** What `readDecoderInstruction` found. */
export const acknowledgment = { kind: 0, number: 0 };

/** Reads one decoder instruction; returns the offset behind it, `INCOMPLETE` or `INVALID`. */
export function readDecoderInstruction(buf: Uint8Array, at: number, end: number): number {
  if (at >= end) return INCOMPLETE;
  const first = buf[at] as number;
  const kind = first >= 0x80 ? SECTION_ACKNOWLEDGMENT : first >= 0x40 ? STREAM_CANCELLATION : INSERT_COUNT_INCREMENT;
  const number = readPrefixInt(buf, at, end, kind === SECTION_ACKNOWLEDGMENT ? 7 : 6);
  if (number < 0) return number === TOO_LARGE ? INVALID : INCOMPLETE;
  acknowledgment.kind = kind;
  acknowledgment.number = number;
  return prefixEnd.at;
}

function readNumber(buf: Uint8Array, at: number, end: number, bits: number): number {
  const number = readPrefixInt(buf, at, end, bits);
  if (number < 0) return number === TOO_LARGE ? INVALID : INCOMPLETE;
  instruction.number = number;
  return prefixEnd.at;
}

function readText(buf: Uint8Array, at: number, end: number, bits: number, maxString: number, isName: boolean): number {
  const length = readPrefixInt(buf, at, end, bits);
  if (length < 0) return length === TOO_LARGE ? INVALID : INCOMPLETE;
  if (length > maxString) return INVALID;
  const start = prefixEnd.at;
  if (start + length > end) return INCOMPLETE;
  const packed = ((buf[at] as number) & (1 << bits)) !== 0;
  const text = packed ? huffmanDecode(buf, start, start + length) : latin1Slice.call(buf, start, start + length);
  if (text === null) return INVALID;
  if (isName) instruction.name = text;
  else instruction.value = text;
  return start + length;
}

const latin1Slice = Buffer.prototype.latin1Slice;

/** More than any instruction that is neither whole nor refused: an integer of eleven octets. */
const LONGEST = 16;

/** Bytes of an instruction whose end has not arrived, put in front of the next ones. */
abstract class InstructionStream {
  private readonly held = new Uint8Array(LONGEST);
  private heldLength = 0;
  /** Instructions so far: what a budget counts. */
  count = 0;

  /** Null, or the rule that was broken: the connection ends with the stream's error code. */
  push(buf: Uint8Array, start: number, end: number): string | null {
    let at = start;
    while (this.heldLength > 0 && at < end) {
      this.held[this.heldLength++] = buf[at++] as number;
      const next = this.step(this.held, 0, this.heldLength);
      if (next === INVALID) return this.rule;
      if (next !== INCOMPLETE) this.heldLength = 0;
    }
    while (at < end) {
      const next = this.step(buf, at, end);
      if (next === INVALID) return this.rule;
      if (next === INCOMPLETE) break;
      at = next;
    }
    while (at < end) this.held[this.heldLength++] = buf[at++] as number;
    return null;
  }

  protected rule = 'P9';

  /** One instruction: the offset behind it, `INCOMPLETE`, or `INVALID` with `rule` set. */
  protected abstract step(buf: Uint8Array, at: number, end: number): number;
}

/** The peer's encoder stream where our table has capacity 0 (QPACK_ENCODER_STREAM_ERROR). */
export class EncoderStream extends InstructionStream {
  protected override step(buf: Uint8Array, at: number, end: number): number {
    // s3.2.2: an insertion into a table without room is an error whatever its length turns out to be, so none is awaited.
    const first = buf[at] as number;
    this.rule = first >= 0x40 ? 'P3' : 'P7';
    if ((first & 0xe0) !== 0x20) return INVALID;
    const next = readEncoderInstruction(buf, at, end, 0);
    if (next < 0) return next;
    // s4.3.1: beyond the limit that our settings gave.
    if (instruction.number > 0) return INVALID;
    this.count++;
    return next;
  }
}

/** The peer's decoder stream where we never refer to a dynamic table (QPACK_DECODER_STREAM_ERROR). */
export class DecoderStream extends InstructionStream {
  protected override step(buf: Uint8Array, at: number, end: number): number {
    this.rule = 'P6';
    const next = readDecoderInstruction(buf, at, end);
    if (next < 0) return next;
    // s4.4.1, s4.4.3: there is nothing to acknowledge and nothing was inserted. A cancellation is always fine.
    if (acknowledgment.kind !== STREAM_CANCELLATION) return INVALID;
    this.count++;
    return next;
  }
}
