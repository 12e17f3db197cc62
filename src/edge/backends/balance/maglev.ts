import { hashText } from '../../../lib/hash.ts';
import type { Balancer, Weighted } from './balancer.ts';

/** Primes: a hundred slots for each unit of weight keep the shares within about a percent and moves few when an endpoint leaves. */
const SIZES = [1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071] as const;

/** Consistent hashing by a Maglev table (Eisenbud et al., NSDI 2016, s3.4): each item claims slots in its own order, in turns by weight. */
class Maglev<T> implements Balancer<T> {
  private readonly items: readonly T[];
  private readonly table: Int32Array;

  constructor(given: readonly Weighted<T>[]) {
    const sorted = [...given].sort((a, b) => (a.identity < b.identity ? -1 : a.identity > b.identity ? 1 : 0));
    this.items = sorted.map((i) => i.item);
    const least = Math.min(...sorted.map((i) => i.weight));
    const units = sorted.reduce((sum, i) => sum + i.weight / least, 0);
    const size = SIZES.find((s) => s >= units * 100) ?? (SIZES[SIZES.length - 1] as number);
    this.table = fill(sorted, size);
  }

  pick(hash: number): T {
    return this.items[this.table[hash % this.table.length] as number] as T;
  }
}

function fill(items: readonly Weighted<unknown>[], size: number): Int32Array {
  const table = new Int32Array(size).fill(-1);
  const heaviest = Math.max(...items.map((i) => i.weight));
  const offset = items.map((i) => hashText(i.identity, 0x9e3779b9) % size);
  const skip = items.map((i) => (hashText(i.identity, 0x7f4a7c15) % (size - 1)) + 1);
  const next = [...offset];
  const turn = items.map(() => 0);
  for (let filled = 0; filled < size;) {
    for (let i = 0; i < items.length && filled < size; i++) {
      turn[i] = (turn[i] as number) + (items[i] as Weighted<unknown>).weight / heaviest;
      if ((turn[i] as number) < 1) continue;
      turn[i] = (turn[i] as number) - 1;
      let slot = next[i] as number;
      while (table[slot] !== -1) slot = (slot + (skip[i] as number)) % size;
      table[slot] = i;
      next[i] = (slot + (skip[i] as number)) % size;
      filled++;
    }
  }
  return table;
}

export function consistentHash<T>(items: readonly Weighted<T>[]): Balancer<T> {
  return new Maglev(items);
}
