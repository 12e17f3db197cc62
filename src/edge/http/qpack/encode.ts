/**
 * Field sections (RFC 9204 s4.5) from the static table and literals alone: no table of ours that a peer could fill, stall
 * or probe. The caller has made room: `sectionRoom`.
 */
import { huffmanEncode, huffmanSize } from '../../../lib/bytes/huffman.ts';
import { writePrefixInt } from '../../../lib/bytes/prefixint.ts';
import type { Fields } from '../fields.ts';
import { staticIndex, staticName, type StaticName } from './static.ts';

/** Flags and the two lengths of one field, at most. */
const FIELD_ROOM = 24;
const PREFIX_ROOM = 2;
/** "?": a character beyond latin-1 must not turn into another byte. */
const NOT_LATIN1 = 0x3f;

/** Upper bound of a section of `fields`; pseudo-fields are for the caller to add (`fieldRoom`). */
export function sectionRoom(fields: Fields): number {
  let room = PREFIX_ROOM;
  const { names, values } = fields;
  for (let i = 0; i < names.length; i++) room += FIELD_ROOM + (names[i] as string).length + (values[i] as string).length;
  return room;
}

export function fieldRoom(name: string, value: string): number {
  return FIELD_ROOM + name.length + value.length;
}

/** Required Insert Count 0, Base 0. */
export function writeSectionPrefix(buf: Uint8Array, at: number): number {
  buf[at] = 0;
  buf[at + 1] = 0;
  return at + 2;
}

export function writeFields(buf: Uint8Array, at: number, fields: Fields): number {
  const { names, values } = fields;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const value = values[i] as string;
    // Answers are much alike: what stood here last is compared before it is looked up.
    const hint = HINTS[i % PLACES] as Memo;
    if (hint.value === value && hint.name === name && !fields.isNever(i)) at = copyMemo(buf, at, hint);
    else at = writeField(buf, at, name, value, fields.isNever(i), i % PLACES);
  }
  return at;
}

/** `:status`, from the static table where it is there. */
export function writeStatus(buf: Uint8Array, at: number, status: number): number {
  const index = STATUS_INDEX.get(status);
  if (index !== undefined) return writePrefixInt(buf, at, 6, 0xc0, index);
  return writeString(buf, writePrefixInt(buf, at, 4, 0x50, FIRST_STATUS), 7, 0, String(status));
}

const FIRST_STATUS = 24;
const STATUS_INDEX = new Map<number, number>();
for (const status of [103, 200, 304, 404, 503, 100, 204, 206, 302, 400, 403, 421, 425, 500]) {
  STATUS_INDEX.set(status, staticIndex(staticName(':status') as StaticName, String(status)));
}

export function writeField(buf: Uint8Array, at: number, name: string, value: string, never: boolean, place = 0): number {
  const memo = never ? undefined : MEMOS.get(name);
  if (memo === undefined) return encodeField(buf, at, name, value, never);
  HINTS[place] = memo;
  if (memo.value === value) return copyMemo(buf, at, memo);
  const next = encodeField(buf, at, name, value, false);
  remember(memo, value, buf, at, next);
  return next;
}

function encodeField(buf: Uint8Array, at: number, name: string, value: string, never: boolean): number {
  const entry = staticName(name);
  if (entry === undefined) {
    at = writeString(buf, at, 3, never ? 0x30 : 0x20, name);
    return writeString(buf, at, 7, 0, value);
  }
  // s7.1.3: a never-indexed field stays a literal on every hop.
  const index = never ? -1 : staticIndex(entry, value);
  if (index >= 0) return writePrefixInt(buf, at, 6, 0xc0, index);
  at = writePrefixInt(buf, at, 4, never ? 0x70 : 0x50, entry.indexes[0] as number);
  return writeString(buf, at, 7, 0, value);
}

/** A string literal (s4.1.2); Huffman where that is shorter. */
function writeString(buf: Uint8Array, at: number, bits: number, flags: number, text: string): number {
  const packed = huffmanSize(text);
  if (packed < text.length) return huffmanEncode(text, buf, writePrefixInt(buf, at, bits, flags | (1 << bits), packed));
  at = writePrefixInt(buf, at, bits, flags, text.length);
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    buf[at++] = c > 0xff ? NOT_LATIN1 : c;
  }
  return at;
}

/**
 * The last encoding of each of the fields that answers repeat. Only names of this list have one, never what is secret
 * (cookies, credentials, never-indexed fields) or different each time.
 */
interface Memo {
  readonly name: string;
  value: string | null;
  length: number;
  readonly bytes: Uint8Array;
}

const MEMO_BYTES = 96;
const MEMO_NAMES = [
  'accept-ranges',
  'access-control-allow-headers',
  'access-control-allow-methods',
  'access-control-allow-origin',
  'access-control-expose-headers',
  'age',
  'allow',
  'alt-svc',
  'cache-control',
  'content-encoding',
  'content-language',
  'content-length',
  'content-type',
  'cross-origin-opener-policy',
  'cross-origin-resource-policy',
  'date',
  'etag',
  'expires',
  'grpc-accept-encoding',
  'grpc-encoding',
  'grpc-status',
  'last-modified',
  'nel',
  'permissions-policy',
  'pragma',
  'proxy-status',
  'referrer-policy',
  'report-to',
  'server',
  'server-timing',
  'strict-transport-security',
  'timing-allow-origin',
  'trailer',
  'vary',
  'via',
  'x-content-type-options',
  'x-frame-options',
  'x-powered-by',
  'x-xss-protection',
] as const;

const MEMOS = new Map<string, Memo>();
for (const name of MEMO_NAMES) MEMOS.set(name, { name, value: null, length: 0, bytes: new Uint8Array(MEMO_BYTES) });

/** By place in a list: the memo that was used there last. */
const PLACES = 32;
const HINTS: Memo[] = Array.from({ length: PLACES }, () => MEMOS.get(MEMO_NAMES[0]) as Memo);

function copyMemo(buf: Uint8Array, at: number, memo: Memo): number {
  const { bytes, length } = memo;
  for (let i = 0; i < length; i++) buf[at + i] = bytes[i] as number;
  return at + length;
}

function remember(memo: Memo, value: string, buf: Uint8Array, start: number, end: number): void {
  if (end - start > MEMO_BYTES) return;
  memo.value = value;
  memo.length = end - start;
  for (let i = start; i < end; i++) memo.bytes[i - start] = buf[i] as number;
}
