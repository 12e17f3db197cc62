import { expect, test } from '@jest/globals';
import { Fields } from '../../../src/edge/http/fields.ts';

test('the last field of a name is found, wherever it is', () => {
  const fields = new Fields();
  expect(fields.lastOf('via')).toBe(-1);
  for (const name of ['via', 'accept', 'via', 'x']) fields.add(name, '');
  expect(['via', 'accept', 'x', 'vi'].map((name) => fields.lastOf(name))).toEqual([2, 1, 3, -1]);
});
