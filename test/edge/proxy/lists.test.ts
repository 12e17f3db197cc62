/** Lists of endpoints that come by the thousand are taken up in slices; one that comes alone, at once. */
import { expect, test } from '@jest/globals';
import { Cells } from '../../../src/contract/cells.ts';
import { groupId, type EndpointList } from '../../../src/contract/snapshot/index.ts';
import { Backends, type Connect } from '../../../src/edge/backends/index.ts';
import { Lists } from '../../../src/edge/proxy/lists.ts';
import { TimerWheel } from '../../../src/lib/wheel.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { slowness } from '../../kit/cost.ts';
import { groupPart } from '../../kit/snapshot.ts';

const listOf = (n: number, sequence: number): EndpointList => ({
  group: groupId('shop', `u${n}`, 'g'),
  sequence,
  list: Array.from({ length: 5 }, (_, i) => {
    const address = `10.${n >> 8}.${n & 255}.${i + (sequence % 100)}`;
    return { address, port: 8000, host: address, label: `${address}:8000`, weight: 1, healthy: true, draining: false };
  }),
});

/** Each list takes a tenth of a millisecond; turns come when the test says so. */
const setUp = () => {
  let now = 0;
  const taken: EndpointList[] = [];
  const turns: (() => void)[] = [];
  const lists = new Lists({
    take: (list) => {
      now += 0.1;
      taken.push(list);
    },
    now: () => now,
    later: (next) => void turns.push(next),
  });
  const turn = (): void => {
    for (const next of turns.splice(0)) next();
  };
  return { lists, taken, turns, turn, clock: () => now };
};

const some = (from: number, to: number, sequence = 1): EndpointList[] =>
  Array.from({ length: to - from }, (_, i) => listOf(from + i, sequence));

test('few at once, many in turns of some milliseconds, however they are cut into messages', () => {
  const { lists, taken, turns, turn, clock } = setUp();
  lists.take([listOf(0, 1)]);
  expect(taken).toHaveLength(1);
  turn();
  for (let at = 0; at < 1000; at += 70) lists.take(some(at, Math.min(at + 70, 1000), 2));
  let rounds = 0;
  for (let began = 0.1; taken.length < 1001 && rounds < 100; rounds++) {
    expect(clock() - began).toBeLessThan(5);
    began = clock();
    turn();
  }
  expect(rounds).toBeGreaterThan(20);
  expect(taken.slice(1)).toEqual(some(0, 1000, 2));
  turn();
  expect(turns).toHaveLength(0);
});

test('of two for one group the newer one is taken up, once', () => {
  const { lists, taken, turn } = setUp();
  lists.take(some(0, 100));
  lists.take([listOf(90, 3), listOf(91, 0)]);
  lists.take([listOf(90, 2)]);
  for (let i = 0; i < 10; i++) turn();
  expect(taken).toHaveLength(100);
  expect(taken[90]).toEqual(listOf(90, 3));
  expect(taken[91]).toEqual(listOf(91, 1));
});

test('what is forgotten is not taken up any more', async () => {
  const { lists, taken, turn } = setUp();
  lists.take(some(0, 100));
  const settled = lists.settled();
  lists.forget(some(50, 100).map(({ group }) => group));
  for (let i = 0; i < 10; i++) turn();
  await settled;
  expect(taken).toEqual(some(0, 50));
});

test('a version that is loaded finds all that came before it, and waits for nothing that comes later', async () => {
  const { lists, taken, turn } = setUp();
  await lists.settled();
  lists.take(some(0, 100));
  const state = { done: false };
  const settled = lists.settled().then(() => void (state.done = true));
  for (let i = 0; i < 20 && !state.done; i++) {
    lists.take(some(1000 + i * 100, 1100 + i * 100));
    turn();
    await Promise.resolve();
    await Promise.resolve();
    if (!state.done) expect(taken.length).toBeLessThan(200);
  }
  await settled;
  expect(taken.slice(0, 100)).toEqual(some(0, 100));
});

test('new endpoints of 10,000 groups at once hold nobody up for 20 ms', async () => {
  const connect = (() => Promise.reject(new Error('nobody connects'))) as unknown as Connect;
  const wheel = new TimerWheel(systemClock, () => undefined);
  const backends = new Backends({ wheel, cells: new Cells(), random: Math.random, connectFor: () => connect });
  const lists = new Lists({ take: (list) => backends.setEndpoints(list) });
  const COUNT = 10_000;
  for (let n = 0; n < COUNT; n++) {
    const part = groupPart({ id: groupId('shop', `u${n}`, 'g'), upstream: { namespace: 'shop', name: `u${n}` }, name: 'g' });
    backends.group(part, { type: 'RoundRobin' });
  }
  const cpu = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  let least = Infinity;
  // Of several, because a collection of garbage may fall into one.
  for (let burst = 1; burst <= 5 && least > 20; burst++) {
    const all = some(0, COUNT, burst);
    const slow = slowness();
    let longest = 0;
    let turns = 0;
    let before = cpu();
    const state = { over: false };
    for (let at = 0; at < COUNT; at += 70) lists.take(all.slice(at, at + 70));
    void lists.settled().then(() => (state.over = true));
    while (!state.over && turns < 100_000) {
      longest = Math.max(longest, cpu() - before);
      before = cpu();
      await new Promise((resolve) => setImmediate(resolve));
      turns++;
    }
    expect(turns).toBeGreaterThan(2);
    least = Math.min(least, longest / slow);
  }
  expect(least).toBeLessThan(20);
  backends.close();
}, 60_000);
