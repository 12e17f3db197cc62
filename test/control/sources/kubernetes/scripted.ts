/** An API whose answers a test writes, one after the other. */
import type { ApiAnswer, ApiError, ApiRequest, KubeApi, StreamEnd, StreamOptions } from '../../../../src/control/sources/kubernetes/api.ts';
import { apiError } from '../../../../src/control/sources/kubernetes/answers.ts';
import type { ApiErrorKind } from '../../../../src/control/sources/kubernetes/api.ts';

/** Promises run to their end; no timer is needed for that. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await Promise.resolve();
};

export const failure = (kind: ApiErrorKind, status = 0, more: Partial<ApiError> = {}): ApiError => ({
  ...apiError(kind, `scripted ${kind}`, status),
  ...more,
});

export class ScriptedStream {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly options: StreamOptions;
  ended = false;
  private readonly resolve: (end: StreamEnd) => void;

  constructor(path: string, options: StreamOptions, resolve: (end: StreamEnd) => void) {
    this.path = path;
    this.query = new URL(path, 'https://api.test').searchParams;
    this.options = options;
    this.resolve = resolve;
  }

  get aborted(): boolean {
    return this.options.signal.aborted;
  }

  open(): this {
    this.options.onOpen();
    return this;
  }

  line(text: string): this {
    this.options.onLine(Buffer.from(text));
    return this;
  }

  event(type: string, object: unknown): this {
    return this.line(JSON.stringify({ type, object }));
  }

  bookmark(version: string): this {
    return this.event('BOOKMARK', { metadata: { resourceVersion: version } });
  }

  /** The end of the list at the beginning of a stream. */
  listed(version: string): this {
    return this.event('BOOKMARK', { metadata: { resourceVersion: version, annotations: { 'k8s.io/initial-events-end': 'true' } } });
  }

  async end(end: StreamEnd = null): Promise<void> {
    this.ended = true;
    this.resolve(end);
    await settle();
  }
}

export class ScriptedRequest {
  readonly request: ApiRequest;
  readonly query: URLSearchParams;
  private readonly resolve: (answer: ApiAnswer) => void;

  constructor(request: ApiRequest, resolve: (answer: ApiAnswer) => void) {
    this.request = request;
    this.query = new URL(request.path, 'https://api.test').searchParams;
    this.resolve = resolve;
  }

  async answer(body: unknown): Promise<void> {
    this.resolve({ ok: true, status: 200, body });
    await settle();
  }

  async page(version: string, items: readonly unknown[] | null, next = ''): Promise<void> {
    await this.answer({ metadata: { resourceVersion: version, ...(next === '' ? {} : { continue: next }) }, items });
  }

  async fail(error: ApiError): Promise<void> {
    this.resolve({ ok: false, error });
    await settle();
  }
}

export class ScriptedApi implements KubeApi {
  readonly streams: ScriptedStream[] = [];
  readonly requests: ScriptedRequest[] = [];
  /** An aborted stream tells its end only when the test says so. */
  slowToAbort = false;

  request(request: ApiRequest): Promise<ApiAnswer> {
    return new Promise((resolve) => {
      this.requests.push(new ScriptedRequest(request, resolve));
      request.signal?.addEventListener('abort', () => resolve({ ok: false, error: apiError('aborted', 'aborted') }));
    });
  }

  stream(path: string, options: StreamOptions): Promise<StreamEnd> {
    return new Promise((resolve) => {
      this.streams.push(new ScriptedStream(path, options, resolve));
      options.signal.addEventListener('abort', () => {
        if (!this.slowToAbort) resolve(apiError('aborted', 'aborted'));
      });
    });
  }

  close(): void {}

  get last(): ScriptedStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('no stream was opened');
    return stream;
  }

  get lastRequest(): ScriptedRequest {
    const request = this.requests.at(-1);
    if (request === undefined) throw new Error('nothing was requested');
    return request;
  }
}
