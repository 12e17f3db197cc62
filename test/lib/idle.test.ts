import { expect, test } from '@jest/globals';
import { ManualClock } from '../../src/lib/clock.ts';
import { collectWhenIdle, processCollector } from '../../src/lib/idle.ts';

const rig = () => {
  const clock = new ManualClock();
  let active = 0;
  let collected = 0;
  const stop = collectWhenIdle({
    clock,
    utilization: (since) => {
      const worked = active - (since?.active ?? 0);
      const passed = clock.now() - (since === undefined ? 0 : since.active + since.idle);
      return { active: worked, idle: passed - worked, utilization: worked / passed };
    },
    collect: () => collected++,
  });
  const period = (work: number): number => {
    active += work;
    clock.advance(5000);
    return collected;
  };
  return { clock, period, stop };
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

test('the process has a collector', () => {
  expect(() => processCollector()()).not.toThrow();
});
