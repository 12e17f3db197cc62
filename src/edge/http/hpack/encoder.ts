import { huffmanEncode, huffmanSize } from '../../../lib/bytes/huffman.ts';
import { writeLatin1 } from '../../../lib/bytes/latin1.ts';
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

/**
 * What the proxy adds to every request. Such a name enters the table with its first value, whatever follows: most of these
 * differ from client to client, and the name is the longer half of some.
 */
const OURS = ['x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port', 'forwarded', 'x-request-id'];

/** What is known of a name; there is one for each static name, each of ours and each name in the table. */
class NameInfo {
  readonly name: string;
  /** Static indexes of the name; 0 when it has none. */
  readonly first: number;
  readonly last: number;
  /** Whether the static table has values for it. */
  readonly valued: boolean;
  readonly sensitive: boolean;
  readonly ours: boolean;
  /** Sequence number of the newest entry with this name; it counts only while it is in the table. */
  newest = -1;
  /** The value that was sent last as a literal: sent again, it enters the table. */
  candidate: string | null = null;

  constructor(name: string, first: number, last: number) {
    this.name = name;
    this.first = first;
    this.last = last;
    this.valued = first > 0 && STATIC_VALUES[last] !== '';
    this.sensitive = SENSITIVE.includes(name);
    this.ours = OURS.includes(name);
  }

  /** Stays known when nothing of it is in the table. */
  get lasts(): boolean {
    return this.first > 0 || this.ours;
  }
}

/** Unknown names wait here, in a fixed number of places, until they come again with the same value. */
const WAITING = 64;

/** Places of a list at which the last name is remembered: lists are much alike, and to compare is cheaper than to look up. */
const HINTS = 32;

/**
 * Header blocks of one connection, one direction. A field enters the table when the same name and value come for the
 * second time in a row, so that what differs from request to request (paths, ids, lengths) never pushes out what stays.
 */
export class HpackEncoder {
  readonly table = new DynamicTable(ENCODER_TABLE);
  private readonly infos = new Map<string, NameInfo>();
  private readonly waitingNames: string[] = Array.from({ length: WAITING }, () => '');
  private readonly waitingValues: string[] = Array.from({ length: WAITING }, () => '');
  private readonly hints: NameInfo[] = Array.from({ length: HINTS }, () => NOBODY);
  private readonly method: NameInfo;
  private readonly scheme: NameInfo;
  private readonly authority: NameInfo;
  private readonly path: NameInfo;
  private readonly status: NameInfo;
  /** The smallest capacity since the last block, and whether the peer has to be told (RFC 7541 s4.2). */
  private smallest = ENCODER_TABLE;
  private changed = false;

  constructor() {
    for (let i = 1; i <= STATIC_LAST; i++) {
      const name = STATIC_NAMES[i] as string;
      if (STATIC_NAMES[i - 1] === name) continue;
      let last = i;
      while (STATIC_NAMES[last + 1] === name) last++;
      this.infos.set(name, new NameInfo(name, i, last));
    }
    for (const name of OURS) this.infos.set(name, new NameInfo(name, 0, 0));
    this.method = this.infos.get(':method') as NameInfo;
    this.scheme = this.infos.get(':scheme') as NameInfo;
    this.authority = this.infos.get(':authority') as NameInfo;
    this.path = this.infos.get(':path') as NameInfo;
    this.status = this.infos.get(':status') as NameInfo;
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
    const never = r.neverIndexed === true;
    at = this.begin(out, at);
    at = this.known(out, at, this.method, r.method, false);
    at = this.known(out, at, this.scheme, r.scheme, false);
    if (r.authority !== '') at = this.known(out, at, this.authority, r.authority, never);
    at = this.known(out, at, this.path, r.path, never);
    return this.regular(out, at, r.fields);
  }

  /** A response's or an interim response's block. */
  response(out: Uint8Array, at: number, status: string, fields: Fields): number {
    at = this.known(out, this.begin(out, at), this.status, status, false);
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
    const { names, values } = fields;
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      const info = this.infoOf(name, i % HINTS);
      if (info === null) at = this.unknown(out, at, name, values[i] as string, fields.isNever(i));
      else at = this.known(out, at, info, values[i] as string, fields.isNever(i));
    }
    return at;
  }

  private infoOf(name: string, place: number): NameInfo | null {
    const hint = this.hints[place] as NameInfo;
    if (hint.name === name && (hint.lasts || hint.newest >= this.table.oldest)) return hint;
    const info = this.infos.get(name) ?? null;
    if (info !== null) this.hints[place] = info;
    return info;
  }

  private known(out: Uint8Array, at: number, info: NameInfo, value: string, never: boolean): number {
    if (!never && (info.valued || value === '')) {
      const index = staticIndex(info, value);
      if (index > 0) return writePrefixInt(out, at, 7, 0x80, index);
    }
    if (never || info.sensitive) return this.literal(out, at, 0x10, this.nameIndex(info), info.name, value);
    const seq = this.find(info, value);
    if (seq >= 0) return writePrefixInt(out, at, 7, 0x80, this.indexOf(seq));
    if ((info.candidate === value || this.isWanted(info)) && this.fits(info.name, value)) {
      info.candidate = null;
      return this.indexing(out, at, info, value);
    }
    info.candidate = value.length > LARGEST_ENTRY ? null : value;
    return this.literal(out, at, 0, this.nameIndex(info), info.name, value);
  }

  /** A name of ours that is not in the table. */
  private isWanted(info: NameInfo): boolean {
    return info.ours && info.newest < this.table.oldest;
  }

  private unknown(out: Uint8Array, at: number, name: string, value: string, never: boolean): number {
    if (never) return this.literal(out, at, 0x10, 0, name, value);
    const n = name.length;
    const place = n === 0 ? 0 : (n * 7 + name.charCodeAt(0) + 3 * name.charCodeAt(n - 1)) % WAITING;
    if (this.waitingNames[place] === name && this.waitingValues[place] === value && this.fits(name, value)) {
      this.waitingNames[place] = '';
      this.waitingValues[place] = '';
      const info = new NameInfo(name, 0, 0);
      this.infos.set(name, info);
      return this.indexing(out, at, info, value);
    }
    if (n + value.length <= LARGEST_ENTRY) {
      this.waitingNames[place] = name;
      this.waitingValues[place] = value;
    }
    return this.literal(out, at, 0, 0, name, value);
  }

  private fits(name: string, value: string): boolean {
    const size = name.length + value.length + FIELD_OVERHEAD;
    return size <= LARGEST_ENTRY && size <= this.table.capacity;
  }

  /** The entry with this value among the newest of the name, or -1. */
  private find(info: NameInfo, value: string): number {
    const table = this.table;
    let seq = info.newest;
    for (let i = 0; i < CHAIN && seq >= table.oldest; i++) {
      const at = seq & table.mask;
      if (table.values[at] === value && table.names[at] === info.name) return seq;
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
  private indexing(out: Uint8Array, at: number, info: NameInfo, value: string): number {
    const { name } = info;
    const index = this.nameIndex(info);
    at = writePrefixInt(out, at, 6, 0x40, index);
    if (index === 0) at = writeShort(out, at, name);
    at = writeShort(out, at, value);
    this.makeRoom(name.length + value.length + FIELD_OVERHEAD);
    // Eviction forgets a name of which nothing is left.
    if (!info.lasts) this.infos.set(name, info);
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
        if (!info.lasts) this.infos.delete(name);
      }
      table.evict();
    }
  }

  /** Literal without indexing, or never indexed. */
  private literal(out: Uint8Array, at: number, flags: number, index: number, name: string, value: string): number {
    at = writePrefixInt(out, at, 4, flags, index);
    if (index === 0) at = writePlain(out, at, name);
    return writePlain(out, at, value);
  }
}

const NOBODY = new NameInfo('', 0, 0);

/** The static entry of the name with this value, or 0. */
function staticIndex(info: NameInfo, value: string): number {
  for (let i = info.first; i <= info.last; i++) if (i > 0 && STATIC_VALUES[i] === value) return i;
  return 0;
}

/** What changes from request to request: a quarter fewer bytes to a backend nearby are not worth coding and decoding them. */
function writePlain(out: Uint8Array, at: number, text: string): number {
  return writeLatin1(out, writePrefixInt(out, at, 7, 0, text.length), text);
}

/** What enters the table and is sent but once: Huffman where that is shorter. */
function writeShort(out: Uint8Array, at: number, text: string): number {
  const size = huffmanSize(text);
  return size < text.length ? huffmanEncode(text, out, writePrefixInt(out, at, 7, 0x80, size)) : writePlain(out, at, text);
}
