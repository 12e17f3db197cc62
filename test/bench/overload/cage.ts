/** A cgroup with a share of a core and so much memory, as a pod's limits make one: version 1 and 2. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = '/sys/fs/cgroup';
/** What Kubernetes takes. */
export const PERIOD_US = 100_000;

export interface Allowance {
  /** Of one core. */
  readonly cores: number;
  readonly bytes: number;
}

export interface Throttling {
  readonly periods: number;
  readonly throttled: number;
}

/** The files of one version, each by what is written there. */
interface Layout {
  readonly folders: readonly string[];
  readonly limits: readonly (readonly [file: string, value: string])[];
  readonly stat: string;
  /** Times that the kernel has killed for memory. */
  readonly kills: string;
}

export function layoutOf(name: string, { cores, bytes }: Allowance, unified: boolean): Layout {
  const quota = Math.round(cores * PERIOD_US);
  if (unified) {
    const folder = join(ROOT, name);
    return {
      folders: [folder],
      limits: [
        [join(folder, 'cpu.max'), `${quota} ${PERIOD_US}`],
        [join(folder, 'memory.max'), String(bytes)],
      ],
      stat: join(folder, 'cpu.stat'),
      kills: join(folder, 'memory.events'),
    };
  }
  const [cpu, memory] = [join(ROOT, 'cpu', name), join(ROOT, 'memory', name)];
  return {
    folders: [cpu, memory],
    limits: [
      [join(cpu, 'cpu.cfs_period_us'), String(PERIOD_US)],
      [join(cpu, 'cpu.cfs_quota_us'), String(quota)],
      [join(memory, 'memory.limit_in_bytes'), String(bytes)],
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
  static make(allowance: Allowance): Cage | string {
    const unified = existsSync(join(ROOT, 'cgroup.controllers'));
    const layout = layoutOf(`spooky-overload-${process.pid}`, allowance, unified);
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
