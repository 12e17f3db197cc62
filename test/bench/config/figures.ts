/** The arithmetic of `make bench-config`, and its table. */

export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The value that `share` of all do not exceed. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

export const spreadOf = (values: readonly number[]): Spread => ({
  p50: quantile(values, 0.5),
  p99: quantile(values, 0.99),
  max: quantile(values, 1),
});

/** One change of one kind, in milliseconds. Of several workers: the longest pause, and the CPU time of all of them by their number. */
export interface Change {
  readonly wallMs: number;
  readonly mainCpuMs: number;
  readonly workerCpuMs: number;
  readonly mainPauseMs: number;
  readonly workerPauseMs: number;
  /** By the clock: with what else the machine did. */
  readonly workerPauseWallMs: number;
}

export interface Start {
  readonly wallMs: number;
  readonly mainCpuMs: number;
  readonly workerCpuMs: number;
  readonly mainMiB: number;
  readonly workerMiB: number;
}

export interface LayoutResult {
  readonly layout: string;
  readonly start: Start;
  readonly changes: Readonly<Record<string, readonly Change[]>>;
  /** After the changes. */
  readonly mainMiB: number;
  readonly workerMiB: number;
}

const COLUMNS: readonly (readonly [string, (c: Change) => number])[] = [
  ['wall', (c) => c.wallMs],
  ['main CPU', (c) => c.mainCpuMs],
  ['worker CPU', (c) => c.workerCpuMs],
  ['main pause', (c) => c.mainPauseMs],
  ['worker pause', (c) => c.workerPauseMs],
  ['by the clock', (c) => c.workerPauseWallMs],
];

const ms = (n: number): string => (n >= 100 ? n.toFixed(0) : n.toFixed(1));
const shown = ({ p50, p99, max }: Spread): string => `${ms(p50)} / ${ms(p99)} / ${ms(max)}`;

export const spreadsOf = (changes: readonly Change[]): Record<string, Spread> =>
  Object.fromEntries(COLUMNS.map(([name, pick]) => [name, spreadOf(changes.map(pick))]));

/** Markdown: milliseconds, p50 / p99 / max. */
export function tableOf(results: readonly LayoutResult[]): string {
  const lines = [
    '| layout | start (wall, CPU of main, of a worker) | memory after start (main, a worker) | after the changes |',
    '|---|---|---|---|',
  ];
  for (const { layout, start: s, mainMiB, workerMiB } of results)
    lines.push(
      `| ${layout} | ${ms(s.wallMs)}, ${ms(s.mainCpuMs)}, ${ms(s.workerCpuMs)} ms | ${ms(s.mainMiB)}, ${ms(s.workerMiB)} MiB | ${ms(mainMiB)}, ${ms(workerMiB)} MiB |`,
    );
  lines.push(
    '',
    `| change, ms: p50 / p99 / max | ${COLUMNS.map(([name]) => name).join(' | ')} |`,
    `|---|${COLUMNS.map(() => '---|').join('')}`,
  );
  for (const { layout, changes } of results)
    for (const [kind, list] of Object.entries(changes))
      lines.push(`| ${layout}: ${kind} | ${COLUMNS.map(([, pick]) => shown(spreadOf(list.map(pick)))).join(' | ')} |`);
  return lines.join('\n');
}
