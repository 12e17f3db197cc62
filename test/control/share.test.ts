import { expect, test } from '@jest/globals';
import { array, assert, nat, property } from 'fast-check';
import { shareOut } from '../../src/control/share.ts';

test.each([
  [100, [0], [100]],
  [100, [0, 0, 0], [34, 33, 33]],
  [100, [90, 0], [95, 5]],
  [10, [10, 0], [10, 0]],
  [10, [12, 3], [12, 3]],
])('%i connections among users of %j', (total, uses, shares) => expect(shareOut(total, uses)).toEqual(shares));

test('the shares add up to the limit, and nobody gets less than it uses', () => {
  assert(
    property(nat(100_000), array(nat(5000), { minLength: 1, maxLength: 64 }), (total, uses) => {
      const shares = shareOut(total, uses);
      const used = uses.reduce((a, b) => a + b, 0);
      expect(shares.reduce((a, b) => a + b, 0)).toBe(Math.max(total, used));
      shares.forEach((share, i) => expect(share).toBeGreaterThanOrEqual(uses[i] as number));
    }),
  );
});
