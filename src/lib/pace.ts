/**
 * Spreads the work of a process that has less than a core to itself. The kernel lets it run until its share of a period (100 ms in Kubernetes) is used
 * up, and then not at all until the next one begins: what backends answer meanwhile lies there, and keeps their streams from the requests that wait for
 * them. Who rests after each turn for as long as what the turn took is worth does as much, and is never away for long.
 */

export interface PaceOptions {
  /** Milliseconds. */
  readonly now: () => number;
  /** Milliseconds of CPU time that the process has used. */
  readonly used: () => number;
  readonly sleep: (ms: number) => void;
}

/** What may be worked ahead and must be made up for, as time of the share. */
const [AHEAD_MS, BEHIND_MS] = [50, 100];
/** Rests of less cost more than they bring; during longer ones too much comes. */
const [LEAST_MS, MOST_MS] = [1, 25];
/** Of the quota, in cores: for the main process. */
const RESERVE = 0.03;
const LEAST_PART = 0.75;

export class Pace {
  /** Cores that there are for this process; 0: as many as it can use. */
  share = 0;
  /** Whether anybody waits for what the process would be too late for. */
  wanted: () => boolean = () => false;
  private readonly options: PaceOptions;
  private at = 0;
  private used = 0;
  /** CPU time that is left, in milliseconds. */
  private credit = 0;

  constructor(options: PaceOptions) {
    this.options = options;
  }

  /** Whether a turn that ends now may be worth a rest. */
  get spreads(): boolean {
    return this.share !== 0 && this.wanted();
  }

  turnEnded(): void {
    if (!this.spreads) return;
    const { now, used, sleep } = this.options;
    const [at, spent] = [now(), used()];
    const credit = this.credit + (at - this.at) * this.share - (spent - this.used);
    this.credit = Math.min(Math.max(credit, -BEHIND_MS * this.share), AHEAD_MS * this.share);
    this.at = at;
    this.used = spent;
    const owed = -this.credit / this.share;
    if (owed >= LEAST_MS) sleep(Math.min(owed, MOST_MS));
  }
}

/** The share of the only worker of a group with this quota of cores (null: none); 0: there is nothing to spread, or others to share it with. */
export const paceShare = (quota: number | null, workers: number): number =>
  quota === null || quota >= 1 || workers !== 1 ? 0 : Math.max(quota - RESERVE, quota * LEAST_PART);

const cell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** That of this process. */
export const processPace = new Pace({
  now: () => performance.now(),
  used: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  },
  sleep: (ms) => void Atomics.wait(cell, 0, 0, ms),
});
