/** The routes of `--admin`: what runs, as JSON, without secrets. */
import { healthRoute, readyRoute, type ProbeView } from './probes.ts';
import type { Answer, Route } from './server.ts';

/** Each value is plain data, or a sequence of plain items that becomes an array, item by item. */
export type Document = Readonly<Record<string, unknown>>;

export interface AdminView extends ProbeView {
  config(): Document;
  upstreams(): Promise<Document>;
  listeners(): Document;
  certificates(): Document;
  workers(): Promise<Document>;
}

const isSequence = (value: unknown): value is Iterable<unknown> =>
  typeof value === 'object' &&
  value !== null &&
  !Array.isArray(value) &&
  Symbol.iterator in value &&
  !(value instanceof Map) &&
  !(value instanceof Set);

const json = (value: unknown): string => JSON.stringify(value) ?? 'null';

/** Two levels are cut into pieces: arrays and sequences directly below the document. */
export function* jsonPieces(document: Document): Generator<string> {
  let separator = '{';
  for (const [name, value] of Object.entries(document)) {
    yield `${separator}${json(name)}:`;
    separator = ',';
    if (Array.isArray(value) || isSequence(value)) yield* arrayPieces(value);
    else yield json(value);
  }
  yield separator === '{' ? '{}\n' : '}\n';
}

function* arrayPieces(items: Iterable<unknown>): Generator<string> {
  let separator = '[';
  for (const item of items) {
    yield `${separator}${json(item)}`;
    separator = ',';
  }
  yield separator === '[' ? '[]' : ']';
}

const route = (make: () => Document | Promise<Document>): Route => ({
  open: false,
  answer: async (): Promise<Answer> => ({ status: 200, type: 'application/json', body: jsonPieces(await make()) }),
});

export const adminRoutes = (view: AdminView): ReadonlyMap<string, Route> =>
  new Map<string, Route>([
    ['/health', healthRoute(view)],
    ['/ready', readyRoute(view)],
    ['/admin/config', route(() => view.config())],
    ['/admin/upstreams', route(() => view.upstreams())],
    ['/admin/listeners', route(() => view.listeners())],
    ['/admin/certificates', route(() => view.certificates())],
    ['/admin/workers', route(() => view.workers())],
  ]);
