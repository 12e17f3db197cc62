import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { LongHeader, parseInvariant, parseVersion1 } from '../../../../src/edge/quic/matrixai/packet.ts';

test('random bytes never throw, and what is accepted lies inside', () => {
  const h = new LongHeader();
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 80 }), fc.boolean(), (bytes, v1) => {
      const buf = Buffer.from(bytes);
      buf[0] = (buf[0] as number) | 0xc0;
      if (v1 && buf.length > 6) buf.set([0, 0, 0, 1, (buf[5] as number) % 24], 1);
      if (!parseInvariant(buf, 0, h)) return;
      expect(h.scidAt + h.scidLength).toBeLessThanOrEqual(buf.length);
      if (!parseVersion1(buf, 0, h)) return;
      expect(h.end).toBeLessThanOrEqual(buf.length);
      expect(h.numberAt).toBeLessThanOrEqual(h.end);
      expect(h.tokenAt + h.tokenLength).toBeLessThanOrEqual(h.numberAt);
      expect(Math.max(h.dcidLength, h.scidLength)).toBeLessThanOrEqual(20);
    }),
    { numRuns: 2000 },
  );
});

test('ids of version 1 end at twenty bytes, those of others at 255', () => {
  const h = new LongHeader();
  const packet = (n: number): Buffer => Buffer.concat([Buffer.from([0xc0, 0, 0, 0, 1, n]), Buffer.alloc(n), Buffer.from([0, 0, 1, 9])]);
  expect(parseInvariant(packet(20), 0, h) && parseVersion1(packet(20), 0, h)).toBe(true);
  expect(parseInvariant(packet(21), 0, h)).toBe(true);
  expect(parseVersion1(packet(21), 0, h)).toBe(false);
  expect(parseInvariant(packet(255), 0, h)).toBe(true);
});

test('lengths that point behind the datagram, and a cleared fixed bit, are malformed', () => {
  const h = new LongHeader();
  for (const tail of ['7fff', 'ffffffffffffffff', '00bfffffff', '00ffffffffffffffff', '0002', 'c0']) {
    const buf = Buffer.concat([Buffer.from([0xc0, 0, 0, 0, 1, 8]), Buffer.alloc(8), Buffer.from([0]), Buffer.from(tail, 'hex')]);
    expect(parseInvariant(buf, 0, h)).toBe(true);
    expect(parseVersion1(buf, 0, h)).toBe(false);
  }
  const good = Buffer.concat([Buffer.from([0x80, 0, 0, 0, 1, 8]), Buffer.alloc(8), Buffer.from([0, 0, 1, 9])]);
  expect(parseInvariant(good, 0, h)).toBe(true);
  expect(parseVersion1(good, 0, h)).toBe(false);
  const retry = Buffer.concat([Buffer.from([0xf0, 0, 0, 0, 1, 8]), Buffer.alloc(8), Buffer.from([0]), Buffer.alloc(40)]);
  expect(parseInvariant(retry, 0, h)).toBe(true);
  expect(parseVersion1(retry, 0, h)).toBe(false);
});
