/** Keeps the workers alive: a dead one is replaced at once, a hung one in under three seconds, a crash loop with growing pauses. */
import type { FromWorker, ToWorker, WorkerStart } from '../contract/channel.ts';
import type { Clock } from '../lib/clock.ts';

export const HEARTBEAT_MS = 250;
/** Silence after which a worker counts as hung. */
export const HUNG_MS = 2000;
const START_MS = 15_000;
/** A process that lived this long is not part of a crash loop. */
const HEALTHY_MS = 30_000;
const BACKOFF_MS = [0, 200, 400, 800, 1600, 3200, 6400, 10_000] as const;

export interface WorkerProcess {
  readonly pid: number;
  send(message: ToWorker): void;
  /** SIGKILL: a hung process hears nothing else. */
  kill(): void;
}

export interface ProcessEvents {
  onMessage(message: FromWorker): void;
  onExit(code: number | null, signal: string | null): void;
}

export type Spawn = (workerId: number, events: ProcessEvents) => WorkerProcess;

export interface WorkerFacts {
  readonly workerId: number;
  readonly pid: number;
  readonly state: 'starting' | 'up' | 'waiting' | 'stopped';
  readonly engine: string;
  readonly engineVersion: string;
  readonly restarts: number;
  /** On the clock. */
  readonly startedAt: number;
  readonly heartbeatAgeMs: number;
  readonly loopDelayMs: number;
}

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly count: number;
  readonly spawn: Spawn;
  readonly start: (workerId: number) => WorkerStart;
  /** Whether the worker has work that may silence it: somebody else waits for it then. */
  readonly busy: (workerId: number) => boolean;
  /** A process has said hello. */
  readonly onUp: (workerId: number, send: (message: ToWorker) => void) => void;
  readonly onDown: (workerId: number, reason: string, detail: WorkerEnd) => void;
  readonly onMessage: (workerId: number, message: FromWorker) => void;
}

export interface WorkerEnd {
  readonly pid: number;
  readonly code: number | null;
  readonly signal: string | null;
  /** What the worker said last about itself. */
  readonly fault: string;
  readonly wasUp: boolean;
  /** Before the next start; -1 when there is none. */
  readonly pauseMs: number;
}

class Slot {
  readonly workerId: number;
  process: WorkerProcess | null = null;
  state: WorkerFacts['state'] = 'stopped';
  engine = '';
  engineVersion = '';
  fault = '';
  reason = '';
  restarts = 0;
  quickEnds = 0;
  startedAt = 0;
  heardAt = 0;
  loopDelayMs = 0;
  /** Counts processes: messages of an earlier one are not taken for this one's. */
  life = 0;
  cancelPause: (() => void) | null = null;

  constructor(workerId: number) {
    this.workerId = workerId;
  }
}

export class Supervisor {
  private readonly o: SupervisorOptions;
  private readonly slots: readonly Slot[];
  private stopping = false;
  private cancelTick: (() => void) | null = null;
  private tickedAt = 0;

  constructor(o: SupervisorOptions) {
    this.o = o;
    this.slots = Array.from({ length: o.count }, (_, i) => new Slot(i));
  }

  start(): void {
    this.tickedAt = this.o.clock.now();
    for (const slot of this.slots) this.spawn(slot);
    this.tick();
  }

  /** Ends a worker's process; its successor comes by itself. */
  replace(workerId: number, reason: string): void {
    const slot = this.slots[workerId];
    if (slot === undefined || slot.process === null) return;
    slot.reason = reason;
    slot.process.kill();
  }

  send(workerId: number, message: ToWorker): void {
    this.slots[workerId]?.process?.send(message);
  }

  broadcast(message: ToWorker): void {
    for (const slot of this.slots) if (slot.state === 'up') slot.process?.send(message);
  }

  /** The ids of workers that are up. */
  up(): number[] {
    return this.slots.filter((slot) => slot.state === 'up').map((slot) => slot.workerId);
  }

  facts(): WorkerFacts[] {
    const now = this.o.clock.now();
    return this.slots.map((slot) => ({
      workerId: slot.workerId,
      pid: slot.process?.pid ?? 0,
      state: slot.state,
      engine: slot.engine,
      engineVersion: slot.engineVersion,
      restarts: slot.restarts,
      startedAt: slot.startedAt,
      heartbeatAgeMs: slot.state === 'up' ? now - slot.heardAt : -1,
      loopDelayMs: slot.loopDelayMs,
    }));
  }

  /** Whether this worker has been heard from within a few heartbeats. */
  lively(workerId: number): boolean {
    const slot = this.slots[workerId];
    return slot?.state === 'up' && this.o.clock.now() - slot.heardAt < 4 * HEARTBEAT_MS;
  }

  /** Every worker is up and has been heard from lately. */
  fresh(): boolean {
    const now = this.o.clock.now();
    return this.slots.every((slot) => slot.state === 'up' && now - slot.heardAt < HUNG_MS);
  }

  /** From now on the dead stay dead. */
  stop(): void {
    this.stopping = true;
    this.cancelTick?.();
    for (const slot of this.slots) {
      slot.cancelPause?.();
      if (slot.state === 'waiting') slot.state = 'stopped';
    }
  }

  killAll(): void {
    this.stop();
    for (const slot of this.slots) slot.process?.kill();
  }

  private spawn(slot: Slot): void {
    const life = ++slot.life;
    slot.state = 'starting';
    slot.engine = '';
    slot.engineVersion = '';
    slot.fault = '';
    slot.reason = '';
    slot.loopDelayMs = 0;
    slot.startedAt = this.o.clock.now();
    slot.heardAt = slot.startedAt;
    slot.process = this.o.spawn(slot.workerId, {
      onMessage: (message) => {
        if (slot.life === life && slot.process !== null) this.receive(slot, message);
      },
      onExit: (code, signal) => {
        if (slot.life === life && slot.process !== null) this.ended(slot, code, signal);
      },
    });
    slot.process.send({ type: 'start', start: this.o.start(slot.workerId) });
  }

  private receive(slot: Slot, message: FromWorker): void {
    slot.heardAt = this.o.clock.now();
    if (message.type === 'heartbeat') {
      slot.loopDelayMs = message.delayMs;
    }
    if (message.type === 'fault') slot.fault = message.message;
    if (message.type === 'hello') {
      slot.state = 'up';
      slot.engine = message.engine;
      slot.engineVersion = message.engineVersion;
      const process = slot.process;
      this.o.onMessage(slot.workerId, message);
      this.o.onUp(slot.workerId, (m) => process?.send(m));
      return;
    }
    this.o.onMessage(slot.workerId, message);
  }

  private ended(slot: Slot, code: number | null, signal: string | null): void {
    const pid = slot.process?.pid ?? 0;
    const wasUp = slot.state === 'up';
    const lived = this.o.clock.now() - slot.startedAt;
    slot.process = null;
    slot.state = 'stopped';
    slot.quickEnds = lived < HEALTHY_MS ? slot.quickEnds + 1 : 1;
    const pauseMs = this.stopping ? -1 : (BACKOFF_MS[Math.min(slot.quickEnds, BACKOFF_MS.length) - 1] as number);
    if (!this.stopping) this.plan(slot, pauseMs);
    const reason = slot.reason !== '' ? slot.reason : signal === null ? 'exit' : 'signal';
    this.o.onDown(slot.workerId, reason, { pid, code, signal, fault: slot.fault, wasUp, pauseMs });
  }

  private plan(slot: Slot, pauseMs: number): void {
    slot.state = 'waiting';
    slot.restarts++;
    slot.cancelPause = this.o.clock.after(pauseMs, () => {
      slot.cancelPause = null;
      if (!this.stopping) this.spawn(slot);
    });
  }

  private tick(): void {
    this.cancelTick = this.o.clock.after(HEARTBEAT_MS, () => {
      const now = this.o.clock.now();
      // When this process itself was held up, heartbeats lie unread: nobody is judged by them.
      const late = now - this.tickedAt > 2 * HEARTBEAT_MS;
      this.tickedAt = now;
      for (const slot of this.slots) {
        if (slot.process === null) continue;
        if (late) slot.heardAt = Math.max(slot.heardAt, now - HEARTBEAT_MS);
        if (slot.state === 'up' && this.o.busy(slot.workerId)) slot.heardAt = Math.max(slot.heardAt, now - HEARTBEAT_MS);
        const limit = slot.state === 'starting' ? START_MS : HUNG_MS;
        if (now - slot.heardAt > limit) this.replace(slot.workerId, slot.state === 'starting' ? 'start' : 'hung');
      }
      this.tick();
    });
  }
}
