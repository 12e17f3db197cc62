import { expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import { LayeredMap } from '../../src/lib/layered.ts';

const someChanges = fc.array(
  fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.option(fc.integer(), { nil: undefined })), { maxLength: 12 }),
  {
    maxLength: 30,
  },
);

test('is what a map would be, and none before it changes', () => {
  fc.assert(
    fc.property(someChanges, (sequence) => {
      const plain = new Map<number, number>();
      let layered = LayeredMap.empty<number, number>();
      for (const changes of sequence) {
        const before = new Map(layered);
        const old = layered;
        layered = layered.with(new Map(changes));
        for (const [key, value] of new Map(changes)) {
          if (value === undefined) plain.delete(key);
          else plain.set(key, value);
        }
        expect(new Map(old)).toEqual(before);
        expect(new Map(layered)).toEqual(plain);
        expect(layered.size).toBe(plain.size);
        expect(new Set(layered.keys())).toEqual(new Set(plain.keys()));
        expect([...layered.values()].sort()).toEqual([...plain.values()].sort());
        const each: [number, number][] = [];
        layered.forEach((value, key, map) => {
          expect(map).toBe(layered);
          each.push([key, value]);
        });
        expect(each).toEqual([...layered]);
        for (let key = 0; key <= 40; key++) {
          expect(layered.get(key)).toBe(plain.get(key));
          expect(layered.has(key)).toBe(plain.has(key));
        }
      }
    }),
  );
});

test('what is replaced keeps its place', () => {
  const plain = new Map(Array.from({ length: 100 }, (_, i) => [i, 'a']));
  let layered = LayeredMap.of(new Map(plain));
  for (const [key, value] of [
    [7, 'b'],
    [200, 'c'],
    [3, 'd'],
    [200, 'e'],
    [7, 'f'],
  ] as const) {
    plain.set(key, value);
    layered = layered.with(new Map([[key, value]]));
    expect([...layered]).toEqual([...plain]);
  }
  // So many that all are copied.
  for (let i = 0; i < 100; i++) {
    plain.set(i * 2, `g${i}`);
    layered = layered.with(new Map([[i * 2, `g${i}`]]));
  }
  expect([...layered]).toEqual([...plain]);
});

test('one that is layered is taken as it is', () => {
  const layered = LayeredMap.of(new Map([[1, 2]])).with(new Map([[3, 4]]));
  expect(LayeredMap.of<number, number>(layered)).toBe(layered);
});

test('few changes of many entries copy few', () => {
  let map = LayeredMap.empty<number, number>().with(new Map(Array.from({ length: 30_000 }, (_, i) => [i, i])));
  const spy = jest.spyOn(Map.prototype, 'set');
  let copied: number;
  try {
    for (let i = 0; i < 100; i++) map = map.with(new Map([[i, -i - 1]]));
    copied = spy.mock.calls.length;
  } finally {
    spy.mockRestore();
  }
  expect(map.get(99)).toBe(-100);
  expect(copied).toBeLessThan(20_000);
});
