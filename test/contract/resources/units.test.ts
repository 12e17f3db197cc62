import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  formatDuration,
  formatHostPort,
  formatSize,
  parseDuration,
  parseHostPort,
  parseSize,
  parseStatuses,
  readDuration,
  readHostPort,
  readSize,
  readStatuses,
} from '../../../src/contract/resources/units.ts';

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h30m', 5_400_000],
    ['1h2m3s4ms', 3_723_004],
    ['99999h', 359_996_400_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    '',
    '5',
    's',
    '1.5s',
    '-1s',
    '5 s',
    '1d',
    '123456s',
    '1s1s1s1s1s',
    '0x1s',
    '1S',
    '١s',
    ' 1s',
    '1s\n',
    '99999h99999h99999h99999h9',
  ])('%j is none', (text) => {
    expect(readDuration(text)).toBeNull();
    expect(() => parseDuration(text)).toThrow('not a duration');
  });

  test('text of a number of milliseconds means the same number', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 99_999_000 }), (ms) => expect(parseDuration(formatDuration(ms))).toBe(ms)));
  });
});

describe('sizes', () => {
  test.each([
    ['0', 0],
    [0, 0],
    [65536, 65536],
    ['64Ki', 65536],
    ['16Mi', 16 * 1024 ** 2],
    ['1024Gi', 1024 ** 4],
    ['1Ti', 1024 ** 4],
  ])('%j is %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each(['', '5k', '5M', '5KiB', '1.5Mi', '-1', '1e3', '0x10', '9999999999999999', '999999999999999Ti', ' 1', 1.5, -1, Number.NaN])(
    '%j is none',
    (text) => {
      expect(readSize(text)).toBeNull();
      expect(() => parseSize(text)).toThrow('not a size');
    },
  );

  test('text of a number of bytes means the same number', () => {
    fc.assert(fc.property(fc.maxSafeNat().map((n) => n % 10 ** 15), (n) => expect(parseSize(formatSize(n))).toBe(n))); // prettier-ignore
  });
});

describe('statuses', () => {
  test.each([
    [200, 200, 200],
    ['200', 200, 200],
    ['200-299', 200, 299],
    ['100-599', 100, 599],
  ])('%j is %d to %d', (text, low, high) => {
    expect(parseStatuses(text)).toEqual([low, high]);
  });

  test.each(['', '20', '2000', '600', '99', '299-200', '200-', '-200', '200-299-300', '200 - 299', 200.5, '2xx'])('%j is none', (text) => {
    expect(readStatuses(text)).toBeNull();
    expect(() => parseStatuses(text)).toThrow('not a range of statuses');
  });
});

describe('addresses', () => {
  test.each([
    ['192.0.2.10:7001', '192.0.2.10', 7001],
    ['db.example.net:65535', 'db.example.net', 65535],
    ['[2001:db8::1]:0', '2001:db8::1', 0],
  ])('%s', (text, host, port) => {
    expect(parseHostPort(text)).toEqual({ host, port });
    expect(formatHostPort({ host, port })).toBe(text);
  });

  test.each(['', ':80', 'a', 'a:', 'a:65536', 'a:1x', '2001:db8::1:80', '[a]:80', '[::1]', '[::1:80', '::1]:80', 'a:+80', 'a: 80'])(
    '%j is none',
    (text) => {
      expect(readHostPort(text)).toBeNull();
      expect(() => parseHostPort(text)).toThrow('not an address');
    },
  );
});
