/**
 * Whole header blocks that a backend repeats: its answers to many requests differ in nothing but their bodies. Of one connection; a block is
 * taken in when it comes a second time, into one of two slots.
 */
import type { KnownHead } from '../known.ts';
import type { DynamicTable } from './table.ts';
import { FIELD_OVERHEAD } from './table.ts';

/** Longer ones hardly come again. */
const LONGEST = 512;
const SLOTS = 16;

export class KnownBlock {
  readonly bytes: Uint8Array;
  readonly head: KnownHead;
  /** What the block puts into the table, in order. */
  readonly names: readonly string[];
  readonly values: readonly string[];
  readonly notes: readonly number[];
  /** Bytes of the table that these take. */
  readonly size: number;
  /** What of the table it takes to mean this: its capacity, and with a block that refers to the table all of it; else `next` is -1. */
  readonly capacity: number;
  readonly next: number;
  readonly oldest: number;

  /** `inserted`: where the block's own entries begin; it is in the table with all of them. */
  constructor(bytes: Uint8Array, head: KnownHead, table: DynamicTable, inserted: number, refers: boolean) {
    const names: string[] = [];
    const values: string[] = [];
    const notes: number[] = [];
    let size = 0;
    for (let seq = inserted; seq < table.next; seq++) {
      const at = seq & table.mask;
      names.push(table.names[at] as string);
      values.push(table.values[at] as string);
      notes.push(table.notes[at] as number);
      size += (table.names[at] as string).length + (table.values[at] as string).length + FIELD_OVERHEAD;
    }
    this.bytes = bytes;
    this.head = head;
    this.names = names;
    this.values = values;
    this.notes = notes;
    this.size = size;
    this.capacity = table.capacity;
    this.next = refers ? table.next : -1;
    this.oldest = table.oldest;
  }

  /** Whether the block means in this table what it meant. */
  fits(table: DynamicTable): boolean {
    if (this.capacity !== table.capacity) return false;
    return this.next < 0 || (this.next === table.next && this.oldest === table.oldest);
  }

  /** Leaves in the table what so many of this block leave there: beyond a table full of them, one more changes nothing. */
  insert(table: DynamicTable, times: number): void {
    const { names, values, notes } = this;
    for (let n = Math.min(times, Math.floor(table.capacity / this.size) + 1); n > 0; n--) {
      for (let i = 0; i < names.length; i++) table.insert(names[i] as string, values[i] as string, notes[i] as number);
    }
  }
}

export class BlockMemory {
  private readonly blocks: (KnownBlock | null)[] = Array.from({ length: SLOTS }, () => null);
  /** By slot, of the last block that was in neither. */
  private readonly prints = new Int32Array(SLOTS);
  /** Of the block that was looked for last, or 0. */
  private print = 0;

  /** The block from `start` to `end`, or null. */
  recall(buf: Uint8Array, start: number, end: number): KnownBlock | null {
    if (end - start > LONGEST) {
      this.print = 0;
      return null;
    }
    this.print = fingerprint(buf, start, end);
    const slot = this.print & (SLOTS - 1);
    const first = this.blocks[slot] as KnownBlock | null;
    if (first !== null && isSame(first.bytes, buf, start, end)) return first;
    const second = this.blocks[slot ^ 1] as KnownBlock | null;
    return second !== null && isSame(second.bytes, buf, start, end) ? second : null;
  }

  /** Whether the block that was looked for last has been so before. */
  comesAgain(): boolean {
    const { print } = this;
    if (print === 0) return false;
    const slot = print & (SLOTS - 1);
    if (this.prints[slot] === print) return true;
    this.prints[slot] = print;
    return false;
  }

  /** In the place of what it has become, in a free slot, or in its first one. */
  remember(block: KnownBlock): void {
    const { bytes } = block;
    let slot = this.print & (SLOTS - 1);
    const second = this.blocks[slot ^ 1] as KnownBlock | null;
    if (second !== null && isSame(second.bytes, bytes, 0, bytes.length)) slot ^= 1;
    else if (this.blocks[slot] !== null && second === null && !isSame((this.blocks[slot] as KnownBlock).bytes, bytes, 0, bytes.length))
      slot ^= 1;
    this.blocks[slot] = block;
  }
}

function isSame(bytes: Uint8Array, buf: Uint8Array, start: number, end: number): boolean {
  if (bytes.length !== end - start) return false;
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== buf[start + i]) return false;
  return true;
}

/** Of the length and some bytes all over the block: what differs most often, a length or a date, is somewhere in its middle. Never 0. */
function fingerprint(buf: Uint8Array, start: number, end: number): number {
  let h = end - start;
  const step = 1 + (h >> 5);
  for (let at = start; at < end; at += step) h = Math.imul(h ^ (buf[at] as number), 0x01000193);
  return (h ^ (h >>> 15)) | 0x4000_0000;
}
