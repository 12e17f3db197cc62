import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { isMapped, portOf } from '../address.ts';
import type { Address } from '../engine.ts';
import type { UdpSocket } from './socket.ts';

/** Brings `kernelDrops` of sockets of this process up to date: the last column of /proc/net/udp. Stays 0 where there is no such file. */
export function countKernelDrops(sockets: readonly UdpSocket[]): void {
  const drops = ownDrops();
  for (const s of sockets) s.kernelDrops = Math.max(s.kernelDrops, drops.get(keyOf(s.local)) ?? 0);
}

/** By where they are bound. */
function ownDrops(): Map<string, number> {
  const own = ownSockets();
  const out = new Map<string, number>();
  for (const file of ['/proc/self/net/udp', '/proc/self/net/udp6']) {
    for (const line of readLines(file)) {
      const columns = line.trim().split(/\s+/);
      const local = columns[1] ?? '';
      if (own.has(columns[9] ?? '')) out.set(local, (out.get(local) ?? 0) + (Number(columns[12] ?? 0) || 0));
    }
  }
  return out;
}

/** As the kernel writes it: words of four bytes as this machine reads them, and the port. */
function keyOf(local: Address): string {
  const bytes = local.subarray(isMapped(local) ? 12 : 0, 16);
  let out = '';
  for (let word = 0; word < bytes.length; word += 4) for (let i = 3; i >= 0; i--) out += hex(bytes[word + i] as number, 2);
  return `${out}:${hex(portOf(local), 4)}`;
}

function hex(n: number, digits: number): string {
  return n.toString(16).toUpperCase().padStart(digits, '0');
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'latin1').split('\n').slice(1);
  } catch {
    return [];
  }
}

function ownSockets(): Set<string> {
  const out = new Set<string>();
  let fds: string[];
  try {
    fds = readdirSync('/proc/self/fd');
  } catch {
    return out;
  }
  for (const fd of fds) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      if (target.startsWith('socket:[')) out.add(target.slice(8, -1));
    } catch {
      // Closed in the meantime.
    }
  }
  return out;
}
