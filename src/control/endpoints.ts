/**
 * The endpoints' lane: addresses as written, DNS answers and health verdicts come together here and leave as lists with
 * growing sequence numbers. It needs neither compile nor a new root.
 */
import type { EndpointInfo, EndpointList, GroupId, GroupPart } from '../contract/snapshot/parts.ts';
import type { DenyList } from '../lib/deny.ts';
import type { GroupSource } from './compile/index.ts';

/** A list is one message of the channel, which holds 64 KiB. */
export const MAX_ENDPOINTS = 400;

/** One endpoint without the verdict. */
export type Candidate = Omit<EndpointInfo, 'healthy'>;

export interface LaneGroup {
  readonly source: GroupSource;
  readonly candidates: readonly Candidate[];
  /** Addresses that were refused or did not fit. */
  readonly refused: readonly string[];
}

export interface LaneOptions {
  readonly deny: DenyList;
  /** Resolved addresses of a host; the literal itself for a literal. */
  readonly resolve: (host: string) => readonly string[];
  readonly healthy: (group: GroupPart, candidate: Candidate) => boolean;
  readonly onLists: (lists: readonly EndpointList[]) => void;
  /** The endpoints to be checked have changed. */
  readonly onGroups: (groups: ReadonlyMap<GroupId, LaneGroup>) => void;
}

const sameList = (a: readonly EndpointInfo[], b: readonly EndpointInfo[]): boolean => JSON.stringify(a) === JSON.stringify(b);

export class EndpointLane {
  private readonly o: LaneOptions;
  private groups = new Map<GroupId, LaneGroup>();
  private lists = new Map<GroupId, EndpointList>();
  private byHost = new Map<string, Set<GroupId>>();
  private sequence = 0;

  constructor(o: LaneOptions) {
    this.o = o;
  }

  /** The groups of the state to be published; their lists follow at once. */
  apply(sources: ReadonlyMap<GroupId, GroupSource>): void {
    this.byHost = new Map();
    const groups = new Map<GroupId, LaneGroup>();
    for (const [id, source] of sources) {
      groups.set(id, this.resolved(source));
      for (const address of source.addresses) {
        const users = this.byHost.get(address.host);
        if (users === undefined) this.byHost.set(address.host, new Set([id]));
        else users.add(id);
      }
    }
    this.groups = groups;
    for (const id of this.lists.keys()) if (!groups.has(id)) this.lists.delete(id);
    this.o.onGroups(groups);
    this.emit([...groups.keys()]);
  }

  /** A name has other addresses. */
  hostChanged(host: string): void {
    const users = this.byHost.get(host);
    if (users === undefined) return;
    for (const id of users) {
      const group = this.groups.get(id);
      if (group !== undefined) this.groups.set(id, this.resolved(group.source));
    }
    this.o.onGroups(this.groups);
    this.emit([...users]);
  }

  /** Verdicts on these groups' endpoints have changed. */
  healthChanged(ids: Iterable<GroupId>): void {
    this.emit(ids);
  }

  list(id: GroupId): readonly EndpointInfo[] {
    return this.lists.get(id)?.list ?? [];
  }

  all(): ReadonlyMap<GroupId, LaneGroup> {
    return this.groups;
  }

  private resolved(source: GroupSource): LaneGroup {
    const candidates: Candidate[] = [];
    const refused: string[] = [];
    const seen = new Set<string>();
    for (const { host, port, weight, label } of source.addresses) {
      for (const address of this.o.resolve(host)) {
        const key = `${address} ${port} ${host}`;
        if (seen.has(key)) continue;
        seen.add(key);
        if (this.o.deny.denies(address)) refused.push(`${host}: ${address} is not allowed as an endpoint`);
        else if (candidates.length >= MAX_ENDPOINTS) refused.push(`${host}: ${address} is beyond ${MAX_ENDPOINTS} endpoints of one group`);
        else candidates.push({ address, port, host, label, weight, draining: false });
      }
    }
    return { source, candidates, refused };
  }

  private emit(ids: Iterable<GroupId>): void {
    const changed: EndpointList[] = [];
    for (const id of ids) {
      const group = this.groups.get(id);
      if (group === undefined) continue;
      const list = group.candidates.map((c) => ({ ...c, healthy: this.o.healthy(group.source.group, c) }));
      const known = this.lists.get(id);
      if (known !== undefined && sameList(known.list, list)) continue;
      const next = { group: id, sequence: ++this.sequence, list };
      this.lists.set(id, next);
      changed.push(next);
    }
    if (changed.length > 0) this.o.onLists(changed);
  }
}
