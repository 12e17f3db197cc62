import { describe, expect, test } from '@jest/globals';
import { validateListener, type Fault } from '../../../src/contract/resources/index.ts';
import { fieldOf, listener, times, withField } from './samples.ts';

const FILE = { standalone: true, unknown: 'refuse' } as const;
const CLUSTER = { standalone: false, unknown: 'refuse' } as const;

const faultsOf = (spec: unknown, options: { standalone: boolean; unknown: 'refuse' | 'ignore' } = FILE): readonly Fault[] =>
  validateListener(spec, options).faults;
const pathsOf = (spec: unknown, options?: typeof FILE | typeof CLUSTER): string[] => faultsOf(spec, options).map((f) => f.path);

describe('defaults', () => {
  test.each<[string, unknown]>([
    ['className', 'spooky'],
    ['protocols', ['HTTP3']],
    ['addresses', undefined],
    ['advertisedPort', undefined],
    ['hostnames', undefined],
    ['tls.unmatched', 'Default'],
    ['tls.allowUpstreamCertificates', false],
    ['quic.idleTimeout', '30s'],
    ['quic.keepAlive', 'Auto'],
    ['quic.handshakeTimeout', '10s'],
    ['quic.maxStreams', 128],
    ['quic.streamWindow', '1Mi'],
    ['quic.congestionControl', 'Cubic'],
    ['quic.retry', 'Auto'],
    ['limits.connections', undefined],
    ['limits.connectionsPerAddress', 1000],
    ['limits.handshakesPerSecond', 2000],
    ['limits.headerBytes', '64Ki'],
    ['limits.headerCount', 128],
    ['limits.requestBody', 0],
    ['limits.headerTimeout', '10s'],
    ['limits.bodyIdleTimeout', '30s'],
    ['limits.responseStall', '60s'],
    ['limits.noRequestTimeout', '5m'],
    ['limits.requestsPerConnection', 100_000],
    ['limits.pending', 1024],
    ['path.escapedSlashes', 'Reject'],
    ['forwarded.trust', []],
    ['proxyStatusDetails', false],
    ['allowedNamespaces', { from: 'Same' }],
  ])('%s is %j', (path, value) => {
    expect(fieldOf(validateListener(listener(), FILE).value, path)).toEqual(value);
  });
});

describe('ranges: the ends are accepted, what lies beyond is refused', () => {
  test.each<[string, readonly unknown[], readonly unknown[]]>([
    ['className', ['a', 'a'.repeat(63)], ['', 'a'.repeat(64), 'a b', 5]],
    [
      'addresses',
      [['192.0.2.1'], ['::', '0.0.0.0'], times(16, (i) => `192.0.2.${i}`)],
      [[], ['a'], ['fe80::1%eth0'], ['192.0.2.1', '192.0.2.1'], times(17, (i) => `192.0.2.${i}`), '::'],
    ],
    ['port', [0, 1, 65535], [-1, 65536, 1.5, '8443', true]],
    ['advertisedPort', [1, 65535], [0, 65536]],
    ['protocols', [['HTTP3']], [[], ['HTTP2'], ['http3'], ['HTTP3', 'HTTP3'], 'HTTP3']],
    [
      'hostnames',
      [['*'], ['*.com'], ['a.b'], ['Xn--Bcher-Kva.example'], ['a.'], ['127.0.0.1'], times(64, (i) => `h${i}`)],
      [
        [],
        [''],
        ['a:80'],
        ['*a.b'],
        ['a.*.b'],
        ['*.*'],
        ['bücher.example'],
        ['a_b'],
        ['-a'],
        ['1.2.3'],
        ['1.2.3.999'],
        ['a..b'],
        [`${'a'.repeat(64)}.b`],
        ['a', 'a'],
        times(65, (i) => `h${i}`),
        [`${'a.'.repeat(127)}`],
      ],
    ],
    [
      'tls.certificateRefs',
      [times(64, (i) => ({ name: `c${i}` }))],
      [times(65, (i) => ({ name: `c${i}` })), [{}], [{ name: 'A' }], [{ name: 'a', files: { cert: 'c', key: 'k' } }]],
    ],
    ['tls.unmatched', ['Reject'], ['reject', 'Drop']],
    ['quic.idleTimeout', ['1s', '1h', '3600s'], ['999ms', '1h1ms', '0s', 30, '30']],
    ['quic.keepAlive', ['Auto', 'Never', '100ms', '29s'], ['30s', '31s', '0s', 'auto', 'Always']],
    ['quic.handshakeTimeout', ['100ms', '5m'], ['99ms', '301s']],
    ['quic.maxStreams', [1, 65535], [0, 65536]],
    ['quic.streamWindow', ['1Ki', 1024, '64Mi'], ['1023', 1023, '65Mi', '1M', -1]],
    ['quic.congestionControl', ['Reno', 'BBR'], ['cubic', 'Bbr']],
    ['quic.retry', ['Always', 'Never'], ['Off', false]],
    ['limits.connections', [1, 10_000_000], [0, 10_000_001]],
    ['limits.connectionsPerAddress', [1, 10_000_000], [0, 10_000_001]],
    ['limits.handshakesPerSecond', [1, 10_000_000], [0, 10_000_001]],
    ['limits.headerBytes', ['1Ki', '1Mi'], [1023, '1025Ki']],
    ['limits.headerCount', [1, 10_000], [0, 10_001]],
    ['limits.requestBody', [0, '0', '1024Gi'], [-1, '1025Gi']],
    ['limits.headerTimeout', ['100ms', '1h'], ['99ms', '61m']],
    ['limits.bodyIdleTimeout', ['100ms', '1h'], ['99ms', '61m']],
    ['limits.responseStall', ['100ms', '1h'], ['99ms', '61m']],
    ['limits.noRequestTimeout', ['1s', '24h'], ['999ms', '25h']],
    ['limits.requestsPerConnection', [1, Number.MAX_SAFE_INTEGER], [0, 2 ** 53]],
    ['limits.pending', [0, 1_000_000], [-1, 1_000_001]],
    ['path.escapedSlashes', ['Keep'], ['Decode']],
    [
      'forwarded.trust',
      [[], ['198.51.100.0/24', '::/0']],
      [['198.51.100.1'], ['198.51.100.0/33'], ['::/129'], ['198.51.100.0/024'], times(65, (i) => `192.0.2.${i}/32`)],
    ],
    ['proxyStatusDetails', [true], ['true', 1]],
    ['allowedNamespaces', [{ from: 'All' }, {}], [{ from: 'Some' }, { from: 'Selector' }, { from: 'All', selector: {} }]],
  ])('%s', (path, good, bad) => {
    for (const value of good) expect([value, pathsOf(withField(listener(), path, value))]).toEqual([value, []]);
    for (const value of bad) {
      const faults = pathsOf(withField(listener(), path, value));
      expect([value, faults.length > 0 && faults.every((p) => p.startsWith(`spec.${path}`))]).toEqual([value, true]);
    }
  });
});

describe('what is required', () => {
  test('port and tls, with messages that say so', () => {
    expect(faultsOf({})).toEqual([
      { severity: 'error', path: 'spec.port', message: 'is required: a whole number, 1 to 65535' },
      { severity: 'error', path: 'spec.tls', message: 'is required: a map of fields' },
    ]);
  });

  test('certificates, or leave for Upstreams to bring them', () => {
    expect(pathsOf({ port: 1, tls: {} })).toEqual(['spec.tls']);
    expect(pathsOf({ port: 1, tls: { certificateRefs: [] } })).toEqual(['spec.tls']);
    expect(pathsOf({ port: 1, tls: { allowUpstreamCertificates: true } })).toEqual([]);
  });
});

describe('fields of later steps and unknown ones', () => {
  test.each(['clientAuth', 'earlyData', 'sessionTickets'])('tls.%s is refused by name', (name) => {
    expect(faultsOf(withField(listener(), `tls.${name}`, {}))).toEqual([
      { severity: 'error', path: `spec.tls.${name}`, message: `${name} is not supported yet` },
    ]);
  });

  test('protocols of later steps too', () => {
    expect(faultsOf(withField(listener(), 'protocols', ['HTTP3', 'HTTP2']))).toEqual([
      { severity: 'error', path: 'spec.protocols[1]', message: '"HTTP2" is not supported yet; use HTTP3' },
    ]);
  });

  test('an unknown field is named with the closest known one, and all problems come at once', () => {
    expect(faultsOf({ prot: 1, port: 'x', tls: { certificateRef: [], certificateRefs: [{ name: 'a' }] } })).toEqual([
      { severity: 'error', path: 'spec.prot', message: 'is unknown (did you mean port?)' },
      { severity: 'error', path: 'spec.tls.certificateRef', message: 'is unknown (did you mean certificateRefs?)' },
      { severity: 'error', path: 'spec.port', message: 'must be a whole number, 1 to 65535, not "x"' },
    ]);
  });

  test.each(['__proto__', 'constructor', 'hasOwnProperty', 'toString'])('%s is an unknown field like any other', (name) => {
    const spec = JSON.parse(`{"port":1,"tls":{"allowUpstreamCertificates":true},"${name}":{"port":2}}`) as unknown;
    const { value, faults } = validateListener(spec, FILE);
    expect(value).toBeNull();
    expect(faults).toHaveLength(1);
    expect(faults[0]?.path).toBe(`spec.${name}`);
    expect(({} as { port?: number }).port).toBeUndefined();
  });
});

describe('a file and a cluster', () => {
  test('files are for files, and selectors and grants for clusters', () => {
    const files = withField(listener(), 'tls.certificateRefs', [{ files: { cert: 'a.pem', key: 'a-key.pem' } }]);
    expect(pathsOf(files)).toEqual([]);
    expect(pathsOf(files, CLUSTER)).toEqual(['spec.tls.certificateRefs[0].files', 'spec.tls.certificateRefs[0].name']);
    const selector = withField(listener(), 'allowedNamespaces', { from: 'Selector', selector: { matchLabels: { team: 'a' } } });
    expect(pathsOf(selector)).toEqual(['spec.allowedNamespaces.from']);
    expect(pathsOf(selector, CLUSTER)).toEqual([]);
  });

  test.each<[object, string[]]>([
    [{ operator: 'In', values: ['a'] }, []],
    [{ operator: 'NotIn', values: ['a'] }, []],
    [{ operator: 'Exists' }, []],
    [{ operator: 'DoesNotExist' }, []],
    [{ operator: 'In' }, ['.values']],
    [{ operator: 'NotIn' }, ['.values']],
    [{ operator: 'In', values: [] }, ['.values']],
    [{ operator: 'Exists', values: ['a'] }, ['.values']],
    [{ operator: 'DoesNotExist', values: ['a'] }, ['.values']],
    [{ operator: 'Like', values: ['a'] }, ['.operator', '.values']],
  ])('a selector with %j', (expression, faults) => {
    const spec = withField(listener(), 'allowedNamespaces', {
      from: 'Selector',
      selector: { matchExpressions: [{ key: 'team', ...expression }] },
    });
    expect(pathsOf(spec, CLUSTER)).toEqual(faults.map((f) => `spec.allowedNamespaces.selector.matchExpressions[0]${f}`));
  });

  test.each<[string, string[]]>([
    ['team', []],
    ['example.com/team', []],
    ['constructor', []],
    // A map that is made by assignment has no such key, and a selector without a label selects every namespace.
    ['__proto__', ['.__proto__']],
    ['a b', ['["a b"]']],
    ['', ['[""]']],
    ['a/b/c', ['["a/b/c"]']],
    ['a'.repeat(318), [`.${'a'.repeat(318)}`]],
  ])('a selector with the label %j', (key, faults) => {
    const matchLabels: unknown = JSON.parse(`{${JSON.stringify(key)}: "a"}`);
    const spec = withField(listener(), 'allowedNamespaces', { from: 'Selector', selector: { matchLabels } });
    const { value } = validateListener(spec, { standalone: false, unknown: 'ignore' });
    expect(value?.allowedNamespaces.selector).toEqual(faults.length === 0 ? { matchLabels } : undefined);
    expect(pathsOf(spec, CLUSTER)).toEqual(faults.map((f) => `spec.allowedNamespaces.selector.matchLabels${f}`));
  });

  test('port 0 is any free port of a file only', () => {
    expect(pathsOf(withField(listener(), 'port', 0), CLUSTER)).toEqual(['spec.port']);
  });

  test('a cluster may drop unknown fields, but never those that restrict access', () => {
    const spec = withField(withField(withField(listener(), 'shiny', 1), 'tls.clientAuth', {}), 'tls.earlyData', true);
    expect(faultsOf(spec, { standalone: false, unknown: 'ignore' }).map((f) => f.path)).toEqual(['spec.tls.clientAuth']);
  });
});
