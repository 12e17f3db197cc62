/** What `make overload` makes of what it sees; the run itself needs root and minutes. */
import { describe, expect, test } from '@jest/globals';
import { figuresOf, parseLog, quantile, recoveryOf } from './bench/overload/answers.ts';
import { entryOf, layoutOf } from './bench/overload/cage.ts';
import { shortfalls, type Story } from './bench/overload/verdict.ts';

const GOOD: Story = {
  capacity: 1000,
  goodput: 900,
  healthP99: 90,
  healthFailed: 0,
  refused: 10,
  counted: 12,
  refusedP99: 200,
  goodP99: 800,
  recoveryMs: 100,
  restarts: 0,
  kills: 0,
};

describe('the verdict', () => {
  test('nothing fell short', () => {
    expect(shortfalls(GOOD)).toEqual([]);
  });

  test.each([
    [{ goodput: 799 }, 'goodput is 80 % of the maximum, not 80 %'],
    [{ capacity: 0, goodput: 0 }, 'there was no capacity to measure'],
    [{ healthP99: 101 }, 'health took 101 ms, not 100'],
    [{ healthFailed: 1 }, '1 checks of health had no answer'],
    [{ counted: 9 }, '10 requests were refused, 9 are counted'],
    [{ refusedP99: 1500 }, 'a refusal took 1500 ms'],
    [{ recoveryMs: Infinity }, 'recovery took Infinity ms, not 5000'],
    [{ restarts: 1 }, '1 workers died, the kernel killed 0 times'],
    [{ kills: 2 }, '0 workers died, the kernel killed 2 times'],
  ])('%j falls short', (change, why) => {
    expect(shortfalls({ ...GOOD, ...change })).toEqual([why]);
  });
});

test('the log of h2load: microseconds of the begin, status, microseconds; lines that are cut are none', () => {
  expect(parseLog('1000000\t200\t2500\n2000000\t503\t100\n30000')).toEqual([
    { at: 1000, status: 200, ms: 2.5 },
    { at: 2000, status: 503, ms: 0.1 },
  ]);
});

test('figures are of what was over in between', () => {
  const answers = parseLog('0\t200\t900000\n0\t200\t1500000\n1500000\t503\t1000\n1000000\t200\t5000000\n1200000\t-1\t100\n');
  expect(figuresOf(answers, 1000, 3000)).toEqual({ seconds: 2, goodput: 0.5, refused: 1, failed: 1, goodP99: 1500, refusedP99: 1 });
});

test('quantiles', () => {
  expect([quantile([], 0.5), quantile([3, 1, 2], 0.5), quantile([1, 2, 3, 4], 1)]).toEqual([0, 2, 4]);
});

test('recovery is at the last answer that was none, or late, if a good one follows', () => {
  const probe = (at: number, status = 200, ms = 5) => ({ at, status, ms });
  expect(recoveryOf([probe(100), probe(200)], 100, 50)).toBe(0);
  expect(recoveryOf([probe(100, 503), probe(150, 200, 60), probe(200)], 100, 50)).toBe(50);
  expect(recoveryOf([probe(100), probe(150, 503)], 100, 50)).toBe(Infinity);
  expect(recoveryOf([], 100, 50)).toBe(Infinity);
});

test('cgroups of both versions have the same limits', () => {
  const of = (unified: boolean) => layoutOf('x', { cores: 0.2, bytes: 1024, weight: 8 }, unified).limits;
  expect(of(false)).toEqual([
    ['/sys/fs/cgroup/cpu/x/cpu.shares', '8192'],
    ['/sys/fs/cgroup/cpu/x/cpu.cfs_period_us', '100000'],
    ['/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us', '20000'],
    ['/sys/fs/cgroup/memory/x/memory.limit_in_bytes', '1024'],
  ]);
  expect(of(true)).toEqual([
    ['/sys/fs/cgroup/x/cpu.weight', '800'],
    ['/sys/fs/cgroup/x/cpu.max', '20000 100000'],
    ['/sys/fs/cgroup/x/memory.max', '1024'],
  ]);
  expect(layoutOf('x', { weight: 1 }, false).limits).toEqual([['/sys/fs/cgroup/cpu/x/cpu.shares', '1024']]);
  expect(layoutOf('x', { weight: 1 }, true).limits).toEqual([['/sys/fs/cgroup/x/cpu.weight', '100']]);
  expect([entryOf('nr_periods 12\nnr_throttled 3\n', 'nr_throttled'), entryOf('', 'oom_kill')]).toEqual([3, 0]);
});
