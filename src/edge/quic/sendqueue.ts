import type { Stream } from './stream.ts';

/**
 * Streams with something to send, in the order of RFC 9218 s10: by urgency; then those that are not incremental by id,
 * each to its end; then the incremental ones in turn. Short lists are the rule, so a sorted array does.
 */
export class SendQueue {
  readonly items: Stream[] = [];
  private turns = 0;

  get length(): number {
    return this.items.length;
  }

  add(s: Stream): void {
    if (s.queued >= 0) return;
    let i = this.items.length;
    while (i > 0 && before(s, this.items[i - 1] as Stream)) i--;
    this.items.splice(i, 0, s);
    this.number(i);
  }

  remove(s: Stream): void {
    const i = s.queued;
    if (i < 0) return;
    s.queued = -1;
    this.items.splice(i, 1);
    this.number(i);
  }

  /** Its priority has changed. */
  reorder(s: Stream): void {
    if (s.queued < 0) return;
    this.remove(s);
    this.add(s);
  }

  /** An incremental stream had its share: behind its equals. */
  rotate(s: Stream): void {
    s.turn = ++this.turns;
    this.reorder(s);
  }

  clear(): void {
    for (const s of this.items) s.queued = -1;
    this.items.length = 0;
  }

  private number(from: number): void {
    for (let i = from; i < this.items.length; i++) (this.items[i] as Stream).queued = i;
  }
}

function before(a: Stream, b: Stream): boolean {
  if (a.urgency !== b.urgency) return a.urgency < b.urgency;
  if (a.incremental !== b.incremental) return b.incremental;
  return a.incremental ? a.turn < b.turn : a.id < b.id;
}
