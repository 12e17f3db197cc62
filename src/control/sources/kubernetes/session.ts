/** One stream of a reflector, and how the reflector itself ended it, if it did. */
import type { StreamEnd } from './api.ts';
import type { Listing } from './listing.ts';

/** `listed` and `relist` go on at once. */
export type Outcome = StreamEnd | 'listed' | 'relist';

export class Session<T> {
  readonly controller = new AbortController();
  /** Null: nothing is listed, or all of it. */
  listing: Listing<T> | null;
  openedAt: number | null = null;
  /** A line has come. */
  spoke = false;
  over = false;
  verdict: Outcome | undefined;

  constructor(listing: Listing<T> | null) {
    this.listing = listing;
  }

  end(verdict: Outcome): void {
    if (this.over) return;
    this.over = true;
    this.verdict = verdict;
    this.controller.abort();
  }
}
