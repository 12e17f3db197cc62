import { expect, test } from '@jest/globals';
import { cost, costOf, leastCost, memorySlowness, slowness } from './cost.ts';

const burn = (n: number) => (): number => {
  let sum = 0;
  for (let i = 0; i < n * 1_000_000; i++) sum = (sum * 31 + i) | 0;
  return sum;
};

test('work that grows tenfold costs more, whatever else the machine does', async () => {
  burn(10)();
  const small = leastCost(burn(10));
  expect(small).toBeGreaterThan(0);
  expect(cost(burn(100))).toBeGreaterThan(3 * small);
  expect(await costOf(() => Promise.resolve(burn(100)()))).toBeGreaterThan(3 * small);
});

test('it is not tried again when it is below what is enough', () => {
  let runs = 0;
  leastCost(() => runs++, Infinity);
  expect(runs).toBe(1);
  leastCost(() => runs++, 0, 4);
  expect(runs).toBe(5);
});

test('no machine is faster than the one that the bounds are written for', () => {
  expect(slowness()).toBeGreaterThanOrEqual(1);
});

test('what others take of the caches is told apart from what they take of the core', () => {
  expect(memorySlowness()).toBeGreaterThanOrEqual(1);
  expect(leastCost(burn(1), 0, 3, () => 1_000_000)).toBeLessThan(leastCost(burn(1), 0, 3, () => 1));
});
