/**
 * Brings statuses to the API server: per object the latest wish wins, one write at a time, at most one a second, none when what is seen is what is
 * wanted, all within a rate.
 *
 *     changed -> ready -> compare with what is seen -> write -> written ----> cool for a second -> (gone)
 *                  ^             |                         |-> conflict, failed: wait, then compare again
 *                  '-- waiting <-' numbers of endpoints: every 10 s
 *
 * An entry exists while there is something to do or to wait for, so memory is bounded by the objects.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { TokenBucket } from './bucket.ts';
import type { ObjectRef, SeenObject, StatusClient, WriteAnswer, WriteOutcome } from './client.ts';
import type { Plan } from './documents.ts';

/** What one object is to have. Another object of this type is another wish. */
export interface Wish {
  readonly ref: ObjectRef;
  /** What to apply to an object as it is seen; null: nothing. */
  plan(seen: SeenObject, wall: number): Plan | null;
}

export interface WriterLimits {
  readonly perSecond: number;
  readonly burst: number;
  readonly concurrency: number;
}

/** API servers throttle by client: a thousand new objects take their time, one is told at once. */
export const WRITER_LIMITS: WriterLimits = { perSecond: 10, burst: 100, concurrency: 4 };

export interface WriterOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly client: StatusClient;
  /** Asked immediately before every write. */
  readonly leader: () => boolean;
  /** The latest wish for a key. */
  readonly wish: (key: string) => Wish | undefined;
  readonly onWrite: (kind: ObjectRef['kind'], outcome: WriteOutcome) => void;
  /** The server has it. `before` is the status that it replaced. */
  readonly onWritten: (wish: Wish, before: unknown, after: unknown) => void;
  /** Nothing is left to do for this wish, or there is no such object. */
  readonly onDone: (key: string, wish: Wish) => void;
  readonly limits?: WriterLimits;
}

/** `changed`: another wish; `counts`: its numbers; `check`: compare again. */
export type Cause = 'changed' | 'counts' | 'check';

export const OBJECT_INTERVAL_MS = 1000;
export const COUNTS_INTERVAL_MS = 10_000;
/** So long the watch may take to show what we wrote before we doubt it. */
const WATCH_LAG_MS = 10_000;
const MAX_CONFLICT_MS = 60_000;
const MAX_FAILURE_MS = 300_000;
const MAX_PAUSE_MS = 30_000;
const MAX_RETRY_AFTER_MS = 60_000;
/** Somebody else undoes what we write: twice the wait each time, up to this. */
const MAX_FIGHT_MS = 600_000;
/** Failures in a row that are about the server and no longer about one object. */
const PATIENCE = 3;
/** Comparisons in one turn of the event loop. */
const SLICE = 100;
/** Timers are no finer than this. */
const TICK_MS = 20;
const STOP_MS = 1000;
const LOG_MS = 1000;

class Entry {
  readonly key: string;
  /** There is something to compare. */
  work = false;
  flying = false;
  /** Only numbers are left to write. */
  countsWait = false;
  /** When it is looked at again; only while it waits. */
  due = 0;
  /** Not before this is it written. */
  notBefore = -Infinity;
  endedAt = -Infinity;
  countsAt = -Infinity;
  failures = 0;
  conflicts = 0;
  /** What was written on top of which version: holds until the watch shows another one. */
  sent: { readonly version: string; readonly status: unknown } | null = null;
  /** The version that somebody else had overtaken. */
  overtaken: string | null = null;

  constructor(key: string) {
    this.key = key;
  }
}

export class StatusWriter {
  private readonly o: WriterOptions;
  private readonly limits: WriterLimits;
  private readonly entries = new Map<string, Entry>();
  private readonly ready = new Set<Entry>();
  private readonly waiting = new Set<Entry>();
  /** Nothing that waits is due before this. */
  private dueAt = Infinity;
  /** How often a wish that had come true was undone. */
  private readonly writes = new WeakMap<Wish, { times: number; at: number }>();
  private readonly tokens: TokenBucket;
  private flying = 0;
  private failuresInRow = 0;
  private pausedUntil = -Infinity;
  private cancel: (() => void) | null = null;
  private timerAt = Infinity;
  private stopped = false;
  private whenLanded: (() => void) | null = null;
  private loggedAt = -Infinity;
  private unlogged = 0;

  constructor(o: WriterOptions) {
    this.o = o;
    this.limits = o.limits ?? WRITER_LIMITS;
    this.tokens = new TokenBucket(o.clock, this.limits.burst, 1000 / this.limits.perSecond);
  }

  /** Entries held. */
  get size(): number {
    return this.entries.size;
  }

  enqueue(key: string, cause: Cause): void {
    if (this.stopped) return;
    let entry = this.entries.get(key);
    if (entry === undefined) {
      entry = new Entry(key);
      this.entries.set(key, entry);
    }
    // Of the numbers it is known already that they wait.
    if (cause === 'counts' && entry.work && entry.countsWait) return;
    if (cause === 'changed') {
      // What the server did not like was another document.
      entry.failures = 0;
      if (!entry.flying) entry.notBefore = entry.endedAt + OBJECT_INTERVAL_MS;
    }
    entry.work = true;
    entry.countsWait = false;
    if (!entry.flying) this.park(entry, entry.notBefore);
    this.plan();
  }

  /** Not the leader any more: nothing is written, and what was to be is forgotten. What is under way ends by itself. */
  clear(): void {
    for (const entry of this.entries.values()) {
      entry.work = false;
      if (!entry.flying) this.cool(entry);
    }
  }

  /** No more writes; resolves when those under way have ended, at the latest after a second. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.cancel?.();
    this.cancel = null;
    this.clear();
    if (this.flying === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.o.clock.after(STOP_MS, resolve);
      this.whenLanded = () => {
        cancel();
        resolve();
      };
    });
  }

  // Time.

  private park(entry: Entry, until: number): void {
    this.ready.delete(entry);
    this.waiting.delete(entry);
    if (until <= this.o.clock.now()) {
      this.ready.add(entry);
      return;
    }
    this.wait(entry, until);
  }

  /** Nothing to do for now; what was written, and when, is known for as long as it matters. */
  private cool(entry: Entry): void {
    this.ready.delete(entry);
    this.waiting.delete(entry);
    entry.countsWait = false;
    const until = Math.max(entry.notBefore, entry.countsAt + COUNTS_INTERVAL_MS, entry.endedAt + WATCH_LAG_MS);
    if (until <= this.o.clock.now()) {
      this.entries.delete(entry.key);
      return;
    }
    this.wait(entry, until);
  }

  private wait(entry: Entry, until: number): void {
    entry.due = until;
    this.waiting.add(entry);
    if (until < this.dueAt) this.dueAt = until;
  }

  private plan(): void {
    if (this.stopped) return;
    const at = Math.max(this.next(), this.o.clock.now());
    if (at === Infinity || (this.cancel !== null && this.timerAt <= at)) return;
    this.cancel?.();
    this.timerAt = at;
    this.cancel = this.o.clock.after(at - this.o.clock.now(), () => this.tick());
  }

  private next(): number {
    const mayWrite = this.ready.size > 0 && this.flying < this.limits.concurrency;
    const at = mayWrite ? Math.max(this.pausedUntil, this.tokens.readyAt()) : Infinity;
    return Math.min(at, Math.max(this.dueAt, this.o.clock.now() + TICK_MS));
  }

  private tick(): void {
    this.cancel = null;
    this.timerAt = Infinity;
    try {
      this.turn();
    } catch (e) {
      this.o.log.error('internal error', { where: 'status', error: e });
    }
    this.plan();
  }

  private turn(): void {
    const now = this.o.clock.now();
    if (now >= this.dueAt) this.wake(now);
    if (!this.o.leader()) return this.clear();
    let left = SLICE;
    for (const entry of this.ready) {
      if (left-- === 0 || this.flying >= this.limits.concurrency || now < this.pausedUntil || this.tokens.readyAt() > this.o.clock.now())
        return;
      this.ready.delete(entry);
      try {
        this.look(entry);
      } catch (e) {
        // An object that cannot be compared is left alone until it changes; its neighbours are not.
        this.o.log.error('internal error', { where: 'status', error: e });
        if (!entry.flying) this.cool(entry);
      }
    }
  }

  private wake(now: number): void {
    this.dueAt = Infinity;
    for (const entry of this.waiting) {
      if (entry.due > now) this.dueAt = Math.min(this.dueAt, entry.due);
      else if (entry.work) this.park(entry, now);
      else this.cool(entry);
    }
  }

  // One object.

  private look(entry: Entry): void {
    entry.work = false;
    entry.countsWait = false;
    const wish = this.o.wish(entry.key);
    if (wish === undefined) return this.cool(entry);
    const seen = this.o.client.seen(wish.ref);
    if (seen === null || (wish.ref.uid !== '' && seen.uid !== wish.ref.uid)) {
      this.o.onDone(entry.key, wish);
      return this.cool(entry);
    }
    const { sent } = entry;
    const behind = sent !== null && sent.version === seen.resourceVersion;
    const plan = wish.plan(behind ? { ...seen, status: sent.status } : seen, this.o.clock.wall());
    if (plan === null) {
      this.o.onDone(entry.key, wish);
      return this.cool(entry);
    }
    const until = this.reasonToWait(entry, wish, plan, behind || seen.resourceVersion === entry.overtaken);
    if (until > this.o.clock.now()) {
      entry.work = true;
      entry.countsWait = plan.countsOnly;
      return this.park(entry, until);
    }
    this.write(entry, wish, seen, plan);
  }

  private reasonToWait(entry: Entry, wish: Wish, plan: Plan, behind: boolean): number {
    const now = this.o.clock.now();
    // The watch is about to show another version, which this one would only be refused for.
    if (behind && now < entry.endedAt + WATCH_LAG_MS) return Math.min(now + OBJECT_INTERVAL_MS, entry.endedAt + WATCH_LAG_MS);
    if (plan.countsOnly) return Math.max(entry.notBefore, entry.countsAt + COUNTS_INTERVAL_MS);
    const before = this.writes.get(wish);
    const undone = before === undefined ? -Infinity : before.at + Math.min(COUNTS_INTERVAL_MS * 2 ** (before.times - 1), MAX_FIGHT_MS);
    return Math.max(entry.notBefore, undone);
  }

  private write(entry: Entry, wish: Wish, seen: SeenObject, plan: Plan): void {
    const { client, leader } = this.o;
    if (!leader()) return this.clear();
    this.tokens.take();
    entry.flying = true;
    this.flying++;
    const land = (answer: WriteAnswer): void => {
      try {
        this.landed(entry, wish, seen, plan, answer);
      } catch (e) {
        this.o.log.error('internal error', { where: 'status', error: e });
      }
      this.plan();
    };
    const failed = (e: unknown): void => land({ outcome: 'failed', message: String(e), retryAfterMs: null });
    try {
      client.applyStatus(wish.ref, seen.resourceVersion, plan.document).then(land, failed);
    } catch (e) {
      failed(e);
    }
  }

  private landed(entry: Entry, wish: Wish, seen: SeenObject, plan: Plan, answer: WriteAnswer): void {
    const now = this.o.clock.now();
    this.flying--;
    if (this.flying === 0) this.whenLanded?.();
    entry.flying = false;
    entry.endedAt = now;
    entry.notBefore = now + OBJECT_INTERVAL_MS;
    if (answer.outcome === 'failed') this.failed(entry, wish, answer);
    else this.failuresInRow = 0;
    if (answer.outcome === 'conflict') this.conflicted(entry, seen);
    if (answer.outcome === 'written') this.accepted(entry, wish, seen, plan);
    if (this.stopped || !entry.work) this.cool(entry);
    else this.park(entry, entry.notBefore);
    this.o.onWrite(wish.ref.kind, answer.outcome);
    if (answer.outcome === 'written') this.o.onWritten(wish, seen.status, plan.document);
    if (answer.outcome === 'written' || answer.outcome === 'gone') this.o.onDone(entry.key, wish);
  }

  private accepted(entry: Entry, wish: Wish, seen: SeenObject, plan: Plan): void {
    const now = this.o.clock.now();
    entry.failures = 0;
    entry.conflicts = 0;
    entry.overtaken = null;
    entry.sent = { version: seen.resourceVersion, status: plan.document };
    entry.countsAt = now;
    if (plan.countsOnly) return;
    this.writes.set(wish, { times: (this.writes.get(wish)?.times ?? 0) + 1, at: now });
  }

  private conflicted(entry: Entry, seen: SeenObject): void {
    entry.conflicts++;
    entry.sent = null;
    entry.overtaken = seen.resourceVersion;
    entry.work = true;
    entry.notBefore = this.o.clock.now() + Math.min(OBJECT_INTERVAL_MS * 2 ** (entry.conflicts - 1), MAX_CONFLICT_MS);
  }

  private failed(entry: Entry, wish: Wish, { message, retryAfterMs }: WriteAnswer): void {
    const now = this.o.clock.now();
    const full = OBJECT_INTERVAL_MS * 2 ** Math.min(entry.failures, 20);
    entry.failures++;
    entry.work = true;
    entry.notBefore = now + Math.max(OBJECT_INTERVAL_MS, Math.min(full, MAX_FAILURE_MS) * (0.5 + this.o.random() / 2));
    this.failuresInRow++;
    const asked = Math.min(retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
    const beyond = this.failuresInRow - PATIENCE;
    const pause = beyond < 0 ? 0 : Math.min(OBJECT_INTERVAL_MS * 2 ** Math.min(beyond, 20), MAX_PAUSE_MS);
    this.pausedUntil = Math.max(this.pausedUntil, now + Math.max(asked, pause));
    if (entry.failures === 1) this.complain(wish, message);
  }

  /** A server that refuses everything is worth a line a second. */
  private complain({ ref }: Wish, why: string): void {
    const now = this.o.clock.now();
    if (now < this.loggedAt + LOG_MS) {
      this.unlogged++;
      return;
    }
    this.o.log.warn('status not written', { object: `${ref.kind} ${ref.namespace}/${ref.name}`, why, others: this.unlogged });
    this.loggedAt = now;
    this.unlogged = 0;
  }
}
