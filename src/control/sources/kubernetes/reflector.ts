/**
 * Follows the objects of one kind, as in client-go's Reflector: a list, then a watch from its version on, and both again when the server says so.
 *
 *     sync ──complete──> watch ──end, silence──> watch from the last version
 *      ^                   └──410, malformed, out of order, each 6-12 h──┐
 *      └──────────────────── everything held stays until then ───────────┘
 *
 * Whatever the server sends, the handler sees whole lists and single changes in order, and keeps what it has while there is nothing better.
 */
import { apiError, messageOf } from './answers.ts';
import { collectionPath, type ApiError, type ApiErrorKind } from './api.ts';
import { Backoff, HEALTHY_MS, JITTER_MS, Outage } from './backoff.ts';
import type { ReflectorOptions, ReflectorState } from './handler.ts';
import { asObject, Held, type EventType } from './held.ts';
import { asPage, Listing, MAX_OBJECTS, type Page } from './listing.ts';
import { readPages } from './pages.ts';
import { Relists } from './relists.ts';
import { Session, type Outcome } from './session.ts';
import { Standing } from './standing.ts';
import { compareVersions } from './versions.ts';
import { parseEvent, type WatchEvent } from './watchevent.ts';

export { METADATA_ONLY } from './handler.ts';
export type { EventType, RawObject } from './held.ts';
export type { ReflectorHandler, ReflectorHooks, ReflectorOptions, ReflectorState, WatchErrorReason } from './handler.ts';

/** For a list the server wants the name of the list. */
const forLists = (accept: string): string => accept.replace('as=PartialObjectMetadata;', 'as=PartialObjectMetadataList;');

/** A connection that has become a black hole is noticed after so long. */
const SILENCE_MS = 50_000;
/**
 * The server ends a watch in order after so long, so that the next one takes the same connection: a kind of which nothing changes is never
 * silent for long, without new handshakes.
 */
const WATCH_SECONDS = 30;
const WATCH_SPREAD_SECONDS = 15;
/** A list takes as long as it takes. */
const LIST_SECONDS = 300;
const SHORT_MS = 1000;
const MAX_HUNG = 3;
const WORDLESS_MS = 10_000;
const NEVER = -1;

/** Errors after which the version is of no use, or cannot be trusted. */
const NEEDS_LIST: ReadonlySet<ApiErrorKind> = new Set(['gone', 'malformed', 'too_large', 'invalid']);

export class Reflector<T> {
  private readonly o: ReflectorOptions<T>;
  private readonly path: string;
  private readonly standing: Standing<T>;
  private readonly backoff: Backoff;
  private readonly outage: Outage;
  private readonly relists: Relists;
  private running = false;
  private held = new Held();
  /** Where the watch goes on; null: a list is due. */
  private version: string | null = null;
  /** What any complete list has shown. */
  private listed: string | null = null;
  /** This server does not list by watch. */
  private paged = false;
  /** The watch cache's list was refused or too much: pages, from etcd. */
  private quorum = false;
  private watched = false;
  /** How long the last stream was open. */
  private lived = NEVER;
  private hung = 0;
  private isSynced = false;
  private session: Session<T> | null = null;
  private wake: (() => void) | null = null;

  constructor(o: ReflectorOptions<T>) {
    this.o = o;
    this.path = collectionPath(o.kind, o.namespace);
    this.standing = new Standing(o);
    this.backoff = new Backoff(o.random);
    this.outage = o.outage ?? new Outage();
    this.relists = new Relists(o, () => this.relist());
  }

  state(): ReflectorState {
    return { synced: this.isSynced, problem: this.standing.problem, lastHeardAt: this.standing.heardAt };
  }

  /** Once. */
  start(): void {
    this.running = true;
    void this.run();
  }

  /** Nothing is called any more from here on. */
  stop(): void {
    this.running = false;
    this.relists.stop();
    this.session?.end(null);
    this.wake?.();
  }

  /** Lists again now, and ends a pause. */
  relist(): void {
    if (!this.running) return;
    if (this.version !== null) {
      this.version = null;
      this.session?.end('relist');
    }
    this.wake?.();
  }

  private async run(): Promise<void> {
    while (this.running) {
      let pause: number;
      try {
        const outcome = await this.turn();
        if (!this.running) return;
        pause = this.settle(outcome);
      } catch (e) {
        // Ours, not the server's.
        this.o.log.error('a reflector failed', { kind: this.o.kind.kind, error: messageOf(e) });
        this.version = null;
        pause = this.backoff.next();
      }
      if (pause > 0 && this.running) await this.rest(pause);
    }
  }

  private turn(): Promise<Outcome> {
    this.lived = NEVER;
    if (this.version !== null) return this.watch(this.version);
    return this.paged ? this.list() : this.stream({ sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan' }, new Listing());
  }

  private watch(version: string): Promise<Outcome> {
    if (this.watched) this.o.hooks.reconnect(this.o.kind.kind);
    return this.stream({ resourceVersion: version }, null);
  }

  private query(parameters: Readonly<Record<string, string>>): string {
    const more = this.o.query === undefined || this.o.query === '' ? '' : `&${this.o.query}`;
    return `${this.path}?${new URLSearchParams(parameters).toString()}${more}`;
  }

  // ---- a list, by pages

  private async list(): Promise<Outcome> {
    // The first one may be old, and is cheap; a later one must not be older than what was seen.
    const first = this.listed === null && !this.quorum;
    const read = await readPages<T>(first ? { resourceVersion: '0' } : {}, {
      page: (parameters) => this.page(parameters),
      take: (listing, item) => this.take(listing, item),
      running: () => this.running,
    });
    if (!this.running) return null;
    if ('listing' in read) return this.complete(read.listing, read.version);
    if (read.kind === 'too_large' || read.reason === 'ResourceVersionTooLarge') this.quorum = true;
    return read;
  }

  private async page(parameters: Readonly<Record<string, string>>): Promise<Page | ApiError> {
    const answer = await this.o.api.request({
      method: 'GET',
      path: this.query(parameters),
      ...this.accept(true),
      signal: this.begin(null).controller.signal,
    });
    if (!answer.ok) return answer.error;
    if (!this.running) return apiError('aborted', 'stopped');
    this.standing.heard();
    this.outage.over();
    return asPage(answer.body) ?? apiError('malformed', 'the answer is not a list', answer.status);
  }

  private accept(list: boolean): { accept?: string } {
    const { accept } = this.o;
    return accept === undefined ? {} : { accept: list ? forLists(accept) : accept };
  }

  private begin(listing: Listing<T> | null): Session<T> {
    this.standing.anew();
    this.session = new Session(listing);
    return this.session;
  }

  private take(listing: Listing<T>, item: unknown): void {
    const object = asObject(item);
    if (object === null) return this.standing.odd('an object without a name, uid or version');
    if (listing.full) return this.standing.odd('there are more than can be held');
    try {
      listing.add(object, this.o.handler.project(object));
    } catch (e) {
      this.standing.odd(messageOf(e));
    }
  }

  private complete(listing: Listing<T>, version: string): Outcome {
    const { hooks, kind, handler, log } = this.o;
    if (this.listed !== null && compareVersions(version, this.listed) < 0)
      log.warn('the API server has gone back in time', { kind: kind.kind, from: this.listed, to: version });
    try {
      handler.replaced(listing.objects());
    } catch (e) {
      log.error('a list was not taken', { kind: kind.kind, error: messageOf(e) });
      return apiError('malformed', messageOf(e));
    }
    if (!this.running) return null;
    listing.held.complete(version);
    this.held = listing.held;
    this.version = this.listed = version;
    this.isSynced = true;
    this.watched = false;
    hooks.list(kind.kind);
    hooks.synced(kind.kind, true);
    this.standing.recovered();
    this.relists.listed();
    return 'listed';
  }

  // ---- a stream of events, with the list at its beginning or not

  private async stream(parameters: Readonly<Record<string, string>>, listing: Listing<T> | null): Promise<Outcome> {
    const session = this.begin(listing);
    const seconds = listing === null ? WATCH_SECONDS + Math.floor(this.o.random() * WATCH_SPREAD_SECONDS) : LIST_SECONDS;
    const path = this.query({ watch: 'true', allowWatchBookmarks: 'true', timeoutSeconds: String(seconds), ...parameters });
    const end = await this.o.api.stream(path, {
      signal: session.controller.signal,
      silenceMs: SILENCE_MS,
      ...this.accept(false),
      onOpen: () => this.opened(session),
      onLine: (line) => this.line(session, line),
    });
    session.over = true;
    this.lived = session.openedAt === null ? NEVER : this.o.clock.now() - session.openedAt;
    const outcome = session.verdict === undefined ? end : session.verdict;
    if (listing !== null) return this.unlisted(session, outcome);
    return this.isWordless(session, outcome) ? this.compare(outcome) : this.hang(session, outcome);
  }

  private isWordless({ spoke }: Session<T>, outcome: Outcome): boolean {
    if (spoke || this.lived < WORDLESS_MS) return false;
    return this.running && (outcome === null || (typeof outcome === 'object' && outcome.kind === 'timeout'));
  }

  /**
   * Not even a bookmark: nothing has changed on a server that sends few of them, or our version is from the future (the cluster was restored
   * from a backup), from which a server watches without a word. The version of a list says which; one object will do for that.
   */
  private async compare(outcome: Outcome): Promise<Outcome> {
    const page = await this.page({ limit: '1' });
    if (!this.running || this.version === null || 'kind' in page || compareVersions(page.version, this.version) >= 0) return outcome;
    this.version = null;
    return 'relist';
  }

  private opened(session: Session<T>): void {
    if (session.over) return;
    session.openedAt = this.o.clock.now();
    this.standing.heard();
    this.outage.over();
    if (this.standing.outage) this.backoff.hope();
    if (session.listing !== null) return;
    this.watched = true;
    this.hung = 0;
    this.standing.recovered();
  }

  /** Some servers do not even answer a version from the future. */
  private hang(session: Session<T>, outcome: Outcome): Outcome {
    if (session.openedAt !== null || typeof outcome !== 'object' || outcome?.kind !== 'timeout') return outcome;
    if (++this.hung < MAX_HUNG) return outcome;
    this.hung = 0;
    this.version = null;
    return outcome;
  }

  /** A stream that should have begun with a list. */
  private unlisted(session: Session<T>, outcome: Outcome): Outcome {
    if (session.listing === null) {
      // This stream is longer than others, so that its silence says nothing.
      return typeof outcome === 'object' && outcome?.kind === 'timeout' ? null : outcome;
    }
    const error = typeof outcome === 'object' ? outcome : null;
    // Refused; or not understood, so that the end of the list never came; or a line that is too long for a stream.
    if (error?.kind === 'invalid' || error?.kind === 'too_large') this.paged = true;
    else if (session.openedAt !== null && (outcome === null || error?.kind === 'timeout')) this.paged = true;
    else return outcome;
    this.o.log.debug('lists come by pages', { kind: this.o.kind.kind, reason: error === null ? 'unmarked' : error.message });
    return error?.kind === 'invalid' || outcome === null ? 'relist' : outcome;
  }

  private line(session: Session<T>, line: Buffer): void {
    if (session.over || line.length === 0) return;
    session.spoke = true;
    this.standing.heard();
    let event: WatchEvent | null;
    try {
      event = parseEvent(line);
    } catch (e) {
      return session.end(apiError('malformed', messageOf(e)));
    }
    this.o.hooks.event(this.o.kind.kind);
    if (event === null) return session.end(apiError('malformed', 'an event of no known type'));
    if (event.type === 'ERROR') return session.end(event.error);
    if (session.listing !== null) this.duringList(session, session.listing, event);
    else if (event.type === 'BOOKMARK') this.advance(event.version);
    else this.change(event.type, event.object);
  }

  private duringList(session: Session<T>, listing: Listing<T>, event: Exclude<WatchEvent, { type: 'ERROR' }>): void {
    if (event.type === 'BOOKMARK') {
      if (!event.listed) return;
      const outcome = this.complete(listing, event.version);
      if (outcome !== 'listed') return session.end(outcome);
      session.listing = null;
      this.watched = true;
    } else if (event.type === 'DELETED') {
      const object = asObject(event.object);
      if (object !== null) listing.remove(object);
    } else {
      this.take(listing, event.object);
    }
  }

  private change(type: EventType, raw: unknown): void {
    const object = asObject(raw);
    if (object === null) return this.standing.odd('an object without a name, uid or version');
    const verdict = this.held.judge(type, object);
    if (verdict === 'late') return this.suspect();
    this.advance(object.metadata.resourceVersion, verdict !== 'echo');
    if (verdict === 'echo') return;
    if (this.held.size > MAX_OBJECTS) {
      this.held.drop(object.metadata);
      return this.standing.odd('there are more than can be held');
    }
    try {
      this.o.handler.changed(verdict, this.o.handler.project(object));
    } catch (e) {
      this.standing.odd(messageOf(e));
    }
  }

  private advance(version: string, news = true): void {
    if (this.version === null) return;
    const age = compareVersions(version, this.version);
    if (age > 0) this.version = version;
    else if (age < 0 && news) this.suspect();
  }

  /** The order is broken, so that something may be missing: a list soon. */
  private suspect(): void {
    this.o.hooks.error(this.o.kind.kind, 'malformed');
    const wait = this.relists.suspect();
    if (wait !== null) this.standing.disordered(wait);
  }

  // ---- after a turn

  /** Takes note of how a turn ended; how long to wait before the next one. */
  private settle(outcome: Outcome): number {
    if (outcome === 'listed' || outcome === 'relist') return 0;
    const { lived } = this;
    if (lived >= HEALTHY_MS) this.backoff.reset();
    else if (typeof outcome === 'object' && outcome?.kind === 'connection') this.backoff.despair();
    // In order, or silent: the next one goes on where it ended. Only a server that ends all of them at once is waited for.
    if (outcome === null) return lived >= SHORT_MS ? 0 : this.backoff.next();
    // The server is there again, if only to say that it is not ready.
    if (outcome.status > 0 && this.standing.outage) this.answered();
    this.standing.failed(outcome, this.version === null ? 'listed' : 'watched');
    // A version that is too old says nothing of the server's health: a list at once, unless that has just been tried.
    const tooOld = outcome.kind === 'gone' && this.version !== null && this.relists.age() >= HEALTHY_MS;
    if (NEEDS_LIST.has(outcome.kind) || outcome.reason === 'ResourceVersionTooLarge') this.version = null;
    if (tooOld) return this.o.random() * JITTER_MS;
    return outcome.kind === 'timeout' && lived >= HEALTHY_MS ? 0 : this.backoff.after(outcome);
  }

  private rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        takeBack();
        this.wake = null;
        resolve();
      };
      const cancel = this.o.clock.after(ms, done);
      const woken = (): void => {
        this.backoff.reset();
        done();
      };
      const takeBack = this.standing.outage ? this.outage.wait(woken) : () => {};
      this.wake = done;
    });
  }

  private answered(): void {
    this.backoff.reset();
    this.outage.over();
  }
}
