import { huffmanEncode, huffmanSize } from '../../../lib/bytes/huffman.ts';
import { writePrefixInt } from '../../../lib/bytes/prefixint.ts';
import type { Fields } from '../fields.ts';
import type { ClientRequest } from '../message.ts';
import { STATIC_LAST, STATIC_NAMES, STATIC_VALUES } from './static.ts';
import { DynamicTable, FIELD_OVERHEAD } from './table.ts';

/** Initial SETTINGS_HEADER_TABLE_SIZE (RFC 9113 s6.5.2), and the most that is used whatever the peer allows. */
export const ENCODER_TABLE = 4096;

/** Fields larger than this stay out of the table: they would push out everything else. */
const LARGEST_ENTRY = 1024;

/** How many entries of one name are compared: the newest ones. */
const CHAIN = 4;

/** At most this much more than its characters does a field take (flags and lengths). */
const FIELD_ROOM = 12;

/** Names whose values never enter the table and are sent as never-indexed (RFC 7541 s7.1.3). */
const SENSITIVE = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie'];

/** What is known of a name; there is one for each static name and for each name in the table. */
class NameInfo {
  /** Static indexes of the name; 0 when it has none. */
  readonly first: number;
  readonly last: number;
  readonly sensitive: boolean;
  /** Sequence number of the newest entry with this name; it counts only while it is in the table. */
  newest = -1;
  /** The value that was sent last as a literal: sent again, it enters the table. */
  candidate: string | null = null;

  constructor(first: number, last: number, sensitive: boolean) {
    this.first = first;
    this.last = last;
    this.sensitive = sensitive;
  }
}

/** Unknown names wait here, in a fixed number of places, until they come again with the same value. */
const WAITING = 64;

/**
 * Header blocks of one connection, one direction. A field enters the table when the same name and value come for the
 * second time in a row, so that what differs from request to request (paths, ids, lengths) never pushes out what stays.
 */
export class HpackEncoder {
  readonly table = new DynamicTable(ENCODER_TABLE);
  private readonly infos = new Map<string, NameInfo>();
  private readonly waitingNames: string[] = Array.from({ length: WAITING }, () => '');
  private readonly waitingValues: string[] = Array.from({ length: WAITING }, () => '');
  /** The smallest capacity since the last block, and whether the peer has to be told (RFC 7541 s4.2). */
  private smallest = ENCODER_TABLE;
  private changed = false;

  constructor() {
    for (let i = 1; i <= STATIC_LAST; i++) {
      const name = STATIC_NAMES[i] as string;
      if (STATIC_NAMES[i - 1] === name) continue;
      let last = i;
      while (STATIC_NAMES[last + 1] === name) last++;
      this.infos.set(name, new NameInfo(i, last, SENSITIVE.includes(name)));
    }
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setPeerLimit(bytes: number): void {
    const capacity = Math.min(bytes, ENCODER_TABLE);
    if (capacity === this.table.capacity) return;
    this.table.capacity = capacity;
    this.makeRoom(0);
    this.smallest = Math.min(this.smallest, capacity);
    this.changed = true;
  }

  /** Room that `request` needs at most. */
  static roomForRequest(r: ClientRequest): number {
    return FIELD_ROOM * 5 + r.method.length + r.scheme.length + r.authority.length + r.path.length + HpackEncoder.roomForFields(r.fields);
  }

  static roomForFields(fields: Fields): number {
    const names = fields.names;
    const values = fields.values;
    let room = FIELD_ROOM * (names.length + 1);
    for (let i = 0; i < names.length; i++) room += (names[i] as string).length + (values[i] as string).length;
    return room;
  }

  /** A request's block: pseudo-fields first (RFC 9113 s8.3). Returns the offset behind. */
  request(out: Uint8Array, at: number, r: ClientRequest): number {
    at = this.begin(out, at);
    at = this.field(out, at, ':method', r.method, false);
    at = this.field(out, at, ':scheme', r.scheme, false);
    if (r.authority !== '') at = this.field(out, at, ':authority', r.authority, false);
    at = this.field(out, at, ':path', r.path, false);
    return this.regular(out, at, r.fields);
  }

  /** A response's or an interim response's block. */
  response(out: Uint8Array, at: number, status: string, fields: Fields): number {
    at = this.field(out, this.begin(out, at), ':status', status, false);
    return this.regular(out, at, fields);
  }

  trailers(out: Uint8Array, at: number, fields: Fields): number {
    return this.regular(out, this.begin(out, at), fields);
  }

  /** What has to come first in a block: changes of the table's capacity (RFC 7541 s4.2). */
  private begin(out: Uint8Array, at: number): number {
    if (!this.changed) return at;
    const capacity = this.table.capacity;
    if (this.smallest < capacity) at = writePrefixInt(out, at, 5, 0x20, this.smallest);
    this.smallest = capacity;
    this.changed = false;
    return writePrefixInt(out, at, 5, 0x20, capacity);
  }

  private regular(out: Uint8Array, at: number, fields: Fields): number {
    const { names, values, never } = fields;
    for (let i = 0; i < names.length; i++) at = this.field(out, at, names[i] as string, values[i] as string, never[i] as boolean);
    return at;
  }

  private field(out: Uint8Array, at: number, name: string, value: string, never: boolean): number {
    const info = this.infos.get(name);
    if (info === undefined) return this.unknown(out, at, name, value, never);
    for (let i = info.first; i <= info.last; i++) {
      if (i > 0 && STATIC_VALUES[i] === value && !never) return writePrefixInt(out, at, 7, 0x80, i);
    }
    if (never || info.sensitive) return this.literal(out, at, 4, 0x10, this.nameIndex(info), name, value);
    const seq = this.find(info, name, value);
    if (seq >= 0) return writePrefixInt(out, at, 7, 0x80, this.indexOf(seq));
    if (info.candidate === value && this.fits(name, value)) {
      info.candidate = null;
      return this.indexing(out, at, info, name, value);
    }
    info.candidate = value.length > LARGEST_ENTRY ? null : value;
    return this.literal(out, at, 4, 0, this.nameIndex(info), name, value);
  }

  private unknown(out: Uint8Array, at: number, name: string, value: string, never: boolean): number {
    if (never) return this.literal(out, at, 4, 0x10, 0, name, value);
    const n = name.length;
    const place = n === 0 ? 0 : (n * 7 + name.charCodeAt(0) + 3 * name.charCodeAt(n - 1)) % WAITING;
    if (this.waitingNames[place] === name && this.waitingValues[place] === value && this.fits(name, value)) {
      this.waitingNames[place] = '';
      this.waitingValues[place] = '';
      const info = new NameInfo(0, 0, false);
      this.infos.set(name, info);
      return this.indexing(out, at, info, name, value);
    }
    if (n + value.length <= LARGEST_ENTRY) {
      this.waitingNames[place] = name;
      this.waitingValues[place] = value;
    }
    return this.literal(out, at, 4, 0, 0, name, value);
  }

  private fits(name: string, value: string): boolean {
    const size = name.length + value.length + FIELD_OVERHEAD;
    return size <= LARGEST_ENTRY && size <= this.table.capacity;
  }

  /** The entry with this value among the newest of the name, or -1. */
  private find(info: NameInfo, name: string, value: string): number {
    const table = this.table;
    let seq = info.newest;
    for (let i = 0; i < CHAIN && seq >= table.oldest; i++) {
      const at = seq & table.mask;
      if (table.values[at] === value && table.names[at] === name) return seq;
      seq = table.notes[at] as number;
    }
    return -1;
  }

  private indexOf(seq: number): number {
    return STATIC_LAST + this.table.next - seq;
  }

  private nameIndex(info: NameInfo): number {
    if (info.first > 0) return info.first;
    return info.newest >= this.table.oldest ? this.indexOf(info.newest) : 0;
  }

  /** Literal with incremental indexing. The index of the name is that before the eviction (RFC 7541 s4.4). */
  private indexing(out: Uint8Array, at: number, info: NameInfo, name: string, value: string): number {
    at = this.literal(out, at, 6, 0x40, this.nameIndex(info), name, value);
    this.makeRoom(name.length + value.length + FIELD_OVERHEAD);
    // Eviction forgets a name of which nothing is left.
    if (info.first === 0) this.infos.set(name, info);
    const previous = info.newest;
    info.newest = this.table.next;
    this.table.insert(name, value, previous);
    return at;
  }

  private makeRoom(needed: number): void {
    const table = this.table;
    while (table.size + needed > table.capacity && table.oldest < table.next) {
      const name = table.names[table.oldest & table.mask] as string;
      const info = this.infos.get(name);
      if (info !== undefined && info.newest === table.oldest) {
        info.newest = -1;
        if (info.first === 0) this.infos.delete(name);
      }
      table.evict();
    }
  }

  private literal(out: Uint8Array, at: number, bits: number, flags: number, index: number, name: string, value: string): number {
    at = writePrefixInt(out, at, bits, flags, index);
    if (index === 0) at = writeString(out, at, name);
    return writeString(out, at, value);
  }
}

function writeString(out: Uint8Array, at: number, text: string): number {
  const length = text.length;
  const size = huffmanSize(text);
  if (size < length) return huffmanEncode(text, out, writePrefixInt(out, at, 7, 0x80, size));
  at = writePrefixInt(out, at, 7, 0, length);
  for (let i = 0; i < length; i++) {
    const c = text.charCodeAt(i);
    // Never a byte that the text does not have: beyond latin-1 there is only "?".
    out[at++] = c > 255 ? 0x3f : c;
  }
  return at;
}
