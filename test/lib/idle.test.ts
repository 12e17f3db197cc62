import { expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ManualClock } from '../../src/lib/clock.ts';
import { collectWhenIdle } from '../../src/lib/idle.ts';

const rig = () => {
  const clock = new ManualClock();
  let active = 0;
  let collected = 0;
  /** What the collector answers, the first at the end. */
  const again: boolean[] = [];
  const stop = collectWhenIdle({
    clock,
    utilization: (since) => {
      const worked = active - (since?.active ?? 0);
      const passed = clock.now() - (since === undefined ? 0 : since.active + since.idle);
      return { active: worked, idle: passed - worked, utilization: worked / passed };
    },
    collect: () => {
      collected++;
      return again.pop() ?? false;
    },
  });
  const work = (ms: number): void => {
    active += ms;
  };
  const period = (ms: number): number => {
    work(ms);
    clock.advance(5000);
    return collected;
  };
  return { clock, period, work, stop, again };
};

test('collects once after a burst, in the first quiet period, and not again without another', () => {
  const { period } = rig();
  expect(period(2000)).toBe(0);
  expect(period(2000)).toBe(0);
  expect(period(10)).toBe(1);
  expect(period(10)).toBe(1);
  expect(period(10)).toBe(1);
  expect(period(3000)).toBe(1);
  expect(period(0)).toBe(2);
});

test('idle is who works for a twentieth of the time', () => {
  const { period } = rig();
  expect(period(2500)).toBe(0);
  expect(period(246)).toBe(0);
  expect(period(245)).toBe(1);
});

test('who begins to work at the end of a quiet period is not stopped', () => {
  const { clock, period, work } = rig();
  expect(period(2500)).toBe(0);
  clock.advance(4900);
  work(6);
  expect(period(0)).toBe(0);
  expect(period(0)).toBe(1);
});

test('a collector that asks for it is called once more when the process is idle again', () => {
  const { period, again } = rig();
  again.push(true);
  expect(period(2500)).toBe(0);
  expect(period(10)).toBe(1);
  expect(period(1000)).toBe(1);
  expect(period(10)).toBe(2);
  expect(period(10)).toBe(2);
});

test('a process that does little collects little', () => {
  const { period } = rig();
  let n = 0;
  for (let i = 0; i < 30; i++) n = period(90);
  expect(n).toBe(1);
});

test('stops', () => {
  const { clock, stop } = rig();
  stop();
  expect(clock.pending()).toBe(0);
});

/** In a process of its own, whose heap nobody else fills: with so many objects that stay. */
const script = (objects: number): string => `
  import { constants, PerformanceObserver } from 'node:perf_hooks';
  import { processCollector } from ${JSON.stringify(new URL('../../src/lib/idle.ts', import.meta.url).href)};
  const seen = [];
  globalThis.stay = Array.from({ length: ${objects} }, (_, i) => ({ i }));
  globalThis.observer = new PerformanceObserver((list) => seen.push(...list.getEntries()));
  globalThis.observer.observe({ entryTypes: ['gc'] });
  const majors = () => seen.filter(({ detail }) => detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR);
  const until = async (done) => {
    for (const end = performance.now() + 20_000; !done() && performance.now() < end; ) {
      // V8 goes on with what it has begun when something is allocated, as even an idle process does.
      globalThis.churn = Array.from({ length: 1000 }, (_, i) => [i]);
      await new Promise((next) => setTimeout(next, 5));
    }
  };
  const collector = processCollector(true);
  const calls = [];
  const collect = () => {
    const begin = performance.now();
    const answer = collector();
    calls.push([begin, performance.now()]);
    return answer;
  };
  globalThis.answers = [];
  let gone = false;
  const registry = new FinalizationRegistry(() => (gone = true));
  globalThis.held = {};
  registry.register(globalThis.held, '');
  // What has outlived two looks through the young generation is not found by more of them.
  for (let i = 1; i <= 2; i++) {
    globalThis.answers.push(collect());
    await until(() => majors().length >= i);
  }
  const goneBefore = gone;
  delete globalThis.held;
  globalThis.answers.push(collect());
  await until(() => gone && majors().length >= 3);
  const atOnce = majors().filter(({ startTime: at }) => calls.some(([begin, end]) => begin <= at && at < end)).length;
  console.log(JSON.stringify({ goneBefore, gone, majors: majors().length, atOnce, answers: globalThis.answers }));
`;

async function collected(objects: number): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', '--input-type=module', '-e', script(objects)], {
    timeout: 90_000,
  });
  return JSON.parse(stdout);
}

test("the process' collector finds what is old and dead in a large heap, and never does all of it at once", async () => {
  expect(await collected(2_000_000)).toMatchObject({ goneBefore: false, gone: true, atOnce: 0, answers: [true, false, true] });
}, 100_000);

test('it does all at once in a small one', async () => {
  expect(await collected(0)).toEqual({ goneBefore: false, gone: true, majors: 3, atOnce: 3, answers: [false, false, false] });
}, 100_000);

/** Much garbage beside little that stays. */
const spill = (givesBack: boolean): string => `
  import { processCollector } from ${JSON.stringify(new URL('../../src/lib/idle.ts', import.meta.url).href)};
  const collect = processCollector(${givesBack});
  globalThis.spilt = Array.from({ length: 700_000 }, (_, i) => ({ i, list: [i] }));
  const answers = [];
  const rss = [process.memoryUsage().rss];
  delete globalThis.spilt;
  // A large heap is marked in steps, which is not what is asked here.
  globalThis.gc();
  for (let i = 0; i < 2; i++) {
    answers.push(collect());
    rss.push(process.memoryUsage().rss);
  }
  console.log(JSON.stringify({ answers, rss }));
`;

interface Spilt {
  readonly answers: readonly boolean[];
  readonly rss: readonly [full: number, first: number, second: number];
}

async function spilt(givesBack: boolean): Promise<Spilt> {
  const args = ['--no-warnings', '--expose-gc', '--input-type=module', '-e', spill(givesBack)];
  return JSON.parse((await promisify(execFile)(process.execPath, args, { timeout: 90_000 })).stdout) as Spilt;
}

test('empty pages are given back to the system the second time', async () => {
  const { answers, rss } = await spilt(true);
  expect(answers).toEqual([true, false]);
  expect(rss[0] - rss[2]).toBeGreaterThan(32 * 1024 * 1024);
}, 100_000);

test('but not by who collects while there is work', async () => {
  const { answers, rss } = await spilt(false);
  expect(answers).toEqual([false, false]);
  expect(rss[0] - rss[2]).toBeLessThan(32 * 1024 * 1024);
}, 100_000);
