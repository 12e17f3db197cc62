/** The reference pages of metrics and reasons, from the tables that the counters and answers use. */
import { DURATION_BUCKETS, type MetricFacts } from '../../contract/cells.ts';
import { REASONS, type ReasonFacts } from '../../contract/reasons.ts';
import { METRICS, PREFIX } from '../../control/admin/metrics.ts';
import type { Drop, Outcome } from '../../edge/quic/engine.ts';

const escape = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
const code = (text: string): string => `\`${text}\``;

const metricRow = ([name, facts]: readonly [string, MetricFacts]): string =>
  `| ${code(PREFIX + name)} | ${facts.type} | ${facts.labels.map(code).join(' ')} | ${escape(facts.help)} |`;

const OUTCOMES: Readonly<Record<Outcome, string>> = {
  accepted: 'The handshake is done.',
  refused_limit:
    'Refused: `limits.connections`, `limits.connectionsPerAddress`, too many handshakes under way, or overload; the reason of the dropped datagram says which.',
  refused_draining: 'Refused: the process drains, or the listener has left this address.',
  handshake_timeout: 'Not done within `quic.handshakeTimeout`.',
  tls_failed: 'TLS or QUIC found an error, on either side: a client that does not accept the certificate, say.',
  alpn_failed: 'The client does not offer `h3`.',
  sni_rejected: 'No certificate covers the name, and `tls.unmatched` is `Reject`.',
  client_gone: 'The client gave up by itself.',
};

const DROPS: Readonly<Record<Drop, string>> = {
  empty: 'No byte in it.',
  malformed: 'No packet of QUIC.',
  short_initial: 'An Initial in less than 1200 bytes (RFC 9000 s14.1).',
  short_version: 'Of another version, in less than 1200 bytes: nothing is answered (RFC 9000 s5.2.2).',
  version_limited: 'Of another version, when enough of them have been answered in this second.',
  unknown_connection: 'Of no connection that is here (any more). A stateless reset may have been the answer.',
  token: 'A token that is not ours, not this address’s, or used up.',
  token_expired: 'A token that is too old.',
  address_limit: 'A newcomer beyond `limits.connectionsPerAddress`.',
  handshake_rate:
    'A newcomer beyond `limits.handshakesPerSecond`, or beyond [the part of its network](../operate/tuning.md#newcomers-of-one-network). It hears nothing, and tries again.',
  half_open:
    'A newcomer while 4096 handshakes, or as many as there may be connections, are under way; more datagrams of one handshake than are kept.',
  connections: 'A newcomer beyond `limits.connections`.',
  draining: 'A newcomer of a process that drains, or at an address that the listener has left.',
  foreign: 'Of another worker’s connection, which would have gone round, or for which there was no room.',
  batch: 'A newcomer that has waited for too long: [overload](../operate/tuning.md#overload).',
};

/** Labels whose values are few and closed; what is a reason is on a page of its own. */
const VALUES: readonly (readonly [string, string, string])[] = [
  ['requests_total', 'code', 'the status that was sent; `0`: none, the client was gone or is told by a reset'],
  ['backend_requests_total', 'code', 'the status of the backend; `0`: none came'],
  ['requests_total', 'upstream', 'empty: none was found'],
  ['quic_connection_closed_total', 'side', '`local`, `remote` (the client), `timeout` (idle), `reset` (a stateless one)'],
  [
    'quic_connection_closed_total',
    'code',
    'names of RFC 9000 s20.1, RFC 9114 s8.1 and RFC 9204 s6; `CRYPTO_ERROR` for the alerts of TLS; `other`; `timeout` and `reset` as the side',
  ],
  ['quic_datagrams_total', 'direction', '`in`, `out`; so `quic_bytes_total`'],
  ['quic_handover_datagrams_total', 'outcome', '`out`: `sent`, `dropped` (no room there, or nobody); `in`: `delivered`, `dropped`'],
  ['quic_path_changes_total', 'outcome', '`validated`'],
  ['limit_rejects_total', 'limit', 'a field of `limits` or `quic` of the Listener; `pending` once for each request that is refused'],
  ['protocol_errors_total', 'rule', 'a row of [hostile input](../security/hostile-input.md); `code` is the error of RFC 9114 or RFC 9204'],
  [
    'fields_dropped_total',
    'reason',
    '`hop_by_hop`, `forwarded` (who the client is, from a peer that is not trusted), `client_certificate`, `underscore` (in a name), `alt_svc`, `trailer` (which trailers may not have), `content_length` (of 1xx and 204)',
  ],
  ['backend_connections', 'state', '`open`, `connecting`'],
  ['health_checks_total', 'result', '`success`, `failure`'],
  ['certificate_expiry_timestamp_seconds', 'name', 'the Secret as `namespace/name`, or the file'],
  ['config_resources', 'accepted', '`true`, `false`'],
  ['log_lines_dropped_total', 'stream', '`log`, `access`'],
  ['worker_up', 'worker', 'from 0 on; the same for the process that replaces it'],
];

const valueRow = ([metric, label, means]: readonly [string, string, string]): string =>
  `| ${code(PREFIX + metric)} | ${code(label)} | ${escape(means)} |`;
const meaningRow = ([value, means]: readonly [string, string]): string => `| ${code(value)} | ${escape(means)} |`;

export const metricsPage = (): string => `# Metrics

<!-- Generated from src/contract/cells.ts and src/control/admin/metrics.ts: make generate -->

Served at \`/metrics\` of \`--metrics\` as Prometheus text, or OpenMetrics when the scraper asks for it. \`listener\` and \`upstream\` are \`namespace/name\`; no label has values that a client chooses.
Rows come into being on first use and go with their object. Counters of all workers are added up; a worker that was replaced makes none go backwards. \`--metrics-detail\` sets how fine rows are: with
\`listener\` the label \`upstream\` stays empty; rows per endpoint exist with \`endpoint\` (those of active health checks from \`upstream\` on).

Durations are in seconds, with the buckets ${DURATION_BUCKETS.join(' ')}. What \`reason\` says of requests, backends and health checks is one of [reasons](reasons.md); [below](#values-of-labels) is what the other labels say. Beside these there are \`process_*\` and \`nodejs_*\` of the main process.

| metric | type | labels | |
|---|---|---|---|
${Object.entries(METRICS).map(metricRow).join('\n')}

## Values of labels

| metric | label | values |
|---|---|---|
${VALUES.map(valueRow).join('\n')}

\`spooky_connections_total\`, \`outcome\`:

| outcome | |
|---|---|
${Object.entries(OUTCOMES).map(meaningRow).join('\n')}

\`spooky_quic_dropped_datagrams_total\`, \`reason\`. Each newcomer that is refused is also counted in \`spooky_connections_total\`, those of \`handshake_rate\` are not: they hear nothing.

| reason | |
|---|---|
${Object.entries(DROPS).map(meaningRow).join('\n')}
`;

const reasonRow = ([name, facts]: readonly [string, ReasonFacts]): string =>
  `| ${code(name)} | ${facts.status === 0 ? '' : facts.status} | ${facts.proxyStatus === null ? '' : code(facts.proxyStatus)} | ${escape(facts.help)} |`;

export const reasonsPage = (): string => `# Reasons

<!-- Generated from src/contract/reasons.ts: make generate -->

One vocabulary for how a request ended: the label \`reason\` of metrics, the field of the access log, the admin API, and, where a listener sets \`proxyStatusDetails\`, the details of the \`proxy-status\` field.
The status is that of the answer of our own; without one there is nobody to answer, or the backend's answer stands. The token is the \`error=\` of \`proxy-status\` (RFC 9209 s2.3).

| reason | status | error= | |
|---|---|---|---|
${Object.entries(REASONS).map(reasonRow).join('\n')}
`;
