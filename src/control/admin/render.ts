/** Prometheus text and OpenMetrics, in pieces: ten thousand Upstreams are tens of megabytes, and the loop has probes to answer. */
import { DURATION_BUCKETS } from '../../contract/cells.ts';
import type { Families, TotalRow } from './families.ts';
import { escapeLabel } from './families.ts';
import { METRICS, METRIC_NAMES, PREFIX } from './metrics.ts';

export type MetricsFormat = 'text' | 'openmetrics';
export const CONTENT_TYPES: Readonly<Record<MetricsFormat, string>> = {
  text: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** Of an Accept header: OpenMetrics only when it is named, and liked at least as well as text. */
export const chooseFormat = (accept: string): MetricsFormat => {
  let quality = -1;
  let textQuality = -1;
  for (const item of accept.split(',')) {
    const [type, ...parameters] = item.split(';').map((s) => s.trim().toLowerCase());
    const q = parameters.find((p) => p.startsWith('q='));
    const value = q === undefined ? 1 : Number(q.slice(2));
    if (type === 'application/openmetrics-text') quality = Math.max(quality, value);
    else if (type === 'text/plain' || type === 'text/*' || type === '*/*') textQuality = Math.max(textQuality, value);
  }
  return quality > 0 && quality >= textQuality ? 'openmetrics' : 'text';
};

/** A family of somebody else's registry (prom-client). */
export interface ForeignFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly values: readonly {
    readonly value: number;
    readonly labels: Readonly<Record<string, string | number>>;
    readonly metricName?: string;
  }[];
}

const PIECE = 16 * 1024;
// OpenMetrics wants floats in their canonical form there, Prometheus takes any.
const EDGES: Readonly<Record<MetricsFormat, readonly string[]>> = {
  text: DURATION_BUCKETS.map(String),
  openmetrics: DURATION_BUCKETS.map((n) => (Number.isInteger(n) ? `${n}.0` : String(n))),
};

const number = (n: number): string => (Number.isFinite(n) ? String(n) : Number.isNaN(n) ? 'NaN' : n > 0 ? '+Inf' : '-Inf');
const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');

const head = (name: string, type: string, help: string, format: MetricsFormat): string => {
  const family = format === 'openmetrics' && type === 'counter' ? name.replace(/_total$/, '') : name;
  return `# HELP ${family} ${escapeHelp(help)}\n# TYPE ${family} ${type}\n`;
};

const histogramLines = (name: string, row: TotalRow, edges: readonly string[]): string => {
  const before = row.text === '' ? `${name}_bucket{le="` : `${name}_bucket{${row.text},le="`;
  const labels = row.text === '' ? ' ' : `{${row.text}} `;
  let lines = '';
  let sum = 0;
  for (let i = 0; i < edges.length; i++) {
    sum += row.values[i] as number;
    lines += `${before}${edges[i] as string}"} ${sum}\n`;
  }
  const count = row.values[edges.length] as number;
  return `${lines}${before}+Inf"} ${count}\n${name}_sum${labels}${row.values[edges.length + 1] as number}\n${name}_count${labels}${count}\n`;
};

export function* renderMetrics(families: Families, foreign: readonly ForeignFamily[], format: MetricsFormat): Generator<string> {
  const edges = EDGES[format];
  let piece = '';
  for (const metric of METRIC_NAMES) {
    const facts = METRICS[metric];
    const name = PREFIX + metric;
    let begun = false;
    for (const row of families.rows(metric)) {
      if (!begun) piece += head(name, facts.type, facts.help, format);
      begun = true;
      if (facts.type === 'histogram') piece += histogramLines(name, row, edges);
      else
        piece +=
          row.text === '' ? `${name} ${number(row.values[0] as number)}\n` : `${name}{${row.text}} ${number(row.values[0] as number)}\n`;
      if (piece.length >= PIECE) {
        yield piece;
        piece = '';
      }
    }
  }
  for (const family of foreign) {
    // prom-client names a counter as it is sampled; a family that does not end so would be malformed as OpenMetrics counter.
    const type = family.type === 'counter' && !family.name.endsWith('_total') ? 'gauge' : family.type;
    piece += head(family.name, type, family.help, format);
    for (const v of family.values) {
      const labels = Object.entries(v.labels).map(([k, value]) => `${k}="${escapeLabel(String(value))}"`);
      piece += `${v.metricName ?? family.name}${labels.length > 0 ? `{${labels.join(',')}}` : ''} ${number(v.value)}\n`;
    }
  }
  if (format === 'openmetrics') piece += '# EOF\n';
  yield piece;
}
