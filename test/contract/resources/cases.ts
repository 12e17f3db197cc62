/**
 * Rules that are checked twice, by servers in CEL and by our validation, with what keeps and what breaks each: one table for both.
 * The fast tests judge it by validateListener and validateUpstream, those of a real server by its answers.
 */
import { times, withField } from './samples.ts';

export type Kind = 'Listener' | 'Upstream';
type Spec = Record<string, unknown>;

export interface RuleCases {
  readonly kind: Kind;
  /** The field that takes the values, below spec. */
  readonly at: string;
  /** The rule, as the CRD says it. */
  readonly message: string;
  /** What the message is about, when that is not `at`. */
  readonly field?: string;
  /** Where a server finds that the rule itself fails, and says how: then it does not look at what the rule is about. */
  readonly failsAt?: string;
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
  /** Where our validation knows more: the item, the fault of an expression. null: it is said later, by compile. */
  readonly ours?: { readonly field: string; readonly message: string } | null;
}

const health = () => ({
  http: { path: '/health', hostname: 'a.example', statuses: [200, '300-399'] },
  interval: '5s',
  timeout: '1s',
  cooldown: '0s',
});
const tls = () => ({ serverName: 'a.example', caRef: { name: 'roots' }, clientCertificateRef: { name: 'edge' } });

/** Good specs that have every structure, so that each field of the table can be set. */
export const BASES: Readonly<Record<Kind, () => Spec>> = {
  Listener: () => ({
    className: 'spooky',
    addresses: ['192.0.2.1'],
    port: 8443,
    hostnames: ['*.example.com'],
    tls: { certificateRefs: [{ name: 'example-tls', namespace: 'certificates' }] },
    quic: {},
    limits: {},
    forwarded: { trust: ['198.51.100.0/24'] },
    allowedNamespaces: {
      from: 'Selector',
      selector: { matchLabels: { team: 'web' }, matchExpressions: [{ key: 'team', operator: 'In', values: ['web'] }] },
    },
  }),
  Upstream: () => ({
    listeners: [{ name: 'public', namespace: 'spooky-system' }],
    hostnames: ['api.example.com'],
    certificateRefs: [{ name: 'api-tls' }],
    matches: [{ path: { value: '/v1' }, methods: ['GET'], headers: [{ name: 'x-a', value: '1' }], query: [{ name: 'q', value: '1' }] }],
    backends: [
      { name: 'v1', service: { name: 'api', namespace: 'web', port: 'http' }, protocol: 'H2', tls: tls(), healthCheck: health() },
      { name: 'v2', addresses: [{ name: 'a', address: '192.0.2.10:7001' }] },
    ],
    protocol: 'H2',
    tls: tls(),
    loadBalancing: { type: 'ConsistentHash', consistentHash: { key: { type: 'Header', header: { name: 'x-user' } } } },
    healthCheck: health(),
    timeouts: {},
  }),
};

const OBJECT = 'must be an object name: lower-case letters, digits, "-" and "."';
const NAMESPACE = 'must be a namespace: lower-case letters, digits and "-"';
const LABEL = 'must be a name of letters, digits, "-", "_" and "."';
const names = (kind: Kind, at: string): RuleCases => ({
  kind,
  at,
  message: OBJECT,
  good: ['a', 'a-b.c', '0', `${'a'.repeat(249)}.b`],
  bad: ['A', '-a', 'a-', 'a..b', 'a_b', 'a/b', '.a', 'a.', 'a b', 'ä'],
});
const namespaces = (kind: Kind, at: string): RuleCases => ({
  kind,
  at,
  message: NAMESPACE,
  good: ['a', 'kube-system', '0', 'a'.repeat(63)],
  bad: ['A', '-a', 'a-', 'a.b', 'a_b', '*'],
});
const labels = (kind: Kind, at: string): RuleCases => ({
  kind,
  at,
  message: LABEL,
  good: ['a', 'A', 'a_b.c-d', '0', 'a'.repeat(63)],
  bad: ['-a', 'a-', '.a', 'a b', 'a/b', 'ä', '_'],
});

const LONG = `${'a'.repeat(63)}.`;
const hosts = (kind: Kind, at: string): RuleCases[] => [
  {
    kind,
    at,
    message: 'must be a host name like api.example.com, *.example.com or * (international names in their xn-- form, no port)',
    good: ['*', '*.com', 'a.b', 'A.Example', 'xn--bcher-kva.example', 'a.', '192.0.2.1', LONG.repeat(3) + 'a'.repeat(61), '1a.2b'],
    bad: [
      'a:80',
      '*a.b',
      'a.*.b',
      '*.*',
      'bücher.example',
      'a_b',
      '-a',
      'a-',
      'a..b',
      '.a',
      `${'a'.repeat(64)}.b`,
      '[::1]',
      'a b',
      '::1',
      '**',
      '*.',
    ],
  },
  {
    kind,
    at,
    message: 'must not be a malformed address',
    good: ['192.0.2.1', '255.255.255.255', '1.2.3.a'],
    bad: ['1.2.3', '1.2.3.999', '1', '192.0.2.01', '1.2.3.4.5'],
  },
];
const exactHosts = (kind: Kind, at: string): RuleCases[] => [
  {
    kind,
    at,
    message: 'must be a host name without a wildcard or a port',
    good: ['a', 'a.b.', 'A.b', '192.0.2.1'],
    bad: ['*', '*.a', 'a:443', 'a_b', 'a..b', '::1'],
  },
  { kind, at, message: 'must not be a malformed address', good: ['192.0.2.1'], bad: ['1.2.3', '1.2.3.256'] },
];

/** `low` and `high` are in the range, `below` and `above` just beyond. */
const durations = (
  kind: Kind,
  at: string,
  range: string,
  low: string,
  high: string,
  below: string,
  above: string,
  more: { good?: string[]; words?: string } = {},
): RuleCases => ({
  kind,
  at,
  message: `must be ${more.words ?? ''}a duration like 250ms, 30s or 5m, ${range}`,
  good: [low, high, '1m', '30s30000ms', ...(more.good ?? [])],
  bad: [below, above, '30', '1.5s', '-1s', '1d', '1us', '1ns', '30 s', '30S', '123456s', 's', '1s1s1s1s1s'],
});

const sizes = (at: string, range: string, good: readonly unknown[], bad: readonly unknown[]): RuleCases => ({
  kind: 'Listener',
  at,
  message: `must be a size like 64Ki, 16Mi or 65536, ${range}`,
  good,
  bad: [...bad, '1M', '1k', '64 Ki', '64KiB', '1e3', '0x400', '-1', '1.5Ki', '64ki', ''],
});

const twins = (kind: Kind, at: string, good: readonly unknown[], bad: readonly unknown[]): RuleCases => ({
  kind,
  at,
  message: 'must not have the same item twice',
  good,
  bad,
  ours: { field: `${at}.1`, message: 'is the same as item 0' },
});

const paths = (at: string): RuleCases[] => [
  {
    kind: 'Upstream',
    at,
    message: 'must be a path that begins with "/", of printable ASCII without "?" and "#"',
    good: ['/', '/a', '/a/', '/a;b=c', "/!$&'()*+,=:@-._~", `/${'a'.repeat(1023)}`],
    bad: ['a', '/a?b', '/a#b', '/ä', '/a b', '/a\u007f', '/a\tb', '*', '//a?'],
  },
  {
    kind: 'Upstream',
    at,
    message: 'must not have "." or ".." segments: requests are normalised before they are matched',
    good: ['/.a', '/a..b', '/...', '/a./b', '/..a'],
    bad: ['/.', '/..', '/a/../b', '/a/.', '/./a'],
  },
  {
    kind: 'Upstream',
    at,
    message: 'must have two hexadecimal digits after each "%"',
    good: ['/%2F', '/%aB%00', '/a%20b'],
    bad: ['/%', '/%2', '/%zz', '/%2g', '/a%%41', '/%%', '/%4%41'],
  },
];

/** Syntax that RE2 has not, or that is broken: what may be said of it in words, compile says. */
export const BAD_EXPRESSIONS = ['(', 'a)', '[a', 'a{2,1}', '(?=a)', '(a)\\1', '*', 'a**b(', '(?P<n', '\\'] as const;
const GOOD_EXPRESSIONS = ['^/a/[0-9]+$', 'a|b', '(?i)x', '\\d{1,3}', '(?P<n>a)', '[^/]*', 'é+'];

const fieldMatches = (at: string): RuleCases[] => [
  {
    kind: 'Upstream',
    at,
    field: `${at}.value`,
    message: 'must have a value with type Exact or Regex, and none with Present',
    good: [
      { name: 'x', value: '' },
      { name: 'x', type: 'Present' },
      { name: 'x', type: 'Regex', value: 'a' },
    ],
    bad: [{ name: 'x' }, { name: 'x', type: 'Exact' }, { name: 'x', type: 'Regex' }, { name: 'x', type: 'Present', value: '' }],
  },
  {
    kind: 'Upstream',
    at,
    field: `${at}.value`,
    message: 'must not be an empty expression',
    good: [{ name: 'x', value: '' }],
    bad: [{ name: 'x', type: 'Regex', value: '' }],
  },
  {
    kind: 'Upstream',
    at,
    field: `${at}.value`,
    failsAt: at,
    message: 'must be a regular expression of RE2',
    good: GOOD_EXPRESSIONS.map((value) => ({ name: 'x', type: 'Regex', value })),
    bad: BAD_EXPRESSIONS.map((value) => ({ name: 'x', type: 'Regex', value })),
    ours: null,
  },
];

const HEADER = 'must be a header name in lower case, without "_" (fields with one are dropped before matching)';
const headerNames = (at: string): RuleCases => ({
  kind: 'Upstream',
  at,
  message: HEADER,
  good: ['x', 'x-a', "!#$%&'*+.^`|~-", 'a'.repeat(128)],
  bad: ['X', 'a_b', ':path', 'a b', 'ä', 'a:b', '(a)'],
});

const checks = (at: string): RuleCases[] => [
  ...paths(`${at}.http.path`),
  ...exactHosts('Upstream', `${at}.http.hostname`),
  durations('Upstream', `${at}.interval`, '100ms to 1h', '1s', '1h', '99ms', '3601s'),
  { ...durations('Upstream', `${at}.timeout`, '10ms to 1h', '10ms', '5s', '9ms', '3601s'), good: ['10ms', '5s'] },
  durations('Upstream', `${at}.cooldown`, '0s or 1ms to 1h', '1ms', '1h', '3600001ms', '3601s', { good: ['0s', '0h'] }),
  {
    kind: 'Upstream',
    at,
    field: `${at}.timeout`,
    message: 'must be at most interval',
    good: [{ interval: '1s', timeout: '1s' }, { interval: '1s', timeout: '1000ms' }, { interval: '1h' }, { timeout: '5s' }],
    bad: [{ interval: '1s', timeout: '1001ms' }, { timeout: '6s' }, { interval: '500ms' }],
  },
];

const backendTls = (at: string): RuleCases[] => [
  {
    kind: 'Upstream',
    at,
    field: `${at}.caRef`,
    message: 'must not be given with verify None, which trusts everybody',
    good: [{ verify: 'None' }, { verify: 'Full', caRef: { name: 'a' } }, { caRef: { kind: 'Secret', name: 'a' } }],
    bad: [{ verify: 'None', caRef: { name: 'a' } }],
  },
  ...exactHosts('Upstream', `${at}.serverName`),
  names('Upstream', `${at}.caRef.name`),
  names('Upstream', `${at}.clientCertificateRef.name`),
];

const CLEAR = 'must not be given with protocol H2C, which is clear text: use H2';
const group = (fields: object) => ({ name: 'v1', addresses: [], ...fields });
const key = (fields: object) => ({ consistentHash: { key: fields }, type: 'ConsistentHash' });
const keyRule = (member: string, type: string, name: string): RuleCases => ({
  kind: 'Upstream',
  at: 'loadBalancing',
  field: `loadBalancing.consistentHash.key.${member}`,
  message: `must have ${member} with type ${type}, and only then`,
  good: [key({ type, [member]: { name } }), key({ type: 'Path' }), key({ type: 'SourceAddress' }), key({ type: 'Authority' })],
  bad: [key({ type }), key({ type: 'Path', [member]: { name } }), key({ type: 'Authority', [member]: { name } })],
});

const restricted = (kind: Kind, at: string): RuleCases => ({
  kind,
  at,
  message: `${at.split('.').pop() as string} is not supported yet`,
  good: [undefined],
  bad: [{}],
});

const ADDRESS = 'must be host:port, like 192.0.2.10:7001, db.example.net:7001 or [2001:db8::1]:7001, without a scheme';
const expression = (fields: object) => [{ key: 'a', ...fields }];

/** `backends.0.tls` as messages say it: `spec.backends[0].tls`. */
export const fieldText = (at: string): string => `spec.${at}`.replaceAll(/\.(\d+)(?=\.|$)/g, '[$1]');

/** The spec with a value of the table in its place. */
export const specOf = (cases: RuleCases, value: unknown): Spec => withField(BASES[cases.kind](), cases.at, value);

export const RULES: readonly RuleCases[] = [
  labels('Listener', 'className'),
  {
    kind: 'Listener',
    at: 'addresses.0',
    message: 'must be an IP address',
    good: ['192.0.2.1', '0.0.0.0', '::', '2001:db8::1', '2001:DB8::1'],
    bad: ['a', '192.0.2', '192.0.2.256', 'fe80::1%eth0', '192.0.2.1:80', '[::1]', '192.0.2.0/24', '192.0.2.01', ':::'],
  },
  twins('Listener', 'addresses', [['192.0.2.1', '192.0.2.2']], [['::', '::']]),
  twins('Listener', 'protocols', [['HTTP3']], [['HTTP3', 'HTTP3']]),
  ...hosts('Listener', 'hostnames.0'),
  twins('Listener', 'hostnames', [['a', 'b'], times(64, (i) => `h${i}`)], [['a', 'a']]),
  {
    kind: 'Listener',
    at: 'tls',
    message: 'must have certificateRefs, or allow those of Upstreams (allowUpstreamCertificates)',
    good: [
      { certificateRefs: [{ name: 'a' }] },
      { allowUpstreamCertificates: true },
      { certificateRefs: [], allowUpstreamCertificates: true },
    ],
    bad: [{}, { certificateRefs: [] }, { allowUpstreamCertificates: false }, { unmatched: 'Reject' }],
  },
  names('Listener', 'tls.certificateRefs.0.name'),
  namespaces('Listener', 'tls.certificateRefs.0.namespace'),
  restricted('Listener', 'tls.clientAuth'),
  {
    kind: 'Listener',
    at: 'quic',
    field: 'quic.keepAlive',
    message: 'must be shorter than idleTimeout',
    good: [
      { keepAlive: '29s' },
      { keepAlive: '30s', idleTimeout: '31s' },
      { idleTimeout: '1s' },
      { keepAlive: 'Never', idleTimeout: '1s' },
    ],
    bad: [{ keepAlive: '30s' }, { keepAlive: '2s', idleTimeout: '2000ms' }, { keepAlive: '1h' }],
  },
  durations('Listener', 'quic.idleTimeout', '1s to 1h', '1s', '1h', '999ms', '1h1ms', { good: ['1m60s', '30s1m', '00001s'] }),
  {
    ...durations('Listener', 'quic.keepAlive', '100ms to 1h', '100ms', '29s', '99ms', '1h1s', { words: 'Auto, Never or ' }),
    good: ['Auto', 'Never', '100ms', '29s'],
  },
  durations('Listener', 'quic.handshakeTimeout', '100ms to 5m', '100ms', '5m', '99ms', '301s'),
  sizes(
    'quic.streamWindow',
    '1Ki to 64Mi',
    ['1Ki', 1024, '1024', '64Mi', '65536Ki', 67_108_864],
    [1023, '1023', 67_108_865, '65Mi', '1Ti', -1],
  ),
  sizes('limits.headerBytes', '1Ki to 1Mi', ['1Ki', 1024, '1Mi', '001Mi'], [1023, '1025Ki', 0]),
  sizes(
    'limits.requestBody',
    '0 to 1Ti',
    [0, '0', '1024Gi', '1Ti', '0Ki', 1_099_511_627_776],
    [-1, '1025Gi', 1_099_511_627_777, '999999999999999Ti'],
  ),
  durations('Listener', 'limits.headerTimeout', '100ms to 1h', '100ms', '1h', '99ms', '61m'),
  durations('Listener', 'limits.bodyIdleTimeout', '100ms to 1h', '100ms', '1h', '99ms', '61m'),
  durations('Listener', 'limits.responseStall', '100ms to 1h', '100ms', '1h', '99ms', '61m'),
  durations('Listener', 'limits.noRequestTimeout', '1s to 24h', '1s', '24h', '999ms', '25h'),
  {
    kind: 'Listener',
    at: 'forwarded.trust.0',
    message: 'must be a network like 198.51.100.0/24 or 2001:db8::/32',
    good: ['198.51.100.0/24', '::/0', '198.51.100.7/24', '192.0.2.1/32', '2001:db8::/128'],
    bad: ['198.51.100.1', '198.51.100.0/33', '::/129', '198.51.100.0/024', 'a/8', '198.51.100.0/', '198.51.100/24', '::/-1', '1.2.3.4/8/8'],
  },
  twins('Listener', 'forwarded.trust', [['::/0', '0.0.0.0/0']], [['::/0', '::/0']]),
  {
    kind: 'Listener',
    at: 'allowedNamespaces',
    field: 'allowedNamespaces.selector',
    message: 'must have selector with from Selector, and only then',
    good: [{}, { from: 'All' }, { from: 'Selector', selector: {} }],
    bad: [{ from: 'Selector' }, { from: 'All', selector: {} }, { selector: {} }, { from: 'Same', selector: { matchLabels: {} } }],
  },
  {
    kind: 'Listener',
    at: 'allowedNamespaces.selector.matchLabels.team',
    message: 'must be a label value',
    good: ['', 'a', 'A_b.c-d', 'a'.repeat(63)],
    bad: ['-a', 'a-', 'a b', 'a/b', 'ä'],
  },
  {
    kind: 'Listener',
    at: 'allowedNamespaces.selector.matchExpressions',
    field: 'allowedNamespaces.selector.matchExpressions.0.values',
    message: 'must have values with operator In or NotIn, and only then',
    good: [expression({ operator: 'Exists' }), expression({ operator: 'NotIn', values: ['a'] })],
    bad: [expression({ operator: 'In' }), expression({ operator: 'NotIn' }), expression({ operator: 'Exists', values: ['a'] })],
  },
  {
    kind: 'Listener',
    at: 'allowedNamespaces.selector.matchExpressions.0.key',
    message: 'must be a label key',
    good: ['a', 'kubernetes.io/metadata.name', 'A_b.c'],
    bad: ['-a', 'a/', '/a', 'a/b/c', 'A.example/x', 'a b', 'ä'],
  },
  {
    kind: 'Listener',
    at: 'allowedNamespaces.selector.matchExpressions.0.values.0',
    message: 'must be a label value',
    good: ['', 'a', 'A_b.c-d'],
    bad: ['-a', 'a-', 'a b'],
  },

  { kind: 'Upstream', at: 'protocol', field: 'tls', message: CLEAR, good: ['Auto', 'H2'], bad: ['H2C'] },
  names('Upstream', 'listeners.0.name'),
  namespaces('Upstream', 'listeners.0.namespace'),
  ...hosts('Upstream', 'hostnames.0'),
  twins(
    'Upstream',
    'hostnames',
    [
      ['a', 'b'],
      ['a', '*.a'],
    ],
    [['a', 'a']],
  ),
  names('Upstream', 'certificateRefs.0.name'),
  {
    kind: 'Upstream',
    at: 'matches.0',
    message: 'must have at least one of path, methods, headers and query',
    good: [
      { methods: ['GET'] },
      { path: { value: '/' } },
      { headers: [{ name: 'a', value: '' }] },
      { query: [{ name: 'a', type: 'Present' }] },
    ],
    bad: [{}],
  },
  ...paths('matches.0.path.value'),
  {
    kind: 'Upstream',
    at: 'matches.0.path',
    field: 'matches.0.path.value',
    failsAt: 'matches.0.path',
    message: 'must be a regular expression of RE2',
    good: [...GOOD_EXPRESSIONS, 'a', '/a?b', '/../%zz'].map((value) => ({ type: 'Regex', value })),
    bad: BAD_EXPRESSIONS.map((value) => ({ type: 'Regex', value })),
    ours: null,
  },
  {
    kind: 'Upstream',
    at: 'matches.0.methods.0',
    message: 'must be a method like GET',
    good: ['GET', 'M-SEARCH', 'Get', "!#$%&'*+.^_`|~-"],
    bad: ['G T', 'GET\n', '(GET)', 'GÉT', 'A/B'],
  },
  {
    kind: 'Upstream',
    at: 'matches.0.methods.0',
    message: 'must be in capitals: methods are case-sensitive',
    good: ['GET', 'search'],
    bad: ['get', 'head', 'post', 'put', 'delete', 'options', 'trace', 'patch', 'connect'],
  },
  twins('Upstream', 'matches.0.methods', [['GET', 'POST'], times(16, (i) => `M${i}`)], [['GET', 'GET']]),
  ...fieldMatches('matches.0.headers.0'),
  headerNames('matches.0.headers.0.name'),
  ...fieldMatches('matches.0.query.0'),
  {
    kind: 'Upstream',
    at: 'backends',
    message: 'must have at most 1024 addresses in all',
    good: [times(8, (g) => group({ name: `g${g}`, addresses: times(128, (i) => ({ address: `192.0.2.1:${i + 1}` })) }))],
    bad: [times(9, (g) => group({ name: `g${g}`, addresses: times(g < 8 ? 128 : 1, (i) => ({ address: `192.0.2.1:${i + 1}` })) }))],
  },
  {
    kind: 'Upstream',
    at: 'backends.0',
    message: 'must have exactly one of service and addresses',
    good: [
      { name: 'v1', addresses: [] },
      { name: 'v1', service: { name: 'a', port: 1 } },
    ],
    bad: [{ name: 'v1' }, { name: 'v1', addresses: [], service: { name: 'a', port: 1 } }],
  },
  {
    kind: 'Upstream',
    at: 'backends.0',
    field: 'backends.0.tls',
    message: CLEAR,
    good: [group({ protocol: 'H2', tls: {} }), group({ protocol: 'H2C' }), group({ tls: {} })],
    bad: [group({ protocol: 'H2C', tls: {} })],
  },
  labels('Upstream', 'backends.0.name'),
  names('Upstream', 'backends.0.service.name'),
  namespaces('Upstream', 'backends.0.service.namespace'),
  {
    kind: 'Upstream',
    at: 'backends.1.addresses',
    message: 'must have different names',
    good: [
      [{ address: 'a:1' }, { address: 'b:1' }],
      [{ name: 'a', address: 'a:1' }, { address: 'b:1' }, { name: 'b', address: 'a:1' }],
    ],
    bad: [[{ name: 'a', address: 'a:1' }, { name: 'a', address: 'b:1' }], [{ name: 'a', address: 'a:1' }, { address: 'c:1' }, { name: 'a', address: 'b:1' }]], // prettier-ignore
  },
  labels('Upstream', 'backends.1.addresses.0.name'),
  {
    kind: 'Upstream',
    at: 'backends.1.addresses.0.address',
    message: ADDRESS,
    good: ['192.0.2.10:7001', 'db.example.net:7001', '[2001:db8::1]:7001', 'a:1', 'a:65535', 'A.b.:80'],
    bad: ['a', 'a:', ':80', 'http://a:80', '2001:db8::1:80', '[a]:80', 'a:80/x', 'a_b:80', 'a:b', '*:80', '*.a:80', 'a:123456'],
  },
  ...backendTls('backends.0.tls'),
  ...checks('backends.0.healthCheck'),
  ...backendTls('tls'),
  {
    kind: 'Upstream',
    at: 'loadBalancing',
    field: 'loadBalancing.consistentHash',
    message: 'must have consistentHash with type ConsistentHash, and only then',
    good: [{}, { type: 'Random' }, key({ type: 'Path' })],
    bad: [
      { type: 'ConsistentHash' },
      { consistentHash: { key: { type: 'Path' } } },
      { type: 'Random', consistentHash: { key: { type: 'Path' } } },
    ],
  },
  keyRule('header', 'Header', 'x-user'),
  keyRule('cookie', 'Cookie', 'session'),
  keyRule('query', 'Query', 'user'),
  headerNames('loadBalancing.consistentHash.key.header.name'),
  {
    kind: 'Upstream',
    at: 'loadBalancing',
    field: 'loadBalancing.consistentHash.key.cookie.name',
    message: 'must be a cookie name',
    good: ['a', 'A_b', '__Host-x'].map((name) => key({ type: 'Cookie', cookie: { name } })),
    bad: ['a b', 'a=b', 'a;b', 'ä', '"a"'].map((name) => key({ type: 'Cookie', cookie: { name } })),
  },
  ...checks('healthCheck'),
  durations('Upstream', 'timeouts.connect', '10ms to 5m', '10ms', '5m', '9ms', '301s'),
  durations('Upstream', 'timeouts.response', '10ms to 24h', '10ms', '24h', '9ms', '25h'),
  durations('Upstream', 'timeouts.idle', '100ms to 24h', '100ms', '24h', '99ms', '25h'),
  durations('Upstream', 'timeouts.request', '0s or 10ms to 24h', '10ms', '24h', '9ms', '25h', { good: ['0s', '0ms'] }),
  ...['auth', 'ipAccess', 'rateLimits', 'cors'].map((name) => restricted('Upstream', name)),
];
