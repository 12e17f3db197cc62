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
  /** Addresses that were refused or did not fit, in words: the first few, and how many more. */
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
  /** These groups have other endpoints, or are gone. */
  readonly onGroups: (changed: readonly GroupId[]) => void;
}

/** Compile gives the very same parts while nothing in them changes. */
const sameSource = (a: GroupSource, b: GroupSource): boolean =>
  a.group === b.group && a.addresses === b.addresses && sameService(a.service, b.service);

const sameService = (a: GroupService | null, b: GroupService | null): boolean =>
  a === b || (a !== null && b !== null && a.namespace === b.namespace && a.name === b.name && a.portName === b.portName);

const serviceKey = ({ namespace, name }: GroupService): string => objectKey(namespace, name);

const sameList = (a: readonly EndpointInfo[], b: readonly EndpointInfo[]): boolean => JSON.stringify(a) === JSON.stringify(b);

export class EndpointLane {
  private readonly o: LaneOptions;
  private readonly groups = new Map<GroupId, LaneGroup>();
  private readonly lists = new Map<GroupId, EndpointList>();
  private readonly byHost = new Map<string, Set<GroupId>>();
  private readonly byService = new Map<string, Set<GroupId>>();
  private sequence = 0;

  constructor(o: LaneOptions) {
    this.o = o;
  }

  /**
   * The groups of the state to be published; lists of those that are not as they were follow at once. `among`: only these can be other ones than in
   * the state before; null: any.
   */
  apply(sources: ReadonlyMap<GroupId, GroupSource>, among: readonly GroupId[] | null = null): void {
    const gone = [...(among ?? this.groups.keys())].filter((id) => !sources.has(id) && this.groups.has(id));
    for (const id of gone) this.forget(id);
    const changed: GroupId[] = [];
    for (const id of among ?? sources.keys()) {
      const source = sources.get(id);
      if (source === undefined) continue;
      const known = this.groups.get(id);
      if (known !== undefined && sameSource(known.source, source)) continue;
      if (known !== undefined) this.unindex(known.source);
      this.groups.set(id, this.resolved(source));
      for (const address of source.addresses) use(this.byHost, address.host, id);
      if (source.service !== null) use(this.byService, serviceKey(source.service), id);
      changed.push(id);
    }
    if (gone.length + changed.length > 0) this.o.onGroups([...gone, ...changed]);
    this.emit(changed);
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
    this.o.onGroups(changed);
    this.emit(changed);
  }

  private forget(id: GroupId): void {
    const known = this.groups.get(id);
    if (known !== undefined) this.unindex(known.source);
    this.groups.delete(id);
    this.lists.delete(id);
  }

  private unindex({ group, addresses, service }: GroupSource): void {
    for (const { host } of addresses) unuse(this.byHost, host, group.id);
    if (service !== null) unuse(this.byService, serviceKey(service), group.id);
  }

  private resolved(source: GroupSource): LaneGroup {
    return source.service === null ? this.ofAddresses(source) : this.ofService(source, source.service);
  }

  private ofService(source: GroupSource, service: GroupService): LaneGroup {
    const candidates: Candidate[] = [];
    const refused = new Refusals();
    // Who answers is known by the Service's name, wherever its pods are.
    const host = `${service.name}.${service.namespace}.svc`;
    let beyond = 0;
    for (const { address, port, draining } of this.o.service(service)) {
      if (this.o.deny.denies(address))
        refused.add(`Service ${service.namespace}/${service.name}: ${address} is not allowed as an endpoint`);
      else if (candidates.length >= MAX_ENDPOINTS) beyond++;
      else candidates.push({ address, port, host, label: formatHostPort({ host: address, port }), weight: 1, draining });
    }
    if (beyond > 0) refused.add(`Service ${service.namespace}/${service.name}: only ${MAX_ENDPOINTS} endpoints of one group are used`);
    return { source, candidates, refused: refused.told() };
  }

  private ofAddresses(source: GroupSource): LaneGroup {
    const candidates: Candidate[] = [];
    const refused = new Refusals();
    const seen = new Set<string>();
    for (const { host, port, weight, label } of source.addresses) {
      for (const address of this.o.resolve(host)) {
        const key = `${address} ${port} ${host}`;
        if (seen.has(key)) continue;
        seen.add(key);
        if (this.o.deny.denies(address)) refused.add(`${host}: ${address} is not allowed as an endpoint`);
        else if (candidates.length >= MAX_ENDPOINTS) refused.add(`${host}: ${address} is beyond ${MAX_ENDPOINTS} endpoints of one group`);
        else candidates.push({ address, port, host, label, weight, draining: false });
      }
    }
    return { source, candidates, refused: refused.told() };
  }

  private emit(ids: Iterable<GroupId>): void {
    const changed: EndpointList[] = [];
    for (const id of ids) {
      const group = this.groups.get(id);
      if (group === undefined) continue;
      const list = group.candidates.map((c) => ({ ...c, healthy: this.o.healthy(group.source.group, c) }));
      const known = this.lists.get(id);
      const { part } = group.source;
      if (known !== undefined && known.part === part && sameList(known.list, list)) continue;
      const next = { group: id, part, sequence: ++this.sequence, list };
      this.lists.set(id, next);
      changed.push(next);
    }
    if (changed.length > 0) this.o.onLists(changed);
  }
}

/** Thousands of addresses that are not allowed are one mistake, or one attempt. */
const MAX_TOLD = 5;

class Refusals {
  private readonly first: string[] = [];
  private more = 0;

  add(text: string): void {
    if (this.first.length < MAX_TOLD) this.first.push(text);
    else this.more++;
  }

  told(): readonly string[] {
    return this.more === 0 ? this.first : [...this.first, `and ${this.more} more addresses`];
  }
}

function use(index: Map<string, Set<GroupId>>, key: string, id: GroupId): void {
  const users = index.get(key);
  if (users === undefined) index.set(key, new Set([id]));
  else users.add(id);
}

function unuse(index: Map<string, Set<GroupId>>, key: string, id: GroupId): void {
  const users = index.get(key);
  users?.delete(id);
  if (users?.size === 0) index.delete(key);
}
