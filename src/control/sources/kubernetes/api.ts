/** What the rest of this folder knows of an API server: bounded requests and streams of lines. `client.ts` speaks it over `node:https`. */

/** Where the objects of a kind are. */
export interface ResourceKind {
  /** As in metrics and messages: `Upstream`, `EndpointSlice`. */
  readonly kind: string;
  /** '' for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
}

/** `/api/v1/...` or `/apis/GROUP/VERSION/...`, of one namespace or of all (null). */
export const collectionPath = ({ group, version, plural }: ResourceKind, namespace: string | null): string =>
  `${group === '' ? '/api' : `/apis/${group}`}/${version}${namespace === null ? '' : `/namespaces/${namespace}`}/${plural}`;

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With its query. */
  readonly path: string;
  /** Written as JSON. */
  readonly body?: unknown;
  /** For PATCH: `application/apply-patch+yaml` (which takes JSON), `application/merge-patch+json`, ... */
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

export type ApiErrorKind =
  | 'gone'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'invalid'
  | 'throttled'
  | 'server'
  | 'timeout'
  | 'connection'
  | 'malformed'
  | 'too_large'
  | 'aborted';

export interface ApiError {
  readonly kind: ApiErrorKind;
  /** 0 when there was no answer. */
  readonly status: number;
  /** The Status object's message, or what the socket said; at most 1 kB, control characters escaped. */
  readonly message: string;
  /** The Status object's reason: `Expired`, `AlreadyExists`, ...; '' without one. */
  readonly reason: string;
  /** What `Retry-After` asks for. */
  readonly retryAfterMs: number | null;
}

export type ApiAnswer =
  { readonly ok: true; readonly status: number; readonly body: unknown } | { readonly ok: false; readonly error: ApiError };

/** How a stream ended; null: in order. */
export type StreamEnd = ApiError | null;

export interface KubeApi {
  /** Never throws and never rejects: what goes wrong is an answer. Bounded in time and size. */
  request(request: ApiRequest): Promise<ApiAnswer>;
  /**
   * Opens a stream of lines (a watch). `onLine` gets each line without its end, as a view that is valid until it returns; what it throws ends the
   * stream as `malformed`. Resolves when the stream has ended, for whatever reason.
   */
  stream(path: string, options: StreamOptions): Promise<StreamEnd>;
  /** Ends every request and stream, and every timer. */
  close(): void;
}

export interface StreamOptions {
  readonly signal: AbortSignal;
  readonly accept?: string;
  /** Without a byte for so long, the stream is ended as `timeout`. */
  readonly silenceMs: number;
  /** The headers are there: the server has accepted the watch. */
  readonly onOpen: () => void;
  readonly onLine: (line: Buffer) => void;
}
