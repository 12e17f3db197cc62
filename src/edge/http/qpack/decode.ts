/**
 * Field sections (RFC 9204 s4.5) for a decoder whose dynamic table has capacity 0: static entries and literals, and an
 * error for everything that refers to a table that cannot exist. Sizes are limited while decoding, so that a section of a
 * few bytes never unfolds further than it may.
 */
import { huffmanDecode } from '../../../lib/bytes/huffman.ts';
import { prefixEnd, readPrefixInt } from '../../../lib/bytes/prefixint.ts';
import { MAX_LINE, memorize, MIN_LINE, recall } from './memory.ts';
import { STATIC_NAMES, STATIC_SIZE, STATIC_VALUES } from './static.ts';

/** What takes the fields, in order. */
export interface FieldSink {
  /** A whole entry of the static table. */
  onStatic(index: number): void;
  /**
   * `index` names the static entry that the name came from; -1 for a name spelt out, which nobody has checked. What it returns
   * is kept with a line that is worth it, for `onChecked`; -1 when it has to look at this field again next time.
   */
  onField(name: string, value: string, never: boolean, index: number): number;
  /** A field that `onField` saw before, with what it returned then. */
  onChecked(name: string, value: string, tag: number): void;
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

export function decodeSection(buf: Uint8Array, start: number, end: number, sink: FieldSink, maxBytes: number, maxCount: number): number {
  section.bytes = 0;
  section.count = 0;
  section.rule = '';
  let at = readPrefix(buf, start, end);
  if (at < 0) return SECTION_FAILED;
  while (at < end) {
    const first = buf[at] as number;
    let index = -1;
    if (first >= 0xc0) {
      // Indexed, static (s4.5.2).
      index = first & 0x3f;
      if (index < 0x3f) at++;
      else {
        index = readPrefixInt(buf, at, end, 6);
        at = prefixEnd.at;
      }
      if (index < 0 || index >= STATIC_SIZE) return failed(index < 0 ? 'P9' : 'P8');
      const result = charge(STATIC_BYTES[index] as number, maxBytes, maxCount);
      if (result !== SECTION_OK) return result;
      sink.onStatic(index);
      continue;
    }
    if (!readShape(buf, at, end)) return SECTION_FAILED;
    const next = shape.end;
    const never = shape.never;
    index = shape.index;
    const isMemorable = !never && next - at >= MIN_LINE && next - at <= MAX_LINE;
    const known = isMemorable ? recall(buf, at, next) : null;
    if (known !== null) {
      const result = charge(known.name.length + known.value.length + FIELD_OVERHEAD, maxBytes, maxCount);
      if (result !== SECTION_OK) return result;
      sink.onChecked(known.name, known.value, known.tag);
    } else {
      const name = index >= 0 ? (STATIC_NAMES[index] as string) : readText(buf, shape.nameAt, shape.nameEnd, shape.nameIsPacked);
      const value = name === null ? null : readText(buf, shape.valueAt, next, shape.valueIsPacked);
      if (name === null || value === null) return failed('P10');
      const result = charge(name.length + value.length + FIELD_OVERHEAD, maxBytes, maxCount);
      if (result !== SECTION_OK) return result;
      const tag = sink.onField(name, value, never, index);
      if (isMemorable && tag >= 0) memorize(buf, at, next, name, value, tag);
    }
    at = next;
  }
  return SECTION_OK;
}

function charge(bytes: number, maxBytes: number, maxCount: number): number {
  const total = section.bytes + bytes;
  if (total > maxBytes) return SECTION_BYTES;
  if (section.count >= maxCount) return SECTION_COUNT;
  section.bytes = total;
  section.count++;
  return SECTION_OK;
}

/** Where the parts of a literal are, before anything is made of them. */
const shape = { never: false, index: -1, nameAt: 0, nameEnd: 0, nameIsPacked: false, valueAt: 0, valueIsPacked: false, end: 0 };

/** A literal with a name reference (s4.5.4) or a literal name (s4.5.6); everything else would be of a dynamic table. */
function readShape(buf: Uint8Array, at: number, end: number): boolean {
  const first = buf[at] as number;
  if ((first & 0xc0) === 0x40) {
    // 01NT, index in four bits.
    if ((first & 0x10) === 0) return broken('P8');
    shape.never = (first & 0x20) !== 0;
    let index = first & 0x0f;
    if (index < 0x0f) at++;
    else {
      index = readPrefixInt(buf, at, end, 4);
      at = prefixEnd.at;
    }
    if (index < 0) return broken('P9');
    if (index >= STATIC_SIZE) return broken('P8');
    shape.index = index;
  } else if ((first & 0xe0) === 0x20) {
    // 001NH, length in three bits.
    shape.never = (first & 0x10) !== 0;
    shape.index = -1;
    if (!readSpan(buf, at, end, 3)) return false;
    shape.nameAt = spanAt;
    shape.nameEnd = at = spanEnd;
    shape.nameIsPacked = (first & 0x08) !== 0;
  } else return broken('P8');
  if (!readSpan(buf, at, end, 7)) return false;
  shape.valueIsPacked = ((buf[at] as number) & 0x80) !== 0;
  shape.valueAt = spanAt;
  shape.end = spanEnd;
  return true;
}

let spanAt = 0;
let spanEnd = 0;

/** The bytes of a string literal (s4.1.2) whose length has `bits` bits. */
function readSpan(buf: Uint8Array, at: number, end: number, bits: number): boolean {
  if (at >= end) return broken('P9');
  const max = (1 << bits) - 1;
  let length = (buf[at] as number) & max;
  if (length < max) at++;
  else {
    length = readPrefixInt(buf, at, end, bits);
    at = prefixEnd.at;
    if (length < 0) return broken('P9');
  }
  spanAt = at;
  spanEnd = at + length;
  return spanEnd <= end || broken('P9');
}

function readText(buf: Uint8Array, start: number, end: number, isPacked: boolean): string | null {
  return isPacked ? huffmanDecode(buf, start, end) : latin1Slice.call(buf, start, end);
}

const latin1Slice = Buffer.prototype.latin1Slice;

function broken(rule: string): false {
  section.rule = rule;
  return false;
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
