/** Kind Upstream: which requests, to which backends, and how. Owned by the application team. */
import { z } from 'zod';
import { duration, flag, integer, list, numberOrText, object, oneOf, requiredInCluster, rule, text, type Rule } from './fields.ts';
import { caFiles, certificateFiles, exactHostname, hostname, nameOrFiles, namespaceName, objectName, pathRules, urlPath } from './parts.ts';
import { isAddress, matchesPattern, PATTERNS } from './names.ts';
import { readDuration, readHostPort, readStatuses } from './units.ts';

/** A `type` and, for the types listed, the member named after it: one rule per member. */
function memberRules(types: Readonly<Record<string, string>>, what: string): Rule[] {
  return Object.entries(types).map(([type, member]) =>
    rule<Record<string, unknown>>(
      `must have ${member} with ${what} ${type}, and only then`,
      `has(self.${member}) == (has(self.type) && self.type == '${type}')`,
      (v) => (v[member] !== undefined) === (v['type'] === type),
      [member],
    ),
  );
}

const fieldMatch = (help: string, name: z.ZodString) =>
  object(
    help,
    {
      name,
      type: oneOf('How the value is compared: Exact; Regex, in linear time, over the whole value; Present has no value.', [
        'Exact',
        'Regex',
        'Present',
      ]).default('Exact'),
      value: text('The value, or the expression.', { max: 512, min: 0 }).optional(),
    },
    {
      rules: [
        rule<{ type?: string; value?: string }>(
          'must have a value with type Exact or Regex, and none with Present',
          "has(self.value) != (has(self.type) && self.type == 'Present')",
          (v) => (v.value !== undefined) !== (v.type === 'Present'),
          ['value'],
        ),
        rule<{ type?: string; value?: string }>(
          'must not be an empty expression',
          "!has(self.value) || !has(self.type) || self.type != 'Regex' || self.value.size() > 0",
          (v) => v.type !== 'Regex' || v.value !== '',
          ['value'],
        ),
        rule<{ type?: string; value?: string }>(
          'must be a regular expression of RE2',
          "!has(self.value) || !has(self.type) || self.type != 'Regex' || size(''.find(self.value)) == 0",
          () => true,
          ['value'],
        ),
      ],
    },
  );

interface PathMatch {
  type?: string;
  value: string;
}
const onPaths = (r: Rule): Rule => ({
  ...r,
  cel: `(has(self.type) && self.type == 'Regex') || ${r.cel}`,
  at: ['value'],
  holds: (v) => (v as PathMatch).type === 'Regex' || typeof (v as PathMatch).value !== 'string' || r.holds((v as PathMatch).value),
});

const pathMatch = object(
  'The path.',
  {
    type: oneOf('Exact; Prefix, by segments: /v1 is /v1, /v1/ and /v1/x, not /v1x; Regex, in linear time, over the whole path.', [
      'Exact',
      'Prefix',
      'Regex',
    ]).default('Prefix'),
    value: text('The path, or the expression.', { max: 1024 }),
  },
  {
    rules: [
      ...pathRules('self.value').map(onPaths),
      // What the functions cannot say without the engine, compile says: a fault of an expression is found there.
      rule<PathMatch>(
        'must be a regular expression of RE2',
        "!has(self.type) || self.type != 'Regex' || size(''.find(self.value)) == 0",
        () => true,
        ['value'],
      ),
    ],
  },
);

const method = text('A method; case matters.', {
  max: 32,
  pattern: 'method',
  what: 'a method like GET',
  rules: [
    rule<string>(
      'must be in capitals: methods are case-sensitive',
      "!(self in ['get', 'head', 'post', 'put', 'delete', 'options', 'trace', 'patch', 'connect'])",
      (v) => !['get', 'head', 'post', 'put', 'delete', 'options', 'trace', 'patch', 'connect'].includes(v),
    ),
  ],
});

const headerName = text('A header, in lower case.', {
  max: 128,
  pattern: 'headerName',
  what: 'a header name in lower case, without "_" (fields with one are dropped before matching)',
});

const match = object(
  'Conditions that must all hold.',
  {
    path: pathMatch.optional(),
    methods: list('Methods, any of which suffices.', method, { min: 1, max: 16, distinct: true }).optional(),
    headers: list('Headers, all of which must match.', fieldMatch('A header.', headerName), { min: 1, max: 8, keys: ['name'] }).optional(),
    query: list('Parameters of the query, all of which must match.', fieldMatch('A parameter.', text('The parameter.', { max: 128 })), {
      min: 1,
      max: 8,
      keys: ['name'],
    }).optional(),
  },
  {
    rules: [
      rule<Record<string, unknown>>(
        'must have at least one of path, methods, headers and query',
        'has(self.path) || has(self.methods) || has(self.headers) || has(self.query)',
        (v) => Object.values(v).some((x) => x !== undefined),
      ),
    ],
  },
);

const protocol = () =>
  oneOf(
    'Protocol towards the backends. Auto: by the appProtocol of the Service, else H2C. H2C: HTTP/2 in clear text. H2: over TLS.',
    ['Auto', 'H2C', 'H2'],
    ['HTTP1', 'HTTP1C'],
  );

const tls = () =>
  object(
    'TLS towards the backends, for H2.',
    {
      verify: oneOf('Whether the certificate is checked; None is warned about.', ['Full', 'None']).default('Full'),
      serverName: exactHostname(
        'The name to check, and to send as SNI. Absent: <service>.<namespace>.svc, or the host of the address.',
      ).optional(),
      sni: flag('Whether the name is sent as SNI.').default(true),
      caRef: object(
        'The roots to trust. Absent: those of the system.',
        {
          kind: oneOf('What holds the key ca.crt.', ['ConfigMap', 'Secret']).default('ConfigMap'),
          name: requiredInCluster(objectName('Its name.').optional()),
          files: caFiles().optional(),
        },
        { rules: [nameOrFiles] },
      ).optional(),
      clientCertificateRef: object(
        'The certificate to show to backends.',
        { name: requiredInCluster(objectName('A Secret of type kubernetes.io/tls.').optional()), files: certificateFiles().optional() },
        { rules: [nameOrFiles] },
      ).optional(),
    },
    {
      rules: [
        rule<{ verify?: string; caRef?: unknown }>(
          'must not be given with verify None, which trusts everybody',
          "!has(self.caRef) || !has(self.verify) || self.verify != 'None'",
          (v) => v.caRef === undefined || v.verify !== 'None',
          ['caRef'],
        ),
      ],
    },
  );

const noTlsInClear = rule<{ protocol?: string; tls?: unknown }>(
  'must not be given with protocol H2C, which is clear text: use H2',
  "!has(self.tls) || !has(self.protocol) || self.protocol != 'H2C'",
  (v) => v.tls === undefined || v.protocol !== 'H2C',
  ['tls'],
);

const statuses = numberOrText('A status, or a range of them.', {
  what: 'a status like 200 or a range like 200-299, from 100 to 599',
  range: '100 to 599, ranges in order',
  format: 'statuses',
  // That the ends of a range are in order is not for a pattern: compile says it.
  cel: '',
  facts: { minimum: 100, maximum: 599, maxLength: 7, pattern: '^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$' },
  holds: (v) => readStatuses(v) !== null,
});

const threshold = (help: string) => integer(help, { min: 1, max: 100 });

const healthCheck = () =>
  object(
    'Active health checks; none unless given.',
    {
      type: oneOf('What is asked.', ['HTTP'], ['TCP', 'GRPC']).default('HTTP'),
      http: object('A GET over the protocol of the group.', {
        path: urlPath('The path to ask for.').default('/health'),
        statuses: list('Statuses of a healthy endpoint.', statuses, { min: 1, max: 16 }).default(['200-299']),
        hostname: exactHostname('The authority to ask with; absent: the host and port of the endpoint.').optional(),
      }).optional(),
      interval: duration('From the start of one check to the next.', { min: '100ms', max: '1h' }).default('5s'),
      timeout: duration('How long a check may take; at most the interval.', { min: '10ms', max: '1h' }).default('1s'),
      healthyThreshold: threshold('Successes in a row that make an endpoint healthy.').default(2),
      unhealthyThreshold: threshold('Failures in a row that make an endpoint unhealthy.').default(3),
      initial: oneOf('What an endpoint counts as before its first verdict.', ['Healthy', 'Unhealthy']).default('Healthy'),
      cooldown: duration('How long after turning unhealthy successes do not count.', { min: '1ms', max: '1h', zero: true }).default('0s'),
    },
    {
      rules: [
        rule<{ interval?: string; timeout?: string }>(
          'must be at most interval',
          "!has(self.timeout) || !has(self.interval) || !self.timeout.matches('^([0-9]{1,5}(h|ms|m|s)){1,4}$') || !self.interval.matches('^([0-9]{1,5}(h|ms|m|s)){1,4}$') || duration(self.timeout) <= duration(self.interval)",
          (v) => {
            const timeout = readDuration(v.timeout ?? '');
            const interval = readDuration(v.interval ?? '');
            return timeout === null || interval === null || timeout <= interval;
          },
          ['timeout'],
        ),
      ],
    },
  );

const service = object('A Service of Kubernetes.', {
  name: objectName('Its name.'),
  namespace: namespaceName('Where it is, with a grant there; absent: the own namespace.').optional(),
  port: numberOrText('Its port, by number or name.', {
    what: 'a port from 1 to 65535 or the name of one',
    range: '1 to 65535, or a name',
    format: 'port',
    cel: '',
    facts: { minimum: 1, maximum: 65535, maxLength: 63, pattern: PATTERNS.portName },
    holds: (v) => (typeof v === 'number' ? Number.isInteger(v) && v >= 1 && v <= 65535 : v.length <= 63 && matchesPattern('portName', v)),
  }),
});

const ADDRESS = '^([A-Za-z0-9.-]{1,253}|[[][0-9A-Fa-f:.]{2,45}[]]):[0-9]{1,5}$';

export function isBackendAddress(value: string): boolean {
  const a = readHostPort(value);
  if (a === null || a.port === 0) return false;
  return a.host.includes(':') || /^[0-9.]+$/.test(a.host) ? isAddress(a.host) : matchesPattern('exactHostname', a.host);
}

const groupName = (help: string) => text(help, { max: 63, pattern: 'label', what: 'a name of letters, digits, "-", "_" and "."' });

const backendAddress = object('One address.', {
  name: groupName('The label in metrics and logs; absent: the address.').optional(),
  address: text('A host or an IP address, and a port: db.example.net:7001, 192.0.2.10:7001, [2001:db8::1]:7001.', {
    max: 262,
    what: 'host:port, like 192.0.2.10:7001, db.example.net:7001 or [2001:db8::1]:7001, without a scheme',
    format: 'host:port',
    rules: [
      rule<string>(
        'must be host:port, like 192.0.2.10:7001, db.example.net:7001 or [2001:db8::1]:7001, without a scheme',
        `self.matches('${ADDRESS}')`,
        isBackendAddress,
      ),
    ],
  }),
  weight: integer('Share among the addresses of the group.', { min: 1, max: 1_000_000 }).default(100),
});

interface Group {
  name?: string;
  service?: unknown;
  addresses?: unknown[];
}

const sameNames = rule<{ name?: string }[]>(
  'must have different names',
  'self.all(a, !has(a.name) || self.exists_one(b, has(b.name) && b.name == a.name))',
  (v) => {
    const names = v.map((a) => a.name).filter((n) => n !== undefined);
    return new Set(names).size === names.length;
  },
);

const backend = object(
  'A group of endpoints.',
  {
    name: groupName('The label in metrics; two groups need names.').default('default'),
    service: service.optional(),
    addresses: list(
      'Addresses outside the cluster, and in standalone mode; names are resolved, and all their addresses are endpoints.',
      backendAddress,
      {
        max: 128,
        rules: [sameNames],
      },
    ).optional(),
    weight: integer('Share of the traffic among the groups, whatever their number of endpoints; 0: no new traffic.', {
      min: 0,
      max: 1_000_000,
    }).default(1),
    protocol: protocol().optional(),
    tls: tls().optional(),
    healthCheck: healthCheck().optional(),
  },
  {
    rules: [
      rule<Group>(
        'must have exactly one of service and addresses',
        'has(self.service) != has(self.addresses)',
        (v) => (v.service === undefined) !== (v.addresses === undefined),
      ),
      noTlsInClear,
    ],
  },
);

const totalAddresses = rule<Group[]>(
  'must have at most 1024 addresses in all',
  'self.map(b, has(b.addresses) ? b.addresses.size() : 0).sum() <= 1024',
  (v) => v.reduce((n, b) => n + (b.addresses?.length ?? 0), 0) <= 1024,
);

const hashName = (help: string, name: z.ZodString) => object(help, { name }).optional();

const hashKey = object(
  'What is hashed; a request without it is hashed by its source address.',
  {
    type: oneOf('Where the key comes from.', ['Header', 'Cookie', 'SourceAddress', 'Path', 'Query', 'Authority']),
    header: hashName('A header.', headerName),
    cookie: hashName('A cookie.', text('Its name; case matters.', { max: 128, pattern: 'cookieName', what: 'a cookie name' })),
    query: hashName('A parameter of the query.', text('Its name.', { max: 128 })),
  },
  { rules: memberRules({ Header: 'header', Cookie: 'cookie', Query: 'query' }, 'type') },
);

const loadBalancing = object(
  'How an endpoint is chosen within a group.',
  {
    type: oneOf(
      'The policy.',
      ['RoundRobin', 'Random', 'ConsistentHash'],
      ['LeastRequest', 'PeakEWMA', 'WeightedLeastRequest', 'Sticky'],
    ).default('RoundRobin'),
    consistentHash: object('A key that keeps to its endpoint.', { key: hashKey }).optional(),
  },
  { rules: memberRules({ ConsistentHash: 'consistentHash' }, 'type') },
);

export const upstreamSpec = object(
  'Which requests go to which backends, and how.',
  {
    listeners: list(
      'Listeners to attach to; absent: every one that admits this namespace.',
      object('A Listener.', {
        name: objectName('Its name.'),
        namespace: requiredInCluster(namespaceName('Its namespace; standalone: default when absent.').default('default')),
      }),
      { min: 1, max: 16, keys: ['namespace', 'name'] },
    ).optional(),
    hostnames: list(
      'Names that are served; "*" for any. A wildcard stands for one or more labels, not for the bare domain.',
      hostname('A host name.'),
      {
        min: 1,
        max: 64,
        distinct: true,
      },
    ),
    certificateRefs: list(
      'Certificates for these hostnames, where the Listener allows it; the older Upstream wins a name.',
      object('A certificate.', { name: objectName('A Secret of type kubernetes.io/tls in the own namespace.') }),
      {
        min: 1,
        max: 64,
        keys: ['name'],
      },
    ).optional(),
    matches: list('Requests that are served; any one suffices. Absent: every path.', match, { min: 1, max: 64 }).optional(),
    backends: list('Groups of endpoints; traffic is split among them by weight.', backend, {
      min: 1,
      max: 16,
      keys: ['name'],
      rules: [totalAddresses],
    }),
    protocol: protocol().default('Auto'),
    tls: tls().optional(),
    loadBalancing: loadBalancing.prefault({}),
    healthCheck: healthCheck().optional(),
    timeouts: object('How long things may take.', {
      connect: duration('To a connection that can be used.', { min: '10ms', max: '5m' }).default('1s'),
      response: duration('To the fields of the response.', { min: '10ms', max: '24h' }).default('30s'),
      idle: duration('Between bytes, in either direction.', { min: '100ms', max: '24h' }).default('5m'),
      request: duration('In all; 0s for no limit.', { min: '10ms', max: '24h', zero: true }).default('0s'),
    }).prefault({}),
  },
  {
    later: {
      auth: 'access',
      ipAccess: 'access',
      rateLimits: 'access',
      cors: 'access',
      retry: 'plain',
      circuitBreaker: 'plain',
      outlierDetection: 'plain',
      headers: 'plain',
      rewrite: 'plain',
      redirect: 'plain',
      compression: 'plain',
      mirror: 'plain',
      fault: 'plain',
    },
    rules: [noTlsInClear],
  },
);

/** The spec of an Upstream, defaults applied. Durations and sizes keep the user's text: `units.ts` reads them. */
export type Upstream = z.output<typeof upstreamSpec>;
export type UpstreamMatch = NonNullable<Upstream['matches']>[number];
export type UpstreamBackend = Upstream['backends'][number];
export type BackendAddress = NonNullable<UpstreamBackend['addresses']>[number];
export type BackendTls = NonNullable<Upstream['tls']>;
export type LoadBalancing = Upstream['loadBalancing'];
export type HashKeySpec = NonNullable<LoadBalancing['consistentHash']>['key'];
export type HealthCheck = NonNullable<Upstream['healthCheck']>;
export type HttpHealthCheck = NonNullable<HealthCheck['http']>;
export type Timeouts = Upstream['timeouts'];

/** What `http` stands for when it is left out: a member has no default of its own in the schema. */
export const DEFAULT_HTTP_CHECK: HttpHealthCheck = { path: '/health', statuses: ['200-299'] };
