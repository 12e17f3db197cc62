/**
 * Totals of everything counted, over processes that come and go. Workers report rows as counted since their start; what is added
 * here is the difference per process, so that a restart never makes a counter go backwards.
 */
import { DURATION_BUCKETS, type RowReading } from '../../contract/cells.ts';
import { METRICS, METRIC_NAMES, type MainMetric, type MetricName } from './metrics.ts';

/** Sums over workers would say nothing here. */
const MAXIMA: ReadonlySet<MetricName> = new Set<MetricName>(['udp_receive_buffer_bytes', 'engine_fallback']);
const WIDTH = DURATION_BUCKETS.length + 2;

export const escapeLabel = (value: string): string =>
  /[\\"\n]/.test(value) ? value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n') : value;

export class TotalRow {
  readonly labels: readonly string[];
  /** `listener="a/b",upstream="c/d"` */
  readonly text: string;
  readonly values: number[];

  constructor(metric: MetricName, labels: readonly string[]) {
    const facts = METRICS[metric];
    this.labels = labels;
    this.text = facts.labels.map((name, i) => `${name}="${escapeLabel(labels[i] ?? '')}"`).join(',');
    this.values = Array.from({ length: facts.type === 'histogram' ? WIDTH : 1 }, () => 0);
  }
}

/** One row of one process. */
interface Share {
  total: TotalRow | null;
  readonly metric: MetricName;
  readonly labels: readonly string[];
  last: readonly number[];
  /** Told since the process was last settled. */
  seen: boolean;
}

const NOTHING: readonly number[] = [];

/** How often a counter or histogram has counted. */
const countOf = (values: readonly number[]): number => values.at(-2) ?? values[0] ?? 0;

export class Families {
  private readonly families = new Map<MetricName, Map<string, TotalRow>>(METRIC_NAMES.map((name) => [name, new Map()]));
  private readonly sources = new Map<string, Map<string, Share>>();
  /** null: every object counts. */
  private listeners: ReadonlySet<string> | null = null;
  private upstreams: ReadonlySet<string> | null = null;

  rows(metric: MetricName): Iterable<TotalRow> {
    return this.family(metric).values();
  }

  get(metric: MetricName, ...labels: string[]): number {
    return this.family(metric).get(labels.join('\0'))?.values[0] ?? 0;
  }

  /** What one process reported last, in a row of one value. */
  last(source: string, metric: MetricName, labels: readonly string[]): number {
    return this.sources.get(source)?.get(`${metric}\0${labels.join('\0')}`)?.last[0] ?? 0;
  }

  set(metric: MainMetric, labels: readonly string[], value: number): void {
    this.row(metric, labels).values[0] = value;
  }

  add(metric: MainMetric, labels: readonly string[], n = 1): void {
    const { values } = this.row(metric, labels);
    values[0] = (values[0] as number) + n;
  }

  observe(metric: MainMetric, labels: readonly string[], seconds: number): void {
    const { values } = this.row(metric, labels);
    const bucket = DURATION_BUCKETS.findIndex((edge) => seconds <= edge);
    if (bucket >= 0) values[bucket] = (values[bucket] as number) + 1;
    values[WIDTH - 2] = (values[WIDTH - 2] as number) + 1;
    values[WIDTH - 1] = (values[WIDTH - 1] as number) + seconds;
  }

  /** What the row speaks of is not there any more. */
  remove(metric: MainMetric, labels: readonly string[]): void {
    this.family(metric).delete(labels.join('\0'));
  }

  /** Replaces all rows of a gauge. */
  replace(metric: MainMetric, rows: Iterable<readonly [readonly string[], number]>): void {
    this.family(metric).clear();
    for (const [labels, value] of rows) this.set(metric, labels, value);
  }

  /** Rows as counted since the start of the process that `source` names. */
  fold(source: string, rows: readonly RowReading[]): void {
    let shares = this.sources.get(source);
    if (shares === undefined) {
      shares = new Map();
      this.sources.set(source, shares);
    }
    for (const row of rows) this.foldRow(shares, row);
  }

  /** All that the process has to tell was folded: rows that were not among it are not there any more, with their objects or what they counted for. */
  settle(source: string): void {
    const shares = this.sources.get(source);
    for (const [key, share] of shares ?? []) {
      if (!share.seen) {
        shares?.delete(key);
        if (METRICS[share.metric].type === 'gauge') this.leave(key, share);
      }
      share.seen = false;
    }
  }

  /** The process is gone: what it counted stays, what it held does not. */
  forget(source: string): void {
    const shares = this.sources.get(source);
    this.sources.delete(source);
    if (shares === undefined) return;
    for (const [key, share] of shares) if (METRICS[share.metric].type === 'gauge') this.subtract(key, share);
  }

  /** Rows go with their object: from now on only these listeners and Upstreams (`namespace/name`) have any. */
  retain(listeners: ReadonlySet<string>, upstreams: ReadonlySet<string>): void {
    this.listeners = listeners;
    this.upstreams = upstreams;
    for (const metric of METRIC_NAMES) {
      const family = this.family(metric);
      for (const [key, row] of family) if (!this.counts(metric, row.labels)) family.delete(key);
    }
    for (const shares of this.sources.values()) {
      for (const share of shares.values()) if (share.total !== null && !this.counts(share.metric, share.labels)) share.total = null;
    }
  }

  /** What the share of a gauge held is gone, and the row with the last share. */
  private leave(key: string, share: Share): void {
    this.subtract(key, share);
    for (const shares of this.sources.values()) if (shares.has(key)) return;
    this.family(share.metric).delete(share.labels.join('\0'));
  }

  private subtract(key: string, { metric, total, last }: Share): void {
    if (total === null) return;
    if (MAXIMA.has(metric)) total.values[0] = this.maximum(key);
    else total.values[0] = (total.values[0] as number) - (last[0] as number);
  }

  private family(metric: MetricName): Map<string, TotalRow> {
    return this.families.get(metric) as Map<string, TotalRow>;
  }

  private row(metric: MetricName, labels: readonly string[]): TotalRow {
    const family = this.family(metric);
    const key = labels.join('\0');
    let row = family.get(key);
    if (row === undefined) {
      row = new TotalRow(metric, labels);
      family.set(key, row);
    }
    return row;
  }

  private foldRow(shares: Map<string, Share>, reading: RowReading): void {
    const key = `${reading.metric}\0${reading.labels.join('\0')}`;
    let share = shares.get(key);
    if (share === undefined) {
      share = { total: null, metric: reading.metric, labels: reading.labels, last: NOTHING, seen: true };
      shares.set(key, share);
    }
    const last = this.heldBy(share, reading);
    if (share.total === null && this.counts(share.metric, share.labels)) share.total = this.row(share.metric, share.labels);
    const { total } = share;
    share.last = reading.values;
    share.seen = true;
    if (total === null) return;
    if (MAXIMA.has(share.metric)) {
      total.values[0] = this.maximum(key);
      return;
    }
    for (let i = 0; i < total.values.length; i++)
      total.values[i] = (total.values[i] as number) + ((reading.values[i] ?? 0) - (last[i] ?? 0));
  }

  /** What the total has of the share already: nothing of a gauge that it has not had yet, and nothing of a row that began anew in its worker. */
  private heldBy({ metric, total, last }: Share, { values }: RowReading): readonly number[] {
    if (METRICS[metric].type === 'gauge') return total === null ? NOTHING : last;
    return countOf(values) < countOf(last) ? NOTHING : last;
  }

  private maximum(key: string): number {
    let most = 0;
    for (const shares of this.sources.values()) most = Math.max(most, shares.get(key)?.last[0] ?? 0);
    return most;
  }

  /** A label that is no `namespace/name` (nothing matched, say) belongs to no object and stays. */
  private counts(metric: MetricName, labels: readonly string[]): boolean {
    const names = METRICS[metric].labels;
    for (let i = 0; i < names.length; i++) {
      const known = names[i] === 'listener' ? this.listeners : names[i] === 'upstream' ? this.upstreams : null;
      const value = labels[i] ?? '';
      if (known !== null && value.includes('/') && !known.has(value)) return false;
    }
    return true;
  }
}
