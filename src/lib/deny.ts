/** Addresses that no backend may have, looked at after resolution; the dialler looks once more. */
import { BlockList, isIP, isIPv4 } from 'node:net';

/** Link-local holds the clouds' metadata services; the others are no hosts. */
export const ALWAYS_DENIED: readonly string[] = [
  '0.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '::/128',
  'fe80::/10',
  'ff00::/8',
  // Metadata services of clouds outside link-local.
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  'fd00:ec2::254/128',
  'fd20:ce::254/128',
];
export const LOOPBACK: readonly string[] = ['127.0.0.0/8', '::1/128'];

/** Groups before an IPv4 address in an IPv6 one, by which routers and translators find it: RFC 4291 s2.5.5, 2765, 6052, 8215, 3056. */
const EMBEDDING: readonly { readonly prefix: readonly number[]; readonly at: number }[] = [
  { prefix: [0, 0, 0, 0, 0, 0xffff], at: 6 },
  { prefix: [0, 0, 0, 0, 0, 0], at: 6 },
  { prefix: [0, 0, 0, 0, 0xffff, 0], at: 6 },
  { prefix: [0x64, 0xff9b, 0, 0, 0, 0], at: 6 },
  { prefix: [0x64, 0xff9b, 1], at: 6 },
  { prefix: [0x2002], at: 1 },
];

const dotted = (high: number, low: number): string => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;

/** The eight groups of an IPv6 literal. */
function groupsOf(address: string): number[] {
  const tail = address.slice(address.lastIndexOf(':') + 1);
  const [a = 0, b = 0, c = 0, d = 0] = isIPv4(tail) ? tail.split('.').map(Number) : [];
  const hex = isIPv4(tail) ? `${address.slice(0, -tail.length)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}` : address;
  const [head = [], end] = hex.split('::').map((part) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))));
  return end === undefined ? head : [...head, ...Array<number>(8 - head.length - end.length).fill(0), ...end];
}

function* embedded(address: string): Generator<string> {
  const groups = groupsOf(address);
  // :: and ::1 are addresses of their own.
  if (groups.slice(0, 7).every((group) => group === 0)) return;
  for (const { prefix, at } of EMBEDDING)
    if (prefix.every((group, i) => groups[i] === group)) yield dotted(groups[at] ?? 0, groups[at + 1] ?? 0);
}

export class DenyList {
  private readonly blocks = new BlockList();

  constructor(cidrs: readonly string[]) {
    for (const cidr of cidrs) {
      const [address, bits] = cidr.split('/') as [string, string | undefined];
      const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
      this.blocks.addSubnet(address, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family);
    }
  }

  denies(address: string): boolean {
    const family = isIP(address);
    // What is no address at all is nothing that may be dialled; one with a zone is of one link.
    if (family === 0 || address.includes('%')) return true;
    if (family === 4) return this.blocks.check(address, 'ipv4');
    if (this.blocks.check(address, 'ipv6')) return true;
    for (const inner of embedded(address)) if (this.blocks.check(inner, 'ipv4')) return true;
    return false;
  }
}
