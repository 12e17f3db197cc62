/**
 * Field sections (RFC 9204 s4.5) for a decoder whose dynamic table has capacity 0: static entries and literals, and an
 * error for everything that refers to a table that cannot exist. Sizes are limited while decoding, so that a section of a
 * few bytes never unfolds further than it may.
 */
import { huffmanDecode } from '../../../lib/bytes/huffman.ts';
import { prefixEnd, readPrefixInt } from '../../../lib/bytes/prefixint.ts';
import { STATIC_NAMES, STATIC_SIZE, STATIC_VALUES } from './static.ts';

/** What takes the fields, in order. */
export interface FieldSink {
  /** A whole entry of the static table. */
  onStatic(index: number): void;
  /** `index` names the static entry that the name came from; -1 for a name spelt out, which nobody has checked. */
  onField(name: string, value: string, never: boolean, index: number): void;
}

export const SECTION_OK = 0;
/** QPACK_DECOMPRESSION_FAILED, for the reason in `section.rule`. */
export const SECTION_FAILED = 1;
export const SECTION_BYTES = 2;
export const SECTION_COUNT = 3;

/** About the last section that was decoded. `bytes` is its size by RFC 9114 s4.2.2, as far as it was accepted. */
export const section = { bytes: 0, count: 0, rule: '' };

/** What a field costs beside its name and value (RFC 9114 s4.2.2). */
const FIELD_OVERHEAD = 32;

const STATIC_BYTES = Uint32Array.from(STATIC_NAMES, (name, i) => name.length + (STATIC_VALUES[i] as string).length + FIELD_OVERHEAD);

/** Where `readString` stopped. */
let stringEnd = 0;

export function decodeSection(buf: Uint8Array, start: number, end: number, sink: FieldSink, maxBytes: number, maxCount: number): number {
  section.bytes = 0;
  section.count = 0;
  section.rule = '';
  let at = readPrefix(buf, start, end);
  if (at < 0) return SECTION_FAILED;
  let bytes = 0;
  let count = 0;
  while (at < end) {
    const first = buf[at] as number;
    let name: string;
    let never = false;
    let index = -1;
    if (first >= 0xc0) {
      // Indexed, static (s4.5.2).
      index = first & 0x3f;
      if (index < 0x3f) at++;
      else {
        index = readPrefixInt(buf, at, end, 6);
        at = prefixEnd.at;
      }
      if (index < 0) return failed('P9');
      if (index >= STATIC_SIZE) return failed('P8');
      bytes += STATIC_BYTES[index] as number;
      if (bytes > maxBytes) return SECTION_BYTES;
      if (++count > maxCount) return SECTION_COUNT;
      section.bytes = bytes;
      section.count = count;
      sink.onStatic(index);
      continue;
    }
    if ((first & 0xc0) === 0x40) {
      // Literal with name reference (s4.5.4): 01NT, index in four bits.
      if ((first & 0x10) === 0) return failed('P8');
      never = (first & 0x20) !== 0;
      index = first & 0x0f;
      if (index < 0x0f) at++;
      else {
        index = readPrefixInt(buf, at, end, 4);
        at = prefixEnd.at;
      }
      if (index < 0) return failed('P9');
      if (index >= STATIC_SIZE) return failed('P8');
      name = STATIC_NAMES[index] as string;
    } else if ((first & 0xe0) === 0x20) {
      // Literal with literal name (s4.5.6): 001NH, length in three bits.
      never = (first & 0x10) !== 0;
      const text = readString(buf, at, end, 3);
      if (text === null) return SECTION_FAILED;
      name = text;
      at = stringEnd;
    } else {
      // Dynamic or post-base: there is no such entry (s2.2.3).
      return failed('P8');
    }
    const value = readString(buf, at, end, 7);
    if (value === null) return SECTION_FAILED;
    at = stringEnd;
    bytes += name.length + value.length + FIELD_OVERHEAD;
    if (bytes > maxBytes) return SECTION_BYTES;
    if (++count > maxCount) return SECTION_COUNT;
    section.bytes = bytes;
    section.count = count;
    sink.onField(name, value, never, index);
  }
  return SECTION_OK;
}

function failed(rule: string): number {
  section.rule = rule;
  return SECTION_FAILED;
}

/** Required Insert Count and Base (s4.5.1); the offset behind them, or -1. */
function readPrefix(buf: Uint8Array, start: number, end: number): number {
  const inserts = readPrefixInt(buf, start, end, 8);
  if (inserts < 0) return noPrefix('P9');
  // s4.5.1.1: with MaxEntries 0 nothing but 0 can be meant; anything else would also block (s2.1.2).
  if (inserts > 0) return noPrefix('P4');
  const baseAt = prefixEnd.at;
  const delta = readPrefixInt(buf, baseAt, end, 7);
  if (delta < 0) return noPrefix('P9');
  // s4.5.1.2: with the sign bit, Base = 0 - delta - 1, and it must not be negative.
  if (((buf[baseAt] as number) & 0x80) !== 0) return noPrefix('P8');
  return prefixEnd.at;
}

function noPrefix(rule: string): number {
  section.rule = rule;
  return -1;
}

/** A string literal (s4.1.2) whose length has `bits` bits, with the Huffman flag above them; null after `failed`. */
function readString(buf: Uint8Array, at: number, end: number, bits: number): string | null {
  if (at >= end) return noString('P9');
  const first = buf[at] as number;
  const max = (1 << bits) - 1;
  let length = first & max;
  if (length < max) at++;
  else {
    length = readPrefixInt(buf, at, end, bits);
    at = prefixEnd.at;
    if (length < 0) return noString('P9');
  }
  const stop = at + length;
  if (stop > end) return noString('P9');
  stringEnd = stop;
  if ((first & (max + 1)) === 0) return latin1(buf, at, stop);
  return huffmanDecode(buf, at, stop) ?? noString('P10');
}

function noString(rule: string): null {
  section.rule = rule;
  return null;
}

const latin1Slice = Buffer.prototype.latin1Slice;

function latin1(buf: Uint8Array, start: number, end: number): string {
  return latin1Slice.call(buf, start, end);
}
