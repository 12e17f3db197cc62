import { randomInt } from 'node:crypto';
import { isMapped } from './address.ts';
import type { Address } from './engine.ts';

/** So many per second, with a burst; time is given by the caller. */
export class TokenBucket {
  private perMs: number;
  private burst: number;
  private tokens: number;
  private at: number;

  constructor(perSecond: number, burst: number, now: number) {
    this.perMs = perSecond / 1000;
    this.burst = burst;
    this.tokens = burst;
    this.at = now;
  }

  set(perSecond: number, burst: number): void {
    this.perMs = perSecond / 1000;
    this.burst = burst;
    this.tokens = Math.min(this.tokens, burst);
  }

  take(now: number): boolean {
    if (!this.ready(now)) return false;
    this.tokens--;
    return true;
  }

  /** Whether `take` would succeed now. */
  ready(now: number): boolean {
    this.tokens = Math.min(this.burst, this.tokens + (now - this.at) * this.perMs);
    this.at = now;
    return this.tokens >= 1;
  }

  /** Less than half of the burst is left. */
  isLow(now: number): boolean {
    this.ready(now);
    return this.tokens * 2 < this.burst;
  }
}

const BUCKETS = 4096;

/** The place of an IPv4 /24 or IPv6 /48 in a table of fixed size, by a seeded hash: some share one. */
function placeOf(from: Address, seed: number): number {
  const v4 = isMapped(from);
  let h = seed;
  for (let i = v4 ? 12 : 0, end = v4 ? 15 : 6; i < end; i++) h = Math.imul(h ^ (from[i] as number), 0x01000193);
  h ^= h >>> 15;
  return (Math.imul(h, 0x2c1b3c6d) >>> 12) % BUCKETS;
}

/** Of so many handshakes half are forgotten. */
const RECENT = 1024;
/** Beyond these, and a quarter of the recent ones, a prefix has many. */
const MANY = 64;

/**
 * Who had how many of the handshakes that were begun lately, by prefix. Only those count whose address was proven: nobody else can make somebody's
 * prefix one that has many.
 */
export class PrefixCounts {
  private readonly counts = new Uint16Array(BUCKETS);
  private readonly seed = randomInt(0x7fffffff);
  private total = 0;

  add(from: Address, proven: boolean): void {
    if (this.total >= RECENT) {
      for (let i = 0; i < BUCKETS; i++) this.counts[i] = (this.counts[i] as number) >>> 1;
      this.total >>>= 1;
    }
    this.total++;
    const place = placeOf(from, this.seed);
    if (proven) this.counts[place] = (this.counts[place] as number) + 1;
  }

  hasMany(from: Address): boolean {
    return (this.counts[placeOf(from, this.seed)] as number) > Math.max(MANY, this.total / 4);
  }
}

/** A bucket per prefix; who shares a place shares the bucket. */
export class PrefixBuckets {
  private readonly tokens: Float64Array;
  private readonly at: Float64Array;
  private readonly seed = randomInt(0x7fffffff);
  private perMs: number;
  private burst: number;

  constructor(perSecond: number, burst: number, now: number) {
    this.perMs = perSecond / 1000;
    this.burst = burst;
    this.tokens = new Float64Array(BUCKETS).fill(burst);
    this.at = new Float64Array(BUCKETS).fill(now);
  }

  set(perSecond: number, burst: number): void {
    this.perMs = perSecond / 1000;
    this.burst = burst;
  }

  take(from: Address, now: number): boolean {
    const i = placeOf(from, this.seed);
    const tokens = Math.min(this.burst, (this.tokens[i] as number) + (now - (this.at[i] as number)) * this.perMs);
    this.at[i] = now;
    this.tokens[i] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }
}

/** How many connections each address (IPv6: /64) has; entries go with their last connection. */
export class AddressCounts {
  private readonly counts = new Map<string, number>();

  get(key: string): number {
    return this.counts.get(key) ?? 0;
  }

  add(key: string): void {
    this.counts.set(key, this.get(key) + 1);
  }

  remove(key: string): void {
    const n = this.get(key) - 1;
    if (n > 0) this.counts.set(key, n);
    else this.counts.delete(key);
  }

  get size(): number {
    return this.counts.size;
  }
}
