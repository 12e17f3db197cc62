import { expect, test } from '@jest/globals';
import { Pace, paceShare } from '../../src/lib/pace.ts';

const rig = (share: number) => {
  let [time, spent] = [1000, 0];
  const rests: number[] = [];
  const pace = new Pace({
    now: () => time,
    used: () => spent,
    sleep: (ms) => {
      rests.push(ms);
      time += ms;
    },
  });
  pace.share = share;
  pace.wanted = () => true;
  return {
    pace,
    rests,
    get time() {
      return time;
    },
    get spent() {
      return spent;
    },
    idle: (ms: number): void => void (time += ms),
    turn: (cpu: number): void => {
      spent += cpu;
      time += cpu;
      pace.turnEnded();
    },
  };
};

test('a process that always has work uses its share, in turns that are never far from each other', () => {
  const r = rig(0.2);
  r.turn(4);
  const [time, spent] = [r.time, r.spent];
  for (let i = 0; i < 1000; i++) r.turn(4);
  expect((r.spent - spent) / (r.time - time)).toBeCloseTo(0.2, 2);
  expect(Math.max(...r.rests)).toBeLessThanOrEqual(25);
  // Each turn is made up for at once.
  expect(r.rests.length).toBeGreaterThan(950);
});

test('who has been idle works ahead for a while', () => {
  const r = rig(0.2);
  for (let i = 0; i < 100; i++) r.turn(4);
  r.idle(10_000);
  r.rests.length = 0;
  for (let i = 0; i < 2; i++) r.turn(4);
  expect(r.rests).toEqual([]);
  for (let i = 0; i < 4; i++) r.turn(4);
  expect(r.rests.length).toBeGreaterThan(1);
});

test('a long turn is not made up for without end', () => {
  const r = rig(0.2);
  r.turn(1);
  r.rests.length = 0;
  r.turn(5000);
  for (let i = 0; i < 100; i++) r.turn(0.1);
  expect(Math.max(...r.rests)).toBeLessThanOrEqual(25);
  // What it may be behind, and what the turns after it took.
  expect(r.rests.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(100 + (100 * 0.1) / 0.2);
});

test('nobody rests without a share, or when nobody waits; what was worked meanwhile is not made up for without end either', () => {
  const r = rig(0);
  for (let i = 0; i < 100; i++) r.turn(4);
  r.pace.share = 0.2;
  r.pace.wanted = () => false;
  for (let i = 0; i < 100; i++) r.turn(4);
  expect(r.rests).toEqual([]);
  r.pace.wanted = () => true;
  for (let i = 0; i < 10; i++) r.turn(0);
  const rested = r.rests.reduce((sum, ms) => sum + ms, 0);
  expect(rested).toBeGreaterThan(0);
  expect(rested).toBeLessThanOrEqual(100);
});

test.each([
  [null, 1, 0],
  [4, 1, 0],
  [1, 1, 0],
  [0.5, 2, 0],
  [0.9, 1, 0.87],
  [0.2, 1, 0.17],
  [0.1, 1, 0.075],
])('a quota of %s cores and %s workers: a share of %s', (quota, workers, share) => {
  expect(paceShare(quota, workers)).toBeCloseTo(share, 10);
});
