import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  covers,
  hostMatches,
  intersectHostnames,
  lowerAscii,
  normaliseAuthority,
  normalisePattern,
} from '../../../src/contract/routes/host.ts';

describe('M8, K15: one normalisation of authorities', () => {
  test.each([
    ['example.com', 'example.com', -1],
    ['EXAMPLE.com', 'example.com', -1],
    ['example.com.', 'example.com', -1],
    ['Example.Com.:8443', 'example.com', 8443],
    ['example.com:443', 'example.com', 443],
    ['a_b.example', 'a_b.example', -1],
    ['127.0.0.1:65535', '127.0.0.1', 65535],
    ['[::1]', '[::1]', -1],
    ['[2001:DB8::1]:443', '[2001:db8::1]', 443],
    ['[::ffff:1.2.3.4]', '[::ffff:1.2.3.4]', -1],
  ])('%s', (raw, host, port) => {
    expect(normaliseAuthority(raw)).toEqual({ host, port });
  });

  test.each([
    '',
    '.',
    '..',
    'example.com..',
    '.example.com',
    'a..b',
    ':443',
    'user@example.com',
    'user:pw@example.com',
    'example.com:',
    'example.com:0',
    'example.com:0443',
    'example.com:+443',
    'example.com:443:80',
    'example.com:65536',
    'example.com:4a3',
    'example.com: 443',
    'example.com/',
    'exa mple.com',
    'exa%6dple.com',
    'bücher.example',
    'b\u00fccher.example',
    '\u212aelvin.example',
    'ex\u0131t.example',
    '::1',
    '[::1',
    '[]',
    '[1]',
    '[::1]x',
    '[::1]:',
    '[::1%25eth0]',
    '*',
    '*.example.com',
    `${'a'.repeat(64)}.example`,
    `${'a.'.repeat(127)}com`,
    '__proto__\0',
  ])('%j is refused', (raw) => {
    expect(normaliseAuthority(raw)).toBeNull();
  });

  test('names of objects that JavaScript knows are names like others', () => {
    expect(normaliseAuthority('__proto__')).toEqual({ host: '__proto__', port: -1 });
    expect(normaliseAuthority('constructor:1')).toEqual({ host: 'constructor', port: 1 });
  });

  test('the longest name and label', () => {
    const longest = `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(61)}`;
    expect(longest).toHaveLength(253);
    expect(normaliseAuthority(longest)).toEqual({ host: longest, port: -1 });
    expect(normaliseAuthority(`${longest}.`)).toEqual({ host: longest, port: -1 });
    expect(normaliseAuthority(`${longest}e`)).toBeNull();
  });
});

test('only ASCII letters fold', () => {
  expect(lowerAscii('ABCxyz019[')).toBe('abcxyz019[');
  expect(lowerAscii('\u212a\u0130\u00c4')).toBe('\u212a\u0130\u00c4');
});

test('patterns', () => {
  expect(normalisePattern('*')).toBe('*');
  expect(normalisePattern('*.Example.COM.')).toBe('*.example.com');
  for (const none of ['*.', '**', 'a.*', '*a.com', '*.*.com', 'a*.com', '']) expect(normalisePattern(none)).toBeNull();
});

test('a wildcard stands for one or more labels, not for the bare domain', () => {
  expect(hostMatches('*.example.com', 'a.example.com')).toBe(true);
  expect(hostMatches('*.example.com', 'b.a.example.com')).toBe(true);
  expect(hostMatches('*.example.com', 'example.com')).toBe(false);
  expect(hostMatches('*.example.com', 'badexample.com')).toBe(false);
  expect(hostMatches('*.example.com', '.example.com')).toBe(false);
  expect(hostMatches('*.com', 'example.com')).toBe(true);
  expect(hostMatches('*', 'anything')).toBe(true);
  expect(hostMatches('a.example.com', 'a.example.com')).toBe(true);
});

const label = fc.constantFrom('a', 'b', 'com');
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((l) => l.join('.'));
const pattern = fc.oneof(
  name,
  name.map((n) => `*.${n}`),
  fc.constant('*'),
);

test('an intersection holds exactly the names of both', () => {
  fc.assert(
    fc.property(pattern, pattern, name, (a, b, host) => {
      const both = intersectHostnames(a, b);
      expect(both !== null && hostMatches(both, host)).toBe(hostMatches(a, host) && hostMatches(b, host));
      if (covers(a, b) && hostMatches(b, host)) expect(hostMatches(a, host)).toBe(true);
    }),
    { numRuns: 5000 },
  );
});
