import { expect, test } from '@jest/globals';
import { compilePattern, type Pattern } from '../../../src/contract/routes/regex.ts';
import { leastCost } from '../../kit/cost.ts';

function pattern(source: string): Pattern {
  const compiled = compilePattern(source);
  if (!compiled.ok) throw new Error(compiled.error);
  return compiled.value;
}

test('a pattern matches the whole subject', () => {
  const p = pattern('/api/v[0-9]+');
  expect(p.matches('/api/v12')).toBe(true);
  expect(p.matches('/api/v12/x')).toBe(false);
  expect(p.matches('x/api/v12')).toBe(false);
  expect(pattern('a|b').matches('ab')).toBe(false);
});

test.each(['(?=a)', '(?!a)', '(?<=a)b', '(a)\\1', '\\1', '(', 'a{1001}', '(?:(?:a{100}){100}){100}', '[z-a]', '*'])(
  '%s is refused with a reason',
  (source) => {
    const compiled = compilePattern(source);
    expect(compiled).toMatchObject({ ok: false, error: expect.stringMatching(/^not a regular expression: .+/) });
  },
);

test('a program that would be slow on long subjects is refused by size', () => {
  expect(compilePattern('(?:.?){1000}')).toEqual({ ok: false, error: 'the regular expression is too large: 2002 steps, at most 1100' });
  expect(compilePattern('x'.repeat(1024)).ok).toBe(true);
});

test('(a+)+$ takes less than 10 ms on 64 KiB', () => {
  const p = pattern('(a+)+$');
  const subject = `${'a'.repeat(65535)}!`;
  p.matches(subject);
  expect(leastCost(() => expect(p.matches(subject)).toBe(false), 10, 20)).toBeLessThan(10);
});

test('what the engine remembers of a pattern is bounded, whatever the subjects', () => {
  // 2^14 states in the automaton of this one.
  const p = pattern('(?:a|b)*a(?:a|b){13}');
  let seed = 1;
  for (let i = 0; i < 200; i++) {
    let subject = '';
    for (let k = 0; k < 400; k++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      subject += (seed & 0x10000) === 0 ? 'a' : 'b';
    }
    expect(p.matches(subject)).toBe(subject.at(-14) === 'a');
  }
  expect(p.retained()).toBeLessThanOrEqual(256 * 1024);
});
