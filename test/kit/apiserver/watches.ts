/** Watches: what was before, then what happens, as lines of JSON that faults may spoil on their way. */
import type { ServerResponse } from 'node:http';
import { isPlain, apiVersionOf, type Kind, type KubeObject, type Plain } from './model.ts';
import { METADATA_ONLY, metadataOnly, parseVersion } from './reads.ts';
import type { Predicate } from './selectors.ts';
import { expired, tooLargeVersion, type StatusBody } from './status.ts';
import type { Change, ChangeType, Store } from './store.ts';

export interface WatchOptions {
  readonly resourceVersion: string;
  readonly sendInitialEvents: boolean;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number;
  readonly metadata: boolean;
  readonly bookmarkMs: number;
}

const FUTURE_MS = 3000;
/** The last bookmark comes so long before the end. */
const LAST_BOOKMARK_MS = 2000;

/** What may happen to the lines of a stream. */
export interface LineFaults {
  /** The texts to write now for this line: as it is, twice, later, in pieces. */
  lines(line: string, stream: WatchStream): readonly (string | Buffer)[];
}

export class WatchStream {
  readonly kind: Kind;
  readonly path: string;
  /** For faults: a line that waits for the next one. */
  held: string | null = null;
  readonly #response: ServerResponse;
  readonly #options: WatchOptions;
  readonly #accepts: Predicate | null;
  readonly #store: Store;
  readonly #faults: LineFaults;
  readonly #timers: NodeJS.Timeout[] = [];
  #unwatch: (() => void) | null = null;
  #rv: number;
  /** Changes up to this version are not told. */
  #from = 0;
  #frozen = false;
  #ended = false;
  onEnd: () => void = () => undefined;

  constructor(
    response: ServerResponse,
    path: string,
    store: Store,
    kind: Kind,
    accepts: Predicate | null,
    options: WatchOptions,
    faults: LineFaults,
  ) {
    this.#response = response;
    this.path = path;
    this.#store = store;
    this.kind = kind;
    this.#accepts = accepts;
    this.#options = options;
    this.#faults = faults;
    this.#rv = store.rv;
  }

  start(): void {
    const asked = parseVersion(this.#options.resourceVersion);
    this.#response.on('close', () => this.#close());
    this.#open();
    if (asked !== null && asked > this.#store.rv) return this.#future(asked);
    if (this.#options.sendInitialEvents) this.#initial(true);
    else if (asked === null || asked === 0) this.#initial(false);
    else if (!this.#replay(asked)) return;
    this.#run();
  }

  /** Nothing more is written, as if the way were gone. */
  freeze(): void {
    this.#frozen = true;
  }

  error(body: StatusBody): void {
    this.#line({ type: 'ERROR', object: body });
    this.end();
  }

  /** Half of a line, and then nothing of the rest. */
  half(): void {
    const line = this.#text({ type: 'BOOKMARK', object: this.#bookmarkObject() });
    this.#response.write(line.slice(0, Math.floor(line.length / 2)), () => this.cut());
  }

  raw(text: string | Buffer): void {
    if (!this.#ended) this.#response.write(text);
  }

  cut(): void {
    this.#response.destroy();
    this.#close();
  }

  /** In order. */
  end(): void {
    if (this.#ended) return;
    this.#close();
    this.#response.end();
  }

  bookmark(initialEventsEnd = false): void {
    if (this.#options.bookmarks && this.#store.rv >= this.#from)
      this.#line({ type: 'BOOKMARK', object: this.#bookmarkObject(initialEventsEnd) });
  }

  #open(): void {
    this.#response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    this.#response.flushHeaders();
  }

  /** Silence until the version has come; who wants a list of it is told that it did not. */
  #future(asked: number): void {
    this.#from = asked;
    if (!this.#options.sendInitialEvents) return this.#run();
    const timer = setTimeout(() => this.error(tooLargeVersion(asked, this.#store.rv).body), FUTURE_MS);
    this.#timers.push(timer);
  }

  #initial(marked: boolean): void {
    for (const object of this.#store.all(this.kind)) {
      if (this.#accepts === null || this.#accepts(object)) this.#event('ADDED', object);
    }
    if (marked) this.bookmark(true);
  }

  #replay(rv: number): boolean {
    const changes = this.#store.since(this.kind, rv);
    if (changes === null) {
      this.error(expired(`too old resource version: ${rv} (${this.#store.oldest(this.kind)})`).body);
      return false;
    }
    for (const change of changes) this.#change(change);
    return true;
  }

  #run(): void {
    const { timeoutSeconds, bookmarkMs } = this.#options;
    this.#unwatch = this.#store.watch(this.kind, (change) => this.#change(change));
    this.#timers.push(setInterval(() => this.bookmark(), bookmarkMs));
    this.#timers.push(setTimeout(() => this.end(), timeoutSeconds * 1000));
    if (timeoutSeconds * 1000 > LAST_BOOKMARK_MS)
      this.#timers.push(setTimeout(() => this.bookmark(), timeoutSeconds * 1000 - LAST_BOOKMARK_MS));
  }

  /** What a selector makes of a change: an object that stops matching is deleted for this watcher. */
  #change({ type, object, previous, rv }: Change): void {
    if (rv <= this.#from) return;
    this.#rv = rv;
    const accepts = this.#accepts;
    if (accepts === null) return this.#event(type, object);
    const was = previous !== null && accepts(previous);
    const is = type !== 'DELETED' && accepts(object);
    if (is) this.#event(was ? 'MODIFIED' : 'ADDED', object);
    else if (was && previous !== null) {
      const last = type === 'DELETED' ? object : { ...previous, metadata: { ...previous.metadata, resourceVersion: String(rv) } };
      this.#event('DELETED', last);
    }
  }

  #event(type: ChangeType, object: KubeObject): void {
    this.#line({ type, object: this.#options.metadata ? metadataOnly(object) : object });
  }

  #bookmarkObject(initialEventsEnd = false): Plain {
    this.#rv = Math.max(this.#rv, this.#store.rv);
    const metadata = {
      resourceVersion: String(this.#rv),
      ...(initialEventsEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
    };
    if (this.#options.metadata) return { kind: 'PartialObjectMetadata', apiVersion: METADATA_ONLY, metadata };
    return { kind: this.kind.kind, apiVersion: apiVersionOf(this.kind), metadata };
  }

  #text(event: { type: string; object: unknown }): string {
    return `${JSON.stringify(event)}\n`;
  }

  #line(event: { type: string; object: unknown }): void {
    if (this.#frozen || this.#ended) return;
    const text = cached(event) ?? this.#text(event);
    for (const piece of this.#faults.lines(text, this)) this.#response.write(piece);
  }

  #close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#unwatch?.();
    for (const timer of this.#timers) clearTimeout(timer);
    this.onEnd();
  }
}

/** Many watchers get the same event: its text is made once. */
const texts = new WeakMap<object, Map<string, string>>();

function cached(event: { type: string; object: unknown }): string | null {
  if (!isPlain(event.object)) return null;
  let byType = texts.get(event.object);
  if (byType === undefined) texts.set(event.object, (byType = new Map()));
  let text = byType.get(event.type);
  if (text === undefined) byType.set(event.type, (text = `${JSON.stringify(event)}\n`));
  return text;
}
