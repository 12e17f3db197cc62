import { expect, test } from '@jest/globals';
import type { ClientStream } from '../../../src/edge/http/message.ts';
import { KEPT_BYTES, KeptBody } from '../../../src/edge/proxy/retry.ts';

/** A body as it was kept: what is written of it, piece by piece. */
function pieces(kept: KeptBody): Buffer[] {
  const out: Buffer[] = [];
  const write = (buf: Uint8Array, start: number, end: number): boolean => out.push(Buffer.from(buf.subarray(start, end))) > 0;
  kept.writeTo({ write } as unknown as ClientStream);
  return out;
}

const bytes = (n: number): Buffer => Buffer.from(Array.from({ length: n }, (_, i) => i % 251));

test.each([1, 2, 7, 100, 1000, 4095, 4096, 4097, 20_000, KEPT_BYTES])(
  'a body in pieces of %i bytes is kept whole, in few of them',
  (size) => {
    const body = bytes(KEPT_BYTES);
    const kept = new KeptBody();
    for (let at = 0; at < body.length; at += size) kept.add(body, at, Math.min(at + size, body.length));
    for (let again = 0; again < 2; again++) {
      const out = pieces(kept);
      expect(Buffer.concat(out).equals(body)).toBe(true);
      // Each is an allocation that costs a few hundred bytes, whatever it holds: DATA frames of one byte must not be kept as such.
      expect(out.length).toBeLessThanOrEqual(KEPT_BYTES / 4096 + 1);
    }
  },
);

test('what is kept is a copy, also behind what is there already', () => {
  const kept = new KeptBody();
  const lent = Buffer.from('abc');
  kept.add(lent, 0, 1);
  kept.add(lent, 1, 3);
  lent.fill('x');
  kept.add(lent, 0, 1);
  expect(Buffer.concat(pieces(kept)).toString()).toBe('abcx');
});
