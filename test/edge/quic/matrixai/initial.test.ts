import { describe, expect, test } from '@jest/globals';
import { clientInitialKeys, openInitial, retryTag, sealInitial, serverInitialKeys } from '../../../../src/edge/quic/matrixai/initial.ts';
import { LongHeader, parseInvariant, parseVersion1 } from '../../../../src/edge/quic/matrixai/packet.ts';

// RFC 9001 appendix A.
const dcid = Buffer.from('8394c8f03e515708', 'hex');
const serverPayload = Buffer.from(
  '02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32bb9da1a002b00020304',
  'hex',
);
const serverPacket = Buffer.from(
  'cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee',
  'hex',
);

const parse = (buf: Buffer): LongHeader => {
  const h = new LongHeader();
  expect(parseInvariant(buf, 0, h)).toBe(true);
  expect(parseVersion1(buf, 0, h)).toBe(true);
  return h;
};

describe('RFC 9001 appendix A', () => {
  test('A.1: keys', () => {
    const c = clientInitialKeys(dcid);
    const s = serverInitialKeys(dcid);
    expect([c.key, c.iv, c.hp].map((b) => b.toString('hex'))).toEqual([
      '1f369613dd76d5467730efcbe3b1a22d',
      'fa044b2f42a3fd3b46fb255c',
      '9f50449e04a0e810283a1e9933adedd2',
    ]);
    expect([s.key, s.iv, s.hp].map((b) => b.toString('hex'))).toEqual([
      'cf3a5331653c364c88f0f379b6067e37',
      '0ac1493ca1905853b0bba03e',
      'c206b8d9b9f0f37644430b490eeaa314',
    ]);
  });

  test('A.3: the server Initial, sealed and opened', () => {
    const sealed = sealInitial(serverInitialKeys(dcid), Buffer.alloc(0), Buffer.from('f067a5502a4262b5', 'hex'), 1, serverPayload);
    expect(sealed.toString('hex')).toBe(serverPacket.toString('hex'));
    const before = Buffer.from(serverPacket);
    expect(openInitial(serverPacket, 0, parse(serverPacket), serverInitialKeys(dcid))).toEqual(serverPayload);
    expect(serverPacket.equals(before)).toBe(true);
  });

  test('A.4: the Retry tag', () => {
    const retry = Buffer.from('ff000000010008f067a5502a4262b5746f6b656e', 'hex');
    expect(retryTag(dcid, retry).toString('hex')).toBe('04a265ba2eff4d829058fb3f0f2496ba');
  });
});

test('every flipped bit behind the header is noticed, every prefix too', () => {
  const keys = serverInitialKeys(dcid);
  for (let bit = 0; bit < serverPacket.length * 8; bit++) {
    const bad = Buffer.from(serverPacket);
    bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7));
    const h = new LongHeader();
    if (!parseInvariant(bad, 0, h) || !parseVersion1(bad, 0, h)) continue;
    expect(openInitial(bad, 0, h, keys)).toBeNull();
  }
  for (let n = 0; n < serverPacket.length; n++) {
    const h = new LongHeader();
    const cut = serverPacket.subarray(0, n);
    expect(parseInvariant(cut, 0, h) && parseVersion1(cut, 0, h)).toBe(false);
  }
});
