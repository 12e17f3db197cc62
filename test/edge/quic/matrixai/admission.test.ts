import type { RemoteInfo, Socket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { addressFrom } from '../../../../src/edge/quic/address.ts';
import { CidCodec, NO_SLOT } from '../../../../src/edge/quic/cid.ts';
import { Admission, LASTING_MS, type Accepted } from '../../../../src/edge/quic/matrixai/admission.ts';
import type { Conn } from '../../../../src/edge/quic/matrixai/conn.ts';
import type { Address, RetryMode } from '../../../../src/edge/quic/engine.ts';
import { Counters } from '../../../../src/edge/quic/matrixai/counters.ts';
import { UdpSocket } from '../../../../src/edge/quic/matrixai/socket.ts';
import { TlsContexts } from '../../../../src/edge/quic/matrixai/tls.ts';
import { sealToken } from '../../../../src/edge/quic/matrixai/token.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { listenOptions } from '../kit.ts';
import { clientHello, cryptoFrame, initial, withToken } from '../wire.ts';

const from: RemoteInfo = { address: '127.0.0.1', family: 'IPv4', port: 4000, size: 0 };
const hello = clientHello();

function stand(mode: RetryMode = 'off') {
  const o = listenOptions();
  const clock = new ManualClock(1000);
  const counters = new Counters();
  const accepted: Accepted[] = [];
  const sent: number[] = [];
  const socket = new UdpSocket(
    {
      address: () => ({ address: '127.0.0.1', family: 'IPv4', port: 443 }),
      send: (_b: Buffer, _o: number, n: number) => sent.push(n),
    } as unknown as Socket,
    0,
  );
  const delivered: Buffer[] = [];
  const begun = new Map<string, Conn>();
  const begin = (key: string): unknown => begun.set(key, { recv: (msg: Buffer) => delivered.push(msg) } as unknown as Conn);
  const find = (key: string): Conn | null => begun.get(key) ?? null;
  const port = { find, live: 0, handshaking: 0, accept: (a: Accepted) => accepted.push(a) > 0 };
  const tls = new TlsContexts(o.tls, { limits: o.limits, congestion: 'cubic' }, null);
  const codec = new CidCodec(o.cid.key, 1, 1);
  const admission = new Admission({ limits: o.limits, mode, tokenKeys: o.tokenKeys, tls, clock, codec, counters }, port);
  const offer = (msg: Buffer, key: string, address = from.address): void =>
    admission.push({ socket, msg, from: { ...from, address }, key, at: clock.now() });
  /** The Initial of a client that was asked to prove its address, and did; it begins, and turns out to be malformed. */
  const proven = (address: string): Buffer => {
    const dcid = codec.encode(NO_SLOT, 0, 0);
    const token = sealToken(o.tokenKeys, addressFrom(address, from.port) as Address, dcid, randomBytes(8), clock.wall());
    return withToken(initial(cryptoFrame(0, hello), { dcid }), token);
  };
  return { admission, counters, accepted, sent, clock, offer, begin, delivered, proven };
}

test('U9: the queue takes 2048, its oldest fall out and are refused, and a turn takes 32', () => {
  const s = stand();
  const packets = Array.from({ length: 2136 }, (_, i) => {
    const dcid = Buffer.alloc(8);
    dcid.writeUInt32BE(i);
    return initial(cryptoFrame(0, hello), { dcid });
  });
  packets.forEach((p, i) => s.offer(p, `${i}`));
  expect(s.counters.dropped.batch).toBe(88);
  expect(s.admission.run()).toBe(true);
  expect(s.accepted.length).toBe(32);
  expect(s.accepted.map((a) => a.arrival.key)).toEqual(Array.from({ length: 32 }, (_, i) => `${88 + i}`));
  let turns = 1;
  while (s.admission.run()) turns++;
  // The rate of handshakes from one prefix bounds the rest.
  expect(turns).toBe(21);
  expect(s.accepted.length + s.counters.dropped.handshake_rate).toBe(2048);
  expect(s.sent.length).toBe(88);
  expect([s.counters.handshakes.refused_limit, s.counters.answered.refused]).toEqual([88, 88]);
  for (const n of s.sent) expect(n).toBeLessThan(100);
});

test('U9: a turn that is behind takes four, and those who have waited for too long are refused, unless their connection has begun', () => {
  const s = stand();
  const newcomer = (key: string): void => s.offer(initial(cryptoFrame(0, hello), { dcid: randomBytes(8) }), key);
  for (let i = 0; i < 11; i++) newcomer(`${i}`);
  expect([s.admission.run(true), s.accepted.length]).toEqual([true, 4]);
  s.clock.advance(LASTING_MS - 1);
  newcomer('late');
  s.begin('5');
  expect([s.admission.run(true), s.accepted.length]).toEqual([true, 8]);
  s.clock.advance(1);
  s.begin('9');
  expect([s.admission.run(), s.accepted.map((a) => a.arrival.key)]).toEqual([false, ['0', '1', '2', '3', '4', '6', '7', '8', 'late']]);
  expect([s.counters.dropped.batch, s.counters.answered.refused, s.sent.length, s.delivered.length]).toEqual([1, 1, 1, 2]);
});

test('U9: whom a Retry answers keeps nobody waiting, also in a turn that is behind', () => {
  const s = stand('always');
  for (let i = 0; i < 32; i++) s.offer(initial(cryptoFrame(0, hello), { dcid: randomBytes(8) }), `${i}`);
  expect([s.admission.run(true), s.counters.answered.retry, s.counters.dropped.batch]).toEqual([false, 32, 0]);
});

test('U9: of those who are turned away so many a second are told', () => {
  const s = stand();
  for (let i = 0; i < 3536; i++) s.offer(initial(cryptoFrame(0, hello), { dcid: randomBytes(8) }), `${i}`);
  expect([s.counters.dropped.batch, s.counters.answered.refused]).toEqual([1488, 1250]);
});

test('U4: one host with tokens leaves half of the rate to others, and has what they leave', () => {
  const s = stand('always');
  let key = 0;
  const begins = (address: string): boolean => {
    const before = s.counters.dropped.malformed;
    s.offer(s.proven(address), `${++key}`, address);
    s.admission.run();
    return s.counters.dropped.malformed > before;
  };
  const begun = (n: number, address: (i: number) => string): number =>
    Array.from({ length: n }, (_, i) => begins(address(i))).filter(Boolean).length;
  s.admission.setLimits({ ...listenOptions().limits, handshakesPerSecond: 400, connections: 10_000, halfOpen: 10_000, perAddress: 10_000 });
  expect(begun(800, () => '192.0.2.1')).toBe(201);
  expect(begun(1, () => '192.0.2.77')).toBe(0);
  // But for the few that share its place.
  expect(begun(400, (i) => `198.51.${i % 100}.1`)).toBe(199);
  // Alone again it has all of the rate.
  s.clock.advance(500);
  let alone = 0;
  for (let i = 0; i < 1000; i++) {
    s.clock.advance(1);
    alone += begun(2, () => '192.0.2.1');
  }
  expect(alone).toBeGreaterThanOrEqual(399);
  expect(alone).toBeLessThanOrEqual(402);
});

test('U9: in a crowd that lasts a host that had many handshakes keeps nobody waiting', () => {
  const s = stand();
  let key = 0;
  const send = (address: string): void => s.offer(s.proven(address), `${++key}`, address);
  for (let i = 0; i < 128; i++) send('192.0.2.1');
  while (s.admission.run());
  for (let i = 0; i < 80; i++) send('192.0.2.1');
  s.clock.advance(LASTING_MS);
  expect([s.counters.dropped.malformed, s.counters.dropped.batch]).toEqual([128, 0]);
  s.offer(s.proven('192.0.2.1'), `${key}`, '192.0.2.1');
  expect(s.counters.dropped.batch).toBe(0);
  send('192.0.2.1');
  expect(s.counters.dropped.batch).toBe(1);
  // By chance one may share its place among 4096.
  for (let i = 0; i < 10; i++) send(`198.51.${i}.1`);
  const refused = s.counters.dropped.batch;
  expect(refused).toBeLessThanOrEqual(2);
  s.admission.run();
  // Those have waited too long, the others have not.
  expect([s.counters.dropped.batch, s.counters.dropped.malformed]).toEqual([refused + 80, 128 + 1 + 11 - refused]);
});

test('unfinished hellos are at most 1024; the oldest give way', () => {
  const s = stand();
  const o = { ...listenOptions().limits, handshakesPerSecond: 1_000_000, halfOpen: 5000, connections: 5000 };
  s.admission.setLimits(o);
  s.clock.advance(1000);
  for (let i = 0; i < 1100; i++) {
    s.offer(initial(cryptoFrame(0, hello.subarray(0, 50)), { dcid: randomBytes(8) }), `${i}`);
    s.admission.run();
  }
  expect(s.admission.pendingHellos).toBe(1024);
  expect(s.counters.dropped.half_open).toBe(76);
  s.clock.advance(5000);
  s.admission.expire();
  expect(s.admission.pendingHellos).toBe(0);
  expect(s.counters.handshakes.client_gone).toBe(1024);
});

test('one client may not feed pieces for ever', () => {
  const s = stand();
  const dcid = randomBytes(8);
  for (let i = 0; i < 20; i++) s.offer(initial(cryptoFrame(i * 3, hello.subarray(i * 3, i * 3 + 2)), { dcid, number: i }), 'one');
  s.admission.run();
  expect(s.admission.pendingHellos).toBe(1);
  expect(s.counters.dropped.half_open).toBe(8);
});

test('the certificate is chosen by a hello that came in pieces, and all of its datagrams go on', () => {
  const s = stand();
  const dcid = randomBytes(8);
  for (let i = 0; i < 3; i++)
    s.offer(initial(cryptoFrame(i * 100, hello.subarray(i * 100, i === 2 ? hello.length : (i + 1) * 100)), { dcid, number: i }), 'one');
  s.admission.run();
  expect(s.accepted.length).toBe(1);
  expect(s.accepted[0]?.hello.sni).toBe('localhost');
  expect(s.accepted[0]?.datagrams.length).toBe(3);
  expect(s.accepted[0]?.id).toBeNull();
});

test('U4: handshakes that come to nothing at once call for Retry, and leave most of the rate to others', () => {
  const forged = (): Buffer => {
    const packet = initial(cryptoFrame(0, hello), { dcid: randomBytes(8) });
    packet[packet.length - 1] = (packet.at(-1) as number) ^ 1;
    return packet;
  };
  const broken = (): Buffer => initial(cryptoFrame(0, Buffer.from([2, 0, 0, 1, 0])), { dcid: randomBytes(8) });
  const inPieces = (): Buffer => initial(cryptoFrame(0, hello.subarray(0, 50)), { dcid: randomBytes(8) });
  const stranger = clientHello({ alpn: ['h2'] });
  const strange = (): Buffer => initial(cryptoFrame(0, stranger), { dcid: randomBytes(8) });
  for (const [make, retries] of [
    [forged, 50],
    [broken, 50],
    [strange, 50],
    // These are half-open: as before.
    [inPieces, 0],
  ] as const) {
    const s = stand();
    s.admission.setLimits({ ...listenOptions().limits, handshakesPerSecond: 40, retryAbove: 100 });
    s.admission.mode = 'load';
    for (let i = 0; i < 60; i++) s.offer(make(), `${i}`);
    while (s.admission.run());
    if (retries === 0) {
      expect([s.counters.answered.retry, s.counters.dropped.handshake_rate]).toEqual([0, 20]);
      continue;
    }
    expect([s.counters.answered.retry, s.counters.dropped.handshake_rate]).toEqual([retries, 0]);
    // Forgotten with time.
    s.clock.advance(1000);
    s.offer(initial(cryptoFrame(0, hello), { dcid: randomBytes(8) }), 'honest');
    s.admission.run();
    expect([s.accepted.length, s.counters.answered.retry]).toEqual([1, retries]);
  }
});

test('newcomers beyond the rate are dropped before a Retry is sealed, and asked back when there is room', () => {
  const s = stand();
  const newcomer = (key: string): void => s.offer(initial(cryptoFrame(0, hello), { dcid: randomBytes(8) }), key);
  s.admission.setLimits({ ...listenOptions().limits, handshakesPerSecond: 1 });
  newcomer('a');
  s.admission.run();
  expect([s.accepted.length, s.counters.dropped.handshake_rate]).toEqual([1, 0]);
  s.admission.mode = 'always';
  newcomer('b');
  s.admission.run();
  expect([s.accepted.length, s.counters.dropped.handshake_rate, s.sent.length]).toEqual([1, 1, 0]);
  s.clock.advance(1000);
  newcomer('c');
  s.admission.run();
  expect([s.accepted.length, s.counters.dropped.handshake_rate, s.sent.length, s.counters.answered.retry]).toEqual([1, 1, 1, 1]);
});
