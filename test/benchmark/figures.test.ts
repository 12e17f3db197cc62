/** The arithmetic of the benchmark. */
import { describe, expect, test } from '@jest/globals';
import { figuresOf, largestShare, latencyOf, median, percentile, perConnection, ratio } from '../bench/proxy/figures.ts';

describe('arithmetic', () => {
  test('medians', () => {
    expect([median([3]), median([3, 1]), median([9, 1, 2]), median([4, 1, 3, 2])]).toEqual([3, 2, 2, 2.5]);
    expect(median([])).toBeNaN();
  });

  test('figures of a row', () => {
    const sample = (ticks: number, seconds: number) => ({ requests: 1000, failures: 1, seconds, ticks, mainTicks: 1 });
    expect(figuresOf([sample(2, 1), sample(4, 2), sample(3, 0.5)], 100)).toEqual({
      requestsPerSecond: 1000,
      cpuMicros: 30,
      mainMicros: 10,
      requestsPerCpuSecond: 1e6 / 30,
      rounds: [20, 40, 30],
      failedPerMille: 3000 / 3003,
    });
  });

  test('percentiles by the nearest rank', () => {
    const values = Array.from({ length: 200 }, (_, i) => i + 1);
    expect([50, 99, 100, 0].map((p) => percentile(values, p))).toEqual([100, 198, 200, 1]);
    expect([percentile([7], 99), percentile([], 50)]).toEqual([7, Number.NaN]);
  });

  test('delays of rounds', () => {
    const rounds = [5, 1, 3].map((p50) => ({ p50, p99: p50 * 10 }));
    expect(latencyOf(rounds, 200)).toEqual({ offered: 200, p50: 3, p99: 30, rounds: [50, 10, 30] });
  });

  test('the fullest worker', () => {
    expect([largestShare([100, 156]), largestShare([256]), largestShare([0, 0])]).toEqual([156 / 256, 1, 0]);
  });

  test('memory per connection, and ratios of what is there', () => {
    expect(perConnection(1000, 5000, 40)).toBe(100);
    expect(ratio(10, 25)).toBe(2.5);
    expect([ratio(undefined, 1), ratio(1, undefined), ratio(0, 1), ratio(1, 0), ratio(Number.NaN, 1)]).toEqual([
      null,
      null,
      null,
      null,
      null,
    ]);
  });
});
