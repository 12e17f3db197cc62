/** The file of a run. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join, relative } from 'node:path';
import { ROOT } from './setting.ts';
import { ratiosOf, type RowResult } from './table.ts';

export interface Saved {
  readonly when: string;
  readonly machine: { readonly cpu: string; readonly cores: number; readonly gib: number; readonly kernel: string; readonly node: string };
  /** The load averages of the machine when the run began and when it ended. */
  readonly load: { readonly before: string; readonly after: string };
  readonly rounds: number;
  readonly scale: number;
  readonly profile: boolean;
  readonly minutes: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly (RowResult & { readonly ratios: Readonly<Record<string, number>> })[];
}

export const RESULTS = join(ROOT, 'test', 'bench', 'results');

export const loadAverage = (): string => readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ');

export const machine = (): Saved['machine'] => ({
  cpu: cpus()[0]?.model ?? '',
  cores: cpus().length,
  gib: Math.round(totalmem() / 2 ** 30),
  kernel: release(),
  node: process.versions.node,
});

export type Run = Omit<Saved, 'when' | 'machine' | 'rows'> & { readonly rows: readonly RowResult[] };

/** Its path, as it is said to people. */
export function save(run: Run, name = ''): string {
  mkdirSync(RESULTS, { recursive: true });
  const when = new Date().toISOString();
  const file = join(RESULTS, `${when.replaceAll(':', '-').slice(0, 19)}${name}.json`);
  const saved: Saved = { when, machine: machine(), ...run, rows: run.rows.map((row) => ({ ...row, ratios: ratiosOf(row) })) };
  writeFileSync(file, `${JSON.stringify(saved, null, 2)}\n`);
  return relative(ROOT, file);
}
