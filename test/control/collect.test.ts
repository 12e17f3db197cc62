import { expect, test } from '@jest/globals';
import type { RowReading } from '../../src/contract/cells.ts';
import type { ToWorker } from '../../src/contract/channel.ts';
import { Collectors, COLLECT_MS } from '../../src/control/collect.ts';
import { ManualClock } from '../../src/lib/clock.ts';

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

const setUp = () => {
  const clock = new ManualClock();
  const sent: [number, ToWorker][] = [];
  const collectors = new Collectors(clock, (worker, message) => sent.push([worker, message]));
  const rows: [number, number][] = [];
  let done = 0;
  const collect = (...workers: number[]): void => {
    void collectors
      .cells(
        () => workers,
        (worker, slice) => rows.push([worker, slice.length]),
      )
      .then(() => done++);
  };
  const answer = (worker: number, id: number, n: number, last: boolean): void => {
    const reading: RowReading = { metric: 'connections_active', labels: ['a/b'], values: [1] };
    collectors.receive(worker, { type: 'cells', id, rows: Array.from({ length: n }, () => reading), last });
  };
  return { clock, sent, collectors, rows, collect, answer, done: () => done };
};

test('asks every worker and is done with the last slice of the last one', async () => {
  const { sent, rows, collect, answer, done } = setUp();
  collect(0, 1);
  expect(sent).toEqual([
    [0, { type: 'cells', id: 1 }],
    [1, { type: 'cells', id: 1 }],
  ]);
  answer(0, 1, 200, false);
  answer(1, 1, 5, true);
  await settle();
  expect(done()).toBe(0);
  answer(0, 1, 10, true);
  await settle();
  expect(done()).toBe(1);
  expect(rows).toEqual([
    [0, 200],
    [1, 5],
    [0, 10],
  ]);
});

test('all that ask while a round is under way share the next one, which asks who is there by then', async () => {
  const { sent, collect, answer, done, clock } = setUp();
  collect(0);
  collect(0, 1);
  collect(0);
  expect(sent).toHaveLength(1);
  answer(0, 1, 1, true);
  await settle();
  expect(done()).toBe(1);
  expect(sent.slice(1)).toEqual([
    [0, { type: 'cells', id: 2 }],
    [1, { type: 'cells', id: 2 }],
  ]);
  answer(1, 2, 1, true);
  answer(0, 2, 1, true);
  await settle();
  expect(done()).toBe(3);
  collect(0);
  expect(sent[3]).toEqual([0, { type: 'cells', id: 3 }]);
  clock.advance(COLLECT_MS);
  await settle();
  expect(done()).toBe(4);
});

test('a worker that does not answer, or dies, holds nobody up', async () => {
  const { clock, collectors, collect, done } = setUp();
  collect(0, 1);
  collectors.gone(0);
  clock.advance(COLLECT_MS - 1);
  await settle();
  expect(done()).toBe(0);
  clock.advance(1);
  await settle();
  expect(done()).toBe(1);
  collect(0);
  collectors.gone(0);
  await settle();
  expect(done()).toBe(2);
  collect();
  await settle();
  expect(done()).toBe(3);
  expect(clock.pending()).toBe(0);
});

test('late and foreign answers are nothing', async () => {
  const { rows, collect, answer, done } = setUp();
  answer(0, 1, 1, true);
  collect(0);
  answer(0, 7, 1, true);
  answer(3, 1, 1, true);
  answer(0, 1, 1, true);
  answer(0, 1, 1, true);
  await settle();
  expect(rows).toEqual([[0, 1]]);
  expect(done()).toBe(1);
});
