/** Headless Chromium behind the interface of the other clients: requests are made by script in a page that came over HTTP/3. */
import { createHash, X509Certificate } from 'node:crypto';
import type { Duplex, Readable, Writable } from 'node:stream';
import { Child } from './process.ts';
import { PeerError, type Answer, type Dial, type Failure, type RequestSpec } from './peers.ts';
import { temporaryFolder } from './spooky.ts';
import type { Ability, Client, Session } from './clients.ts';

/** What --ignore-certificate-errors-spki-list takes. */
export function spkiHash(certificate: string | Buffer): string {
  const der = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('base64');
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

export interface ChromiumOptions {
  /** `host:port` of everything that is to be spoken to by HTTP/3; every name resolves to 127.0.0.1. */
  readonly origins: readonly string[];
  /** Certificates that it is to take although it knows no root for them. */
  readonly certificates: readonly (string | Buffer)[];
}

/** Chromium and its debugging protocol over two pipes: messages end with NUL. */
export class Browser {
  readonly child: Child;
  #next = 1;
  #pending = new Map<number, (message: Message) => void>();
  #listeners = new Set<(message: Message) => void>();

  constructor(options: ChromiumOptions) {
    const flags = [
      '--headless=new',
      '--no-sandbox', // it runs as root in the tests
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--disable-default-apps',
      '--disable-extensions',
      '--metrics-recording-only',
      '--enable-quic',
      `--user-data-dir=${temporaryFolder('spooky-chromium')}`,
      `--origin-to-force-quic-on=${options.origins.join(',')}`,
      '--host-resolver-rules=MAP * 127.0.0.1',
      `--ignore-certificate-errors-spki-list=${options.certificates.map(spkiHash).join(',')}`,
      '--remote-debugging-pipe',
      '--window-size=800,600',
      'about:blank',
    ];
    this.child = new Child('chromium', flags, { pipes: 2 });
    let rest = '';
    this.#input.on('error', () => undefined);
    this.#output.setEncoding('utf8');
    this.#output.on('data', (text: string) => {
      const parts = (rest + text).split('\0');
      rest = parts.pop() ?? '';
      for (const part of parts) this.#take(JSON.parse(part) as Message);
    });
    void this.child.exited.then(() => {
      for (const resolve of this.#pending.values()) resolve({ error: { message: `chromium ended\n${this.child.tail()}` } });
      this.#pending.clear();
    });
  }

  get #input(): Writable {
    return this.child.process.stdio[3] as Duplex;
  }

  get #output(): Readable {
    return this.child.process.stdio[4] as Duplex;
  }

  send(method: string, params: Record<string, unknown> = {}, sessionId?: string): Promise<Record<string, unknown>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, (message) => {
        if (message.error !== undefined) reject(new Error(`${method}: ${message.error.message}`));
        else resolve(message.result ?? {});
      });
      this.#input.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  listen(listener: (message: Message) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async page(): Promise<Page> {
    // A context of its own: connections and certificates of other pages are not reused.
    const { browserContextId } = await this.send('Target.createBrowserContext');
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, String(sessionId), String(browserContextId));
    await page.send('Page.enable');
    await page.send('Network.enable');
    return page;
  }

  #take(message: Message): void {
    if (message.id !== undefined) {
      const resolve = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      resolve?.(message);
      return;
    }
    for (const listener of this.#listeners) listener(message);
  }
}

export class Page {
  readonly browser: Browser;
  readonly sessionId: string;
  readonly contextId: string;
  origin = '';
  /** The certificate of the document as the network layer saw it, base64 of DER. */
  certificate = '';
  /** ALPN of each response, in order. */
  readonly protocols: string[] = [];

  constructor(browser: Browser, sessionId: string, contextId: string) {
    this.browser = browser;
    this.sessionId = sessionId;
    this.contextId = contextId;
    browser.listen((message) => {
      if (message.sessionId !== sessionId || message.method !== 'Network.responseReceived') return;
      const response = message.params?.['response'] as { protocol?: string } | undefined;
      this.protocols.push(String(response?.protocol));
    });
  }

  send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    return this.browser.send(method, params, this.sessionId);
  }

  /** Navigates and waits for the load event; an error of the network layer is thrown by its name (ERR_...). */
  async goto(url: string): Promise<void> {
    const loaded = new Promise<void>((resolve) => {
      const off = this.browser.listen((message) => {
        if (message.sessionId !== this.sessionId || message.method !== 'Page.loadEventFired') return;
        off();
        resolve();
      });
    });
    const result = await this.send('Page.navigate', { url });
    if (result['errorText'] !== undefined) {
      throw new PeerError({ kind: 'other', code: 0, remote: false, text: String(result['errorText']) });
    }
    await loaded;
    this.origin = new URL(url).origin;
    const { tableNames } = (await this.send('Network.getCertificate', { origin: this.origin })) as { tableNames?: string[] };
    this.certificate = tableNames?.[0] ?? '';
  }

  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** A PNG of what a person would see. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(String(data), 'base64');
  }

  async close(): Promise<void> {
    await this.browser.send('Target.disposeBrowserContext', { browserContextId: this.contextId });
  }
}

/** One request by fetch: runs in the page, so it stands alone. */
async function exchange(spec: RequestSpec): Promise<Record<string, unknown>> {
  const hex = (bytes: ArrayBuffer): string => [...new Uint8Array(bytes)].map((b) => b.toString(16).padStart(2, '0')).join('');
  const hash = async (parts: Uint8Array<ArrayBuffer>[]): Promise<string> =>
    hex(await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer()));
  const makeBody = (size: number): Blob => {
    const block = new Uint8Array(65521);
    let x = 2463534242;
    for (let i = 0; i < block.length; i++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      block[i] = x & 0xff;
    }
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for (let left = size; left > 0; left -= block.length) parts.push(left < block.length ? block.subarray(0, left) : block);
    return new Blob(parts);
  };
  const started = performance.now();
  const abort = new AbortController();
  const limit = setTimeout(() => abort.abort(), spec.cancelMs ?? spec.timeoutMs ?? 60_000);
  const answer: Record<string, unknown> = {
    interim: [],
    trailers: [],
    headers: [],
    size: 0,
    sha256: '',
    sent: null,
    status: 0,
    cancelled: false,
  };
  try {
    const body = spec.body === undefined ? undefined : makeBody(spec.body);
    if (body !== undefined) answer['sent'] = await hash([new Uint8Array(await body.arrayBuffer())]);
    const response = await fetch(spec.path, {
      method: spec.method ?? 'GET',
      headers: (spec.headers ?? []).map(([name, value]) => [name, value] as [string, string]),
      body: body ?? null,
      signal: abort.signal,
      cache: 'no-store',
    });
    answer['status'] = response.status;
    answer['headers'] = [...response.headers];
    answer['firstByteMs'] = performance.now() - started;
    const parts: Uint8Array<ArrayBuffer>[] = [];
    const reader = response.body?.getReader();
    let size = 0;
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
      if (done || value === undefined) break;
      size += value.length;
      answer['size'] = size;
      parts.push(value as Uint8Array<ArrayBuffer>);
      if (spec.cancelAfter !== undefined && size >= spec.cancelAfter) {
        abort.abort();
        answer['cancelled'] = true;
        break;
      }
      if (spec.readPauseMs !== undefined) await new Promise((resolve) => setTimeout(resolve, spec.readPauseMs));
    }
    answer['sha256'] = await hash(parts);
    answer['text'] = parts[0] === undefined ? '' : new TextDecoder().decode(parts[0].subarray(0, 8192));
  } catch (cause) {
    const kind = abort.signal.aborted ? (spec.cancelMs === undefined ? 'timeout' : 'cancelled') : 'other';
    if (answer['cancelled'] !== true) answer['error'] = { kind, code: 0, remote: false, text: String(cause) };
  } finally {
    clearTimeout(limit);
  }
  answer['ms'] = performance.now() - started;
  return answer;
}

const script = (requests: readonly RequestSpec[]): string => `Promise.all(${JSON.stringify(requests)}.map(${exchange.toString()}))`;

export class Chromium implements Client {
  readonly name = 'Chromium';
  readonly can: ReadonlySet<Ability> = new Set<Ability>(['sessions', 'slowReader']);
  readonly earlyAnswerTries = 12;
  readonly readsAhead = 64 << 20;
  readonly browser: Browser;

  constructor(options: ChromiumOptions) {
    this.browser = new Browser(options);
  }

  async open(dial: Dial): Promise<Session> {
    const page = await this.#page(dial);
    const der = Buffer.from(page.certificate, 'base64');
    const attempt = async (request: RequestSpec): Promise<Answer> => (await this.#run(page, [request]))[0] as Answer;
    return {
      certificate: createHash('sha256').update(der).digest('hex'),
      attempt,
      request: async (request) => {
        const answer = await attempt(request);
        if (answer.error !== undefined) throw new PeerError(answer.error);
        return answer;
      },
      close: () => page.close(),
    };
  }

  async parallel(dial: Dial, requests: readonly RequestSpec[]): Promise<readonly Answer[]> {
    const page = await this.#page(dial);
    try {
      return await this.#run(page, requests);
    } finally {
      await page.close();
    }
  }

  async stop(): Promise<void> {
    await this.browser.child.stop(5000);
  }

  async #page(dial: Dial): Promise<Page> {
    const page = await this.browser.page();
    const port = dial.address.slice(dial.address.lastIndexOf(':') + 1);
    await page.goto(`https://${dial.name}:${port}/`);
    return page;
  }

  async #run(page: Page, requests: readonly RequestSpec[]): Promise<Answer[]> {
    page.protocols.length = 0;
    const answers = await page.evaluate<Answer[]>(script(requests));
    const other = page.protocols.filter((protocol) => protocol !== 'h3');
    if (other.length === 0) return answers;
    const error: Failure = { kind: 'other', code: 0, remote: false, text: `Chromium spoke ${other.join(', ')}` };
    return answers.map((answer) => ({ ...answer, error }));
  }
}
