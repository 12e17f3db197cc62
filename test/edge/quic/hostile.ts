import { randomBytes } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemClock, type Clock } from '../../../src/lib/clock.ts';
import { addressFrom } from '../../../src/edge/quic/address.ts';
import { CidCodec } from '../../../src/edge/quic/cid.ts';
import { DROPS, type Drop, type EndpointStats, type Limits, type QuicConn, type QuicEndpoint } from '../../../src/edge/quic/engine.ts';
import { deriveCidKey, deriveResetKey } from '../../../src/edge/quic/keys.ts';
import { resetToken } from '../../../src/edge/quic/matrixai/reset.ts';
import { sealToken } from '../../../src/edge/quic/matrixai/token.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import type { Made, Nature } from './conformance.ts';
import { connectOptions, echo, entry, INSTALLATION, listenOptions, pattern, Recorder, send, table } from './kit.ts';
import {
  clientHello,
  closeCode,
  cryptoFrame,
  garbage,
  initial,
  longHeader,
  RawClient,
  readRetry,
  shortHeader,
  Wire,
  withToken,
} from './wire.ts';
import { slowness } from '../../kit/cost.ts';

type Drops = Partial<Record<Drop, number>>;

const keys = { cid: deriveCidKey(INSTALLATION), reset: deriveResetKey(INSTALLATION, 0) };

function dropsSince(before: EndpointStats, now: EndpointStats): Drops {
  const out: Drops = {};
  for (const d of DROPS) if (now.dropped[d] !== before.dropped[d]) out[d] = now.dropped[d] - before.dropped[d];
  return out;
}

/** Time that tests can set: the wall for tokens, both for rates. */
class Shifted implements Clock {
  shift = 0;
  now = (): number => systemClock.now() + this.shift;
  wall = (): number => systemClock.wall() + this.shift;
  after = systemClock.after;
}

/** What engines do with datagrams that no honest client sends, while an honest one works beside them. */
export function datagramSuite(name: string, make: (clock: Clock) => Made, nature: Nature = {}): void {
  describe(`datagrams at ${name}`, () => {
    const wires: Wire[] = [];
    const open: QuicEndpoint[] = [];
    const clients: QuicConn[] = [];
    let clock: Shifted;
    let made: Made;

    interface Stage {
      readonly ep: QuicEndpoint;
      readonly port: number;
      readonly w: Wire;
      readonly server: Recorder;
      readonly before: EndpointStats;
      readonly client: QuicConn;
    }

    let honest: { c: QuicConn; r: Recorder; id: number };

    const wire = async (host?: string): Promise<Wire> => {
      const w = await Wire.open(host);
      wires.push(w);
      return w;
    };
    const stage = async (more: Parameters<typeof listenOptions>[0] = {}): Promise<Stage> => {
      clock = new Shifted();
      made = make(clock);
      const server = echo();
      const ep = await made.engine.listen(listenOptions(more), server);
      open.push(ep);
      const port = ep.addresses[0]?.port as number;
      const r = new Recorder();
      const c = await made.engine.connect(connectOptions(port), r);
      clients.push(c);
      honest = { c, r, id: 0 };
      await work();
      return { ep, port, w: await wire(), server, before: ep.stats(), client: c };
    };
    /** The honest client asks for 64 KiB back. */
    const work = async (): Promise<void> => {
      const { c, r, id } = honest;
      honest.id += 4;
      const body = pattern(65536, id + 1);
      send(c, id, body, true);
      await r.until(() => r.seen(c, id).fin || r.closes.length > 0);
      expect(r.closes).toEqual([]);
      expect(r.seen(c, id).data().equals(body)).toBe(true);
    };
    /** Faster than any rate limit, but never faster than the socket is read: the kernel drops none. */
    const flood = async (s: Stage, count: number, packet: () => Buffer): Promise<void> => {
      for (let sent = 0; sent < count; sent += 100) {
        const seen = s.ep.stats().datagrams[0];
        for (let i = 0; i < 100; i++) await s.w.send(packet(), s.port);
        for (let i = 0; i < 5000 && s.ep.stats().datagrams[0] < seen + 100; i++) await new Promise((done) => setImmediate(done));
      }
    };
    /** Time goes on for engines whose clock is not ours, too: by what the honest client does meanwhile. */
    const patiently = async (s: Stage, check: () => boolean): Promise<void> => {
      for (let i = 0; i < 2000 && !check(); i++) await s.w.barrier(s.port, 1).then(() => new Promise((done) => setTimeout(done, 2)));
      expect(check()).toBe(true);
    };
    const settled = async (s: Stage, drops: Drops, rounds?: number): Promise<EndpointStats> => {
      await s.w.barrier(s.port, rounds);
      await work();
      const now = s.ep.stats();
      expect(dropsSince(s.before, now)).toEqual(drops);
      return now;
    };

    afterEach(async () => {
      for (const c of clients.splice(0)) c.close(true, 0x100, '');
      for (const ep of open.splice(0)) await ep.close();
      for (const w of wires.splice(0)) await w.close();
      expect(made.errors.splice(0)).toEqual([]);
    });

    // The hello names its sender's id, and a server checks that it is the packet's.
    const scid = randomBytes(8);
    const hello = clientHello({ scid });
    const good = (o: Parameters<typeof initial>[1] = {}): Buffer => initial(cryptoFrame(0, hello), { scid, ...o });

    test('U1: 0-RTT, Handshake and Retry packets for nobody are dropped without a word', async () => {
      const s = await stage();
      const rest = Buffer.concat([Buffer.from([0x44, 0x00]), garbage(1024)]);
      await s.w.send(longHeader(0xd0, 1, randomBytes(8), randomBytes(8), rest), s.port);
      await s.w.send(longHeader(0xe0, 1, randomBytes(8), randomBytes(8), rest), s.port);
      await s.w.send(longHeader(0xe0, 1, randomBytes(17), randomBytes(8), rest), s.port);
      await s.w.send(longHeader(0xf0, 1, randomBytes(8), randomBytes(8), rest), s.port);
      await s.w.send(longHeader(0xe0, 1, randomBytes(21), randomBytes(8), rest), s.port);
      // Seven bytes once ended a process.
      for (let n = 1; n < 12; n++) await s.w.send(Buffer.from([0xc0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).subarray(0, n), s.port);
      await settled(s, { unknown_connection: 3, malformed: 2 + 8, short_initial: 3 });
      expect(s.w.got).toEqual([]);
    });

    test('U2: an Initial in a datagram below 1200 bytes is discarded, for connections that exist, too', async () => {
      const s = await stage();
      await s.w.send(good({ size: 1199 }), s.port);
      await s.w.send(good({ size: 500 }), s.port);
      const dcid = randomBytes(8);
      await s.w.send(good({ dcid, size: 1200 }), s.port);
      await s.w.until(() => s.w.got.length > 0);
      await s.w.send(good({ dcid, size: 700, number: 1 }), s.port);
      const now = await settled(s, { short_initial: 3 });
      expect(now.halfOpen).toBe(1);
      // At most three times what came from an address that is not validated (1200, and nothing for the rest).
      expect(s.w.bytes).toBeLessThanOrEqual(3 * 1200);
    });

    test('U3: unknown versions: small ones dropped, others get one Version Negotiation, none answers itself', async () => {
      const s = await stage();
      const dcid = randomBytes(20);
      const scid = randomBytes(20);
      await s.w.send(longHeader(0xc0, 0xff00001d, dcid, scid, garbage(1152)).subarray(0, 1199), s.port);
      await s.w.send(longHeader(0x80, 0, dcid, scid, garbage(1200)), s.port);
      await settled(s, { short_version: 1, malformed: 1 });
      expect(s.w.got).toEqual([]);
      const big = longHeader(0xc0, 0xff00001d, dcid, scid, garbage(1153));
      await s.w.send(big, s.port);
      await s.w.until(() => s.w.got.length === 1);
      const vn = s.w.got[0] as Buffer;
      expect(vn.readUInt32BE(1)).toBe(0);
      expect(vn.subarray(6, 26).equals(scid)).toBe(true);
      expect(vn.subarray(27, 47).equals(dcid)).toBe(true);
      expect(vn.readUInt32BE(47)).toBe(1);
      expect(vn.length).toBeLessThan(big.length);
      await s.w.send(vn, s.port);
      await settled(s, { short_version: 1, malformed: 2 });
      // Ids of other versions may be longer than ours.
      await s.w.send(longHeader(0xc0, 0xabcdef01, randomBytes(200), randomBytes(100), garbage(1000)), s.port);
      await s.w.until(() => s.w.got.length === 2);
      expect((s.w.got[1] as Buffer).length).toBe(7 + 300 + 8);
    });

    test('U3: Version Negotiation is rate-limited', async () => {
      const s = await stage();
      const answered = s.before.answered.version;
      await flood(s, 1500, () => longHeader(0xc0, 0xff00001d, randomBytes(8), randomBytes(8), garbage(1180)));
      const limited = s.ep.stats().dropped.version_limited;
      expect(limited).toBeGreaterThan(100);
      // And answered again when the rate allows it.
      const seen = s.w.got.length;
      let more = 0;
      for (; more < 1000 && s.w.got.length === seen; more++) {
        await s.w.send(longHeader(0xc0, 0xff00001d, randomBytes(8), randomBytes(8), garbage(1180)), s.port);
        await work();
      }
      expect(s.w.got.length).toBeGreaterThan(seen);
      const now = s.ep.stats();
      expect(now.answered.version - answered + now.dropped.version_limited).toBe(1500 + more);
    });

    test('U4: a Retry leads to a connection also when all that a listener announces takes as many bytes as it can', async () => {
      const largest = { idleMs: 3_600_000, bidi: 65_535, streamWindow: 64 << 20, connWindow: 1 << 30 };
      const s = await stage({ retry: 'always', limits: largest });
      expect(s.before.connections).toBe(1);
    });

    test('U4: spoofed Initials get a Retry and leave nothing behind', async () => {
      const s = await stage({ retry: 'always' });
      const retries = s.before.answered.retry;
      for (let i = 0; i < 100; i++) await s.w.send(good(), s.port);
      const now = await settled(s, {}, 8);
      expect(now.answered.retry - retries).toBe(100);
      expect([now.connections, now.halfOpen]).toEqual([1, 0]);
      expect(s.w.got.length).toBe(100);
      for (const p of s.w.got) {
        expect(readRetry(p)?.id.length).toBe(17);
        expect(p.length).toBeLessThan(1200);
      }
      const c = await made.engine.connect(connectOptions(s.port), new Recorder());
      clients.push(c);
      expect(s.ep.stats().answered.retry - retries).toBe(101);
    });

    test('U4: under load Retry comes in at the half-open mark; what is answered stays below three times the question', async () => {
      const s = await stage({ retry: 'load', limits: { retryAbove: 5 } });
      for (let i = 0; i < 40; i++) await s.w.send(good(), s.port);
      const now = await settled(s, {}, 6);
      expect(now.halfOpen).toBe(5);
      expect(now.answered.retry).toBe(35);
      expect(s.w.bytes).toBeLessThanOrEqual(3 * 40 * 1200);
      // An honest newcomer gets in all the same.
      clients.push(await made.engine.connect(connectOptions(s.port), new Recorder()));
      expect(s.ep.stats().answered.retry).toBe(36);
    });

    test('U4: what comes to nothing at once calls for Retry, too: forged Initials do not use up the rate of handshakes', async () => {
      const s = await stage({ retry: 'load', limits: { retryAbove: 5, handshakesPerSecond: 30 } });
      const forged = (): Buffer => {
        const packet = good();
        packet[packet.length - 1] = (packet.at(-1) as number) ^ 1;
        return packet;
      };
      for (let i = 0; i < 60; i++) await s.w.send(forged(), s.port);
      await s.w.barrier(s.port);
      const now = s.ep.stats();
      expect([now.halfOpen, now.dropped.handshake_rate]).toEqual([0, 0]);
      // A moment passes, and with it the doubt about one or two.
      expect(now.answered.retry - s.before.answered.retry).toBeGreaterThan(40);
      clients.push(await made.engine.connect(connectOptions(s.port), new Recorder()));
    });

    test('U4: the half-open limit and the rate of handshakes hold where Retry is off', async () => {
      const s = await stage({ limits: { halfOpen: 3 } });
      for (let i = 0; i < 10; i++) await s.w.send(good(), s.port);
      const now = await settled(s, { half_open: 7 });
      expect(now.halfOpen).toBe(3);
      expect(now.handshakes.refused_limit).toBe(7);
      expect(now.answered.refused).toBe(7);
      const t = await stage({ limits: { handshakesPerSecond: 4, halfOpen: 100 } });
      for (let i = 0; i < 10; i++) await t.w.send(good(), t.port);
      await t.w.barrier(t.port);
      // One of the four was the honest client's; time goes on, so one or two more may pass.
      const rate = t.ep.stats();
      expect(rate.dropped.handshake_rate).toBeGreaterThanOrEqual(5);
      expect(rate.halfOpen + rate.dropped.handshake_rate).toBe(10);
    });

    test('U4: a ClientHello in pieces is held within bounds, and forgotten in time', async () => {
      const s = await stage({ limits: { halfOpen: 50, ...(nature.eager ? { handshakeMs: 400 } : {}) } });
      for (let i = 0; i < 20; i++) await s.w.send(initial(cryptoFrame(0, hello.subarray(0, 100))), s.port);
      await s.w.barrier(s.port);
      expect(s.ep.stats().halfOpen).toBe(20);
      if (nature.eager) {
        // Acknowledged, and no more than that.
        expect(s.w.bytes).toBeLessThanOrEqual(20 * 1200);
        await patiently(s, () => s.ep.stats().halfOpen === 0);
        expect(s.ep.stats().handshakes.handshake_timeout).toBe(20);
        return;
      }
      expect(s.w.got).toEqual([]);
      clock.shift += 10_000;
      await s.w.send(initial(cryptoFrame(0, hello.subarray(0, 100))), s.port);
      await s.w.barrier(s.port);
      expect(s.ep.stats().halfOpen).toBe(1);
      expect(s.ep.stats().handshakes.client_gone).toBe(20);
    });

    test('a ClientHello split over datagrams in any order is understood', async () => {
      const s = await stage();
      const dcid = randomBytes(8);
      const cut = 150;
      await s.w.send(initial(cryptoFrame(cut, hello.subarray(cut)), { dcid, scid, number: 1 }), s.port);
      await s.w.send(initial(cryptoFrame(0, hello.subarray(0, cut)), { dcid, scid, number: 0 }), s.port);
      await s.w.until(() => s.w.got.length > 0);
      await settled(s, {});
      expect(s.ep.stats().halfOpen).toBe(1);
    });

    test('U4: forged Initials cost nothing and stay nothing', async () => {
      const s = await stage();
      const bad = good();
      bad[bad.length - 1] = (bad[bad.length - 1] as number) ^ 1;
      await s.w.send(bad, s.port);
      await s.w.send(good({ secret: randomBytes(8) }), s.port);
      await s.w.send(initial(Buffer.from([0x08, 0, 1, 2])), s.port);
      await s.w.send(initial(cryptoFrame(0, Buffer.from([2, 0, 0, 1, 0]))), s.port);
      await s.w.send(good({ dcid: randomBytes(7) }), s.port);
      const now = await settled(s, { malformed: 5 });
      expect([now.connections, now.halfOpen]).toEqual([1, 0]);
      expect(s.w.got).toEqual([]);
    });

    describe('U5: Retry tokens', () => {
      const ask = async (s: Stage, w = s.w): Promise<{ id: Buffer; token: Buffer }> => {
        const at = w.got.length;
        await w.send(good(), s.port);
        await w.until(() => w.got.length > at);
        const r = readRetry(w.got[at] as Buffer);
        if (r === null) throw new Error('no Retry');
        return r;
      };
      /** What an Initial with this token from this wire is answered with: a close code, or 'retry'. */
      const answer = async (s: Stage, id: Buffer, token: Uint8Array, w = s.w): Promise<number | 'retry' | null> => {
        const at = w.got.length;
        await w.send(withToken(initial(cryptoFrame(0, hello), { dcid: id, size: 1200 }), token), s.port);
        await w.barrier(s.port);
        const p = w.got[at];
        if (p === undefined) return null;
        return readRetry(p) === null ? closeCode(p, id) : 'retry';
      };
      const flip = (b: Buffer, at: number): Buffer => {
        const out = Buffer.from(b);
        out[at] = (out[at] as number) ^ 1;
        return out;
      };

      test('replayed from another port or address: INVALID_TOKEN', async () => {
        const s = await stage({ retry: 'always' });
        const { id, token } = await ask(s);
        expect(await answer(s, id, token, await wire())).toBe(0x0b);
        expect(await answer(s, id, token, await wire('127.0.0.2'))).toBe(0x0b);
        await settled(s, { token: 2 });
      });

      test('bit-flipped, truncated, with another id, of another key: INVALID_TOKEN', async () => {
        const s = await stage({ retry: 'always' });
        const { id, token } = await ask(s);
        for (const at of [1, 13, 20, token.length - 1]) expect(await answer(s, id, flip(token, at))).toBe(0x0b);
        expect(await answer(s, id, token.subarray(0, 20))).toBe(0x0b);
        expect(await answer(s, randomBytes(17), token)).toBe(0x0b);
        s.ep.setKeys({ resetKey: keys.reset, tokenKeys: [randomBytes(32)] });
        expect(await answer(s, id, token)).toBe(0x0b);
        await settled(s, { token: 7 });
        expect(s.ep.stats().halfOpen).toBe(0);
      });

      test('expired: INVALID_TOKEN, counted apart', async () => {
        const s = await stage({ retry: 'always' });
        const { id } = await ask(s);
        // As this endpoint would have sealed it then, and a moment later.
        const sealed = (ago: number): Buffer =>
          sealToken(listenOptions().tokenKeys, addressFrom('127.0.0.1', s.w.port) as Uint8Array, id, randomBytes(8), Date.now() - ago);
        expect(await answer(s, id, sealed(10_001))).toBe(0x0b);
        await settled(s, { token_expired: 1 });
        expect(await answer(s, id, sealed(8_000))).toBe(null);
        await settled(s, { token_expired: 1, malformed: 1 });
      });

      test('a second use: INVALID_TOKEN', async () => {
        const s = await stage({ retry: 'always' });
        const { id, token } = await ask(s);
        // Its packet protection does not cover this header, so the first use ends as a forged packet.
        expect(await answer(s, id, token)).toBe(null);
        expect(await answer(s, id, token)).toBe(0x0b);
        await settled(s, { malformed: 1, token: 1 });
      });

      test('nonsense of another kind counts as none: a Retry', async () => {
        const s = await stage({ retry: 'always' });
        for (const t of ['{"time":1,"odcid":"00"}', 'A', 'x'.repeat(56)])
          expect(await answer(s, randomBytes(8), Buffer.from(t))).toBe('retry');
        await settled(s, {});
      });

      test('key rotation drops nobody', async () => {
        const old = listenOptions().tokenKeys[0] as Uint8Array;
        const s = await stage({ retry: 'always' });
        const raw = new RawClient(await wire(), s.port);
        // The client has its Retry, and has answered; its answer meets the new keys.
        raw.wire.onMessage = null;
        await raw.flush();
        await raw.wire.until(() => raw.wire.got.length > 0);
        s.ep.setKeys({ resetKey: keys.reset, tokenKeys: [randomBytes(32), old] });
        raw.feed(raw.wire.got[0] as Buffer);
        raw.wire.onMessage = (m) => {
          raw.feed(m);
          void raw.flush();
        };
        expect(await raw.handshake()).toBe(true);
        await settled(s, {});
      });
    });

    test('U6: stateless resets are smaller than their trigger', async () => {
      const s = await stage();
      const sizes = [18, 21, 22, 41, 43, 44, 100, 1200];
      for (const n of sizes) {
        const id = randomBytes(17);
        const at = s.w.got.length;
        await s.w.send(shortHeader(n, id), s.port);
        await s.w.barrier(s.port, 2);
        const p = s.w.got[at];
        if (n < 22) expect(p).toBeUndefined();
        else {
          expect((p as Buffer).length).toBeLessThan(n);
          expect((p as Buffer).length).toBeGreaterThanOrEqual(21);
          expect((p as Buffer).subarray(-16).equals(resetToken(keys.reset, id))).toBe(true);
        }
      }
      // Too short to hold an id of ours: nothing at all.
      await s.w.send(shortHeader(17), s.port);
      await s.w.send(Buffer.from([0x40]), s.port);
      await s.w.send(Buffer.concat([Buffer.from([0x3f]), garbage(60)]), s.port);
      const now = await settled(s, { unknown_connection: sizes.length, malformed: 3 });
      expect(now.answered.reset).toBe(6);
    });

    test('U6: a reset that comes back ends in nothing', async () => {
      const s = await stage();
      let p: Buffer = shortHeader(60);
      let rounds = 0;
      for (; rounds < 100; rounds++) {
        const at = s.w.got.length;
        await s.w.send(p, s.port);
        await s.w.barrier(s.port, 2);
        if (s.w.got.length === at) break;
        expect((s.w.got[at] as Buffer).length).toBeLessThan(p.length);
        p = s.w.got[at] as Buffer;
      }
      expect(rounds).toBeLessThan(41);
    });

    test('U6: resets are rate-limited', async () => {
      const s = await stage();
      await flood(s, 1500, () => shortHeader(50));
      await s.w.barrier(s.port);
      await work();
      const now = s.ep.stats();
      expect(now.dropped.unknown_connection).toBe(1500);
      expect(now.answered.reset).toBeGreaterThan(100);
      expect(now.answered.reset).toBeLessThan(1400);
    });

    test('U6: garbage takes no reset from clients of a process that is gone', async () => {
      const s = await stage();
      const ids = new CidCodec(keys.cid, 7, 3);
      await flood(s, 1500, () => shortHeader(50));
      await s.w.barrier(s.port);
      await work();
      // More than may follow garbage in so short a time.
      const before = s.ep.stats().answered.reset;
      await flood(s, 500, () => shortHeader(50, ids.encode(1, 2, 3)));
      await s.w.barrier(s.port);
      await work();
      expect(s.ep.stats().answered.reset - before).toBe(500);
    });

    test('U6: the id of another worker is handed over, never reset, and never goes round', async () => {
      const s = await stage();
      const other = new CidCodec(keys.cid, 7, 4);
      const id = other.encode(1, 2, 3);
      const packet = shortHeader(60, id);
      await s.w.send(packet, s.port);
      await s.w.send(longHeader(0xe0, 1, id, randomBytes(8), Buffer.concat([Buffer.from([0x40, 0x20]), garbage(32)])), s.port);
      await s.w.barrier(s.port);
      expect(s.server.foreign.length).toBe(2);
      expect(s.server.foreign[0]).toEqual({
        worker: 4,
        bytes: packet,
        from: Buffer.from(addressFrom('127.0.0.1', s.w.port) as Uint8Array),
        to: Buffer.from(addressFrom('127.0.0.1', s.port) as Uint8Array),
      });
      s.ep.forward(packet, addressFrom('127.0.0.1', s.w.port) as Uint8Array, addressFrom('127.0.0.1', s.port) as Uint8Array);
      s.ep.forward(packet, addressFrom('127.0.0.1', s.w.port) as Uint8Array, addressFrom('192.0.2.1', s.port) as Uint8Array);
      await settled(s, { foreign: 2 });
      expect(s.server.foreign.length).toBe(2);
      expect(s.w.got).toEqual([]);
    });

    test('a datagram that another worker hands over reaches its connection', async () => {
      const s = await stage();
      const raw = new RawClient(await wire(), s.port);
      expect(await raw.handshake()).toBe(true);
      await s.w.barrier(s.port, 2);
      raw.q.streamSend(0, Buffer.from('by hand'), true);
      const from = addressFrom('127.0.0.1', raw.wire.port) as Uint8Array;
      const to = addressFrom('127.0.0.1', s.port) as Uint8Array;
      for (const d of raw.take()) s.ep.forward(d, from, to);
      await s.server.until(() => s.server.conns.some((c) => s.server.seen(c, 0).bytes === 7));
      await settled(s, {});
    });

    test('U6: a new process resets what its predecessor left', async () => {
      const s = await stage();
      const raw = new RawClient(await wire(), s.port);
      expect(await raw.handshake()).toBe(true);
      const second = await made.engine.listen(listenOptions(), new Recorder());
      open.push(second);
      raw.q.streamSend(0, Buffer.alloc(100), false);
      const [packet] = raw.take();
      await s.w.send(packet as Buffer, second.addresses[0]?.port as number);
      await s.w.until(() => s.w.got.length > 0);
      raw.wire.onMessage = null;
      raw.feed(s.w.got[0] as Buffer);
      expect(raw.q.isDraining() || raw.q.isClosed()).toBe(true);
      expect(second.stats().answered.reset).toBe(1);
    });

    test('U7: equal ids of clients do not meet; they mean nothing after the handshake', async () => {
      const s = await stage();
      const dcid = randomBytes(12);
      const other = await wire();
      await s.w.send(good({ dcid }), s.port);
      await other.send(good({ dcid }), s.port);
      await s.w.until(() => s.w.got.length > 0);
      await other.until(() => other.got.length > 0);
      expect(s.ep.stats().halfOpen).toBe(2);
      const raw = new RawClient(await wire(), s.port);
      const first = raw.take()[0] as Buffer;
      await raw.wire.send(first, s.port);
      expect(await raw.handshake()).toBe(true);
      await s.w.barrier(s.port, 2);
      const now = s.ep.stats();
      // A Handshake packet to the id of the first flight: no longer known.
      const old = first.subarray(6, 6 + (first[5] as number));
      await raw.wire.send(longHeader(0xe0, 1, old, randomBytes(8), Buffer.concat([Buffer.from([0x40, 0x20]), garbage(32)])), s.port);
      await s.w.barrier(s.port, 2);
      expect(dropsSince(now, s.ep.stats())).toEqual({ unknown_connection: 1 });
    });

    test('U8: coalesced packets of another id are ignored; empty datagrams are counted', async () => {
      const s = await stage();
      const dcid = randomBytes(8);
      const one = initial(cryptoFrame(0, hello), { dcid, scid, size: 700 });
      const two = initial(cryptoFrame(0, hello), { size: 700 });
      await s.w.send(Buffer.concat([one, two]), s.port);
      await s.w.until(() => s.w.got.length > 0);
      for (let i = 0; i < 100; i++) await s.w.send(Buffer.alloc(0), s.port);
      const now = await settled(s, { empty: 100 });
      expect(now.halfOpen).toBe(1);
    });

    test('U9: more datagrams than the loop can take: the loop turns, the honest client loses nothing', async () => {
      const TURNS = 50;
      const s = await stage({ receiveBuffer: 8 << 20 });
      const packets = [shortHeader(200), good(), initial(cryptoFrame(0, hello), { secret: randomBytes(8) }), garbage(900), Buffer.alloc(0)];
      let turns = 0;
      let on = true;
      let worst = 0;
      // CPU time of this process: while others have the machine, nothing of ours stands still.
      const used = (): number => {
        const { user, system } = process.cpuUsage();
        return (user + system) / 1000;
      };
      const slow = slowness();
      let last = used();
      const tick = (): void => {
        const now = used();
        worst = Math.max(worst, now - last);
        last = now;
        turns++;
        if (on) setImmediate(tick);
      };
      setImmediate(tick);
      const working = work();
      // How many come to one turn is the system's affair: a loop that turns gets there in the end.
      const enough = (sent: number): boolean => (sent >= 5000 && turns > TURNS) || sent >= 50_000;
      for (let i = 0; !enough(i); i++) {
        await s.w.send(packets[i % packets.length] as Buffer, s.port);
        // While the kernel takes them at once, sending never gives way by itself.
        if (i % 500 === 499) await new Promise((done) => setImmediate(done));
      }
      await working;
      on = false;
      await work();
      expect(turns).toBeGreaterThan(TURNS);
      expect(worst / slow).toBeLessThan(500);
      expect(s.ep.stats().connections).toBe(1);
    });

    /** An engine that follows clients has to ask the new address, with no more than three times what came from there (RFC 9000 s8.1). */
    const drawsOnlyChallenges = async (s: Stage, raw: RawClient): Promise<void> => {
      const conn = s.server.conns.at(-1) as QuicConn;
      const elsewhere = await wire('127.0.0.2');
      raw.q.streamSend(0, Buffer.alloc(1000, 1), false);
      const packets = raw.take();
      for (const p of packets) await elsewhere.send(p, s.port);
      await s.server.until(() => s.server.seen(conn, 0).bytes === 1000);
      // Copies of what was already taken, from there and from another port.
      const copy = await wire();
      for (let i = 0; i < 10; i++) for (const p of packets) for (const w of [elsewhere, copy]) await w.send(p, s.port);
      await s.w.barrier(s.port);
      const came = packets.reduce((n, p) => n + p.length, 0);
      expect(elsewhere.bytes).toBeLessThanOrEqual(3 * 11 * came);
      expect(copy.got).toEqual([]);
      // Nobody there answers: the client is where it was.
      expect([s.server.paths, Buffer.from(conn.remote).readUInt16BE(16)]).toEqual([0, raw.wire.port]);
      await work();
    };

    test('U10: packets of a connection from elsewhere draw nothing there', async () => {
      const s = await stage();
      const raw = new RawClient(await wire(), s.port);
      expect(await raw.handshake()).toBe(true);
      await s.w.barrier(s.port, 2);
      if (made.engine.caps.migration) return drawsOnlyChallenges(s, raw);
      const before = s.ep.stats();
      const elsewhere = await wire('127.0.0.2');
      raw.q.streamSend(0, Buffer.alloc(1000, 1), false);
      const packets = raw.take();
      for (const p of packets) await elsewhere.send(p, s.port);
      await s.w.barrier(s.port);
      expect(dropsSince(before, s.ep.stats())).toEqual({ unknown_connection: packets.length });
      expect(elsewhere.got).toEqual([]);
      // The same packets, again and from the right place: nothing is lost.
      for (const p of packets) await raw.wire.send(p, s.port);
      await s.server.until(() => s.server.conns.some((c) => s.server.seen(c, 0).bytes === 1000));
      // A copy of what was already taken, from another port of the same host, is not authenticated again.
      const copy = await wire();
      for (const p of packets) await copy.send(p, s.port);
      await s.w.barrier(s.port);
      expect(copy.got).toEqual([]);
      expect(dropsSince(before, s.ep.stats())).toEqual({ unknown_connection: packets.length * 2 });
      expect(s.server.paths).toBe(0);
      await work();
    });

    test('a client behind a NAT that gave it another port goes on', async () => {
      const s = await stage();
      const { migration } = made.engine.caps;
      const first = await wire();
      const raw = new RawClient(first, s.port);
      expect(await raw.handshake()).toBe(true);
      await s.w.barrier(s.port, 2);
      const conn = s.server.conns[1] as QuicConn;
      first.onMessage = null;
      const second = await wire();
      const out = Buffer.alloc(6000);
      let got = 0;
      second.onMessage = (m) => {
        raw.feed(m);
        while (raw.q.streamReadable(0)) got += (raw.q.streamRecv(0, out.subarray(got)) as [number, boolean])[0];
        for (const d of raw.take()) void second.send(d, s.port);
      };
      const body = pattern(5000, 4);
      raw.q.streamSend(0, body, true);
      for (const d of raw.take()) await second.send(d, s.port);
      await second.until(() => got === 5000);
      expect(out.subarray(0, 5000).equals(body)).toBe(true);
      // What the client's address is: with migration the validated new one, else the one that was validated by the handshake.
      if (migration) await s.server.until(() => s.server.paths === 1);
      expect(s.server.paths).toBe(migration ? 1 : 0);
      expect(Buffer.from(conn.remote).readUInt16BE(16)).toBe((migration ? second : first).port);
    });

    test('a client whose NAT changes its port in the midst of a download, and that only acknowledges, gets all of it', async () => {
      const s = await stage();
      const first = await wire();
      const raw = new RawClient(first, s.port);
      expect(await raw.handshake()).toBe(true);
      await s.w.barrier(s.port, 2);
      const conn = s.server.conns[1] as QuicConn;
      const body = pattern(400_000, 4);
      const { onData } = s.server.hooks;
      s.server.hooks.onData = (c, ...rest) => (c === conn ? send(c, rest[0], body, true) : onData?.(c, ...rest));
      const out = Buffer.alloc(body.length);
      let got = 0;
      const read = (): void => {
        while (raw.q.streamReadable(0)) got += (raw.q.streamRecv(0, out.subarray(got)) as [number, boolean])[0];
      };
      let now = first;
      const second = await wire();
      for (const w of [first, second])
        w.onMessage = (m) => {
          raw.feed(m);
          read();
          if (got > 20_000) now = second;
          // What goes to the old port is lost from then on.
          if (w === now) for (const d of raw.take()) void now.send(d, s.port);
        };
      raw.q.streamSend(0, Buffer.from('download'), true);
      for (const d of raw.take()) await first.send(d, s.port);
      await first.until(() => now === second);
      // The last acknowledgement comes from the new port: nothing but that tells the server.
      raw.q.sendAckEliciting();
      for (const d of raw.take()) await second.send(d, s.port);
      await second.until(() => got === body.length);
      expect(out.equals(body)).toBe(true);
    });

    describe('connection level', () => {
      /** The hello with this put in place of the transport parameters of a real one. */
      const withParameters = (hex: string): Buffer => {
        const at = hello.indexOf(Buffer.from('0039', 'hex'));
        const old = hello.readUInt16BE(at + 2);
        const body = Buffer.from(hex, 'hex');
        const head = Buffer.alloc(4);
        head.writeUInt16BE(0x39, 0);
        head.writeUInt16BE(body.length, 2);
        const out = Buffer.concat([hello.subarray(0, at), head, body, hello.subarray(at + 4 + old)]);
        const delta = body.length - old;
        out.writeUIntBE(hello.readUIntBE(1, 3) + delta, 1, 3);
        // The length of all extensions stands behind the session id, the suites and the compression methods.
        let p = 4 + 2 + 32;
        p += 1 + (out[p] as number);
        p += 2 + out.readUInt16BE(p);
        p += 1 + (out[p] as number);
        out.writeUInt16BE(hello.readUInt16BE(p) + delta, p);
        return out;
      };

      test('Q6: nonsense in transport parameters ends that handshake and nothing else', async () => {
        const s = await stage();
        const own = `0f08${scid.toString('hex')}`;
        const cases = [
          `${own}03024064`,
          `${own}0a0115`,
          `${own}0b048000ffff`,
          `${own}0e0101`,
          `${own}08080fffffffffffffff`,
          `${own}${own}`,
          `${own}04ff`,
          '00',
          `${own}0008aabbccddeeff0011`,
          `${own}0210${'00'.repeat(16)}`,
        ];
        for (const c of cases) {
          const dcid = randomBytes(8);
          await s.w.send(initial(cryptoFrame(0, withParameters(c)), { dcid, scid }), s.port);
        }
        const now = await settled(s, {});
        // Each one ended: whether by a transport error or by an alert is quiche's choice.
        expect(now.handshakes.tls_failed + now.handshakes.client_gone + now.halfOpen).toBe(cases.length);
        expect(now.handshakes.tls_failed).toBeGreaterThanOrEqual(6);
        expect(now.connections).toBe(1);
      });

      test('Q10: a handshake that is never finished ends in time', async () => {
        const s = await stage({ limits: { handshakeMs: 150 } });
        await s.w.send(good(), s.port);
        await s.w.until(() => s.w.got.length > 0);
        expect(s.ep.stats().halfOpen).toBe(1);
        await patiently(s, () => s.ep.stats().halfOpen === 0);
        const now = s.ep.stats();
        expect(now.handshakes.handshake_timeout).toBe(1);
        await work();
      });

      test('Q10: a handshake that nobody finishes does not hold a drain', async () => {
        const s = await stage({ limits: { handshakeMs: 3_600_000 } });
        await s.w.send(good(), s.port);
        await s.w.until(() => s.w.got.length > 0);
        expect(s.ep.stats().halfOpen).toBe(1);
        s.client.close(true, 0x100, '');
        await s.ep.drain();
        expect(s.ep.stats()).toMatchObject({ connections: 0, halfOpen: 0 });
        expect(s.ep.stats().handshakes.refused_draining).toBe(1);
      });

      test('Q5: copies of packets end their connection with H3_EXCESSIVE_LOAD, or cost nothing', async () => {
        const s = await stage();
        const raw = new RawClient(await wire(), s.port);
        expect(await raw.handshake()).toBe(true);
        raw.q.streamSend(0, Buffer.alloc(1000, 1), false);
        const packets = raw.take();
        // The same packets again and again: authentic once, then only weight.
        if (nature.authenticOnly === true) {
          for (let i = 0; i < 1000; i++) {
            for (const p of packets) await raw.wire.send(p, s.port);
            if (i % 20 === 0) await s.w.barrier(s.port, 1);
          }
          // Whoever has seen packets go by could send them again: that must not end the connection that they were of.
          expect([s.server.closes.length, s.server.seen(s.server.conns.at(-1) as QuicConn, 0).bytes]).toEqual([0, 1000]);
          await work();
          return;
        }
        for (let i = 0; i < 1000 && raw.q.peerError() === null; i++) {
          for (const p of packets) await raw.wire.send(p, s.port);
          if (i % 20 === 0) await s.w.barrier(s.port, 1);
        }
        await raw.wire.until(() => raw.q.peerError() !== null);
        expect(raw.q.peerError()).toMatchObject({ isApp: true, errorCode: 0x107 });
        await s.server.until(() => s.server.closes.length === 1);
        expect(s.server.closes[0]?.why).toMatchObject({ side: 'local', app: true, code: 0x107 });
        await work();
      });

      test('Q11: an address has its share of connections, and no more', async () => {
        const s = await stage({ limits: { perAddress: 2 } });
        const a = await wire('127.0.0.9');
        const b = await wire('127.0.0.9');
        const c = await wire('127.0.0.9');
        for (const w of [a, b, c]) await w.send(good(), s.port);
        await c.until(() => c.got.length > 0);
        const now = await settled(s, { address_limit: 1 });
        expect(now.halfOpen).toBe(2);
        expect(now.handshakes.refused_limit).toBe(1);
      });

      const strictCa = makeCa('client ca');
      const strict = entry(['strict.example'], { clientAuth: 'require', ca: strictCa.cert, ticketKeys: [Buffer.alloc(48, 1)] });
      const lax = entry(['lax.example', 'localhost'], { ticketKeys: [Buffer.alloc(48, 1)] });
      const soft = entry(['soft.example'], { clientAuth: 'request', ca: strictCa.cert, ticketKeys: [Buffer.alloc(48, 1)] });
      const names = [['strict.example', strict] as const, ['*.strict.example', strict] as const, ['soft.example', soft] as const];
      const tls = table([lax, strict, soft], names, lax);
      const client = makeLeaf(strictCa, { names: ['alice'], purpose: 'client' });
      const stranger = makeLeaf(makeCa('another ca'), { names: ['mallory'], purpose: 'client' });

      const raw = async (s: Stage, o: ConstructorParameters<typeof RawClient>[2]): Promise<RawClient> => {
        const r = new RawClient(await wire(), s.port, o);
        await r.handshake();
        // The verdict on a client certificate comes after the client believes that it is done.
        await s.w.barrier(s.port, 2);
        await r.wire.until(() => r.q.peerError() !== null || r.wire.got.length > 1);
        return r;
      };
      const code = (r: RawClient): number | null => r.q.peerError()?.errorCode ?? null;

      test('client certificates: none, good, foreign; asked for or required', async () => {
        const s = await stage({ tls });
        expect(code(await raw(s, { sni: 'strict.example' }))).toBe(0x174);
        expect(code(await raw(s, { sni: 'strict.example', cert: stranger }))).toBe(0x130);
        expect(code(await raw(s, { sni: 'soft.example', cert: stranger }))).toBe(0x130);
        const before = s.server.conns.length;
        await raw(s, { sni: 'strict.example', cert: client });
        await raw(s, { sni: 'soft.example' });
        await raw(s, { sni: 'soft.example', cert: client });
        await s.server.until(() => s.server.conns.length === before + 3);
        const chains = s.server.conns.slice(before).map((c) => [c.info().tls, c.info().peerChain?.length ?? 0]);
        expect(chains).toEqual([
          [strict.id, 1],
          [soft.id, 0],
          [soft.id, 1],
        ]);
        expect(s.ep.stats().handshakes.tls_failed).toBe(3);
        expect(s.server.closes).toEqual([]);
      });

      test('Q12: a ticket of a lax policy does not open a strict one', async () => {
        const s = await stage({ tls });
        const first = await raw(s, { sni: 'lax.example' });
        await first.wire.until(() => first.q.session() !== null);
        const session = first.q.session() as Uint8Array;
        const again = await raw(s, { sni: 'lax.example', session });
        expect([again.q.isResumed(), code(again)]).toEqual([true, null]);
        const sneak = await raw(s, { sni: 'strict.example', session });
        expect(code(sneak)).toBe(0x174);
        const soft_ = await raw(s, { sni: 'soft.example', session });
        expect([soft_.q.isResumed(), code(soft_)]).toEqual([false, null]);
        for (const c of s.server.conns) expect(c.info().tls).not.toBe(strict.id);
      });

      test('tickets survive the rotation of their key, and not its end', async () => {
        const k = (n: number): Buffer => Buffer.alloc(48, n);
        const gen = (keysOf: Buffer[]) => {
          const e = entry(['lax.example', 'localhost'], { ticketKeys: keysOf });
          return table([e]);
        };
        const s = await stage({ tls: gen([k(1)]) });
        const first = await raw(s, { sni: 'lax.example' });
        await first.wire.until(() => first.q.session() !== null);
        const session = first.q.session() as Uint8Array;
        s.ep.setTls(gen([k(2), k(1)]));
        expect((await raw(s, { session })).q.isResumed()).toBe(true);
        s.ep.setTls(gen([k(3), k(2)]));
        expect((await raw(s, { session })).q.isResumed()).toBe(false);
      });

      test('Q13: no spelling of a name finds a laxer policy', async () => {
        const s = await stage({ tls });
        for (const sni of ['STRICT.example', 'Strict.Example', 'a.strict.example', 'A.STRICT.EXAMPLE'])
          expect(code(await raw(s, { sni }))).toBe(0x174);
        expect(s.server.conns.length).toBe(1);
      });

      test('RSA and ECDSA are chosen by what the client can verify', async () => {
        const both = entry(['localhost']);
        const rsa = entry(['localhost'], { type: 'rsa' });
        const s = await stage({ tls: table([{ ...both, certs: [...both.certs, ...rsa.certs] }]) });
        const modern = await raw(s, {});
        const old = new RawClient(await wire(), s.port, { configure: () => {} });
        expect(Buffer.from(modern.q.peerCertChain()?.[0] as Uint8Array).length).toBeLessThan(700);
        expect(await old.handshake()).toBe(true);
        // A client without ECDSA: the list of its hello says so.
        const only = Buffer.from(hello);
        const at = only.indexOf(Buffer.from('000d', 'hex'));
        const size = only.readUInt16BE(at + 4);
        for (let i = 0; i < size; i += 2) only.writeUInt16BE(0x0804, at + 6 + i);
        const dcid = randomBytes(8);
        await s.w.send(initial(cryptoFrame(0, only), { dcid, scid }), s.port);
        await s.w.until(() => s.w.bytes > 2000);
        expect(s.w.bytes).toBeLessThanOrEqual(3600);
        expect(s.ep.stats().halfOpen).toBe(1);
      });

      test('limits change for newcomers', async () => {
        const s = await stage();
        const less: Limits = { ...listenOptions().limits, connections: 1 };
        s.ep.setLimits(less);
        await s.w.send(good(), s.port);
        await settled(s, { connections: 1 });
      });
    });
  });
}
