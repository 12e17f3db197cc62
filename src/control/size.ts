/** How many workers this machine has room for, and how much memory each may take. Each answer says why. */
import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { formatSize } from '../contract/resources/units.ts';
import { allowedCpus, cpuQuota, memoryLimit, type Limit, type ReadFile } from './cgroup.ts';
import { MAX_NUMBERS } from './numbers.ts';

export interface Machine {
  /** CPUs that the scheduler may put the process on. */
  readonly cpus: number;
  /** Cores. */
  readonly quota: Limit | null;
  /** Bytes; the machine's own when no group limits them. */
  readonly memory: Limit;
}

export interface WorkerCount {
  readonly count: number;
  readonly why: string;
}

/** Bytes of resident memory of one worker's process. */
export interface WorkerMemory {
  /** From here on it is drained and replaced; 0: never. */
  readonly soft: number;
  /** From here on it is killed at once; 0: never. */
  readonly hard: number;
  readonly why: string;
}

const MI = 1024 ** 2;
/** What the main process needs. */
const MAIN_BYTES = 128 * MI;
/** Less would be taken by a worker at rest. */
const LEAST_SOFT = 128 * MI;
const PART_OF_LIMIT = 0.8;

export const readText: ReadFile = (path) => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};

/** `read`: other files than this machine's, for tests. */
export const machineOf = (read: ReadFile = readText): Machine => {
  const total: Limit = { value: totalmem(), file: '/proc/meminfo' };
  const limit = memoryLimit(read);
  return {
    // Node's number is cut by the quota already, to whole cores.
    cpus: allowedCpus(read) ?? availableParallelism(),
    quota: cpuQuota(read),
    memory: limit !== null && limit.value < total.value ? limit : total,
  };
};

const plural = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;

/**
 * A quota is rounded to the nearest whole number. A fraction below a half is the main process's, which has little to do; a larger one would be
 * wasted on it, since a process with one thread of work uses one core at most. What that costs is little: when all are busy they are throttled
 * together, for a quarter of the time at most.
 */
export const workerCount = (asked: number | 'auto', machine: Machine): WorkerCount => {
  if (asked !== 'auto') return { count: asked, why: 'as set' };
  const { cpus, quota } = machine;
  const cores = quota === null ? cpus : Math.round(quota.value);
  const count = Math.min(Math.max(Math.min(cores, cpus), 1), MAX_NUMBERS);
  if (quota !== null && cores <= cpus) {
    const figure = Math.round(quota.value * 100) / 100;
    return { count, why: `auto: the CPU quota is ${plural(figure, 'core')} (${quota.file})` };
  }
  return { count, why: `auto: ${plural(cpus, 'CPU')} may be used` };
};

/** What is left beside the hard limits is for the main process, the kernel's part of sockets, and a replacement that begins beside its forerunner. */
export const workerMemory = (asked: number | 'auto' | null, workers: number, machine: Machine): WorkerMemory => {
  if (asked === null) return { soft: 0, hard: 0, why: 'off' };
  if (asked !== 'auto') return { soft: asked, hard: hardOf(asked), why: 'as set' };
  const { value, file } = machine.memory;
  const share = Math.floor((value * PART_OF_LIMIT - MAIN_BYTES) / Math.max(workers, 1));
  const soft = Math.max(share, LEAST_SOFT);
  const why = `auto: of ${formatSize(Math.floor(value / MI) * MI)} (${file}) for ${plural(workers, 'worker')}`;
  return { soft, hard: hardOf(soft), why };
};

const hardOf = (soft: number): number => soft + Math.ceil(soft / 4);
