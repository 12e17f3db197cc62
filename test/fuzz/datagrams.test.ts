import { expect, test } from '@jest/globals';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { connectOptions, echo, listenOptions, pattern, Recorder, send } from '../edge/quic/kit.ts';
import { onRealEngines } from '../edge/quic/native/built.ts';
import { clientHello, cryptoFrame, initial, longHeader, RawClient, shortHeader, Wire } from '../edge/quic/wire.ts';

const COUNT = Math.max(1000, Number(process.env['SPOOKY_FUZZ_COUNT'] ?? 100_000));
const SLICE = 64;
const MEASURE_MIB = 32;

/** mulberry32: the same million every time. */
function random(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

class Mutator {
  private readonly next: () => number;
  private readonly seeds: readonly Buffer[];
  private readonly out = Buffer.alloc(1600);

  constructor(seed: number, seeds: readonly Buffer[]) {
    this.next = random(seed);
    this.seeds = seeds;
  }

  datagram(): Buffer {
    const kind = this.next() % 8;
    if (kind === 0) return this.noise(this.next() % 1500);
    if (kind === 1) {
      const b = this.noise(7 + (this.next() % 1400));
      b[0] = (b[0] as number) | 0xc0;
      b.writeUInt32BE(1, 1);
      b[5] = this.next() % 24;
      return b;
    }
    const seed = this.seeds[this.next() % this.seeds.length] as Buffer;
    seed.copy(this.out);
    const length = kind === 2 ? this.next() % (seed.length + 1) : Math.min(1500, seed.length + (kind === 3 ? this.next() % 200 : 0));
    const flips = kind === 4 ? 0 : this.next() % 6;
    for (let i = 0; i < flips; i++) {
      const at = kind === 5 ? this.next() % 40 : this.next() % Math.max(1, length);
      this.out[at] = this.next() & 0xff;
    }
    return this.out.subarray(0, length);
  }

  private noise(length: number): Buffer {
    for (let i = 0; i < length; i += 4) this.out.writeUInt32LE(this.next(), i);
    return this.out.subarray(0, length);
  }
}

function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

const rss = (): number => process.memoryUsage.rss();
const soon = (): Promise<void> => new Promise((done) => setImmediate(done));

onRealEngines((name, make) => {
  test(
    `${name}: ${COUNT} random and mutated datagrams: the process lives, an honest client works, memory comes back`,
    async () => {
      const errors: unknown[] = [];
      const escaped: unknown[] = [];
      const note = (e: unknown): void => void escaped.push(e);
      process.on('uncaughtException', note);
      process.on('unhandledRejection', note);
      const engine = make((where, e) => errors.push([where, e]));
      const server = echo();
      const ep = await engine.listen(
        listenOptions({
          receiveBuffer: 8 << 20,
          retry: 'load',
          limits: { handshakeMs: 300, idleMs: 10_000, halfOpen: 100, retryAbove: 50 },
        }),
        server,
      );
      const port = ep.addresses[0]?.port as number;
      const client = new Recorder();
      const c = await engine.connect(connectOptions(port), client);
      let id = 0;
      let served = 0;
      const work = async (): Promise<void> => {
        const mine = id;
        id += 4;
        const body = pattern(2000, mine + 1);
        send(c, mine, body, true);
        await client.until(() => client.seen(c, mine).fin || client.closes.length > 0);
        expect(client.seen(c, mine).data().equals(body)).toBe(true);
        client.forget(c, mine);
        served++;
      };
      const scid = Buffer.alloc(8, 3);
      const hello = clientHello({ scid });
      const wire = await Wire.open();
      const raw = new RawClient(wire, port);
      await raw.handshake();
      wire.onMessage = null;
      raw.q.streamSend(0, pattern(3000), false);
      const live = raw.take();
      const version = longHeader(0xc0, 0x1a2a3a4a, scid, scid, pattern(1200));
      const handshake = longHeader(0xe0, 1, scid, scid, pattern(300));
      const seeds = [
        initial(cryptoFrame(0, hello), { scid }),
        initial(cryptoFrame(0, hello.subarray(0, 80)), { scid }),
        version,
        handshake,
        shortHeader(80),
        ...live,
      ];
      const mutator = new Mutator(20_26, seeds);

      const flood = async (count: number): Promise<void> => {
        for (let sent = 0; sent < count;) {
          const seen = ep.stats().datagrams[0];
          const n = Math.min(SLICE, count - sent);
          for (let i = 0; i < n; i++, sent++) await wire.send(mutator.datagram(), port);
          wire.got.length = 0;
          for (let i = 0; i < 500 && ep.stats().datagrams[0] < seen + n; i++) await soon();
          if (sent % (SLICE * 16) === 0) await work();
        }
        await work();
      };
      const quiet = async (): Promise<void> => {
        // Unfinished ClientHellos are kept for four seconds.
        for (let i = 0; i < 1000 && ep.stats().halfOpen > 0; i++) {
          await new Promise((done) => setTimeout(done, 10));
          if (i % 50 === 0) await work();
        }
        await work();
        collect();
        collect();
      };

      try {
        await flood(Math.min(50_000, Math.floor(COUNT / 2)));
        await quiet();
        const before = rss();
        await flood(COUNT);
        await quiet();
        const after = rss();
        const s = ep.stats();
        expect(escaped).toEqual([]);
        expect(errors).toEqual([]);
        expect(client.closes).toEqual([]);
        expect(served).toBeGreaterThan(COUNT / (SLICE * 16));
        expect(s.halfOpen).toBe(0);
        expect(s.datagrams[0] + s.kernelDrops).toBeGreaterThan(COUNT);
        expect(after - before).toBeLessThan(Math.max(before * 0.1, MEASURE_MIB << 20));
      } finally {
        c.close(true, 0x100, '');
        await ep.close();
        await wire.close();
        process.off('uncaughtException', note);
        process.off('unhandledRejection', note);
      }
    },
    Math.max(60_000, COUNT * 2),
  );
});
