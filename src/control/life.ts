/** One process of a worker, and the place that processes come and go at. */
import type { FromWorker, ToWorker } from '../contract/channel.ts';

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
