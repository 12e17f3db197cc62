/** The control half put together: source states in, workers that serve them out. One owner for each resource. */
import { Cells } from '../contract/cells.ts';
import type { FromWorker, ToWorker, WorkerStart } from '../contract/channel.ts';
import type { Problem, ResourceSet } from '../contract/resources/index.ts';
import type { CertificatePart, PartHash } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';
import type { Level } from '../lib/level.ts';
import type { Log } from '../lib/log.ts';
import type { AdminView, Document } from './admin/api.ts';
import { Families } from './admin/families.ts';
import type { Verdict } from './admin/probes.ts';
import { adminDocuments } from './admin/view.ts';
import { Collectors } from './collect.ts';
import type { Compiled } from './compile/index.ts';
import { DenyList } from '../lib/deny.ts';
import { EndpointLane } from './endpoints.ts';
import { certificateRows, resourceCounts } from './gauges.ts';
import { Health, type CheckTransport } from './health/index.ts';
import { Loop } from './loop.ts';
import { Publisher, type Published, type WorkerLoad } from './publish.ts';
import { logProblems, ReadModel, type ApplyResult } from './report.ts';
import { Shares } from './share.ts';
import { Dns, type Resolve } from './sources/dns.ts';
import type { SourceState } from './sources/source.ts';
import { Supervisor, type Spawn, type WorkerEnd } from './supervise.ts';

/** How long a state waits for the first answers about names that it brings. */
const NAMES_MS = 1000;
const SHARE_MS = 1000;
/** Beyond a drain's own time-out, before a worker that does not answer is left behind. */
const DRAIN_GRACE_MS = 2000;
const ENGINE_EXIT = 4;
const MAX_FAILED_STARTS = 3;

export interface ServiceOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly cells: Cells;
  readonly workers: number;
  readonly start: Omit<WorkerStart, 'workerId'>;
  readonly maxConnections: number;
  /** CIDRs that no endpoint may have. */
  readonly deny: readonly string[];
  readonly metricsDetail: 'listener' | 'upstream' | 'endpoint';
  readonly spawn: Spawn;
  readonly compile: (set: ResourceSet) => Compiled;
  readonly resolve: Resolve;
  /** Checks find certificates of the state that is being applied by their hash. */
  readonly checks: (certificate: (hash: PartHash) => CertificatePart | null) => CheckTransport;
  readonly random: () => number;
  readonly access: (lines: string) => void;
  /** Settings of a state that can be taken over while running. */
  readonly onSettings: (state: SourceState) => void;
  readonly build: { readonly version: string; readonly node: string };
}

export type Start =
  | { readonly ok: true }
  | { readonly ok: false; readonly kind: 'invalid' | 'engine' | 'failed'; readonly why: string }
  | { readonly ok: false; readonly kind: 'bind'; readonly why: string; readonly loads: readonly WorkerLoad[] };

export const hasErrors = (state: SourceState, compiled: Compiled): boolean =>
  [...state.problems, ...state.settingsProblems, ...compiled.problems].some((p) => p.severity === 'error');

export class Service implements AdminView {
  readonly families = new Families();
  readonly model = new ReadModel();
  readonly supervisor: Supervisor;
  readonly publisher: Publisher;
  readonly lane: EndpointLane;
  readonly checks: Health;
  private readonly o: ServiceOptions;
  private readonly dns: Dns;
  private readonly collectors: Collectors;
  private readonly loop: Loop<SourceState>;
  private readonly shares: Shares;
  private readonly processes = new Map<number, string>();
  /** The state that is being applied, or serves. */
  private newest: Compiled | null = null;
  private fatal: ((start: Start) => void) | null = null;
  private failedStarts = 0;
  private fallbackSaid = false;
  private serving = false;
  private drainingSince = -1;
  private drainWaits: Set<number> | null = null;
  private onDrained: (() => void) | null = null;

  constructor(o: ServiceOptions) {
    this.o = o;
    this.collectors = new Collectors(o.clock, (worker, message) => this.supervisor.send(worker, message));
    this.publisher = new Publisher({
      clock: o.clock,
      replace: (worker, reason) => this.supervisor.replace(worker, reason),
      onLoaded: (load) => this.loaded(load),
    });
    this.supervisor = new Supervisor({
      clock: o.clock,
      count: o.workers,
      spawn: o.spawn,
      start: (workerId) => ({ ...o.start, workerId, logLevel: o.log.level() }),
      busy: (worker) => this.publisher.loading(worker),
      onUp: (worker, send) => this.up(worker, send),
      onDown: (worker, reason, end) => this.down(worker, reason, end),
      onMessage: (worker, message) => this.receive(worker, message),
    });
    this.checks = new Health({
      clock: o.clock,
      transport: o.checks((hash) => this.certificate(hash)),
      random: o.random,
      onVerdicts: (groups) => this.lane.healthChanged(groups),
      onResult: (upstream, success, reason) =>
        this.families.add('health_checks_total', [this.upstreamLabel(upstream), success ? 'success' : 'failure', reason]),
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
      healthy: (group, endpoint) => this.checks.healthy(group, endpoint),
      onLists: (lists) => this.publisher.endpoints(lists),
      onGroups: (groups) => this.groupsChanged(groups),
    });
    this.shares = new Shares({
      total: o.maxConnections,
      workers: () => this.supervisor.up().map((id) => ({ id, process: this.processes.get(id) ?? '' })),
      used: (process, listener) => this.families.last(process, 'connections_active', [listener]),
      send: (worker, listener, connections) => this.supervisor.send(worker, { type: 'share', listener, connections }),
    });
    this.loop = new Loop({
      clock: o.clock,
      apply: (state, since) => this.apply(state, since),
      onError: (e) => this.defect('loop', e),
    });
  }

  /** The first state, which is valid. */
  async start(compiled: Compiled): Promise<Start> {
    const began = this.o.clock.now();
    const broken = new Promise<Start>((resolve) => {
      this.fatal = resolve;
    });
    this.supervisor.start();
    const outcome = await Promise.race([broken, this.publish(compiled).then((published) => this.started(compiled, published, began))]);
    this.fatal = null;
    if (outcome.ok && this.o.workers > 1) this.shareLoop();
    return outcome;
  }

  private started(compiled: Compiled, published: Published, began: number): Start {
    if (!published.ok) return { ok: false, kind: 'failed', why: published.why };
    const failed = published.loads.filter((load) => load.problems.some((p) => p.kind === 'bind'));
    if (failed.length > 0) return { ok: false, kind: 'bind', why: 'an address cannot be bound', loads: failed };
    this.applied(compiled, published.version, began);
    this.serving = true;
    return { ok: true };
  }

  /** Resolves when every worker serves: the moment of `ready`. */
  async whenServing(): Promise<void> {
    while (!this.publisher.serving(this.o.workers)) await new Promise<void>((resolve) => this.o.clock.after(5, resolve));
  }

  changed(state: SourceState): void {
    if (this.drainingSince < 0) this.loop.changed(state);
  }

  setLevel(level: Level): void {
    this.o.log.setLevel(level);
    this.supervisor.broadcast({ type: 'level', logLevel: level });
  }

  /** From now on not ready; everything is still accepted. */
  beginDrain(): void {
    if (this.drainingSince < 0) this.drainingSince = this.o.clock.now();
    void this.loop.stop();
  }

  /** GOAWAY and the rest is the workers'; resolves when all are done or late. */
  async drain(timeoutMs: number): Promise<void> {
    this.beginDrain();
    this.supervisor.stop();
    const waits = new Set(this.supervisor.up());
    this.drainWaits = waits;
    if (waits.size === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.o.clock.after(timeoutMs + DRAIN_GRACE_MS, resolve);
      this.onDrained = () => {
        cancel();
        resolve();
      };
      this.supervisor.broadcast({ type: 'drain', timeoutMs });
    });
  }

  stop(): void {
    void this.loop.stop();
    this.supervisor.broadcast({ type: 'exit' });
    this.supervisor.stop();
    this.checks.stop();
    this.dns.stop();
  }

  health(): Verdict {
    const reasons = this.supervisor
      .facts()
      .flatMap((w) =>
        w.state === 'up' && w.heartbeatAgeMs < 2000 ? [] : [`worker ${w.workerId} is ${w.state === 'up' ? 'silent' : w.state}`],
      );
    return { ok: this.drainingSince >= 0 || reasons.length === 0, reasons };
  }

  ready(): Verdict {
    const reasons: string[] = [];
    if (this.drainingSince >= 0) reasons.push('draining');
    if (!this.serving) reasons.push('the first configuration is not loaded');
    else if (!this.publisher.serving(this.o.workers)) {
      for (const { workerId } of this.supervisor.facts()) {
        const { phase } = this.publisher.phaseOf(workerId);
        if (phase !== 'serving') reasons.push(`worker ${workerId} is ${phase}`);
      }
    }
    return { ok: reasons.length === 0, reasons };
  }

  draining(): boolean {
    return this.drainingSince >= 0;
  }

  async collect(): Promise<void> {
    await this.collectors.cells(this.supervisor.up(), (worker, rows) => {
      const source = this.processes.get(worker);
      if (source !== undefined) this.families.fold(source, rows);
    });
    this.families.fold('main', this.o.cells.read());
    if (this.o.metricsDetail !== 'listener') this.families.replace('endpoint_healthy', this.checks.verdicts());
  }

  config(): Document {
    return this.documents.config();
  }

  upstreams(): Promise<Document> {
    return this.documents.upstreams();
  }

  listeners(): Document {
    return this.documents.listeners();
  }

  certificates(): Document {
    return this.documents.certificates();
  }

  workers(): Document {
    return this.documents.workers();
  }

  private readonly documents = adminDocuments({
    model: () => this.model,
    groups: () => this.lane.all(),
    list: (id) => this.lane.list(id),
    names: () => this.dns.states(),
    check: (group, endpoint) => this.checks.facts(group, endpoint),
    workers: () => this.supervisor.facts(),
    phase: (worker) => this.publisher.phaseOf(worker),
    activity: (add) => this.collectors.activity(this.supervisor.up(), (_, endpoints) => endpoints.forEach(add)),
    now: () => this.o.clock.now(),
    wall: () => this.o.clock.wall(),
  });

  private async apply(state: SourceState, since: number): Promise<void> {
    const compiled = this.o.compile(state.set);
    const problems: readonly Problem[] = [...state.problems, ...state.settingsProblems, ...compiled.problems];
    if (hasErrors(state, compiled)) {
      this.refused('invalid', problems, 'the last good configuration stays');
      return;
    }
    logProblems(this.o.log, problems);
    this.o.onSettings(state);
    const outcome = await this.publish(compiled);
    if (!outcome.ok) {
      const good = this.model.compiled;
      this.newest = good;
      if (good !== null) this.lane.apply(good.groups);
      this.refused('failed', problems, outcome.why);
      return;
    }
    this.applied(compiled, outcome.version, since, problems);
    this.o.log.info('configuration applied', { version: outcome.version, ms: Math.round(this.o.clock.now() - since) });
  }

  private async publish(compiled: Compiled): Promise<Published> {
    this.newest = compiled;
    const hosts = new Set<string>();
    for (const source of compiled.groups.values()) for (const address of source.addresses) hosts.add(address.host);
    const old = this.model.compiled;
    // Names of the old state are resolved on until the new one serves.
    for (const source of old?.groups.values() ?? []) for (const address of source.addresses) hosts.add(address.host);
    this.dns.watch(hosts);
    await this.dns.settled(NAMES_MS);
    this.lane.apply(compiled.groups);
    return this.publisher.publish({ listeners: compiled.listeners, encoded: compiled.encoded, groups: new Set(compiled.groups.keys()) });
  }

  private applied(compiled: Compiled, version: number, since: number, problems: readonly Problem[] = compiled.problems): void {
    const { model, families } = this;
    const now = this.o.clock.wall();
    model.compiled = compiled;
    model.version = version;
    model.appliedAt = now;
    model.last = { result: 'applied', at: now, problems, why: '' };
    families.add('config_apply_total', ['applied']);
    families.set('config_last_success_timestamp_seconds', [], now / 1000);
    families.observe('config_apply_duration_seconds', [], (this.o.clock.now() - since) / 1000);
    families.retain(model.names('listener'), model.names('upstream'));
    families.replace('config_resources', resourceCounts(compiled));
    families.replace('certificate_expiry_timestamp_seconds', certificateRows(compiled));
    const hosts = new Set<string>();
    for (const source of compiled.groups.values()) for (const address of source.addresses) hosts.add(address.host);
    this.dns.watch(hosts);
    this.shares.forget();
  }

  private refused(result: ApplyResult, problems: readonly Problem[], why: string): void {
    logProblems(this.o.log, problems);
    this.o.log.error('configuration not applied', { result, why, serving: this.model.version });
    this.model.last = { result, at: this.o.clock.wall(), problems, why };
    this.families.add('config_apply_total', [result]);
  }

  private groupsChanged(groups: ReturnType<EndpointLane['all']>): void {
    this.checks.apply([...groups.values()].map(({ source, candidates }) => ({ group: source.group, endpoints: candidates })));
    for (const group of groups.values())
      for (const refused of group.refused)
        this.o.log.warn('endpoint refused', { upstream: `${group.source.upstream.namespace}/${group.source.upstream.name}`, why: refused });
  }

  private loaded(load: WorkerLoad): void {
    this.model.loaded(load);
    for (const p of load.problems) this.o.log.error('worker cannot serve', { worker: load.workerId, ...p });
  }

  private up(workerId: number, send: (message: ToWorker) => void): void {
    const facts = this.supervisor.facts()[workerId];
    this.processes.set(workerId, `${workerId}:${facts?.pid ?? 0}`);
    this.families.set('worker_up', [String(workerId)], 1);
    this.publisher.attach({ workerId, send });
  }

  private down(workerId: number, reason: string, end: WorkerEnd): void {
    this.publisher.detach(workerId);
    this.collectors.gone(workerId);
    this.model.lost(workerId);
    const source = this.processes.get(workerId);
    if (source !== undefined) this.families.forget(source);
    this.processes.delete(workerId);
    this.families.set('worker_up', [String(workerId)], 0);
    this.drained(workerId);
    if (this.drainingSince >= 0 && end.pauseMs < 0) return;
    this.families.add('worker_restarts_total', [reason]);
    this.o.log.error('worker ended', {
      worker: workerId,
      pid: end.pid,
      reason,
      code: end.code,
      signal: end.signal,
      fault: end.fault,
      restartInMs: end.pauseMs,
    });
    if (end.wasUp) return;
    if (end.code === ENGINE_EXIT) this.fatal?.({ ok: false, kind: 'engine', why: end.fault });
    else if (++this.failedStarts >= MAX_FAILED_STARTS)
      this.fatal?.({ ok: false, kind: 'failed', why: `worker processes end before they have begun (${reason}, code ${end.code})` });
  }

  private receive(workerId: number, message: FromWorker): void {
    if (this.collectors.receive(workerId, message)) return;
    switch (message.type) {
      case 'hello':
        this.families.set('build_info', [this.o.build.version, message.engine, message.engineVersion, this.o.build.node], 1);
        if (message.fallback && !this.fallbackSaid)
          this.o.log.warn('the preferred QUIC engine cannot be used', { worker: workerId, engine: message.engine, why: message.why });
        this.fallbackSaid ||= message.fallback;
        return;
      case 'loaded':
        return this.publisher.loaded(workerId, message.version, message.bound, message.problems);
      case 'switched':
        return this.publisher.switched(workerId, message.version);
      case 'log':
        return this.o.log.at(message.level, message.msg, { worker: workerId, ...message.fields });
      case 'access':
        return this.o.access(message.lines);
      case 'drained':
        return this.drained(workerId);
      case 'fault':
        this.o.log.error('worker fault', { worker: workerId, fault: message.message });
        return;
      case 'heartbeat':
        return this.publisher.heard(workerId);
      case 'cells':
      case 'activity':
        return;
    }
  }

  private drained(workerId: number): void {
    if (this.drainWaits === null || !this.drainWaits.delete(workerId) || this.drainWaits.size > 0) return;
    this.onDrained?.();
  }

  private upstreamLabel(upstream: string): string {
    return this.o.metricsDetail === 'listener' ? '' : upstream;
  }

  private shareLoop(): void {
    this.o.clock.after(SHARE_MS, () => {
      if (this.drainingSince >= 0) return;
      this.collect()
        .then(() => this.shares.update(this.model.listenerParts()))
        .catch((e: unknown) => this.defect('share', e))
        .finally(() => this.shareLoop());
    });
  }

  private certificate(hash: PartHash): CertificatePart | null {
    const part = this.newest?.parts.get(hash);
    return part?.kind === 'certificate' ? part : null;
  }

  private defect(where: string, e: unknown): void {
    this.o.cells.add(this.o.cells.row('internal_errors_total', where), 1);
    this.o.log.error('internal error', { where, error: e });
  }
}
