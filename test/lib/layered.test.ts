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
        for (let key = 0; key <= 40; key++) {
          expect(layered.get(key)).toBe(plain.get(key));
          expect(layered.has(key)).toBe(plain.has(key));
        }
      }
    }),
  );
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
