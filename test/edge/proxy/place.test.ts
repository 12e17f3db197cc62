import { expect, test } from '@jest/globals';
import { isAt, placeOf } from '../../../src/edge/proxy/place.ts';
import { addressFrom } from '../../../src/edge/quic/address.ts';
import type { Address } from '../../../src/edge/quic/engine.ts';
import { listenerPart } from '../../kit/snapshot.ts';

const at = (host: string, port = 4433): Address => addressFrom(host, port) as Address;

test.each([
  [['127.0.0.1'], '127.0.0.1', true],
  [['127.0.0.1'], '127.0.0.2', false],
  [['127.0.0.1', '127.0.0.2'], '127.0.0.2', true],
  [['0.0.0.0'], '192.0.2.1', true],
  [['0.0.0.0'], '::1', false],
  [['::'], '2001:db8::1', true],
  [['::'], '192.0.2.1', false],
  [['::', '192.0.2.1'], '192.0.2.1', true],
  [['0.0.0.0', '::'], '::1', true],
  [['2001:DB8:0::1'], '2001:db8::1', true],
  [['::1'], '::', false],
])('%j are where %s is: %s', (hosts, host, expected) => {
  expect(isAt(hosts, at(host))).toBe(expected);
  expect(isAt(hosts, at(host, 1))).toBe(expected);
});

test('a place is known by the addresses, in any order', () => {
  const place = (...addresses: string[]) => placeOf({ ...listenerPart(), addresses }, addresses, []);
  expect(place('127.0.0.1', '::1').name).toBe(place('::1', '127.0.0.1').name);
  expect(place('127.0.0.1').name).not.toBe(place('127.0.0.2').name);
});
