/**
 * What HTTP/3 servers, HTTP/2 clients and the proxy between them say to each other. Plain calls in one worker:
 * buffers are lent until the callee returns, nothing here throws, and calls on something that has ended do nothing.
 */
import type { Reason } from '../../contract/reasons.ts';
import type { CloseReason, ConnInfo, ConnStats } from '../quic/engine.ts';
import type { Fields } from './fields.ts';
import type { KnownHead } from './known.ts';

export type { KnownHead } from './known.ts';

/** A request head that has passed RFC 9114 s4.1-4.3: pseudo-fields apart, `host` merged into `authority`. */
export interface RequestHead {
  method: string;
  scheme: string;
  /** As sent (after the syntax check); `''` when absent. */
  authority: string;
  /** `:path` as sent: policy and normalisation are the proxy's. */
  path: string;
  /** Without pseudo-fields and without `host`; cookie crumbs joined. */
  fields: Fields;
  /** The authority or the path came as never-indexed (RFC 9204 s7.1.3): kept so on every hop, as `Fields` does it. Absent: false. */
  neverIndexed?: boolean;
  /** -1 when absent. */
  contentLength: number;
  /** RFC 9218. */
  urgency: number;
  incremental: boolean;
  /** Decoded size, RFC 9114 s4.2.2. */
  bytes: number;
  /** When the first byte of the head arrived, on the worker's monotonic clock. */
  startedAt: number;
}

/** Why the server side of a request came to its end before the answer did; `stalled`: the client did not read it for too long. */
export type RequestAbort = 'reset' | 'stop' | 'stalled' | 'malformed' | 'closed' | 'drained';

/** The consumer of one request: what the HTTP/3 stream calls. After `onRequestAbort` it is called no more. */
export interface RequestHandler {
  onRequestBody(buf: Uint8Array, start: number, end: number): void;
  onRequestEnd(trailers: Fields | null): void;
  /** The stream is dead in both directions: cancel the backend now. Also when the answer was complete but the request was not. */
  onRequestAbort(abort: RequestAbort, code: number): void;
  /** After `write` gave false: there is room again. */
  onResponseWritable(): void;
  /** Every byte of the answer and its FIN were handed to the engine: the moment at which the exchange is over. */
  onResponseSent(): void;
}

/** One request stream of a client connection. */
export interface ServerStream {
  readonly id: number;
  readonly connection: ServerConnection;
  readonly head: RequestHead;
  /** Interim response, 1xx except 101. */
  inform(status: number, fields: Fields): void;
  /** The final head; `end` when nothing follows. */
  respond(status: number, fields: Fields, end: boolean): void;
  /** The final head as `encodeHead` has made it; a body follows, or `end`. */
  respondEncoded(frame: Uint8Array): void;
  /** Takes all bytes; false: wait for `onResponseWritable`. */
  write(buf: Uint8Array, start: number, end: number): boolean;
  end(trailers: Fields | null): void;
  /** RESET_STREAM, and STOP_SENDING when the request is not complete. Nothing is called afterwards. */
  reset(code: number): void;
  /** The answer does not need the rest of the request: STOP_SENDING H3_NO_ERROR (RFC 9114 s4.1), its bytes are ignored from now on. */
  ignoreRequest(): void;
  /** Stops and restarts `onRequestBody`; what has arrived in this turn may still come. */
  pause(): void;
  resume(): void;
  /** Bytes of body received and sent so far. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** One client connection. */
export interface ServerConnection {
  /** Textual address of the validated peer, without the port; changes only with the path. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Lower-case SNI, or null. */
  readonly sni: string | null;
  info(): ConnInfo;
  stats(): ConnStats;
  /** Whatever the application attached in `onConnection`. */
  data: unknown;
  /** RFC 9114 s5.2 in two steps; closes when the last stream is done. */
  drain(): void;
  close(code: number, reason: string): void;
}

/** What runs above the HTTP/3 server connections of one listener. */
export interface ServerApp {
  onConnection(c: ServerConnection): void;
  /**
   * A request head is complete. `rejection` is non-null when a limit was passed while reading it: the head then holds what was decoded,
   * the body is ignored, and the app answers with that reason. Returns the consumer of the rest.
   */
  onRequest(s: ServerStream, end: boolean, rejection: Reason | null): RequestHandler;
  /** A stream or connection error of the client: `code` is the error's RFC name, `rule` what the check is called (H1, P8, M4...). */
  onProtocolError(c: ServerConnection, scope: 'stream' | 'connection', code: string, rule: string): void;
  /** A limit of the listener was hit, named by its field (`headerBytes`, `requestsPerConnection`...). */
  onLimit(c: ServerConnection, limit: string): void;
  /** A header field was dropped by policy (`underscore`). */
  onFieldDropped(c: ServerConnection, reason: string): void;
  /** The client's address is another one, and validated; `host` and `port` are what it was. */
  onMove(c: ServerConnection, host: string, port: number): void;
  onClose(c: ServerConnection, why: CloseReason): void;
}

/** A failure towards a backend, as data. */
export interface BackendFailure {
  readonly reason: Reason;
  /** The backend has certainly not processed the request (RFC 9113 s8.7): it may be sent once more. */
  readonly unseen: boolean;
  /** For logs, never for clients. */
  readonly detail: string;
}

/** A request towards a backend, ready to be encoded: pseudo-fields first, then `fields` in order. */
export interface ClientRequest {
  method: string;
  scheme: string;
  authority: string;
  path: string;
  fields: Fields;
  /** That of the head. */
  neverIndexed?: boolean;
}

/** The consumer of one response. Exactly one of `onResponseEnd` and `onResponseFailure` comes, and nothing after it. */
export interface ResponseHandler {
  /** The stream is open on a connection: the request's body may be written. Comes before everything else. */
  onRequestSent(stream: ClientStream): void;
  /** 1xx, never 101. */
  onInform(status: number, fields: Fields): void;
  onResponse(status: number, fields: Fields): void;
  /** In the place of `onResponse`: the connection has brought the same head before. */
  onKnownResponse(known: KnownHead): void;
  onResponseBody(buf: Uint8Array, start: number, end: number): void;
  onResponseEnd(trailers: Fields | null): void;
  onResponseFailure(failure: BackendFailure): void;
  /** After `write` gave false: there is room again. */
  onRequestWritable(): void;
}

/** One stream on a backend connection. */
export interface ClientStream {
  /** Takes all bytes (held when flow control says so); false: wait for `onRequestWritable`. */
  write(buf: Uint8Array, start: number, end: number): boolean;
  end(trailers: Fields | null): void;
  /** RST_STREAM CANCEL (or NO_ERROR after a complete response). Nothing is called afterwards. */
  cancel(): void;
  /** Withholds and gives back flow control credit for the response body. */
  pause(): void;
  resume(): void;
}
