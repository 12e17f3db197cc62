/** The chaos story of the Kubernetes source, longer and with other seeds (SPOOKY_FUZZ_SEED); half of it with minutes that last. */
import { expect, test } from '@jest/globals';
import { chaos, hurried } from '../control/sources/kubernetes/chaos/story.ts';
import { fakeTarget } from '../control/sources/kubernetes/chaos/target.ts';

const SEED = Number(process.env['SPOOKY_FUZZ_SEED'] ?? 100);
const LONG = 30_000;

test.each([
  [SEED, 20, 120],
  [SEED + 1, 20, 300],
  [SEED + 2, 20, 40],
  [SEED + 3, 1, 1000],
])(
  'seed %d, time %d-fold, a fault each %d ms at most',
  async (seed, times, everyMs) => {
    const target = await fakeTarget();
    try {
      // What is in a black hole is noticed after a minute.
      const report = await chaos(target, {
        seed,
        ms: LONG,
        writesPerSecond: 500,
        everyMs,
        clock: hurried(times),
        healMs: 120_000 / times + 10_000,
      });
      expect(report.lacking).toEqual([]);
      expect(report.source).toEqual(report.server);
      expect(report.healedMs).not.toBeNull();
      expect(report.writes).toBeGreaterThan((LONG / 1000) * 400);
      expect(report.errors).toEqual([]);
    } finally {
      await target.stop();
    }
  },
  240_000,
);
