/** The command lines of h2load, and how what it prints is read. */
import { describe, expect, test } from '@jest/globals';
import {
  answerBytes,
  dialSeconds,
  faultOf,
  handshakeArguments,
  idleArguments,
  idleScript,
  latencyArguments,
  loadArguments,
  parseH2load,
  sessionArguments,
} from '../bench/proxy/h2load.ts';
import { ROWS, type Row } from '../bench/proxy/rows.ts';

const H2LOAD = `starting benchmark...
progress: 100% done

finished in 1m2.5s, 13496.00 req/s, 1.52MB/s
requests: 12000 total, 12000 started, 12000 done, 11990 succeeded, 10 failed, 2 errored, 1 timeout
status codes: 11990 2xx, 1 3xx, 7 4xx, 2 5xx
traffic: 4.61KB (4720) total, 2.58KB (2640) headers (space savings 34.00%), 1.60KB (1199000) data
UDP datagram: 150 sent, 108 received
`;

describe('h2load', () => {
  test('its summary is read', () => {
    expect(parseH2load(H2LOAD)).toEqual({
      seconds: 62.5,
      done: 12000,
      succeeded: 11990,
      failed: 13,
      statuses: [11990, 1, 7, 2],
      data: 1199000,
    });
  });

  test.each([
    ['4.02s', 4.02],
    ['980.50ms', 0.9805],
    ['77us', 77e-6],
    ['1m', 60],
  ])('%s', (text, seconds) => {
    expect(parseH2load(H2LOAD.replace('1m2.5s', text)).seconds).toBeCloseTo(seconds, 9);
  });

  test('a summary that is not there is an error that shows what there was', () => {
    expect(() => parseH2load('starting benchmark...\nno such host')).toThrow(/did not print "requests: "[^]*no such host/);
  });

  const good = { seconds: 1, done: 10, succeeded: 10, failed: 0, statuses: [10, 0, 0, 0] as const, data: 1000 };
  test('a run counts when every request was answered with 2xx, whole', () => {
    expect(faultOf(good, 10, 100)).toBeNull();
    expect(faultOf({ ...good, failed: 1 }, 10, 100)).toBe('1 of 10 requests failed');
    expect(faultOf({ ...good, succeeded: 9 }, 10, 100)).toBe('9 of 10 requests succeeded');
    expect(faultOf({ ...good, statuses: [9, 0, 0, 1] }, 10, 100)).toBe('9 answers of 10 were 2xx (0 3xx, 0 4xx, 1 5xx)');
    expect(faultOf({ ...good, data: 999 }, 10, 100)).toBe('999 bytes of bodies came instead of 1000');
    expect(faultOf({ ...good, data: Number.NaN }, 10, 100)).toBe('NaN bytes of bodies came instead of 1000');
    expect(faultOf(good, 11, 100)).toBe('10 of 11 requests succeeded');
  });

  const row = <K extends Row['kind']>(kind: K, name: string): Row & { kind: K } =>
    ROWS.find((r) => r.kind === kind && r.name === name) as Row & { kind: K };
  const args = (line: string): string[] => ['--h3', ...line.split(' ')];

  test('a closed loop', () => {
    expect(loadArguments(row('load', 'm8'), 4433, { host: 'r7.bench.test', clients: 8, requests: 500 }, '/body')).toEqual(
      args('--connect-to=127.0.0.1:4433 -n 500 -c 8 -m 8 https://r7.bench.test/small'),
    );
    expect(loadArguments(row('load', 'upload'), 1, { host: 'bench.test', clients: 32, requests: 64 }, '/body')).toEqual(
      args('--connect-to=127.0.0.1:1 -n 64 -c 32 -m 1 -d /body https://bench.test/upload'),
    );
    expect([answerBytes(row('load', 'download'), 100), answerBytes(row('load', 'upload'), 100)]).toEqual([1048576, 100]);
  });

  test('new connections: few at a time, and all with the session of a first one where they resume', () => {
    const full = { ...row('handshake', 'full'), seconds: 2 };
    expect(handshakeArguments(full, 1, '/small', null)).toEqual(
      args('--connect-to=127.0.0.1:1 -n 1600 -c 1600 -r 8 --rate-period=10ms https://bench.test/small'),
    );
    expect(handshakeArguments({ ...full, seconds: 0 }, 1, '/small', '/s')).toEqual(
      args('--connect-to=127.0.0.1:1 -n 8 -c 8 -r 8 --rate-period=10ms --tls-session-file=/s https://bench.test/small'),
    );
    expect(sessionArguments(1, '/small', '/s')).toEqual(
      args('--connect-to=127.0.0.1:1 -n 1 -c 1 --tls-session-file=/s https://bench.test/small'),
    );
  });

  test('an open loop: each client at its part of the pace, with room for all that may be open', () => {
    expect(latencyArguments({ ...row('latency', 'latency'), seconds: 2 }, 1, 3000, '/small', '/log')).toEqual(
      args('--connect-to=127.0.0.1:1 -n 6000 -c 32 -m 100 --rps=93.750 -r 1 --rate-period=3ms --log-file=/log https://bench.test/small'),
    );
  });

  test('idle connections: no faster than they are wanted, all idle at one time before the second request', () => {
    expect(idleArguments(4000, 1, '/s')).toEqual(
      '--h3 --connect-to=127.0.0.1:1 -c 4000 -r 50 --rate-period=100ms -n 2 --timing-script-file=/s'.split(' '),
    );
    expect(idleArguments(100, 1, '/s').join(' ')).toContain('-c 100 -r 10 --rate-period=100ms');
    expect(idleArguments(3, 1, '/s').join(' ')).toContain('-c 3 -r 1 --rate-period=100ms');
    expect([dialSeconds(4000), dialSeconds(100)]).toEqual([8, 1]);
    expect(idleScript(22, '/small')).toBe('0.0\thttps://bench.test/small\n22000.0\thttps://bench.test/small\n');
  });
});
