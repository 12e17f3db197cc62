/**
 * Literal fields that a backend repeats (nginx sends `server`, `date` and the like as literals each time, and never refers to the
 * table that it fills with them), decoded and checked once, by the bytes of the line. Of one connection; a line is taken in when it comes a second time, into one of two slots.
 */
import { prefixEnd, readPrefixInt } from '../../../lib/bytes/prefixint.ts';
import { STATIC_LAST } from './static.ts';

export interface KnownLine {
  readonly line: Uint8Array;
  readonly name: string;
  readonly value: string;
  readonly notes: number;
}

const SLOTS = 64;
/** Shorter ones cost no more to decode; longer ones hardly come again. */
const SHORTEST = 6;
const LONGEST = 128;

export class LineMemory {
  private readonly lines: (KnownLine | null)[] = Array.from({ length: SLOTS }, () => null);
  /** By slot, of the last line that was in neither. */
  private readonly prints = new Int32Array(SLOTS);

  private print = 0;

  /** The line from `at` to `end`, or null. */
  recall(buf: Uint8Array, at: number, end: number): KnownLine | null {
    this.print = fingerprint(buf, at, end);
    const slot = this.print & (SLOTS - 1);
    const first = this.lines[slot] as KnownLine | null;
    if (first !== null && isSame(first.line, buf, at, end)) return first;
    const second = this.lines[slot ^ 1] as KnownLine | null;
    return second !== null && isSame(second.line, buf, at, end) ? second : null;
  }

  /** The line that was not recalled just now has been decoded. */
  remember(buf: Uint8Array, at: number, end: number, name: string, value: string, notes: number): void {
    const { print } = this;
    let slot = print & (SLOTS - 1);
    if (this.prints[slot] !== print) {
      this.prints[slot] = print;
      return;
    }
    if (this.lines[slot] !== null && this.lines[slot ^ 1] === null) slot ^= 1;
    this.lines[slot] = { line: Uint8Array.prototype.slice.call(buf, at, end), name, value, notes };
  }
}

function isSame(line: Uint8Array, buf: Uint8Array, at: number, end: number): boolean {
  if (line.length !== end - at) return false;
  for (let i = 0; i < line.length; i++) if (line[i] !== buf[at + i]) return false;
  return true;
}

/** Of the length and a few bytes: what a line hardly shares with another one that the same backend sends. */
function fingerprint(buf: Uint8Array, at: number, end: number): number {
  let h = end - at;
  h = Math.imul(h ^ (buf[at] as number), 0x01000193);
  h = Math.imul(h ^ (buf[at + 1] as number), 0x01000193);
  h = Math.imul(h ^ (buf[(at + end) >> 1] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 4] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 3] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 2] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 1] as number), 0x01000193);
  return h ^ (h >>> 15);
}

/** The end of a literal that means the same each time, or -1: one whose name is in the dynamic table does not. */
export function lineEnd(buf: Uint8Array, start: number, end: number, prefixBits: number): number {
  const index = readPrefixInt(buf, start, end, prefixBits);
  if (index < 0 || index > STATIC_LAST) return -1;
  let at = prefixEnd.at;
  if (index === 0) at = stringEnd(buf, at, end);
  if (at >= 0) at = stringEnd(buf, at, end);
  return at - start < SHORTEST || at - start > LONGEST ? -1 : at;
}

function stringEnd(buf: Uint8Array, at: number, end: number): number {
  const length = readPrefixInt(buf, at, end, 7);
  return length < 0 || length > end - prefixEnd.at ? -1 : prefixEnd.at + length;
}
