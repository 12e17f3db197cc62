import { expect, test } from '@jest/globals';
import { ALWAYS_DENIED, DenyList, LOOPBACK } from '../../src/lib/deny.ts';

const inCluster = new DenyList([...ALWAYS_DENIED, ...LOOPBACK, '192.0.2.10/32', '2001:db8::10/128']);

test.each([
  ['mapped, RFC 4291 s2.5.5.2', '::ffff:a9fe:a9fe'],
  ['mapped, written out', '0:0:0:0:0:ffff:127.0.0.1'],
  ['compatible, RFC 4291 s2.5.5.1', '::127.0.0.1'],
  ['translated, RFC 2765', '::ffff:0:7f00:1'],
  ['behind a translator, RFC 6052', '64:ff9b::a9fe:a9fe'],
  ['behind a translator, of the own node', '64:ff9b::192.0.2.10'],
  ['behind a local translator, RFC 8215', '64:ff9b:1::7f00:1'],
  ['6to4, RFC 3056', '2002:a9fe:a9fe::1'],
  ['6to4, of the own node', '2002:c000:20a::'],
  ['the own IPv6 address in capitals', '2001:DB8:0:0:0:0:0:10'],
])('K5: an address that another one is hidden in is refused: %s', (_, address) => {
  expect(inCluster.denies(address)).toBe(true);
});

test.each(['64:ff9b::198.51.100.1', '2002:c633:6401::1', '::ffff:198.51.100.1', '2001:db8::a9fe:a9fe', '198.51.100.1'])(
  '%s is one like any other',
  (address) => {
    expect(inCluster.denies(address)).toBe(false);
  },
);

test.each(['169.254.169.254', '100.100.100.200', '168.63.129.16', '192.0.0.192', 'fd00:ec2::254', 'fd20:ce::254'])(
  'K5: %s answers for a cloud',
  (address) => {
    expect(new DenyList(ALWAYS_DENIED).denies(address)).toBe(true);
  },
);

test('what is no plain address is refused', () => {
  for (const text of ['', '127.1', '0177.0.0.1', 'fe80::1%eth0', '198.51.100.1/32', 'example.com', ' 198.51.100.1'])
    expect(inCluster.denies(text)).toBe(true);
});
