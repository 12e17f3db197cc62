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
