/** What a snapshot looks like to requests: everything that could be worked out when it was activated. */
import type { RouteTable } from '../../contract/routes/table.ts';
import type { HashKey, ListenerPart, UpstreamPart } from '../../contract/snapshot/parts.ts';
import type { Group, Split } from '../backends/index.ts';
import type { TlsTable } from '../quic/engine.ts';
import type { BackendCounters, ListenerCounters, RequestCounters, RetryCounters } from './counters.ts';
import type { Replies } from './reply.ts';
import type { AddressList } from './addresslist.ts';

/** One side of an upstream's split. */
export interface GroupView {
  readonly name: string;
  /** null: a reference could not be resolved; its share of the traffic answers 500. */
  readonly group: Group | null;
  readonly scheme: 'http' | 'https';
  readonly counters: BackendCounters;
}

export interface UpstreamView {
  readonly part: UpstreamPart;
  /** `namespace/name`. */
  readonly label: string;
  readonly split: Split;
  readonly groups: readonly GroupView[];
  /** null unless consistent hashing balances it. */
  readonly key: HashKey | null;
  readonly retries: RetryCounters;
}

/** Where a route leads, on one listener. */
export interface Destination {
  readonly upstream: UpstreamView;
  readonly counters: RequestCounters;
}

export interface ListenerView {
  readonly part: ListenerPart;
  /** `namespace/name`. */
  readonly label: string;
  readonly table: RouteTable<Destination>;
  readonly trust: AddressList;
  readonly tls: TlsTable;
  /** A line for each certificate that is not in it because the engine does not take it. */
  readonly unfit: readonly string[];
  readonly replies: Replies;
  readonly counters: ListenerCounters;
  /** `x-forwarded-port`. */
  readonly port: string;
}
