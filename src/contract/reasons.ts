/**
 * The one vocabulary of outcomes: metrics, access log, `proxy-status` and the admin API all speak it.
 * A new reason is added here and nowhere else; the reference page is generated from this table.
 */
export interface ReasonFacts {
  /** The status of the answer of our own, or 0 where there is none (the client is gone, or the backend's answer stands). */
  readonly status: number;
  /** The registered `error=` token of RFC 9209 s2.3, or null where it has none. */
  readonly proxyStatus: string | null;
  /** One line for the reference page: what happened, and what to look at. */
  readonly help: string;
}

export const REASONS = {
  ok: { status: 0, proxyStatus: null, help: 'The backend answered and the answer was delivered.' },
  no_route: {
    status: 404,
    proxyStatus: 'destination_not_found',
    help: 'No Upstream matches host, path, method, headers and query. `spooky explain` says why.',
  },
  no_endpoint: { status: 503, proxyStatus: 'destination_unavailable', help: 'The chosen backend group has no endpoint.' },
  reference_unresolved: {
    status: 500,
    proxyStatus: 'proxy_configuration_error',
    help: 'A reference of the Upstream (certificate, CA, Service) cannot be resolved.',
  },
  connect_refused: { status: 502, proxyStatus: 'connection_refused', help: 'The endpoint refused the TCP connection or is unreachable.' },
  connect_timeout: { status: 504, proxyStatus: 'connection_timeout', help: 'No connection to the endpoint within `timeouts.connect`.' },
  tls_failed: {
    status: 502,
    proxyStatus: 'tls_protocol_error',
    help: 'TLS to the endpoint failed: certificate, name, or ALPN without h2.',
  },
  backend_reset: { status: 502, proxyStatus: 'http_response_incomplete', help: 'The endpoint reset the stream.' },
  backend_protocol_error: { status: 502, proxyStatus: 'http_protocol_error', help: 'The endpoint broke the rules of HTTP/2.' },
  backend_closed: {
    status: 502,
    proxyStatus: 'connection_terminated',
    help: 'The endpoint closed the connection before its answer was complete.',
  },
  backend_not_http2: {
    status: 502,
    proxyStatus: 'http_protocol_error',
    help: 'The endpoint speaks HTTP/1.x: it must speak HTTP/2 (`protocol: H2C` with prior knowledge, or `H2`).',
  },
  response_timeout: { status: 504, proxyStatus: 'http_response_timeout', help: 'No response headers within `timeouts.response`.' },
  idle_timeout: { status: 504, proxyStatus: 'connection_read_timeout', help: 'No byte from the endpoint within `timeouts.idle`.' },
  header_timeout: { status: 408, proxyStatus: null, help: 'The request head was not complete within `limits.headerTimeout`.' },
  body_timeout: { status: 408, proxyStatus: null, help: 'No byte of the upload within `limits.bodyIdleTimeout`.' },
  method_not_supported: {
    status: 501,
    proxyStatus: 'http_request_denied',
    help: 'CONNECT and upgrades are not supported, nor OPTIONS and TRACE whose `max-forwards` ends here.',
  },
  misdirected: {
    status: 421,
    proxyStatus: 'http_request_denied',
    help: 'The host is not one that this connection’s certificate may serve.',
  },
  loop: { status: 508, proxyStatus: 'proxy_loop_detected', help: 'The request has passed this installation already (its own `via`).' },
  overload: {
    status: 503,
    proxyStatus: 'connection_limit_reached',
    help: 'Not used yet: a worker that has too much to do refuses connections, not requests.',
  },
  request_timeout: { status: 504, proxyStatus: 'http_response_timeout', help: 'The whole exchange took longer than `timeouts.request`.' },
  client_reset: { status: 0, proxyStatus: null, help: 'The client cancelled the request.' },
  client_closed: { status: 0, proxyStatus: null, help: 'The client’s connection ended before the answer was complete.' },
  client_idle: { status: 0, proxyStatus: null, help: 'The client did not read the answer within `limits.responseStall`.' },
  malformed_request: {
    status: 400,
    proxyStatus: 'http_request_error',
    help: 'The request is malformed or against the path, authority or header policy.',
  },
  malformed_response: { status: 502, proxyStatus: 'http_protocol_error', help: 'The endpoint’s answer is malformed.' },
  body_too_large: { status: 413, proxyStatus: 'http_request_error', help: 'The request body exceeds `limits.requestBody`.' },
  headers_too_large: {
    status: 431,
    proxyStatus: 'http_request_error',
    help: 'The request head exceeds `limits.headerBytes` or `limits.headerCount`.',
  },
  limit_connections: {
    status: 503,
    proxyStatus: 'connection_limit_reached',
    help: 'Not used yet: who is beyond `limits.connections` has no connection to answer on.',
  },
  limit_streams: {
    status: 503,
    proxyStatus: 'connection_limit_reached',
    help: 'Not used yet: beyond `quic.maxStreams` a client cannot begin a request.',
  },
  limit_pending: {
    status: 503,
    proxyStatus: 'connection_limit_reached',
    help: 'More than `limits.pending` requests wait for a backend stream.',
  },
  draining: {
    status: 503,
    proxyStatus: null,
    help: 'The worker or the listener is draining: it takes no more, or its time to finish is over.',
  },
  filter: { status: 403, proxyStatus: 'http_request_denied', help: 'Not used yet: there are no filters.' },
  unexpected_status: { status: 0, proxyStatus: null, help: 'A health check got a status that is not among its `statuses`.' },
  internal: { status: 500, proxyStatus: 'proxy_internal_error', help: 'A defect of ours; the log has the place.' },
} as const satisfies Record<string, ReasonFacts>;

export type Reason = keyof typeof REASONS;

export const REASON_NAMES = Object.keys(REASONS) as readonly Reason[];
