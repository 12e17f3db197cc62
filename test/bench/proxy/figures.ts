/** The arithmetic of the benchmark. */

/** One measured run of one engine. */
export interface Sample {
  readonly requests: number;
  readonly seconds: number;
  /** Clock ticks of the worker, and of the main process where there is one. */
  readonly workerTicks: number;
  readonly mainTicks: number;
}

/** What a row comes to for one engine: medians over its rounds. */
export interface Figures {
  readonly requestsPerSecond: number;
  /** CPU microseconds per request. */
  readonly cpuMicros: number;
  readonly mainMicros: number;
  readonly requestsPerCpuSecond: number;
  /** CPU microseconds per request of each round, in their order. */
  readonly rounds: readonly number[];
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

const micros = (ticks: number, requests: number, ticksPerSecond: number): number => (ticks * 1e6) / ticksPerSecond / requests;

export function figuresOf(samples: readonly Sample[], ticksPerSecond: number): Figures {
  const rounds = samples.map((s) => micros(s.workerTicks, s.requests, ticksPerSecond));
  const cpuMicros = median(rounds);
  return {
    requestsPerSecond: median(samples.map((s) => s.requests / s.seconds)),
    cpuMicros,
    mainMicros: median(samples.map((s) => micros(s.mainTicks, s.requests, ticksPerSecond))),
    requestsPerCpuSecond: 1e6 / cpuMicros,
    rounds,
  };
}

/** Memory of one idle connection: what the worker grew by, divided. */
export const perConnection = (before: number, after: number, connections: number): number => (after - before) / connections;

/** How many times dearer the second is: CPU, or memory. */
export const ratio = (ours: number | undefined, theirs: number | undefined): number | null =>
  ours === undefined || theirs === undefined || !(ours > 0) || !(theirs > 0) ? null : theirs / ours;
