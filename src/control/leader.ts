/**
 * Who writes: the holder of a Lease, found as client-go's LeaderElector does, whose record this reads and writes. Remote clocks are never compared:
 * another holder is waited for by our own clock, counted from when we saw its record change. We lead until `renewDeadline` after we *began* the last
 * renewal that succeeded, which is before anybody else may take over, as long as clocks differ by less than leaseDuration : renewDeadline.
 */
import { hash } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { LeaseAnswer, LeaseClient, LeaseRecord } from './status/client.ts';
import { microTime } from './status/times.ts';

export interface LeaderTimes {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
}

export const LEADER_TIMES: LeaderTimes = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2000 };

/** How much longer than the period those wait who do not lead. */
const JITTER = 1.2;
const RELEASE_MS = 2000;

export interface LeaderOptions {
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Log;
  readonly client: LeaseClient;
  /** Pod name and uid. */
  readonly identity: string;
  readonly onChange: (leading: boolean) => void;
  readonly times?: LeaderTimes;
}

/**
 * In the installation's namespace; the chart gives permission for this name and no other. A class that is not a name as it stands (`Team.One`)
 * has its digest in it: `team-one` is another one's.
 */
export function leaseName(className: string): string {
  const plain = className.toLowerCase().replaceAll(/[^a-z0-9-]/g, '-');
  if (plain === className) return `${plain}-leader`;
  return `${plain}-${hash('sha256', className).slice(0, 8)}-leader`;
}

interface Observed {
  readonly record: LeaseRecord;
  readonly version: string;
  /** By our clock. */
  readonly changedAt: number;
}

type Attempt = 'held' | 'other' | 'failed';

export class Leader {
  private readonly o: LeaderOptions;
  private readonly times: LeaderTimes;
  private observed: Observed | null = null;
  /** When the last renewal that succeeded was begun. */
  private renewedAt = -Infinity;
  private leading = false;
  private stopped = false;
  private complained = false;
  private running: Promise<void> | null = null;
  private cancelTry: () => void = () => {};
  private cancelDeadline: () => void = () => {};

  constructor(o: LeaderOptions) {
    this.o = o;
    this.times = o.times ?? LEADER_TIMES;
    const { leaseDurationMs, renewDeadlineMs, retryPeriodMs } = this.times;
    if (leaseDurationMs <= renewDeadlineMs || renewDeadlineMs <= retryPeriodMs * JITTER) {
      throw new Error('the lease must outlast the deadline of its renewal, and that the period between two tries');
    }
  }

  start(): void {
    this.plan(0);
  }

  /** Asked before every write: by time, so that a renewal that hangs does not keep it true. */
  isLeader(): boolean {
    return this.leading && !this.stopped && this.o.clock.now() < this.renewedAt + this.times.renewDeadlineMs;
  }

  /** Who holds the lease as far as is known; '' for nobody. */
  holder(): string {
    return this.observed?.record.holderIdentity ?? '';
  }

  /** Not the leader from this call on; resolves when the lease is free for others, or cannot be freed in time. */
  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    this.cancelTry();
    this.cancelDeadline();
    this.setLeading(false);
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => {
      cancel = this.o.clock.after(RELEASE_MS, resolve);
    });
    await Promise.race([this.release(), late]);
    cancel();
  }

  private plan(ms: number): void {
    this.cancelTry = this.o.clock.after(ms, () => {
      this.running = this.attempt();
    });
  }

  private async attempt(): Promise<void> {
    let outcome: Attempt = 'failed';
    try {
      outcome = await this.acquireOrRenew();
    } catch (e) {
      this.complain(String(e));
    }
    this.running = null;
    if (this.stopped) return;
    // Another one has it: whatever time we had left is not ours any more.
    if (outcome === 'other') this.lose('another process holds the lease');
    const { retryPeriodMs } = this.times;
    this.plan(this.leading ? retryPeriodMs : retryPeriodMs * (1 + this.o.random() * JITTER));
  }

  private async acquireOrRenew(): Promise<Attempt> {
    const began = this.o.clock.now();
    const { observed } = this;
    if (this.leading && observed !== null) {
      const answer = await this.o.client.update(this.renewed(observed.record), observed.version);
      if (answer.ok) return this.won(answer, began);
      // Somebody has written, or our own last write arrived and its answer did not: the record says which.
      if (answer.kind === 'failed') return this.complain(answer.message);
    }
    const seen = await this.o.client.get();
    if (seen.ok) return this.contend(seen);
    return seen.kind === 'missing' ? this.create() : this.complain(seen.message);
  }

  private async contend(seen: LeaseAnswer & { readonly ok: true }): Promise<Attempt> {
    const { record, changedAt } = this.observe(seen);
    const began = this.o.clock.now();
    const isOurs = record.holderIdentity === this.o.identity;
    if (!isOurs && record.holderIdentity !== '' && began < changedAt + record.leaseDurationSeconds * 1000) return 'other';
    if (this.stopped) return 'failed';
    const answer = await this.o.client.update(isOurs ? this.renewed(record) : this.taken(record), seen.resourceVersion);
    if (answer.ok) return this.won(answer, began);
    return answer.kind === 'failed' ? this.complain(answer.message) : 'failed';
  }

  private async create(): Promise<Attempt> {
    if (this.stopped) return 'failed';
    const began = this.o.clock.now();
    const answer = await this.o.client.create(this.taken(null));
    if (answer.ok) return this.won(answer, began);
    return answer.kind === 'failed' ? this.complain(answer.message) : 'failed';
  }

  /** A record counts from when we saw it first: what did not change keeps its age. */
  private observe({ record, resourceVersion }: LeaseAnswer & { readonly ok: true }): Observed {
    const known = this.observed;
    const changedAt = known !== null && sameRecord(known.record, record) ? known.changedAt : this.o.clock.now();
    this.observed = { record, version: resourceVersion, changedAt };
    return this.observed;
  }

  private won(answer: LeaseAnswer & { readonly ok: true }, began: number): Attempt {
    this.observe(answer);
    this.complained = false;
    if (this.stopped) return 'held';
    this.renewedAt = began;
    const left = began + this.times.renewDeadlineMs - this.o.clock.now();
    this.cancelDeadline();
    // An answer that came too late renews the record, not our time.
    if (left <= 0) this.lose('the lease could not be renewed in time');
    else {
      this.cancelDeadline = this.o.clock.after(left, () => this.lose('the lease could not be renewed in time'));
      this.setLeading(true);
    }
    return 'held';
  }

  private lose(why: string): void {
    this.cancelDeadline();
    if (this.leading) this.o.log.warn('not the leader any more', { why });
    this.setLeading(false);
  }

  private setLeading(leading: boolean): void {
    if (this.leading === leading) return;
    this.leading = leading;
    if (leading) this.o.log.info('leader', { identity: this.o.identity });
    try {
      this.o.onChange(leading);
    } catch (e) {
      this.o.log.error('internal error', { where: 'leader', error: e });
    }
  }

  /** Once until it works again. */
  private complain(why: string): Attempt {
    if (!this.complained && !this.stopped) this.o.log.warn('the lease cannot be read or written', { why });
    this.complained = true;
    return 'failed';
  }

  private async release(): Promise<void> {
    await this.running;
    const { observed } = this;
    if (observed === null || observed.record.holderIdentity !== this.o.identity) return;
    const now = microTime(this.o.clock.wall());
    const { leaseTransitions } = observed.record;
    const record: LeaseRecord = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now, leaseTransitions };
    try {
      const answer = await this.o.client.update(record, observed.version);
      if (!answer.ok) this.o.log.warn('the lease was not released', { why: answer.message });
    } catch (e) {
      this.o.log.warn('the lease was not released', { why: String(e) });
    }
  }

  // Records.

  private renewed(record: LeaseRecord): LeaseRecord {
    return { ...record, leaseDurationSeconds: this.seconds(), renewTime: microTime(this.o.clock.wall()) };
  }

  private taken(from: LeaseRecord | null): LeaseRecord {
    const now = microTime(this.o.clock.wall());
    return {
      holderIdentity: this.o.identity,
      leaseDurationSeconds: this.seconds(),
      acquireTime: now,
      renewTime: now,
      leaseTransitions: from === null ? 0 : from.leaseTransitions + 1,
    };
  }

  private seconds(): number {
    return Math.ceil(this.times.leaseDurationMs / 1000);
  }
}

const sameRecord = (a: LeaseRecord, b: LeaseRecord): boolean =>
  a.holderIdentity === b.holderIdentity &&
  a.leaseDurationSeconds === b.leaseDurationSeconds &&
  a.acquireTime === b.acquireTime &&
  a.renewTime === b.renewTime &&
  a.leaseTransitions === b.leaseTransitions;
