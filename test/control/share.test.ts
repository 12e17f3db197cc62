import { expect, test } from '@jest/globals';
import { array, assert, nat, property } from 'fast-check';
import type { ListenerPart } from '../../src/contract/snapshot/parts.ts';
import { shareOut, Shares } from '../../src/control/share.ts';

test.each([
  [100, [0], [100]],
  [100, [0, 0, 0], [34, 33, 33]],
  [100, [90, 0], [95, 5]],
  [10, [10, 0], [10, 0]],
  [10, [12, 3], [12, 3]],
])('%i connections among users of %j', (total, uses, shares) => expect(shareOut(total, uses)).toEqual(shares));

test('the shares add up to the limit, and nobody gets less than it uses', () => {
  assert(
    property(nat(100_000), array(nat(5000), { minLength: 1, maxLength: 64 }), (total, uses) => {
      const shares = shareOut(total, uses);
      const used = uses.reduce((a, b) => a + b, 0);
      expect(shares.reduce((a, b) => a + b, 0)).toBe(Math.max(total, used));
      shares.forEach((share, i) => expect(share).toBeGreaterThanOrEqual(uses[i] as number));
    }),
  );
});

test('each process is told its share when that changes, a new process and a new state at once', () => {
  const sent: [number, string, number][] = [];
  const uses = new Map([
    ['0:1', 10],
    ['1:2', 0],
  ]);
  let workers = [
    { id: 0, process: '0:1' },
    { id: 1, process: '1:2' },
  ];
  const shares = new Shares({
    total: 100,
    workers: () => workers,
    used: (process) => uses.get(process) ?? 0,
    send: (worker, listener, connections) => sent.push([worker, listener, connections]),
  });
  const part = (name: string, connections: number | null) => ({ namespace: 'default', name, limits: { connections } }) as ListenerPart;
  shares.update([part('a', null), part('b', 20)]);
  expect(sent.splice(0)).toEqual([
    [0, 'default/a', 55],
    [1, 'default/a', 45],
    [0, 'default/b', 15],
    [1, 'default/b', 5],
  ]);
  shares.update([part('a', null)]);
  expect(sent).toEqual([]);
  uses.set('0:1', 20);
  shares.update([part('a', null)]);
  expect(sent.splice(0)).toEqual([
    [0, 'default/a', 60],
    [1, 'default/a', 40],
  ]);
  workers = [workers[0] as { id: number; process: string }, { id: 1, process: '1:9' }];
  shares.update([part('a', null)]);
  expect(sent.splice(0)).toEqual([[1, 'default/a', 40]]);
  shares.forget();
  shares.update([part('a', null)]);
  expect(sent).toHaveLength(2);
  workers = [];
  shares.update([part('a', null)]);
  expect(sent).toHaveLength(2);
});
