/** What a run prints. */
import { describe, expect, test } from '@jest/globals';
import { selfTimes } from '../bench/proxy/profile.ts';
import { ratiosOf, spread, tableOf, type RowResult } from '../bench/proxy/table.ts';

describe('what is printed', () => {
  const figures = (cpuMicros: number, mainMicros: number, failedPerMille = 0) => ({
    figures: {
      requestsPerSecond: 12345.6,
      cpuMicros,
      mainMicros,
      requestsPerCpuSecond: 1e6 / cpuMicros,
      rounds: [cpuMicros, cpuMicros * 1.1],
      failedPerMille,
    },
  });
  const latency = (p99: number) => ({ latency: { offered: 3000, p50: 200, p99, rounds: [p99] } });
  const rows: RowResult[] = [
    { name: 'm1', title: '100 B, 32 x 1', results: { native: figures(12, 0.5), matrixai: figures(30, 0.5), haproxy: figures(18, 0) } },
    { name: 'download', title: '1 MiB', results: { matrixai: { failed: '3 of 9 requests failed' }, nginx: figures(1800, 0) } },
    { name: 'rebind', title: 'storm', results: { native: figures(10, 0), 'native x2': figures(20, 0, 2.5) } },
    {
      name: 'workers',
      title: 'workers',
      results: { 'native x2': { ...figures(20, 0), share: 0.531 }, 'matrixai x2': { ...figures(20, 0), share: null } },
    },
    { name: 'latency', title: 'latency', results: { native: latency(900), caddy: latency(1800) } },
    {
      name: 'idle',
      title: 'idle',
      results: { native: { idleBytes: 25600 }, matrixai: { idleBytes: 51200 }, nginx: { skipped: 'not asked' } },
    },
  ];

  test('ratios: how many times more the first does with the same', () => {
    expect(rows.map((row) => ratiosOf(row))).toEqual([
      { 'native/matrixai': 2.5, 'native/haproxy': 1.5, 'matrixai/haproxy': 0.6 },
      {},
      { 'native x2/native': 0.5 },
      {},
      { 'native/caddy': 2 },
      { 'native/matrixai': 2 },
    ]);
    expect(ratiosOf(rows[0] as RowResult, [['haproxy', 'native']])).toEqual({ 'haproxy/native': 12 / 18 });
  });

  test('how far rounds are apart', () => {
    expect(spread([9, 11, 10], 10)).toBeCloseTo(0.2, 9);
  });

  test('a table: nothing that failed or was not asked is missing', () => {
    expect(tableOf(rows).split('\n')).toEqual([
      'row            proxy         req/s  us CPU/req  of main  req/CPU-s',
      '100 B, 32 x 1  native       12,346        12.0    0.500     83,333  rounds ±5 %',
      '100 B, 32 x 1  matrixai     12,346        30.0    0.500     33,333  rounds ±5 %',
      '100 B, 32 x 1  haproxy      12,346        18.0              55,556  rounds ±5 %',
      '1 MiB          matrixai     FAILED',
      '1 MiB          nginx        12,346       1,800                 556  rounds ±5 %',
      'storm          native       12,346        10.0             100,000  rounds ±5 %',
      'storm          native x2    12,346        20.0              50,000  rounds ±5 %, 0.25 % failed',
      'workers        native x2    12,346        20.0              50,000  rounds ±5 %, 53 % of connections on one worker',
      'workers        matrixai x2  12,346        20.0              50,000  rounds ±5 %, connections of each worker are not told',
      'latency        native        3,000                                  p50 200 us, p99 900 us',
      'latency        caddy         3,000                                  p50 200 us, p99 1,800 us',
      'idle           native                                               25.0 KiB',
      'idle           matrixai                                             50.0 KiB',
      'idle           nginx             -',
      '',
      'times more with the same CPU (memory; shorter, where p99 is compared):',
      '100 B, 32 x 1  native/matrixai 2.50   native/haproxy 1.50   matrixai/haproxy 0.60',
      '1 MiB',
      'storm          native x2/native 0.50',
      'workers',
      'latency        native/caddy 2.00',
      'idle           native/matrixai 2.00',
      '',
      'failed:',
      '1 MiB, matrixai: 3 of 9 requests failed',
      '',
      'skipped:',
      'idle, nginx: not asked',
      '',
    ]);
  });

  test('a profile: functions by their own time, idle time left out', () => {
    const node = (id: number, functionName: string, url = '', lineNumber = -1) => ({ id, callFrame: { functionName, url, lineNumber } });
    const nodes = [
      node(1, '(root)'),
      node(2, '(idle)'),
      node(3, 'write', 'file:///x/dist/edge/http/h2/writer.js', 9),
      node(4, '', 'node:net', 4),
    ];
    const more = [node(5, 'write', 'file:///x/dist/edge/http/h2/writer.js', 9)];
    expect(selfTimes({ nodes: [...nodes, ...more], samples: [3, 2, 4, 5], timeDeltas: [100, 1000, 50, 50] })).toEqual([
      { name: 'write http/h2/writer.js:10', share: 0.75 },
      { name: '(anonymous) node:net:5', share: 0.25 },
    ]);
    expect(selfTimes({ nodes, samples: [2], timeDeltas: [5] })).toEqual([]);
  });
});
