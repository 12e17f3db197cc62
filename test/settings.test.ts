import { describe, expect, test } from '@jest/globals';
import { readSettings, SETTINGS, type SettingsDocument } from '../src/contract/resources/index.ts';
import { changedSettings, readServeSettings, type ServeSettings } from '../src/settings.ts';

const read = (flags: Record<string, string> = {}, env: Record<string, string> = {}, spec: Record<string, unknown> | null = null) => {
  const document: SettingsDocument | null = spec === null ? null : readSettings(spec).settings;
  return readServeSettings({ flags: new Map(Object.entries(flags)), env, document });
};
const good = (...args: Parameters<typeof read>): ServeSettings => {
  const result = read(...args);
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
};
const problems = (...args: Parameters<typeof read>): string[] => {
  const result = read(...args);
  return result.ok ? [] : result.error.map((p) => `${p.source}: ${p.message}`);
};

test('the defaults are those of the documentation', () => {
  expect(good()).toEqual({
    workers: 'auto',
    workerMemory: 'auto',
    metrics: { host: '127.0.0.1', port: 9901 },
    admin: { host: '127.0.0.1', port: 9902 },
    adminTokenFile: null,
    logLevel: 'info',
    logFormat: null,
    accessLog: 'errors',
    metricsDetail: 'upstream',
    engine: 'auto',
    drainDelay: 0,
    drainTimeout: 30_000,
    keyFile: null,
    nodeName: null,
    maxConnections: 20_000,
    udpReceiveBuffer: 8 * 1024 * 1024,
    udpSendBuffer: 8 * 1024 * 1024,
    logFile: null,
    endpointDeny: [],
    runtimeDir: null,
    takeover: null,
    cluster: null,
  });
});

describe('a cluster', () => {
  const cluster = (flags: Record<string, string> = {}, env: Record<string, string> = {}) =>
    good({ '--kubernetes': '', ...flags }, env).cluster;

  test('the defaults are closed', () => {
    expect(cluster()).toEqual({
      kubernetes: true,
      kubeconfig: null,
      context: null,
      class: 'spooky',
      namespaces: null,
      listenerNamespaces: [],
      secretNamespaces: [],
      ports: null,
      publishService: null,
      publishAddresses: [],
      publishNodeAddresses: false,
      allowAddressBackends: false,
      role: 'all',
      topology: 'pod',
    });
  });

  test('flags and environment, with switches that have a value only in the environment', () => {
    const flags = { '--class': 'edge', '--namespaces': 'a, b,a', '--listener-namespaces': 'all', '--ports': '8443,9443', '--role': 'edge' };
    const env = { SPOOKY_KUBERNETES: 'true', SPOOKY_ALLOW_ADDRESS_BACKENDS: '1', SPOOKY_PUBLISH_SERVICE: 'x/y', SPOOKY_CLASS: 'hidden' };
    expect(good(flags, env).cluster).toMatchObject({
      class: 'edge',
      namespaces: ['a', 'b'],
      listenerNamespaces: null,
      ports: [8443, 9443],
      role: 'edge',
      allowAddressBackends: true,
      publishService: { namespace: 'x', name: 'y' },
    });
    expect(good({}, { SPOOKY_KUBERNETES: 'false' }).cluster).toBeNull();
    expect(cluster({ '--publish-addresses': '192.0.2.1,2001:db8::1,lb.example.net' })?.publishAddresses).toHaveLength(3);
  });

  test.each([
    ['--class', 'a b'],
    ['--namespaces', 'A'],
    ['--namespaces', ','],
    ['--listener-namespaces', 'a/b'],
    ['--secret-namespaces', '*'],
    ['--ports', '0'],
    ['--ports', '65536'],
    ['--ports', 'https'],
    ['--publish-service', 'edge'],
    ['--publish-service', 'a/b/c'],
    ['--publish-addresses', 'http://a'],
    ['--role', 'leader'],
    ['--context', ''],
    ['--kubeconfig', ''],
  ])('%s %j is refused', (flag, value) => {
    const found = problems({ '--kubernetes': '', [flag]: value });
    expect(found).toHaveLength(1);
    expect(found[0]?.startsWith(`${flag}: must be `)).toBe(true);
  });

  test('a flag of clusters without --kubernetes is a mistake', () => {
    expect(problems({ '--class': 'edge', '--ports': '1' })).toEqual(['--class: needs --kubernetes', '--ports: needs --kubernetes']);
    expect(problems({}, { SPOOKY_CLASS: 'edge' })).toEqual([]);
  });
});

describe('precedence, for every setting', () => {
  // Three values that differ from each other and from the default.
  const VALUES: Record<string, readonly [string, string, string]> = {
    workers: ['2', '3', '4'],
    workerMemory: ['1Gi', 'off', '64Mi'],
    metrics: ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3'],
    admin: ['127.0.0.1:4', '127.0.0.1:5', '127.0.0.1:6'],
    adminTokenFile: ['/a', '/b', '/c'],
    logLevel: ['haunt', 'scream', 'poltergeist'],
    logFormat: ['json', 'plain', 'json'],
    accessLog: ['off', 'all', 'off'],
    metricsDetail: ['listener', 'endpoint', 'listener'],
    engine: ['native', 'matrixai', 'native'],
    drainDelay: ['1s', '2s', '3s'],
    drainTimeout: ['1s', '2s', '3s'],
    keyFile: ['/a', '/b', '/c'],
    nodeName: ['a', 'b', 'c'],
    maxConnections: ['1', '2', '3'],
    udpReceiveBuffer: ['1Mi', '2Mi', '3Mi'],
    udpSendBuffer: ['1Mi', '2Mi', '3Mi'],
    logFile: ['/a', '/b', '/c'],
    endpointDeny: ['10.0.0.0/8', '192.0.2.0/24', '2001:db8::/32'],
    runtimeDir: ['/a', '/b', '/c'],
    takeover: ['/a', '/b', '/c'],
  };

  test.each(SETTINGS.map((s) => [s.name, s] as const))('%s: flag, then environment, then document, then default', (name, s) => {
    const [flag, env, document] = VALUES[name] as readonly [string, string, string];
    const value = (text: string): unknown => {
      const parsed = s.parse(text);
      return parsed.ok ? parsed.value : undefined;
    };
    const spec = { [name]: document };
    expect(good({ [s.flag]: flag }, { [s.env]: env }, spec)[name]).toEqual(value(flag));
    expect(good({}, { [s.env]: env }, spec)[name]).toEqual(value(env));
    expect(good({}, {}, spec)[name]).toEqual(value(document));
    expect(good({}, {}, {})[name]).toEqual(s.default);
  });
});

test('what a document turns off is off, and a flag turns it on again', () => {
  const off = { metrics: 'off', admin: 'off' };
  expect(good({}, {}, off)).toMatchObject({ metrics: null, admin: null });
  expect(good({ '--admin': '127.0.0.1:1' }, {}, off).admin).toEqual({ host: '127.0.0.1', port: 1 });
  expect(good({}, { SPOOKY_ADMIN: 'off' }, { admin: '127.0.0.1:1' }).admin).toBeNull();
});

describe('problems', () => {
  test('are all reported at once, each with where it was written', () => {
    const found = problems(
      { '--log-level': 'loud', '--workers': '0' },
      { SPOOKY_DRAIN_TIMEOUT: 'soon', SPOOKY_LOG_LEVEL: 'hidden by the flag' },
    );
    expect(found.map((p) => p.split(':')[0])).toEqual(['--workers', '--log-level', 'SPOOKY_DRAIN_TIMEOUT']);
    expect(found[1]).toContain('poltergeist');
  });

  test('nobody takes over in a cluster, where a pod has its own processes', () => {
    expect(problems({ '--kubernetes': '', '--takeover': '/run/spooky/takeover' })).toEqual([
      '--takeover: not with --kubernetes: a pod has its own processes and sockets, and a rollout replaces it as a whole',
    ]);
    expect(problems({ '--takeover': '/run/spooky/takeover' })).toEqual([]);
  });

  test('the admin API binds beyond loopback only with a token', () => {
    expect(problems({ '--admin': '0.0.0.0:9902' })).toEqual([
      '--admin: without --admin-token-file the admin API binds loopback only, not 0.0.0.0',
    ]);
    expect(problems({ '--admin': '127.0.0.1.evil.example:9902' })).toHaveLength(1);
    expect(problems({ '--admin': '0.0.0.0:9902', '--admin-token-file': '/t' })).toEqual([]);
    for (const host of ['127.0.0.1', '127.8.8.8', '[::1]', 'localhost']) expect(problems({ '--admin': `${host}:9902` })).toEqual([]);
    expect(problems({ '--admin': 'off' })).toEqual([]);
  });

  test('metrics and admin have different addresses', () => {
    expect(problems({ '--admin': '127.0.0.1:9901' })).toEqual(['--admin: must be another address than --metrics']);
    expect(problems({ '--admin': '127.0.0.1:0', '--metrics': '127.0.0.1:0' })).toEqual([]);
  });

  test('what others put into the environment under our prefix is not judged', () => {
    expect(problems({}, { SPOOKY_PORT: 'tcp://10.0.0.1:8443', SPOOKY_SERVICE_HOST: '10.0.0.1' })).toEqual([]);
  });
});

test('the object cannot be changed', () => {
  expect(Object.isFrozen(good())).toBe(true);
});

test('changes are named', () => {
  expect(changedSettings(good(), good({ '--log-level': 'debug', '--endpoint-deny': '10.0.0.0/8' }))).toEqual(['logLevel', 'endpointDeny']);
});
