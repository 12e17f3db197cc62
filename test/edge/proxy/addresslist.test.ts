import { expect, test } from '@jest/globals';
import { AddressList } from '../../../src/edge/proxy/addresslist.ts';

test('compares on bytes, at any prefix length, in both families', () => {
  const list = new AddressList(['198.51.100.0/24', '10.0.0.0/9', '2001:db8::/33', '192.0.2.1']);
  for (const a of ['198.51.100.0', '198.51.100.255', '10.127.255.255', '2001:db8:7fff::1', '2001:DB8:0:0:0:0:0:1', '192.0.2.1'])
    expect([a, list.has(a)]).toEqual([a, true]);
  for (const a of ['198.51.101.0', '10.128.0.0', '2001:db8:8000::1', '192.0.2.2', '::1', '', 'localhost', '198.51.100'])
    expect([a, list.has(a)]).toEqual([a, false]);
});

test('an IPv4 range covers the mapped form of its addresses and nothing of IPv6', () => {
  const list = new AddressList(['0.0.0.0/0']);
  expect(list.has('203.0.113.9')).toBe(true);
  expect(list.has('::ffff:203.0.113.9')).toBe(true);
  expect(list.has('2001:db8::1')).toBe(false);
  expect(new AddressList(['::/0']).has('203.0.113.9')).toBe(true);
});

test('what does not parse trusts nobody', () => {
  for (const bad of ['', 'all', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/', '10.0.0.0/1e1', '10.0.0.0/0x8', '::/129', '10.0.0.0/0008'])
    expect([bad, new AddressList([bad]).has('10.0.0.1')]).toEqual([bad, false]);
  expect(new AddressList([]).has('10.0.0.1')).toBe(false);
});
