/** Cgroups of version 1 and 2: one with a share of a core and so much memory, as a pod's limits make it, and such as come before the rest of the machine. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
/** What Kubernetes takes. */
export const PERIOD_US = 100_000;

export interface Allowance {
  /** Of one core. */
  readonly cores?: number;
  readonly bytes?: number;
  /** How often as much CPU as a process of its own is given, when there is not enough for all: what is measured is not what else the machine does. */
  readonly weight: number;
}

export interface Throttling {
  readonly periods: number;
  readonly throttled: number;
}

type Limit = readonly [file: string, value: string];

/** The files of one version, each by what is written there. */
interface Layout {
  readonly folders: readonly string[];
  readonly limits: readonly Limit[];
  readonly stat: string;
  /** Times that the kernel has killed for memory. */
  readonly kills: string;
}

/** A process's weight, in each version's unit. */
const [SHARES, WEIGHT] = [1024, 100];

export function layoutOf(name: string, { cores, bytes, weight }: Allowance, unified: boolean): Layout {
  const quota = cores === undefined ? null : String(Math.round(cores * PERIOD_US));
  const memoryOf = (file: string): Limit[] => (bytes === undefined ? [] : [[file, String(bytes)]]);
  if (unified) {
    const folder = join(ROOT, name);
    return {
      folders: [folder],
      limits: [
        [join(folder, 'cpu.weight'), String(WEIGHT * weight)],
        ...(quota === null ? [] : [[join(folder, 'cpu.max'), `${quota} ${PERIOD_US}`] as const]),
        ...memoryOf(join(folder, 'memory.max')),
      ],
      stat: join(folder, 'cpu.stat'),
      kills: join(folder, 'memory.events'),
    };
  }
  const [cpu, memory] = [join(ROOT, 'cpu', name), join(ROOT, 'memory', name)];
  return {
    folders: [cpu, memory],
    limits: [
      [join(cpu, 'cpu.shares'), String(SHARES * weight)],
      ...(quota === null
        ? []
        : [[join(cpu, 'cpu.cfs_period_us'), String(PERIOD_US)] as const, [join(cpu, 'cpu.cfs_quota_us'), quota] as const]),
      ...memoryOf(join(memory, 'memory.limit_in_bytes')),
    ],
    stat: join(cpu, 'cpu.stat'),
    kills: join(memory, 'memory.oom_control'),
  };
}

/** Of `key value` lines; 0 where there is no such line. */
export const entryOf = (text: string, key: string): number => Number(new RegExp(`^${key} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);

export class Cage {
  readonly #layout: Layout;

  private constructor(layout: Layout) {
    this.#layout = layout;
  }

  /** Or why there can be none here. */
  static make(name: string, allowance: Allowance): Cage | string {
    const unified = existsSync(join(ROOT, 'cgroup.controllers'));
    const layout = layoutOf(`spooky-overload-${process.pid}-${name}`, allowance, unified);
    const cage = new Cage(layout);
    try {
      if (unified) writeFileSync(join(ROOT, 'cgroup.subtree_control'), '+cpu +memory');
      for (const folder of layout.folders) mkdirSync(folder);
      for (const [file, value] of layout.limits) writeFileSync(file, value);
      return cage;
    } catch (e) {
      cage.remove();
      return `no cgroup can be made here: ${e instanceof Error ? e.message : String(e)}`;
    }
  }

  /** A command line that is in it from its first instruction on. */
  within(command: string, args: readonly string[]): readonly [command: string, args: readonly string[]] {
    const joins = this.#layout.folders.map((folder) => `echo $$ >${folder}/cgroup.procs && `).join('');
    return ['sh', ['-c', `${joins}exec "$0" "$@"`, command, ...args]];
  }

  /** This process, and those that it starts from now on. */
  enter(): void {
    for (const folder of this.#layout.folders) writeFileSync(join(folder, 'cgroup.procs'), String(process.pid));
  }

  /** This process alone, so that nothing keeps the cage. */
  leave(): void {
    for (const folder of this.#layout.folders) writeFileSync(join(dirname(folder), 'cgroup.procs'), String(process.pid));
  }

  throttling(): Throttling {
    const text = readFileSync(this.#layout.stat, 'utf8');
    return { periods: entryOf(text, 'nr_periods'), throttled: entryOf(text, 'nr_throttled') };
  }

  kills(): number {
    return entryOf(readFileSync(this.#layout.kills, 'utf8'), 'oom_kill');
  }

  /** Once nothing is in it any more. */
  remove(): void {
    for (const folder of this.#layout.folders) {
      try {
        rmdirSync(folder);
      } catch {
        // It was never made, or something is still in it: the kernel says so, and so does whoever looks there.
      }
    }
  }
}
