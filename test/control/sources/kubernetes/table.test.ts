import { expect, test } from '@jest/globals';
import type { Identity } from '../../../../src/control/sources/kubernetes/meta.ts';
import { Table, type Read } from '../../../../src/control/sources/kubernetes/table.ts';
import { meta, type Raw } from './raw.ts';

interface Thing extends Identity {
  readonly value: number;
}

function things(max?: number) {
  const changes: string[] = [];
  const leftOut: string[] = [];
  const table = new Table<Thing>({
    namespaced: true,
    read(raw, identity) {
      const value = (raw as Raw)['value'];
      if (value === 'ignored' || value === 'malformed') return value;
      if (typeof value !== 'number') throw new TypeError('not a number');
      return { ...identity, value };
    },
    keep: (a, b) => (a.value === b.value ? a : null),
    onChange: (before, after) => changes.push(`${(after ?? before)?.key}: ${before?.value ?? '-'} -> ${after?.value ?? '-'}`),
    onLeftOut: (why, name) => leftOut.push(`${why} ${name}`),
    ...(max === undefined ? {} : { max }),
  });
  const read = (name: string, value: unknown, more: Raw = {}, scope: string | null = null): Read<Thing> =>
    table.project({ metadata: meta(name, 'default', more), value }, scope);
  return { table, changes, leftOut, read, keys: () => [...table.entries.keys()] };
}

test('a list says all, an event one', () => {
  const { table, changes, read } = things();
  table.replaced([read('a', 1), read('b', 2)], null);
  table.changed('ADDED', read('c', 3));
  table.changed('MODIFIED', read('a', 4));
  table.changed('DELETED', read('b', 2));
  table.replaced([read('c', 3), read('d', 5)], null);
  expect(changes).toEqual([
    'default/a: - -> 1',
    'default/b: - -> 2',
    'default/c: - -> 3',
    'default/a: 1 -> 4',
    'default/b: 2 -> -',
    'default/a: 4 -> -',
    'default/d: - -> 5',
  ]);
});

test('what did not change is no change, and stays the same object', () => {
  const { table, changes, read } = things();
  table.replaced([read('a', 1)], null);
  const before = table.entries.get('default/a');
  table.changed('MODIFIED', read('a', 1));
  table.replaced([read('a', 1)], null);
  expect(table.entries.get('default/a')).toBe(before);
  expect(changes).toHaveLength(1);
});

test('an object under the name of another one is a change even when it says the same', () => {
  const { table, changes, read } = things();
  table.changed('ADDED', read('a', 1));
  table.changed('ADDED', read('a', 1, { uid: 'new' }));
  // The end of the old one, told late, is not that of the new one.
  table.changed('DELETED', read('a', 1));
  expect(changes).toEqual(['default/a: - -> 1', 'default/a: 1 -> 1']);
  expect(table.entries.get('default/a')?.uid).toBe('new');
});

test('what is known of an older uid is not handed to a reader', () => {
  const known: unknown[] = [];
  const table = new Table<Identity>({
    namespaced: true,
    read(_, identity, before) {
      known.push(before?.uid);
      return identity;
    },
    keep: () => null,
    onChange: () => undefined,
    onLeftOut: () => undefined,
  });
  for (const uid of ['a', 'a', 'b']) table.changed('ADDED', table.project({ metadata: meta('x', 'default', { uid }) }, null));
  expect(known).toEqual([undefined, 'a', undefined]);
});

test('K8: what cannot be read is left out and counted, and harms no other', () => {
  const { table, changes, leftOut, read } = things();
  const list = [
    read('a', 1),
    table.project(null, null),
    table.project({ metadata: {} }, null),
    read('bad', 'text'),
    read('odd', 'malformed'),
    read('not-ours', 'ignored'),
    read('z', 2),
  ];
  table.replaced(list, null);
  expect(changes).toEqual(['default/a: - -> 1', 'default/z: - -> 2']);
  expect(leftOut).toEqual(['malformed ', 'malformed ', 'malformed default/bad', 'malformed default/odd']);
});

test('what can no longer be read is not served as it was', () => {
  const { table, read, keys } = things();
  table.replaced([read('a', 1), read('b', 2), read('c', 3)], null);
  table.changed('MODIFIED', read('a', 'text'));
  table.changed('MODIFIED', read('b', 'ignored'));
  expect(keys()).toEqual(['default/c']);
});

test('nesting without end is malformed', () => {
  const { table, leftOut } = things();
  let deep: unknown = 1;
  for (let i = 0; i < 50_000; i++) deep = { deep };
  const strict = new Table<Identity>({
    namespaced: true,
    read: (raw, identity) => ({ ...identity, name: JSON.stringify(raw).slice(0, 1) }),
    keep: () => null,
    onChange: () => undefined,
    onLeftOut: (why, name) => leftOut.push(`${why} ${name}`),
  });
  expect(strict.project({ metadata: meta('a'), deep }, null)).toMatchObject({ entry: null });
  expect(leftOut).toEqual(['malformed default/a']);
  expect(table.entries.size).toBe(0);
});

test('a list of one namespace leaves the others alone, and brings nothing from them', () => {
  const { table, leftOut, read, keys } = things();
  const inside = (name: string, namespace: string, scope: string) => table.project({ metadata: meta(name, namespace), value: 1 }, scope);
  table.replaced([inside('a', 'x', 'x'), inside('b', 'x', 'x')], 'x');
  table.replaced([inside('a', 'y', 'y'), inside('smuggled', 'x', 'y')], 'y');
  expect(keys()).toEqual(['x/a', 'x/b', 'y/a']);
  expect(leftOut).toEqual(['malformed ']);
  table.replaced([inside('b', 'x', 'x')], 'x');
  expect(keys()).toEqual(['x/b', 'y/a']);
  table.clear();
  expect([keys(), read('a', 1)]).toEqual([[], expect.anything()]);
});

test('K8: no more objects than the limit are held; those that are stay', () => {
  const { table, leftOut, read, keys } = things(2);
  table.replaced([read('a', 1), read('b', 2), read('c', 3)], null);
  expect(keys()).toEqual(['default/a', 'default/b']);
  expect(leftOut).toEqual(['too_many default/c']);
  table.changed('MODIFIED', read('a', 4));
  table.changed('DELETED', read('b', 2));
  table.changed('ADDED', read('d', 5));
  expect([...table.entries.values()].map((t) => t.value)).toEqual([4, 5]);
});

test('projecting changes nothing', () => {
  const { table, changes, read } = things();
  read('a', 1);
  expect([table.entries.size, changes.length]).toEqual([0, 0]);
});
