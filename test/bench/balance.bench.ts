/** The two choices of a request: a group by weight, an endpoint by policy. */
import { makeBalancer, type Weighted } from '../../src/edge/backends/balance/index.ts';
import { Split } from '../../src/edge/backends/split.ts';
import { hashText } from '../../src/lib/hash.ts';

const members = (n: number, weight: (i: number) => number): Weighted<number>[] =>
  Array.from({ length: n }, (_, item) => ({ item, weight: weight(item), identity: `10.0.${item >> 8}.${item & 255} 80` }));

const even = members(50, () => 100);
const uneven = members(50, (i) => 1 + (i % 10));
const picks = {
  'round robin, 50 alike': makeBalancer('RoundRobin', even, () => 0),
  'round robin, 50 by weight': makeBalancer('RoundRobin', uneven, () => 0),
  'random, 50 by weight': makeBalancer('Random', uneven, Math.random),
  'consistent hash, 50 by weight': makeBalancer('ConsistentHash', uneven, Math.random),
};
const split = new Split([90, 9, 1]);
let sink = 0;

export const cases = [
  ...Object.entries(picks).map(([name, balancer]) => ({
    name: `balance: ${name}`,
    run(n: number): void {
      for (let i = 0; i < n; i++) sink ^= balancer.pick(Math.imul(i, 0x9e3779b1) >>> 0);
    },
  })),
  {
    name: 'balance: group by turns, three by weight',
    run(n: number): void {
      for (let i = 0; i < n; i++) sink ^= split.choose(-1);
    },
  },
  {
    name: 'balance: hash of a key',
    run(n: number): void {
      for (let i = 0; i < n; i++) sink ^= hashText('session-0123456789abcdef');
    },
  },
];
