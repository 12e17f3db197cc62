import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { addressFrom } from '../../../../src/edge/quic/address.ts';
import type { Address } from '../../../../src/edge/quic/engine.ts';
import { openToken, sealToken, TOKEN_LENGTH, TOKEN_LIFE_MS, UsedTokens } from '../../../../src/edge/quic/matrixai/token.ts';

const at = (h: string, port: number): Address => addressFrom(h, port) as Address;
const keys = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
const from = at('192.0.2.1', 4433);
const id = Buffer.alloc(17, 5);
const odcid = Buffer.from('0102030405060708', 'hex');
const NOW = 1_700_000_000_000;
const token = sealToken(keys, from, id, odcid, NOW);

describe('U5: tokens', () => {
  test('a good one gives back the first id', () => {
    expect(token.length).toBe(TOKEN_LENGTH);
    expect(openToken(keys, token, from, id, NOW + 100)).toEqual({ kind: 'valid', odcid });
    expect(openToken([Buffer.alloc(32, 9), ...keys], token, from, id, NOW)).toEqual({ kind: 'valid', odcid });
  });

  test('any address, port, id, time and first id', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6());
    fc.assert(
      fc.property(
        host,
        fc.integer({ min: 1, max: 65535 }),
        fc.uint8Array({ minLength: 17, maxLength: 17 }),
        fc.uint8Array({ minLength: 8, maxLength: 20 }),
        fc.integer({ min: 0, max: TOKEN_LIFE_MS }),
        (h, port, scid, first, age) => {
          const t = sealToken(keys, at(h, port), scid, first, NOW);
          expect(openToken(keys, t, at(h, port), scid, NOW + age)).toEqual({ kind: 'valid', odcid: Buffer.from(first) });
        },
      ),
    );
  });

  test('every flipped bit is refused', () => {
    for (let bit = 0; bit < token.length * 8; bit++) {
      const bad = Buffer.from(token);
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(openToken(keys, bad, from, id, NOW).kind).toBe(bit < 8 ? 'none' : 'invalid');
    }
  });

  test('every prefix and every longer one is refused', () => {
    for (let n = 0; n < token.length; n++)
      expect(openToken(keys, token.subarray(0, n), from, id, NOW).kind).toBe(n === 0 ? 'none' : 'invalid');
    expect(openToken(keys, Buffer.concat([token, Buffer.alloc(1)]), from, id, NOW).kind).toBe('invalid');
  });

  test('another address, port or id is refused', () => {
    expect(openToken(keys, token, at('192.0.2.2', 4433), id, NOW).kind).toBe('invalid');
    expect(openToken(keys, token, at('192.0.2.1', 4434), id, NOW).kind).toBe('invalid');
    expect(openToken(keys, token, from, Buffer.alloc(17, 6), NOW).kind).toBe('invalid');
    expect(openToken(keys, token, from, id.subarray(0, 16), NOW).kind).toBe('invalid');
  });

  test('ten seconds are its life, and it is not from the future', () => {
    expect(openToken(keys, token, from, id, NOW + TOKEN_LIFE_MS).kind).toBe('valid');
    expect(openToken(keys, token, from, id, NOW + TOKEN_LIFE_MS + 1).kind).toBe('expired');
    expect(openToken(keys, token, from, id, NOW - 60_000).kind).toBe('expired');
  });

  test('rotation: the older key still opens, an unknown one does not', () => {
    const old = sealToken([keys[1] as Buffer], from, id, odcid, NOW);
    expect(openToken(keys, old, from, id, NOW).kind).toBe('valid');
    expect(openToken([keys[0] as Buffer], old, from, id, NOW).kind).toBe('invalid');
  });

  test('nonsense of other kinds counts as no token', () => {
    for (const s of ['{"t":1,"odcid":"00"}', 'null', 'A', '\0', 'token'.repeat(50)])
      expect(openToken(keys, Buffer.from(s), from, id, NOW).kind).toBe('none');
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (b) => openToken(keys, b, from, id, NOW).kind !== 'valid'));
  });

  test('no token works twice while it lives', () => {
    const used = new UsedTokens(4);
    expect(used.use(token, 0)).toBe(true);
    expect(used.use(token, 1)).toBe(false);
    expect(used.use(Buffer.from(token), TOKEN_LIFE_MS)).toBe(false);
    const others = Array.from({ length: 20 }, () => sealToken(keys, from, id, odcid, NOW));
    for (const t of others) expect(used.use(t, 5)).toBe(true);
  });
});
