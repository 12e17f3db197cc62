/**
 * The objects of one kind, projected when they arrive. A table takes complete lists and single events, tells what really changed, and holds no
 * more than its limit. Nothing that an object holds can throw out of it.
 */
import type { ObjectKey } from '../../../contract/resources/index.ts';
import { identityOf, type Identity } from './meta.ts';

/** Why an object is left out. */
export type LeftOut = 'malformed' | 'too_many';

export interface TableOptions<E extends Identity> {
  readonly namespaced: boolean;
  /** `ignored`: none of ours. `malformed`, or an exception: such as no server sends. `known` is what its name has now, of the same uid. */
  readonly read: (raw: unknown, identity: Identity, known: E | undefined) => E | 'ignored' | 'malformed';
  /** What to hold where nothing that matters changed; null where something did. */
  readonly keep: (before: E, after: E) => E | null;
  /** Something that matters changed. */
  readonly onChange: (before: E | undefined, after: E | undefined) => void;
  /** Nothing that matters changed, and yet what is held is another entry. */
  readonly onKept?: (before: E, after: E) => void;
  /** `name` is the object's, '' when it has none that can be printed. */
  readonly onLeftOut: (why: LeftOut, name: string) => void;
  readonly max?: number;
}

/** An object as a watch brought it, read when it arrived. null: nothing of it can be used, not even its name. */
export type Read<E> = {
  readonly identity: Identity;
  /** null: left out. */
  readonly entry: E | null;
} | null;

/** Many times what a large cluster has. */
export const MAX_OBJECTS = 200_000;

export class Table<E extends Identity> {
  private readonly o: TableOptions<E>;
  private readonly max: number;
  private readonly map = new Map<ObjectKey, E>();

  constructor(o: TableOptions<E>) {
    this.o = o;
    this.max = o.max ?? MAX_OBJECTS;
  }

  get entries(): ReadonlyMap<ObjectKey, E> {
    return this.map;
  }

  /** Changes nothing. `scope` is the namespace that was asked for; null: all. */
  project(raw: unknown, scope: string | null): Read<E> {
    const identity = identityOf(raw, this.o.namespaced);
    if (identity === null || (scope !== null && identity.namespace !== scope)) {
      this.o.onLeftOut('malformed', '');
      return null;
    }
    const entry = this.read(raw, identity);
    if (entry === 'malformed') this.o.onLeftOut(entry, identity.key);
    return { identity, entry: typeof entry === 'string' ? null : entry };
  }

  private read(raw: unknown, identity: Identity): E | 'ignored' | 'malformed' {
    try {
      const known = this.map.get(identity.key);
      return this.o.read(raw, identity, known?.uid === identity.uid ? known : undefined);
    } catch {
      return 'malformed';
    }
  }

  /** A complete list of a namespace, or of all. */
  replaced(list: readonly Read<E>[], scope: string | null): void {
    const now = new Set<ObjectKey>();
    for (const read of list) if (read !== null && read.entry !== null) now.add(read.identity.key);
    for (const [key, before] of this.map) if ((scope === null || before.namespace === scope) && !now.has(key)) this.remove(key, before);
    for (const read of list) if (read !== null && read.entry !== null) this.put(read.identity.key, read.entry);
  }

  changed(type: 'ADDED' | 'MODIFIED' | 'DELETED', read: Read<E>): void {
    if (read === null) return;
    const { entry } = read;
    const { key, uid } = read.identity;
    const known = this.map.get(key);
    if (type !== 'DELETED' && entry !== null) this.put(key, entry);
    // The end of an object whose name another one has by now is none; what cannot be read any more is not served as it was.
    else if (known !== undefined && (type !== 'DELETED' || known.uid === uid)) this.remove(key, known);
  }

  /** The kind, or what was asked of it, is not there any more. */
  clear(): void {
    for (const [key, before] of this.map) this.remove(key, before);
  }

  private put(key: ObjectKey, entry: E): void {
    const before = this.map.get(key);
    if (before === undefined && this.map.size >= this.max) {
      this.o.onLeftOut('too_many', key);
      return;
    }
    const kept = before?.uid === entry.uid ? this.o.keep(before, entry) : null;
    this.map.set(key, kept ?? entry);
    if (kept === null) this.o.onChange(before, entry);
    else if (before !== undefined && kept !== before) this.o.onKept?.(before, kept);
  }

  private remove(key: ObjectKey, before: E): void {
    this.map.delete(key);
    this.o.onChange(before, undefined);
  }
}
