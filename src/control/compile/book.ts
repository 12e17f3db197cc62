/** Which parts are in use, by how many, and what has changed since the compile before. */
import type { Part, PartHash } from '../../contract/snapshot/index.ts';
import { LayeredMap } from '../../lib/layered.ts';
import type { Encoded, Memo } from './memo.ts';

interface Entry {
  readonly part: Part;
  readonly bytes: Uint8Array;
  uses: number;
}

export interface PartChanges {
  readonly added: readonly PartHash[];
  readonly removed: readonly PartHash[];
}

export class PartBook {
  parts = LayeredMap.empty<PartHash, Part>();
  encoded = LayeredMap.empty<PartHash, Uint8Array>();
  private readonly entries = new Map<PartHash, Entry>();
  /** Whose uses have changed. */
  private readonly touched = new Set<PartHash>();

  use(memo: Memo, part: Part): PartHash {
    const { hash, bytes }: Encoded = memo.encode(part);
    const known = this.entries.get(hash);
    this.touched.add(hash);
    if (known === undefined) this.entries.set(hash, { part, bytes, uses: 1 });
    else known.uses++;
    return hash;
  }

  release(hashes: readonly PartHash[]): void {
    for (const hash of hashes) {
      (this.entries.get(hash) as Entry).uses--;
      this.touched.add(hash);
    }
  }

  /** Brings the maps up to date. */
  settle(): PartChanges {
    const added: PartHash[] = [];
    const removed: PartHash[] = [];
    const parts = new Map<PartHash, Part | undefined>();
    const encoded = new Map<PartHash, Uint8Array | undefined>();
    for (const hash of this.touched) {
      const entry = this.entries.get(hash) as Entry;
      const known = this.parts.has(hash);
      if (entry.uses === 0) this.entries.delete(hash);
      if (known === entry.uses > 0) continue;
      (known ? removed : added).push(hash);
      parts.set(hash, known ? undefined : entry.part);
      encoded.set(hash, known ? undefined : entry.bytes);
    }
    this.touched.clear();
    this.parts = this.parts.with(parts);
    this.encoded = this.encoded.with(encoded);
    return { added, removed };
  }
}
