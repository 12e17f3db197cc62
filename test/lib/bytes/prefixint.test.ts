import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { INCOMPLETE, TOO_LARGE, prefixEnd, prefixIntSize, readPrefixInt, writePrefixInt } from '../../../src/lib/bytes/prefixint.ts';

const MAX = Number.MAX_SAFE_INTEGER;

function encode(prefixBits: number, flags: number, value: number): Uint8Array {
  const out = new Uint8Array(16);
  return out.slice(0, writePrefixInt(out, 0, prefixBits, flags, value));
}

describe('RFC 7541 appendix C.1', () => {
  test.each([
    ['C.1.1: 10 with a 5-bit prefix', 5, 0b1010_0000, 10, [0b1010_1010]],
    ['C.1.2: 1337 with a 5-bit prefix', 5, 0b1110_0000, 1337, [0b1111_1111, 0b1001_1010, 0b0000_1010]],
    ['C.1.3: 42 at an octet boundary', 8, 0, 42, [0b0010_1010]],
  ])('%s', (_name, bits, flags, value, octets) => {
    expect([...encode(bits, flags, value)]).toEqual(octets);
    expect(readPrefixInt(Uint8Array.from(octets), 0, octets.length, bits)).toBe(value);
    expect(prefixEnd.at).toBe(octets.length);
  });
});

test('every value comes back, at any prefix and offset, and its size is foretold', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.maxSafeNat(), fc.integer({ min: 0, max: 5 }), (bits, value, offset) => {
      const out = new Uint8Array(24);
      const end = writePrefixInt(out, offset, bits, 0, value);
      expect(end - offset).toBe(prefixIntSize(bits, value));
      prefixEnd.at = -1;
      expect(readPrefixInt(out, offset, end, bits)).toBe(value);
      expect(prefixEnd.at).toBe(end);
    }),
    { numRuns: 2000 },
  );
});

test('every proper prefix of an integer is incomplete', () => {
  for (const value of [31, 32, 1337, 2 ** 31, 2 ** 32, 2 ** 49, MAX]) {
    const octets = encode(5, 0, value);
    for (let end = 0; end < octets.length; end++) expect(readPrefixInt(octets, 0, end, 5)).toBe(INCOMPLETE);
  }
});

test('P9: 2^53-1 is read, one more is too large, nothing wraps at 32 or 64 bits', () => {
  const largest = encode(7, 0, MAX);
  expect(readPrefixInt(largest, 0, largest.length, 7)).toBe(MAX);
  // 2^53-1 - 127, little endian in groups of seven, plus one
  const above = Uint8Array.of(0x7f, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f);
  expect(readPrefixInt(above, 0, above.length, 7)).toBe(TOO_LARGE);
  const legal = Uint8Array.of(0x7f, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f);
  expect(readPrefixInt(legal, 0, legal.length, 7)).toBe(MAX);
  // 2^62-1 and 2^64
  expect(readPrefixInt(Uint8Array.of(0x7f, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f), 0, 10, 7)).toBe(TOO_LARGE);
  expect(readPrefixInt(Uint8Array.of(0x7f, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), 0, 11, 7)).toBe(TOO_LARGE);
});

test('P9: ten continuation octets are read, the eleventh is refused without waiting for it', () => {
  const ten = Uint8Array.of(0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00);
  expect(readPrefixInt(ten, 0, ten.length, 8)).toBe(255);
  expect(prefixEnd.at).toBe(11);
  const eleven = Uint8Array.of(0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80);
  expect(readPrefixInt(eleven, 0, eleven.length, 8)).toBe(TOO_LARGE);
});

test('any bytes: a value, incomplete or too large, and never past the end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 14 }), fc.integer({ min: 1, max: 8 }), (bytes, bits) => {
      prefixEnd.at = 0;
      const value = readPrefixInt(bytes, 0, bytes.length, bits);
      expect(value === INCOMPLETE || value === TOO_LARGE || Number.isSafeInteger(value)).toBe(true);
      expect(prefixEnd.at).toBeLessThanOrEqual(bytes.length);
    }),
  );
});
