/** Rows of the counters that requests touch: made on first use, found again without building a key. */
import type { Cells, Row } from '../../contract/cells.ts';
import { REASON_NAMES, type Reason } from '../../contract/reasons.ts';

const ORDINAL = new Map<Reason, number>(REASON_NAMES.map((r, i) => [r, i]));
const STRIDE = 1000;

/** Requests of one listener towards one upstream (`''`: none was found). */
export class RequestCounters {
  private readonly cells: Cells;
  private readonly listener: string;
  private readonly upstream: string;
  private readonly totals = new Map<number, Row>();
  /** Most requests end as the one before. */
  private lastKey = -1;
  private lastRow: Row = 0;
  private readonly duration: Row;
  private retired = false;

  constructor(cells: Cells, listener: string, upstream: string) {
    this.cells = cells;
    this.listener = listener;
    this.upstream = upstream;
    this.duration = cells.row('request_duration_seconds', listener, upstream);
  }

  /** `code` 0: the client got none. */
  count(code: number, reason: Reason, seconds: number): void {
    if (this.retired) return;
    const key = keyOf(code, reason);
    if (key !== this.lastKey) {
      this.lastRow = this.rowOf(key, code, reason);
      this.lastKey = key;
    }
    this.cells.add(this.lastRow, 1);
    this.cells.observe(this.duration, seconds);
  }

  private rowOf(key: number, code: number, reason: Reason): Row {
    let row = this.totals.get(key);
    if (row === undefined) {
      row = this.cells.row('requests_total', this.listener, this.upstream, String(code), reason);
      this.totals.set(key, row);
    }
    return row;
  }

  /** Its object is gone: its rows go too, and exchanges that still end are no longer counted here. */
  retire(): void {
    this.retired = true;
    for (const key of this.totals.keys()) this.cells.drop('requests_total', this.listener, this.upstream, codeOf(key), reasonOf(key));
    this.cells.drop('request_duration_seconds', this.listener, this.upstream);
  }
}

/** Requests sent to one group of endpoints. */
export class BackendCounters {
  private readonly cells: Cells;
  private readonly upstream: string;
  private readonly backend: string;
  private readonly totals = new Map<number, Row>();
  /** Most requests end as the one before. */
  private lastKey = -1;
  private lastRow: Row = 0;
  private readonly duration: Row;
  private retired = false;

  constructor(cells: Cells, upstream: string, backend: string) {
    this.cells = cells;
    this.upstream = upstream;
    this.backend = backend;
    this.duration = cells.row('backend_duration_seconds', upstream, backend);
  }

  count(code: number, reason: Reason): void {
    if (this.retired) return;
    const key = keyOf(code, reason);
    if (key !== this.lastKey) {
      this.lastRow = this.rowOf(key, code, reason);
      this.lastKey = key;
    }
    this.cells.add(this.lastRow, 1);
  }

  private rowOf(key: number, code: number, reason: Reason): Row {
    let row = this.totals.get(key);
    if (row === undefined) {
      row = this.cells.row('backend_requests_total', this.upstream, this.backend, String(code), reason);
      this.totals.set(key, row);
    }
    return row;
  }

  answered(seconds: number): void {
    if (!this.retired) this.cells.observe(this.duration, seconds);
  }

  retire(): void {
    this.retired = true;
    for (const key of this.totals.keys())
      this.cells.drop('backend_requests_total', this.upstream, this.backend, codeOf(key), reasonOf(key));
    this.cells.drop('backend_duration_seconds', this.upstream, this.backend);
  }
}

/** Requests of an upstream that were sent once more, over all its groups. */
export class RetryCounters {
  private readonly cells: Cells;
  private readonly upstream: string;
  private readonly rows = new Map<Reason, Row>();
  private retired = false;

  constructor(cells: Cells, upstream: string) {
    this.cells = cells;
    this.upstream = upstream;
  }

  count(reason: Reason): void {
    if (this.retired) return;
    let row = this.rows.get(reason);
    if (row === undefined) {
      row = this.cells.row('backend_retries_total', this.upstream, reason);
      this.rows.set(reason, row);
    }
    this.cells.add(row, 1);
  }

  retire(): void {
    this.retired = true;
    for (const reason of this.rows.keys()) this.cells.drop('backend_retries_total', this.upstream, reason);
  }
}

/** What one listener counts beside its requests. */
export class ListenerCounters {
  readonly label: string;
  /** Requests that found no upstream. */
  readonly unrouted: RequestCounters;
  private readonly cells: Cells;
  /** Requests in flight. */
  active = 0;
  private readonly activeRow: Row;
  private readonly handshakes: Row;
  private readonly limits = new Map<string, Row>();
  private readonly errors = new Map<string, Map<string, Row>>();
  private retired = false;

  constructor(cells: Cells, label: string) {
    this.cells = cells;
    this.label = label;
    this.unrouted = new RequestCounters(cells, label, '');
    this.activeRow = cells.row('requests_active', label);
    this.handshakes = cells.row('handshake_duration_seconds', label);
  }

  begun(): void {
    this.active++;
    if (!this.retired) this.cells.add(this.activeRow, 1);
  }

  ended(): void {
    this.active--;
    if (!this.retired) this.cells.add(this.activeRow, -1);
  }

  handshake(seconds: number): void {
    if (!this.retired) this.cells.observe(this.handshakes, seconds);
  }

  limit(name: string, times = 1): void {
    if (this.retired || times <= 0) return;
    let row = this.limits.get(name);
    if (row === undefined) {
      row = this.cells.row('limit_rejects_total', this.label, name);
      this.limits.set(name, row);
    }
    this.cells.add(row, times);
  }

  /** Codes and rules come from our own tables, never from the peer. */
  protocolError(code: string, rule: string): void {
    if (this.retired) return;
    let rules = this.errors.get(code);
    if (rules === undefined) {
      rules = new Map();
      this.errors.set(code, rules);
    }
    let row = rules.get(rule);
    if (row === undefined) {
      row = this.cells.row('protocol_errors_total', this.label, code, rule);
      rules.set(rule, row);
    }
    this.cells.add(row, 1);
  }

  retire(): void {
    this.retired = true;
    this.unrouted.retire();
    for (const name of this.limits.keys()) this.cells.drop('limit_rejects_total', this.label, name);
    for (const [code, rules] of this.errors)
      for (const rule of rules.keys()) this.cells.drop('protocol_errors_total', this.label, code, rule);
    this.cells.drop('requests_active', this.label);
    this.cells.drop('handshake_duration_seconds', this.label);
  }
}

function codeOf(key: number): string {
  return String(key % STRIDE);
}

function reasonOf(key: number): Reason {
  return REASON_NAMES[Math.floor(key / STRIDE)] as Reason;
}

function keyOf(code: number, reason: Reason): number {
  return reason === 'ok' ? code : (ORDINAL.get(reason) as number) * STRIDE + code;
}
