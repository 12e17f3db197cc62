/** One process of a worker, and the place that processes come and go at. */
import type { FromWorker, ToWorker } from '../contract/channel.ts';
import type { Judgement, Watched } from './memorywatch.ts';

export interface WorkerProcess {
  readonly pid: number;
  send(message: ToWorker): void;
  /** SIGKILL: a hung process hears nothing else. */
  kill(): void;
}

export interface ProcessEvents {
  onMessage(message: FromWorker): void;
  /** A line that it printed: what V8 or native code says at its end. */
  onOutput(line: string): void;
  onExit(code: number | null, signal: string | null): void;
}

export type Spawn = (number: number, events: ProcessEvents) => WorkerProcess;

/** serving: its slot's own. next: it takes over the slot when it serves. leaving: it has been relieved and drains. */
export type Role = 'serving' | 'next' | 'leaving';

export interface WorkerFacts {
  /** The slot's index. */
  readonly workerId: number;
  /** -1 while there is no process. */
  readonly number: number;
  readonly pid: number;
  readonly state: 'starting' | 'up' | 'draining' | 'waiting' | 'stopped';
  readonly engine: string;
  readonly engineVersion: string;
  readonly restarts: number;
  /** On the clock. */
  readonly startedAt: number;
  readonly heartbeatAgeMs: number;
  readonly loopDelayMs: number;
  /** Bytes, resident. */
  readonly memory: number;
}

/** Of a process that has too much memory. */
export type MemoryEvent = Exclude<Judgement, { readonly kind: 'keep' }> & {
  readonly worker: number;
  readonly pid: number;
  readonly memory: number;
  /** The replacement's number, and how long the next replacement waits at least; -1 where there is none. */
  readonly successor: number;
  readonly pauseMs: number;
};

export interface WorkerEnd {
  /** The slot's index. */
  readonly worker: number;
  readonly role: Role;
  readonly pid: number;
  readonly code: number | null;
  readonly signal: string | null;
  /** What the worker said last about itself. */
  readonly fault: string;
  /** What it printed last. */
  readonly output: string;
  readonly memory: number;
  readonly wasUp: boolean;
  /** Ends in a row, this one included, that came soon after the start. */
  readonly quickEnds: number;
  /** Before the next start; -1 when there is none. */
  readonly pauseMs: number;
}

export class Life {
  readonly slot: Slot;
  /** In connection ids; among processes that live there is no second one. */
  readonly number: number;
  role: Role;
  process: WorkerProcess | null = null;
  up = false;
  engine = '';
  engineVersion = '';
  /** What it said last about itself, and what it printed last. */
  fault = '';
  output = '';
  /** Why it is killed or dismissed; '' while it is not. */
  reason = '';
  readonly startedAt: number;
  heardAt: number;
  loopDelayMs = 0;
  memory = 0;
  cancelDeadline: (() => void) | null = null;

  constructor(slot: Slot, number: number, role: Role, now: number) {
    this.slot = slot;
    this.number = number;
    this.role = role;
    this.startedAt = now;
    this.heardAt = now;
  }

  get pid(): number {
    return this.process?.pid ?? 0;
  }
}

export class Slot {
  /** The label `worker`. */
  readonly index: number;
  current: Life | null = null;
  next: Life | null = null;
  restarts = 0;
  /** Processes that ended soon after their start, one after the other. */
  quickEnds = 0;
  /** What the last process had. */
  number = -1;
  cancelPause: (() => void) | null = null;

  constructor(index: number) {
    this.index = index;
  }
}

export function lifeFacts(life: Life, now: number): WorkerFacts {
  return {
    workerId: life.slot.index,
    number: life.number,
    pid: life.pid,
    state: life.role === 'leaving' ? 'draining' : life.up ? 'up' : 'starting',
    engine: life.engine,
    engineVersion: life.engineVersion,
    restarts: life.slot.restarts,
    startedAt: life.startedAt,
    heartbeatAgeMs: life.up ? now - life.heardAt : -1,
    loopDelayMs: life.loopDelayMs,
    memory: life.memory,
  };
}

/** Of a slot without a process. */
export function emptyFacts(slot: Slot): WorkerFacts {
  return {
    workerId: slot.index,
    number: -1,
    pid: 0,
    state: slot.cancelPause === null ? 'stopped' : 'waiting',
    engine: '',
    engineVersion: '',
    restarts: slot.restarts,
    startedAt: 0,
    heartbeatAgeMs: -1,
    loopDelayMs: 0,
    memory: 0,
  };
}

export const watched = (life: Life): Watched => ({
  number: life.number,
  memory: life.memory,
  startedAt: life.startedAt,
  settled: life.role === 'serving' && life.up && life.slot.next === null,
});
