import type { Part, PartHash } from '../../contract/snapshot/index.ts';
import { decodePart } from '../../contract/snapshot/index.ts';

/** A part that a root names and nobody sent, or that is not what its place wants: the listener above it cannot be served. */
export class PartProblem extends Error {}

/** The parts of a worker: decoded when they are first needed, kept until main says that no root needs them. */
export class PartStore {
  private readonly encoded = new Map<PartHash, Uint8Array>();
  private readonly decoded = new Map<PartHash, Part>();

  add(hash: PartHash, bytes: Uint8Array): void {
    if (!this.decoded.has(hash)) this.encoded.set(hash, bytes);
  }

  get<K extends Part['kind']>(hash: PartHash, kind: K): Extract<Part, { kind: K }> {
    const part = this.decoded.get(hash) ?? this.decode(hash);
    if (part.kind !== kind) throw new PartProblem(`part ${hash} is a ${part.kind}, a ${kind} was wanted`);
    return part as Extract<Part, { kind: K }>;
  }

  /** Main counts on all the others. */
  forget(hashes: readonly PartHash[]): void {
    for (const hash of hashes) {
      this.encoded.delete(hash);
      this.decoded.delete(hash);
    }
  }

  get size(): number {
    return this.decoded.size + this.encoded.size;
  }

  private decode(hash: PartHash): Part {
    const bytes = this.encoded.get(hash);
    if (bytes === undefined) throw new PartProblem(`part ${hash} is missing`);
    const part = decodePart(bytes);
    this.encoded.delete(hash);
    this.decoded.set(hash, part);
    return part;
  }
}
