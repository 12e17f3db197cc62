/** What h2load's log says of every request: when it began, its status, how long it took. */

export interface Answer {
  /** Milliseconds of the wall clock. */
  readonly at: number;
  readonly status: number;
  readonly ms: number;
}

export function parseLog(text: string): Answer[] {
  const answers: Answer[] = [];
  for (const line of text.split('\n')) {
    const [start, status, micros] = line.split('\t');
    if (start === undefined || micros === undefined) continue;
    answers.push({ at: Number(start) / 1000, status: Number(status), ms: Number(micros) / 1000 });
  }
  return answers;
}

/** The value below which this share of them is; 0 of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

export interface Figures {
  readonly seconds: number;
  /** Answers with 2xx per second. */
  readonly goodput: number;
  readonly refused: number;
  readonly failed: number;
  readonly goodP99: number;
  readonly refusedP99: number;
}

/** Of those that were over between the two times. */
export function figuresOf(answers: readonly Answer[], from: number, to: number): Figures {
  const within = answers.filter(({ at, ms }) => at + ms >= from && at + ms < to);
  const good = within.filter(({ status }) => status >= 200 && status < 300);
  const refused = within.filter(({ status }) => status === 503);
  const seconds = (to - from) / 1000;
  return {
    seconds,
    goodput: good.length / seconds,
    refused: refused.length,
    failed: within.length - good.length - refused.length,
    goodP99: quantile(good.map(({ ms }) => ms), 0.99), // prettier-ignore
    refusedP99: quantile(refused.map(({ ms }) => ms), 0.99), // prettier-ignore
  };
}

/** Milliseconds from `end` on until everything that is begun is answered with 200, and soon; Infinity when the last one is not. */
export function recoveryOf(probes: readonly Answer[], end: number, soonMs: number): number {
  const bad = probes.filter(({ at, status, ms }) => at >= end && (status !== 200 || ms > soonMs));
  const last = Math.max(end, ...bad.map(({ at }) => at));
  return probes.some(({ at, status, ms }) => at > last && status === 200 && ms <= soonMs) ? last - end : Infinity;
}
