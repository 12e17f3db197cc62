import { describe, expect, test } from '@jest/globals';
import { DEFAULT_HTTP_CHECK, validateUpstream, type Fault } from '../../../src/contract/resources/index.ts';
import { fieldOf, times, upstream, withField } from './samples.ts';

const FILE = { standalone: true, unknown: 'refuse' } as const;
const CLUSTER = { standalone: false, unknown: 'refuse' } as const;

const faultsOf = (spec: unknown, options: typeof FILE | typeof CLUSTER = FILE): readonly Fault[] => validateUpstream(spec, options).faults;
const pathsOf = (spec: unknown, options?: typeof FILE | typeof CLUSTER): string[] => faultsOf(spec, options).map((f) => f.path);

const full = {
  ...upstream(),
  listeners: [{ name: 'public' }],
  matches: [{ path: { value: '/v1' }, headers: [{ name: 'x-a', value: '1' }], query: [{ name: 'b', type: 'Present' }] }],
  tls: {},
  healthCheck: { http: {} },
  loadBalancing: {},
};

describe('defaults', () => {
  test.each<[string, unknown]>([
    ['listeners.0.namespace', 'default'],
    ['certificateRefs', undefined],
    ['matches.0.path.type', 'Prefix'],
    ['matches.0.methods', undefined],
    ['matches.0.headers.0.type', 'Exact'],
    ['backends.0.name', 'default'],
    ['backends.0.weight', 1],
    ['backends.0.protocol', undefined],
    ['backends.0.tls', undefined],
    ['backends.0.healthCheck', undefined],
    ['backends.0.addresses.0.weight', 100],
    ['backends.0.addresses.0.name', undefined],
    ['protocol', 'Auto'],
    ['tls.verify', 'Full'],
    ['tls.sni', true],
    ['tls.serverName', undefined],
    ['loadBalancing', { type: 'RoundRobin' }],
    ['healthCheck.type', 'HTTP'],
    ['healthCheck.http', DEFAULT_HTTP_CHECK],
    ['healthCheck.interval', '5s'],
    ['healthCheck.timeout', '1s'],
    ['healthCheck.healthyThreshold', 2],
    ['healthCheck.unhealthyThreshold', 3],
    ['healthCheck.initial', 'Healthy'],
    ['healthCheck.cooldown', '0s'],
    ['timeouts.connect', '1s'],
    ['timeouts.response', '30s'],
    ['timeouts.idle', '5m'],
    ['timeouts.request', '0s'],
  ])('%s is %j', (path, value) => {
    const { value: spec, faults } = validateUpstream(full, FILE);
    expect(faults).toEqual([]);
    expect(fieldOf(spec, path)).toEqual(value);
  });

  test('what restricts or checks is absent unless given', () => {
    const { value } = validateUpstream(upstream(), FILE);
    expect(value).toEqual({
      hostnames: ['api.example.com'],
      backends: [{ name: 'default', weight: 1, addresses: [{ address: '192.0.2.10:7001', weight: 100 }] }],
      protocol: 'Auto',
      loadBalancing: { type: 'RoundRobin' },
      timeouts: { connect: '1s', response: '30s', idle: '5m', request: '0s' },
    });
  });
});

const match = (fields: object) => [{ ...fields }];
const group = (fields: object) => [{ addresses: [{ address: '192.0.2.1:1' }], ...fields }];
const address = (text: unknown) => [{ addresses: [{ address: text }] }];
const hash = (key: object) => ({ type: 'ConsistentHash', consistentHash: { key } });

describe('ranges: the ends are accepted, what lies beyond is refused', () => {
  test.each<[string, readonly unknown[], readonly unknown[]]>([
    [
      'listeners',
      [times(16, (i) => ({ name: `l${i}`, namespace: 'a' }))],
      [
        [],
        [{ name: 'a' }, { name: 'a' }],
        [{ namespace: 'a' }],
        [{ name: 'a', namespace: 'a'.repeat(64) }],
        times(17, (i) => ({ name: `l${i}` })),
      ],
    ],
    ['hostnames', [['*'], times(64, (i) => `h${i}`)], [[], undefined, ['a b'], ['a', 'a'], times(65, (i) => `h${i}`)]],
    [
      'certificateRefs',
      [times(64, (i) => ({ name: `c${i}` }))],
      [[{ name: 'a' }, { name: 'a' }], [{ name: 'a', namespace: 'b' }], [{ name: 'a'.repeat(254) }]],
    ],
    ['matches', [times(64, () => ({ methods: ['GET'] }))], [[], [{}], times(65, () => ({ methods: ['GET'] }))]],
    [
      'matches',
      [
        match({ path: { value: '/' } }),
        match({ path: { type: 'Exact', value: `/${'a'.repeat(1023)}` } }),
        match({ path: { type: 'Regex', value: '^[a-z]+\\.' } }),
        match({ path: { value: '/a%2Fb;c=1' } }),
      ],
      [
        match({ path: { value: '' } }),
        match({ path: { value: 'v1' } }),
        match({ path: { value: '/a/../b' } }),
        match({ path: { value: '/.' } }),
        match({ path: { type: 'Exact', value: '/a?b' } }),
        match({ path: { value: '/ä' } }),
        match({ path: { value: '/%zz' } }),
        match({ path: { value: `/${'a'.repeat(1024)}` } }),
        match({ path: { type: 'Glob', value: '/' } }),
        match({ path: {} }),
        match({ path: { type: 'Regex', value: '' } }),
      ],
    ],
    [
      'matches',
      [match({ methods: times(16, (i) => `M${i}`) }), match({ methods: ['M-SEARCH'] })],
      [
        match({ methods: [] }),
        match({ methods: ['get'] }),
        match({ methods: ['G T'] }),
        match({ methods: ['GET', 'GET'] }),
        match({ methods: times(17, (i) => `M${i}`) }),
      ],
    ],
    [
      'matches',
      [
        match({ headers: times(8, (i) => ({ name: `x-${i}`, value: '' })) }),
        match({ headers: [{ name: 'a'.repeat(128), type: 'Present' }] }),
        match({ headers: [{ name: 'x', type: 'Regex', value: 'a'.repeat(512) }] }),
      ],
      [
        match({ headers: [{ name: 'X-A', value: '1' }] }),
        match({ headers: [{ name: ':path', value: '1' }] }),
        match({ headers: [{ name: 'a_b', value: '1' }] }),
        match({ headers: [{ name: 'a'.repeat(129), value: '1' }] }),
        match({ headers: [{ name: 'x' }] }),
        match({ headers: [{ name: 'x', type: 'Present', value: '' }] }),
        match({ headers: [{ name: 'x', type: 'Regex', value: '' }] }),
        match({ headers: [{ name: 'x', value: 'a'.repeat(513) }] }),
        match({ headers: [{ name: 'x', value: '1' }, { name: 'x', value: '2' }] }), // prettier-ignore
        match({ headers: times(9, (i) => ({ name: `x-${i}`, value: '' })) }),
      ],
    ],
    [
      'matches',
      [match({ query: [{ name: 'Ä b', value: '1' }] })],
      [
        match({ query: [{ name: '', value: '1' }] }),
        match({ query: [{ name: 'a'.repeat(129), value: '1' }] }),
        match({ query: [{ name: 'a' }] }),
      ],
    ],
    [
      'backends',
      [times(16, (i) => ({ name: `g${i}`, addresses: [] }))],
      [[], undefined, times(17, (i) => ({ name: `g${i}`, addresses: [] })), [{}], [...group({}), ...group({})]],
    ],
    [
      'backends',
      [times(8, (i) => ({ name: `g${i}`, addresses: times(128, (j) => ({ address: `192.0.2.1:${j + 1}` })) }))],
      [
        times(9, (i) => ({ name: `g${i}`, addresses: times(128, (j) => ({ address: `192.0.2.1:${j + 1}` })) })),
        [{ addresses: times(129, (j) => ({ address: `a:${j + 1}` })) }],
      ],
    ],
    [
      'backends',
      [group({ weight: 0 }), group({ weight: 1_000_000 }), group({ name: 'a'.repeat(63) })],
      [group({ weight: -1 }), group({ weight: 1_000_001 }), group({ name: '' }), group({ name: 'a'.repeat(64) }), group({ name: 'a/b' })],
    ],
    [
      'backends',
      [address('192.0.2.10:1'), address('db.example.net:65535'), address('[2001:db8::1]:7001'), address('localhost:80')],
      [
        address('192.0.2.10'),
        address('192.0.2.10:0'),
        address('192.0.2.10:65536'),
        address('2001:db8::1:80'),
        address('http://a:80'),
        address('a:http'),
        address('[fe80::1%eth0]:80'),
        address('1.2.3:80'),
        address('a b:80'),
        address('*.a:80'),
        address(7001),
      ],
    ],
    ['backends', [[{ addresses: [{ address: 'a:1', weight: 1 }, { address: 'b:1', weight: 1_000_000 }] }]], [[{ addresses: [{ address: 'a:1', weight: 0 }] }], [{ addresses: [{ address: 'a:1', weight: 1_000_001 }] }], [{ addresses: [{ name: 'x', address: 'a:1' }, { name: 'x', address: 'b:1' }] }]]], // prettier-ignore
    ['protocol', ['H2C', 'H2', 'Auto'], ['h2', 'HTTP1', 'GRPC']],
    [
      'tls',
      [
        {},
        { verify: 'None' },
        { serverName: 'a.b' },
        { sni: false },
        { caRef: { name: 'a' } },
        { caRef: { kind: 'Secret', name: 'a' } },
        { caRef: { files: { ca: 'ca.pem' } } },
      ],
      [
        { verify: 'None', caRef: { name: 'a' } },
        { serverName: '*.a' },
        { caRef: {} },
        { caRef: { name: 'a', files: { ca: 'b' } } },
        { clientCertificateRef: {} },
        { verify: 'Off' },
      ],
    ],
    [
      'loadBalancing',
      [
        { type: 'Random' },
        hash({ type: 'SourceAddress' }),
        hash({ type: 'Path' }),
        hash({ type: 'Authority' }),
        hash({ type: 'Header', header: { name: 'x-user' } }),
        hash({ type: 'Cookie', cookie: { name: 'Sid' } }),
        hash({ type: 'Query', query: { name: 'u' } }),
      ],
      [
        { type: 'ConsistentHash' },
        { consistentHash: { key: { type: 'Path' } } },
        { type: 'Random', consistentHash: { key: { type: 'Path' } } },
        hash({}),
        hash({ type: 'Header' }),
        hash({ type: 'Header', cookie: { name: 'a' } }),
        hash({ type: 'Path', header: { name: 'a' } }),
        hash({ type: 'Method' }),
        hash({ type: 'Cookie', cookie: { name: 'a b' } }),
        { type: 'Sticky' },
      ],
    ],
    [
      'healthCheck',
      [
        {},
        { interval: '100ms', timeout: '100ms' },
        { interval: '1h', timeout: '1h' },
        { timeout: '10ms' },
        { cooldown: '1h' },
        { healthyThreshold: 1, unhealthyThreshold: 100 },
        { initial: 'Unhealthy' },
        { http: { path: '/x', statuses: [200, '300-399'], hostname: 'a' } },
        { http: { statuses: times(16, (i) => 200 + i) } },
      ],
      [
        { interval: '99ms' },
        { interval: '61m' },
        { timeout: '9ms' },
        { timeout: '6s' },
        { interval: '500ms' },
        { cooldown: '61m' },
        { healthyThreshold: 0 },
        { unhealthyThreshold: 101 },
        { initial: 'Unknown' },
        { type: 'TCP' },
        { http: { path: 'x' } },
        { http: { statuses: [] } },
        { http: { statuses: ['299-200'] } },
        { http: { statuses: [99] } },
        { http: { statuses: times(17, (i) => 200 + i) } },
        { http: { hostname: '*.a' } },
      ],
    ],
    ['timeouts.connect', ['10ms', '5m'], ['9ms', '6m', '0s']],
    ['timeouts.response', ['10ms', '24h'], ['9ms', '25h', '0s']],
    ['timeouts.idle', ['100ms', '24h'], ['99ms', '25h', '0s']],
    ['timeouts.request', ['0s', '10ms', '24h'], ['9ms', '25h']],
  ])('%s', (path, good, bad) => {
    for (const value of good) expect([value, faultsOf(withField(upstream(), path, value))]).toEqual([value, []]);
    for (const value of bad) {
      const faults = pathsOf(withField(upstream(), path, value));
      expect([value, faults.length > 0 && faults.every((p) => p.startsWith(`spec.${path}`))]).toEqual([value, true]);
    }
  });
});

describe('rules', () => {
  test('TLS and clear text exclude each other, for all and for one group', () => {
    expect(pathsOf({ ...upstream(), protocol: 'H2C', tls: {} })).toEqual(['spec.tls']);
    expect(pathsOf(withField(withField(upstream(), 'backends.0.protocol', 'H2C'), 'backends.0.tls', {}))).toEqual(['spec.backends[0].tls']);
  });

  test('two groups need names', () => {
    const faults = faultsOf({ ...upstream(), backends: [{ addresses: [] }, { addresses: [] }] });
    expect(faults).toEqual([{ severity: 'error', path: 'spec.backends[1]', message: 'is the same as item 0 (name)' }]);
  });

  test('Services are for clusters', () => {
    const spec = { ...upstream(), backends: [{ service: { name: 'api', port: 'http' } }] };
    expect(faultsOf(spec)).toEqual([
      { severity: 'error', path: 'spec.backends[0].service', message: 'must be addresses: there are no Services outside a cluster' },
    ]);
    expect(pathsOf(spec, CLUSTER)).toEqual([]);
    for (const port of [0, 65536, 'HTTP', ''])
      expect(pathsOf({ ...upstream(), backends: [{ service: { name: 'a', port } }] }, CLUSTER)).toEqual(['spec.backends[0].service.port']);
  });

  test('a cluster has no default namespace for listeners, and no files', () => {
    expect(pathsOf({ ...upstream(), listeners: [{ name: 'public' }] }, CLUSTER)).toEqual(['spec.listeners[0].namespace']);
    expect(pathsOf({ ...upstream(), tls: { caRef: { files: { ca: 'a' } } } }, CLUSTER)).toEqual([
      'spec.tls.caRef.files',
      'spec.tls.caRef.name',
    ]);
  });
});

describe('fields of later steps', () => {
  test.each([
    'retry',
    'circuitBreaker',
    'outlierDetection',
    'rateLimits',
    'headers',
    'rewrite',
    'redirect',
    'cors',
    'auth',
    'ipAccess',
    'compression',
    'mirror',
    'fault',
  ])('%s is refused by name', (name) => {
    expect(faultsOf({ ...upstream(), [name]: {} })).toEqual([
      { severity: 'error', path: `spec.${name}`, message: `${name} is not supported yet` },
    ]);
  });

  test.each(['LeastRequest', 'PeakEWMA', 'WeightedLeastRequest', 'Sticky'])('loadBalancing.type %s too', (type) => {
    expect(faultsOf({ ...upstream(), loadBalancing: { type } })[0]?.message).toBe(
      `"${type}" is not supported yet; use RoundRobin, Random or ConsistentHash`,
    );
  });
});
