/** A list by pages, put together aside. */
import { apiError } from './answers.ts';
import type { ApiError } from './api.ts';
import { SLICE_MS, turn } from './bodies.ts';
import { Listing, type Page } from './listing.ts';

export const PAGE = 500;
const MAX_PAGES = 10_000;

type Parameters = Readonly<Record<string, string>>;

/** How many to ask for where so many were more than a body may hold; null: it was one object alone. */
export const fewer = (limit: number): number | null => (limit > 1 ? Math.max(1, Math.floor(limit / 4)) : null);

export interface PageReader<T> {
  page(parameters: Parameters): Promise<Page | ApiError>;
  take(listing: Listing<T>, item: unknown): void;
  /** False: what comes is of no interest any more. */
  running(): boolean;
}

export interface Complete<T> {
  readonly listing: Listing<T>;
  readonly version: string;
}

/** `parameters` are for the first page only: later ones are of the same list. */
export const readPages = async <T>(parameters: Parameters, reader: PageReader<T>): Promise<Complete<T> | ApiError> => {
  const listing = new Listing<T>();
  let version: string | null = null;
  let next = '';
  let limit = PAGE;
  for (let n = 0; n < MAX_PAGES; n++) {
    const asked: Parameters = next === '' ? { limit: String(limit), ...parameters } : { limit: String(limit), continue: next };
    const page = await reader.page(asked);
    // The watch cache's list has no pages.
    const less = 'kind' in page && page.kind === 'too_large' && asked['resourceVersion'] === undefined ? fewer(limit) : null;
    if (less !== null) {
      limit = less;
      continue;
    }
    // What the token stands for has been compacted: all at once cannot expire.
    if ('kind' in page) return page.kind === 'gone' && next !== '' ? readAll(reader) : page;
    // Of a list whose later pages are newer, the first version misses nothing.
    version ??= page.version;
    await takeAll(listing, page.items, reader);
    if (!reader.running()) return apiError('aborted', 'stopped');
    if (page.next === '') return { listing, version };
    next = page.next;
  }
  return apiError('too_large', `a list of more than ${MAX_PAGES} pages`);
};

const readAll = async <T>(reader: PageReader<T>): Promise<Complete<T> | ApiError> => {
  const listing = new Listing<T>();
  const page = await reader.page({});
  if ('kind' in page) return page;
  await takeAll(listing, page.items, reader);
  return page.next === '' ? { listing, version: page.version } : apiError('malformed', 'a list without limit has another page', 200);
};

/** Projecting a page takes a while: the event loop turns in between. */
const takeAll = async <T>(listing: Listing<T>, items: readonly unknown[], reader: PageReader<T>): Promise<void> => {
  let sliceEnd = performance.now() + SLICE_MS;
  for (const item of items) {
    reader.take(listing, item);
    if (performance.now() < sliceEnd) continue;
    await turn();
    if (!reader.running()) return;
    sliceEnd = performance.now() + SLICE_MS;
  }
};
