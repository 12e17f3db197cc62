import { hash as digest } from 'node:crypto';
import type { Cells, Row } from '../../contract/cells.ts';
import type { EndpointActivity } from '../../contract/channel.ts';
import type { Balancing, EndpointInfo, EndpointList, GroupId, GroupPart, PartHash } from '../../contract/snapshot/parts.ts';
import type { TimerWheel } from '../../lib/wheel.ts';
import { Endpoint } from './endpoint.ts';
import { Group, type Member } from './group.ts';
import { Pool, POOL_LIMITS, type PoolLimits } from './pool.ts';
import type { Connect } from './session.ts';
import { Split } from './split.ts';

export interface BackendsOptions {
  readonly wheel: TimerWheel;
  readonly cells: Cells;
  /** In [0, 1). */
  readonly random: () => number;
  /** The dialler for the endpoints of a group: protocol and TLS are the group's. */
  readonly connectFor: (part: GroupPart) => Connect;
  readonly limits?: PoolLimits;
  /** `listener`: rows have no Upstream; `endpoint`: there are rows per endpoint. Absent: `upstream`. */
  readonly metricsDetail?: 'listener' | 'upstream' | 'endpoint';
}

/** What the endpoints of a group part share: thousands of groups have several endpoints each, and a bundle of authorities may be a megabyte. */
interface Shared {
  /** What of an endpoint's identity is the group's. */
  readonly identity: string;
  readonly connect: Connect;
}

/** Every group and endpoint of a worker. Lists of endpoints arrive by group id and in sequence, before or after the groups that they are for. */
export class Backends {
  private readonly options: BackendsOptions;
  private readonly waiting = { value: 0 };
  private readonly lists = new Map<GroupId, EndpointList>();
  private readonly groups = new Map<GroupId, Set<Group>>();
  private readonly endpoints = new Map<string, Endpoint>();
  private readonly shared = new WeakMap<GroupPart, Shared>();
  /** Rows that were not zero when they were last measured. */
  private readonly measured = new Set<Row>();
  /** How many groups of an upstream there are: its rows go with the last one. */
  private readonly upstreams = new Map<string, number>();

  constructor(options: BackendsOptions) {
    this.options = options;
  }

  /** Requests that wait for a backend stream, in the whole worker. */
  get pending(): number {
    return this.waiting.value;
  }

  /** `hash`: by which lists name the part. */
  group(part: GroupPart, balancing: Balancing, hash: PartHash | null = null): Group {
    const group = new Group(part, hash, balancing, this.options.random, this.options.cells, this.labelOf(part));
    this.upstreams.set(this.labelOf(part), (this.upstreams.get(this.labelOf(part)) ?? 0) + 1);
    const alike = this.groups.get(part.id);
    if (alike === undefined) this.groups.set(part.id, new Set([group]));
    else alike.add(group);
    const known = this.lists.get(part.id);
    try {
      if (known !== undefined) this.populate(group, known);
    } catch (e) {
      this.release(group);
      throw e;
    }
    return group;
  }

  /** The choice among groups of these weights. */
  split(weights: readonly number[]): Split {
    return new Split(weights, this.options.random());
  }

  release(group: Group): void {
    const alike = this.groups.get(group.part.id);
    if (alike === undefined || !alike.delete(group)) return;
    this.replace(group, []);
    this.forgetUpstream(this.labelOf(group.part));
    if (alike.size > 0) return;
    this.groups.delete(group.part.id);
  }

  /**
   * The higher sequence wins. Until a switch the group that serves goes on with its own when these are for the one that follows.
   * Throws when a group cannot take it, which may be one that is being let go: the others have taken it then.
   */
  setEndpoints(list: EndpointList): void {
    const known = this.lists.get(list.group);
    if (known !== undefined && known.sequence >= list.sequence) return;
    this.lists.set(list.group, list);
    let fault: unknown = null;
    for (const group of this.groups.get(list.group) ?? []) {
      if (!isFor(list, group)) continue;
      try {
        this.populate(group, list);
      } catch (e) {
        fault ??= e;
      }
    }
    if (fault !== null) throw fault;
  }

  /**
   * No group that is made from now on needs these. Main says so: it sends a list once, and groups come and go in between, with a listener that could
   * not be bound, or while what is gone is still being let go.
   */
  forgetLists(groups: readonly GroupId[]): void {
    for (const group of groups) this.lists.delete(group);
  }

  activity(): EndpointActivity[] {
    const out: EndpointActivity[] = [];
    for (const alike of this.groups.values()) {
      const seen = new Set<string>();
      for (const group of alike) {
        for (const { endpoint } of group.members) {
          if (seen.has(endpoint.identity)) continue;
          seen.add(endpoint.identity);
          out.push({ group: group.part.id, endpoint: endpoint.label, active: endpoint.active });
        }
      }
    }
    return out;
  }

  /** Refreshes the gauges; called when somebody asks for the counters. Most of fifty thousand endpoints have no connection, and no row. */
  measure(): void {
    const { cells, metricsDetail } = this.options;
    const sums = new Map<Row, number>();
    for (const row of this.measured) sums.set(row, 0);
    const add = (row: Row, n: number): void => void sums.set(row, (sums.get(row) ?? 0) + n);
    for (const { upstream, label, pool, active } of this.endpoints.values()) {
      const { connections, connecting } = pool;
      if (connections + connecting > 0) {
        add(cells.row('backend_connections', upstream, 'open'), connections);
        add(cells.row('backend_connections', upstream, 'connecting'), connecting);
      }
      if (metricsDetail === 'endpoint') add(cells.row('endpoint_active_requests', upstream, label), active);
    }
    this.measured.clear();
    for (const [row, value] of sums) {
      cells.set(row, value);
      if (value !== 0) this.measured.add(row);
    }
  }

  /** Ends every connection: requests in flight fail. */
  close(): void {
    for (const endpoint of this.endpoints.values()) endpoint.pool.close();
    this.endpoints.clear();
    this.groups.clear();
    this.lists.clear();
  }

  private labelOf(part: GroupPart): string {
    return this.options.metricsDetail === 'listener' ? '' : `${part.upstream.namespace}/${part.upstream.name}`;
  }

  private forgetUpstream(label: string): void {
    const left = (this.upstreams.get(label) ?? 0) - 1;
    if (left > 0) {
      this.upstreams.set(label, left);
      return;
    }
    this.upstreams.delete(label);
    const { cells } = this.options;
    cells.drop('panic_total', label);
    for (const state of ['open', 'connecting']) this.forgetRow(cells.drop('backend_connections', label, state));
  }

  private populate(group: Group, list: EndpointList): void {
    const members: Member[] = [];
    const seen = new Set<string>();
    for (const info of list.list) {
      const endpoint = this.endpoint(group.part, info);
      if (seen.has(endpoint.identity)) continue;
      seen.add(endpoint.identity);
      members.push({ endpoint, weight: Math.max(1, info.weight), healthy: info.healthy, draining: info.draining });
    }
    this.replace(group, members);
  }

  private replace(group: Group, members: readonly Member[]): void {
    const before = group.members;
    for (const m of members) m.endpoint.users++;
    group.setMembers(members);
    for (const m of before) this.leave(m.endpoint);
  }

  private leave(endpoint: Endpoint): void {
    if (--endpoint.users > 0) return;
    this.endpoints.delete(endpoint.identity);
    endpoint.pool.retire();
    this.forgetLabel(endpoint);
  }

  private rename(endpoint: Endpoint, label: string): void {
    this.forgetLabel(endpoint);
    endpoint.label = label;
  }

  private forgetLabel({ upstream, label }: Endpoint): void {
    this.forgetRow(this.options.cells.drop('endpoint_active_requests', upstream, label));
  }

  private forgetRow(row: Row | null): void {
    if (row !== null) this.measured.delete(row);
  }

  private endpoint(part: GroupPart, info: EndpointInfo): Endpoint {
    const shared = this.sharedOf(part);
    const identity = `${shared.identity} ${info.address} ${info.port} ${info.host}`;
    const known = this.endpoints.get(identity);
    if (known !== undefined) {
      if (known.label !== info.label) this.rename(known, info.label);
      return known;
    }
    const pool = new Pool(
      { address: info.address, port: info.port, host: info.host },
      shared.connect,
      this.options.limits ?? POOL_LIMITS,
      this.waiting,
      this.options.wheel,
    );
    const endpoint = new Endpoint(identity, this.labelOf(part), info.label, info.address, info.port, info.host, pool);
    this.endpoints.set(identity, endpoint);
    return endpoint;
  }

  private sharedOf(part: GroupPart): Shared {
    let shared = this.shared.get(part);
    if (shared === undefined) {
      const identity = digest('sha256', JSON.stringify([part.id, part.protocol, part.tls, part.healthCheck]), 'base64url');
      this.shared.set(part, (shared = { identity, connect: this.options.connectFor(part) }));
    }
    return shared;
  }
}

/** Who has no endpoints takes any. */
const isFor = ({ part }: EndpointList, { hash, members }: Group): boolean =>
  part === undefined || hash === null || part === hash || members.length === 0;
