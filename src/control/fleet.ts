/** The workers as one: started, brought to a state, counted, drained. */
import type { Cells, RowReading } from '../contract/cells.ts';
import type { EndpointActivity, FromWorker, ToWorker, WorkerStart } from '../contract/channel.ts';
import type { EndpointList, ListenerPart } from '../contract/snapshot/index.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Families } from './admin/families.ts';
import { Collectors } from './collect.ts';
import { Publisher, type Published, type PublishState, type WorkerLoad } from './publish.ts';
import { Shares } from './share.ts';
import type { MemoryEvent, Spawn, WorkerEnd, WorkerFacts } from './life.ts';
import type { MemoryLimits } from './memorywatch.ts';
import type { Numbers } from './numbers.ts';
import { HUNG_MS, Supervisor } from './supervise.ts';
import { failedStartText, sayEnd, sayMemory } from './workerlog.ts';

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
  readonly numbers: Numbers;
  readonly memory: MemoryLimits;
  /** How long open requests may take once a worker drains. */
  readonly drainTimeout: () => number;
  readonly start: Omit<WorkerStart, 'workerId' | 'speaks'>;
  readonly maxConnections: number;
  readonly spawn: Spawn;
  readonly access: (lines: string) => void;
  readonly onLoaded: (load: WorkerLoad) => void;
  /** A process has ended; its number is still its own. */
  readonly onGone: (number: number) => void;
  readonly onLost: (number: number) => void;
  /** New connections are for workers with other numbers than before. */
  readonly onNumbers: (numbers: readonly number[]) => void;
  /** Workers end before they have begun; setting: by what they were given. */
  readonly onFailedStart: (kind: 'engine' | 'setting' | 'failed', why: string) => void;
  readonly listeners: () => readonly ListenerPart[];
  readonly build: { readonly version: string; readonly node: string };
}

export class Fleet {
  readonly count: number;
  /** What the workers run on, whether any is there just now or not; '' before the first one. */
  engine = '';
  engineVersion = '';
  private readonly o: FleetOptions;
  private readonly supervisor: Supervisor;
  private readonly publisher: Publisher;
  private readonly collectors: Collectors;
  private readonly shares: Shares;
  /** Of the state that serves. */
  private served: readonly ListenerPart[] = [];
  /** By number: what names a process among all that there ever were. */
  private readonly processes = new Map<number, string>();
  /** By number: how many listeners it could not bind. */
  private readonly unbound = new Map<number, number>();
  private started = 0;
  private failedStarts = 0;
  private fallbackSaid = false;
  /** As `onNumbers` was told. */
  private numbers: readonly number[] = [];
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
      onLoaded: (load) => this.loaded(load),
    });
    this.supervisor = new Supervisor({
      clock: o.clock,
      count: o.count,
      numbers: o.numbers,
      memory: o.memory,
      spawn: o.spawn,
      start: (workerId) => ({
        ...o.start,
        workerId,
        logLevel: o.log.level(),
        // After a take-over there need not be a worker with the number 0.
        speaks: this.supervisor.slotOf(workerId) === 0,
      }),
      busy: (worker) => this.publisher.loading(worker),
      onUp: (worker, send) => this.up(worker, send),
      onGone: o.onGone,
      onDown: (worker, reason, end) => this.down(worker, reason, end),
      onMessage: (worker, message) => this.receive(worker, message),
      onOutput: (number, line) => o.log.warn('worker output', { worker: this.supervisor.slotOf(number), line }),
      onMemory: (event) => this.memoryEvent(event),
    });
    this.shares = new Shares({
      clock: o.clock,
      total: o.maxConnections,
      count: o.count,
      send: (worker, message) => this.supervisor.send(worker, message),
    });
  }

  start(): void {
    // Nobody says hello where there are no workers.
    if (this.count === 0) this.tellBuild('', '');
    this.supervisor.start();
    this.shares.start();
  }

  /** `parts`: the listeners of the state. */
  async publish(state: PublishState, parts: readonly ListenerPart[]): Promise<Published> {
    // Before the load: no worker serves without knowing its share.
    this.shares.expect(parts);
    const published = await this.publisher.publish(state);
    if (published.ok) this.served = parts;
    this.shares.settle(this.served);
    return published;
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

  phaseOf(number: number): { readonly phase: string; readonly version: number; readonly serves: boolean } {
    return this.publisher.phaseOf(number);
  }

  /** Whether the process is to take over from one that serves. */
  replaces(number: number): boolean {
    return this.supervisor.relieves(number) !== null;
  }

  /** The numbers of those who take new connections: neither of who drains, nor of a replacement that starts. */
  takers(): number[] {
    return this.supervisor.own();
  }

  /** Client connections that a process had open when it was asked last. */
  connections(number: number): number {
    const source = this.processes.get(number);
    if (source === undefined) return 0;
    return this.o
      .listeners()
      .reduce((sum, part) => sum + this.o.families.last(source, 'connections_active', [`${part.namespace}/${part.name}`]), 0);
  }

  /** Workers that cannot be counted on, in words. */
  unwell(): string[] {
    return this.own().flatMap((w) => {
      if (w.state !== 'up') return [`worker ${w.workerId} is ${w.state}`];
      return w.heartbeatAgeMs < HUNG_MS ? [] : [`worker ${w.workerId} is silent`];
    });
  }

  unready(): string[] {
    return this.own().flatMap((w) => {
      const { phase, serves } = this.phaseOf(w.number);
      return serves ? [] : [`worker ${w.workerId} is ${phase === 'absent' ? w.state : phase}`];
    });
  }

  setLevel(logLevel: string): void {
    this.supervisor.broadcast({ type: 'level', logLevel });
  }

  /** Brings the families up to date; never for long. */
  async collect(): Promise<void> {
    await this.collectors.cells(
      () => this.supervisor.present(),
      (worker, rows, last) => this.fold(worker, rows, last),
    );
    this.o.families.fold('main', this.o.cells.read());
  }

  /** `all`: nothing is left to tell. */
  private fold(worker: number, rows: readonly RowReading[], all: boolean): void {
    const source = this.processes.get(worker);
    if (source === undefined) return;
    this.o.families.fold(source, rows);
    if (all) this.o.families.settle(source);
  }

  activity(add: (activity: EndpointActivity) => void): Promise<void> {
    return this.collectors.activity(
      () => this.supervisor.present(),
      (_, endpoints) => endpoints.forEach(add),
    );
  }

  /** GOAWAY and the rest is the workers'; resolves when all are done or late. The dead stay dead from now on. */
  drain(timeoutMs: number): Promise<void> {
    this.stopping = true;
    this.shares.stop();
    this.supervisor.stop();
    // What it is loading it would bind after it has drained.
    for (const number of this.supervisor.up()) if (!this.phaseOf(number).serves) this.supervisor.replace(number, 'drain');
    const waits = new Set(this.supervisor.present());
    this.drainWaits = waits;
    if (waits.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.o.clock.after(timeoutMs + DRAIN_GRACE_MS, resolve);
      this.onDrained = () => {
        cancel();
        resolve();
      };
      for (const number of this.supervisor.up()) this.supervisor.send(number, { type: 'drain', timeoutMs });
    });
  }

  /** Workers of another process tree take new connections from now on. The dead stay dead: one that came back would know nothing of that. */
  succeed(workers: readonly number[]): void {
    this.stopping = true;
    this.supervisor.stop();
    this.supervisor.broadcast({ type: 'succeed', workers });
  }

  stop(): void {
    this.stopping = true;
    this.shares.stop();
    this.supervisor.broadcast({ type: 'exit' });
    this.supervisor.stop();
  }

  killAll(): void {
    this.supervisor.killAll();
  }

  /** What the slots have; without the processes beside. */
  private own(): WorkerFacts[] {
    return this.facts().slice(0, this.count);
  }

  private up(number: number, send: (message: ToWorker) => void): void {
    this.processes.set(number, `process ${++this.started}`);
    this.o.families.set('worker_up', [String(this.supervisor.slotOf(number))], 1);
    this.shares.joined(number);
    this.publisher.attach({ workerId: number, send });
  }

  private memoryEvent(event: MemoryEvent): void {
    sayMemory(this.o.log, this.o.memory, event);
    if (event.successor >= 0) this.shares.coming(event.successor);
  }

  private down(number: number, reason: string, end: WorkerEnd): void {
    const { families } = this.o;
    // Before the publisher gives up for the same reason, of which it knows less.
    if (!end.wasUp || (reason === 'memory_hard' && !this.phaseOf(number).serves)) this.failedStart(reason, end);
    this.publisher.detach(number);
    this.shares.left(number);
    this.collectors.gone(number);
    this.o.onLost(number);
    const source = this.processes.get(number);
    if (source !== undefined) families.forget(source);
    this.processes.delete(number);
    this.unbound.delete(number);
    if (end.role === 'serving') this.slotLost(end.worker);
    this.drained(number);
    // Others end then as they should.
    if (this.stopping && reason !== 'hung') return;
    if (!this.stopping) families.add('worker_restarts_total', [reason]);
    sayEnd(this.o.log, number, reason, end, this.unready().length < this.count);
  }

  /** A replacement under way may have taken the place already. */
  private slotLost(worker: number): void {
    const up = this.own()[worker]?.state === 'up';
    this.o.families.set('worker_up', [String(worker)], up ? 1 : 0);
    if (!up) this.o.families.remove('worker_memory_bytes', [String(worker)]);
  }

  private failedStart(reason: string, end: WorkerEnd): void {
    if (this.stopping) return;
    this.failedStarts++;
    if (end.code === ENGINE_EXIT) this.o.onFailedStart('engine', end.fault);
    else if (this.failedStarts >= MAX_FAILED_STARTS)
      this.o.onFailedStart(reason === 'memory_hard' ? 'setting' : 'failed', failedStartText(reason, end));
  }

  private loaded(load: WorkerLoad): void {
    this.unbound.set(load.workerId, load.problems.filter((p) => p.kind === 'bind').length);
    this.o.onLoaded(load);
  }

  /** One that started as a replacement serves: the one that it replaces accepts nothing new and finishes what it has. */
  private switched(number: number, version: number): void {
    this.publisher.switched(number, version);
    if (this.stopping || !this.phaseOf(number).serves) return;
    this.relieve(number);
    const numbers = this.supervisor.own();
    if (numbers.join() === this.numbers.join()) return;
    this.numbers = numbers;
    this.o.onNumbers(numbers);
  }

  private relieve(number: number): void {
    const relieved = this.supervisor.relieves(number);
    if (relieved !== null && (this.unbound.get(number) ?? 0) > (this.unbound.get(relieved) ?? 0)) {
      this.o.log.error('a replacement cannot bind what its forerunner serves: given up', { number, forerunner: relieved });
      this.supervisor.replace(number, 'start');
      return;
    }
    const timeoutMs = this.o.drainTimeout();
    const old = this.supervisor.succeed(number, timeoutMs + DRAIN_GRACE_MS);
    if (old === null) return;
    this.publisher.detach(old);
    this.supervisor.send(old, { type: 'succeed', workers: [number] });
    this.supervisor.send(old, { type: 'drain', timeoutMs });
    this.shares.leaving(old);
    this.o.log.info('worker drains', { worker: this.supervisor.slotOf(old), number: old, successor: number, timeoutMs });
  }

  /** What it has counted since the last time is asked for before it goes. */
  private relieved(number: number): void {
    this.collect()
      .catch((e: unknown) => this.o.log.error('internal error', { where: 'collect', error: e }))
      .finally(() => this.supervisor.dismiss(number));
  }

  private receive(number: number, message: FromWorker): void {
    if (this.collectors.receive(number, message)) return;
    switch (message.type) {
      case 'hello':
        return this.greeted(message);
      case 'heartbeat':
        return this.heartbeat(number, message.memory);
      case 'loaded':
        return this.publisher.loaded(number, message.version, message.bound, message.problems);
      case 'notLoaded':
        return this.publisher.notLoaded(number, message.version, message.why);
      case 'switched':
        return this.switched(number, message.version);
      case 'shared':
        return this.shares.answered(number, message.id, message.uses);
      case 'log':
        return this.o.log.at(message.level, message.msg, { worker: this.supervisor.slotOf(number), ...message.fields });
      case 'access':
        return this.o.access(message.lines);
      case 'drained':
        if (this.drainWaits === null) this.relieved(number);
        return this.drained(number);
      case 'fault':
        return this.o.log.error('worker fault', { worker: this.supervisor.slotOf(number), fault: message.message });
      case 'cells':
      case 'activity':
        return;
    }
  }

  private greeted(hello: Extract<FromWorker, { type: 'hello' }>): void {
    const { log } = this.o;
    this.engine = hello.engine;
    this.engineVersion = hello.engineVersion;
    this.tellBuild(hello.engine, hello.engineVersion);
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

  private tellBuild(engine: string, engineVersion: string): void {
    const { build, families } = this.o;
    families.set('build_info', [build.version, engine, engineVersion, build.node], 1);
  }

  private heartbeat(number: number, memory: number): void {
    this.publisher.heard(number);
    if (this.supervisor.serving(number)) this.o.families.set('worker_memory_bytes', [String(this.supervisor.slotOf(number))], memory);
  }

  private drained(number: number): void {
    if (this.drainWaits === null || !this.drainWaits.delete(number) || this.drainWaits.size > 0) return;
    this.onDrained?.();
  }
}
