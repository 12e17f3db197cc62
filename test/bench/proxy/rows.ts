/** What is measured. A row takes about the same CPU time of every proxy: how many requests that are is found by warming up. */

interface Common {
  readonly name: string;
  readonly title: string;
}

/** Closed loop: each stream makes its next request when the last one is answered. */
export interface LoadRow extends Common {
  readonly kind: 'load';
  readonly path: string;
  /** Whether each request carries a body of `BODY_BYTES`. */
  readonly upload: boolean;
  readonly clients: number;
  readonly streams: number;
  readonly seconds: number;
  /** Hosts that the proxy has a route for. */
  readonly routes: number;
  /** Whether these are asked, four of them at once; else the one of all other rows. */
  readonly byHost: boolean;
  /** Only Spooky, once with each of these numbers of workers; null: every proxy with one. */
  readonly workers: readonly number[] | null;
}

/** New connections at a steady rate, each with one request. */
export interface HandshakeRow extends Common {
  readonly kind: 'handshake';
  readonly resumed: boolean;
  readonly perSecond: number;
  readonly seconds: number;
}

/** A closed loop through a relay that gives every client another port all the time. */
export interface RebindRow extends Common {
  readonly kind: 'rebind';
  readonly clients: number;
  readonly streams: number;
  readonly seconds: number;
  /** Datagrams of a client after which it has another port. */
  readonly every: number;
}

/** Open loop: requests begin when it is their time, whatever became of those before. */
export interface LatencyRow extends Common {
  readonly kind: 'latency';
  readonly clients: number;
  readonly seconds: number;
  /** How often in a round each proxy is measured: a moment in which the machine stands still is to hit one of many figures, not one of three. */
  readonly turns: number;
}

export interface IdleRow extends Common {
  readonly kind: 'idle';
  readonly connections: number;
}

export type Row = LoadRow | HandshakeRow | RebindRow | LatencyRow | IdleRow;

export const BODY_BYTES = 1024 * 1024;
export const SMALL_BYTES = 100;
export const PATHS = { small: '/small', large: '/large', upload: '/upload' } as const;

/** CPU seconds of the proxy; of the clock where connections or requests come at a pace of their own. */
const SECONDS = 2;
const load = { kind: 'load', upload: false, clients: 32, streams: 8, seconds: SECONDS, routes: 1, byHost: false, workers: null } as const;

const small = (streams: number): LoadRow => ({
  ...load,
  name: `m${streams}`,
  title: `100 B, 32 x ${streams}`,
  path: PATHS.small,
  streams,
});

const bulk = (name: string, path: string): LoadRow => ({
  ...load,
  name,
  title: `1 MiB ${name}, 32 x 1`,
  path,
  upload: name === 'upload',
  streams: 1,
});

const routes = (count: number): LoadRow => ({
  ...load,
  name: `routes${count}`,
  title: `${count.toLocaleString('en-US')} route${count === 1 ? '' : 's'}, 32 x 8`,
  path: PATHS.small,
  routes: count,
  byHost: true,
});

const handshake = (name: string, title: string, resumed: boolean): HandshakeRow => ({
  kind: 'handshake',
  name,
  title,
  resumed,
  perSecond: 800,
  seconds: SECONDS,
});

export const ROWS: readonly Row[] = [
  small(1),
  small(8),
  small(32),
  bulk('download', PATHS.large),
  bulk('upload', PATHS.upload),
  handshake('full', 'new connections', false),
  handshake('resumed', 'resumed connections', true),
  routes(1),
  routes(100),
  routes(10_000),
  { kind: 'rebind', name: 'rebind', title: 'rebinding storm, 32 x 8', clients: 32, streams: 8, seconds: SECONDS, every: 64 },
  { kind: 'latency', name: 'latency', title: 'latency at half load', clients: 32, seconds: 2, turns: 4 },
  { ...load, name: 'workers', title: '256 x 2 on workers', path: PATHS.small, clients: 256, streams: 2, seconds: 3, workers: [1, 2] },
  { kind: 'idle', name: 'idle', title: 'idle connection', connections: 4_000 },
];

/** Hosts with a route of their own, of which the first, the last and two between are asked. */
export const routeHost = (i: number, host: string): string => `r${i}.${host}`;
export const askedHosts = (routes: number, host: string): readonly string[] =>
  [0, 1, 2, 3].map((quarter) => routeHost(Math.floor(((routes - 1) * quarter) / 3), host));

/** The rows of a list of names, in the order of the table; null with a name that there is not. */
export function pickRows(names: string | undefined): readonly Row[] | null {
  const wanted = words(names);
  if (wanted.length === 0) return ROWS;
  if (wanted.some((name) => !ROWS.some((row) => row.name === name))) return null;
  return ROWS.filter((row) => wanted.includes(row.name));
}

/** An open loop of less says nothing: its clients begin at different moments. */
const LEAST_LATENCY = 2;

/** The row with its time or its connections multiplied. */
export function scaled(row: Row, factor: number): Row {
  if (row.kind === 'idle') return { ...row, connections: Math.max(1, Math.round(row.connections * factor)) };
  return { ...row, seconds: Math.max(row.kind === 'latency' ? LEAST_LATENCY : 0.05, row.seconds * factor) };
}

/** A list as people write it: commas, blanks or both between the words. */
export const words = (text: string | undefined): readonly string[] => (text ?? '').split(/[\s,]+/).filter((word) => word !== '');
