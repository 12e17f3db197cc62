import { expect, test } from '@jest/globals';
import type { EventNote, ObjectRef } from '../../../src/control/status/client.ts';
import { Events } from '../../../src/control/status/events.ts';
import { FakeCluster, logOf } from './cluster.ts';

const MINUTE = 60_000;

const about = (name: string): ObjectRef => ({ kind: 'Upstream', namespace: 'web', name, uid: `uid-${name}` });
const noteOf = (name = 'api', note = 'why', reason = 'InvalidBackend'): EventNote => ({
  regarding: about(name),
  type: 'Warning',
  reason,
  action: 'Resolve',
  note,
});

function setUp() {
  const cluster = new FakeCluster();
  const results: string[] = [];
  const state = { leading: true };
  const { log, lines } = logOf();
  const events = new Events({ clock: cluster.clock, log, client: cluster, leader: () => state.leading, onEvent: (r) => results.push(r) });
  return { cluster, results, state, events, lines };
}

const counts = (results: readonly string[]): Record<string, number> => {
  const by: Record<string, number> = {};
  for (const r of results) by[r] = (by[r] ?? 0) + 1;
  return by;
};

test('an event is written with what it is about', async () => {
  const { cluster, events, results } = setUp();
  events.add(noteOf());
  await cluster.advance(10);
  expect(cluster.events).toEqual([{ ...noteOf(), name: 'e0', at: 1_700_000_000_000, count: 1 }]);
  expect(results).toEqual(['written']);
});

test('the same again is a series, told when its number has doubled', async () => {
  const { cluster, events, results } = setUp();
  const told: number[] = [];
  for (let i = 0; i < 17; i++) {
    events.add(noteOf());
    await cluster.advance(10);
    told.push(cluster.events[0]?.count ?? 0);
  }
  expect(cluster.events).toHaveLength(1);
  expect(told).toEqual([1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 16, 16]);
  expect(counts(results)).toEqual({ written: 1, repeated: 16 });
});

test('or after half an hour', async () => {
  const { cluster, events } = setUp();
  for (let i = 0; i < 5; i++) {
    events.add(noteOf());
    await cluster.advance(10);
  }
  await cluster.advance(30 * MINUTE, MINUTE);
  events.add(noteOf());
  await cluster.advance(10);
  expect(cluster.events.map((e) => e.count)).toEqual([6]);
});

test('a series whose event the server may have forgotten begins anew', async () => {
  const { cluster, events } = setUp();
  events.add(noteOf());
  await cluster.advance(10);
  await cluster.advance(55 * MINUTE, MINUTE);
  events.add(noteOf());
  await cluster.advance(10);
  expect(cluster.events.map((e) => e.count)).toEqual([1, 1]);
});

test('another cause, reason or object is another event', async () => {
  const { cluster, events } = setUp();
  for (const note of [noteOf(), noteOf('api', 'else'), noteOf('api', 'why', 'RefNotPermitted'), noteOf('b')]) events.add(note);
  await cluster.advance(10);
  expect(cluster.events.map((e) => e.count)).toEqual([1, 1, 1, 1]);
});

test('25 of one object at once, then one in five minutes; other objects have their own', async () => {
  const { cluster, events, results } = setUp();
  const flood = async (n: number): Promise<void> => {
    for (let i = 0; i < n; i++) {
      events.add(noteOf('api', `why ${results.length} ${i}`));
      await cluster.advance(1, 1);
    }
  };
  await flood(40);
  expect(counts(results)).toEqual({ written: 25, dropped: 15 });
  events.add(noteOf('other'));
  await cluster.advance(1);
  expect(cluster.events).toHaveLength(26);
  await cluster.advance(5 * MINUTE, MINUTE);
  await flood(5);
  expect(cluster.events).toHaveLength(27);
  await cluster.advance(10 * MINUTE, MINUTE);
  await flood(5);
  expect(cluster.events).toHaveLength(29);
});

test('a slow server is not piled up on: the rest is dropped and counted', async () => {
  const { cluster, events, results } = setUp();
  let release = (): void => {};
  cluster.createEvent = () => new Promise((resolve) => (release = () => resolve({ ok: true, name: 'x', message: '' })));
  for (let i = 0; i < 400; i++) events.add(noteOf(`o${i}`));
  expect(events.sizes[0]).toBe(256);
  expect(counts(results)).toEqual({ dropped: 400 - 257 });
  for (let i = 0; i < 300; i++) {
    release();
    await cluster.advance(1);
  }
  expect(counts(results)).toEqual({ dropped: 400 - 257, written: 257 });
});

test('who does not lead sends none', async () => {
  const { cluster, events, results, state } = setUp();
  state.leading = false;
  events.add(noteOf());
  await cluster.advance(10);
  expect(cluster.events).toEqual([]);
  expect(results).toEqual(['dropped']);
});

test('what fails is counted, and not tried again', async () => {
  const { cluster, events, results } = setUp();
  cluster.eventFails = true;
  events.add(noteOf());
  await cluster.advance(MINUTE, 1000);
  cluster.eventFails = false;
  events.add(noteOf());
  await cluster.advance(10);
  // Somebody has deleted it: the next repetition fails, the one after begins anew.
  cluster.events.length = 0;
  events.add(noteOf());
  await cluster.advance(10);
  events.add(noteOf());
  await cluster.advance(10);
  expect(results).toEqual(['failed', 'written', 'failed', 'written']);
  expect(cluster.events).toHaveLength(1);
});

test('an exception of the client is a failure', async () => {
  const { cluster, events, results, lines } = setUp();
  cluster.createEvent = () => {
    throw new Error('a defect');
  };
  events.add(noteOf());
  await cluster.advance(10);
  cluster.createEvent = () => Promise.reject(new Error('another'));
  events.add(noteOf('b'));
  await cluster.advance(10);
  expect(results).toEqual(['failed', 'failed']);
  expect(lines).toHaveLength(2);
});

test('what is remembered is bounded', async () => {
  const { cluster, events } = setUp();
  for (let i = 0; i < 6000; i++) {
    events.add(noteOf(`o${i}`));
    if (i % 100 === 0) for (let turn = 0; turn < 60; turn++) await cluster.advance(1);
  }
  await cluster.advance(100, 1);
  expect(events.sizes[0]).toBe(0);
  expect(events.sizes[1]).toBe(2048);
  expect(events.sizes[2]).toBe(4096);
});

test('stop forgets what waits', async () => {
  const { cluster, events } = setUp();
  events.add(noteOf());
  events.add(noteOf('b'));
  events.stop();
  events.add(noteOf('c'));
  await cluster.advance(10);
  expect(cluster.events).toHaveLength(1);
});
