/** What `make bench-compare` says of each row. */
import { median } from '../figures.ts';
import { aligned, type Result, type RowResult } from '../table.ts';
import { costsOf, judge, type Judged } from './verdict.ts';

export interface Compared extends Judged {
  readonly title: string;
  readonly label: string;
  readonly here: number;
  readonly there: number;
}

const unitOf = (result: Result | undefined): string => {
  if (result === undefined || 'figures' in result) return 'us CPU';
  return 'latency' in result ? 'us p99' : 'bytes';
};

/** `here` and `there` are what the two are called; with more workers a name goes on (`here x2`). */
export function compared(rows: readonly RowResult[], here: string, there: string): (Compared & { readonly unit: string })[] {
  return rows.flatMap((row) =>
    Object.keys(row.results)
      .filter((label) => label === here || label.startsWith(`${here} x`))
      .map((label) => {
        const [ours, theirs] = [row.results[label], row.results[there + label.slice(here.length)]];
        const [a, b] = [costsOf(ours), costsOf(theirs)];
        return { title: row.title, label, unit: unitOf(ours), here: median(a), there: median(b), ...judge(a, b) };
      }),
  );
}

const number = (value: number): string => (Number.isFinite(value) ? value.toPrecision(4) : '-');
const percent = (value: number): string => (Number.isFinite(value) ? `${value < 0 ? '-' : '+'}${Math.abs(value * 100).toFixed(1)} %` : '-');

export function comparedTable(rows: readonly RowResult[], here: string, there: string): string {
  const body = compared(rows, here, there).map((c) => [
    c.title + c.label.slice(here.length),
    number(c.here),
    number(c.there),
    c.unit,
    percent(c.gain),
    Number.isFinite(c.spread) ? `±${(c.spread * 100).toFixed(1)} %` : '-',
    c.verdict,
  ]);
  return aligned([['row', here, there, '', 'gain', 'rounds', ''], ...body], [1, 2, 4, 5]).join('\n');
}
