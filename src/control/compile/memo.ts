/** What one compile may take over from the one before, by content: nothing here can change an outcome, only how long it takes. */
import { Kept } from './kept.ts';
import { encodePart, hashPart, type Part, type PartHash } from '../../contract/snapshot/index.ts';

export interface Encoded {
  readonly hash: PartHash;
  readonly bytes: Uint8Array;
}

/** Below, nothing is forgotten. */
const SMALL = 1000;

/** Remembers what was used of late, and forgets the rest. */
class Generations<V> {
  private before = new Map<string, V>();
  private now = new Map<string, V>();

  get(key: string): V | undefined {
    const known = this.now.get(key) ?? this.before.get(key);
    if (known !== undefined) this.now.set(key, known);
    return known;
  }

  set(key: string, value: V): V {
    this.now.set(key, value);
    return value;
  }

  /** What is taken over is not asked for: it is forgotten when twice as much as is in use has come together. */
  turn(inUse: number): void {
    if (this.now.size <= Math.max(SMALL, 2 * inUse)) return;
    this.before = this.now;
    this.now = new Map();
  }
}

interface Slot {
  readonly deps: readonly unknown[];
  readonly value: unknown;
}

export class Memo {
  private kept: Kept | null = null;
  private readonly encodings = new WeakMap<Part, Encoded>();
  private readonly owners = new WeakMap<object, object>();
  private readonly slots = new WeakMap<object, Map<string, Slot>>();
  private readonly texts = new Generations<object>();
  private readonly named = new Generations<Slot>();

  /** What the compile before left; nothing when it did not come to its end. */
  take(): Kept {
    const { kept } = this;
    this.kept = null;
    return kept ?? new Kept();
  }

  leave(kept: Kept): void {
    this.kept = kept;
  }

  /** Called once, when a compile begins. `inUse`: of so many objects, about, something may be asked for. */
  turn(inUse: number): void {
    this.texts.turn(inUse);
    this.named.turn(inUse);
  }

  /** The one object made of `source`, or of another one with the same text: sources that read again make new objects of the same content. */
  of<T extends object>(source: object, kind: string, text: () => string, make: () => T): T {
    const known = this.owners.get(source);
    if (known !== undefined) return known as T;
    const key = `${kind}\n${text()}`;
    const made = (this.texts.get(key) as T | undefined) ?? (this.texts.set(key, make()) as T);
    this.owners.set(source, made);
    return made;
  }

  /** `make`'s value for as long as `deps` are the very same. The owner is part of the key, and nothing outlives it. */
  slot<T>(owner: object, name: string, deps: readonly unknown[], make: () => T): T {
    let slots = this.slots.get(owner);
    if (slots === undefined) this.slots.set(owner, (slots = new Map()));
    const known = slots.get(name);
    if (known !== undefined && same(known.deps, deps)) return known.value as T;
    const value = make();
    slots.set(name, { deps, value });
    return value;
  }

  /** The same where there is no owner: kept while it is used. */
  keep<T>(name: string, deps: readonly unknown[], make: () => T): T {
    const known = this.named.get(name);
    if (known !== undefined && same(known.deps, deps)) return known.value as T;
    const value = make();
    this.named.set(name, { deps, value });
    return value;
  }

  encode(part: Part): Encoded {
    const known = this.encodings.get(part);
    if (known !== undefined) return known;
    const bytes = encodePart(part);
    const encoded = { hash: hashPart(bytes), bytes };
    this.encodings.set(part, encoded);
    return encoded;
  }
}

const same = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((x, i) => x === b[i]);
