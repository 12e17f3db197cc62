/**
 * Keeps the workers alive: a dead one is replaced at once, a hung one in under three seconds, a crash loop with growing pauses, and one that has
 * too much memory by another one that starts before it leaves. Processes are known by their numbers, slots by their index.
 */
import type { FromWorker, ToWorker, WorkerStart } from '../contract/channel.ts';
import type { Clock } from '../lib/clock.ts';
import {
  emptyFacts,
  Life,
  lifeFacts,
  Slot,
  watched,
  type MemoryEvent,
  type Role,
  type Spawn,
  type WorkerEnd,
  type WorkerFacts,
  type WorkerProcess,
} from './life.ts';
import { MemoryWatch, type MemoryLimits } from './memorywatch.ts';
import type { Numbers } from './numbers.ts';

export const HEARTBEAT_MS = 250;
/** Silence after which a worker counts as hung. */
export const HUNG_MS = 2000;
const START_MS = 15_000;
/** A process that lived this long is not part of a crash loop. */
const HEALTHY_MS = 30_000;
const BACKOFF_MS = [0, 200, 400, 800, 1600, 3200, 6400, 10_000] as const;
/** Another process tree has every number: until it gives some back. */
const NUMBERLESS_MS = 1000;
/** How long a process that is done may take to end. */
const EXIT_MS = 2000;

export interface SupervisorOptions {
  readonly clock: Clock;
  readonly count: number;
  readonly numbers: Numbers;
  readonly memory: MemoryLimits;
  readonly spawn: Spawn;
  readonly start: (number: number) => WorkerStart;
  /** Whether the worker has work that may silence it: somebody else waits for it then. */
  readonly busy: (number: number) => boolean;
  /** A process has said hello. */
  readonly onUp: (number: number, send: (message: ToWorker) => void) => void;
  /** A process has ended; its number is still its own. */
  readonly onGone: (number: number) => void;
  readonly onDown: (number: number, reason: string, end: WorkerEnd) => void;
  readonly onMessage: (number: number, message: FromWorker) => void;
  readonly onOutput: (number: number, line: string) => void;
  readonly onMemory: (event: MemoryEvent) => void;
}

export class Supervisor {
  private readonly o: SupervisorOptions;
  private readonly slots: readonly Slot[];
  /** By number. */
  private readonly lives = new Map<number, Life>();
  private readonly memory: MemoryWatch;
  private stopping = false;
  private tickedAt = 0;

  constructor(o: SupervisorOptions) {
    this.o = o;
    this.memory = new MemoryWatch(o.memory);
    this.slots = Array.from({ length: o.count }, (_, i) => new Slot(i));
  }

  start(): void {
    this.tickedAt = this.o.clock.now();
    for (const slot of this.slots) this.fill(slot);
    this.tick();
  }

  /** Ends a process; its successor comes by itself. */
  replace(number: number, reason: string): void {
    const life = this.lives.get(number);
    if (life === undefined || life.process === null) return;
    life.reason = reason;
    life.process.kill();
  }

  send(number: number, message: ToWorker): void {
    this.lives.get(number)?.process?.send(message);
  }

  broadcast(message: ToWorker): void {
    for (const number of this.present()) this.send(number, message);
  }

  /** The numbers of processes that are up and stay. */
  up(): number[] {
    return [...this.lives.values()].filter((life) => life.up && life.role !== 'leaving').map((life) => life.number);
  }

  /** The numbers of all processes that are up, those that leave included. */
  present(): number[] {
    return [...this.lives.values()].filter((life) => life.up).map((life) => life.number);
  }

  /** The numbers of the slots' own processes, in order. */
  own(): number[] {
    return [...this.lives.values()].flatMap((life) => (life.role === 'serving' ? [life.number] : [])).sort((a, b) => a - b);
  }

  /** Whether the process is its slot's own. */
  serving(number: number): boolean {
    return this.lives.get(number)?.role === 'serving';
  }

  /** The slot of a process. */
  slotOf(number: number): number {
    return this.lives.get(number)?.slot.index ?? -1;
  }

  /** Every slot, then the processes beside: replacements that start, and those that leave. */
  facts(): WorkerFacts[] {
    const now = this.o.clock.now();
    const own = this.slots.map((slot) => (slot.current === null ? emptyFacts(slot) : lifeFacts(slot.current, now)));
    const beside = [...this.lives.values()].filter((life) => life.role !== 'serving');
    return [...own, ...beside.map((life) => lifeFacts(life, now))];
  }

  /** Every worker is up and has been heard from lately. */
  fresh(): boolean {
    const now = this.o.clock.now();
    return this.slots.every(({ current }) => current?.up === true && now - current.heardAt < HUNG_MS);
  }

  /** Whom a replacement is to relieve; null when the process is none. */
  relieves(number: number): number | null {
    const life = this.lives.get(number);
    return life?.role === 'next' ? (life.slot.current?.number ?? null) : null;
  }

  /** A replacement serves: it takes over, and answers whom it relieves, who is to drain within `ms` and then be dismissed. Else null. */
  succeed(number: number, ms: number): number | null {
    const life = this.lives.get(number);
    if (life?.role !== 'next') return null;
    const { slot } = life;
    const old = slot.current;
    this.takeOver(slot, life);
    if (old === null) return null;
    old.role = 'leaving';
    old.cancelDeadline = this.o.clock.after(ms, () => this.dismiss(old.number));
    return old.number;
  }

  /** A process that leaves has nothing more to do. */
  dismiss(number: number): void {
    const life = this.lives.get(number);
    if (life?.role !== 'leaving' || life.reason !== '') return;
    life.reason = 'memory_soft';
    life.process?.send({ type: 'exit' });
    life.cancelDeadline?.();
    life.cancelDeadline = this.o.clock.after(EXIT_MS, () => life.process?.kill());
  }

  /**
   * From now on the dead stay dead. Who is not up yet is ended: its sockets would take clients, and nobody would tell it to send them away. Who
   * hangs is still ended, so that it keeps no clients from those who serve, and so is who has too much memory.
   */
  stop(): void {
    this.stopping = true;
    for (const slot of this.slots) {
      slot.cancelPause?.();
      slot.cancelPause = null;
    }
    for (const life of this.lives.values()) {
      life.cancelDeadline?.();
      if (!life.up) life.process?.kill();
    }
  }

  killAll(): void {
    this.stop();
    for (const life of this.lives.values()) life.process?.kill();
  }

  private fill(slot: Slot): void {
    const number = this.o.numbers.take(slot.number);
    if (number === null) this.plan(slot, NUMBERLESS_MS);
    else slot.current = this.spawn(slot, number, 'serving');
  }

  private spawn(slot: Slot, number: number, role: Role): Life {
    const life = new Life(slot, number, role, this.o.clock.now());
    slot.number = number;
    this.lives.set(number, life);
    try {
      life.process = this.begin(life);
    } catch (e) {
      // No memory for it, say: tried again as for one that ended. Whoever asked for it has it in its place by then.
      life.fault = e instanceof Error ? e.message : String(e);
      this.o.clock.after(0, () => this.ended(life, null, null));
    }
    return life;
  }

  private begin(life: Life): WorkerProcess {
    const { number } = life;
    const present = (): boolean => life.process !== null;
    const process = this.o.spawn(number, {
      onMessage: (message) => {
        if (present()) this.receive(life, message);
      },
      onOutput: (line) => {
        life.output = line;
        this.o.onOutput(number, line);
      },
      onExit: (code, signal) => {
        if (present()) this.ended(life, code, signal);
      },
    });
    process.send({ type: 'start', start: this.o.start(number) });
    return process;
  }

  private receive(life: Life, message: FromWorker): void {
    life.heardAt = this.o.clock.now();
    if (message.type === 'heartbeat') {
      life.loopDelayMs = message.delayMs;
      life.memory = message.memory;
    }
    if (message.type === 'fault') life.fault = message.message;
    if (message.type === 'hello') {
      if (this.isDoomed(life)) return;
      life.up = true;
      life.engine = message.engine;
      life.engineVersion = message.engineVersion;
      const { process } = life;
      this.o.onMessage(life.number, message);
      this.o.onUp(life.number, (m) => process?.send(m));
      return;
    }
    this.o.onMessage(life.number, message);
  }

  /** Over the hard limit before it serves: it does not begin, so that a limit which no worker can keep is known at the start. */
  private isDoomed(life: Life): boolean {
    const { kind } = this.memory.judge(this.o.clock.now(), [watched(life)], false);
    if (kind === 'kill') this.kill(life);
    return kind === 'kill';
  }

  private kill(life: Life): void {
    const { number, pid, memory } = life;
    this.o.onMemory({ kind: 'kill', number, worker: life.slot.index, pid, memory, successor: -1, pauseMs: -1 });
    this.replace(number, 'memory_hard');
  }

  private ended(life: Life, code: number | null, signal: string | null): void {
    const { slot } = life;
    const { pid } = life;
    life.process = null;
    life.cancelDeadline?.();
    this.lives.delete(life.number);
    this.memory.forget(life.number);
    this.o.onGone(life.number);
    this.o.numbers.give(life.number);
    const quick = this.o.clock.now() - life.startedAt < HEALTHY_MS;
    if (life.role !== 'leaving') slot.quickEnds = quick ? slot.quickEnds + 1 : 0;
    const pauseMs = this.fillAfter(life);
    const reason = life.reason !== '' ? life.reason : signal === null ? 'exit' : 'signal';
    const { fault, output, memory, role } = life;
    const quickEnds = role === 'leaving' ? 0 : slot.quickEnds;
    const end: WorkerEnd = { worker: slot.index, role, pid, code, signal, fault, output, memory, wasUp: life.up, quickEnds, pauseMs };
    this.o.onDown(life.number, reason, end);
  }

  /** What comes in place of one that has ended: how long that takes, -1 for nothing. */
  private fillAfter(life: Life): number {
    const { slot } = life;
    if (slot.next === life) slot.next = null;
    if (slot.current !== life) return -1;
    slot.current = null;
    slot.number = life.number;
    if (this.stopping) return -1;
    slot.restarts++;
    if (slot.next !== null) {
      this.takeOver(slot, slot.next);
      return 0;
    }
    const step = Math.min(Math.max(slot.quickEnds, 1), BACKOFF_MS.length) - 1;
    const pauseMs = BACKOFF_MS[step] as number;
    this.plan(slot, pauseMs);
    return pauseMs;
  }

  private takeOver(slot: Slot, next: Life): void {
    if (slot.current !== null) slot.restarts++;
    next.role = 'serving';
    slot.current = next;
    slot.next = null;
  }

  private plan(slot: Slot, pauseMs: number): void {
    slot.cancelPause = this.o.clock.after(pauseMs, () => {
      slot.cancelPause = null;
      if (!this.stopping) this.fill(slot);
    });
  }

  private tick(): void {
    this.o.clock.after(HEARTBEAT_MS, () => {
      const now = this.o.clock.now();
      // When this process itself was held up, heartbeats lie unread: nobody is judged by them.
      const late = now - this.tickedAt > 2 * HEARTBEAT_MS;
      this.tickedAt = now;
      for (const life of this.lives.values()) this.judge(life, now, late);
      this.watchMemory(now);
      if (!this.stopping || this.lives.size > 0) this.tick();
    });
  }

  private judge(life: Life, now: number, late: boolean): void {
    if (late || (life.up && this.o.busy(life.number))) life.heardAt = Math.max(life.heardAt, now - HEARTBEAT_MS);
    const limit = life.up ? HUNG_MS : START_MS;
    if (now - life.heardAt > limit) this.replace(life.number, life.up ? 'hung' : 'start');
  }

  private watchMemory(now: number): void {
    const all = [...this.lives.values()].filter((life) => life.reason === '').map(watched);
    const free = !this.stopping && all.every((w) => w.settled);
    const judgement = this.memory.judge(now, all, free);
    if (judgement.kind === 'keep') return;
    const life = this.lives.get(judgement.number);
    if (life === undefined) return;
    if (judgement.kind === 'kill') return this.kill(life);
    let [successor, pauseMs] = [-1, -1];
    if (judgement.kind === 'relieve') {
      pauseMs = this.memory.began(now, watched(life));
      successor = this.relieve(life.slot);
    }
    this.o.onMemory({ ...judgement, worker: life.slot.index, pid: life.pid, memory: life.memory, successor, pauseMs });
  }

  /** Another process for a slot that has one; -1 when there is no number for it. */
  private relieve(slot: Slot): number {
    const number = this.o.numbers.takeHighest();
    if (number === null) return -1;
    slot.next = this.spawn(slot, number, 'next');
    return number;
  }
}
