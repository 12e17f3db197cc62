/**
 * From parts to what requests see. Everything that a request would otherwise compute is computed here, and what has not changed
 * since the last snapshot is taken over as it is: the same part gives the same object, with its balancers and counters.
 */
import { buildTable, type RouteTable } from '../../contract/routes/table.ts';
import type { Balancing, GroupPart, ListenerPart, PartHash, UpstreamPart } from '../../contract/snapshot/index.ts';
import { Split, type Group } from '../backends/index.ts';
import type { TlsTable } from '../quic/engine.ts';
import { BackendCounters, ListenerCounters, RequestCounters, RetryCounters } from './counters.ts';
import { PartStore } from './parts.ts';
import type { Plant } from './plant.ts';
import { Replies } from './reply.ts';
import { TlsTables } from './tls.ts';
import { AddressList } from './addresslist.ts';
import type { Destination, GroupView, ListenerView, UpstreamView } from './view.ts';

export type MetricsDetail = 'listener' | 'upstream' | 'endpoint';

interface KeptTable {
  readonly hosts: string;
  readonly table: RouteTable<Destination>;
  readonly destinations: ReadonlyMap<PartHash, Destination>;
}

interface KeptView {
  readonly hash: PartHash;
  readonly view: ListenerView;
}

export class Activator {
  readonly parts = new PartStore();
  private readonly plant: Plant;
  private readonly detail: MetricsDetail;
  private readonly tls: TlsTables;
  private readonly groups = new Map<string, Group>();
  private readonly upstreams = new Map<PartHash, UpstreamView>();
  private readonly listenerCounters = new Map<string, ListenerCounters>();
  private readonly requestCounters = new Map<string, RequestCounters>();
  private readonly backendCounters = new Map<string, BackendCounters>();
  private readonly retryCounters = new Map<string, RetryCounters>();
  private readonly tables = new Map<string, KeptTable>();
  private readonly views = new Map<string, KeptView>();

  constructor(plant: Plant, installationKey: Uint8Array, detail: MetricsDetail) {
    this.plant = plant;
    this.detail = detail;
    this.tls = new TlsTables(installationKey);
  }

  /** Throws when a part is missing or cannot be built: nothing of that listener is served from it then. */
  view(hash: PartHash, period: number): ListenerView {
    const part = this.parts.get(hash, 'listener');
    const label = `${part.namespace}/${part.name}`;
    const tls = this.tls.build(part, this.parts, period);
    const known = this.views.get(label);
    if (known !== undefined && known.hash === hash && known.view.tls === tls) return known.view;
    const view: ListenerView = {
      part,
      label,
      table: this.table(part, label),
      trust: new AddressList(part.trust),
      tls,
      replies: new Replies(this.plant.via.pseudonym, part.proxyStatusDetails, this.plant.clock),
      counters: this.countersOf(label),
      port: String(part.advertisedPort),
    };
    this.views.set(label, { hash, view });
    return view;
  }

  /** A listener's view with new ticket keys. */
  renewed(view: ListenerView, period: number): ListenerView {
    const tls: TlsTable = this.tls.build(view.part, this.parts, period);
    if (tls === view.tls) return view;
    const renewed = { ...view, tls };
    const known = this.views.get(view.label);
    if (known?.view === view) this.views.set(view.label, { hash: known.hash, view: renewed });
    return renewed;
  }

  /** What no view of these uses is let go: pools, rows of counters, keys. */
  sweep(views: readonly ListenerView[]): void {
    const labels = new Set(views.map((v) => v.label));
    for (const [label, kept] of this.views) if (!views.includes(kept.view)) this.views.delete(label);
    for (const label of this.tables.keys()) if (!labels.has(label)) this.tables.delete(label);
    this.tls.sweep(views.map((v) => v.tls));
    this.sweepUpstreams();
    this.sweepCounters(labels);
  }

  private table(part: ListenerPart, label: string): RouteTable<Destination> {
    const hosts = part.hosts.join();
    const known = this.tables.get(label);
    if (known !== undefined && known.hosts === hosts) return known.table;
    const destinations = new Map<PartHash, Destination>();
    const table = buildTable(
      part.hosts.map((h) => this.parts.get(h, 'host')),
      (route) => {
        let destination = destinations.get(route.target);
        if (destination === undefined) {
          destination = known?.destinations.get(route.target) ?? this.destination(label, route.target);
          destinations.set(route.target, destination);
        }
        return destination;
      },
    );
    this.tables.set(label, { hosts, table, destinations });
    return table;
  }

  private destination(listener: string, target: PartHash): Destination {
    const upstream = this.upstream(target);
    return { upstream, counters: this.requestCountersOf(listener, upstream.label) };
  }

  private upstream(hash: PartHash): UpstreamView {
    const known = this.upstreams.get(hash);
    if (known !== undefined) return known;
    const part = this.parts.get(hash, 'upstream');
    const label = `${part.namespace}/${part.name}`;
    const view: UpstreamView = {
      part,
      label,
      split: new Split(part.groups.map((g) => g.weight)),
      groups: part.groups.map((g) => this.groupView(part, label, g)),
      key: part.balancing.type === 'ConsistentHash' ? part.balancing.key : null,
      retries: this.retryCountersOf(label),
    };
    this.upstreams.set(hash, view);
    return view;
  }

  private groupView(upstream: UpstreamPart, label: string, g: UpstreamPart['groups'][number]): GroupView {
    const part = g.group === null ? null : this.parts.get(g.group, 'group');
    return {
      name: g.name,
      group: part === null ? null : this.group(g.group as PartHash, part, upstream.balancing),
      scheme: part?.protocol === 'H2' ? 'https' : 'http',
      counters: this.backendCountersOf(label, g.name),
    };
  }

  private group(hash: PartHash, part: GroupPart, balancing: Balancing): Group {
    const key = JSON.stringify([hash, balancing]);
    let group = this.groups.get(key);
    if (group === undefined) {
      group = this.plant.backends.group(part, balancing);
      this.groups.set(key, group);
    }
    return group;
  }

  private countersOf(label: string): ListenerCounters {
    let counters = this.listenerCounters.get(label);
    if (counters === undefined) {
      counters = new ListenerCounters(this.plant.cells, label);
      this.listenerCounters.set(label, counters);
    }
    return counters;
  }

  private requestCountersOf(listener: string, upstream: string): RequestCounters {
    const label = this.detail === 'listener' ? '' : upstream;
    const key = JSON.stringify([listener, label]);
    let counters = this.requestCounters.get(key);
    if (counters === undefined) {
      counters = new RequestCounters(this.plant.cells, listener, label);
      this.requestCounters.set(key, counters);
    }
    return counters;
  }

  private backendCountersOf(upstream: string, backend: string): BackendCounters {
    const all = this.detail === 'listener';
    const key = JSON.stringify(all ? ['', ''] : [upstream, backend]);
    let counters = this.backendCounters.get(key);
    if (counters === undefined) {
      counters = all ? new BackendCounters(this.plant.cells, '', '') : new BackendCounters(this.plant.cells, upstream, backend);
      this.backendCounters.set(key, counters);
    }
    return counters;
  }

  private retryCountersOf(upstream: string): RetryCounters {
    const label = this.detail === 'listener' ? '' : upstream;
    let counters = this.retryCounters.get(label);
    if (counters === undefined) {
      counters = new RetryCounters(this.plant.cells, label);
      this.retryCounters.set(label, counters);
    }
    return counters;
  }

  private sweepUpstreams(): void {
    const live = new Set<UpstreamView>();
    for (const kept of this.tables.values()) for (const d of kept.destinations.values()) live.add(d.upstream);
    for (const [hash, upstream] of this.upstreams) if (!live.has(upstream)) this.upstreams.delete(hash);
    const groups = new Set<Group | null>();
    for (const upstream of live) for (const g of upstream.groups) groups.add(g.group);
    for (const [key, group] of this.groups) {
      if (groups.has(group)) continue;
      this.groups.delete(key);
      this.plant.backends.release(group);
    }
  }

  /** Rows go with their object. */
  private sweepCounters(listeners: ReadonlySet<string>): void {
    const requests = new Set<RequestCounters>();
    for (const kept of this.tables.values()) for (const d of kept.destinations.values()) requests.add(d.counters);
    const backends = new Set<BackendCounters>();
    const retries = new Set<RetryCounters>();
    for (const upstream of this.upstreams.values()) {
      retries.add(upstream.retries);
      for (const g of upstream.groups) backends.add(g.counters);
    }
    drop(this.retryCounters, (c) => retries.has(c));
    drop(this.requestCounters, (c) => requests.has(c));
    drop(this.backendCounters, (c) => backends.has(c));
    drop(this.listenerCounters, (c) => listeners.has(c.label));
  }
}

function drop<C extends { retire(): void }>(map: Map<string, C>, isLive: (c: C) => boolean): void {
  for (const [key, counters] of map) {
    if (isLive(counters)) continue;
    map.delete(key);
    counters.retire();
  }
}
