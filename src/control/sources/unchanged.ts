/** What is as it was in a text that was cut into documents before: its beginning and its end, by documents. Nothing of them needs to be decoded, cut or looked up again. */

/** One document. */
export interface Stretch {
  /** Bytes. */
  readonly size: number;
  /** Line ends. */
  readonly lines: number;
}

export interface Unchanged {
  /** So many documents at the beginning, and so many at the end, are as they were and where they were. */
  readonly first: number;
  readonly last: number;
  /** What is between them now. */
  readonly from: number;
  readonly to: number;
}

/** Compared at once. */
const BLOCK = 64 * 1024;
/** `---` and what follows it decide whether a line begins a document. */
const MARKER = 4;
const MARK = [0xef, 0xbb, 0xbf];

/** `documents` are all that `before` was cut into, without a gap. */
export function unchanged(before: Buffer | null, documents: readonly Stretch[], now: Buffer): Unchanged {
  // A byte order mark is no part of any document.
  if (before === null || MARK.every((byte, i) => before[i] === byte)) return { first: 0, last: 0, from: 0, to: now.length };
  const begin = sameBeginning(before, now);
  const end = sameEnd(before, now, Math.min(before.length, now.length) - begin);
  let first = 0;
  let from = 0;
  // A document ends where the next one's marker is.
  for (const { size } of documents) {
    if (from + size + MARKER > begin) break;
    from += size;
    first++;
  }
  let last = 0;
  let rest = 0;
  for (let i = documents.length - 1; i > first; i--) {
    const { size } = documents[i] as Stretch;
    // With the end of the line before it; the very first document may begin without a marker.
    if (rest + size + 1 > end) break;
    rest += size;
    last++;
  }
  return { first, last, from, to: now.length - rest };
}

function sameBeginning(a: Buffer, b: Buffer): number {
  const length = Math.min(a.length, b.length);
  let at = 0;
  while (at < length) {
    const end = Math.min(at + BLOCK, length);
    if (a.compare(b, at, end, at, end) !== 0) break;
    at = end;
  }
  while (at < length && a[at] === b[at]) at++;
  return at;
}

function sameEnd(a: Buffer, b: Buffer, most: number): number {
  let n = 0;
  while (n < most) {
    const next = Math.min(n + BLOCK, most);
    if (a.compare(b, b.length - next, b.length - n, a.length - next, a.length - n) !== 0) break;
    n = next;
  }
  while (n < most && a[a.length - 1 - n] === b[b.length - 1 - n]) n++;
  return n;
}
