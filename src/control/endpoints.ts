/**
 * The endpoints' lane: addresses as written, DNS answers and health verdicts come together here and leave as lists with
 * growing sequence numbers. It needs neither compile nor a new root.
 */
import type { EndpointInfo, EndpointList, GroupId, GroupPart } from '../contract/snapshot/parts.ts';
import type { DenyList } from '../lib/deny.ts';
import { formatHostPort, objectKey } from '../contract/resources/index.ts';
import type { GroupService, GroupSource } from './compile/index.ts';
import type { ServiceEndpoint } from './sources/services.ts';

/** Of one group, in each of as many workers as there are cores. */
export const MAX_ENDPOINTS = 5000;

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
  /** Those of a Service that may be used now. */
  readonly service: (service: GroupService) => readonly ServiceEndpoint[];
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
  private byService = new Map<string, Set<GroupId>>();
  private sequence = 0;

  constructor(o: LaneOptions) {
    this.o = o;
  }

  /** The groups of the state to be published; their lists follow at once. */
  apply(sources: ReadonlyMap<GroupId, GroupSource>): void {
    this.byHost = new Map();
    this.byService = new Map();
    const groups = new Map<GroupId, LaneGroup>();
    for (const [id, source] of sources) {
      groups.set(id, this.resolved(source));
      for (const address of source.addresses) use(this.byHost, address.host, id);
      if (source.service !== null) use(this.byService, objectKey(source.service.namespace, source.service.name), id);
    }
    this.groups = groups;
    for (const id of this.lists.keys()) if (!groups.has(id)) this.lists.delete(id);
    this.o.onGroups(groups);
    this.emit([...groups.keys()]);
  }

  /** A name has other addresses. */
  hostChanged(host: string): void {
    this.resolveAgain(this.byHost.get(host) ?? []);
  }

  /** Services (`namespace/name`) have other endpoints. */
  servicesChanged(services: Iterable<string>): void {
    const users = new Set<GroupId>();
    for (const service of services) for (const id of this.byService.get(service) ?? []) users.add(id);
    this.resolveAgain(users);
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

  private resolveAgain(ids: Iterable<GroupId>): void {
    const changed = [...ids];
    if (changed.length === 0) return;
    for (const id of changed) {
      const group = this.groups.get(id);
      if (group !== undefined) this.groups.set(id, this.resolved(group.source));
    }
    this.o.onGroups(this.groups);
    this.emit(changed);
  }

  private resolved(source: GroupSource): LaneGroup {
    return source.service === null ? this.ofAddresses(source) : this.ofService(source, source.service);
  }

  private ofService(source: GroupSource, service: GroupService): LaneGroup {
    const candidates: Candidate[] = [];
    const refused: string[] = [];
    // Who answers is known by the Service's name, wherever its pods are.
    const host = `${service.name}.${service.namespace}.svc`;
    let beyond = 0;
    for (const { address, port, draining } of this.o.service(service)) {
      if (this.o.deny.denies(address))
        refused.push(`Service ${service.namespace}/${service.name}: ${address} is not allowed as an endpoint`);
      else if (candidates.length >= MAX_ENDPOINTS) beyond++;
      else candidates.push({ address, port, host, label: formatHostPort({ host: address, port }), weight: 1, draining });
    }
    if (beyond > 0) refused.push(`Service ${service.namespace}/${service.name}: only ${MAX_ENDPOINTS} endpoints of one group are used`);
    return { source, candidates, refused };
  }

  private ofAddresses(source: GroupSource): LaneGroup {
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

function use(index: Map<string, Set<GroupId>>, key: string, id: GroupId): void {
  const users = index.get(key);
  if (users === undefined) index.set(key, new Set([id]));
  else users.add(id);
}
