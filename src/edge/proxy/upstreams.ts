/** What routes lead to, by its parts: the same part gives the same object, with its balancers and counters, for as long as something uses it. */
import type { Balancing, GroupPart, PartHash, UpstreamPart } from '../../contract/snapshot/index.ts';
import type { Group } from '../backends/index.ts';
import { BackendCounters, RequestCounters, RetryCounters } from './counters.ts';
import type { PartStore } from './parts.ts';
import type { Plant } from './plant.ts';
import { Shared } from './shared.ts';
import type { Destination, GroupView, UpstreamView } from './view.ts';

export type MetricsDetail = 'listener' | 'upstream' | 'endpoint';

/** What an Upstream took, to be given back. */
interface KeptUpstream {
  readonly view: UpstreamView;
  readonly label: string;
  readonly groups: readonly string[];
  readonly backends: readonly string[];
}

interface KeptDestination {
  readonly destination: Destination;
  readonly target: PartHash;
  readonly counters: string;
}

const retire = (counters: { retire(): void }): void => counters.retire();

export class Upstreams {
  private readonly plant: Plant;
  private readonly parts: PartStore;
  private readonly detail: MetricsDetail;
  private readonly groups: Shared<string, Group>;
  private readonly upstreams = new Shared<PartHash, KeptUpstream>((kept) => this.letGo(kept));
  private readonly destinations = new Shared<string, KeptDestination>((kept) => this.letGoDestination(kept));
  private readonly requestCounters = new Shared<string, RequestCounters>(retire);
  private readonly backendCounters = new Shared<string, BackendCounters>(retire);
  private readonly retryCounters = new Shared<string, RetryCounters>(retire);

  constructor(plant: Plant, parts: PartStore, detail: MetricsDetail) {
    this.plant = plant;
    this.parts = parts;
    this.detail = detail;
    this.groups = new Shared((group) => plant.backends.release(group));
  }

  /** Where a route of the listener leads: to be given back as often as it was taken. */
  take(listener: string, target: PartHash): Destination {
    return this.destinations.take(keyOf(listener, target), () => {
      const { view } = this.upstreams.take(target, () => this.make(target));
      try {
        const label = this.detail === 'listener' ? '' : view.label;
        const counters = JSON.stringify([listener, label]);
        const make = (): RequestCounters => new RequestCounters(this.plant.cells, listener, label);
        return { destination: { upstream: view, counters: this.requestCounters.take(counters, make) }, target, counters };
      } catch (e) {
        this.upstreams.give(target);
        throw e;
      }
    }).destination;
  }

  give(listener: string, target: PartHash): void {
    this.destinations.give(keyOf(listener, target));
  }

  private make(hash: PartHash): KeptUpstream {
    const part = this.parts.get(hash, 'upstream');
    const label = `${part.namespace}/${part.name}`;
    const groups: string[] = [];
    const backends: string[] = [];
    try {
      const views = part.groups.map((g) => this.groupView(part, label, g, groups, backends));
      const view: UpstreamView = {
        part,
        label,
        split: this.plant.backends.split(part.groups.map((g) => g.weight)),
        groups: views,
        key: part.balancing.type === 'ConsistentHash' ? part.balancing.key : null,
        retries: this.retryCountersOf(label),
      };
      return { view, label, groups, backends };
    } catch (e) {
      for (const key of groups) this.groups.give(key);
      for (const key of backends) this.backendCounters.give(key);
      throw e;
    }
  }

  private groupView(
    upstream: UpstreamPart,
    label: string,
    g: UpstreamPart['groups'][number],
    groups: string[],
    backends: string[],
  ): GroupView {
    const part = g.group === null ? null : this.parts.get(g.group, 'group');
    return {
      name: g.name,
      group: part === null ? null : this.group(g.group as PartHash, part, upstream.balancing, groups),
      scheme: part?.protocol === 'H2' ? 'https' : 'http',
      counters: this.backendCountersOf(label, g.name, backends),
    };
  }

  private group(hash: PartHash, part: GroupPart, balancing: Balancing, taken: string[]): Group {
    const key = JSON.stringify([hash, balancing]);
    const group = this.groups.take(key, () => this.plant.backends.group(part, balancing, hash));
    taken.push(key);
    return group;
  }

  private backendCountersOf(upstream: string, backend: string, taken: string[]): BackendCounters {
    const [a, b] = this.detail === 'listener' ? ['', ''] : [upstream, backend];
    const key = JSON.stringify([a, b]);
    const counters = this.backendCounters.take(key, () => new BackendCounters(this.plant.cells, a, b));
    taken.push(key);
    return counters;
  }

  private retryCountersOf(upstream: string): RetryCounters {
    const label = this.detail === 'listener' ? '' : upstream;
    return this.retryCounters.take(label, () => new RetryCounters(this.plant.cells, label));
  }

  private letGo({ label, groups, backends }: KeptUpstream): void {
    for (const key of groups) this.groups.give(key);
    for (const key of backends) this.backendCounters.give(key);
    this.retryCounters.give(this.detail === 'listener' ? '' : label);
  }

  private letGoDestination({ target, counters }: KeptDestination): void {
    this.requestCounters.give(counters);
    this.upstreams.give(target);
  }
}

/** A hash has no space. */
const keyOf = (listener: string, target: PartHash): string => `${target} ${listener}`;
