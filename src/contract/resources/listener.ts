/** Kind Listener: where to listen and what may be served there. Owned by the platform team. */
import { z } from 'zod';
import { duration, flag, integer, list, object, oneOf, requiredInCluster, rule, size, text, textMap } from './fields.ts';
import { address, certificateFiles, cidr, hostname, labelText, nameOrFiles, namespaceName, objectName } from './parts.ts';
import { readDuration } from './units.ts';

const certificateRef = object(
  'A certificate with its key.',
  {
    name: requiredInCluster(objectName('A Secret of type kubernetes.io/tls.').optional()),
    namespace: namespaceName('Where the Secret is, with a grant there; absent: the own namespace.').optional(),
    files: certificateFiles().optional(),
  },
  {
    rules: [
      nameOrFiles,
      rule<{ namespace?: unknown; files?: unknown }>(
        'must not have a namespace beside files',
        '',
        (v) => v.namespace === undefined || v.files === undefined,
        ['namespace'],
      ),
    ],
  },
);

interface Tls {
  certificateRefs?: unknown[];
  allowUpstreamCertificates?: boolean;
}

const tls = object(
  'TLS towards clients: version 1.3 only.',
  {
    certificateRefs: list(
      'Certificates, chosen by SNI: an exact name first, then a wildcard, then the first of the list. Absent: only those that Upstreams bring.',
      certificateRef,
      { max: 64 },
    ).optional(),
    unmatched: oneOf('What a name that no certificate covers gets: the first certificate, or an end of the handshake.', [
      'Default',
      'Reject',
    ]).default('Default'),
    allowUpstreamCertificates: flag('Whether Upstreams may bring certificates for their own hostnames.').default(false),
  },
  {
    later: { clientAuth: 'access', earlyData: 'plain', sessionTickets: 'plain' },
    rules: [
      rule<Tls>(
        'must have certificateRefs, or allow those of Upstreams (allowUpstreamCertificates)',
        '(has(self.certificateRefs) && self.certificateRefs.size() > 0) || (has(self.allowUpstreamCertificates) && self.allowUpstreamCertificates)',
        (v) => (v.certificateRefs ?? []).length > 0 || v.allowUpstreamCertificates === true,
      ),
    ],
  },
);

const quic = object(
  'QUIC transport.',
  {
    idleTimeout: duration('How long a connection may be silent.', { min: '1s', max: '1h' }).default('30s'),
    keepAlive: duration('When to send PING on a silent connection: Auto is half the idle time while a request is open.', {
      min: '100ms',
      max: '1h',
      words: ['Auto', 'Never'],
    }).default('Auto'),
    handshakeTimeout: duration('How long a handshake may take.', { min: '100ms', max: '5m' }).default('10s'),
    maxStreams: integer('Concurrent requests per connection.', { min: 1, max: 65535 }).default(128),
    streamWindow: size('Bytes that a client may send on a stream ahead of what was consumed.', { min: 1024, max: 64 * 1024 ** 2 }).default(
      '1Mi',
    ),
    congestionControl: oneOf('How the sending rate adapts.', ['Reno', 'Cubic', 'BBR']).default('Cubic'),
    retry: oneOf('Address validation before a handshake: Auto when half-open connections pass a threshold.', [
      'Auto',
      'Always',
      'Never',
    ]).default('Auto'),
  },
  {
    rules: [
      rule<{ idleTimeout?: string; keepAlive?: string }>(
        'must be shorter than idleTimeout',
        `!has(self.keepAlive) || !has(self.idleTimeout) || self.keepAlive in ['Auto', 'Never'] || !self.keepAlive.matches('^([0-9]{1,5}(h|ms|m|s)){1,4}$') || !self.idleTimeout.matches('^([0-9]{1,5}(h|ms|m|s)){1,4}$') || duration(self.keepAlive) < duration(self.idleTimeout)`,
        (v) => {
          const keepAlive = readDuration(v.keepAlive ?? '');
          const idle = readDuration(v.idleTimeout ?? '');
          return keepAlive === null || idle === null || keepAlive < idle;
        },
        ['keepAlive'],
      ),
    ],
  },
);

const MANY = 10_000_000;
const wait = (help: string) => duration(help, { min: '100ms', max: '1h' });

const limits = object('What one client, and all of them together, may use.', {
  connections: integer("Connections per node, shared out among workers; absent: the installation's --max-connections.", {
    min: 1,
    max: MANY,
  }).optional(),
  connectionsPerAddress: integer('Connections of one client address. Each worker counts its part of them.', { min: 1, max: MANY }).default(
    1000,
  ),
  handshakesPerSecond: integer('New connections per second. Each worker has its part of them.', { min: 1, max: MANY }).default(2000),
  headerBytes: size("A request's fields, decoded, as RFC 9114 section 4.2.2 counts; beyond: 431.", { min: 1024, max: 1024 ** 2 }).default(
    '64Ki',
  ),
  headerCount: integer("A request's fields; beyond: 431.", { min: 1, max: 10_000 }).default(128),
  requestBody: size("A request's content, 0 for no limit; beyond: 413.", { min: 0, max: 1024 * 1024 ** 3 }).default(0),
  headerTimeout: wait('How long the fields of a request may take to arrive; then 408.').default('10s'),
  bodyIdleTimeout: wait('How long an upload may pause before the response has begun; then 408.').default('30s'),
  responseStall: wait('How long a client may leave a response unread; then the stream is cancelled.').default('60s'),
  noRequestTimeout: duration('How long a connection may be without requests; then GOAWAY, and closed.', { min: '1s', max: '24h' }).default(
    '5m',
  ),
  requestsPerConnection: integer('Requests of one connection; then GOAWAY, and closed when done.', {
    min: 1,
    max: Number.MAX_SAFE_INTEGER,
  }).default(100_000),
  pending: integer('Requests that wait for a backend, per worker; beyond: 503 with retry-after.', { min: 0, max: 1_000_000 }).default(1024),
});

const OPERATORS = ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const;
const LABEL_KEY = { max: 317, pattern: 'labelKey', what: 'a label key' } as const;
const labelKey = (help: string) => text(help, LABEL_KEY);

const selector = object('Labels of the namespaces.', {
  matchLabels: textMap('Labels that a namespace must have.', LABEL_KEY, labelText('The value.'), 64).optional(),
  matchExpressions: list(
    'Conditions that must all hold.',
    object(
      'One condition.',
      {
        key: labelKey('The label.'),
        operator: oneOf('How the label relates to the values.', OPERATORS),
        values: list('Values for In and NotIn.', labelText('A value.'), { min: 1, max: 64 }).optional(),
      },
      {
        rules: [
          rule<{ operator?: string; values?: unknown }>(
            'must have values with operator In or NotIn, and only then',
            "has(self.values) == (has(self.operator) && self.operator in ['In', 'NotIn'])",
            (v) => (v.values !== undefined) === (v.operator === 'In' || v.operator === 'NotIn'),
            ['values'],
          ),
        ],
      },
    ),
    { max: 64 },
  ).optional(),
});

const allowedNamespaces = object(
  'Whose Upstreams may attach.',
  {
    from: oneOf('Same: the own namespace; All; Selector: by labels of the namespace.', ['Same', 'All', 'Selector']).default('Same'),
    selector: selector.optional(),
  },
  {
    rules: [
      rule<{ from?: string; selector?: unknown }>(
        'must have selector with from Selector, and only then',
        "has(self.selector) == (has(self.from) && self.from == 'Selector')",
        (v) => (v.selector !== undefined) === (v.from === 'Selector'),
        ['selector'],
      ),
    ],
  },
);

export const listenerSpec = object('Where to listen and what may be served there.', {
  className: text('Which installation serves it.', {
    max: 63,
    pattern: 'label',
    what: 'a name of letters, digits, "-", "_" and "."',
  }).default('spooky'),
  addresses: list(
    'Addresses to bind. Absent: every address of both families, and a missing family is a warning; written out, what cannot be bound is an error.',
    address('An IP address; 0.0.0.0 and :: for every one of a family.'),
    { min: 1, max: 16, distinct: true },
  ).optional(),
  port: integer('What the process binds: UDP for HTTP/3. In files also 0: any free port, which the ready line names.', {
    min: 1,
    max: 65535,
    standaloneMin: 0,
  }),
  advertisedPort: integer('What clients reach it by; absent: the port that --publish-service maps to it, else port.', {
    min: 1,
    max: 65535,
  }).optional(),
  protocols: list('Protocols towards clients.', oneOf('A protocol.', ['HTTP3'], ['HTTP2', 'HTTP1']), {
    min: 1,
    max: 3,
    distinct: true,
  }).default(['HTTP3']),
  hostnames: list('What may be served here; absent: anything.', hostname('A host name.'), { min: 1, max: 64, distinct: true }).optional(),
  tls,
  quic: quic.prefault({}),
  limits: limits.prefault({}),
  path: object('How paths are read.', {
    escapedSlashes: oneOf('What %2F and %5C in a path get: 400, or kept. One string is matched and forwarded in either case.', [
      'Reject',
      'Keep',
    ]).default('Reject'),
  }).prefault({}),
  forwarded: object('The fields that tell a backend about the client.', {
    trust: list(
      'Networks of proxies whose x-forwarded-* fields are kept and appended to; those of others are replaced.',
      cidr('A network.'),
      { max: 64, distinct: true },
    ).default([]),
  }).prefault({}),
  proxyStatusDetails: flag('Whether proxy-status carries our reason; the error token of RFC 9209 is always there.').default(false),
  allowedNamespaces: allowedNamespaces.prefault({}),
});

/** The spec of a Listener, defaults applied. Durations and sizes keep the user's text: `units.ts` reads them. */
export type Listener = z.output<typeof listenerSpec>;
export type ListenerTls = Listener['tls'];
export type ListenerLimits = Listener['limits'];
export type CertificateRef = NonNullable<ListenerTls['certificateRefs']>[number];
