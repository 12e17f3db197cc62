/** Plain HTTPS to an API server: requests, and watches as lines. It shares nothing with the client that is shipped. */
import { Agent, request, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';

export interface Endpoint {
  readonly url: string;
  /** PEM. */
  readonly ca: string;
  /** Of an administrator. */
  readonly token: string;
}

/** JSON, of which a case picks what it looks at. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export interface Answer {
  readonly status: number;
  readonly type: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Json;
}

export interface Asking {
  readonly body?: unknown;
  readonly type?: string;
  readonly accept?: string;
  /** null: none at all. */
  readonly token?: string | null;
  readonly timeoutMs?: number;
}

export interface WatchEvent {
  readonly type: string;
  readonly object: Json;
}

const BOUND_MS = 10_000;

export class Wire {
  readonly #endpoint: Endpoint;
  readonly #agent: Agent;
  #watches = new Set<Watching>();

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.#agent = new Agent({ keepAlive: true, ca: endpoint.ca, maxSockets: 16 });
  }

  ask(method: string, path: string, asking: Asking = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const body = asking.body === undefined ? null : typeof asking.body === 'string' ? asking.body : JSON.stringify(asking.body);
      const sent = request(this.#url(path), this.#options(method, asking, body), (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const type = String(response.headers['content-type'] ?? '');
          const text = Buffer.concat(chunks).toString();
          const answer = { status: response.statusCode ?? 0, type, headers: response.headers };
          resolve({ ...answer, body: type.startsWith('application/json') ? (JSON.parse(text) as Json) : text });
        });
      });
      sent.setTimeout(asking.timeoutMs ?? BOUND_MS, () => sent.destroy(new Error(`${method} ${path}: no answer`)));
      sent.on('error', reject);
      sent.end(body ?? undefined);
    });
  }

  /** The watch is open when this resolves, unless the answer is another one than 200. */
  watch(path: string, asking: Asking = {}): Watching {
    const sent = request(this.#url(path), this.#options('GET', asking, null));
    const watching = new Watching(sent, path);
    this.#watches.add(watching);
    sent.end();
    return watching;
  }

  endWatches(): void {
    for (const watching of this.#watches) watching.stop();
    this.#watches.clear();
  }

  close(): void {
    this.endWatches();
    this.#agent.destroy();
  }

  #url(path: string): URL {
    return new URL(path, this.#endpoint.url);
  }

  #options(method: string, { type, accept, token = this.#endpoint.token }: Asking, body: string | null): RequestOptions {
    return {
      method,
      agent: this.#agent,
      headers: {
        'user-agent': 'contract/1',
        accept: accept ?? 'application/json',
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === null ? {} : { 'content-type': type ?? 'application/json', 'content-length': String(Buffer.byteLength(body)) }),
      },
    };
  }
}

export class Watching {
  readonly events: WatchEvent[] = [];
  readonly #sent: ReturnType<typeof request>;
  readonly #path: string;
  #status = 0;
  #ended: 'in order' | 'torn' | null = null;
  /** What came after the last whole line. */
  rest = '';
  #body = '';
  #wakers = new Set<() => void>();

  constructor(sent: ReturnType<typeof request>, path: string) {
    this.#sent = sent;
    this.#path = path;
    sent.on('error', () => this.#end('torn'));
    sent.on('response', (response) => {
      this.#status = response.statusCode ?? 0;
      response.setEncoding('utf8');
      response.on('data', (text: string) => this.#data(text));
      response.on('end', () => this.#end(response.complete ? 'in order' : 'torn'));
      response.on('error', () => this.#end('torn'));
      this.#wake();
    });
  }

  get opened(): boolean {
    return this.#status !== 0;
  }

  /** Of a refusal. */
  async refusal(): Promise<Answer> {
    await this.#until(() => this.#ended !== null, 'an end');
    return { status: this.#status, type: '', headers: {}, body: JSON.parse(this.#body) as Json };
  }

  async open(): Promise<this> {
    await this.#until(() => this.#status !== 0, 'headers');
    return this;
  }

  /** The first `count` events that `take` takes; all but bookmarks unless told otherwise. */
  async first(count: number, take: (event: WatchEvent) => boolean = (event) => event.type !== 'BOOKMARK'): Promise<WatchEvent[]> {
    await this.#until(() => this.events.filter(take).length >= count || this.#ended !== null, `${count} events`);
    return this.events.filter(take).slice(0, count);
  }

  /** All until the one that `last` means, it included. */
  async until(last: (event: WatchEvent) => boolean): Promise<WatchEvent[]> {
    await this.#until(() => this.events.some(last) || this.#ended !== null, 'the last event');
    const index = this.events.findIndex(last);
    return index < 0 ? this.events : this.events.slice(0, index + 1);
  }

  async ended(): Promise<string> {
    await this.#until(() => this.#ended !== null, 'the end');
    return this.#ended ?? '';
  }

  stop(): void {
    this.#sent.destroy();
  }

  #data(text: string): void {
    if (this.#status !== 200) {
      this.#body += text;
      return;
    }
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) if (line !== '') this.events.push(JSON.parse(line) as WatchEvent);
    this.#wake();
  }

  #end(how: 'in order' | 'torn'): void {
    this.#ended ??= how;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
  }

  #until(done: () => boolean, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const check = (): void => {
        if (!done()) return;
        clearTimeout(timer);
        this.#wakers.delete(check);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#wakers.delete(check);
        reject(new Error(`${this.#path}: ${what} did not come; so far ${JSON.stringify(this.events).slice(0, 2000)}`));
      }, BOUND_MS);
      this.#wakers.add(check);
      check();
    });
  }
}
