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
