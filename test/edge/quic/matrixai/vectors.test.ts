import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { addressFrom } from '../../../../src/edge/quic/address.ts';
import type { Address } from '../../../../src/edge/quic/engine.ts';
import { initialClose, retry } from '../../../../src/edge/quic/matrixai/answers.ts';
import { resetToken } from '../../../../src/edge/quic/matrixai/reset.ts';
import { openToken, TOKEN_LIFE_MS } from '../../../../src/edge/quic/matrixai/token.ts';
import { closeCode, readRetry } from '../wire.ts';

interface Golden {
  resetTokens: { key: string; id: string; token: string }[];
  /** `by`: the engine that sealed it. */
  tokens: { by: string; key: string; host: string; port: number; id: string; odcid: string; time: number; token: string }[];
  retries: { dcid: string; scid: string; id: string; token: string; packet: string }[];
  closes: { dcid: string; scid: string; code: number; packet: string }[];
}

const golden = JSON.parse(readFileSync(new URL('../../../golden/gate.json', import.meta.url), 'utf8')) as Golden;
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');

describe('the golden vectors of the gate, which every engine shares', () => {
  test('reset tokens', () => {
    expect(golden.resetTokens.length).toBeGreaterThan(3);
    for (const v of golden.resetTokens) expect(resetToken(bytes(v.key), bytes(v.id)).toString('hex')).toBe(v.token);
  });

  test('Retry tokens of either engine', () => {
    expect(new Set(golden.tokens.map((v) => v.by))).toEqual(new Set(['matrixai', 'native']));
    for (const v of golden.tokens) {
      const from = addressFrom(v.host, v.port) as Address;
      const open = (wall: number, key = bytes(v.key), id = bytes(v.id)) => openToken([key], bytes(v.token), from, id, wall);
      expect(open(v.time)).toEqual({ kind: 'valid', odcid: bytes(v.odcid) });
      expect(open(v.time + TOKEN_LIFE_MS)).toEqual({ kind: 'valid', odcid: bytes(v.odcid) });
      expect(open(v.time + TOKEN_LIFE_MS + 1)).toEqual({ kind: 'expired' });
      expect(open(v.time - 2_001)).toEqual({ kind: 'expired' });
      expect(open(v.time, Buffer.alloc(32, 9))).toEqual({ kind: 'invalid' });
      expect(open(v.time, undefined, Buffer.alloc(17, 9))).toEqual({ kind: 'invalid' });
    }
  });

  test('Retry packets', () => {
    expect(golden.retries.length).toBeGreaterThan(2);
    for (const v of golden.retries) {
      const packet = retry(bytes(v.dcid), bytes(v.scid), bytes(v.id), bytes(v.token));
      expect(packet.toString('hex')).toBe(v.packet);
      expect(readRetry(packet)).toEqual({ id: bytes(v.id), token: bytes(v.token) });
    }
  });

  test('refusals', () => {
    expect(golden.closes.length).toBeGreaterThan(2);
    for (const v of golden.closes) {
      const packet = initialClose(bytes(v.dcid), bytes(v.scid), v.code);
      expect(packet.toString('hex')).toBe(v.packet);
      expect(closeCode(packet, bytes(v.dcid))).toBe(v.code);
    }
  });
});
