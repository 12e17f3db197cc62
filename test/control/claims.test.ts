import { createSocket, type Socket } from 'node:dgram';
import { afterEach, expect, test } from '@jest/globals';
import { Claims } from '../../src/control/claims.ts';
import { ManualClock } from '../../src/lib/clock.ts';

const open: Socket[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.close();
});

/** Somebody who would share: the kernel would let us in beside it. */
const bind = (port = 0, address = '127.0.0.1'): Promise<number> => {
  const socket = createSocket({ type: 'udp4', reusePort: true });
  open.push(socket);
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => resolve(socket.address().port));
  });
};

test('what somebody else has is taken, also when the kernel would let us share it', async () => {
  const claims = new Claims(new ManualClock());
  const port = await bind();
  expect(await claims.taken({ port, addresses: ['127.0.0.1'] })).toBe(true);
  expect(await claims.taken({ port, addresses: ['127.0.0.2'] })).toBe(false);
  expect(await claims.taken({ port, addresses: ['127.0.0.2', '127.0.0.1'] })).toBe(true);
  expect(await claims.taken({ port, addresses: [] })).toBe(true);
  open.pop()?.close();
  expect(await claims.taken({ port, addresses: [] })).toBe(false);
  // The look leaves nothing behind.
  expect(await bind(port)).toBe(port);
});

test('what is ours is not taken: now, for as long as it may take to leave, and what another tree of ours has', async () => {
  const clock = new ManualClock();
  const claims = new Claims(clock);
  const port = await bind();
  const part = { port, addresses: ['127.0.0.1'] };
  claims.hold(new Set([port]));
  expect([claims.ports(), await claims.taken(part)]).toEqual([[port], false]);
  claims.hold(new Set());
  clock.advance(60_000);
  expect(await claims.taken(part)).toBe(false);
  clock.advance(60_000);
  expect([claims.ports(), await claims.taken(part)]).toEqual([[], true]);
  claims.inherit([port]);
  expect(await claims.taken(part)).toBe(false);
  claims.inherit([]);
  expect(await claims.taken(part)).toBe(true);
});

test('any port, and addresses that nobody has, are not its business', async () => {
  const claims = new Claims(new ManualClock());
  expect(await claims.taken({ port: 0, addresses: ['127.0.0.1'] })).toBe(false);
  expect(await claims.taken({ port: 4433, addresses: ['192.0.2.1', '2001:db8::1'] })).toBe(false);
});
