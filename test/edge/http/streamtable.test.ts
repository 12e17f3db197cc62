import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { StreamTable } from '../../../src/edge/http/streamtable.ts';

test.each([
  [2, 32],
  [1, 128],
  [1, 1],
])('holds what a map would hold, whatever comes and goes: ids by 2 to the power of %i, %i slots', (shift, slots) => {
  const step = fc.tuple(
    fc.boolean(),
    fc.oneof(fc.nat(200), fc.maxSafeNat()).map((n) => n - (n % 2 ** shift)),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const table = new StreamTable<{ id: number }>(shift, slots);
      const model = new Map<number, { id: number }>();
      for (const [adds, id] of steps) {
        expect(table.get(id)).toBe(model.get(id) ?? null);
        if (adds && !model.has(id)) {
          const item = { id };
          table.add(item);
          model.set(id, item);
        } else if (!adds) {
          const item = model.get(id);
          expect(table.delete(item ?? { id })).toBe(model.delete(id));
        }
        expect(table.size).toBe(model.size);
      }
      const inOrder = [...model.values()].sort((a, b) => a.id - b.id);
      expect(table.all()).toEqual(inOrder);
      expect(table.takeAll()).toEqual(inOrder);
      expect([table.size, ...model.keys()].map((id) => table.get(id))).toEqual([table.size, ...model.keys()].map(() => null));
    }),
    { numRuns: 500 },
  );
});

const slotsOf = (table: unknown): number => (table as { slots: unknown[] }).slots.length;
const spareOf = (table: unknown): number => (table as { others: Map<number, unknown> | null }).others?.size ?? 0;

test('grows with the number of streams, so that hardly any shares a slot', () => {
  const table = new StreamTable<{ id: number }>(2, 32);
  const open: { id: number }[] = [];
  for (let i = 0; i < 2000; i++) {
    const item = { id: i * 4 };
    table.add(item);
    open.push(item);
    // The oldest but one ends: one lives on for long.
    if (open.length > 100) expect(table.delete(open.splice(1, 1)[0] as { id: number })).toBe(true);
  }
  expect([table.size, slotsOf(table)]).toEqual([100, 512]);
  expect(spareOf(table)).toBeLessThan(2);
  expect(table.all()).toEqual(open);
});

test('a few streams that live long make it no larger, and there is an end to growing', () => {
  const few = new StreamTable<{ id: number }>(2, 32);
  for (let i = 0; i < 6; i++) few.add({ id: i * 4 * 32 });
  expect([slotsOf(few), spareOf(few)]).toEqual([32, 5]);
  const many = new StreamTable<{ id: number }>(1, 1);
  for (let i = 0; i < 10_000; i++) many.add({ id: i * 2 });
  expect([slotsOf(many), many.size, spareOf(many)]).toEqual([4096, 10_000, 10_000 - 4096]);
  expect(many.get(9_999 * 2)).toEqual({ id: 9_999 * 2 });
});
