import type { Clock } from '../../../lib/clock.ts';
import type { QuicHandler } from '../engine.ts';
import { SendQueue } from '../sendqueue.ts';
import { EMPTY, type Stream } from '../stream.ts';
import { errorName, errorNumber, SHUTDOWN_READ, type Connection } from './binding.ts';
import type { Conn } from './conn.ts';
import { OPEN } from './state.ts';

const WRITE_MARK = 128 * 1024;
const WRITE_LOW = 32 * 1024;
const CONN_MARK = 1024 * 1024;
/** What an incremental stream gives to quiche before its equals have their turn, in however many passes. */
const SHARE = 8 * 1024;
/** Stream bytes that quiche gets before it has to send. */
const OFFER = 32 * 1024;
/** quiche's default urgency, which stands for ours of 3. */
const MIDDLE = 127;

/**
 * What the application has written and quiche has not taken. quiche gets it in the order of RFC 9218, and never more than it
 * can send next: what it holds leaves in its own order, and a congestion window may be large.
 */
export class Outbound {
  private readonly conn: Conn;
  private readonly handler: QuicHandler;
  private readonly queue = new SendQueue();
  private pending = 0;
  /** How many `onWritable` are owed. */
  private owing = 0;
  private left = 0;
  private pass = 0;
  /** In this pass somebody further ahead has got room and wants more: what is refused now is refused for their sake. */
  private outdone = false;
  private readonly clock: Clock;

  constructor(conn: Conn, handler: QuicHandler, clock: Clock) {
    this.conn = conn;
    this.handler = handler;
    this.clock = clock;
  }

  get waiting(): boolean {
    return this.queue.length > 0;
  }

  write(s: Stream, buf: Uint8Array, start: number, end: number, fin: boolean): boolean {
    const n = end - start;
    if (n > 0) {
      const copy = Buffer.allocUnsafe(n);
      copy.set(start === 0 && end === buf.length ? buf : buf.subarray(start, end));
      s.push(copy);
      this.pending += n;
    } else if (!fin) return !s.owed;
    if (fin) s.finWaits = true;
    this.queue.add(s);
    if (fin || (s.pending <= WRITE_MARK && this.pending <= CONN_MARK)) return true;
    if (!s.owed) {
      s.owed = true;
      this.owing++;
    }
    return false;
  }

  forget(s: Stream): void {
    if (s.owed) this.owing--;
    this.queue.remove(s);
    this.pending -= s.discard();
  }

  priority(s: Stream, q: Connection | null): void {
    this.queue.reorder(s);
    if (s.begun && q !== null) tellPriority(q, s);
  }

  /** Gives quiche what it takes, in the queue's order. */
  offer(q: Connection): void {
    const items = this.queue.items;
    this.left = OFFER;
    this.pass++;
    this.outdone = false;
    let i = 0;
    while (i < items.length && this.left > 0) {
      const s = items[i] as Stream;
      const took = this.offerStream(q, s);
      if (this.conn.state !== OPEN) return;
      this.judge(s, took);
      if (s.owed && s.pending <= WRITE_LOW && this.pending <= CONN_MARK / 2) {
        // Before anybody behind it has a chance: what is more urgent shall not wait for its own next bytes.
        this.pay(s);
        if (this.conn.state !== OPEN) return;
        if (s.queued >= 0 && !s.stalled) {
          i = Math.min(i, s.queued);
          continue;
        }
      }
      if (s.queued !== i) continue;
      if (s.incremental && s.share >= SHARE) {
        s.share = 0;
        this.queue.rotate(s);
        if (s.queued !== i || !s.stalled) continue;
      }
      // Not moved: it waits for capacity of its own or of the connection, and the next may have some.
      i++;
    }
    // Their turn has not come.
    for (; i < items.length; i++) (items[i] as Stream).refusedAt = -1;
  }

  /** Tells a peer that does not read from streams that wait behind others: a connection's window, and its path, serve one after the other. */
  private judge(s: Stream, took: boolean): void {
    if (took) s.pass = this.pass;
    if (s.pass === this.pass) {
      s.refusedAt = -1;
      if (s.queued >= 0) this.outdone = true;
    } else if (this.outdone) s.refusedAt = -1;
    else if (s.refusedAt < 0) s.refusedAt = this.clock.now();
  }

  stuck(before: number): readonly number[] {
    const ids: number[] = [];
    for (const s of this.queue.items) if (s.refusedAt >= 0 && s.refusedAt <= before) ids.push(s.id);
    return ids;
  }

  /** True when anything was taken. A stream with nothing left leaves the queue. */
  private offerStream(q: Connection, s: Stream): boolean {
    // It was not incremental, or ran out of bytes, when its share was up.
    if (s.share >= SHARE) s.share = 0;
    const limit = Math.min(s.incremental ? SHARE - s.share : OFFER, this.left);
    let total = 0;
    try {
      if (s.stalled && s.pending > 0 && q.streamCapacity(s.id) === 0) return false;
      s.stalled = false;
      do {
        const chunk = s.pending > 0 ? s.peek(limit - total) : EMPTY;
        const fin = s.finWaits && chunk.length === s.pending;
        const n = q.streamSend(s.id, chunk, fin);
        if (n === null) {
          // Blocked, or dead: asking for capacity throws for the dead.
          q.streamCapacity(s.id);
          s.stalled = true;
          return total > 0;
        }
        if (!s.begun) this.begin(q, s);
        s.took(n);
        this.pending -= n;
        total += n;
        this.left -= n;
        s.share += n;
        if (n < chunk.length) {
          s.stalled = true;
          return total > 0;
        }
        if (fin) {
          this.finished(s);
          return true;
        }
      } while (s.pending > 0 && total < limit);
      if (s.pending === 0 && !s.finWaits) this.queue.remove(s);
      return true;
    } catch (e) {
      this.failed(s, e);
      return false;
    }
  }

  private finished(s: Stream): void {
    this.queue.remove(s);
    if (s.owed) {
      s.owed = false;
      this.owing--;
    }
    s.writeDone = true;
    this.conn.settleStream(s);
  }

  /** quiche knows the stream from now on: what was said about it before. */
  private begin(q: Connection, s: Stream): void {
    s.begun = true;
    if (s.stopWaits >= 0) q.streamShutdown(s.id, SHUTDOWN_READ, s.stopWaits);
    if (s.urgency !== 3 || s.incremental) tellPriority(q, s);
  }

  private failed(s: Stream, e: unknown): void {
    const name = errorName(e);
    // A stream beyond the peer's limit waits for it to be raised.
    if (name === 'StreamLimit' || (!s.begun && name === 'InvalidStreamState')) {
      s.stalled = false;
      return;
    }
    this.stopped(s, name, errorNumber(e));
  }

  /** Whether a peer has lost interest shows only when one asks (quiche raises no event for STOP_SENDING). */
  pollStops(q: Connection): void {
    for (const s of this.conn.streams.values()) {
      if (s.writeDone || !s.begun) continue;
      try {
        q.streamCapacity(s.id);
      } catch (e) {
        this.stopped(s, errorName(e), errorNumber(e));
        if (this.conn.state !== OPEN) return;
      }
    }
  }

  private stopped(s: Stream, name: string, code: number): void {
    if (s.writeDone) return;
    this.forget(s);
    s.writeDone = true;
    this.handler.onStop(this.conn, s.id, name === 'StreamStopped' ? code : 0);
    this.conn.settleStream(s);
  }

  /** `onWritable` for the streams that are below the mark again, the most urgent first. */
  payDebts(): void {
    if (this.owing === 0 || this.pending > CONN_MARK / 2) return;
    const due: Stream[] = [];
    for (const s of this.conn.streams.values()) if (s.owed && s.pending <= WRITE_LOW) due.push(s);
    if (due.length > 1) due.sort((a, b) => a.urgency - b.urgency || a.id - b.id);
    for (const s of due) if (s.owed && this.conn.state === OPEN) this.pay(s);
  }

  private pay(s: Stream): void {
    s.owed = false;
    this.owing--;
    this.handler.onWritable(this.conn, s.id);
  }

  clear(): void {
    this.queue.clear();
    this.pending = 0;
    this.owing = 0;
  }
}

function tellPriority(q: Connection, s: Stream): void {
  try {
    q.streamPriority(s.id, MIDDLE + (s.urgency - 3) * 8, s.incremental);
  } catch {
    // Collected in the meantime.
  }
}
