/** The workers as one: started, brought to a state, counted, drained. */
import type { Cells } from '../contract/cells.ts';
import type { EndpointActivity, FromWorker, ToWorker, WorkerStart } from '../contract/channel.ts';
import type { EndpointList, ListenerPart } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Families } from './admin/families.ts';
import { Collectors } from './collect.ts';
import { Publisher, type Published, type PublishState, type WorkerLoad } from './publish.ts';
import { Shares } from './share.ts';
import { HUNG_MS, Supervisor, type Spawn, type WorkerEnd, type WorkerFacts } from './supervise.ts';

const SHARE_MS = 1000;
/** Beyond a drain's own time-out, before a worker that does not answer is left behind. */
const DRAIN_GRACE_MS = 2000;
const ENGINE_EXIT = 4;
const MAX_FAILED_STARTS = 3;

export interface FleetOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** What this process counts by itself. */
  readonly cells: Cells;
  readonly families: Families;
  readonly count: number;
  readonly start: Omit<WorkerStart, 'workerId'>;
  readonly maxConnections: number;
  readonly spawn: Spawn;
  readonly access: (lines: string) => void;
  readonly onLoaded: (load: WorkerLoad) => void;
  readonly onLost: (workerId: number) => void;
  /** Workers end before they have begun. */
  readonly onFailedStart: (kind: 'engine' | 'failed', why: string) => void;
  readonly listeners: () => readonly ListenerPart[];
  readonly build: { readonly version: string; readonly node: string };
}

export class Fleet {
  readonly count: number;
  private readonly o: FleetOptions;
  private readonly supervisor: Supervisor;
  private readonly publisher: Publisher;
  private readonly collectors: Collectors;
  private readonly shares: Shares;
  /** What names a worker's process among all that there ever were. */
  private readonly processes = new Map<number, string>();
  private failedStarts = 0;
  private fallbackSaid = false;
  private stopping = false;
  private drainWaits: Set<number> | null = null;
  private onDrained: (() => void) | null = null;

  constructor(o: FleetOptions) {
    this.o = o;
    this.count = o.count;
    this.collectors = new Collectors(o.clock, (worker, message) => this.supervisor.send(worker, message));
    this.publisher = new Publisher({
      clock: o.clock,
      replace: (worker, reason) => this.supervisor.replace(worker, reason),
      onLoaded: o.onLoaded,
    });
    this.supervisor = new Supervisor({
      clock: o.clock,
      count: o.count,
      spawn: o.spawn,
      start: (workerId) => ({ ...o.start, workerId, logLevel: o.log.level() }),
      busy: (worker) => this.publisher.loading(worker),
      onUp: (worker, send) => this.up(worker, send),
      onDown: (worker, reason, end) => this.down(worker, reason, end),
      onMessage: (worker, message) => this.receive(worker, message),
    });
    this.shares = new Shares({
      total: o.maxConnections,
      workers: () => this.supervisor.up().map((id) => ({ id, process: this.processes.get(id) ?? '' })),
      used: (process, listener) => o.families.last(process, 'connections_active', [listener]),
      send: (worker, listener, connections) => this.supervisor.send(worker, { type: 'share', listener, connections }),
    });
  }

  start(): void {
    this.supervisor.start();
    if (this.count > 1) this.shareLoop();
  }

  publish(state: PublishState): Promise<Published> {
    this.shares.forget();
    return this.publisher.publish(state);
  }

  endpoints(lists: readonly EndpointList[]): void {
    this.publisher.endpoints(lists);
  }

  /** Whether every worker has bound, acknowledged and switched to the current version. */
  serving(): boolean {
    return this.publisher.serving(this.count);
  }

  facts(): WorkerFacts[] {
    return this.supervisor.facts();
  }

  phaseOf(workerId: number): { readonly phase: string; readonly version: number; readonly serves: boolean } {
    return this.publisher.phaseOf(workerId);
  }

  /** Workers that cannot be counted on, in words. */
  unwell(): string[] {
    return this.facts().flatMap((w) => {
      if (w.state !== 'up') return [`worker ${w.workerId} is ${w.state}`];
      return w.heartbeatAgeMs < HUNG_MS ? [] : [`worker ${w.workerId} is silent`];
    });
  }

  unready(): string[] {
    return this.facts().flatMap((w) => {
      const { phase, serves } = this.phaseOf(w.workerId);
      return serves ? [] : [`worker ${w.workerId} is ${phase}`];
    });
  }

  setLevel(logLevel: string): void {
    this.supervisor.broadcast({ type: 'level', logLevel });
  }

  /** Brings the families up to date; never for long. */
  async collect(): Promise<void> {
    await this.collectors.cells(this.supervisor.up(), (worker, rows) => {
      const source = this.processes.get(worker);
      if (source !== undefined) this.o.families.fold(source, rows);
    });
    this.o.families.fold('main', this.o.cells.read());
  }

  activity(add: (activity: EndpointActivity) => void): Promise<void> {
    return this.collectors.activity(this.supervisor.up(), (_, endpoints) => endpoints.forEach(add));
  }

  /** GOAWAY and the rest is the workers'; resolves when all are done or late. The dead stay dead from now on. */
  drain(timeoutMs: number): Promise<void> {
    this.stopping = true;
    this.supervisor.stop();
    const waits = new Set(this.supervisor.up());
    this.drainWaits = waits;
    if (waits.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.o.clock.after(timeoutMs + DRAIN_GRACE_MS, resolve);
      this.onDrained = () => {
        cancel();
        resolve();
      };
      this.supervisor.broadcast({ type: 'drain', timeoutMs });
    });
  }

  /** Workers of another process tree take new connections from now on. */
  succeed(workers: readonly number[]): void {
    this.supervisor.broadcast({ type: 'succeed', workers });
  }

  stop(): void {
    this.stopping = true;
    this.supervisor.broadcast({ type: 'exit' });
    this.supervisor.stop();
  }

  killAll(): void {
    this.supervisor.killAll();
  }

  private up(workerId: number, send: (message: ToWorker) => void): void {
    this.processes.set(workerId, `${workerId}:${this.facts()[workerId]?.pid ?? 0}`);
    this.o.families.set('worker_up', [String(workerId)], 1);
    this.publisher.attach({ workerId, send });
  }

  private down(workerId: number, reason: string, end: WorkerEnd): void {
    const { families, log } = this.o;
    this.publisher.detach(workerId);
    this.collectors.gone(workerId);
    this.o.onLost(workerId);
    const source = this.processes.get(workerId);
    if (source !== undefined) families.forget(source);
    this.processes.delete(workerId);
    families.set('worker_up', [String(workerId)], 0);
    this.drained(workerId);
    if (this.stopping) return;
    families.add('worker_restarts_total', [reason]);
    const { pid, code, signal, fault, pauseMs } = end;
    log.error('worker ended', { worker: workerId, pid, reason, code, signal, fault, restartInMs: pauseMs });
    if (!end.wasUp) this.failedStart(reason, end);
  }

  private failedStart(reason: string, end: WorkerEnd): void {
    this.failedStarts++;
    if (end.code === ENGINE_EXIT) this.o.onFailedStart('engine', end.fault);
    else if (this.failedStarts >= MAX_FAILED_STARTS) {
      this.o.onFailedStart('failed', `worker processes end before they have begun (${reason}, code ${end.code})`);
    }
  }

  private receive(workerId: number, message: FromWorker): void {
    if (this.collectors.receive(workerId, message)) return;
    switch (message.type) {
      case 'hello':
        return this.greeted(message);
      case 'heartbeat':
        return this.publisher.heard(workerId);
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
        return this.o.log.error('worker fault', { worker: workerId, fault: message.message });
      case 'cells':
      case 'activity':
        return;
    }
  }

  private greeted(hello: Extract<FromWorker, { type: 'hello' }>): void {
    const { build, families, log } = this.o;
    families.set('build_info', [build.version, hello.engine, hello.engineVersion, build.node], 1);
    if (hello.fallback && !this.fallbackSaid) {
      log.warn('the preferred QUIC engine cannot be used', {
        why: hello.why,
        engine: hello.engine,
        engineVersion: hello.engineVersion,
        means: `${hello.engine} serves instead: everything works, with more CPU per request and the limits of an older QUIC library (docs/reference/limitations.md)`,
        todo: `what the reason says; or --engine ${hello.engine} to choose it on purpose, without this warning; --engine native refuses to start without the native one`,
      });
    }
    this.fallbackSaid ||= hello.fallback;
  }

  private drained(workerId: number): void {
    if (this.drainWaits === null || !this.drainWaits.delete(workerId) || this.drainWaits.size > 0) return;
    this.onDrained?.();
  }

  private shareLoop(): void {
    this.o.clock.after(SHARE_MS, () => {
      if (this.stopping) return;
      this.collect()
        .then(() => this.shares.update(this.o.listeners()))
        .catch((e: unknown) => this.o.log.error('internal error', { where: 'share', error: e }))
        .finally(() => this.shareLoop());
    });
  }
}
