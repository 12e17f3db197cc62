import type { Address } from './engine.ts';

const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;
const ADDRESS = 18;

/** Which of some workers takes a client's attempt: the same for all its datagrams, whichever worker they come to first. */
export function successorOf(workers: readonly number[], from: Address, buf: Uint8Array, start: number, end: number): number {
  let h = FNV_OFFSET;
  for (let i = 0; i < ADDRESS; i++) h = Math.imul(h ^ (from[i] as number), FNV_PRIME);
  for (let i = start; i < end; i++) h = Math.imul(h ^ (buf[i] as number), FNV_PRIME);
  // The low bits of FNV know little of the last octets' high ones.
  return workers[((h ^ (h >>> 15)) >>> 0) % workers.length] as number;
}
