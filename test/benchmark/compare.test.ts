/** When a difference between two versions is one. */
import { describe, expect, test } from '@jest/globals';
import { commitOf } from '../bench/proxy/compare/checkout.ts';
import { compared, comparedTable } from '../bench/proxy/compare/lines.ts';
import { costsOf, judge } from '../bench/proxy/compare/verdict.ts';
import type { RowResult } from '../bench/proxy/table.ts';

const ten = [10, 10, 10, 10, 10];

describe('the verdict', () => {
  test.each<[string, number[], number[], string]>([
    ['the same', ten, ten, 'noise'],
    ['a tenth cheaper in every round', [9, 9, 9], [10, 10, 10], 'better'],
    ['a tenth dearer in every round', [11, 11, 11], [10, 10, 10], 'worse'],
    ['cheaper by less than 3 %', [9.8, 9.8, 9.8], [10, 10, 10], 'noise'],
    ['dearer by less than 3 %', [10.2, 10.2, 10.2], [10, 10, 10], 'noise'],
    ['cheaper by less than rounds differ', [9, 9.9, 12], [10, 10, 10], 'noise'],
    ['rounds in which the machine was slow, for both', [9, 18, 36, 9, 9], [10, 20, 40, 10, 10], 'better'],
    ['two rounds', [5, 5], [10, 10], 'too few rounds'],
    ['nothing', [], [], 'too few rounds'],
    ['a round that the other has not', [9, 9, 9], [10, 10], 'too few rounds'],
  ])('%s', (_, here, there, verdict) => {
    expect(judge(here, there).verdict).toBe(verdict);
  });

  test('how much, and how sure', () => {
    const { gain, spread } = judge([9, 8, 9.5], [10, 10, 10]);
    expect([gain, spread].map((x) => Math.round(x * 1000))).toEqual([100, 75]);
  });
});

describe('what is said of rows', () => {
  const figures = (...rounds: number[]) => ({
    figures: { requestsPerSecond: 1, cpuMicros: 1, mainMicros: 0, requestsPerCpuSecond: 1, rounds, failedPerMille: 0 },
  });
  const rows: RowResult[] = [
    { name: 'm1', title: 'small', results: { here: figures(9, 9, 9), 'v1 old': figures(10, 10, 10) } },
    {
      name: 'rebind',
      title: 'storm',
      results: { here: figures(9, 9, 9), 'v1 old': { failed: 'x' }, 'here x2': figures(4, 4, 4), 'v1 old x2': figures(3, 3, 3) },
    },
    { name: 'idle', title: 'idle', results: { here: { idleBytes: 900 }, 'v1 old': { idleBytes: 1000 } } },
    {
      name: 'latency',
      title: 'delay',
      results: {
        here: { latency: { offered: 1, p50: 1, p99: 5, rounds: [5, 5, 5] } },
        'v1 old': { latency: { offered: 1, p50: 1, p99: 5, rounds: [5, 5, 5] } },
      },
    },
  ];

  test('each is compared with its own, whatever failed', () => {
    expect(compared(rows, 'here', 'v1 old').map(({ title, label, verdict }) => [title, label, verdict])).toEqual([
      ['small', 'here', 'better'],
      ['storm', 'here', 'too few rounds'],
      ['storm', 'here x2', 'worse'],
      ['idle', 'here', 'too few rounds'],
      ['delay', 'here', 'noise'],
    ]);
    expect([costsOf({ skipped: 'x' }), costsOf(undefined)]).toEqual([[], []]);
  });

  test('of an even number of rounds the median is between the two in the middle', () => {
    const even: RowResult = { name: 'm1', title: 'small', results: { here: figures(8, 1, 4, 2), there: figures(9, 5, 7, 30) } };
    expect(compared([even], 'here', 'there')).toMatchObject([{ here: 3, there: 8 }]);
  });

  test('a table', () => {
    expect(comparedTable(rows, 'here', 'v1 old').split('\n')).toEqual([
      'row        here  v1 old             gain  rounds',
      'small     9.000   10.00  us CPU  +10.0 %  ±0.0 %  better',
      'storm     9.000       -  us CPU        -       -  too few rounds',
      'storm x2  4.000   3.000  us CPU  -33.3 %  ±0.0 %  worse',
      'idle      900.0    1000  bytes   +10.0 %  ±0.0 %  too few rounds',
      'delay     5.000   5.000  us p99   +0.0 %  ±0.0 %  noise',
    ]);
  });
});

test('a version that there is not', () => {
  expect(commitOf('no-such-version')).toBeNull();
  expect(commitOf('--help')).toBeNull();
});
