import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { bindAll, expandHosts } from '../../../../src/edge/quic/matrixai/socket.ts';
import { listen } from '../../../../src/edge/quic/matrixai/endpoint.ts';
import { MatrixaiEngine } from '../../../../src/edge/quic/matrixai/engine.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { connectOptions, echo, listenOptions, Recorder, send, text } from '../kit.ts';

const face = (address: string, more: Partial<NetworkInterfaceInfo> = {}): NetworkInterfaceInfo =>
  ({
    address,
    netmask: '',
    mac: '',
    internal: false,
    cidr: null,
    family: address.includes(':') ? 'IPv6' : 'IPv4',
    scopeid: 0,
    ...more,
  }) as NetworkInterfaceInfo;

const interfaces = {
  lo: [face('127.0.0.1'), face('::1')],
  eth0: [face('192.0.2.5'), face('2001:db8::5'), face('fe80::1', { scopeid: 2 } as never)],
};

test('wildcards become the addresses of the interfaces, without link-local ones and without doubles', () => {
  expect(expandHosts(['0.0.0.0'], interfaces)).toEqual(['127.0.0.1', '192.0.2.5']);
  expect(expandHosts(['::'], interfaces)).toEqual(['::1', '2001:db8::5']);
  expect(expandHosts(['127.0.0.1', '0.0.0.0', '::', '::1'], interfaces)).toEqual(['127.0.0.1', '192.0.2.5', '::1', '2001:db8::5']);
  expect(expandHosts(['198.51.100.1'], interfaces)).toEqual(['198.51.100.1']);
});

test('what is no address, and a wildcard that nobody has, are errors', () => {
  expect(() => expandHosts(['localhost'], interfaces)).toThrow('"localhost" is no IP address');
  const only = { lo: [face('127.0.0.1')] };
  expect(() => expandHosts(['::'], only)).toThrow('no interface');
  expect(() => expandHosts(['0.0.0.0', '::'], only)).toThrow(expect.objectContaining({ code: 'EADDRNOTAVAIL' }));
  expect(() => expandHosts([], interfaces)).toThrow('no interface');
});

const common = { reusePort: false, receiveBuffer: 300_000, sendBuffer: 300_000 };

test('port 0 is one port on all addresses; buffers are read back', async () => {
  const sockets = await bindAll(['127.0.0.1', '127.0.0.2', '127.0.0.3'], { ...common, port: 0 });
  try {
    expect(new Set(sockets.map((s) => s.port)).size).toBe(1);
    expect(sockets.map((s) => s.host)).toEqual(['127.0.0.1', '127.0.0.2', '127.0.0.3']);
    for (const s of sockets) {
      expect(s.receiveBuffer).toBeGreaterThanOrEqual(200_000);
      expect(s.receiveBuffer).toBeLessThanOrEqual(common.receiveBuffer);
    }
    await expect(bindAll(['127.0.0.1'], { ...common, port: sockets[0]?.port as number })).rejects.toThrow('EADDRINUSE');
    const shared = await bindAll(['127.0.0.4'], { ...common, port: 0, reusePort: true });
    const again = await bindAll(['127.0.0.4'], { ...common, port: shared[0]?.port as number, reusePort: true });
    await Promise.all([...shared, ...again].map((s) => s.close()));
  } finally {
    await Promise.all(sockets.map((s) => s.close()));
  }
});

const hasIPv6 = Object.values(networkInterfaces()).some((l) => l?.some((i) => i.address === '::1'));

test('a wildcard listener answers from the address that was asked, IPv6 where there is one', async () => {
  const errors: unknown[] = [];
  const engine = new MatrixaiEngine({ onInternalError: (...e) => errors.push(e) });
  const server = echo();
  const ep = await engine.listen(listenOptions({ hosts: hasIPv6 ? ['0.0.0.0', '::'] : ['0.0.0.0'] }), server);
  try {
    const hosts = ep.addresses.map((a) => a.host);
    expect(hosts).toContain('127.0.0.1');
    expect(hosts).not.toContain('0.0.0.0');
    for (const a of ep.addresses.filter((x) => x.host === '127.0.0.1' || x.host === '::1')) {
      const r = new Recorder();
      const c = await engine.connect(connectOptions(a.port, { host: a.host, sni: null }), r);
      send(c, 0, text(a.host), true);
      await r.until(() => r.seen(c, 0).fin);
      expect(r.seen(c, 0).data().toString()).toBe(a.host);
      c.close(true, 0x100, '');
    }
  } finally {
    await ep.close();
  }
  expect(errors).toEqual([]);
});

describe('a wildcard follows the interfaces', () => {
  const serve = async (hosts: readonly string[]) => {
    const clock = new ManualClock();
    const now = { lo: [face('127.0.0.1'), face('127.0.0.2')] };
    const errors: unknown[] = [];
    const report = (...e: unknown[]): unknown => errors.push(e);
    const server = echo();
    const ep = await listen(listenOptions({ hosts }), server, clock, report, () => now);
    const look = async (addresses: readonly string[], served: readonly string[]): Promise<void> => {
      now.lo = addresses.map((a) => face(a));
      clock.advance(5000);
      const hosts = (): string[] => ep.addresses.map((a) => a.host);
      // Binding takes turns of the loop, and so would a change that must not be.
      for (let i = 0; i < 500 && (i < 10 || hosts().join() !== served.join()); i++) await new Promise((done) => setImmediate(done));
      expect(hosts()).toEqual(served);
    };
    return { ep, server, errors, look, clock };
  };

  test('what is new is served, what is gone is left once nobody uses it', async () => {
    const { ep, server, errors, look } = await serve(['0.0.0.0']);
    const engine = new MatrixaiEngine();
    const port = ep.addresses[0]?.port as number;
    try {
      const three = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];
      await look(three, three);
      expect(new Set(ep.addresses.map((a) => a.port))).toEqual(new Set([port]));
      const r = new Recorder();
      const c = await engine.connect(connectOptions(port, { host: '127.0.0.3' }), r);
      send(c, 0, text('here'), true);
      await r.until(() => r.seen(c, 0).fin);
      const { datagrams } = ep.stats();
      await look(['127.0.0.1'], ['127.0.0.1', '127.0.0.3']);
      (server.conns[0] as { close(a: boolean, b: number, c: string): void }).close(true, 0x100, '');
      await r.until(() => r.closes.length === 1);
      expect(ep.stats().datagrams[1]).toBeGreaterThanOrEqual(datagrams[1]);
      await look([], ['127.0.0.1', '127.0.0.3']);
    } finally {
      await ep.close();
    }
    expect(errors).toEqual([]);
  });

  test('an address that is written out does not', async () => {
    const { ep, clock } = await serve(['127.0.0.1']);
    expect(clock.pending()).toBeLessThanOrEqual(1);
    const { clock: other, ep: any } = await serve(['0.0.0.0']);
    expect(other.pending()).toBe(clock.pending() + 1);
    await Promise.all([ep.close(), any.close()]);
    expect(other.pending()).toBe(clock.pending());
  });
});
