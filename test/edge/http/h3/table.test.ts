import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { StreamTable } from '../../../../src/edge/http/h3/table.ts';

test('holds what a map would hold, whatever comes and goes', () => {
  const step = fc.tuple(
    fc.boolean(),
    fc.oneof(fc.nat(200), fc.maxSafeNat()).map((n) => (n - (n % 4)) % Number.MAX_SAFE_INTEGER),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const table = new StreamTable<{ id: number }>();
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
      expect(new Set(table.takeAll())).toEqual(new Set(model.values()));
      expect([table.size, ...model.keys()].map((id) => table.get(id))).toEqual([table.size, ...model.keys()].map(() => null));
    }),
    { numRuns: 500 },
  );
});
