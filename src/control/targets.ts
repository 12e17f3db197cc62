/** Everything about where requests may go: names, the endpoints' lane and the checks, kept in step with the state. */
import { isIP } from 'node:net';
import type { CertificatePart, EndpointList, GroupId, PartHash } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';
import { DenyList } from '../lib/deny.ts';
import type { Log } from '../lib/log.ts';
import { changesSince, type Compiled } from './compile/index.ts';
import { EndpointLane } from './endpoints.ts';
import { Health, type CheckReason, type CheckTransport } from './health/index.ts';
import { Dns, type Resolve } from './sources/dns.ts';
import type { ServiceEndpoints } from './sources/services.ts';

/** How long a state waits for the first answers about names that it brings. */
const NAMES_MS = 1000;
const MINUTE_MS = 60_000;
/** Log lines about addresses that are refused, per minute. */
const MAX_LINES = 60;

export interface TargetsOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** CIDRs that no endpoint may have. */
  readonly deny: readonly string[];
  readonly resolve: Resolve;
  /** null without a cluster. */
  readonly services: ServiceEndpoints | null;
  /** Checks find certificates of the state that is being applied by their hash. */
  readonly checks: (certificate: (hash: PartHash) => CertificatePart | null) => CheckTransport;
  readonly random: () => number;
  readonly onLists: (lists: readonly EndpointList[]) => void;
  readonly onCheck: (upstream: string, success: boolean, reason: CheckReason) => void;
}

/** The names that the groups of a state have among their addresses. Most have none: fifty thousand literals are looked at once. */
class Names {
  private readonly byGroup = new Map<GroupId, readonly string[]>();
  private state: Compiled | null = null;
  private names: readonly string[] = [];

  of(next: Compiled): readonly string[] {
    if (next === this.state) return this.names;
    const changes = changesSince(this.state, next);
    if (changes === null) this.byGroup.clear();
    for (const id of changes === null ? next.groups.keys() : changes.groups) {
      const names = next.groups.get(id)?.addresses.flatMap(({ host }) => (isIP(host) === 0 ? [host] : [])) ?? [];
      if (names.length > 0) this.byGroup.set(id, names);
      else this.byGroup.delete(id);
    }
    this.state = next;
    return (this.names = [...this.byGroup.values()].flat());
  }
}

export class Targets {
  readonly lane: EndpointLane;
  readonly checks: Health;
  readonly dns: Dns;
  private readonly o: TargetsOptions;
  /** The state that is being applied, or serves. */
  private newest: Compiled | null = null;
  private readonly names = new Names();
  /** Those of the state that serves. */
  private serving: readonly string[] = [];
  /** What was said of each group. */
  private readonly refusals = new Map<GroupId, readonly string[]>();
  /** Lines about refusals since the minute began. */
  private said = 0;
  private saidSince = -Infinity;
  private readonly unfollow: (() => void) | null;

  constructor(o: TargetsOptions) {
    this.o = o;
    this.checks = new Health({
      clock: o.clock,
      transport: o.checks((hash) => this.certificate(hash)),
      random: o.random,
      onVerdicts: (groups) => this.lane.healthChanged(groups),
      onResult: o.onCheck,
      onTurn: (upstream, endpoint, healthy, reason) =>
        o.log.at(healthy ? 'info' : 'warn', healthy ? 'endpoint healthy' : 'endpoint unhealthy', { upstream, endpoint, reason }),
    });
    this.dns = new Dns({
      clock: o.clock,
      resolve: o.resolve,
      random: o.random,
      onChange: (name) => this.lane.hostChanged(name),
      onFailure: (name, error) => o.log.warn('name not resolved', { name, error }),
    });
    this.lane = new EndpointLane({
      deny: new DenyList(o.deny),
      resolve: (host) => this.dns.addresses(host),
      service: (service) => o.services?.endpoints(service) ?? [],
      healthy: (group, endpoint) => this.checks.healthy(group, endpoint),
      onLists: o.onLists,
      onGroups: (changed) => this.groupsChanged(changed),
    });
    this.unfollow = o.services?.onChange((services) => this.lane.servicesChanged(services)) ?? null;
  }

  /** Before a state is published: its names are asked for, its lists made. Names of the old state are followed on until the new one serves. */
  async prepare(next: Compiled): Promise<void> {
    const changes = changesSince(this.newest, next);
    this.newest = next;
    this.dns.watch(new Set([...this.names.of(next), ...this.serving]));
    await this.dns.settled(NAMES_MS);
    this.lane.apply(next.groups, changes === null ? null : changes.groups);
  }

  /** The state serves: what only others needed is forgotten. */
  settle(state: Compiled): void {
    this.serving = this.names.of(state);
    this.dns.watch(new Set(this.serving));
  }

  /** The new state could not be published. */
  restore(good: Compiled | null): void {
    this.newest = good;
    if (good === null) return;
    this.lane.apply(good.groups);
    this.settle(good);
  }

  stop(): void {
    this.unfollow?.();
    this.checks.stop();
    this.dns.stop();
  }

  private groupsChanged(changed: readonly GroupId[]): void {
    for (const id of changed) {
      const group = this.lane.all().get(id);
      if (group === undefined) this.checks.forget(id);
      else this.checks.follow({ group: group.source.group, endpoints: group.candidates });
      this.tellRefusals(id, group?.refused ?? []);
    }
  }

  /** Said once, not with every answer of every name. */
  private tellRefusals(id: GroupId, refused: readonly string[]): void {
    const told = this.refusals.get(id) ?? [];
    for (const why of refused) if (!told.includes(why)) this.sayRefused(id, why);
    if (refused.length > 0) this.refusals.set(id, refused);
    else this.refusals.delete(id);
  }

  /** Whoever writes the addresses must not write our log: they may come and go many times a second. */
  private sayRefused(id: GroupId, why: string): void {
    const now = this.o.clock.now();
    if (now - this.saidSince >= MINUTE_MS) {
      this.saidSince = now;
      this.said = 0;
    }
    const { namespace, name } = this.lane.all().get(id)?.source.upstream ?? { namespace: '', name: '' };
    if (this.said++ < MAX_LINES) this.o.log.warn('endpoint refused', { upstream: `${namespace}/${name}`, why });
  }

  private certificate(hash: PartHash): CertificatePart | null {
    const part = this.newest?.parts.get(hash);
    return part?.kind === 'certificate' ? part : null;
  }
}
