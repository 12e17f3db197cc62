import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { canonicalPath, normaliseTarget } from '../../../src/contract/routes/path.ts';

const forwarded = (raw: string, slashes: 'Reject' | 'Keep' = 'Reject'): string => {
  const t = normaliseTarget(raw, slashes);
  return typeof t === 'string' ? `error: ${t}` : t.path + (t.hasQuery ? `?${t.query}` : '');
};

describe('M13: one string is matched and forwarded', () => {
  test.each([
    // raw, Reject, Keep
    ['/', '/', '/'],
    ['/a/b', '/a/b', '/a/b'],
    ['*', '*', '*'],
    ['/a?b=c&d', '/a?b=c&d', '/a?b=c&d'],
    ['/a?', '/a?', '/a?'],
    ['/a?b/../c%2f%00', '/a?b/../c%2f%00', '/a?b/../c%2f%00'],
    ['//a//b/', '//a//b/', '//a//b/'],
    ['/a/./b', '/a/b', '/a/b'],
    ['/a/../b', '/b', '/b'],
    ['/../../b', '/b', '/b'],
    ['/a/b/..', '/a/', '/a/'],
    ['/a/.', '/a/', '/a/'],
    ['/..', '/', '/'],
    ['/a//../b', '/a/b', '/a/b'],
    ['/a/%2e%2e/b', '/b', '/b'],
    ['/a/%2E%2e/b', '/b', '/b'],
    ['/a/.%2e/b', '/b', '/b'],
    ['/a/%2e/b', '/a/b', '/a/b'],
    ['/a/.../b', '/a/.../b', '/a/.../b'],
    ['/a/.hidden', '/a/.hidden', '/a/.hidden'],
    ['/a/x..', '/a/x..', '/a/x..'],
    ['/a/..;/b', '/a/..;/b', '/a/..;/b'],
    ['/a/..%3b/b', '/a/..%3B/b', '/a/..%3B/b'],
    ['/a;v=1/b', '/a;v=1/b', '/a;v=1/b'],
    ['/%61dmin', '/admin', '/admin'],
    ['/%7euser', '/~user', '/~user'],
    ['/%25%32%65', '/%252e', '/%252e'],
    ['/%252e%252e/a', '/%252e%252e/a', '/%252e%252e/a'],
    ['/caf%c3%a9', '/caf%C3%A9', '/caf%C3%A9'],
    ['/caf\u00c3\u00a9', '/caf%C3%A9', '/caf%C3%A9'],
    ['/latin%e9x', '/latin%E9x', '/latin%E9x'],
    ['/a%2fb', 'error: escaped_separator', '/a%2Fb'],
    ['/a%2Fb', 'error: escaped_separator', '/a%2Fb'],
    ['/a%5cb', 'error: escaped_separator', '/a%5Cb'],
    ['/a%5Cb', 'error: escaped_separator', '/a%5Cb'],
    ['/a\\b', 'error: escaped_separator', '/a%5Cb'],
    ['/..%2f..%2fb', 'error: escaped_separator', '/..%2F..%2Fb'],
    ['/..\\b', 'error: escaped_separator', '/..%5Cb'],
    ['/a%00', 'error: nul', 'error: nul'],
    ['/a/../%00b', 'error: nul', 'error: nul'],
    ['/%c0%ae%c0%ae/a', 'error: malformed', 'error: malformed'],
    ['/%c0%af', 'error: malformed', 'error: malformed'],
    ['/\u00c0\u00af', 'error: malformed', 'error: malformed'],
    ['/%c1%9c', 'error: malformed', 'error: malformed'],
    ['/%e0%80%af', 'error: malformed', 'error: malformed'],
    ['/%e0%a4%b9', '/%E0%A4%B9', '/%E0%A4%B9'],
    ['/%f0%80%80%af', 'error: malformed', 'error: malformed'],
    ['/%f0%9f%91%bb', '/%F0%9F%91%BB', '/%F0%9F%91%BB'],
    ['/%', 'error: malformed', 'error: malformed'],
    ['/%4', 'error: malformed', 'error: malformed'],
    ['/%zz', 'error: malformed', 'error: malformed'],
    ['/%0g', 'error: malformed', 'error: malformed'],
    ['/a#b', 'error: malformed', 'error: malformed'],
    ['/a?b#c', 'error: malformed', 'error: malformed'],
    ['/a b', 'error: malformed', 'error: malformed'],
    ['/a?b c', 'error: malformed', 'error: malformed'],
    ['/a\rb', 'error: malformed', 'error: malformed'],
    ['/a\x7fb', 'error: malformed', 'error: malformed'],
    ['', 'error: malformed', 'error: malformed'],
    ['a/b', 'error: malformed', 'error: malformed'],
    ['http://a/b', 'error: malformed', 'error: malformed'],
    ['?a', 'error: malformed', 'error: malformed'],
    ['**', 'error: malformed', 'error: malformed'],
    ['/%2e%2e%00', 'error: nul', 'error: nul'],
  ])('%j', (raw, reject, keep) => {
    expect(forwarded(raw, 'Reject')).toBe(reject);
    expect(forwarded(raw, 'Keep')).toBe(keep);
  });
});

const piece = fc.constantFrom(
  '/',
  '/',
  '.',
  '..',
  'a',
  'b',
  '%2e',
  '%2E',
  '%2f',
  '%5C',
  '%25',
  ';',
  '%c3%a9',
  '\\',
  '%00',
  '?',
  '%',
  'Z',
  '\u00e9',
  '%41',
);

test('normalising is done once and for all: a second time changes nothing, and no dot segment is left', () => {
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }), fc.constantFrom<'Reject' | 'Keep'>('Reject', 'Keep'), (pieces, slashes) => {
      const t = normaliseTarget(`/${pieces.join('')}`, slashes);
      if (typeof t === 'string') return;
      expect(normaliseTarget(t.path, slashes)).toEqual({ path: t.path, query: '', hasQuery: false });
      expect(t.path).toMatch(/^\/[\x21\x22\x24-\x3e\x40-\x5b\x5d-\x7e]*$/);
      expect(t.path.split('/')).not.toContain('.');
      expect(t.path.split('/')).not.toContain('..');
      expect(t.path).not.toMatch(slashes === 'Reject' ? /%2f|%5c|%00/i : /%00/);
    }),
    { numRuns: 3000 },
  );
});

test('a decoder that sees through everything decodes the forwarded path to what the request asked for', () => {
  const segment = fc.constantFrom('a', 'bc', '%61', '..', '.', '%2e%2E', '', 'caf%C3%A9', '%20');
  fc.assert(
    fc.property(fc.array(segment, { minLength: 1, maxLength: 8 }), (segments) => {
      const raw = `/${segments.join('/')}`;
      // The WHATWG parser removes dot segments of both spellings and leaves other escapes: an independent opinion.
      const other = new URL(`https://h${raw}`).pathname;
      expect(decodeURIComponent(forwarded(raw))).toBe(decodeURIComponent(other));
    }),
    { numRuns: 2000 },
  );
});

test('paths of routes take the same form', () => {
  expect(canonicalPath('/café/./x')).toBe('/caf%C3%A9/x');
  expect(canonicalPath('/%61')).toBe('/a');
  expect(canonicalPath('/a%2fb')).toBe('/a%2Fb');
  for (const none of ['a', '/a?b', '/a#b', '/a b', '/%', '/%00', '/%c0%ae']) expect(canonicalPath(none)).toBeNull();
});
