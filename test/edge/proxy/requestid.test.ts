import { expect, test } from '@jest/globals';
import { makeRequestId } from '../../../src/edge/proxy/requestid.ts';

test('random UUIDs, each another one, over many refills', () => {
  const ids = Array.from({ length: 2000 }, () => makeRequestId());
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(new Set(ids).size).toBe(ids.length);
});

test('every free digit takes every value', () => {
  const seen = Array.from({ length: 36 }, () => new Set<string>());
  for (let i = 0; i < 2000; i++) for (const [at, c] of [...makeRequestId()].entries()) seen[at]?.add(c);
  const fixed = [8, 13, 14, 18, 23];
  expect(seen.map((s) => s.size)).toEqual(seen.map((_, at) => (fixed.includes(at) ? 1 : at === 19 ? 4 : 16)));
});
