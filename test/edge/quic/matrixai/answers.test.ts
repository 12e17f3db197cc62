import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { initialClose, MIN_RESET_TRIGGER, retry, statelessReset, versionNegotiation } from '../../../../src/edge/quic/matrixai/answers.ts';
import { retryTag } from '../../../../src/edge/quic/matrixai/initial.ts';
import { resetToken, resetTokenNumber } from '../../../../src/edge/quic/matrixai/reset.ts';
import { closeCode, isVersionNegotiation, readRetry } from '../wire.ts';

const dcid = Buffer.from('0102030405060708', 'hex');
const scid = Buffer.from('a1a2a3a4', 'hex');

test('Version Negotiation swaps the ids and offers version 1 and a reserved one', () => {
  for (let i = 0; i < 50; i++) {
    const p = versionNegotiation(dcid, scid);
    expect(isVersionNegotiation(p)).toBe(true);
    expect(p.subarray(5, 19).toString('hex')).toBe('04a1a2a3a4080102030405060708');
    expect(p.readUInt32BE(19)).toBe(1);
    expect((p.readUInt32BE(23) & 0x0f0f0f0f) >>> 0).toBe(0x0a0a0a0a);
    expect(p.length).toBe(27);
  }
});

test('a Retry carries id and token, and the tag over the first id', () => {
  const id = randomBytes(17);
  const token = randomBytes(56);
  const p = retry(dcid, scid, id, token);
  expect(readRetry(p)).toEqual({ id, token });
  expect(p.subarray(-16)).toEqual(retryTag(dcid, p.subarray(0, -16)));
});

test('a refusal is an Initial that the client can read', () => {
  for (const code of [0x02, 0x0b, 0x170, 0x178]) {
    const p = initialClose(dcid, scid, code);
    expect(closeCode(p, dcid)).toBe(code);
    expect(p.length).toBeLessThan(100);
  }
});

test('U6: a reset is smaller than its trigger, at least 21 bytes, and ends with the token', () => {
  const token = resetToken(Buffer.alloc(32, 1), randomBytes(17));
  for (let trigger = MIN_RESET_TRIGGER; trigger < 1500; trigger++) {
    const p = statelessReset(token, trigger);
    expect(p.length).toBeLessThan(trigger);
    expect(p.length).toBeGreaterThanOrEqual(21);
    expect((p[0] as number) & 0xc0).toBe(0x40);
    expect(p.subarray(-16)).toEqual(token);
  }
});

test('reset tokens differ by id and key, and the number is the bytes', () => {
  const id = randomBytes(17);
  const key = randomBytes(32);
  const t = resetToken(key, id);
  expect(t.length).toBe(16);
  expect(resetTokenNumber(key, id).toString(16).padStart(32, '0')).toBe(t.toString('hex'));
  expect(resetToken(key, randomBytes(17)).equals(t)).toBe(false);
  expect(resetToken(randomBytes(32), id).equals(t)).toBe(false);
});
