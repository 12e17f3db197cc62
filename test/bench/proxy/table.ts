/** What a run says in the end: lines for people. */
import type { Figures, Latency } from './figures.ts';
import { ratio } from './figures.ts';

/** A row's result for one proxy; or why there is none: it failed, or was not asked. */
export type Result =
  | { readonly figures: Figures; readonly share?: number | null }
  | { readonly latency: Latency }
  | { readonly idleBytes: number }
  | { readonly failed: string }
  | { readonly skipped: string };

export interface RowResult {
  readonly name: string;
  readonly title: string;
  readonly results: Readonly<Record<string, Result>>;
}

const OURS = ['native', 'matrixai'];
const THEIRS = ['nginx', 'haproxy', 'caddy'];

/** Whose requests per CPU-second (connections per byte, shortness of delays) are divided by whose. */
export const PAIRS: readonly (readonly [string, string])[] = [
  ['native', 'matrixai'],
  ['native x2', 'native'],
  ['matrixai x2', 'matrixai'],
  ...OURS.flatMap((ours) => THEIRS.map((theirs) => [ours, theirs] as const)),
];

/** What is the better the less it is. */
export const costOf = (result: Result | undefined): number | undefined => {
  if (result === undefined || 'failed' in result || 'skipped' in result) return undefined;
  if ('latency' in result) return result.latency.p99;
  return 'figures' in result ? result.figures.cpuMicros : result.idleBytes;
};

/** `native/nginx`: how many times more native does with the same CPU, memory or time. */
export function ratiosOf(row: RowResult, pairs = PAIRS): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [ours, theirs] of pairs) {
    const value = ratio(costOf(row.results[ours]), costOf(row.results[theirs]));
    if (value !== null) found[`${ours}/${theirs}`] = value;
  }
  return found;
}

const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const short = (value: number): string => (value >= 1000 ? count(value) : value.toPrecision(3));
const percent = (value: number): string => `${(value * 100).toFixed(0)} %`;

/** How far the rounds are apart, of their median. */
export const spread = (rounds: readonly number[], middle: number): number => (Math.max(...rounds) - Math.min(...rounds)) / middle;

function notes(result: { readonly figures: Figures; readonly share?: number | null }): string {
  const { rounds, cpuMicros, failedPerMille } = result.figures;
  const said = [`rounds ±${percent(spread(rounds, cpuMicros) / 2)}`];
  if (failedPerMille > 0) said.push(`${(failedPerMille / 10).toFixed(2)} % failed`);
  if (result.share === null) said.push('connections of each worker are not told');
  else if (result.share !== undefined) said.push(`${percent(result.share)} of connections on one worker`);
  return said.join(', ');
}

function cells(result: Result): readonly string[] {
  if ('failed' in result) return ['FAILED'];
  if ('skipped' in result) return ['-'];
  if ('idleBytes' in result) return ['', '', '', '', `${(result.idleBytes / 1024).toFixed(1)} KiB`];
  if ('latency' in result) {
    const { offered, p50, p99 } = result.latency;
    return [count(offered), '', '', '', `p50 ${count(p50)} us, p99 ${count(p99)} us`];
  }
  const { requestsPerSecond, cpuMicros, mainMicros, requestsPerCpuSecond } = result.figures;
  return [count(requestsPerSecond), short(cpuMicros), mainMicros > 0 ? short(mainMicros) : '', count(requestsPerCpuSecond), notes(result)];
}

const HEAD = ['row', 'proxy', 'req/s', 'us CPU/req', 'of main', 'req/CPU-s', ''];
const NUMBERS = [2, 3, 4, 5];

export function aligned(lines: readonly (readonly string[])[], numbers: readonly number[] = []): string[] {
  const columns = Math.max(0, ...lines.map((line) => line.length));
  const widths = Array.from({ length: columns }, (_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const cell = (text: string, column: number): string =>
    numbers.includes(column) ? text.padStart(widths[column] ?? 0) : text.padEnd(widths[column] ?? 0);
  return lines.map((line) => line.map(cell).join('  ').trimEnd());
}

const reasons = (rows: readonly RowResult[], kind: 'failed' | 'skipped'): string[] => {
  const said = rows.flatMap((row) =>
    Object.entries(row.results).flatMap(([proxy, r]) => {
      const why = (r as { failed?: string; skipped?: string })[kind];
      return why === undefined ? [] : [`${row.title}, ${proxy}: ${why}`];
    }),
  );
  return said.length > 0 ? ['', `${kind}:`, ...said] : [];
};

export function tableOf(rows: readonly RowResult[]): string {
  const body = rows.flatMap((row) => Object.entries(row.results).map(([proxy, result]) => [row.title, proxy, ...cells(result)]));
  const pairs = rows.map((row) => [
    row.title,
    Object.entries(ratiosOf(row))
      .map(([pair, value]) => `${pair} ${value.toFixed(2)}`)
      .join('   '),
  ]);
  return [
    ...aligned([HEAD, ...body], NUMBERS),
    '',
    'times more with the same CPU (memory; shorter, where p99 is compared):',
    ...aligned(pairs),
    ...reasons(rows, 'failed'),
    ...reasons(rows, 'skipped'),
    '',
  ].join('\n');
}
