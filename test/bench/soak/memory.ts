/** The arithmetic of memory over time. */
import { messageOf } from '../../../src/lib/message.ts';
import { median } from '../proxy/figures.ts';

/** Resident bytes of the processes at a moment. */
export interface Sample {
  readonly seconds: number;
  readonly main: number;
  readonly workers: readonly number[];
}

/** Looks again and again, until it sees nothing: a process that is gone is the end of the run, and not of ours. */
export class Watch {
  readonly samples: Sample[] = [];
  readonly #timer: NodeJS.Timeout;
  #fault: string | null = null;

  constructor(look: () => Sample, everyMs: number) {
    this.#timer = setInterval(() => {
      try {
        this.samples.push(look());
      } catch (e) {
        this.#fault = messageOf(e);
        this.stop();
      }
    }, everyMs);
  }

  /** Throws once it has seen nothing. */
  check(): void {
    if (this.#fault !== null) throw new Error(`a process is gone: ${this.#fault}`);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}

export interface Trend {
  /** Medians of the first and of the last third of what came after the warm-up. */
  readonly first: number;
  readonly last: number;
  /** How much the last is above the first, as a share of it. */
  readonly rise: number;
  /** Bytes per hour, by least squares. */
  readonly slope: number;
}

export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function slopeOf(points: readonly (readonly [number, number])[]): number {
  const [meanX, meanY] = [0, 1].map((i) => sum(points.map((p) => p[i] ?? NaN)) / points.length) as [number, number];
  const spread = sum(points.map(([x]) => (x - meanX) ** 2));
  return spread === 0 ? 0 : sum(points.map(([x, y]) => (x - meanX) * (y - meanY))) / spread;
}

/** Of what `pick` makes of the samples after the first `warmUp` seconds: null when fewer than six are left. */
export function trendOf(samples: readonly Sample[], warmUp: number, pick: (s: Sample) => number): Trend | null {
  const points = samples.filter((s) => s.seconds >= warmUp).map((s) => [s.seconds, pick(s)] as const);
  if (points.length < 6) return null;
  const third = Math.floor(points.length / 3);
  const values = points.map(([, y]) => y);
  const [first, last] = [median(values.slice(0, third)), median(values.slice(-third))];
  return { first, last, rise: last / first - 1, slope: slopeOf(points) * 3600 };
}

export const mib = (bytes: number): string => (bytes / 1024 / 1024).toFixed(1);
export const percent = (share: number): string => `${share >= 0 ? '+' : ''}${(share * 100).toFixed(1)} %`;

/** A row of the table, for one process or for all of them. */
export function trendRow(name: string, t: Trend): string {
  const cells = [mib(t.first), mib(t.last), percent(t.rise), mib(t.slope)].map((text) => text.padStart(10));
  return `${name.padEnd(12)}${cells.join('')}`;
}

export const trendHead = `${'RSS in MiB'.padEnd(12)}${['first', 'last', 'rise', 'per hour'].map((text) => text.padStart(10)).join('')}`;
