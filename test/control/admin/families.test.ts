import { describe, expect, test } from '@jest/globals';
import { Cells, DURATION_BUCKETS } from '../../../src/contract/cells.ts';
import { Families } from '../../../src/control/admin/families.ts';

const worker = () => {
  const cells = new Cells();
  return { cells, add: (code: string, n = 1) => cells.add(cells.row('requests_total', 'default/l', 'default/u', code, 'ok'), n) };
};

test('a row that is removed is not there, and begins anew', () => {
  const families = new Families();
  for (const kind of ['ReferenceGrant', 'Service']) families.set('kubernetes_watch_objects', [kind], 3);
  families.remove('kubernetes_watch_objects', ['ReferenceGrant']);
  families.remove('kubernetes_watch_objects', ['Nothing']);
  expect([...families.rows('kubernetes_watch_objects')].map((row) => row.labels)).toEqual([['Service']]);
  families.set('kubernetes_watch_objects', ['ReferenceGrant'], 1);
  expect(families.get('kubernetes_watch_objects', 'ReferenceGrant')).toBe(1);
});

describe('counters over processes that come and go', () => {
  test('add up over workers, each by the difference to what it said before', () => {
    const families = new Families();
    const a = worker();
    const b = worker();
    a.add('200', 5);
    b.add('200', 3);
    families.fold('0:1', a.cells.read());
    families.fold('1:2', b.cells.read());
    families.fold('0:1', a.cells.read());
    expect(families.get('requests_total', 'default/l', 'default/u', '200', 'ok')).toBe(8);
    a.add('200', 2);
    families.fold('0:1', a.cells.read());
    expect(families.get('requests_total', 'default/l', 'default/u', '200', 'ok')).toBe(10);
  });

  test('never go backwards when a worker starts anew', () => {
    const families = new Families();
    const first = worker();
    first.add('200', 100);
    families.fold('0:1', first.cells.read());
    families.forget('0:1');
    expect(families.get('requests_total', 'default/l', 'default/u', '200', 'ok')).toBe(100);
    const second = worker();
    second.add('200', 1);
    families.fold('0:2', second.cells.read());
    expect(families.get('requests_total', 'default/l', 'default/u', '200', 'ok')).toBe(101);
  });

  test('histograms fold bucket by bucket', () => {
    const families = new Families();
    const { cells } = worker();
    const row = cells.row('request_duration_seconds', 'default/l', 'default/u');
    cells.observe(row, 0.002);
    cells.observe(row, 99);
    families.fold('0:1', cells.read());
    cells.observe(row, 0.002);
    families.fold('0:1', cells.read());
    const [total] = [...families.rows('request_duration_seconds')];
    expect(total?.values[1]).toBe(2);
    expect(total?.values[DURATION_BUCKETS.length]).toBe(3);
    expect(total?.values[DURATION_BUCKETS.length + 1]).toBeCloseTo(99.004);
  });
});

describe('gauges', () => {
  test('are summed over workers, and what a dead one held is gone', () => {
    const families = new Families();
    const a = worker();
    const b = worker();
    const [x, y] = [a.cells.row('connections_active', 'default/l'), b.cells.row('connections_active', 'default/l')];
    a.cells.set(x, 7);
    b.cells.set(y, 2);
    families.fold('0:1', a.cells.read());
    families.fold('1:2', b.cells.read());
    expect(families.get('connections_active', 'default/l')).toBe(9);
    expect(families.last('0:1', 'connections_active', ['default/l'])).toBe(7);
    a.cells.set(x, 4);
    families.fold('0:1', a.cells.read());
    expect(families.get('connections_active', 'default/l')).toBe(6);
    families.forget('0:1');
    expect(families.get('connections_active', 'default/l')).toBe(2);
  });

  test('of buffers and fallbacks are the largest, not the sum', () => {
    const families = new Families();
    const a = worker();
    const b = worker();
    a.cells.set(a.cells.row('udp_receive_buffer_bytes', 'default/l'), 100);
    b.cells.set(b.cells.row('udp_receive_buffer_bytes', 'default/l'), 60);
    families.fold('0:1', a.cells.read());
    families.fold('1:2', b.cells.read());
    expect(families.get('udp_receive_buffer_bytes', 'default/l')).toBe(100);
    families.forget('0:1');
    expect(families.get('udp_receive_buffer_bytes', 'default/l')).toBe(60);
  });
});

describe('rows go with their object', () => {
  test('and come back with it, counting on from there', () => {
    const families = new Families();
    const a = worker();
    a.add('200', 5);
    a.cells.add(a.cells.row('requests_total', 'default/l', '', '404', 'no_route'), 2);
    families.fold('0:1', a.cells.read());
    families.retain(new Set(['default/l']), new Set());
    expect([...families.rows('requests_total')].map((r) => r.labels[1])).toEqual(['']);
    a.add('200', 1);
    families.fold('0:1', a.cells.read());
    expect([...families.rows('requests_total')]).toHaveLength(1);
    families.retain(new Set(['default/l']), new Set(['default/u']));
    a.add('200', 1);
    families.fold('0:1', a.cells.read());
    expect(families.get('requests_total', 'default/l', 'default/u', '200', 'ok')).toBe(1);
  });

  test('and begin at zero where the worker began anew', () => {
    const families = new Families();
    const a = worker();
    a.add('200', 1000);
    families.fold('0:1', a.cells.read());
    families.retain(new Set(['default/l']), new Set());
    families.retain(new Set(['default/l']), new Set(['default/u']));
    const again = worker();
    again.add('200', 3);
    families.fold('0:1', again.cells.read());
    expect(families.get('requests_total', 'default/l', 'default/u', '200', 'ok')).toBe(3);
  });

  test('a counter whose row began anew in a worker that goes on does not go backwards', () => {
    const families = new Families();
    const rowsOf = (count: number): Cells => {
      const cells = new Cells();
      cells.add(cells.row('backend_requests_total', 'default/u', 'canary', '200', 'ok'), count);
      for (let i = 0; i < count; i++) cells.observe(cells.row('backend_duration_seconds', 'default/u', 'canary'), 0.25);
      return cells;
    };
    families.fold('0:1', rowsOf(10).read());
    // The backend was taken out of its Upstream, and put back.
    families.fold('0:1', rowsOf(2).read());
    expect(families.get('backend_requests_total', 'default/u', 'canary', '200', 'ok')).toBe(12);
    expect([...families.rows('backend_duration_seconds')][0]?.values.slice(-2)).toEqual([12, 3]);
  });

  test('a gauge that was told before its object counted is what it is', () => {
    const families = new Families();
    families.retain(new Set(), new Set());
    const cells = new Cells();
    const row = cells.row('connections_active', 'default/l');
    cells.set(row, 3);
    families.fold('0:1', cells.read());
    expect([...families.rows('connections_active')]).toEqual([]);
    families.retain(new Set(['default/l']), new Set());
    cells.set(row, 5);
    families.fold('0:1', cells.read());
    expect(families.get('connections_active', 'default/l')).toBe(5);
    cells.set(row, 4);
    families.fold('0:1', cells.read());
    expect(families.get('connections_active', 'default/l')).toBe(4);
    families.forget('0:1');
    expect(families.get('connections_active', 'default/l')).toBe(0);
  });

  test('a gauge whose row is gone in the worker holds nothing any more, and goes with the last one', () => {
    const families = new Families();
    const [a, b] = [new Cells(), new Cells()];
    const rowIn = (cells: Cells, endpoint: string): number => cells.row('endpoint_active_requests', 'default/u', endpoint);
    const told = (): Record<string, number> =>
      Object.fromEntries([...families.rows('endpoint_active_requests')].map((r) => [r.labels[1], r.values[0]]));
    const collect = (): void => {
      for (const [source, cells] of [['0:1', a] as const, ['1:2', b] as const]) {
        families.fold(source, cells.readUsed());
        families.settle(source);
      }
    };
    for (const cells of [a, b]) for (const endpoint of ['one', 'two']) cells.set(rowIn(cells, endpoint), 2);
    collect();
    expect(told()).toEqual({ one: 4, two: 4 });
    // With requests in flight: nobody counts them down any more.
    a.drop('endpoint_active_requests', 'default/u', 'one');
    // A slice says nothing about the rest.
    families.fold('0:1', a.readUsed().slice(0, 0));
    expect(told()).toEqual({ one: 4, two: 4 });
    collect();
    expect(told()).toEqual({ one: 2, two: 4 });
    b.drop('endpoint_active_requests', 'default/u', 'one');
    collect();
    expect(told()).toEqual({ two: 4 });
    a.set(rowIn(a, 'one'), 1);
    collect();
    expect(told()).toEqual({ one: 1, two: 4 });
  });

  test('what a row counted stays when it is gone in the worker, and all is new that it counts when it comes back', () => {
    const families = new Families();
    const cells = new Cells();
    const count = (n: number): void => {
      cells.add(cells.row('backend_requests_total', 'default/u', 'canary', '200', 'ok'), n);
      families.fold('0:1', cells.readUsed());
      families.settle('0:1');
    };
    count(5);
    cells.drop('backend_requests_total', 'default/u', 'canary', '200', 'ok');
    families.fold('0:1', cells.readUsed());
    families.settle('0:1');
    expect(families.get('backend_requests_total', 'default/u', 'canary', '200', 'ok')).toBe(5);
    count(7);
    expect(families.get('backend_requests_total', 'default/u', 'canary', '200', 'ok')).toBe(12);
  });

  test('rows of the main process too', () => {
    const families = new Families();
    families.add('health_checks_total', ['default/u', 'success', 'ok']);
    families.add('health_checks_total', ['default/v', 'success', 'ok']);
    families.retain(new Set(), new Set(['default/v']));
    expect([...families.rows('health_checks_total')].map((r) => r.labels[0])).toEqual(['default/v']);
  });
});

test('names of properties that objects inherit are labels like any other', () => {
  const families = new Families();
  for (const name of ['__proto__', 'constructor', 'hasOwnProperty', 'toString']) families.add('config_apply_total', [name]);
  expect([...families.rows('config_apply_total')].map((r) => r.values[0])).toEqual([1, 1, 1, 1]);
});
