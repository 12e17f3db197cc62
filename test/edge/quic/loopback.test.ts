import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { addressFrom } from '../../../src/edge/quic/address.ts';
import type { Address } from '../../../src/edge/quic/engine.ts';
import { Handover, type HandoverOptions } from '../../../src/edge/quic/handover.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { eventually } from '../../kit/process.ts';
import { UdpPeer } from '../../kit/udp.ts';

const NAME = 'feedfacefeedface';
const SECRET = Buffer.alloc(32, 7);
const FROM = addressFrom('192.0.2.1', 4433) as Address;
const TO = addressFrom('2001:db8::1', 443) as Address;
const HEADER = 37;

let folder: string;
const open: { close: () => unknown }[] = [];
const errors: unknown[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'spooky-loopback-'));
});
afterEach(async () => {
  for (const o of open.splice(0)) await o.close();
  rmSync(folder, { recursive: true });
  expect(errors.splice(0)).toEqual([]);
});

interface Got {
  readonly bytes: string;
  readonly from: Address;
  readonly to: Address;
}

async function worker(workerId: number, more: Partial<HandoverOptions> = {}): Promise<{ handover: Handover; got: Got[] }> {
  const got: Got[] = [];
  const handover = await Handover.open({
    folder,
    name: NAME,
    workerId,
    secret: SECRET,
    receiveBuffer: 1 << 20,
    clock: systemClock,
    report: (_, e) => errors.push(e),
    deliver: (datagram, from, to) => {
      got.push({ bytes: datagram.toString('latin1'), from, to });
      return datagram.toString('latin1') !== 'not ours';
    },
    ...more,
  });
  open.push(handover);
  return { handover, got };
}

const until = (check: () => boolean): Promise<void> =>
  eventually(() => (check() ? Promise.resolve() : Promise.reject(new Error('not yet'))));

test('a datagram arrives with both of its addresses, and is counted at both ends', async () => {
  const [a, b] = [await worker(1), await worker(2)];
  expect(a.handover.send(2, Buffer.from('hello'), FROM, TO)).toBe(true);
  expect(a.handover.send(2, Buffer.from('not ours'), FROM, TO)).toBe(true);
  await until(() => b.got.length === 2);
  expect(b.got[0]).toEqual({ bytes: 'hello', from: FROM, to: TO });
  expect(a.handover.counts).toEqual({ sent: 2, received: 0, delivered: 0, lost: 0, refused: 0 });
  expect(b.handover.counts).toEqual({ sent: 0, received: 2, delivered: 1, lost: 0, refused: 1 });
});

test('a worker that never was, has ended, or died without a word is gone', async () => {
  const [a, b] = [await worker(1), await worker(2)];
  expect(a.handover.send(9, Buffer.from('x'), FROM, TO)).toBe(false);
  await b.handover.close();
  expect(readdirSync(folder)).toEqual([`1-${NAME}.udp`]);
  expect(a.handover.send(2, Buffer.from('x'), FROM, TO)).toBe(false);
  // 2^22 processes are the most that Linux has.
  writeFileSync(join(folder, `3-${NAME}.udp`), '127.0.0.1 4433 9999999\n');
  expect(a.handover.send(3, Buffer.from('x'), FROM, TO)).toBe(false);
  for (const bad of ['', '127.0.0.1', '8.8.8.8 443 1\n', '127.0.0.1 4433 -1\n']) {
    writeFileSync(join(folder, `4-${NAME}.udp`), bad);
    expect((await worker(5)).handover.send(4, Buffer.from('x'), FROM, TO)).toBe(false);
  }
  expect(a.handover.counts).toEqual({ sent: 0, received: 0, delivered: 0, lost: 3, refused: 0 });
});

test('who takes the number of one that ended is found again', async () => {
  const [a, b] = [await worker(1), await worker(2)];
  expect(a.handover.send(2, Buffer.from('first'), FROM, TO)).toBe(true);
  await until(() => b.got.length === 1);
  const c = await worker(2);
  // The older one closes when the newer one is there already: it must not take the file along.
  await b.handover.close();
  expect(readdirSync(folder)).toContain(`2-${NAME}.udp`);
  await until(() => {
    a.handover.send(2, Buffer.from('second'), FROM, TO);
    return c.got.length > 0;
  });
  expect(c.got[0]?.bytes).toBe('second');
});

test('what has no MAC of ours is refused, whatever it says', async () => {
  const b = await worker(2);
  const stranger = await worker(3, { secret: Buffer.alloc(32, 8) });
  const peer = await UdpPeer.open('127.0.0.1');
  open.push(peer);
  const port = Number(readFileSync(join(folder, `2-${NAME}.udp`), 'latin1').split(' ')[1]);
  const forged = [
    Buffer.alloc(0),
    Buffer.alloc(1),
    Buffer.alloc(HEADER + 16),
    Buffer.concat([Buffer.from([1]), Buffer.alloc(100)]),
    Buffer.concat([Buffer.from([2]), Buffer.alloc(1500, 0xff)]),
  ];
  for (const bytes of forged) peer.send(bytes, { host: '127.0.0.1', port });
  stranger.handover.send(2, Buffer.from('let me in'), FROM, TO);
  await until(() => b.handover.counts.received === forged.length + 1);
  expect(b.handover.counts).toMatchObject({ delivered: 0, refused: forged.length + 1 });
  expect(b.got).toEqual([]);
});

test('a datagram that does not fit is lost, and nothing else with it', async () => {
  const [a, b] = [await worker(1), await worker(2)];
  expect(a.handover.send(2, Buffer.alloc(65_500), FROM, TO)).toBe(true);
  expect(a.handover.send(2, Buffer.alloc(60_000, 'x'), FROM, TO)).toBe(true);
  await until(() => b.got.length === 1);
  expect(b.got[0]?.bytes.length).toBe(60_000);
  expect(a.handover.counts).toMatchObject({ sent: 1, lost: 1 });
});

test('without its folder it is refused, with the error of the system', async () => {
  await expect(worker(1, { folder: join(folder, 'nowhere') })).rejects.toThrow(/ENOENT/);
});
