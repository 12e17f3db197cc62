import { describe, expect, test } from '@jest/globals';
import { SETTINGS, readSettings, settingByName } from '../../../src/contract/resources/index.ts';

const parse = (name: string, text: string) => (settingByName.get(name) as (typeof SETTINGS)[number]).parse(text);

describe('the table of settings', () => {
  test('names, flags and variables go together', () => {
    expect(SETTINGS.map((s) => [s.name, s.flag, s.env, s.default])).toEqual([
      ['workers', '--workers', 'SPOOKY_WORKERS', 'auto'],
      ['workerMemory', '--worker-memory', 'SPOOKY_WORKER_MEMORY', 'auto'],
      ['metrics', '--metrics', 'SPOOKY_METRICS', { host: '127.0.0.1', port: 9901 }],
      ['admin', '--admin', 'SPOOKY_ADMIN', { host: '127.0.0.1', port: 9902 }],
      ['adminTokenFile', '--admin-token-file', 'SPOOKY_ADMIN_TOKEN_FILE', null],
      ['logLevel', '--log-level', 'SPOOKY_LOG_LEVEL', 'info'],
      ['logFormat', '--log-format', 'SPOOKY_LOG_FORMAT', null],
      ['accessLog', '--access-log', 'SPOOKY_ACCESS_LOG', 'errors'],
      ['metricsDetail', '--metrics-detail', 'SPOOKY_METRICS_DETAIL', 'upstream'],
      ['engine', '--engine', 'SPOOKY_ENGINE', 'auto'],
      ['drainDelay', '--drain-delay', 'SPOOKY_DRAIN_DELAY', 0],
      ['drainTimeout', '--drain-timeout', 'SPOOKY_DRAIN_TIMEOUT', 30_000],
      ['keyFile', '--key-file', 'SPOOKY_KEY_FILE', null],
      ['nodeName', '--node-name', 'SPOOKY_NODE_NAME', null],
      ['maxConnections', '--max-connections', 'SPOOKY_MAX_CONNECTIONS', 20_000],
      ['udpReceiveBuffer', '--udp-receive-buffer', 'SPOOKY_UDP_RECEIVE_BUFFER', 8 * 1024 ** 2],
      ['udpSendBuffer', '--udp-send-buffer', 'SPOOKY_UDP_SEND_BUFFER', 8 * 1024 ** 2],
      ['logFile', '--log-file', 'SPOOKY_LOG_FILE', null],
      ['endpointDeny', '--endpoint-deny', 'SPOOKY_ENDPOINT_DENY', []],
      ['runtimeDir', '--runtime-dir', 'SPOOKY_RUNTIME_DIR', null],
      ['takeover', '--takeover', 'SPOOKY_TAKEOVER', null],
    ]);
  });

  test.each<[string, string, unknown]>([
    ['workers', 'auto', 'auto'],
    ['workers', '8', 8],
    ['workerMemory', 'auto', 'auto'],
    ['workerMemory', 'off', null],
    ['workerMemory', '1Gi', 1024 ** 3],
    ['metrics', 'off', null],
    ['metrics', ':0', { host: '::', port: 0 }],
    ['admin', '[::1]:9902', { host: '::1', port: 9902 }],
    ['logLevel', 'poltergeist', 'error'],
    ['logLevel', 'silence', 'off'],
    ['logFormat', 'json', 'json'],
    ['drainTimeout', '1m', 60_000],
    ['drainDelay', '0s', 0],
    ['maxConnections', '10000000', 10_000_000],
    ['udpReceiveBuffer', '4Ki', 4096],
    ['endpointDeny', '10.0.0.0/8, 192.0.2.1,::1', ['10.0.0.0/8', '192.0.2.1/32', '::1/128']],
  ])('%s %j is %j', (name, text, value) => {
    expect(parse(name, text)).toEqual({ ok: true, value });
  });

  test.each<[string, string]>([
    ['workers', '0'],
    ['workers', '257'],
    ['workers', '1.5'],
    ['workers', '0x2'],
    ['workerMemory', '31Mi'],
    ['workerMemory', '2Ti'],
    ['workerMemory', '50%'],
    ['metrics', '9901'],
    ['metrics', 'example.com:9901'],
    ['metrics', '127.0.0.1:65536'],
    ['admin', 'on'],
    ['logLevel', 'verbose'],
    ['logFormat', 'xml'],
    ['accessLog', 'none'],
    ['engine', 'quiche'],
    ['drainDelay', '30'],
    ['drainTimeout', '25h'],
    ['maxConnections', '-1'],
    ['udpSendBuffer', '1M'],
    ['logFile', ''],
    ['nodeName', 'a b'],
    ['endpointDeny', '10.0.0.0/33'],
  ])('%s %j is refused', (name, text) => {
    const parsed = parse(name, text);
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) expect(parsed.error).toMatch(/^must be /);
  });
});

test('a document may write numbers and lists as YAML has them', () => {
  expect(readSettings({ workers: 2, endpointDeny: ['10.0.0.0/8', '::1/128'], accessLog: 'off', udpSendBuffer: 4096 })).toEqual({
    settings: { workers: 2, endpointDeny: ['10.0.0.0/8', '::1/128'], accessLog: 'off', udpSendBuffer: 4096 },
    faults: [],
  });
});

test('every fault of a document comes at once, and the rest is read', () => {
  const { settings, faults } = readSettings({ workers: [1], logLevel: 'loud', accessLog: 'all', logFormat: true });
  expect(settings).toEqual({ accessLog: 'all' });
  expect(faults.map((f) => f.name)).toEqual(['workers', 'logLevel', 'logFormat']);
});
