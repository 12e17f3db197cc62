/** A listener's limit of connections holds for the node: workers get what they use and an equal part of what is free. */

import type { ListenerPart } from '../contract/snapshot/parts.ts';

/** `uses[i]` connections are open at worker i; the shares never exceed `total` together, unless the uses alone do. */
export const shareOut = (total: number, uses: readonly number[]): number[] => {
  const used = uses.reduce((sum, n) => sum + n, 0);
  const free = Math.max(0, total - used);
  const each = Math.floor(free / uses.length);
  let rest = free - each * uses.length;
  return uses.map((n) => n + each + (rest-- > 0 ? 1 : 0));
};

export interface SharesOptions {
  /** Of a listener that sets no limit. */
  readonly total: number;
  /** The workers that are up, each with what names its process. */
  readonly workers: () => readonly { readonly id: number; readonly process: string }[];
  readonly used: (process: string, listener: string) => number;
  readonly send: (worker: number, listener: string, connections: number) => void;
}

/** Remembers what each process was told, and tells it what has changed. */
export class Shares {
  private readonly o: SharesOptions;
  private readonly told = new Map<string, number>();

  constructor(o: SharesOptions) {
    this.o = o;
  }

  update(listeners: readonly ListenerPart[]): void {
    const workers = this.o.workers();
    if (workers.length === 0) return;
    for (const part of listeners) {
      const listener = `${part.namespace}/${part.name}`;
      const uses = workers.map((w) => this.o.used(w.process, listener));
      const shares = shareOut(part.limits.connections ?? this.o.total, uses);
      workers.forEach((w, i) => this.tell(w.id, `${w.process} ${listener}`, listener, shares[i] as number));
    }
  }

  /** After a new state, or workers that took the old one with them, everybody is told anew. */
  forget(): void {
    this.told.clear();
  }

  private tell(worker: number, key: string, listener: string, connections: number): void {
    if (this.told.get(key) === connections) return;
    this.told.set(key, connections);
    this.o.send(worker, listener, connections);
  }
}
