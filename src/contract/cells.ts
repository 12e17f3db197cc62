/**
 * Counters as workers keep them: preallocated numbers, a row per (metric, labels), made on first use.
 * The hot path holds row numbers and only adds; main asks for all rows at scrape time and folds the differences into its metrics.
 */
export const DURATION_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

export interface MetricFacts {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly labels: readonly string[];
  readonly help: string;
}

/** What workers count. Names carry the prefix `spooky_` when rendered. */
export const WORKER_METRICS = {
  requests_total: { type: 'counter', labels: ['listener', 'upstream', 'code', 'reason'], help: 'Requests answered or ended.' },
  request_duration_seconds: {
    type: 'histogram',
    labels: ['listener', 'upstream'],
    help: 'First byte of the request head to last byte of the answer.',
  },
  backend_requests_total: { type: 'counter', labels: ['upstream', 'backend', 'code', 'reason'], help: 'Requests sent to backends.' },
  backend_duration_seconds: { type: 'histogram', labels: ['upstream', 'backend'], help: 'Request sent to response headers.' },
  requests_active: { type: 'gauge', labels: ['listener'], help: 'Requests in flight.' },
  connections_active: { type: 'gauge', labels: ['listener'], help: 'Client connections open.' },
  streams_active: { type: 'gauge', labels: ['listener'], help: 'Request streams open.' },
  connections_total: { type: 'counter', labels: ['listener', 'outcome'], help: 'Client connections by outcome of their handshake.' },
  handshake_duration_seconds: { type: 'histogram', labels: ['listener'], help: 'First Initial to established.' },
  quic_datagrams_total: { type: 'counter', labels: ['direction'], help: 'UDP datagrams.' },
  quic_bytes_total: { type: 'counter', labels: ['direction'], help: 'UDP payload bytes.' },
  quic_dropped_datagrams_total: { type: 'counter', labels: ['reason'], help: 'Datagrams dropped before any QUIC state.' },
  quic_connection_closed_total: { type: 'counter', labels: ['side', 'code'], help: 'Connections closed, by side and error code.' },
  quic_answered_total: { type: 'counter', labels: ['kind'], help: 'Stateless answers: retry, version, reset, refused.' },
  quic_handover_datagrams_total: { type: 'counter', labels: ['direction', 'outcome'], help: 'Datagrams of other workers’ connections.' },
  quic_path_changes_total: { type: 'counter', labels: ['outcome'], help: 'Changes of a client’s address.' },
  limit_rejects_total: { type: 'counter', labels: ['listener', 'limit'], help: 'Rejections by a limit, named by its field.' },
  protocol_errors_total: {
    type: 'counter',
    labels: ['listener', 'code', 'rule'],
    help: 'Protocol errors of clients, by error code and rule.',
  },
  panic_total: { type: 'counter', labels: ['upstream'], help: 'Picks made among unhealthy endpoints because none was healthy.' },
  backend_retries_total: {
    type: 'counter',
    labels: ['upstream', 'reason'],
    help: 'Requests sent once more because the backend never saw them.',
  },
  backend_connections: { type: 'gauge', labels: ['upstream', 'state'], help: 'Connections to backends.' },
  fields_dropped_total: { type: 'counter', labels: ['reason'], help: 'Header fields dropped by policy.' },
  internal_errors_total: { type: 'counter', labels: ['where'], help: 'Exceptions caught at a boundary: defects of ours.' },
  log_lines_dropped_total: { type: 'counter', labels: ['stream'], help: 'Log lines lost because the reader stalled.' },
  engine_fallback: { type: 'gauge', labels: [], help: '1 when the preferred QUIC engine could not be used.' },
  endpoint_active_requests: { type: 'gauge', labels: ['upstream', 'endpoint'], help: 'Requests in flight per endpoint.' },
  udp_receive_buffer_bytes: { type: 'gauge', labels: ['listener'], help: 'Receive buffer as granted by the kernel.' },
  udp_kernel_drops_total: { type: 'counter', labels: [], help: 'Datagrams that the kernel dropped at our sockets.' },
  worker_overloaded: { type: 'gauge', labels: [], help: 'Workers that turn newcomers away because they have too much to do.' },
  worker_event_loop_delay_seconds: { type: 'histogram', labels: [], help: 'Delay of the worker’s event loop.' },
} as const satisfies Record<string, MetricFacts>;

export type WorkerMetric = keyof typeof WORKER_METRICS;

/** A row's place in the table; histograms own `DURATION_BUCKETS.length + 2` consecutive numbers (buckets, count, sum). */
export type Row = number;

/** One row as it travels to main: histograms carry bucket counts (not cumulative), count and sum. */
export interface RowReading {
  readonly metric: WorkerMetric;
  readonly labels: readonly string[];
  readonly values: readonly number[];
}

/** How many dropped rows rest before the first of them is used again. */
const RESTING_ROWS = 4096;

const HISTOGRAM_WIDTH = DURATION_BUCKETS.length + 2;

interface RowInfo {
  readonly metric: WorkerMetric;
  readonly labels: readonly string[];
  readonly at: number;
  readonly width: number;
}

export class Cells {
  private values = new Float64Array(1024);
  private used = 0;
  /** By row: thousands are dropped at once when Upstreams go. */
  private readonly rows = new Map<Row, RowInfo>();
  /** Gauges of Upstreams that were told: those that are zero again, too. */
  private readonly told = new Set<Row>();
  private readonly resting: { readonly at: number; readonly width: number }[] = [];
  private readonly index = new Map<WorkerMetric, Map<string, Row>>();

  /** The row of these labels, made on first use. Not for the hot path: keep the number. */
  row(metric: WorkerMetric, ...labels: string[]): Row {
    let byLabels = this.index.get(metric);
    if (byLabels === undefined) {
      byLabels = new Map();
      this.index.set(metric, byLabels);
    }
    const key = JSON.stringify(labels);
    const known = byLabels.get(key);
    if (known !== undefined) return known;
    if (labels.length !== WORKER_METRICS[metric].labels.length)
      throw new Error(`${metric}: ${WORKER_METRICS[metric].labels.length} labels wanted`);
    const width = WORKER_METRICS[metric].type === 'histogram' ? HISTOGRAM_WIDTH : 1;
    const at = this.place(width);
    this.rows.set(at, { metric, labels, at, width });
    byLabels.set(key, at);
    return at;
  }

  /** Ends the rows of an object that is gone: `labels` as given to `row`. Their numbers rest before they are used again, so that late counts of requests in flight hit nothing. */
  drop(metric: WorkerMetric, ...labels: string[]): Row | null {
    const byLabels = this.index.get(metric);
    const key = JSON.stringify(labels);
    const at = byLabels?.get(key);
    if (byLabels === undefined || at === undefined) return null;
    byLabels.delete(key);
    const gone = this.rows.get(at) as RowInfo;
    this.rows.delete(at);
    this.told.delete(at);
    this.resting.push({ at, width: gone.width });
    return at;
  }

  add(row: Row, n: number): void {
    this.values[row] = (this.values[row] as number) + n;
  }

  set(row: Row, value: number): void {
    this.values[row] = value;
  }

  get(row: Row): number {
    return this.values[row] as number;
  }

  /** Counts one duration, in seconds, in the histogram at `row`. */
  observe(row: Row, seconds: number): void {
    const v = this.values;
    for (let i = 0; i < DURATION_BUCKETS.length; i++) {
      if (seconds <= (DURATION_BUCKETS[i] as number)) {
        v[row + i] = (v[row + i] as number) + 1;
        break;
      }
    }
    const count = row + DURATION_BUCKETS.length;
    v[count] = (v[count] as number) + 1;
    v[count + 1] = (v[count + 1] as number) + seconds;
  }

  private place(width: number): Row {
    if (this.resting.length > RESTING_ROWS) {
      const i = this.resting.findIndex((r) => r.width === width);
      if (i >= 0 && i < this.resting.length - RESTING_ROWS) {
        const [row] = this.resting.splice(i, 1);
        const at = (row as { at: number }).at;
        this.values.fill(0, at, at + width);
        return at;
      }
    }
    const at = this.used;
    this.used += width;
    if (this.used > this.values.length) {
      const grown = new Float64Array(this.values.length * 2);
      grown.set(this.values);
      this.values = grown;
    }
    return at;
  }

  /**
   * What there is to tell: counters that have counted, gauges, and of gauges that each Upstream has those that were ever anything but zero. Ten thousand
   * Upstreams that nobody asks for cost a look at their numbers.
   */
  readUsed(): RowReading[] {
    const found: RowReading[] = [];
    for (const row of this.rows.values()) if (this.tells(row)) found.push(this.reading(row));
    return found;
  }

  private tells({ metric, at, width }: RowInfo): boolean {
    const { type, labels } = WORKER_METRICS[metric];
    if (type === 'gauge' && !(labels as readonly string[]).includes('upstream')) return true;
    for (let i = at; i < at + width; i++) {
      if (this.values[i] === 0) continue;
      if (type === 'gauge') this.told.add(at);
      return true;
    }
    return this.told.has(at);
  }

  private reading(r: RowInfo): RowReading {
    return { metric: r.metric, labels: r.labels, values: Array.from(this.values.subarray(r.at, r.at + r.width)) };
  }

  /** Every row as counted since this process started. */
  read(): RowReading[] {
    return Array.from(this.rows.values(), (r) => this.reading(r));
  }
}
