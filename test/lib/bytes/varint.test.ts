import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { VARINT_SATURATED, readVarint, varintLength, varintSize, writeVarint } from '../../../src/lib/bytes/varint.ts';

describe('RFC 9000 appendix A.1', () => {
  test.each([
    ['c2197c5eff14e88c', 151_288_809_941_952_652n],
    ['9d7f3e7d', 494_878_333n],
    ['7bbd', 15_293n],
    ['25', 37n],
    ['4025', 37n],
  ])('%s', (hex, value) => {
    const bytes = Buffer.from(hex, 'hex');
    expect(varintLength(bytes[0] as number)).toBe(bytes.length);
    const expected = value > BigInt(Number.MAX_SAFE_INTEGER) ? VARINT_SATURATED : Number(value);
    expect(readVarint(bytes, 0)).toBe(expected);
  });
});

test('shortest form at every boundary', () => {
  const rows: [number, string][] = [
    [0, '00'],
    [63, '3f'],
    [64, '4040'],
    [16383, '7fff'],
    [16384, '80004000'],
    [2 ** 30 - 1, 'bfffffff'],
    [2 ** 30, 'c000000040000000'],
    [2 ** 32, 'c000000100000000'],
    [Number.MAX_SAFE_INTEGER, 'c01fffffffffffff'],
  ];
  for (const [value, hex] of rows) {
    const out = Buffer.alloc(8);
    const end = writeVarint(out, 0, value);
    expect(out.toString('hex', 0, end)).toBe(hex);
    expect(varintSize(value)).toBe(end);
    expect(readVarint(out, 0)).toBe(value);
  }
});

test('P9: what a number cannot hold is saturated, never wrapped', () => {
  expect(readVarint(Buffer.from('c020000000000000', 'hex'), 0)).toBe(VARINT_SATURATED);
  expect(readVarint(Buffer.from('ffffffffffffffff', 'hex'), 0)).toBe(VARINT_SATURATED);
  expect(readVarint(Buffer.from('fffffffffffffffc', 'hex'), 0)).toBe(VARINT_SATURATED);
});

test('every value comes back, at any offset', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 7 }), (value, offset) => {
      const out = new Uint8Array(16);
      const end = writeVarint(out, offset, value);
      expect(end - offset).toBe(varintSize(value));
      expect(varintLength(out[offset] as number)).toBe(end - offset);
      expect(readVarint(out, offset)).toBe(value);
    }),
    { numRuns: 2000 },
  );
});
