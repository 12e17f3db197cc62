import { expect, test } from '@jest/globals';
import { TurnClock } from '../../../src/edge/proxy/turnclock.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

test('one time for all of a callback, another one for the next', async () => {
  const clock = new ManualClock(5);
  const turn = new TurnClock(clock);
  expect(turn.now()).toBe(5);
  clock.advance(10);
  expect(turn.now()).toBe(5);
  await Promise.resolve();
  expect(turn.now()).toBe(15);
  clock.advance(1);
  await new Promise((done) => setImmediate(done));
  expect(turn.now()).toBe(16);
});

test('timers begin a turn of their own', () => {
  const clock = new ManualClock();
  const turn = new TurnClock(clock);
  const seen: number[] = [turn.now()];
  turn.after(10, () => seen.push(turn.now()));
  turn.after(20, () => seen.push(turn.now()));
  turn.after(15, () => seen.push(-1))();
  clock.advance(30);
  expect(seen).toEqual([0, 10, 20]);
});

test('the time of day is always the present one', () => {
  const clock = new ManualClock();
  const turn = new TurnClock(clock);
  const before = turn.wall();
  clock.advance(7);
  expect(turn.wall()).toBe(before + 7);
});
