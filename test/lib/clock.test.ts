import { expect, test } from '@jest/globals';
import { ManualClock, systemClock } from '../../src/lib/clock.ts';

test('due callbacks run in order of time, then of planning, each at its time', () => {
  const clock = new ManualClock(100);
  const seen: string[] = [];
  const note = (name: string) => () => seen.push(`${name}@${clock.now()}`);
  clock.after(20, note('b'));
  clock.after(10, note('a'));
  clock.after(20, note('c'));
  clock.after(30, note('later'));
  clock.advance(20);
  expect(seen).toEqual(['a@110', 'b@120', 'c@120']);
  expect(clock.now()).toBe(120);
  expect(clock.pending()).toBe(1);
  clock.advance(9);
  expect(seen).toHaveLength(3);
  clock.advance(1);
  expect(seen[3]).toBe('later@130');
});

test('a callback may plan another that falls within the same advance', () => {
  const clock = new ManualClock();
  const seen: number[] = [];
  const again = (): void => {
    seen.push(clock.now());
    if (seen.length < 4) clock.after(5, again);
  };
  clock.after(5, again);
  clock.advance(20);
  expect(seen).toEqual([5, 10, 15, 20]);
  expect(clock.now()).toBe(20);
});

test('a cancelled callback never runs, also when another one cancels it at the same moment', () => {
  const clock = new ManualClock();
  const seen: string[] = [];
  let cancelSecond = (): void => undefined;
  clock.after(10, () => {
    seen.push('first');
    cancelSecond();
  });
  cancelSecond = clock.after(10, () => seen.push('second'));
  clock.after(5, () => seen.push('cancelled'))();
  clock.advance(50);
  expect(seen).toEqual(['first']);
  expect(clock.pending()).toBe(0);
});

test('a delay below zero is now, and wall time moves along', () => {
  const clock = new ManualClock(1000);
  const wall = clock.wall();
  let at = -1;
  clock.after(-5, () => (at = clock.now()));
  clock.advance(0);
  expect(at).toBe(1000);
  clock.advance(250);
  expect(clock.wall() - wall).toBe(250);
});

test('the system clock is monotonic, plans and cancels', async () => {
  const before = systemClock.now();
  const seen: string[] = [];
  const cancel = systemClock.after(1, () => seen.push('cancelled'));
  await new Promise<void>((resolve) => {
    systemClock.after(5, () => {
      seen.push('due');
      resolve();
    });
    cancel();
  });
  expect(seen).toEqual(['due']);
  expect(systemClock.now()).toBeGreaterThan(before);
  expect(Math.abs(systemClock.wall() - Date.now())).toBeLessThan(1000);
});
