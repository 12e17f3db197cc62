/** The control half put together: source states in, workers that serve them out. */
import type { Cells } from '../contract/cells.ts';
import type { LoadProblem, WorkerStart } from '../contract/channel.ts';
import type { Problem, ResourceSet } from '../contract/resources/index.ts';
import type { CertificatePart, PartHash } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';
import type { Level } from '../lib/level.ts';
import type { Log } from '../lib/log.ts';
import type { AdminView, Document } from './admin/api.ts';
import type { Families } from './admin/families.ts';
import type { Verdict } from './admin/probes.ts';
import { adminDocuments, type AdminDocuments } from './admin/view.ts';
import { BindRetry, bindProblems, type BindProblem } from './binds.ts';
import type { Claims } from './claims.ts';
import { changesOf, changesSince, type Compiled } from './compile/index.ts';
import { Fleet } from './fleet.ts';
import { certificateRows, resourceCounts } from './gauges.ts';
import type { CheckTransport } from './health/index.ts';
import { Hints } from './hints.ts';
import { Loop, QUIET_MS } from './loop.ts';
import { blocks, identity, problemsOf } from './problems.ts';
import type { Published, WorkerLoad } from './publish.ts';
import { APPLY_RESULTS, listenerPartsOf, logProblems, ReadModel, type ApplyResult } from './report.ts';
import type { Resolve } from './sources/dns.ts';
import type { ServiceEndpoints } from './sources/services.ts';
import type { SourceState } from './sources/source.ts';
import type { Spawn } from './life.ts';
import type { MemoryLimits } from './memorywatch.ts';
import type { Numbers } from './numbers.ts';
import { Targets } from './targets.ts';

const POLL_MS = 5;

export interface ServiceOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly cells: Cells;
  readonly families: Families;
  readonly workers: number;
  /** Why so many. */
  readonly workersWhy: string;
  readonly numbers: Numbers;
  readonly memory: MemoryLimits & { readonly why: string };
  readonly drainTimeout: () => number;
  /** A worker's process has ended; its number is still its own. */
  readonly onGone: (number: number) => void;
  /** New connections are for workers with other numbers than before. */
  readonly onNumbers: (numbers: readonly number[]) => void;
  readonly start: Omit<WorkerStart, 'workerId' | 'speaks'>;
  readonly maxConnections: number;
  /** CIDRs that no endpoint may have. */
  readonly deny: readonly string[];
  readonly metricsDetail: 'listener' | 'upstream' | 'endpoint';
  readonly spawn: Spawn;
  readonly compile: (set: ResourceSet) => Compiled;
  readonly resolve: Resolve;
  /** null without a cluster. */
  readonly services: ServiceEndpoints | null;
  /**
   * Every object stands for itself, as in a cluster: what is wrong with one is its own condition and keeps nothing else from being served. Files
   * are one thing: an error among them keeps the last good state.
   */
  readonly perObject: boolean;
  /** Why the first state is not there yet. */
  readonly pending: () => readonly string[];
  /** A state serves, or could not be served, or what the workers have bound of it is known better. */
  readonly onReport: (report: Report) => void;
  /** Who holds a UDP port that is taken; null when that cannot be known. */
  readonly holder: (port: number) => Promise<string | null>;
  readonly checks: (certificate: (hash: PartHash) => CertificatePart | null) => CheckTransport;
  readonly random: () => number;
  readonly access: (lines: string) => void;
  /** Ports that are ours; null while sockets are not shared: the kernel refuses what is taken then. */
  readonly claims: Claims | null;
  /** Settings of a state that can be taken over while running. */
  readonly onSettings: (state: SourceState) => void;
  readonly build: { readonly version: string; readonly node: string };
}

export interface Report {
  readonly compiled: Compiled;
  /** Every worker has switched to it. */
  readonly acknowledged: boolean;
  readonly bindProblems: readonly BindProblem[];
}

export type Start =
  | { readonly ok: true }
  | { readonly ok: false; readonly kind: 'engine' | 'setting' | 'failed'; readonly why: string }
  | { readonly ok: false; readonly kind: 'bind'; readonly why: string; readonly loads: readonly WorkerLoad[] };

export class Service implements AdminView {
  readonly families: Families;
  readonly model = new ReadModel();
  readonly fleet: Fleet;
  readonly workersWhy: string;
  private readonly o: ServiceOptions;
  private readonly targets: Targets;
  private readonly loop: Loop<SourceState>;
  private readonly documents: AdminDocuments;
  private readonly hints: Hints;
  private readonly retry: BindRetry;
  private fatal: ((start: Start) => void) | null = null;
  /** The newest state, whether it serves or waits: also what a bind is tried again with. */
  private latest: SourceState | null = null;
  private begun = false;
  private serving = false;
  private told = new Set<string>();
  private applying: SourceState | null = null;
  private isDraining = false;
  private publishing = false;

  constructor(o: ServiceOptions) {
    this.o = o;
    this.families = o.families;
    this.workersWhy = o.workersWhy;
    this.hints = new Hints(o.log);
    this.retry = new BindRetry(o.clock, () => {
      if (this.latest !== null) this.changed(this.latest);
    });
    this.fleet = new Fleet({
      clock: o.clock,
      log: o.log,
      cells: o.cells,
      families: this.families,
      count: o.workers,
      numbers: o.numbers,
      memory: o.memory,
      drainTimeout: o.drainTimeout,
      start: o.start,
      maxConnections: o.maxConnections,
      spawn: o.spawn,
      access: o.access,
      onLoaded: (load) => this.loaded(load),
      onGone: o.onGone,
      onNumbers: o.onNumbers,
      onLost: (worker) => this.model.lost(worker),
      onFailedStart: (kind, why) => this.fatal?.({ ok: false, kind, why }),
      listeners: () => this.model.listenerParts(),
      build: o.build,
    });
    this.targets = new Targets({
      clock: o.clock,
      log: o.log,
      deny: o.deny,
      resolve: o.resolve,
      services: o.services,
      checks: o.checks,
      random: o.random,
      onLists: (lists) => this.fleet.endpoints(lists),
      onCheck: (upstream, success, reason) => this.checked(upstream, success, reason),
    });
    this.loop = new Loop({
      clock: o.clock,
      // Files are gathered where they are read.
      quietMs: o.perObject ? QUIET_MS : 0,
      apply: (state, since) => this.apply(state, since),
      onError: (e) => this.defect('loop', e),
    });
    this.documents = this.createDocuments();
    // From zero, so that the first refusal is an increase that an alert can see.
    for (const result of APPLY_RESULTS) this.families.add('config_apply_total', [result], 0);
  }

  /** The first state, which is valid; `state` is what it was made of. */
  async start(compiled: Compiled, problems: readonly Problem[], state: SourceState | null = null): Promise<Start> {
    // A newer one may have come while this one was being compiled.
    this.latest ??= state;
    const began = this.o.clock.now();
    this.told = new Set(problems.map(identity));
    const broken = new Promise<Start>((resolve) => {
      this.fatal = resolve;
    });
    this.begun = true;
    this.fleet.start();
    const outcome = await Promise.race([
      broken,
      this.publish(compiled).then((published) => this.started(compiled, published, began, problems)),
    ]);
    this.fatal = null;
    // Workers take one state at a time: what came meanwhile follows.
    if (outcome.ok && this.latest !== null && this.latest !== state) this.changed(this.latest);
    return outcome;
  }

  /** Resolves when every worker serves: the moment of `ready`. */
  async whenServing(): Promise<void> {
    while (this.fleet.count > 0 && !this.fleet.serving()) await new Promise<void>((resolve) => this.o.clock.after(POLL_MS, resolve));
  }

  changed(state: SourceState): void {
    if (this.isDraining) return;
    this.latest = state;
    if (this.serving) this.loop.changed(state);
  }

  setLevel(level: Level): void {
    this.o.log.setLevel(level);
    this.fleet.setLevel(level);
  }

  /** From now on not ready; everything is still accepted. */
  beginDrain(): void {
    this.isDraining = true;
    this.retry.stop();
    void this.loop.stop();
  }

  async drain(timeoutMs: number): Promise<void> {
    this.beginDrain();
    await this.fleet.drain(timeoutMs);
  }

  stop(): void {
    this.beginDrain();
    this.fleet.stop();
    this.targets.stop();
  }

  // What probes and the admin API ask.

  health(): Verdict {
    // In a drain workers end one after the other, as they should; before the first state there are none.
    const unwell = this.isDraining || !this.begun ? [] : this.fleet.unwell();
    // The dead and the hung are replaced from here: ending the process would end the other workers' connections as well.
    return { ok: unwell.length < Math.max(this.fleet.count, 1), reasons: unwell };
  }

  ready(): Verdict {
    // In a cluster deletion alone takes the pod out of new traffic; an unready pod would lose the flows of its clients as well.
    const reasons = this.isDraining && !this.o.perObject ? ['draining'] : [];
    if (!this.serving) reasons.push('the first configuration is not loaded', ...this.o.pending());
    else if (!this.isDraining) reasons.push(...this.unready());
    return { ok: reasons.length === 0, reasons };
  }

  /** One worker that serves is enough: the others' clients are lost either way, and those who stop sending here would lose its own as well. */
  private unready(): string[] {
    const unready = this.fleet.unready();
    if (unready.length >= this.fleet.count) return unready;
    // In a cluster an address that cannot be bound is the Listener's condition, and no pod's.
    return !this.o.perObject && this.model.bindsNothing() ? ['no address is bound'] : [];
  }

  draining(): boolean {
    return this.isDraining;
  }

  async collect(): Promise<void> {
    await this.fleet.collect();
    if (this.o.metricsDetail !== 'listener') this.families.replace('endpoint_healthy', this.targets.checks.verdicts());
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

  workers(): Promise<Document> {
    return this.documents.workers();
  }

  private createDocuments(): AdminDocuments {
    const { fleet, model, targets, o } = this;
    return adminDocuments({
      model: () => model,
      groups: () => targets.lane.all(),
      list: (id) => targets.lane.list(id),
      names: () => targets.dns.states(),
      check: (group, endpoint) => targets.checks.facts(group, endpoint),
      workers: () => fleet.facts(),
      workersWhy: o.workersWhy,
      memory: o.memory,
      phase: (number) => fleet.phaseOf(number),
      connections: (number) => fleet.connections(number),
      collect: () => fleet.collect(),
      activity: (add) => fleet.activity(add),
      now: () => o.clock.now(),
      wall: () => o.clock.wall(),
    });
  }

  // A state on its way.

  private started(compiled: Compiled, published: Published, began: number, problems: readonly Problem[]): Start {
    if (!published.ok) return { ok: false, kind: 'failed', why: published.why };
    const failed = published.loads.filter((load) => load.problems.some((p) => p.kind === 'bind'));
    if (failed.length > 0 && !this.o.perObject) return { ok: false, kind: 'bind', why: 'an address cannot be bound', loads: failed };
    this.serving = true;
    this.applied(compiled, published.version, began, problems);
    return { ok: true };
  }

  private async apply(state: SourceState, since: number): Promise<void> {
    const compiled = this.o.compile(state.set);
    const problems = problemsOf(state, compiled, this.o.perObject ? null : this.o.clock.wall());
    // A bind that is tried again brings nothing new.
    if (state !== this.applying) this.tell(problems);
    this.applying = state;
    if (!this.o.perObject && blocks(problems, compiled, this.model.compiled))
      return this.refused('invalid', problems, 'the last good configuration stays');
    this.o.onSettings(state);
    const outcome = await this.publish(compiled);
    if (!outcome.ok) {
      this.targets.restore(this.model.compiled);
      this.o.onReport({ compiled, acknowledged: false, bindProblems: [] });
      return this.refused('failed', problems, outcome.why);
    }
    this.applied(compiled, outcome.version, since, problems);
    this.o.log.info('configuration applied', { version: outcome.version, ms: Math.round(this.o.clock.now() - since) });
  }

  private async publish(compiled: Compiled): Promise<Published> {
    this.publishing = true;
    try {
      return await this.bring(compiled);
    } finally {
      this.publishing = false;
    }
  }

  private async bring(compiled: Compiled): Promise<Published> {
    await this.targets.prepare(compiled);
    // A controller alone has no workers to wait for.
    if (this.fleet.count === 0) return { ok: true, version: this.model.version + 1, loads: [] };
    const state = {
      listeners: compiled.listeners,
      encoded: compiled.encoded,
      groups: compiled.groups,
      changes: changesOf(compiled),
      taken: await this.taken(compiled),
      // Files stand for themselves as a whole; objects are not each other's, and who reads the log or the admin's lists sees which one it is.
      whole: !this.o.perObject,
    };
    const published = await this.fleet.publish(state, listenerPartsOf(compiled));
    if (published.ok) this.o.claims?.hold(new Set(published.loads.flatMap((l) => l.bound.flatMap((b) => b.addresses.map((a) => a.port)))));
    return published;
  }

  private async taken(compiled: Compiled): Promise<PartHash[]> {
    const taken: PartHash[] = [];
    for (const hash of compiled.listeners) {
      const part = compiled.parts.get(hash);
      if (part?.kind === 'listener') this.hints.port(part, this.fleet.count);
      if (part?.kind === 'listener' && (await this.o.claims?.taken(part)) === true) taken.push(hash);
    }
    return taken;
  }

  private applied(compiled: Compiled, version: number, since: number, problems: readonly Problem[]): void {
    const { model, families } = this;
    const now = this.o.clock.wall();
    const changes = changesSince(model.compiled, compiled);
    model.applied(compiled, version, now, problems);
    this.targets.settle(compiled);
    families.add('config_apply_total', ['applied']);
    families.set('config_last_success_timestamp_seconds', [], now / 1000);
    families.set('config_up_to_date', [], 1);
    families.observe('config_apply_duration_seconds', [], (this.o.clock.now() - since) / 1000);
    if (changes === null || changes.names) families.retain(model.names('listener'), model.names('upstream'));
    families.replace('config_resources', resourceCounts(compiled));
    families.replace('certificate_expiry_timestamp_seconds', certificateRows(compiled));
    // A cluster without one is as it should be; files without one are the wrong folder, or one that was emptied.
    if (!this.o.perObject && compiled.listeners.length === 0) this.o.log.warn('no Listener: nothing is served');
    this.report();
    this.planRetry();
  }

  /** Nobody starts a process again because of one address: not in a cluster, nor where a change of files has brought it. */
  private planRetry(): void {
    if (this.model.loadProblems().some((p) => p.kind === 'bind')) this.retry.plan();
    else this.retry.settle();
  }

  private report(): void {
    const { compiled } = this.model;
    if (compiled === null) return;
    const bind = this.model.loadProblems().filter((p) => p.kind === 'bind');
    if (bind.length === 0) this.o.onReport({ compiled, acknowledged: true, bindProblems: [] });
    else this.reportBind(compiled, bind).catch((e: unknown) => this.defect('report', e));
  }

  /** Who holds an address takes a look around; by then there may be another state. */
  private async reportBind(compiled: Compiled, problems: readonly LoadProblem[]): Promise<void> {
    const told = await bindProblems(problems, this.model.listenerParts(), this.o.holder);
    if (this.model.compiled !== compiled) return;
    for (const { listener, message } of told) this.o.log.error('an address cannot be bound', { listener, why: message });
    this.o.onReport({ compiled, acknowledged: true, bindProblems: told });
  }

  /** In a cluster any object's change brings all problems along: only new ones are told. */
  private tell(problems: readonly Problem[]): void {
    const told = new Set(problems.map(identity));
    logProblems(this.o.log, this.o.perObject ? problems.filter((p) => !this.told.has(identity(p))) : problems);
    this.told = told;
  }

  private refused(result: ApplyResult, problems: readonly Problem[], why: string): void {
    this.o.log.error('configuration not applied', { result, why, serving: this.model.version });
    this.model.last = { result, at: this.o.clock.wall(), problems, why };
    this.families.add('config_apply_total', [result]);
    this.families.set('config_up_to_date', [], 0);
  }

  private loaded(load: WorkerLoad): void {
    // In a cluster any object's change is a load: what it does not mend is told once.
    for (const p of this.model.loaded(load)) this.o.log.error('worker cannot serve', { worker: load.workerId, ...p });
    for (const b of load.bound) this.hints.buffer(`${b.namespace}/${b.name}`, b.receiveBuffer, this.o.start.udpReceiveBuffer);
    // Of a state under way it is told with the state, and one that could not be served was told last.
    if (!this.serving || this.publishing || this.model.last?.result !== 'applied') return;
    // What a replacement could not bind its forerunner serves, and one that serves less does not take over.
    if (this.fleet.replaces(load.workerId)) return;
    this.report();
    if (!this.retry.planned) this.planRetry();
  }

  private checked(upstream: string, success: boolean, reason: string): void {
    const label = this.o.metricsDetail === 'listener' ? '' : upstream;
    this.families.add('health_checks_total', [label, success ? 'success' : 'failure', reason]);
  }

  private defect(where: string, e: unknown): void {
    this.o.cells.add(this.o.cells.row('internal_errors_total', where), 1);
    this.o.log.error('internal error', { where, error: e });
  }
}
