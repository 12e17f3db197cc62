import { huffmanDecode } from '../../../lib/bytes/huffman.ts';
import { latin1 } from '../../../lib/bytes/latin1.ts';
import { prefixEnd, readPrefixInt } from '../../../lib/bytes/prefixint.ts';
import type { Fields } from '../fields.ts';
import type { KnownHead } from '../known.ts';
import { BlockMemory, KnownBlock } from './blocks.ts';
import { LineMemory, lineEnd } from './lines.ts';
import { FieldNote, noteName, noteValue } from './rules.ts';
import { STATIC_LAST, STATIC_NAMES, STATIC_VALUES } from './static.ts';
import { DynamicTable, FIELD_OVERHEAD } from './table.ts';

export interface HeaderLimits {
  /** Decoded size of a list, RFC 9113 s6.5.2. */
  readonly bytes: number;
  readonly count: number;
}

const STATIC_NOTES = Uint8Array.from(STATIC_NAMES, (name) => (name === '' ? 0 : noteName(name)));

/** The literal that was decoded last. */
const last = { name: '', value: '', notes: 0 };

/**
 * Header blocks of one connection, one direction (RFC 7541 s3). After an error the table is out of step with the
 * peer's: the connection must end with COMPRESSION_ERROR (RFC 9113 s4.3). A list beyond the limits is read to its end
 * for the table's sake, but nothing of it is kept.
 */
export class HpackDecoder {
  readonly table: DynamicTable;
  /** `FieldNote`s of the last block, all fields together. */
  notes = 0;
  /** Decoded size of the last block. */
  size = 0;
  /** The last block was beyond the limits: its fields are incomplete. */
  oversize = false;
  /** Place in `fields` of the last block's first content-length, or -1. */
  contentLengthAt = -1;

  private readonly tableLimit: number;
  private readonly limits: HeaderLimits;
  private readonly lines = new LineMemory();
  private readonly blocks = new BlockMemory();
  /** A known block whose entries have yet to be put into the table, and how often. */
  private owed: KnownBlock | null = null;
  private owedTimes = 0;
  private count = 0;
  private buf: Uint8Array = new Uint8Array(0);
  private start = 0;
  private at = 0;
  private end = 0;
  private failed = false;
  /** Of the last block: where its entries in the table begin, and whether it means the same when it comes again. */
  private inserted = 0;
  private refers = false;
  private memorable = false;

  constructor(tableLimit: number, limits: HeaderLimits) {
    this.table = new DynamicTable(tableLimit);
    this.tableLimit = tableLimit;
    this.limits = limits;
  }

  /**
   * What `remember` was told of this very block, or null: then it has to be decoded. Its entries are put into the table when somebody
   * looks there, and no more of them than fit.
   */
  recall(buf: Uint8Array, start: number, end: number): KnownHead | null {
    const block = this.blocks.recall(buf, start, end);
    if (block === null) return null;
    if (block !== this.owed) this.settle();
    if (!block.fits(this.table)) return null;
    if (block.names.length > 0) {
      this.owed = block;
      this.owedTimes++;
    }
    return block.head;
  }

  /** Whether the block that was just decoded has come before and is worth remembering. */
  repeats(): boolean {
    if (!this.memorable || this.oversize) return false;
    const inserts = this.table.next > this.inserted;
    return (inserts ? !this.refers && this.table.oldest <= this.inserted : true) && this.blocks.comesAgain();
  }

  /** The head that the block that was just decoded is, whenever it comes again. */
  remember(head: KnownHead): void {
    const bytes = Uint8Array.prototype.slice.call(this.buf, this.start, this.end);
    this.blocks.remember(new KnownBlock(bytes, head, this.table, this.inserted, this.refers));
  }

  private settle(): void {
    this.owed?.insert(this.table, this.owedTimes);
    this.owed = null;
    this.owedTimes = 0;
  }

  /** Adds the block's pseudo-fields to `pseudo` and the others to `fields`; false: COMPRESSION_ERROR. */
  decode(buf: Uint8Array, start: number, end: number, pseudo: Fields, fields: Fields): boolean {
    if (this.owedTimes > 0) this.settle();
    this.buf = buf;
    this.start = start;
    this.at = start;
    this.end = end;
    this.notes = 0;
    this.size = 0;
    this.count = 0;
    this.oversize = false;
    this.contentLengthAt = -1;
    this.failed = false;
    this.inserted = this.table.next;
    this.refers = false;
    this.memorable = true;
    while (this.at < end && !this.failed) {
      const first = buf[this.at] as number;
      if (first >= 0x80) this.indexed(pseudo, fields);
      else if (first >= 0x40) this.repeatable(6, true, pseudo, fields);
      else if (first >= 0x20) this.resize();
      else if (first >= 0x10) this.literal(4, false, true, pseudo, fields);
      else this.repeatable(4, false, pseudo, fields);
    }
    return !this.failed;
  }

  /** s6.1 */
  private indexed(pseudo: Fields, fields: Fields): void {
    const index = this.integer(7);
    if (index <= STATIC_LAST) {
      // Index 0 is not used: a decoding error.
      if (index <= 0) this.failed = true;
      else this.emit(STATIC_NAMES[index] as string, STATIC_VALUES[index] as string, STATIC_NOTES[index] as number, false, pseudo, fields);
      return;
    }
    const slot = this.slotOf(index);
    if (slot < 0) return;
    const table = this.table;
    this.emit(table.names[slot] as string, table.values[slot] as string, table.notes[slot] as number, false, pseudo, fields);
  }

  /** A literal that is not never-indexed (s6.2.1, s6.2.2), and so may be one that came before. */
  private repeatable(prefixBits: number, insert: boolean, pseudo: Fields, fields: Fields): void {
    const { buf, at } = this;
    const end = lineEnd(buf, at, this.end, prefixBits);
    if (end < 0) return this.literal(prefixBits, insert, false, pseudo, fields);
    const known = this.lines.recall(buf, at, end);
    if (known === null) {
      this.literal(prefixBits, insert, false, pseudo, fields);
      if (!this.failed) this.lines.remember(buf, at, end, last.name, last.value, last.notes);
      return;
    }
    this.at = end;
    if (insert) this.insert(known.name, known.value, known.notes);
    this.emit(known.name, known.value, known.notes, false, pseudo, fields);
  }

  /** s6.2 */
  private literal(prefixBits: number, insert: boolean, never: boolean, pseudo: Fields, fields: Fields): void {
    const index = this.integer(prefixBits);
    let name = '';
    let notes = 0;
    if (this.failed) return;
    if (index === 0) {
      name = this.string();
      notes = noteName(name);
    } else if (index <= STATIC_LAST) {
      name = STATIC_NAMES[index] as string;
      notes = STATIC_NOTES[index] as number;
    } else {
      const slot = this.slotOf(index);
      if (slot < 0) return;
      name = this.table.names[slot] as string;
      // Of the entry only what concerns its name.
      notes = (this.table.notes[slot] as number) & ~FieldNote.BAD_VALUE;
    }
    if (this.failed) return;
    const value = this.string();
    if (this.failed) return;
    notes |= noteValue(value);
    if (insert) this.insert(name, value, notes);
    if (never) this.memorable = false;
    last.name = name;
    last.value = value;
    last.notes = notes;
    this.emit(name, value, notes, never, pseudo, fields);
  }

  private insert(name: string, value: string, notes: number): void {
    const { table } = this;
    // Too large for the table: empties it (s4.4), which means nothing only to one that never holds anything.
    if (!table.insert(name, value, notes) && table.capacity >= FIELD_OVERHEAD) this.memorable = false;
  }

  /** s6.3; only at the beginning of a block (s4.2), never above what we allowed. */
  private resize(): void {
    const capacity = this.integer(5);
    this.memorable = false;
    if (this.failed) return;
    if (this.count > 0 || capacity > this.tableLimit) this.failed = true;
    else this.table.resize(capacity);
  }

  private emit(name: string, value: string, notes: number, never: boolean, pseudo: Fields, fields: Fields): void {
    this.count++;
    this.size += name.length + value.length + FIELD_OVERHEAD;
    if (this.size > this.limits.bytes || this.count > this.limits.count) {
      this.oversize = true;
      return;
    }
    if ((notes & (FieldNote.PSEUDO | FieldNote.CONTENT_LENGTH)) === 0) {
      this.notes |= notes;
      fields.add(name, value, never);
    } else if ((notes & FieldNote.PSEUDO) !== 0) {
      this.notes |= fields.length > 0 ? notes | FieldNote.LATE_PSEUDO : notes;
      pseudo.add(name, value, never);
    } else {
      if (this.contentLengthAt < 0) this.contentLengthAt = fields.length;
      else notes |= FieldNote.MORE_LENGTHS;
      this.notes |= notes;
      fields.add(name, value, never);
    }
  }

  /** The ring's slot of a dynamic index; -1, and failed, when there is no such entry (s2.3.3). */
  private slotOf(index: number): number {
    const distance = index - STATIC_LAST - 1;
    if (distance < this.table.length) {
      this.refers = true;
      return (this.table.next - 1 - distance) & this.table.mask;
    }
    this.failed = true;
    return -1;
  }

  /** -1, and failed, for what is cut short or too large. */
  private integer(prefixBits: number): number {
    const value = readPrefixInt(this.buf, this.at, this.end, prefixBits);
    if (value < 0) {
      this.failed = true;
      return -1;
    }
    this.at = prefixEnd.at;
    return value;
  }

  /** s5.2 */
  private string(): string {
    if (this.at >= this.end) {
      this.failed = true;
      return '';
    }
    const huffman = (this.buf[this.at] as number) >= 0x80;
    const length = this.integer(7);
    const start = this.at;
    if (this.failed || length > this.end - start) {
      this.failed = true;
      return '';
    }
    this.at = start + length;
    if (!huffman) return latin1(this.buf, start, this.at);
    const text = huffmanDecode(this.buf, start, this.at);
    if (text === null) this.failed = true;
    return text ?? '';
  }
}
