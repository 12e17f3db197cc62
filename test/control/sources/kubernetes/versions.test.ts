import { expect, test } from '@jest/globals';
import { compareVersions, isVersion } from '../../../../src/control/sources/kubernetes/versions.ts';

test.each(['0', '7', '10', '9007199254740993', '1'.repeat(64)])('%s is a version', (text) => {
  expect(isVersion(text)).toBe(true);
});

test.each(
  [
    ['', '01', '-1', '1.0', '1e3', 'a', ' 1', '1 ', '1'.repeat(65)],
    [7, null, undefined, {}, ['1']],
  ].flat(),
)('%j is none', (value) => {
  expect(isVersion(value)).toBe(false);
});

test('they are compared as integers', () => {
  const inOrder = ['0', '1', '9', '10', '99', '100', '9007199254740992', '9007199254740993', '1'.repeat(30)];
  for (const [i, a] of inOrder.entries())
    for (const [j, b] of inOrder.entries()) expect(Math.sign(compareVersions(a, b))).toBe(Math.sign(i - j));
});
