import type { Address } from '../../quic/engine.ts';

const MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** The host of an address as text: dotted for IPv4, RFC 5952 for IPv6. */
export function peerHost(a: Address): string {
  if (MAPPED.every((octet, i) => a[i] === octet)) return `${a[12]}.${a[13]}.${a[14]}.${a[15]}`;
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((a[i] as number) << 8) | (a[i + 1] as number)).toString(16));
  // URLs shorten IPv6 addresses as RFC 5952 does.
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

export function peerPort(a: Address): number {
  return ((a[16] as number) << 8) | (a[17] as number);
}
