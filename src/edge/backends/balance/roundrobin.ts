import type { Balancer, Weighted } from './balancer.ts';

/** Equal weights: a counter. */
class Rotation<T> implements Balancer<T> {
  private readonly items: readonly T[];
  private next: number;

  constructor(items: readonly T[], start: number) {
    this.items = items;
    this.next = Math.floor(start * items.length) % items.length;
  }

  pick(): T {
    const item = this.items[this.next] as T;
    this.next = this.next + 1 === this.items.length ? 0 : this.next + 1;
    return item;
  }
}

/**
 * Unequal weights, smoothly: every item has a next due time, one pick moves it on by 1/weight, and the earliest is picked.
 * A heap keeps a pick at O(log n), where the usual smooth algorithm is O(n).
 */
class EarliestDue<T> implements Balancer<T> {
  private readonly items: readonly T[];
  private readonly step: Float64Array;
  private readonly due: Float64Array;
  private readonly heap: Int32Array;

  constructor(items: readonly Weighted<T>[], start: number) {
    this.items = items.map((i) => i.item);
    this.step = Float64Array.from(items, (i) => 1 / i.weight);
    // Anywhere in its first step, by the worker's own start: a later beginning would starve the light ones of lists that change often.
    this.due = Float64Array.from(this.step, (s, i) => s * ((start + i / items.length) % 1));
    this.heap = Int32Array.from(items, (_, i) => i);
    for (let i = (items.length >> 1) - 1; i >= 0; i--) this.sink(i);
  }

  pick(): T {
    const top = this.heap[0] as number;
    this.due[top] = (this.due[top] as number) + (this.step[top] as number);
    this.sink(0);
    return this.items[top] as T;
  }

  private before(a: number, b: number): boolean {
    const x = this.due[a] as number;
    const y = this.due[b] as number;
    return x < y || (x === y && a < b);
  }

  private sink(at: number): void {
    const heap = this.heap;
    const item = heap[at] as number;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.before(heap[child + 1] as number, heap[child] as number)) child++;
      if (!this.before(heap[child] as number, item)) break;
      heap[at] = heap[child] as number;
      at = child;
    }
    heap[at] = item;
  }
}

/** `start` in [0, 1): where this worker begins, so that workers do not all send their first request to one endpoint. */
export function roundRobin<T>(items: readonly Weighted<T>[], start: number): Balancer<T> {
  const first = items[0] as Weighted<T>;
  if (items.every((i) => i.weight === first.weight))
    return new Rotation(
      items.map((i) => i.item),
      start,
    );
  return new EarliestDue(items, start);
}
