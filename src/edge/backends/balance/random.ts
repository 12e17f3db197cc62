import type { Balancer, Weighted } from './balancer.ts';

/** Weighted choice in constant time (Vose's alias method): a column is drawn, then its owner or its alias. */
class Alias<T> implements Balancer<T> {
  private readonly items: readonly T[];
  private readonly threshold: Float64Array;
  private readonly alias: Int32Array;
  private readonly random: () => number;

  constructor(items: readonly Weighted<T>[], random: () => number) {
    const n = items.length;
    const total = items.reduce((sum, i) => sum + i.weight, 0);
    const share = items.map((i) => (i.weight * n) / total);
    this.items = items.map((i) => i.item);
    this.threshold = new Float64Array(n).fill(1);
    this.alias = Int32Array.from(items, (_, i) => i);
    this.random = random;
    const small: number[] = [];
    const large: number[] = [];
    share.forEach((s, i) => (s < 1 ? small : large).push(i));
    while (small.length > 0 && large.length > 0) {
      const s = small.pop() as number;
      const l = large.pop() as number;
      this.threshold[s] = share[s] as number;
      this.alias[s] = l;
      share[l] = (share[l] as number) + (share[s] as number) - 1;
      ((share[l] as number) < 1 ? small : large).push(l);
    }
  }

  pick(): T {
    const at = this.random() * this.items.length;
    const column = Math.floor(at);
    const i = at - column < (this.threshold[column] as number) ? column : (this.alias[column] as number);
    return this.items[i] as T;
  }
}

export function random<T>(items: readonly Weighted<T>[], source: () => number): Balancer<T> {
  return new Alias(items, source);
}
