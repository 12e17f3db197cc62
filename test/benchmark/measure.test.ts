/** How much of a row is enough, and how delays are read from a log. */
import { describe, expect, test } from '@jest/globals';
import { absence, entrantsOf, takesPart, workersOf } from '../bench/proxy/contest.ts';
import { delaysOf, mostOpen, parseLog, slowest } from '../bench/proxy/measure/latency.ts';
import { countFor, Counts, leastRequests, partsOf } from '../bench/proxy/measure/load.ts';
import { ROWS, type LoadRow, type Row } from '../bench/proxy/rows.ts';

const row = (name: string): Row => ROWS.find((r) => r.name === name) as Row;
const load = (name: string): LoadRow => row(name) as LoadRow;

describe('how many requests', () => {
  const m8: LoadRow = { ...load('m8'), seconds: 2 };

  test('as many as cost what the row wants, found by more and more', async () => {
    const asked: number[] = [];
    const cost = (n: number): Promise<number> => {
      asked.push(n);
      return Promise.resolve(n * 20e-6);
    };
    expect(await countFor(m8, cost)).toBe(100_000);
    expect(asked).toEqual([512, 10_240, 100_000]);
  });

  test('never less than one for each stream, and an attempt that cost nothing is followed by a larger one', async () => {
    expect(await countFor(m8, () => Promise.resolve(60))).toBe(leastRequests(m8));
    let calls = 0;
    expect(await countFor(m8, () => Promise.resolve(++calls < 3 ? 0 : 1))).toBe(512 * 20 * 20 * 2);
  });

  test('with many connections enough that they are not about handshakes', () => {
    expect([leastRequests(m8), leastRequests(load('workers'))]).toEqual([256, 256 * 2 * 40]);
  });

  test('its own for each proxy; for versions of one program the same, and each is warmed up', async () => {
    const found: number[] = [];
    const find = (n: number) => (): Promise<number> => {
      found.push(n);
      return Promise.resolve(n);
    };
    const counts = async (alike: boolean): Promise<number[]> => {
      const c = new Counts(alike);
      return [await c.of('m1', find(10)), await c.of('m1', find(30)), await c.of('m8', find(50)), await c.of('m1', find(70))];
    };
    expect(await counts(false)).toEqual([10, 30, 50, 70]);
    expect(await counts(true)).toEqual([10, 10, 50, 10]);
    expect(found).toEqual([10, 30, 50, 70, 10, 30, 50, 70]);
  });

  test('one generator, or four that ask four hosts', () => {
    expect(partsOf(m8, 1000)).toEqual([{ host: 'bench.test', clients: 32, requests: 1000 }]);
    const parts = partsOf(load('routes100'), 1000);
    expect(parts.map((p) => p.host)).toEqual(['r0.bench.test', 'r33.bench.test', 'r66.bench.test', 'r99.bench.test']);
    expect(new Set(parts.map((p) => `${p.clients} ${p.requests}`))).toEqual(new Set(['8 250']));
  });
});

describe('who takes part', () => {
  const contestant = (name: string, ours: boolean) => ({ name, ours, start: () => Promise.reject(new Error('not here')) });
  const entrants = [1, 2].flatMap((n) => entrantsOf([contestant('native', true), contestant('nginx', false)], n));
  const those = (name: string): string[] => entrants.filter((e) => takesPart(row(name), e)).map((e) => e.label);

  test('peers with one worker, Spooky with two as well where that is asked', () => {
    expect(entrants.map((e) => e.label)).toEqual(['native', 'nginx', 'native x2', 'nginx x2']);
    expect([those('m1'), those('rebind'), those('workers')]).toEqual([
      ['native', 'nginx'],
      ['native', 'nginx', 'native x2'],
      ['native', 'native x2'],
    ]);
    expect([workersOf(row('m1')), workersOf(row('rebind')), workersOf(row('idle'))]).toEqual([[1], [1, 2], [1]]);
  });

  test('and who is not asked is told why', () => {
    expect(entrants.map((e) => absence(row('workers'), e) !== null)).toEqual([false, true, false, true]);
    expect(entrants.every((e) => absence(row('m1'), e) === null)).toBe(true);
  });
});

describe('delays', () => {
  test('a log', () => {
    expect(parseLog('1000\t200\t50\n1100\t204\t60\n')).toEqual([
      { start: 1000, micros: 50 },
      { start: 1100, micros: 60 },
    ]);
    expect(() => parseLog('1000\t503\t50\n')).toThrow('status 503');
    expect(() => parseLog('1000\t-1\t50\n')).toThrow('status -1');
    expect(() => parseLog('nonsense\n')).toThrow('status NaN');
  });

  test('requests that are open at one time', () => {
    const lines = [
      { start: 0, micros: 10 },
      { start: 5, micros: 10 },
      { start: 10, micros: 1 },
    ];
    expect([mostOpen(lines), mostOpen([])]).toEqual([2, 0]);
  });

  /** A request each millisecond. */
  const steady = (count: number, micros: (i: number) => number) =>
    Array.from({ length: count }, (_, i) => ({ start: i * 1000, micros: micros(i) }));

  test('the pace is that of the slowest; one that fails is told of and ends nothing', async () => {
    const failed: string[] = [];
    const can = { nginx: 30_000, haproxy: 20_000, caddy: 0 };
    const capacity = (name: keyof typeof can): Promise<number> =>
      can[name] > 0 ? Promise.resolve(can[name]) : Promise.reject(new Error('3 of 512 requests failed'));
    const of = (...names: (keyof typeof can)[]): Promise<number> => slowest(names, capacity, (name, why) => failed.push(`${name}: ${why}`));
    expect(await of('nginx', 'caddy', 'haproxy')).toBe(20_000);
    expect(failed).toEqual(['caddy: 3 of 512 requests failed']);
    expect([await of('caddy'), await of()]).toEqual([NaN, NaN]);
  });

  test('percentiles, the beginning and the end left out', () => {
    const lines = steady(1001, (i) => (i < 200 || i >= 900 ? 90_000 : i % 50 === 0 ? 5_000 : 300));
    expect(delaysOf(lines, 1000, 32)).toEqual({ p50: 300, p99: 5_000 });
  });

  test('a pace that was not kept is an error, and so are requests that pile up', () => {
    expect(() =>
      delaysOf(
        steady(1001, () => 1),
        2000,
        32,
      ),
    ).toThrow('1000 requests a second were made instead of 2000');
    expect(() =>
      delaysOf(
        steady(1001, () => 600_000),
        1000,
        32,
      ),
    ).toThrow('600 requests were open at one time');
    expect(
      delaysOf(
        steady(1001, () => 600_000),
        1000,
        64,
      ).p50,
    ).toBe(600_000);
    expect(() => delaysOf([], 1000, 32)).toThrow('NaN requests a second');
  });
});
