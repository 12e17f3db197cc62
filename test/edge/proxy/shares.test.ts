import { expect, test } from '@jest/globals';
import { Shares, type Sharer } from '../../../src/edge/proxy/shares.ts';

const sharer = (name: string, connections: number, shareChanged = () => {}): Sharer => ({
  name,
  connections: () => connections,
  shareChanged,
});

test('a socket that was never named has no share; one that is bound later finds its own', () => {
  const shares = new Shares((step) => step());
  expect(shares.of('a')).toBe(0);
  expect(shares.take([{ socket: 'a', connections: 5 }])).toEqual([{ socket: 'a', connections: 0 }]);
  expect([shares.of('a'), shares.of('b')]).toEqual([5, 0]);
  shares.take([{ socket: 'a', connections: 0 }]);
  expect(shares.of('a')).toBe(0);
});

test('what is open at a socket is of all that it was and is; only a share that is another one is told', () => {
  const shares = new Shares((step) => step());
  const told: string[] = [];
  const all = [sharer('a', 3, () => told.push('a')), sharer('a', 4, () => told.push('retired a')), sharer('b', 1, () => told.push('b'))];
  for (const s of all) shares.add(s);
  const list = [
    { socket: 'a', connections: 5 },
    { socket: 'b', connections: 0 },
  ];
  expect(shares.take(list)).toEqual([
    { socket: 'a', connections: 7 },
    { socket: 'b', connections: 1 },
  ]);
  shares.take(list);
  expect(told).toEqual(['a', 'retired a']);
  shares.remove(all[1] as Sharer);
  expect(shares.take(list)[0]).toEqual({ socket: 'a', connections: 3 });
});

test('one that fails keeps the others from nothing', () => {
  const failed: unknown[] = [];
  const shares = new Shares((step) => {
    try {
      step();
    } catch (e) {
      failed.push(e);
    }
  });
  let told = 0;
  const dead = sharer('a', 0, () => {
    throw new Error('dead');
  });
  shares.add(dead);
  shares.add(sharer('a', 2, () => told++));
  expect(shares.take([{ socket: 'a', connections: 5 }])).toEqual([{ socket: 'a', connections: 2 }]);
  expect([told, failed]).toEqual([1, [new Error('dead')]]);
});
