/**
 * Active health checks: once per node, over connections of their own. A verdict belongs to the endpoint's identity,
 * so a reload that keeps the identity keeps the verdict.
 */
import type { GroupId, GroupPart, HealthCheckPart } from '../../contract/snapshot/parts.ts';
import type { Clock } from '../../lib/clock.ts';
import type { CheckedEndpoint, CheckedGroup, Checker, CheckReason, CheckTransport } from './check.ts';
import { HealthState } from './state.ts';

export type { CheckedEndpoint, CheckedGroup, Checker, CheckReason, CheckTarget, CheckTransport } from './check.ts';
export { HealthState } from './state.ts';

/** Checks under way at once; the others wait for their turn. */
export const MAX_RUNNING = 256;
/** A check that takes longer no longer counts: time-outs may be hours, and the endpoints of one Upstream must not hold up those of the others. */
const TURN_MS = 1000;
/** The first check of an endpoint comes within this time, or its interval when that is less. */
const FIRST_MS = 1000;

class Checked {
  readonly id: GroupId;
  readonly upstream: string;
  /** As it is called now. */
  endpoint: CheckedEndpoint;
  readonly check: HealthCheckPart;
  readonly state: HealthState;
  readonly checker: Checker;
  cancel: (() => void) | null = null;
  running = false;
  /** Counts among those under way; the function that keeps it from doing so for too long. */
  turn: (() => void) | null = null;
  gone = false;

  constructor(group: GroupPart, check: HealthCheckPart, endpoint: CheckedEndpoint, checker: Checker) {
    this.id = group.id;
    this.upstream = `${group.upstream.namespace}/${group.upstream.name}`;
    this.endpoint = endpoint;
    this.check = check;
    this.state = new HealthState(check);
    this.checker = checker;
  }
}

export interface HealthOptions {
  readonly clock: Clock;
  readonly transport: CheckTransport;
  /** In [0, 1). */
  readonly random: () => number;
  readonly onVerdicts: (groups: Iterable<GroupId>) => void;
  readonly onResult: (upstream: string, success: boolean, reason: CheckReason) => void;
  /** For the log. */
  readonly onTurn: (upstream: string, endpoint: string, healthy: boolean, reason: CheckReason) => void;
}

export interface HealthFacts {
  readonly healthy: boolean;
  readonly lastReason: string;
  readonly checkedAgoMs: number;
}

export class Health {
  private readonly o: HealthOptions;
  /** Of each group by identity. */
  private readonly groups = new Map<GroupId, ReadonlyMap<string, Checked>>();
  private readonly prefixes = new WeakMap<GroupPart, string>();
  private readonly queue: Checked[] = [];
  private running = 0;

  constructor(o: HealthOptions) {
    this.o = o;
  }

  /** The endpoints of the group to check from now on. Those that stay keep verdict, counters and rhythm. */
  follow({ group, endpoints }: CheckedGroup): void {
    const check = group.healthCheck;
    const before = this.groups.get(group.id);
    const next = new Map<string, Checked>();
    for (const endpoint of check === null ? [] : endpoints) {
      const identity = this.identity(group, endpoint);
      if (check === null || next.has(identity)) continue;
      const known = before?.get(identity);
      if (known !== undefined) known.endpoint = endpoint;
      next.set(identity, known ?? this.begin(group, check, endpoint));
    }
    for (const [identity, entry] of before ?? []) if (!next.has(identity)) this.end(entry);
    if (next.size > 0) this.groups.set(group.id, next);
    else this.groups.delete(group.id);
  }

  forget(id: GroupId): void {
    for (const entry of this.groups.get(id)?.values() ?? []) this.end(entry);
    this.groups.delete(id);
  }

  healthy(group: GroupPart, endpoint: CheckedEndpoint): boolean {
    if (group.healthCheck === null) return true;
    const entry = this.groups.get(group.id)?.get(this.identity(group, endpoint));
    return entry === undefined ? group.healthCheck.initial === 'Healthy' : entry.state.healthy;
  }

  facts(group: GroupPart, endpoint: CheckedEndpoint): HealthFacts | null {
    const state = group.healthCheck === null ? undefined : this.groups.get(group.id)?.get(this.identity(group, endpoint))?.state;
    if (state === undefined) return null;
    return {
      healthy: state.healthy,
      lastReason: state.lastReason,
      checkedAgoMs: state.checkedAt < 0 ? -1 : Math.round(this.o.clock.now() - state.checkedAt),
    };
  }

  /** `[upstream, endpoint label] -> healthy`, for the gauge. Endpoints of one label count as healthy when all are. */
  *verdicts(): Generator<readonly [readonly [string, string], number]> {
    const byLabel = new Map<string, readonly [readonly [string, string], number]>();
    for (const checked of this.groups.values()) {
      for (const entry of checked.values()) {
        const labels = [entry.upstream, entry.endpoint.label] as const;
        const key = labels.join('\0');
        const known = byLabel.get(key)?.[1] ?? 1;
        byLabel.set(key, [labels, Math.min(known, entry.state.healthy ? 1 : 0)]);
      }
    }
    yield* byLabel.values();
  }

  stop(): void {
    for (const id of this.groups.keys()) this.forget(id);
  }

  /** (namespace, Upstream, group, address, port, protocol, TLS identity, health check) */
  private identity(group: GroupPart, endpoint: CheckedEndpoint): string {
    let prefix = this.prefixes.get(group);
    if (prefix === undefined) {
      prefix = JSON.stringify([group.id, group.protocol, group.tls, group.healthCheck]);
      this.prefixes.set(group, prefix);
    }
    return `${prefix} ${endpoint.address} ${endpoint.port} ${endpoint.host}`;
  }

  private begin(group: GroupPart, check: HealthCheckPart, endpoint: CheckedEndpoint): Checked {
    const entry = new Checked(group, check, endpoint, this.o.transport.open({ group, check, endpoint }));
    this.plan(entry, Math.min(FIRST_MS, check.intervalMs) * this.o.random());
    return entry;
  }

  private end(entry: Checked): void {
    entry.gone = true;
    entry.cancel?.();
    entry.checker.close();
  }

  private plan(entry: Checked, ms: number): void {
    entry.cancel = this.o.clock.after(ms, () => {
      entry.cancel = null;
      this.queue.push(entry);
      this.next();
    });
  }

  private next(): void {
    while (this.running < MAX_RUNNING) {
      const entry = this.queue.shift();
      if (entry === undefined) return;
      if (!entry.gone) this.run(entry);
    }
  }

  private run(entry: Checked): void {
    this.running++;
    entry.running = true;
    entry.turn = this.o.clock.after(TURN_MS, () => {
      this.endTurn(entry);
      this.next();
    });
    const began = this.o.clock.now();
    entry.checker.check((success, reason) => {
      if (!entry.running) return;
      entry.running = false;
      this.endTurn(entry);
      if (!entry.gone) this.finish(entry, began, success, reason);
      this.next();
    });
  }

  private endTurn(entry: Checked): void {
    if (entry.turn === null) return;
    entry.turn();
    entry.turn = null;
    this.running--;
  }

  private finish(entry: Checked, began: number, success: boolean, reason: CheckReason): void {
    const now = this.o.clock.now();
    // A tenth of jitter to either side: checks of many nodes and endpoints do not march in step.
    const interval = entry.check.intervalMs * (0.9 + this.o.random() / 5);
    this.plan(entry, Math.max(0, began + interval - now));
    const turned = entry.state.result(success, reason, now);
    this.o.onResult(entry.upstream, success, reason);
    if (!turned) return;
    this.o.onTurn(entry.upstream, entry.endpoint.label, entry.state.healthy, reason);
    this.o.onVerdicts([entry.id]);
  }
}
