/** A list that is coming in, beside what is held: it counts when it is complete. */
import { asArray, asRecord } from './answers.ts';
import { Held, keyOf, type RawObject } from './held.ts';
import { isVersion } from './versions.ts';

/** Of one kind: what a cluster, or a hostile server, can make us hold. */
export const MAX_OBJECTS = 500_000;

export class Listing<T> {
  readonly held = new Held();
  private readonly kept = new Map<string, T>();

  get full(): boolean {
    return this.kept.size >= MAX_OBJECTS;
  }

  add(object: RawObject, kept: T): void {
    this.held.add(object.metadata);
    this.kept.set(keyOf(object.metadata), kept);
  }

  remove(object: RawObject): void {
    this.held.drop(object.metadata);
    this.kept.delete(keyOf(object.metadata));
  }

  objects(): T[] {
    return [...this.kept.values()];
  }
}

export interface Page {
  readonly version: string;
  /** Of the next page; '' at the end. */
  readonly next: string;
  readonly items: readonly unknown[];
}

/** Null: this is no list. */
export const asPage = (body: unknown): Page | null => {
  const list = asRecord(body);
  const meta = asRecord(list?.['metadata']);
  if (list === null || meta === null || !isVersion(meta['resourceVersion'])) return null;
  // Go writes null for a list without items.
  const items = list['items'] === null ? [] : asArray(list['items']);
  const next = meta['continue'] ?? '';
  if (items === null || typeof next !== 'string') return null;
  return { version: meta['resourceVersion'], next, items };
};
