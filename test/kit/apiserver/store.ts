/** All objects, one strictly increasing resource version, and of every kind a log of changes that reaches back only so far. */
import { keyOf, kindKey, type Kind, type KubeObject } from './model.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

export interface Change {
  readonly rv: number;
  readonly type: ChangeType;
  /** Of a DELETED one: the last state, with the version of the deletion. */
  readonly object: KubeObject;
  readonly previous: KubeObject | null;
}

interface Shelf {
  readonly objects: Map<string, KubeObject>;
  readonly log: Change[];
  /** A watch can start from this version or a later one. */
  oldest: number;
  readonly watchers: Set<(change: Change) => void>;
}

export class Store {
  #rv: number;
  #shelves = new Map<string, Shelf>();
  readonly #window: number;

  /** `window`: changes of a kind that are kept; `rv`: where versions begin. */
  constructor({ window = 10_000, rv = 100 }: { window?: number; rv?: number } = {}) {
    this.#window = window;
    this.#rv = rv;
  }

  get rv(): number {
    return this.#rv;
  }

  #shelf(kind: Pick<Kind, 'group' | 'plural'>): Shelf {
    const key = kindKey(kind);
    let shelf = this.#shelves.get(key);
    if (shelf === undefined) {
      shelf = { objects: new Map(), log: [], oldest: this.#rv, watchers: new Set() };
      this.#shelves.set(key, shelf);
    }
    return shelf;
  }

  get(kind: Pick<Kind, 'group' | 'plural'>, key: string): KubeObject | undefined {
    return this.#shelf(kind).objects.get(key);
  }

  /** In the order of their keys, as etcd has them. */
  all(kind: Pick<Kind, 'group' | 'plural'>): KubeObject[] {
    return sorted(this.#shelf(kind).objects);
  }

  count(kind: Pick<Kind, 'group' | 'plural'>): number {
    return this.#shelf(kind).objects.size;
  }

  /** The state at an earlier version: the log, undone; null when it does not reach back so far. */
  at(kind: Pick<Kind, 'group' | 'plural'>, rv: number): KubeObject[] | null {
    const shelf = this.#shelf(kind);
    if (rv < shelf.oldest) return null;
    const objects = new Map(shelf.objects);
    for (let i = shelf.log.length - 1; i >= 0; i--) {
      const change = shelf.log[i] as Change;
      if (change.rv <= rv) break;
      if (change.previous === null) objects.delete(keyOf(change.object));
      else objects.set(keyOf(change.object), change.previous);
    }
    return sorted(objects);
  }

  /** The changes after `rv`; null when that is too long ago. */
  since(kind: Pick<Kind, 'group' | 'plural'>, rv: number): Change[] | null {
    const shelf = this.#shelf(kind);
    if (rv < shelf.oldest) return null;
    const start = shelf.log.findLastIndex((change) => change.rv <= rv) + 1;
    return shelf.log.slice(start);
  }

  oldest(kind: Pick<Kind, 'group' | 'plural'>): number {
    return this.#shelf(kind).oldest;
  }

  put(kind: Kind, object: KubeObject): KubeObject {
    const shelf = this.#shelf(kind);
    const key = keyOf(object);
    const previous = shelf.objects.get(key) ?? null;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#rv) } };
    shelf.objects.set(key, stored);
    this.#record(shelf, { rv: this.#rv, type: previous === null ? 'ADDED' : 'MODIFIED', object: stored, previous });
    return stored;
  }

  remove(kind: Kind, key: string): KubeObject | undefined {
    const shelf = this.#shelf(kind);
    const previous = shelf.objects.get(key);
    if (previous === undefined) return undefined;
    shelf.objects.delete(key);
    const object = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(++this.#rv) } };
    this.#record(shelf, { rv: this.#rv, type: 'DELETED', object, previous });
    return object;
  }

  watch(kind: Pick<Kind, 'group' | 'plural'>, listener: (change: Change) => void): () => void {
    const { watchers } = this.#shelf(kind);
    watchers.add(listener);
    return () => watchers.delete(listener);
  }

  /** Forgets what led here: of one kind or of all. */
  compact(kind?: Pick<Kind, 'group' | 'plural'>): void {
    const shelves = kind === undefined ? [...this.#shelves.values()] : [this.#shelf(kind)];
    for (const shelf of shelves) {
      shelf.log.length = 0;
      shelf.oldest = this.#rv;
    }
  }

  /** As after a cluster was restored from a backup: later versions begin below earlier ones. */
  setVersion(rv: number): void {
    this.#rv = rv;
    for (const shelf of this.#shelves.values()) {
      shelf.log.length = 0;
      shelf.oldest = rv;
    }
  }

  #record(shelf: Shelf, change: Change): void {
    shelf.log.push(change);
    if (shelf.log.length > this.#window * 1.5) {
      const dropped = shelf.log.splice(0, shelf.log.length - this.#window);
      shelf.oldest = (dropped.at(-1) as Change).rv;
    }
    for (const watcher of shelf.watchers) watcher(change);
  }
}

const sorted = (objects: ReadonlyMap<string, KubeObject>): KubeObject[] =>
  [...objects.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
