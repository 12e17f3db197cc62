/** The benchmark's arithmetic, and how it reads what h2load and the kernel print. */
import { describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { figuresOf, median, perConnection, ratio } from './bench/proxy/figures.ts';
import { answerBytes, faultOf, idleArguments, idleScript, idleSeconds, loadArguments, parseH2load } from './bench/proxy/h2load.ts';
import { nginxVersion } from './bench/proxy/nginx.ts';
import { readOptions, type Options } from './bench/proxy/options.ts';
import { selfTimes } from './bench/proxy/profile.ts';
import { ROWS, scaled, words, type IdleRow, type LoadRow } from './bench/proxy/rows.ts';
import { childrenOf, cpuTicks, parseRss, parseStat, rssBytes } from './bench/proxy/stat.ts';
import { ratiosOf, tableOf, type RowResult } from './bench/proxy/table.ts';

const H2LOAD = `starting benchmark...
progress: 100% done

finished in 1m2.5s, 13496.00 req/s, 1.52MB/s
requests: 12000 total, 12000 started, 12000 done, 11990 succeeded, 10 failed, 2 errored, 1 timeout
status codes: 11990 2xx, 1 3xx, 7 4xx, 2 5xx
traffic: 4.61KB (4720) total, 2.58KB (2640) headers (space savings 34.00%), 1.60KB (1199000) data
UDP datagram: 150 sent, 108 received
`;

describe('h2load', () => {
  test('its summary is read', () => {
    expect(parseH2load(H2LOAD)).toEqual({
      seconds: 62.5,
      done: 12000,
      succeeded: 11990,
      failed: 13,
      statuses: [11990, 1, 7, 2],
      data: 1199000,
    });
  });

  test.each([
    ['4.02s', 4.02],
    ['980.50ms', 0.9805],
    ['77us', 77e-6],
    ['1m', 60],
  ])('%s', (text, seconds) => {
    expect(parseH2load(H2LOAD.replace('1m2.5s', text)).seconds).toBeCloseTo(seconds, 9);
  });

  test('a summary that is not there is an error that shows what there was', () => {
    expect(() => parseH2load('starting benchmark...\nno such host')).toThrow(/did not print "requests: "[^]*no such host/);
  });

  const good = { seconds: 1, done: 10, succeeded: 10, failed: 0, statuses: [10, 0, 0, 0] as const, data: 1000 };
  test('a run counts when every request was answered with 2xx, whole', () => {
    expect(faultOf(good, 10, 100)).toBeNull();
    expect(faultOf({ ...good, failed: 1 }, 10, 100)).toBe('1 of 10 requests failed');
    expect(faultOf({ ...good, succeeded: 9 }, 10, 100)).toBe('9 of 10 requests succeeded');
    expect(faultOf({ ...good, statuses: [9, 0, 0, 1] }, 10, 100)).toBe('9 answers of 10 were 2xx (0 3xx, 0 4xx, 1 5xx)');
    expect(faultOf({ ...good, data: 999 }, 10, 100)).toBe('999 bytes of bodies came instead of 1000');
    expect(faultOf({ ...good, data: Number.NaN }, 10, 100)).toBe('NaN bytes of bodies came instead of 1000');
    expect(faultOf(good, 11, 100)).toBe('10 of 11 requests succeeded');
  });

  const row = (name: string): LoadRow => ROWS.find((r): r is LoadRow => r.kind === 'load' && r.name === name) as LoadRow;
  test('the command line of a row', () => {
    expect(loadArguments(row('m8'), 4433, 500, '/body')).toEqual(
      '--h3 --connect-to=127.0.0.1:4433 -n 500 -c 32 -m 8 https://bench.test/small'.split(' '),
    );
    expect(loadArguments(row('upload'), 1, 64, '/body')).toEqual(
      '--h3 --connect-to=127.0.0.1:1 -n 64 -c 32 -m 1 -d /body https://bench.test/upload'.split(' '),
    );
    expect([answerBytes(row('download'), 100), answerBytes(row('upload'), 100)]).toEqual([1048576, 100]);
  });

  test('idle connections: no faster than they are wanted, all idle at one time before the second request', () => {
    expect(idleArguments(4000, 1, '/s')).toEqual(
      '--h3 --connect-to=127.0.0.1:1 -c 4000 -r 50 --rate-period=100ms -n 2 --timing-script-file=/s'.split(' '),
    );
    expect(idleArguments(100, 1, '/s').join(' ')).toContain('-c 100 -r 10 --rate-period=100ms');
    expect(idleArguments(3, 1, '/s').join(' ')).toContain('-c 3 -r 1 --rate-period=100ms');
    expect(idleSeconds(4000)).toBe(22);
    expect(idleScript(4000, '/small')).toBe('0.0\thttps://bench.test/small\n22000.0\thttps://bench.test/small\n');
  });
});

describe('the kernel', () => {
  test('CPU time, whatever the name of the program is', () => {
    const rest = 'S 1 2 3 0 -1 4194304 5 0 0 0 111 22 3 4 20 0 12 0 99 1234 55';
    expect(parseStat(`42 (node) ${rest}`)).toBe(140);
    expect(parseStat(`42 (a) b (c) ${rest}`)).toBe(140);
    expect(() => parseStat('42 (node) S 1')).toThrow('not a line of /proc/PID/stat');
  });

  test('memory', () => {
    expect(parseRss('VmPeak:\t 9 kB\nVmRSS:\t   1500 kB\nRssAnon:\t 7 kB\n')).toBe(1536000);
    expect(() => parseRss('VmPeak:\t 9 kB\n')).toThrow('no VmRSS');
  });

  test('of this process, children included', () => {
    const ticks = cpuTicks([process.pid]);
    expect(ticks).toBeGreaterThan(0);
    const end = performance.now() + 10_000;
    const burn = 'const end = Date.now() + 60; while (Date.now() < end);';
    while (cpuTicks([process.pid]) <= ticks && performance.now() < end) spawnSync(process.execPath, ['-e', burn]);
    expect(cpuTicks([process.pid])).toBeGreaterThan(ticks);
    expect(rssBytes([process.pid])).toBeGreaterThan(10_000_000);
    expect(childrenOf(process.pid)).toEqual(expect.any(Array));
  });

  test('a process that is gone is an error', () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    expect(() => cpuTicks([pid])).toThrow('ENOENT');
  });
});

describe('arithmetic', () => {
  test('medians', () => {
    expect([median([3]), median([3, 1]), median([9, 1, 2]), median([4, 1, 3, 2])]).toEqual([3, 2, 2, 2.5]);
    expect(median([])).toBeNaN();
  });

  test('figures of a row', () => {
    const sample = (workerTicks: number, seconds: number) => ({ requests: 1000, seconds, workerTicks, mainTicks: 1 });
    expect(figuresOf([sample(2, 1), sample(4, 2), sample(3, 0.5)], 100)).toEqual({
      requestsPerSecond: 1000,
      cpuMicros: 30,
      mainMicros: 10,
      requestsPerCpuSecond: 1e6 / 30,
      rounds: [20, 40, 30],
    });
  });

  test('memory per connection, and ratios of what is there', () => {
    expect(perConnection(1000, 5000, 40)).toBe(100);
    expect(ratio(10, 25)).toBe(2.5);
    expect([ratio(undefined, 1), ratio(1, undefined), ratio(0, 1), ratio(1, 0), ratio(Number.NaN, 1)]).toEqual([
      null,
      null,
      null,
      null,
      null,
    ]);
  });
});

describe('options', () => {
  const rows = (env: Record<string, string>): string[] => (readOptions(env) as Options).rows.map((r) => r.name);

  test('nothing said: every row, every engine, three rounds', () => {
    const o = readOptions({ ROWS: '', ENGINES: '', ROUNDS: '', SCALE: '', PROFILE: '' }) as Options;
    expect(o).toMatchObject({ rounds: 3, engines: ['matrixai', 'native', 'nginx'], profile: false, scale: 1 });
    expect(o.rows).toEqual(ROWS);
    expect(rows({})).toEqual(['m1', 'm8', 'm32', 'download', 'upload', 'idle']);
  });

  test('some rows and engines, in the order of the table', () => {
    expect(rows({ ROWS: 'idle, m1' })).toEqual(['m1', 'idle']);
    expect((readOptions({ ENGINES: 'nginx native' }) as Options).engines).toEqual(['native', 'nginx']);
    expect(words(' a, b  c,')).toEqual(['a', 'b', 'c']);
  });

  test('a profile: one round, without nginx and without rows that are no load', () => {
    const o = readOptions({ PROFILE: '1' }) as Options;
    expect({ ...o, rows: o.rows.map((r) => r.name) }).toEqual({
      rows: ['m1', 'm8', 'm32', 'download', 'upload'],
      rounds: 1,
      engines: ['matrixai', 'native'],
      profile: true,
      scale: 1,
    });
  });

  test.each([{ ROWS: 'm1,m2' }, { ENGINES: 'quiche' }, { ROUNDS: '0' }, { ROUNDS: '1.5' }, { SCALE: '0' }, { SCALE: 'x' }])(
    '%j is refused',
    (env) => {
      const [name, value] = Object.entries(env)[0] as [string, string];
      expect(readOptions(env)).toMatch(new RegExp(`^${name}=${value}: `));
    },
  );

  test('less work, but never less than a request for each stream', () => {
    const [small, idle] = [ROWS[2] as LoadRow, ROWS[5] as IdleRow];
    expect(scaled(small, 0.1)).toEqual({ ...small, requests: 40_000 });
    expect(scaled(small, 1e-6)).toEqual({ ...small, requests: 1024 });
    expect(scaled(idle, 0.5)).toEqual({ ...idle, connections: 2000 });
  });
});

describe('what is printed', () => {
  const figures = (cpuMicros: number, mainMicros: number) => ({
    figures: { requestsPerSecond: 12345.6, cpuMicros, mainMicros, requestsPerCpuSecond: 1e6 / cpuMicros, rounds: [cpuMicros] },
  });
  const rows: RowResult[] = [
    { name: 'm1', title: '100 B, 32 x 1', results: { matrixai: figures(30, 0.5), native: figures(12, 0.5), nginx: figures(18, 0) } },
    { name: 'download', title: '1 MiB', results: { matrixai: { failed: '3 of 9 requests failed' }, nginx: figures(1800, 0) } },
    { name: 'idle', title: 'idle', results: { matrixai: { idleBytes: 51200 }, native: { idleBytes: 25600 } } },
  ];

  test('ratios: how many times more the first does with the same', () => {
    expect(rows.map(ratiosOf)).toEqual([
      { 'native/matrixai': 2.5, 'native/nginx': 1.5, 'matrixai/nginx': 0.6 },
      {},
      { 'native/matrixai': 2 },
    ]);
  });

  test('a table', () => {
    expect(tableOf(rows).split('\n')).toEqual([
      'row            engine     req/s  us CPU/req  main us/req  req/CPU-s  RSS/connection',
      '100 B, 32 x 1  matrixai  12,346        30.0        0.500     33,333',
      '100 B, 32 x 1  native    12,346        12.0        0.500     83,333',
      '100 B, 32 x 1  nginx     12,346        18.0                  55,556',
      '1 MiB          matrixai  FAILED',
      '1 MiB          nginx     12,346       1,800                     556',
      'idle           matrixai                                                    50.0 KiB',
      'idle           native                                                      25.0 KiB',
      '',
      'times more with the same CPU (or memory):',
      '100 B, 32 x 1  native/matrixai 2.50   native/nginx 1.50   matrixai/nginx 0.60',
      '1 MiB',
      'idle           native/matrixai 2.00',
      '',
      'failed:',
      '1 MiB, matrixai: 3 of 9 requests failed',
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

  test('the version of nginx', () => {
    expect(nginxVersion('nginx version: nginx/1.30.6\n')).toBe('1.30.6');
    expect(nginxVersion('')).toBe('unknown');
  });
});
