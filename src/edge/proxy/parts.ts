import type { GroupPart, HostPart, ListenerPart, Part, PartHash, UpstreamPart } from '../../contract/snapshot/index.ts';
import { decodePart } from '../../contract/snapshot/index.ts';

/** A part that a root names and nobody sent, or that is not what its place wants: the listener above it cannot be served. */
export class PartProblem extends Error {}

/** The parts of a worker: decoded when they are first needed, kept while a root needs them. */
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

  /** Forgets what these listeners do not reach: the other side of the channel counts on the parts of the last root that was switched to. */
  keep(listeners: readonly PartHash[]): void {
    const reached = new Set<PartHash>();
    for (const hash of listeners) this.reach(hash, reached);
    for (const hash of this.decoded.keys()) if (!reached.has(hash)) this.decoded.delete(hash);
    for (const hash of this.encoded.keys()) if (!reached.has(hash)) this.encoded.delete(hash);
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

  private reach(hash: PartHash, reached: Set<PartHash>): void {
    if (reached.has(hash)) return;
    reached.add(hash);
    const part = this.decoded.get(hash) ?? (this.encoded.has(hash) ? this.decode(hash) : undefined);
    if (part !== undefined) for (const child of childrenOf(part)) this.reach(child, reached);
  }
}

function childrenOf(part: Part): readonly PartHash[] {
  switch (part.kind) {
    case 'listener':
      return ofListener(part);
    case 'host':
      return ofHost(part);
    case 'upstream':
      return ofUpstream(part);
    case 'group':
      return ofGroup(part);
    case 'certificate':
      return [];
  }
}

const ofListener = (part: ListenerPart): PartHash[] => [...part.hosts, ...part.tls.entries.flatMap((e) => e.certificates)];
const ofHost = (part: HostPart): PartHash[] => part.routes.map((r) => r.target);
const ofUpstream = (part: UpstreamPart): PartHash[] => part.groups.map((g) => g.group).filter((g) => g !== null);
const ofGroup = (part: GroupPart): PartHash[] => (part.tls === null || part.tls.client === null ? [] : [part.tls.client]);
