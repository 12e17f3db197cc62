/** What a run says in the end: lines for people. */
import type { Figures } from './figures.ts';
import { ratio } from './figures.ts';

export interface EngineName {
  readonly name: string;
  readonly version: string;
}

/** A row's result for one engine: figures, bytes of memory for each idle connection, or why there are none. */
export type Result = { readonly figures: Figures } | { readonly idleBytes: number } | { readonly failed: string };

export interface RowResult {
  readonly name: string;
  readonly title: string;
  readonly results: Readonly<Record<string, Result>>;
}

/** Whose requests per CPU-second (whose connections per byte) are divided by whose. */
export const PAIRS: readonly (readonly [string, string])[] = [
  ['native', 'matrixai'],
  ['native', 'nginx'],
  ['matrixai', 'nginx'],
];

const cost = (result: Result | undefined): number | undefined => {
  if (result === undefined || 'failed' in result) return undefined;
  return 'figures' in result ? result.figures.cpuMicros : result.idleBytes;
};

/** `native/nginx`: how many times more native does with the same CPU or memory. */
export function ratiosOf(row: RowResult): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [ours, theirs] of PAIRS) {
    const value = ratio(cost(row.results[ours]), cost(row.results[theirs]));
    if (value !== null) found[`${ours}/${theirs}`] = value;
  }
  return found;
}

const count = (value: number): string => Math.round(value).toLocaleString('en-US');
const short = (value: number): string => (value >= 1000 ? count(value) : value.toPrecision(3));

function cells(result: Result): readonly string[] {
  if ('failed' in result) return ['FAILED', '', '', '', ''];
  if ('idleBytes' in result) return ['', '', '', '', `${(result.idleBytes / 1024).toFixed(1)} KiB`];
  const { requestsPerSecond, cpuMicros, mainMicros, requestsPerCpuSecond } = result.figures;
  return [count(requestsPerSecond), short(cpuMicros), mainMicros > 0 ? short(mainMicros) : '', count(requestsPerCpuSecond), ''];
}

const HEAD = ['row', 'engine', 'req/s', 'us CPU/req', 'main us/req', 'req/CPU-s', 'RSS/connection'];

function aligned(lines: readonly (readonly string[])[]): string[] {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const cell = (text: string, column: number): string => {
    const width = widths[column] ?? 0;
    return column < 2 ? text.padEnd(width) : text.padStart(width);
  };
  return lines.map((line) => line.map(cell).join('  ').trimEnd());
}

export function tableOf(rows: readonly RowResult[]): string {
  const body = rows.flatMap((row) => Object.entries(row.results).map(([engine, result]) => [row.title, engine, ...cells(result)]));
  const pairs = rows.map((row) => [
    row.title,
    Object.entries(ratiosOf(row))
      .map(([pair, value]) => `${pair} ${value.toFixed(2)}`)
      .join('   '),
  ]);
  const failures = rows.flatMap((row) =>
    Object.entries(row.results).flatMap(([engine, r]) => ('failed' in r ? [`${row.title}, ${engine}: ${r.failed}`] : [])),
  );
  return [
    ...aligned([HEAD, ...body]),
    '',
    'times more with the same CPU (or memory):',
    ...aligned(pairs),
    ...(failures.length > 0 ? ['', 'failed:', ...failures] : []),
    '',
  ].join('\n');
}
