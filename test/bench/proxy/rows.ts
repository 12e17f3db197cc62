/** What is measured: each row with its own fixed amount of work, so that every engine does the same. */

export interface LoadRow {
  readonly kind: 'load';
  readonly name: string;
  readonly title: string;
  readonly path: string;
  /** Whether each request carries a body of `BODY_BYTES`. */
  readonly upload: boolean;
  readonly clients: number;
  readonly streams: number;
  readonly requests: number;
}

export interface IdleRow {
  readonly kind: 'idle';
  readonly name: string;
  readonly title: string;
  readonly connections: number;
}

export type Row = LoadRow | IdleRow;

export const BODY_BYTES = 1024 * 1024;
export const SMALL_BYTES = 100;
export const PATHS = { small: '/small', large: '/large', upload: '/upload' } as const;

const small = (streams: number, requests: number): LoadRow => ({
  kind: 'load',
  name: `m${streams}`,
  title: `100 B, 32 x ${streams}`,
  path: PATHS.small,
  upload: false,
  clients: 32,
  streams,
  requests,
});

const bulk = (name: string, path: string, requests: number): LoadRow => ({
  kind: 'load',
  name,
  title: `1 MiB ${name}, 32 x 1`,
  path,
  upload: name === 'upload',
  clients: 32,
  streams: 1,
  requests,
});

export const ROWS: readonly Row[] = [
  small(1, 120_000),
  small(8, 300_000),
  small(32, 400_000),
  bulk('download', PATHS.large, 1_200),
  bulk('upload', PATHS.upload, 800),
  { kind: 'idle', name: 'idle', title: 'idle connection', connections: 4_000 },
];

/** The rows of a list of names, in the order of the table; null with a name that there is not. */
export function pickRows(names: string | undefined): readonly Row[] | null {
  const wanted = words(names);
  if (wanted.length === 0) return ROWS;
  if (wanted.some((name) => !ROWS.some((row) => row.name === name))) return null;
  return ROWS.filter((row) => wanted.includes(row.name));
}

/** The row with its amount of work multiplied, never below one request for each stream. */
export function scaled(row: Row, factor: number): Row {
  if (row.kind === 'idle') return { ...row, connections: Math.max(1, Math.round(row.connections * factor)) };
  return { ...row, requests: Math.max(row.clients * row.streams, Math.round(row.requests * factor)) };
}

/** A list as people write it: commas, blanks or both between the words. */
export const words = (text: string | undefined): readonly string[] => (text ?? '').split(/[\s,]+/).filter((word) => word !== '');
