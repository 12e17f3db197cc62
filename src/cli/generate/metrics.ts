/** The reference pages of metrics and reasons, from the tables that the counters and answers use. */
import { DURATION_BUCKETS, type MetricFacts } from '../../contract/cells.ts';
import { REASONS, type ReasonFacts } from '../../contract/reasons.ts';
import { METRICS, PREFIX } from '../../control/admin/metrics.ts';

const escape = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
const code = (text: string): string => `\`${text}\``;

const metricRow = ([name, facts]: readonly [string, MetricFacts]): string =>
  `| ${code(PREFIX + name)} | ${facts.type} | ${facts.labels.map(code).join(' ')} | ${escape(facts.help)} |`;

export const metricsPage = (): string => `# Metrics

<!-- Generated from src/contract/cells.ts and src/control/admin/metrics.ts: make generate -->

Served at \`/metrics\` of \`--metrics\` as Prometheus text, or OpenMetrics when the scraper asks for it. \`listener\` and \`upstream\` are \`namespace/name\`; no label has values that a client chooses.
Rows come into being on first use and go with their object. Counters of all workers are added up; a worker that was replaced makes none go backwards. \`--metrics-detail\` sets how fine rows are: with
\`listener\` the label \`upstream\` stays empty; rows per endpoint exist with \`endpoint\` (those of active health checks from \`upstream\` on).

Durations are in seconds, with the buckets ${DURATION_BUCKETS.join(' ')}. Values of \`reason\` are those of [reasons](reasons.md). Beside these there are \`process_*\` and \`nodejs_*\` of the main process.

| metric | type | labels | |
|---|---|---|---|
${Object.entries(METRICS).map(metricRow).join('\n')}
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
