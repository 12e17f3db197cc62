/** What the kernel dropped is each socket's own, whoever else has the port. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { NetworkInterfaceInfo } from 'node:os';
import { expect, test } from '@jest/globals';
import { listen } from '../../../../src/edge/quic/matrixai/endpoint.ts';
import { MatrixaiEngine } from '../../../../src/edge/quic/matrixai/engine.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { echo, listenOptions } from '../kit.ts';

const SMALL = { receiveBuffer: 4096 };

/** All in one turn, in which nobody reads: the buffer has room for a few. */
async function flood(host: string, port: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  let left = 200;
  await new Promise<void>((done, fail) => {
    const sent = (e: Error | null): void => void (e !== null ? fail(e) : --left === 0 && done());
    for (let i = left; i > 0; i--) socket.send(Buffer.alloc(1000), port, host, sent);
  });
  await new Promise<void>((done) => socket.close(done));
}

test('two listeners with one port count their own', async () => {
  const engine = new MatrixaiEngine();
  const a = await engine.listen(listenOptions(SMALL), echo());
  const port = a.addresses[0]?.port as number;
  const b = await engine.listen(listenOptions({ ...SMALL, hosts: ['127.0.0.2'], port }), echo());
  try {
    await flood('127.0.0.1', port);
    expect(a.stats().kernelDrops).toBeGreaterThan(0);
    expect(b.stats().kernelDrops).toBe(0);
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
});

test('they stay counted when the address has gone', async () => {
  const clock = new ManualClock();
  const face = (address: string): NetworkInterfaceInfo => ({ address, family: 'IPv4', scopeid: 0 }) as unknown as NetworkInterfaceInfo;
  const now = { lo: [face('127.0.0.1'), face('127.0.0.2')] };
  const ep = await listen(listenOptions({ ...SMALL, hosts: ['0.0.0.0'] }), echo(), clock, () => undefined, () => now); // prettier-ignore
  try {
    await flood('127.0.0.2', ep.addresses[0]?.port as number);
    now.lo.pop();
    clock.advance(5000);
    for (let i = 0; i < 500 && ep.addresses.length > 1; i++) await new Promise((done) => setImmediate(done));
    expect(ep.addresses).toHaveLength(1);
    const dropped = ep.stats().kernelDrops;
    expect(dropped).toBeGreaterThan(0);
    clock.advance(5000);
    expect(ep.stats().kernelDrops).toBe(dropped);
  } finally {
    await ep.close();
  }
});
