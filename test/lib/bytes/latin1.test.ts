import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { latin1, writeLatin1 } from '../../../src/lib/bytes/latin1.ts';

/** One by one, as the rule says it. */
const bytesOf = (text: string): number[] =>
  Array.from({ length: text.length }, (_, i) => Math.min(text.charCodeAt(i), 0x100)).map((c) => (c > 0xff ? 0x3f : c));

const SLACK = 4;

function write(text: string, room: number): number[] {
  const out = Buffer.alloc(3 + room, 0xaa);
  expect(writeLatin1(out, 3, text)).toBe(3 + text.length);
  expect([...out.subarray(0, 3)]).toEqual([0xaa, 0xaa, 0xaa]);
  expect([...out.subarray(3 + text.length + SLACK)]).toEqual(Array.from({ length: Math.max(0, room - text.length - SLACK) }, () => 0xaa));
  return [...out.subarray(3, 3 + text.length)];
}

const unit = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0x20, max: 0x7e }) },
  { weight: 1, arbitrary: fc.constantFrom(0x80, 0xe9, 0xff, 0x100, 0x10a, 0x10d, 0x7ff, 0x800, 0xd800, 0xdc00, 0xffff) },
);
const text = fc.array(unit, { maxLength: 120 }).map((codes) => String.fromCharCode(...codes));

test('a byte per character, whatever the text and however little room there is', () => {
  fc.assert(
    fc.property(text, fc.integer({ min: 0, max: 40 }), (t, more) => {
      expect(write(t, t.length + more)).toEqual(bytesOf(t));
    }),
    { numRuns: 2000 },
  );
});

test('texts whose UTF-8, cut off, has just as many bytes as they have characters', () => {
  for (let high = 1; high <= 6; high++) {
    for (let at = 0; at <= 30; at++) {
      const t = 'a'.repeat(at) + '\u00e9'.repeat(high) + 'b'.repeat(30 - at);
      for (let more = 0; more <= 8; more++) expect(write(t, t.length + more)).toEqual(bytesOf(t));
    }
  }
});

test('what was written is read again', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const t = latin1(bytes, 0, bytes.length);
      expect(write(t, t.length)).toEqual([...bytes]);
    }),
  );
});
