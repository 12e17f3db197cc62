/** Of a run, what is kept in the repository: the medians, and where they come from. */
import { ENGINES, PEERS } from '../options.ts';
import { ROWS } from '../rows.ts';
import type { Saved } from '../save.ts';
import type { Result } from '../table.ts';

export type Short =
  | { readonly requestsPerCpuSecond: number; readonly failedPerMille?: number; readonly share?: number }
  | { readonly p50: number; readonly p99: number; readonly offered: number }
  | { readonly idleBytes: number }
  | { readonly failed: string }
  | { readonly skipped: string };

export interface SummaryRow {
  readonly name: string;
  readonly title: string;
  readonly results: Readonly<Record<string, Short>>;
  readonly ratios: Readonly<Record<string, number>>;
}

export interface Summary {
  readonly date: string;
  /** What kind of machine it was, not which. */
  readonly machine: string;
  readonly load: Saved['load'];
  readonly rounds: number;
  readonly scale: number;
  readonly minutes: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: readonly SummaryRow[];
}

const rounded = (value: number): number => Number(value.toPrecision(4));

function short(result: Result): Short {
  if ('failed' in result) return { failed: result.failed.split('\n')[0] ?? '' };
  if ('skipped' in result) return result;
  if ('idleBytes' in result) return { idleBytes: rounded(result.idleBytes) };
  if ('latency' in result) {
    const { p50, p99, offered } = result.latency;
    return { p50: rounded(p50), p99: rounded(p99), offered: rounded(offered) };
  }
  const { requestsPerCpuSecond, failedPerMille } = result.figures;
  return {
    requestsPerCpuSecond: rounded(requestsPerCpuSecond),
    ...(failedPerMille > 0 ? { failedPerMille: rounded(failedPerMille) } : {}),
    ...(typeof result.share === 'number' ? { share: rounded(result.share) } : {}),
  };
}

/** Why a run is not one to show; null when every row has every proxy. */
/** `saved` is what was read from a file: JSON of any kind. */
export function incomplete(saved: Saved | null): string | null {
  if (!Array.isArray(saved?.rows) || typeof saved.when !== 'string') return 'it is no result of make bench';
  if (saved.profile) return 'it was a run with PROFILE=1';
  const missing = ROWS.filter((row) => !saved.rows.some((r) => r.name === row.name)).map((row) => row.name);
  if (missing.length > 0) return `rows are missing: ${missing.join(', ')}`;
  const first = saved.rows.find((r) => r.name === ROWS[0]?.name);
  const absent = [...ENGINES, ...PEERS].filter((name) => first?.results[name] === undefined);
  if (absent.length > 0) return `proxies are missing: ${absent.join(', ')}`;
  const never = [...ENGINES, ...PEERS].filter((name) => saved.versions[name] === undefined);
  return never.length > 0 ? `proxies did not start: ${never.join(', ')}` : null;
}

export const machineClass = ({ cpu, cores, gib, kernel }: Saved['machine']): string =>
  `${cpu}, ${cores} cores, ${gib} GiB, Linux ${kernel.split(/[-+]/)[0] ?? ''}`;

export const summaryOf = (saved: Saved): Summary => ({
  date: saved.when.slice(0, 10),
  machine: machineClass(saved.machine),
  load: saved.load,
  rounds: saved.rounds,
  scale: saved.scale,
  minutes: saved.minutes,
  versions: { ...saved.versions, node: saved.machine.node },
  rows: saved.rows.map((row) => ({
    name: row.name,
    title: row.title,
    results: Object.fromEntries(Object.entries(row.results).map(([name, result]) => [name, short(result)])),
    ratios: Object.fromEntries(Object.entries(row.ratios).map(([pair, value]) => [pair, rounded(value)])),
  })),
});
