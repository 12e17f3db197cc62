/** The arithmetic of the benchmark. */

/** One measured run of one proxy. */
export interface Sample {
  /** Those that were answered. */
  readonly requests: number;
  readonly failures: number;
  readonly seconds: number;
  /** Clock ticks of all processes of the proxy, and of those of them that do not serve. */
  readonly ticks: number;
  readonly mainTicks: number;
}

/** What a row comes to for one proxy: medians over its rounds. */
export interface Figures {
  readonly requestsPerSecond: number;
  /** CPU microseconds per request, of all processes. */
  readonly cpuMicros: number;
  /** The part of those that do not serve. */
  readonly mainMicros: number;
  readonly requestsPerCpuSecond: number;
  /** CPU microseconds per request of each round, in their order. */
  readonly rounds: readonly number[];
  /** Of all rounds, in thousandths. */
  readonly failedPerMille: number;
}

/** Of one run in an open loop. */
export interface Delays {
  readonly p50: number;
  readonly p99: number;
}

export interface Latency extends Delays {
  /** Requests per second that were offered. */
  readonly offered: number;
  /** p99 of each round, in their order. */
  readonly rounds: readonly number[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

/** The nearest rank: the smallest value that so many hundredths of all do not exceed. */
export function percentile(sorted: ArrayLike<number>, hundredths: number): number {
  const rank = Math.ceil((sorted.length * hundredths) / 100);
  return sorted[Math.max(0, rank - 1)] ?? NaN;
}

export const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const micros = (ticks: number, requests: number, ticksPerSecond: number): number => (ticks * 1e6) / ticksPerSecond / requests;

export function figuresOf(samples: readonly Sample[], ticksPerSecond: number): Figures {
  const rounds = samples.map((s) => micros(s.ticks, s.requests, ticksPerSecond));
  const cpuMicros = median(rounds);
  const failed = total(samples.map((s) => s.failures));
  return {
    requestsPerSecond: median(samples.map((s) => s.requests / s.seconds)),
    cpuMicros,
    mainMicros: median(samples.map((s) => micros(s.mainTicks, s.requests, ticksPerSecond))),
    requestsPerCpuSecond: 1e6 / cpuMicros,
    rounds,
    failedPerMille: (failed * 1000) / Math.max(1, failed + total(samples.map((s) => s.requests))),
  };
}

export const latencyOf = (rounds: readonly Delays[], offered: number): Latency => ({
  offered,
  p50: median(rounds.map((r) => r.p50)),
  p99: median(rounds.map((r) => r.p99)),
  rounds: rounds.map((r) => r.p99),
});

/** Memory of one idle connection: what the workers grew by, divided. */
export const perConnection = (before: number, after: number, connections: number): number => (after - before) / connections;

/** Of all connections, those of the worker that has most. */
export const largestShare = (connections: readonly number[]): number => Math.max(...connections) / Math.max(1, total(connections));

/** How many times dearer the second is: CPU, memory, time. */
export const ratio = (ours: number | undefined, theirs: number | undefined): number | null =>
  ours === undefined || theirs === undefined || !(ours > 0) || !(theirs > 0) ? null : theirs / ours;
