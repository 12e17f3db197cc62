/** What a draft was made of, besides its own object: what was looked up, and what was found. While all of it would be found again, the draft holds. */
import type { FileContent, ResourceSet } from '../../contract/resources/index.ts';
import type { Cluster } from './cluster.ts';

export type ReadKind = 'secret' | 'configMap' | 'file' | 'service' | 'namespace' | 'foreign';

interface Read {
  readonly kind: ReadKind;
  readonly key: string;
  readonly found: unknown;
}

/** Where things are looked up. */
export class Library {
  private readonly set: ResourceSet;
  private readonly cluster: Cluster | null;

  constructor(set: ResourceSet, cluster: Cluster | null) {
    this.set = set;
    this.cluster = cluster;
  }

  find(kind: ReadKind, key: string): unknown {
    switch (kind) {
      case 'secret':
        return this.set.secrets.get(key);
      case 'configMap':
        return this.set.configMaps.get(key);
      case 'file':
        return this.set.files.get(key);
      case 'service':
        return this.cluster?.objects.services.get(key);
      case 'namespace':
        return this.cluster?.objects.namespaces.get(key);
      case 'foreign':
        return this.cluster?.isForeign(key) ?? false;
    }
  }
}

export class Reads {
  private reads: Read[] | null = null;

  add(kind: ReadKind, key: string, found: unknown): void {
    this.reads ??= [];
    this.reads.push({ kind, key, found });
  }

  hold(library: Library): boolean {
    if (this.reads === null) return true;
    for (const { kind, key, found } of this.reads) if (!same(kind, found, library.find(kind, key))) return false;
    return true;
  }
}

/** Files are read again with each state; everything else stays the same object while it does not change. */
function same(kind: ReadKind, before: unknown, now: unknown): boolean {
  if (before === now) return true;
  return kind === 'file' && sameFile(before as FileContent | undefined, now as FileContent | undefined);
}

function sameFile(a: FileContent | undefined, b: FileContent | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.ok && b.ok) return Buffer.compare(a.bytes, b.bytes) === 0;
  return !a.ok && !b.ok && a.problem === b.problem;
}
