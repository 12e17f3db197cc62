import { expect, test } from '@jest/globals';
import { Loop } from '../../src/control/loop.ts';
import { ManualClock } from '../../src/lib/clock.ts';

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

const setUp = (apply?: (state: string) => Promise<void>) => {
  const clock = new ManualClock();
  const applied: [string, number, number][] = [];
  const errors: unknown[] = [];
  const loop = new Loop<string>({
    clock,
    apply: async (state, since) => {
      applied.push([state, since, clock.now()]);
      await apply?.(state);
    },
    onError: (e) => errors.push(e),
  });
  return { clock, applied, errors, loop };
};

test('a single change is applied when it has been quiet for 20 ms', () => {
  const { clock, applied, loop } = setUp();
  loop.changed('a');
  clock.advance(19);
  expect(applied).toEqual([]);
  clock.advance(1);
  expect(applied).toEqual([['a', 0, 20]]);
});

test('a burst becomes one, the last state wins, and its age is that of the first change', () => {
  const { clock, applied, loop } = setUp();
  for (const state of ['a', 'b', 'c']) {
    loop.changed(state);
    clock.advance(15);
  }
  clock.advance(5);
  expect(applied).toEqual([['c', 0, 50]]);
});

test('changes that never end are applied after 250 ms at the latest', async () => {
  const { clock, applied, loop } = setUp();
  for (let i = 0; i < 60; i++) {
    loop.changed(`s${i}`);
    clock.advance(10);
    await settle();
  }
  expect(applied.map(([, since, at]) => at - since)).toEqual([250, 250]);
  expect(applied[0]?.[0]).toBe('s24');
});

test('one apply at a time: what comes meanwhile follows once, newest only', async () => {
  const gates: (() => void)[] = [];
  const { clock, applied, loop } = setUp(() => new Promise((resolve) => gates.push(resolve)));
  loop.changed('a');
  clock.advance(20);
  loop.changed('b');
  clock.advance(100);
  loop.changed('c');
  clock.advance(100);
  expect(applied.map(([s]) => s)).toEqual(['a']);
  gates[0]?.();
  await settle();
  clock.advance(200);
  expect(applied.map(([s]) => s)).toEqual(['a', 'c']);
  gates[1]?.();
  await settle();
  clock.advance(1000);
  expect(applied).toHaveLength(2);
});

test.each([
  ['as long as it took', 200, 200],
  ['half a second at most', 4000, 500],
])('after an apply there is a pause: %s', async (_, took, pause) => {
  const gates: (() => void)[] = [];
  const { clock, applied, loop } = setUp(() => new Promise((resolve) => gates.push(resolve)));
  loop.changed('a');
  clock.advance(20);
  clock.advance(took - 10);
  loop.changed('b');
  clock.advance(10);
  gates[0]?.();
  await settle();
  // Neither what waited nor what comes now is sooner.
  clock.advance(pause - 15);
  loop.changed('c');
  clock.advance(14);
  await settle();
  expect(applied.map(([s]) => s)).toEqual(['a']);
  clock.advance(6);
  expect(applied.map(([s]) => s)).toEqual(['a', 'c']);
});

test('an apply that fails is reported and does not end the loop', async () => {
  const { clock, applied, errors, loop } = setUp((state) => (state === 'bad' ? Promise.reject(new Error('boom')) : Promise.resolve()));
  loop.changed('bad');
  clock.advance(20);
  await settle();
  loop.changed('good');
  clock.advance(20);
  await settle();
  expect(errors).toEqual([new Error('boom')]);
  expect(applied.map(([s]) => s)).toEqual(['bad', 'good']);
});

test('stop drops what waits and resolves after what runs', async () => {
  const gates: (() => void)[] = [];
  const { clock, applied, loop } = setUp(() => new Promise((resolve) => gates.push(resolve)));
  loop.changed('a');
  clock.advance(20);
  loop.changed('b');
  let stopped = false;
  const stopping = loop.stop().then(() => (stopped = true));
  await settle();
  expect(stopped).toBe(false);
  gates[0]?.();
  await stopping;
  loop.changed('c');
  clock.advance(1000);
  expect(applied.map(([s]) => s)).toEqual(['a']);
  expect(clock.pending()).toBe(0);
});
