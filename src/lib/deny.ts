/** Addresses that no backend may have, looked at after resolution; the dialler looks once more. */
import { BlockList, isIP } from 'node:net';

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
  'fd00:ec2::254/128',
];
export const LOOPBACK: readonly string[] = ['127.0.0.0/8', '::1/128'];

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

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
    const mapped = MAPPED.exec(address)?.[1];
    if (mapped !== undefined) return this.blocks.check(mapped, 'ipv4');
    const family = isIP(address);
    // What is no address at all is nothing that may be dialled.
    return family === 0 || this.blocks.check(address, family === 6 ? 'ipv6' : 'ipv4');
  }
}
