/**
 * Events of events.k8s.io/v1: one at a time, the same thing again as a series, at most so many per object, and dropped rather than piled up when the
 * server is slow.
 */
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { TokenBucket } from './bucket.ts';
import type { EventNote, StatusClient } from './client.ts';

export const EVENT_RESULTS = ['written', 'repeated', 'dropped', 'failed'] as const;
export type EventResult = (typeof EVENT_RESULTS)[number];

export interface EventsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly client: Pick<StatusClient, 'createEvent' | 'repeatEvent'>;
  /** Asked immediately before every event. */
  readonly leader: () => boolean;
  readonly onEvent: (result: EventResult) => void;
}

/** As client-go has it: of one object so many at once, then one every five minutes. */
export const EVENT_BURST = 25;
export const EVENT_REFILL_MS = 300_000;
/** A series is written again when its count has doubled, or after this. */
export const SERIES_INTERVAL_MS = 1_800_000;
/** API servers keep an event for an hour after it was last written: no series is continued on one that may be gone. */
const SERIES_LIFE_MS = 3_300_000;
const MAX_WAITING = 256;
const MAX_SERIES = 2048;
const MAX_OBJECTS = 4096;

interface Series {
  readonly namespace: string;
  readonly name: string;
  count: number;
  /** The count that the server knows. */
  told: number;
  toldAt: number;
}

export class Events {
  private readonly o: EventsOptions;
  private readonly waiting: EventNote[] = [];
  private readonly series = new Map<string, Series>();
  private readonly buckets = new Map<string, TokenBucket>();
  private sending = false;
  private stopped = false;

  constructor(o: EventsOptions) {
    this.o = o;
  }

  /** What is held: waiting, series, buckets. */
  get sizes(): readonly [number, number, number] {
    return [this.waiting.length, this.series.size, this.buckets.size];
  }

  add(note: EventNote): void {
    if (this.stopped) return;
    if (this.waiting.length >= MAX_WAITING || !this.takeToken(note.regarding.uid)) return this.o.onEvent('dropped');
    this.waiting.push(note);
    if (!this.sending) void this.run();
  }

  stop(): void {
    this.stopped = true;
    this.waiting.length = 0;
  }

  private async run(): Promise<void> {
    this.sending = true;
    for (let note = this.waiting.shift(); note !== undefined; note = this.waiting.shift()) {
      try {
        this.o.onEvent(this.o.leader() ? await this.send(note) : 'dropped');
      } catch (e) {
        this.o.onEvent('failed');
        this.o.log.warn('event not written', { error: e });
      }
    }
    this.sending = false;
  }

  private send(note: EventNote): Promise<EventResult> {
    // Everything that cannot be changed of an event that exists, its note included.
    const key = JSON.stringify([note.regarding.uid, note.type, note.reason, note.action, note.note]);
    const known = this.series.get(key);
    this.series.delete(key);
    if (known === undefined || this.o.clock.now() - known.toldAt >= SERIES_LIFE_MS) return this.create(key, note);
    known.count++;
    return this.repeat(key, known);
  }

  private async create(key: string, note: EventNote): Promise<EventResult> {
    const answer = await this.o.client.createEvent(note, this.o.clock.wall());
    if (!answer.ok) {
      this.o.log.warn('event not written', { reason: note.reason, why: answer.message });
      return 'failed';
    }
    this.keep(key, { namespace: note.regarding.namespace, name: answer.name, count: 1, told: 1, toldAt: this.o.clock.now() });
    return 'written';
  }

  private async repeat(key: string, series: Series): Promise<EventResult> {
    const now = this.o.clock.now();
    if (series.count < series.told * 2 && now - series.toldAt < SERIES_INTERVAL_MS) {
      this.keep(key, series);
      return 'repeated';
    }
    const answer = await this.o.client.repeatEvent(series.namespace, series.name, series.count, this.o.clock.wall());
    if (!answer.ok) {
      // Deleted, perhaps: the next one begins anew.
      this.o.log.warn('event not repeated', { event: `${series.namespace}/${series.name}`, why: answer.message });
      return 'failed';
    }
    series.told = series.count;
    series.toldAt = now;
    this.keep(key, series);
    return 'repeated';
  }

  /** The oldest go first. */
  private keep(key: string, series: Series): void {
    this.series.set(key, series);
    evict(this.series, MAX_SERIES);
  }

  private takeToken(uid: string): boolean {
    const bucket = this.buckets.get(uid) ?? new TokenBucket(this.o.clock, EVENT_BURST, EVENT_REFILL_MS);
    this.buckets.delete(uid);
    this.buckets.set(uid, bucket);
    evict(this.buckets, MAX_OBJECTS);
    return bucket.take();
  }
}

function evict(map: Map<string, unknown>, most: number): void {
  if (map.size <= most) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
