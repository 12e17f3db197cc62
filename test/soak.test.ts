/** What `make soak` makes of what it saw, and of what it was asked. */
import { describe, expect, test } from '@jest/globals';
import { askTimes, DIALS_PER_SECOND, split } from './bench/soak/clients.ts';
import { trendOf, trendRow, Watch, type Sample } from './bench/soak/memory.ts';
import { readOptions, type Options } from './bench/soak/options.ts';
import { judgeSoak } from './bench/soak/steps.ts';

const MIB = 1024 * 1024;
const samples = (n: number, worker: (i: number) => number): Sample[] =>
  Array.from({ length: n }, (_, i) => ({ seconds: i * 10, main: 50 * MIB, workers: [worker(i) * MIB, 100 * MIB] }));

const options = (env: Record<string, string>): Options => {
  const o = readOptions(env);
  if (typeof o === 'string') throw new Error(o);
  return o;
};

describe('options', () => {
  test('by themselves', () => {
    expect(options({})).toEqual({ steps: ['soak', 'burst', 'idle'], engine: 'native', workers: 2, minutes: 20, connections: null });
  });

  test('each of them', () => {
    const env = { STEPS: 'idle, burst', ENGINE: 'matrixai', WORKERS: '4', MINUTES: '1.5', CONNECTIONS: '100' };
    expect(options(env)).toEqual({ steps: ['burst', 'idle'], engine: 'matrixai', workers: 4, minutes: 1.5, connections: 100 });
  });

  test.each([
    [{ STEPS: 'sook' }, 'STEPS=sook: steps are soak, burst, idle'],
    [{ ENGINE: 'nginx' }, 'ENGINE=nginx: native or matrixai is wanted'],
    [{ MINUTES: '0' }, 'MINUTES=0: a number from 1 to 2880 is wanted'],
    [{ WORKERS: '1.5' }, 'WORKERS=1.5: a whole number from 1 to 64 is wanted'],
    [{ CONNECTIONS: 'many' }, 'CONNECTIONS=many: a whole number from 1 to 1000000 is wanted'],
  ])('%p is refused', (env, why) => {
    expect(readOptions(env)).toBe(why);
  });
});

describe('the trend of memory', () => {
  test('the warm-up does not count', () => {
    const trend = trendOf(
      samples(40, (i) => (i < 10 ? i * 10 : 200)),
      100,
      (s) => s.workers[0] ?? NaN,
    );
    expect(trend).toEqual({ first: 200 * MIB, last: 200 * MIB, rise: 0, slope: 0 });
  });

  test('a leak shows in the rise and in the slope', () => {
    const trend = trendOf(
      samples(30, (i) => 200 + i),
      0,
      (s) => s.workers[0] ?? NaN,
    );
    expect(trend?.first).toBe(204.5 * MIB);
    expect(trend?.last).toBe(224.5 * MIB);
    // One MiB every ten seconds.
    expect((trend?.slope ?? NaN) / MIB).toBeCloseTo(360, 6);
    expect(trendRow('worker 0', trend as NonNullable<typeof trend>)).toBe('worker 0         204.5     224.5    +9.8 %     360.0');
  });

  test('few samples say nothing', () => {
    expect(
      trendOf(
        samples(10, () => 1),
        50,
        (s) => s.main,
      ),
    ).toBeNull();
  });
});

test('a process that is gone while it is watched fails the step, and is looked for no more', async () => {
  const [sample] = samples(1, () => 200) as [Sample];
  let looks = 0;
  const watch = await new Promise<Watch>((resolve) => {
    const made = new Watch(() => {
      if (++looks === 1) return sample;
      setImmediate(resolve, made);
      throw new Error('no such process');
    }, 1);
    expect(() => made.check()).not.toThrow();
  });
  expect(() => watch.check()).toThrow('a process is gone: no such process');
  expect(watch.samples).toEqual([sample]);
  watch.stop();
});

describe('the verdict', () => {
  const judge = (env: Record<string, string>, worker: (i: number) => number, whole = true): boolean =>
    judgeSoak(options(env), samples(40, worker), 100, [], whole).passed;

  test('flat memory passes, and noise does', () => {
    expect(judge({}, () => 200)).toBe(true);
    expect(judge({}, (i) => 200 + (i % 7) * 5)).toBe(true);
  });

  test('what grows by more than 3 % fails on native, and is only reported on matrixai', () => {
    expect(judge({}, (i) => 200 + i)).toBe(false);
    expect(judge({ ENGINE: 'matrixai' }, (i) => 200 + i)).toBe(true);
  });

  test('a worker that was replaced is no memory that came back', () => {
    expect(judge({}, () => 200, false)).toBe(false);
  });

  test('too short a run is no success', () => {
    expect(
      judgeSoak(
        options({}),
        samples(12, () => 200),
        100,
        [],
        true,
      ).passed,
    ).toBe(false);
  });
});

describe('clients', () => {
  test('no process has more connections than descriptors', () => {
    expect(split(20_000)).toEqual([5_000, 5_000, 5_000, 5_000]);
    expect(split(5_001)).toEqual([2_500, 2_501]);
    expect(split(1)).toEqual([1]);
  });

  test('connections ask often enough to be kept, and once more when all have been silent', () => {
    expect(askTimes(DIALS_PER_SECOND * 30, 15)).toEqual([0, 20, 40, 45]);
    expect(askTimes(DIALS_PER_SECOND, 5)).toEqual([0, 6]);
  });
});
