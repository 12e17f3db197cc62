/** Better, worse or noise. */
import { median } from '../figures.ts';
import type { Result } from '../table.ts';

export type Verdict = 'better' | 'worse' | 'noise' | 'too few rounds';

export interface Judged {
  readonly verdict: Verdict;
  /** How much cheaper this version is than the other: 0.1 is a tenth less. */
  readonly gain: number;
  /** Half of what lies between the rounds' extremes. */
  readonly spread: number;
}

/** Less than this is nobody's difference. */
export const LEAST = 0.03;
export const LEAST_ROUNDS = 3;

/**
 * What each round cost here and there. Both were measured one after the other in every round, so that a round in which the machine was slow is
 * slow for both: the ratio within a round counts, the median over rounds is the gain, and it is a difference when it is larger than 3 % and
 * than half of the distance between the largest and the smallest ratio.
 */
export function judge(here: readonly number[], there: readonly number[]): Judged {
  const gains = here.flatMap((cost, i) => {
    const other = there[i];
    return other !== undefined && other > 0 ? [1 - cost / other] : [];
  });
  const gain = median(gains);
  const spread = (Math.max(...gains) - Math.min(...gains)) / 2;
  if (gains.length < LEAST_ROUNDS) return { verdict: 'too few rounds', gain, spread };
  if (!(Math.abs(gain) > Math.max(LEAST, spread))) return { verdict: 'noise', gain, spread };
  return { verdict: gain > 0 ? 'better' : 'worse', gain, spread };
}

/** What counts of a result, round by round: CPU, p99, memory. */
export function costsOf(result: Result | undefined): readonly number[] {
  if (result === undefined || 'failed' in result || 'skipped' in result) return [];
  if ('latency' in result) return result.latency.rounds;
  return 'figures' in result ? result.figures.rounds : [result.idleBytes];
}
