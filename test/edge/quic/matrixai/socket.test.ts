import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { expect, test } from '@jest/globals';
import { bindAll, expandHosts } from '../../../../src/edge/quic/matrixai/socket.ts';
import { MatrixaiEngine } from '../../../../src/edge/quic/matrixai/engine.ts';
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
  expect(() => expandHosts(['::'], { lo: [face('127.0.0.1')] })).toThrow('no interface');
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
