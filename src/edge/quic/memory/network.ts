import { systemClock, type Clock } from '../../../lib/clock.ts';
import type { MemoryEndpoint } from './endpoint.ts';

export interface NetworkOptions {
  readonly clock?: Clock;
  readonly seed?: number;
  /** One way. 0 delivers on the next turn of the event loop (or of the manual clock). */
  readonly latencyMs?: number;
  /** Up to this much more, at random. */
  readonly jitterMs?: number;
  /** The share of segments that are lost and sent again after `resendMs`; datagrams are lost for good. */
  readonly drop?: number;
  readonly resendMs?: number;
  /** The share that arrives behind its successors. */
  readonly reorder?: number;
  /** Cuts stream bytes into pieces of random lengths up to this; 0 leaves them whole. */
  readonly split?: number;
}

/** What lies between memory engines of one process: the same seed gives the same losses. */
export class MemoryNetwork {
  readonly clock: Clock;
  readonly split: number;
  /** Swallows everything from now on. */
  silent = false;
  readonly endpoints = new Map<string, MemoryEndpoint>();
  private readonly latency: number;
  private readonly jitter: number;
  private readonly drop: number;
  private readonly resend: number;
  private readonly reorder: number;
  private state: number;
  private nextPort = 40_000;

  constructor(o: NetworkOptions = {}) {
    this.clock = o.clock ?? systemClock;
    this.split = o.split ?? 0;
    this.latency = o.latencyMs ?? 0;
    this.jitter = o.jitterMs ?? 0;
    this.drop = o.drop ?? 0;
    this.resend = o.resendMs ?? 20;
    this.reorder = o.reorder ?? 0;
    this.state = (o.seed ?? 1) >>> 0;
  }

  takePort(): number {
    return this.nextPort++;
  }

  /** mulberry32: enough for losses. */
  random(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** On the next turn of whatever moves time here. */
  soon(fn: () => void): void {
    if (this.clock === systemClock) setImmediate(fn);
    else this.clock.after(0, fn);
  }

  /** Carries one thing over; `lossy` things may never arrive. */
  carry(lossy: boolean, arrive: () => void): void {
    if (this.silent) return;
    let ms = this.latency;
    if (this.jitter > 0) ms += this.random() * this.jitter;
    if (this.drop > 0 && this.random() < this.drop) {
      if (lossy) return;
      ms += this.resend;
    }
    if (this.reorder > 0 && this.random() < this.reorder) ms += 1 + this.random() * 3;
    const land = (): void => {
      if (!this.silent) arrive();
    };
    if (ms === 0) this.soon(land);
    else this.clock.after(ms, land);
  }

  /** The pieces that `length` stream bytes travel in. */
  piece(length: number): number {
    const most = Math.min(length, 1200 * 8);
    return this.split > 0 ? Math.max(1, Math.min(most, Math.ceil(this.random() * this.split))) : most;
  }
}
