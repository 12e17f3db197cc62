import { isDeepStrictEqual } from 'node:util';
import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { sameData } from '../../../src/control/status/same.ts';

// Without -0, which nobody writes and JSON does not have.
const plain = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.integer({ min: 0, max: 2 }),
    fc.constantFrom('', 'a', null, undefined, true),
    tie('list'),
    tie('map'),
  ),
  list: fc.array(tie('value'), { maxLength: 3 }),
  map: fc.dictionary(fc.constantFrom('a', 'b', '0', 'length', 'constructor'), tie('value'), { maxKeys: 3, noNullPrototype: true }),
})).value;

test('it says what node says', () => {
  fc.assert(
    fc.property(plain, plain, (a, b) => {
      expect(sameData(a, b)).toBe(isDeepStrictEqual(a, b));
      expect(sameData(a, structuredClone(a))).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

test('lists and maps differ', () => {
  expect(sameData([], {})).toBe(false);
  expect(sameData({}, [])).toBe(false);
  expect(sameData({ a: undefined }, {})).toBe(false);
  expect(sameData({ a: undefined }, { b: undefined })).toBe(false);
});
