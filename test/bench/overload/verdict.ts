/** What is expected of a proxy beyond its capacity. */

export interface Story {
  readonly capacity: number;
  readonly goodput: number;
  /** Milliseconds: what 99 of 100 checks of health took at most, and those that were not answered. */
  readonly healthP99: number;
  readonly healthFailed: number;
  /** 503 that clients have seen, and those that were counted. */
  readonly refused: number;
  readonly counted: number;
  readonly refusedP99: number;
  readonly goodP99: number;
  readonly recoveryMs: number;
  readonly restarts: number;
  readonly kills: number;
}

export const LEAST_GOODPUT = 0.8;
export const HEALTH_MS = 100;
export const RECOVERY_MS = 5000;

/** What fell short; empty when nothing did. */
export function shortfalls(s: Story): string[] {
  const found: string[] = [];
  if (s.restarts > 0 || s.kills > 0) found.push(`${s.restarts} workers died, the kernel killed ${s.kills} times`);
  if (s.capacity === 0) found.push('there was no capacity to measure');
  else if (s.goodput < LEAST_GOODPUT * s.capacity)
    found.push(`goodput is ${((100 * s.goodput) / s.capacity).toFixed(0)} % of the maximum, not ${LEAST_GOODPUT * 100} %`);
  if (s.healthFailed > 0) found.push(`${s.healthFailed} checks of health had no answer`);
  if (s.healthP99 > HEALTH_MS) found.push(`health took ${s.healthP99.toFixed(0)} ms, not ${HEALTH_MS}`);
  if (s.counted < s.refused) found.push(`${s.refused} requests were refused, ${s.counted} are counted`);
  if (s.refused > 0 && s.refusedP99 > Math.max(1000, s.goodP99)) found.push(`a refusal took ${s.refusedP99.toFixed(0)} ms`);
  if (s.recoveryMs > RECOVERY_MS) found.push(`recovery took ${s.recoveryMs.toFixed(0)} ms, not ${RECOVERY_MS}`);
  return found;
}
