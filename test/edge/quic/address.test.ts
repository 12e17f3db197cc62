import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { addressFrom, addressText, hostOf, isMapped, limitKey, portOf, sameAddress } from '../../../src/edge/quic/address.ts';
import type { Address } from '../../../src/edge/quic/engine.ts';

const a = (host: string, port = 1): Address => addressFrom(host, port) as Address;

test('bytes: IPv4 is mapped, the port is big endian', () => {
  expect(Buffer.from(a('192.0.2.1', 0x1234)).toString('hex')).toBe('00000000000000000000ffffc00002011234');
  expect(Buffer.from(a('2001:db8::1', 443)).toString('hex')).toBe('20010db800000000000000000000000101bb');
  expect(isMapped(a('10.0.0.1'))).toBe(true);
  expect(isMapped(a('::1'))).toBe(false);
});

test('text as RFC 5952 has it', () => {
  const cases = ['::', '::1', '1::', '2001:db8::1', '2001:db8:0:1:1:1:1:1', '2001:0:0:1::1', 'fe80::1', '1:2:3:4:5:6:7:8', '0:0:1::'];
  for (const c of cases.slice(0, 8)) expect(hostOf(a(c))).toBe(c);
  expect(hostOf(a('2001:DB8:0:0:0:0:0:1'))).toBe('2001:db8::1');
  expect(hostOf(a('::ffff:192.0.2.7'))).toBe('192.0.2.7');
  expect(hostOf(a('64:ff9b::192.0.2.33'))).toBe('64:ff9b::c000:221');
  expect(hostOf(a('fe80::1%eth0'))).toBe('fe80::1');
  expect(addressText(a('2001:db8::1', 443))).toBe('[2001:db8::1]:443');
  expect(addressText(a('192.0.2.1', 80))).toBe('192.0.2.1:80');
});

test('what is no address gives null', () => {
  for (const h of ['', 'localhost', '1.2.3', '1.2.3.4.5', '256.0.0.1', '1:2', ':::', '2001:db8::g', '01.2.3.4 '])
    expect(addressFrom(h, 1)).toBeNull();
  for (const p of [-1, 65536, 1.5, Number.NaN]) expect(addressFrom('127.0.0.1', p)).toBeNull();
});

test('text and bytes are two forms of one thing', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 0, max: 65535 }), (host, port) => {
      const x = a(host, port);
      expect(sameAddress(a(hostOf(x), portOf(x)), x)).toBe(true);
      expect(portOf(x)).toBe(port);
    }),
  );
  expect(sameAddress(a('127.0.0.1', 1), a('127.0.0.1', 2))).toBe(false);
});

test('limits count by IPv4 address and by IPv6 /64', () => {
  expect(limitKey(a('192.0.2.1', 5))).toBe(limitKey(a('192.0.2.1', 6)));
  expect(limitKey(a('192.0.2.1'))).not.toBe(limitKey(a('192.0.2.2')));
  expect(limitKey(a('2001:db8:1:2::1'))).toBe(limitKey(a('2001:db8:1:2:ffff::9')));
  expect(limitKey(a('2001:db8:1:2::1'))).not.toBe(limitKey(a('2001:db8:1:3::1')));
});
