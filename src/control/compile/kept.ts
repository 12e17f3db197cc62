/**
 * What a compile leaves to the next one: drafts of Upstreams, claims of listeners, parts. What holds is taken over; whatever has changed, or refers to something
 * that has, is made anew. Nothing here decides an outcome: a compile without it comes to the same.
 */
import { LayeredMap } from '../../lib/layered.ts';
import type { Installation, Resource, Upstream } from '../../contract/resources/index.ts';
import type { GroupId } from '../../contract/snapshot/index.ts';
import { PartBook, type PartChanges } from './book.ts';
import type { Compiled, CompileOptions, GroupSource } from './compiled.ts';
import type { Draft, ListenerDraft, UpstreamDraft } from './draft.ts';
import { Library } from './reads.ts';

export class Kept {
  readonly book = new PartBook();
  groups = LayeredMap.empty<GroupId, GroupSource>();
  listeners: readonly ListenerDraft[] = [];
  /** By age. */
  upstreams: UpstreamDraft[] = [];
  byName: UpstreamDraft[] = [];
  readonly byResource = new Map<Resource<Upstream>, UpstreamDraft>();
  /** So many have been begun. */
  compiles = 0;
  /** Of the compile: for changes that follow it. */
  mark: object | null = null;
  private options: CompileOptions | null = null;
  private grants: unknown = null;

  /**
   * After step 1: takes over the listeners when all of them mean the same to Upstreams as before. Otherwise everybody attaches anew.
   */
  takeListeners(draft: Draft): boolean {
    const { options, cluster } = draft;
    const same =
      this.options !== null &&
      this.options.standalone === options.standalone &&
      sameInstallation(this.options.installation ?? null, options.installation ?? null) &&
      this.grants === (cluster?.objects.grants ?? null) &&
      this.listeners.length === draft.listeners.length &&
      this.listeners.every((l, i) => l.means(draft.listeners[i] as ListenerDraft));
    this.options = options;
    this.grants = cluster?.objects.grants ?? null;
    if (same) {
      draft.listeners = this.listeners.map((l, i) => l.adopt(draft.listeners[i] as ListenerDraft));
      return true;
    }
    for (const listener of this.listeners) {
      this.book.release(listener.uses);
      listener.claims.letGo(this.book);
    }
    return false;
  }

  /** Whether there is a draft of the Upstream, and all that it was made of is as it was. */
  holds(draft: Draft, resource: Resource<Upstream>, library: Library): boolean {
    if (!draft.sameListeners) return false;
    const known = this.byResource.get(resource);
    if (known === undefined || !known.reads.hold(library)) return false;
    known.heldIn = this.compiles;
    return true;
  }
}

/** Flags do not change, but whoever tries things out may make them anew. */
function sameInstallation(a: Installation | null, b: Installation | null): boolean {
  if (a === b) return true;
  const text = (installation: Installation | null): string =>
    JSON.stringify(installation, (_, value: unknown) => (value instanceof Set ? [...(value as Set<unknown>)] : value));
  return text(a) === text(b);
}

/** What is not as it was in the compile before, for those who have that one at hand and need not look at everything else. */
export interface Changes extends PartChanges {
  /** The mark of the compile before; null: there was none. */
  readonly since: object | null;
  readonly mark: object;
  /** Other, new or gone. */
  readonly groups: readonly GroupId[];
  /** Other Upstreams or Listeners serve. */
  readonly names: boolean;
}

const changes = new WeakMap<Compiled, Changes>();

export const noteChanges = (compiled: Compiled, noted: Changes): void => void changes.set(compiled, noted);

/** As against the compile before, whatever that was; null when nothing was noted. */
export const changesOf = (compiled: Compiled): Changes | null => changes.get(compiled) ?? null;

/** Null unless `next` was compiled right after `before`, with the same memo. */
export function changesSince(before: Compiled | null, next: Compiled): Changes | null {
  const noted = changes.get(next);
  const mark = before === null ? undefined : changes.get(before)?.mark;
  return noted !== undefined && noted.since !== null && noted.since === mark ? noted : null;
}
