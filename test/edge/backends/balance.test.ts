import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { makeBalancer, type Weighted } from '../../../src/edge/backends/balance/index.ts';
import { Split } from '../../../src/edge/backends/split.ts';
import { hashText } from '../../../src/lib/hash.ts';

const POLICIES = ['RoundRobin', 'Random', 'ConsistentHash'] as const;

const members = (weights: readonly number[]): Weighted<number>[] =>
  weights.map((weight, item) => ({ item, weight, identity: `10.0.0.${item}:80` }));

/** A small generator with a seed, so that a failure can be seen again. */
function seeded(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (Math.imul(s, 1664525) + 1013904223) >>> 0;
    return hashText(String(s)) / 0x100000000;
  };
}

function count(weights: readonly number[], type: (typeof POLICIES)[number], picks: number): number[] {
  const balancer = makeBalancer(type, members(weights), seeded(7));
  const counts = weights.map(() => 0);
  for (let i = 0; i < picks; i++) {
    const item = balancer.pick(hashText(`key ${i}`));
    counts[item] = (counts[item] as number) + 1;
  }
  return counts;
}

describe.each(POLICIES)('%s', (type) => {
  test('gives each endpoint its share by weight, within three percent of all picks', () => {
    for (const weights of [[1], [1, 1, 1], [100, 100, 300], [1, 2, 3, 4, 10], Array.from({ length: 50 }, () => 5)]) {
      const total = weights.reduce((a, b) => a + b, 0);
      const counts = count(weights, type, 30_000);
      counts.forEach((c, i) => expect(Math.abs(c / 30_000 - (weights[i] as number) / total)).toBeLessThan(0.03));
    }
  });

  test('picks members only, whatever the weights', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1_000_000 }), { minLength: 1, maxLength: 40 }), fc.nat(), (weights, seed) => {
        const balancer = makeBalancer(type, members(weights), seeded(seed));
        for (let i = 0; i < 50; i++) {
          const item = balancer.pick(hashText(String(seed + i)));
          if (!(item >= 0 && item < weights.length)) return false;
        }
        return true;
      }),
      { numRuns: 60 },
    );
  });
});

test('round robin is smooth: a window of one cycle holds each endpoint its weight times, and the heavy one never waits', () => {
  const balancer = makeBalancer('RoundRobin', members([5, 1, 1]), () => 0.25);
  const picks = Array.from({ length: 70 }, () => balancer.pick(0));
  for (let i = 0; i + 7 <= picks.length; i += 7) {
    const window = picks.slice(i, i + 7);
    expect(window.filter((p) => p === 0).length).toBeGreaterThanOrEqual(4);
    expect(window.filter((p) => p === 0).length).toBeLessThanOrEqual(6);
  }
  let run = 0;
  for (const p of picks) {
    run = p === 0 ? 0 : run + 1;
    expect(run).toBeLessThanOrEqual(2);
  }
});

test('round robin gives the light one its share from the first picks on, so that lists which change often do not starve it', () => {
  for (const weights of [
    [100, 1],
    [1, 100],
    [3, 1, 1],
    [50, 1, 1, 20],
  ]) {
    const total = weights.reduce((a, b) => a + b, 0);
    const counts = weights.map(() => 0);
    for (let start = 0; start < 2000; start++) {
      const balancer = makeBalancer('RoundRobin', members(weights), () => start / 2000);
      for (let i = 0; i < 10; i++) {
        const item = balancer.pick(0);
        counts[item] = (counts[item] as number) + 1;
      }
    }
    counts.forEach((c, i) => expect(Math.abs(c / 20_000 / ((weights[i] as number) / total) - 1)).toBeLessThan(0.1));
  }
});

describe('consistent hashing', () => {
  const keys = Array.from({ length: 20_000 }, (_, i) => hashText(`user-${i}`));

  test.each([2, 3, 5, 10, 50, 200])('when one of %i endpoints leaves, at most 1/n + 5 %% of the keys move', (n) => {
    const all = members(Array.from({ length: n }, () => 100));
    const before = makeBalancer('ConsistentHash', all, Math.random);
    const after = makeBalancer(
      'ConsistentHash',
      all.filter((m) => m.item !== 1),
      Math.random,
    );
    const moved = keys.filter((k) => before.pick(k) !== after.pick(k)).length / keys.length;
    expect(moved).toBeLessThanOrEqual(1 / n + 0.05);
    expect(moved).toBeGreaterThan(0);
  });

  test('is the same whatever the order of the members', () => {
    const all = members([1, 5, 2, 9, 4]);
    const a = makeBalancer('ConsistentHash', all, Math.random);
    const b = makeBalancer('ConsistentHash', [...all].reverse(), Math.random);
    for (const k of keys.slice(0, 2000)) expect(a.pick(k)).toBe(b.pick(k));
  });
});

describe('Split', () => {
  test('by turns, exactly in proportion over a cycle, and never a group of weight 0', () => {
    const split = new Split([0, 90, 10, 0]);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 1000; i++) {
      const g = split.choose(-1);
      counts[g] = (counts[g] as number) + 1;
    }
    expect(counts).toEqual([0, 900, 100, 0]);
  });

  test('by turns, the workers’ first choices are in proportion, too: no canary waits until each of them has been asked often', () => {
    for (const weights of [
      [90, 10],
      [1, 1],
      [0, 5, 3, 2],
      [999_983, 17],
    ]) {
      const total = weights.reduce((a, b) => a + b, 0);
      const firsts = weights.map(() => 0);
      for (let worker = 0; worker < 1000; worker++) {
        const first = new Split(weights, worker / 1000).choose(-1);
        firsts[first] = (firsts[first] as number) + 1;
      }
      firsts.forEach((n, i) => expect(Math.abs(n / 1000 - (weights[i] as number) / total)).toBeLessThan(0.002));
    }
  });

  test('by hash, in proportion, and a key keeps its side', () => {
    const split = new Split([90, 0, 10]);
    const counts = [0, 0, 0];
    for (let i = 0; i < 20_000; i++) {
      const h = hashText(`k${i}`);
      const g = split.choose(h);
      expect(split.choose(h)).toBe(g);
      counts[g] = (counts[g] as number) + 1;
    }
    expect(counts[1]).toBe(0);
    expect(Math.abs((counts[2] as number) / 20_000 - 0.1)).toBeLessThan(0.02);
  });

  test('a canary that grows takes keys from the other side and gives none back', () => {
    const five = new Split([95, 5]);
    const twenty = new Split([80, 20]);
    for (let i = 0; i < 5000; i++) {
      const h = hashText(`k${i}`);
      if (five.choose(h) === 1) expect(twenty.choose(h)).toBe(1);
    }
  });

  test('-1 when no group has weight', () => {
    expect(new Split([0, 0]).choose(-1)).toBe(-1);
    expect(new Split([0]).choose(5)).toBe(-1);
  });
});
