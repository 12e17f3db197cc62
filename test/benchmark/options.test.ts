/** What `make bench` may be asked for. */
import { describe, expect, test } from '@jest/globals';
import { readOptions as readOverload } from '../bench/overload/options.ts';
import { readOptions, type Options } from '../bench/proxy/options.ts';
import { askedHosts, ROWS, scaled, words, type IdleRow, type LoadRow, type Row } from '../bench/proxy/rows.ts';

describe('options', () => {
  const rows = (env: Record<string, string>): string[] => (readOptions(env) as Options).rows.map((r) => r.name);

  test('nothing said: every row, every engine, every peer, three rounds', () => {
    const o = readOptions({ ROWS: '', ENGINES: '', PEERS: '', ROUNDS: '', SCALE: '', PROFILE: '' }) as Options;
    expect(o).toMatchObject({ rounds: 3, engines: ['native', 'matrixai'], peers: ['nginx', 'haproxy', 'caddy'], profile: false, scale: 1 });
    expect(o.rows).toEqual(ROWS);
    expect(new Set(rows({})).size).toBe(ROWS.length);
  });

  test('some rows, engines and peers, in the order of the table', () => {
    expect(rows({ ROWS: 'idle, m1' })).toEqual(['m1', 'idle']);
    expect(readOptions({ ENGINES: 'matrixai native', PEERS: 'caddy,nginx' })).toMatchObject({
      engines: ['native', 'matrixai'],
      peers: ['nginx', 'caddy'],
    });
    expect(readOptions({ ENGINES: 'none', PEERS: 'haproxy' })).toMatchObject({ engines: [], peers: ['haproxy'] });
    expect(readOptions({ ENGINES: 'none', PEERS: 'none' })).toBe('ENGINES=none PEERS=none: nothing is left to measure');
    expect(words(' a, b  c,')).toEqual(['a', 'b', 'c']);
  });

  test('a profile: one round, without peers, and closed loops of one worker alone', () => {
    const o = readOptions({ PROFILE: '1' }) as Options;
    expect(o).toMatchObject({ rounds: 1, engines: ['native', 'matrixai'], peers: [], profile: true });
    expect(o.rows.map((r) => r.name)).toEqual(['m1', 'm8', 'm32', 'download', 'upload', 'routes1', 'routes100', 'routes10000']);
  });

  test.each([
    { ROWS: 'm1,m2' },
    { ENGINES: 'quiche' },
    { ENGINES: 'nginx' },
    { PEERS: 'none, nginx' },
    { ROUNDS: '0' },
    { ROUNDS: '1.5' },
    { SCALE: '0' },
    { SCALE: 'x' },
    { PROFILE: 'yes' },
  ])('%j is refused', (env) => {
    const [name, value] = Object.entries(env)[0] as [string, string];
    expect(readOptions(env)).toMatch(new RegExp(`^${name}=${value}: `));
  });

  test('less of it', () => {
    const load = ROWS.find((r): r is LoadRow => r.kind === 'load') as LoadRow;
    const idle = ROWS.find((r): r is IdleRow => r.kind === 'idle') as IdleRow;
    expect(scaled({ ...load, seconds: 2 }, 0.1)).toEqual({ ...load, seconds: 0.2 });
    expect(scaled({ ...load, seconds: 2 }, 1e-6)).toEqual({ ...load, seconds: 0.05 });
    expect(scaled({ ...idle, connections: 4000 }, 0.5)).toEqual({ ...idle, connections: 2000 });
    const latency = ROWS.find((r) => r.kind === 'latency') as Row;
    expect([scaled(latency, 10), scaled(latency, 1e-6)]).toEqual([
      { ...latency, seconds: 20 },
      { ...latency, seconds: 2 },
    ]);
    expect(scaled(idle, 1e-9)).toEqual({ ...idle, connections: 1 });
  });

  test('hosts that are asked: the first, the last and two between', () => {
    expect(askedHosts(10_000, 'b')).toEqual(['r0.b', 'r3333.b', 'r6666.b', 'r9999.b']);
    expect(askedHosts(1, 'b')).toEqual(['r0.b', 'r0.b', 'r0.b', 'r0.b']);
  });
});

describe('overload', () => {
  test('nothing said, and what may be said', () => {
    const all = { engines: ['native', 'matrixai'], kinds: ['requests', 'connections', 'slow'], seconds: 120, cores: 0.2 };
    expect(readOverload({ ENGINES: '', KINDS: '', DURATION: '', CORES: '' })).toEqual(all);
    expect(readOverload({ ENGINES: 'matrixai', KINDS: 'slow,requests', DURATION: '30', CORES: '1.5' })).toEqual({
      engines: ['matrixai'],
      kinds: ['slow', 'requests'],
      seconds: 30,
      cores: 1.5,
    });
  });

  test.each([
    { ENGINES: 'nginx' },
    { KINDS: 'slow, fast' },
    { DURATION: 'abc' },
    { DURATION: '0' },
    { DURATION: '2m' },
    { CORES: '0' },
    { CORES: 'all' },
  ])('%j is refused', (env) => {
    const [name, value] = Object.entries(env)[0] as [string, string];
    expect(readOverload(env)).toMatch(new RegExp(`^${name}=${value}: `));
  });
});
