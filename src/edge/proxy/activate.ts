/**
 * From parts to what requests see. Everything that a request would otherwise compute is computed here, in slices, and what has not changed
 * since the last snapshot is taken over as it is.
 */
import type { PartHash } from '../../contract/snapshot/index.ts';
import type { QuicEngine } from '../quic/engine.ts';
import { AddressList } from './addresslist.ts';
import { ListenerCounters } from './counters.ts';
import { PartStore } from './parts.ts';
import type { Plant } from './plant.ts';
import { Replies } from './reply.ts';
import { Slices } from './slices.ts';
import { Tables } from './tables.ts';
import { TlsTables } from './tls.ts';
import { Upstreams, type MetricsDetail } from './upstreams.ts';
import type { ListenerView } from './view.ts';

export type { MetricsDetail } from './upstreams.ts';

interface KeptView {
  readonly hash: PartHash;
  readonly view: ListenerView;
}

export class Activator {
  readonly parts = new PartStore();
  private readonly plant: Plant;
  private readonly tls: TlsTables;
  private readonly tables: Tables;
  private readonly listenerCounters = new Map<string, ListenerCounters>();
  private readonly views = new Map<string, KeptView>();

  constructor(plant: Plant, engine: Pick<QuicEngine, 'unfit'>, installationKey: Uint8Array, detail: MetricsDetail) {
    this.plant = plant;
    this.tls = new TlsTables(installationKey, (pair) => engine.unfit(pair));
    this.tables = new Tables(this.parts, new Upstreams(plant, this.parts, detail));
  }

  /** Rejects when a part is missing or cannot be built: nothing of that listener is served from it then. */
  async view(hash: PartHash, period: number, slices = new Slices()): Promise<ListenerView> {
    const part = this.parts.get(hash, 'listener');
    const label = `${part.namespace}/${part.name}`;
    const { table: tls, unfit } = await this.tls.build(part, this.parts, period, slices);
    const known = this.views.get(label);
    if (known !== undefined && known.hash === hash && known.view.tls === tls) return known.view;
    const view: ListenerView = {
      part,
      label,
      table: await this.tables.build(label, part, slices),
      trust: new AddressList(part.trust),
      tls,
      unfit,
      replies: new Replies(this.plant.via.pseudonym, part.proxyStatusDetails, this.plant.dates),
      counters: this.countersOf(label),
      port: String(part.advertisedPort),
    };
    this.views.set(label, { hash, view });
    return view;
  }

  /** A listener's view with new ticket keys. */
  async renewed(view: ListenerView, period: number, slices: Slices): Promise<ListenerView> {
    const { table: tls } = await this.tls.build(view.part, this.parts, period, slices);
    if (tls === view.tls) return view;
    const renewed = { ...view, tls };
    const known = this.views.get(view.label);
    if (known?.view === view) this.views.set(view.label, { hash: known.hash, view: renewed });
    return renewed;
  }

  /** These serve. What no other uses is let go, in slices: pools, rows of counters, keys. */
  serve(views: readonly ListenerView[]): Promise<void> {
    const labels = new Set(views.map((v) => v.label));
    for (const [label, kept] of this.views) if (!views.includes(kept.view)) this.views.delete(label);
    this.tls.sweep(views.map((v) => v.tls));
    for (const [label, counters] of this.listenerCounters) {
      if (labels.has(label)) continue;
      this.listenerCounters.delete(label);
      counters.retire();
    }
    return this.tables.commit(labels).run(new Slices());
  }

  /** What was built since then will not serve. */
  abandon(serving: readonly ListenerView[]): Promise<void> {
    for (const [label, kept] of this.views) if (!serving.includes(kept.view)) this.views.delete(label);
    return this.tables.abandon().run(new Slices());
  }

  private countersOf(label: string): ListenerCounters {
    let counters = this.listenerCounters.get(label);
    if (counters === undefined) {
      counters = new ListenerCounters(this.plant.cells, label);
      this.listenerCounters.set(label, counters);
    }
    return counters;
  }
}
