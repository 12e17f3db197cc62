import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { QuicConn, QuicEndpoint, QuicEngine } from '../../../src/edge/quic/engine.ts';
import { HandshakeError } from '../../../src/edge/quic/failure.ts';
import { makeCa } from '../../kit/certs.ts';
import { makeCertificate } from '../../kit/x509.ts';
import { connectOptions, echo, entry, listenOptions, pattern, Recorder, send, table, text } from './kit.ts';

export interface Made {
  readonly engine: QuicEngine;
  /** What the boundaries caught. */
  readonly errors: { where: string; error: unknown }[];
}

/** How an engine differs from the others where its `caps` do not say it. */
export interface Nature {
  /** Packets get lost on its network. */
  readonly lossy?: boolean;
  /** A connection begins with a client's first datagram, and not with its whole ClientHello. */
  readonly eager?: boolean;
  /** Only packets that are authentic, and new, weigh on their connection. */
  readonly authenticOnly?: boolean;
  /** Options that not every engine honours, and this one does. */
  readonly honours?: readonly ('keylog' | 'earlyData')[];
}

type ListenMore = Parameters<typeof listenOptions>[0];
type ConnectMore = Parameters<typeof connectOptions>[1];

const MIB = 1 << 20;

/** Writes all of `body`, as far as the stream takes it now; call again at `onWritable`. */
export class Pump {
  private at = 0;
  readonly body: Uint8Array;
  readonly id: number;

  constructor(id: number, body: Uint8Array) {
    this.id = id;
    this.body = body;
  }

  run(c: QuicConn): void {
    while (this.at < this.body.length) {
      const end = Math.min(this.body.length, this.at + 16384);
      const more = c.write(this.id, this.body, this.at, end, end === this.body.length);
      this.at = end;
      if (!more) return;
    }
  }

  get left(): number {
    return this.body.length - this.at;
  }
}

const sha = (b: Uint8Array): string => createHash('sha256').update(b).digest('hex');

/** What every engine does, whatever it is made of. */
export function engineSuite(name: string, make: () => Made, nature: Nature = {}): void {
  const lossy = nature.lossy ?? false;
  describe(`engine ${name}`, () => {
    let made: Made;
    const open: QuicEndpoint[] = [];
    const clients: QuicConn[] = [];

    const start = async (h: Recorder, more: ListenMore = {}): Promise<QuicEndpoint> => {
      made ??= make();
      const ep = await made.engine.listen(listenOptions(more), h);
      open.push(ep);
      return ep;
    };
    const dial = async (ep: QuicEndpoint, h: Recorder, more: ConnectMore = {}): Promise<QuicConn> => {
      const c = await made.engine.connect(connectOptions(ep.addresses[0]?.port as number, more), h);
      clients.push(c);
      return c;
    };
    const pair = async (
      server: Recorder,
      client: Recorder,
      more: ListenMore = {},
    ): Promise<{ ep: QuicEndpoint; c: QuicConn; s: QuicConn }> => {
      const ep = await start(server, more);
      const c = await dial(ep, client);
      await server.until(() => server.conns.length > 0);
      return { ep, c, s: server.conns[0] as QuicConn };
    };
    /** Returns when everything that was under way before has been seen by both sides. */
    const barrier = async (c: QuicConn, client: Recorder, id: number): Promise<void> => {
      send(c, id, text('barrier'), true);
      await client.until(() => client.seen(c, id).fin);
    };
    const refusedWith = async (p: Promise<unknown>): Promise<HandshakeError> => {
      const e = await p.then(
        () => null,
        (x: unknown) => x,
      );
      expect(e).toBeInstanceOf(HandshakeError);
      return e as HandshakeError;
    };

    afterEach(async () => {
      for (const c of clients.splice(0)) c.close(true, 0x100, '');
      for (const ep of open.splice(0)) await ep.close();
      const errors = made?.errors.splice(0) ?? [];
      expect(errors).toEqual([]);
    });

    test('streams carry bytes both ways, in order, to the end', async () => {
      const server = new Recorder({
        onConnection(c) {
          send(c, c.openUni(), text('settings of the server'), false);
        },
        onData(c, id, _buf, _start, _end, fin) {
          if (fin && id % 4 === 0) send(c, id, text(`answer ${id}`), true);
        },
      });
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      expect(c.openUni()).toBe(2);
      send(c, 2, text('settings of the client'), false);
      for (const id of [0, 4, 8]) send(c, id, text(`question ${id}`), true);
      await client.until(() => [0, 4, 8].every((id) => client.seen(c, id).fin) && client.seen(c, 3).bytes === 22);
      await server.until(() => server.seen(s, 2).bytes === 22);
      for (const id of [0, 4, 8]) {
        expect(server.seen(s, id).data().toString()).toBe(`question ${id}`);
        expect(client.seen(c, id).data().toString()).toBe(`answer ${id}`);
      }
      expect(client.seen(c, 3).data().toString()).toBe('settings of the server');
      expect(server.seen(s, 2).data().toString()).toBe('settings of the client');
      expect([s.openUni(), s.openUni()]).toEqual([7, 11]);
    });

    test('rule 1: a lent buffer holds its bytes until the handler returns', async () => {
      const hash = createHash('sha256');
      let n = 0;
      const server = new Recorder({
        onData(_c, _id, buf, start, end) {
          n += end - start;
          hash.update(buf.subarray(start, end));
        },
      });
      server.keep = false;
      const { c, s } = await pair(server, new Recorder());
      const body = pattern(100_000, 5);
      send(c, 0, body, true);
      await server.until(() => server.seen(s, 0).fin);
      expect(n).toBe(body.length);
      expect(hash.digest('hex')).toBe(sha(body));
    });

    test('1 MiB comes back with equal bytes, and backpressure both ways', async () => {
      const server = echo();
      const client = new Recorder();
      const pump = new Pump(0, pattern(MIB, 3));
      client.hooks = { onWritable: (c) => pump.run(c) };
      const { c } = await pair(server, client);
      pump.run(c);
      await client.until(() => client.seen(c, 0).fin);
      expect(sha(client.seen(c, 0).data())).toBe(sha(pump.body));
    });

    test('rule 2: write takes all bytes; false is followed by exactly one onWritable', async () => {
      const server = echo();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      const sink = new Recorder();
      sink.keep = false;
      const body = pattern(MIB);
      let falses = 0;
      for (let at = 0; at < body.length; at += 65536) if (!c.write(0, body, at, at + 65536, false)) falses++;
      expect(falses).toBeGreaterThan(0);
      send(c, 0, text('!'), true);
      // The bytes are the engine's: changing ours changes nothing.
      const copy = Buffer.from(body);
      body.fill(0);
      await client.until(() => client.seen(c, 0).fin);
      const got = client.seen(c, 0).data();
      expect(got.length).toBe(MIB + 1);
      expect(sha(got.subarray(0, MIB))).toBe(sha(copy));
      expect(client.seen(c, 0).writable).toBeLessThanOrEqual(1);
      expect(server.seen(s, 0).fin).toBe(true);
    });

    test('rule 2: one onWritable per false, when the stream goes on', async () => {
      const server = new Recorder();
      server.keep = false;
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      let falses = 0;
      const body = pattern(65536);
      let rounds = 0;
      const fill = (): void => {
        for (let i = 0; i < 64; i++) {
          if (!c.write(0, body, 0, body.length, false)) {
            falses++;
            return;
          }
        }
      };
      client.hooks = {
        onWritable() {
          expect(client.seen(c, 0).writable).toBe(falses);
          if (++rounds < 8) fill();
          else send(c, 0, text('end'), true);
        },
      };
      fill();
      await server.until(() => server.seen(s, 0).fin);
      expect(falses).toBe(8);
      expect(client.seen(c, 0).writable).toBe(8);
    });

    test('rule 2: a dead stream takes writes without a word', async () => {
      const server = echo();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      send(c, 0, text('x'), false);
      await client.until(() => client.seen(c, 0).bytes === 1);
      c.stop(0, 0x10c);
      c.reset(0, 0x10c);
      await server.until(() => server.seen(s, 0).stops.length > 0 && server.seen(s, 0).resets.length > 0);
      expect(send(s, 0, text('more'), false)).toBe(true);
      expect(send(s, 0, text(''), true)).toBe(true);
      expect(send(c, 0, text('more'), true)).toBe(true);
      expect(send(s, 400, text('never opened'), true)).toBe(true);
      for (const f of [
        () => s.reset(0, 1),
        () => s.stop(0, 1),
        () => s.pause(0),
        () => s.resume(0),
        () => s.priority(0, 1, true),
        () => s.stop(444, 1),
      ])
        expect(f).not.toThrow();
      await barrier(c, client, 4);
      expect(client.closes).toEqual([]);
    });

    test('codes of resets and stops arrive once', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      send(c, 0, text('a'), false);
      send(c, 4, text('b'), false);
      await server.until(() => server.seen(s, 0).bytes === 1 && server.seen(s, 4).bytes === 1);
      c.reset(0, 0x10c);
      s.stop(4, 0x107);
      s.reset(4, 0x102);
      await server.until(() => server.seen(s, 0).resets.length > 0);
      await client.until(() => client.seen(c, 4).stops.length > 0 && client.seen(c, 4).resets.length > 0);
      server.hooks = { onData: (x, id, _b, _s, _e, fin) => fin && send(x, id, text('ok'), true) };
      await barrier(c, client, 8);
      expect(server.seen(s, 0).resets).toEqual([0x10c]);
      expect(client.seen(c, 4).stops).toEqual([0x107]);
      expect(client.seen(c, 4).resets).toEqual([0x102]);
    });

    test('streams that their client resets make room for others, however they are answered', async () => {
      const server = new Recorder({
        onData: (x, id) => id % 16 === 4 && send(x, id, text('early'), true),
        onReset: (x, id) => {
          if (id % 16 === 0) x.reset(id, 0x10c);
          else if (id % 16 === 8) send(x, id, text('late'), true);
          else if (id % 16 === 12) setImmediate(() => x.reset(id, 0x10c));
        },
      });
      const client = new Recorder();
      const { c, s } = await pair(server, client, { limits: { bidi: 4 } });
      for (let id = 0; id < 160; id += 4) {
        send(c, id, text('x'), false);
        await server.until(() => server.seen(s, id).bytes === 1);
        if (id % 16 === 4) await client.until(() => client.seen(c, id).fin);
        c.reset(id, 0x10c);
        await server.until(() => server.seen(s, id).resets.length > 0);
      }
      expect(client.closes).toEqual([]);
    });

    test('a client that stops reading an answer is noticed while the answer waits', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      send(c, 0, text('slow, please'), true);
      await server.until(() => server.seen(s, 0).fin);
      c.stop(0, 0x10c);
      await server.until(() => server.seen(s, 0).stops.length > 0);
      expect(server.seen(s, 0).stops).toEqual([0x10c]);
    });

    test('a client that stops reading one of many answers is noticed as well', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      const ids = Array.from({ length: 40 }, (_, i) => 4 * i);
      for (const id of ids) send(c, id, text('slow, please'), true);
      await server.until(() => ids.every((id) => server.seen(s, id).fin));
      c.stop(20, 0x10c);
      await server.until(() => server.seen(s, 20).stops.length > 0);
      expect(ids.filter((id) => server.seen(s, id).stops.length > 0)).toEqual([20]);
    });

    test('a paused stream holds at most its window, and loses nothing', async () => {
      const server = new Recorder({ onConnection: (c) => (c.data = 'server') });
      const client = new Recorder();
      const window = 64 * 1024;
      const { c, s } = await pair(server, client, { limits: { streamWindow: window } });
      let first = true;
      server.hooks = {
        onData(x, id, _b, _s, _e, fin) {
          if (id === 0 && first) {
            first = false;
            x.pause(0);
          } else if (fin && id !== 0) send(x, id, text('ok'), true);
        },
      };
      const pump = new Pump(0, pattern(MIB, 9));
      client.hooks = { onWritable: (x) => pump.run(x) };
      pump.run(c);
      await server.until(() => !first);
      await barrier(c, client, 4);
      await barrier(c, client, 8);
      const held = server.seen(s, 0).bytes;
      expect(held).toBeLessThanOrEqual(window);
      // What the client could send is bounded by the window and its own mark.
      expect(pump.left).toBeGreaterThan(MIB - window - held - 256 * 1024);
      expect(s.data).toBe('server');
      s.resume(0);
      await server.until(() => server.seen(s, 0).fin);
      expect(sha(server.seen(s, 0).data())).toBe(sha(pump.body));
    });

    test('a reader that stands still stops the writer, not its neighbours', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      let pump: Pump | null = null;
      server.hooks = {
        onData(x, id, _b, _s, _e, fin) {
          if (!fin) return;
          if (id === 0) {
            pump = new Pump(0, pattern(8 * MIB, 2));
            pump.run(x);
          } else send(x, id, text('ok'), true);
        },
        onWritable: (x) => pump?.run(x),
      };
      send(c, 0, text('x'), true);
      c.pause(0);
      await server.until(() => pump !== null);
      for (const id of [4, 8, 12]) await barrier(c, client, id);
      expect((pump as Pump | null)?.left).toBeGreaterThan(4 * MIB);
      expect(client.seen(c, 0).bytes).toBeLessThanOrEqual(2 * MIB);
      c.resume(0);
      await client.until(() => client.seen(c, 0).bytes === 8 * MIB);
      expect(server.seen(s, 0).stops).toEqual([]);
    });

    describe('rule 3: certificates by name', () => {
      const exact = entry(['a.example']);
      const wild = entry(['*.example']);
      const other = entry(['other.example', 'localhost']);
      const names = [['a.example', exact] as const, ['*.example', wild] as const];

      const chosen = async (ep: QuicEndpoint, server: Recorder, sni: string | null): Promise<number> => {
        const before = server.conns.length;
        await dial(ep, new Recorder(), { sni, insecure: true });
        await server.until(() => server.conns.length > before);
        return (server.conns[before] as QuicConn).info().tls;
      };

      test('exact, then wildcard, then fallback; whatever the case', async () => {
        const server = new Recorder();
        const ep = await start(server, { tls: table([exact, wild, other], names, other) });
        expect(await chosen(ep, server, 'a.example')).toBe(exact.id);
        expect(await chosen(ep, server, 'A.Example')).toBe(exact.id);
        expect(await chosen(ep, server, 'b.example')).toBe(wild.id);
        expect(await chosen(ep, server, 'B.EXAMPLE')).toBe(wild.id);
        expect(await chosen(ep, server, 'c.b.example')).toBe(other.id);
        expect(await chosen(ep, server, 'example')).toBe(other.id);
        expect(await chosen(ep, server, null)).toBe(other.id);
      });

      test('without a fallback an unknown or missing name is rejected with 0x170', async () => {
        const server = new Recorder();
        const ep = await start(server, { tls: table([exact], [['a.example', exact]], null) });
        for (const sni of ['b.example', null]) {
          const e = await refusedWith(dial(ep, new Recorder(), { sni, insecure: true }));
          expect([e.side, e.app, e.code]).toEqual(['remote', false, 0x170]);
        }
        expect(ep.stats().handshakes.sni_rejected).toBe(2);
        expect(await chosen(ep, server, 'a.example')).toBe(exact.id);
        expect(server.conns.length).toBe(1);
        expect(server.closes).toEqual([]);
      });

      test('setTls counts for new handshakes only', async () => {
        const server = echo();
        const ep = await start(server, { tls: table([exact]) });
        const client = new Recorder();
        const old = await dial(ep, client, { insecure: true });
        await server.until(() => server.conns.length === 1);
        ep.setTls(table([other]));
        expect(await chosen(ep, server, 'localhost')).toBe(other.id);
        expect((server.conns[0] as QuicConn).info().tls).toBe(exact.id);
        await barrier(old, client, 0);
      });

      test('a table with a hole is refused and the old one stays', async () => {
        const server = new Recorder();
        const ep = await start(server, { tls: table([exact]) });
        expect(() => ep.setTls({ entries: [], names: new Map([['x.example', other.id]]), fallback: null })).toThrow('x.example');
        expect(() => ep.setTls(table([{ ...other, certs: [] }]))).toThrow('no certificate');
        expect(await chosen(ep, server, 'x')).toBe(exact.id);
      });

      test('a table without entries serves nobody, and another one can follow', async () => {
        const server = new Recorder();
        const ep = await start(server, { tls: table([]) });
        const e = await refusedWith(dial(ep, new Recorder(), { sni: 'a.example', insecure: true }));
        expect([e.side, e.code]).toEqual(['remote', 0x170]);
        ep.setTls(table([exact]));
        expect(await chosen(ep, server, 'a.example')).toBe(exact.id);
      });

      test('what is said to be fit is taken, and what is not is not', async () => {
        const ep = await start(new Recorder(), { tls: table([exact]) });
        const odd = makeCertificate({ names: ['DNS:a.example'], pathLength: 3 });
        const certs = [
          ...exact.certs,
          ...entry(['a.example'], { type: 'rsa' }).certs,
          { cert: other.certs[0]?.cert as Uint8Array, key: exact.certs[0]?.key as Uint8Array },
          { cert: Buffer.from(odd.chain), key: Buffer.from(odd.key) },
        ];
        const { engine } = made;
        const faults = certs.map((pair) => engine.unfit(pair));
        expect(faults.slice(0, 2)).toEqual([null, null]);
        certs.forEach((pair, i) => {
          const set = (): void => ep.setTls(table([{ ...entry(['a.example']), certs: [pair] }]));
          if (faults[i] === null) expect(set).not.toThrow();
          else expect(set).toThrow(faults[i] ?? '');
        });
        // The engine of the tests looks into no certificate.
        if (engine.name !== 'memory') expect(faults[2]).toBe('the private key does not belong to the certificate');
        if (engine.name === 'native') expect(faults[3]).toContain('extensions that cannot be read, or that contradict each other');
      });
    });

    test('the client verifies names, addresses and the authority', async () => {
      const server = new Recorder();
      const ep = await start(server);
      await dial(ep, new Recorder(), { sni: 'localhost' });
      await dial(ep, new Recorder(), { sni: null });
      await dial(ep, new Recorder(), { sni: '127.0.0.1' });
      const wrong = await refusedWith(dial(ep, new Recorder(), { sni: 'elsewhere.example' }));
      expect(wrong.code).toBe(0x12a);
      const stranger = await refusedWith(dial(ep, new Recorder(), { ca: makeCa('another ca').cert }));
      expect(stranger.code).toBeGreaterThanOrEqual(0x12a);
      const address = await refusedWith(dial(ep, new Recorder(), { sni: '192.0.2.1' }));
      expect(address.code).toBe(0x12a);
      await dial(ep, new Recorder(), { sni: 'elsewhere.example', insecure: true });
      await server.until(() => server.conns.length >= 4);
    });

    test('no common ALPN is refused with 0x178 and counted', async () => {
      const server = new Recorder();
      const ep = await start(server);
      const e = await refusedWith(dial(ep, new Recorder(), { alpn: ['hq-interop'] }));
      expect([e.side, e.code]).toEqual(['remote', 0x178]);
      expect(ep.stats().handshakes.alpn_failed).toBe(1);
      const c = await dial(ep, new Recorder(), { alpn: ['nope', 'h3'] });
      expect(c.info().alpn).toBe('h3');
      await server.until(() => server.conns.length === 1);
      expect(server.conns[0]?.info()).toMatchObject({ alpn: 'h3', sni: 'localhost', resumed: false });
      expect(c.info().peerChain?.length).toBeGreaterThan(0);
    });

    test('rule 4: commands inside events, and events that come late', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      server.hooks = {
        onData(x, id, _b, _s, _e, fin) {
          if (id % 8 === 0) {
            x.stop(id, 0x101);
            x.reset(id, 0x101);
            x.stop(id, 0x101);
            x.write(id, text('dead'), 0, 4, true);
          } else if (fin) send(x, id, text('ok'), true);
        },
      };
      for (let id = 0; id < 80; id += 4) {
        send(c, id, pattern(5000), false);
        send(c, id, text('end'), true);
      }
      await client.until(() => {
        for (let id = 0; id < 80; id += 4)
          if (id % 8 === 0 ? client.seen(c, id).resets.length === 0 : !client.seen(c, id).fin) return false;
        return true;
      });
      for (let id = 0; id < 80; id += 8) expect(client.seen(c, id).resets).toEqual([0x101]);
      expect(server.closes).toEqual([]);
      expect(s.key).not.toBe(c.key);
    });

    test('rule 5: writes outside of a batch leave by themselves; batches end with onTurnEnd even without data', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { c, s } = await pair(server, client);
      const uni = s.openUni();
      await new Promise((done) => setImmediate(done));
      send(s, uni, text('out of the blue'), false);
      await client.until(() => client.seen(c, uni).bytes === 15);
      const turns = server.turns;
      c.ping();
      await server.until(() => server.turns > turns);
    });

    test('rule 7: onClose once, with side, kind and code', async () => {
      const server = new Recorder();
      const ep = await start(server);
      const a = new Recorder();
      const c1 = await dial(ep, a);
      await server.until(() => server.conns.length === 1);
      // A client that has not heard that its handshake is confirmed may close where the server no longer listens (RFC 9000 s10.2.3).
      const hello = server.conns[0] as QuicConn;
      const uni = hello.openUni();
      send(hello, uni, text('confirmed'), false);
      await a.until(() => a.seen(c1, uni).bytes > 0);
      c1.close(true, 0x101, 'enough');
      c1.close(true, 0x102, 'again');
      await server.until(() => server.closes.length === 1);
      expect(server.closes[0]?.why).toEqual({ side: 'remote', app: true, code: 0x101, reason: 'enough' });
      await a.until(() => a.closes.length === 1);
      expect(a.closes[0]?.why).toMatchObject({ side: 'local', app: true, code: 0x101 });
      const b = new Recorder();
      const c2 = await dial(ep, b);
      await server.until(() => server.conns.length === 2);
      (server.conns[1] as QuicConn).close(true, 0x107, 'load');
      await b.until(() => b.closes.length === 1);
      expect(b.closes[0]?.why).toEqual({ side: 'remote', app: true, code: 0x107, reason: 'load' });
      await server.until(() => server.closes.length === 2);
      expect(server.closes[1]?.why).toMatchObject({ side: 'local', code: 0x107 });
      expect(send(c2, 0, text('x'), true)).toBe(true);
      await ep.close();
      expect([a.closes.length, b.closes.length, server.closes.length]).toEqual([1, 1, 2]);
    });

    test('rule 7: an idle connection ends on both sides', async () => {
      const server = new Recorder();
      const client = new Recorder();
      await pair(server, client, { limits: { idleMs: 1500 } });
      await server.until(() => server.closes.length === 1);
      await client.until(() => client.closes.length === 1);
      expect(server.closes[0]?.why.side).toBe('timeout');
      expect(client.closes[0]?.why.side).toBe('timeout');
    });

    test('rule 7: drain refuses newcomers and waits for the last connection', async () => {
      const server = echo();
      const client = new Recorder();
      const { ep, c } = await pair(server, client);
      let drained = false;
      const done = ep.drain().then(() => (drained = true));
      const e = await refusedWith(dial(ep, new Recorder()));
      expect([e.side, e.app, e.code]).toEqual(['remote', false, 0x02]);
      await barrier(c, client, 0);
      expect(drained).toBe(false);
      expect(ep.stats()).toMatchObject({ connections: 1, dropped: { draining: 1 }, handshakes: { refused_draining: 1 } });
      c.close(true, 0x100, '');
      await done;
      expect(ep.stats().connections).toBe(0);
      expect(server.closes.length).toBe(1);
    });

    test('rule 7: close tells every connection', async () => {
      const server = new Recorder();
      const client = new Recorder();
      const { ep } = await pair(server, client);
      await ep.close();
      expect(server.closes.length).toBe(1);
      expect(server.closes[0]?.why.side).toBe('local');
      await client.until(() => client.closes.length === 1);
      expect(client.closes[0]?.why).toMatchObject({ side: 'remote', app: false, code: 0 });
    });

    describe('rule 8: priorities', () => {
      const race = async (urgencies: readonly (readonly [number, boolean])[]): Promise<{ order: number[]; rest: Map<number, number> }> => {
        const size = MIB;
        const server = new Recorder();
        server.keep = false;
        const client = new Recorder();
        client.keep = false;
        const { c } = await pair(server, client);
        const pumps = new Map<number, Pump>();
        server.hooks = {
          onData(x, id, _b, _s, _e, fin) {
            if (!fin) return;
            pumps.set(id, new Pump(id, pattern(size, id)));
            if (pumps.size < urgencies.length) return;
            // All answers are ready together; the least urgent is written first.
            for (let i = 0; i < urgencies.length; i++) x.priority(i * 4, ...(urgencies[i] as readonly [number, boolean]));
            for (const p of pumps.values()) p.run(x);
          },
          onWritable: (x, id) => pumps.get(id)?.run(x),
        };
        const order: number[] = [];
        const rest = new Map<number, number>();
        client.hooks = {
          onData(x, id, _b, _s, _e, fin) {
            if (!fin) return;
            order.push(id);
            if (order.length === 1) for (let i = 0; i < urgencies.length; i++) rest.set(i * 4, client.seen(x, i * 4).bytes);
          },
        };
        for (let i = 0; i < urgencies.length; i++) send(c, i * 4, text('get'), true);
        await client.until(() => order.length === urgencies.length);
        return { order, rest };
      };

      test('u=0 is complete before u=7 has passed a fifth', async () => {
        const { order, rest } = await race([
          [7, false],
          [0, false],
        ]);
        expect(order).toEqual([4, 0]);
        // Where the last bytes may be lost, others use the time until they are sent again.
        if (!lossy) expect(rest.get(0)).toBeLessThan(MIB / 5);
      });

      test('equals that are not incremental leave one after the other', async () => {
        const { order, rest } = await race([
          [3, false],
          [3, false],
        ]);
        expect(order).toEqual([0, 4]);
        if (!lossy) expect(rest.get(4)).toBeLessThan(MIB / 5);
      });

      test('incremental equals share', async () => {
        const { rest } = await race([
          [3, true],
          [3, true],
          [3, true],
        ]);
        for (const bytes of rest.values()) expect(bytes).toBeGreaterThan(MIB * 0.6);
      });
    });

    test('no more streams at once than the limit; the others wait', async () => {
      const server = new Recorder();
      server.keep = false;
      const client = new Recorder();
      const { c, s } = await pair(server, client, { limits: { bidi: 4 } });
      for (let id = 0; id < 40; id += 4) send(c, id, text('x'), true);
      await server.until(() => [0, 4, 8, 12].every((id) => server.seen(s, id).fin));
      const turns = server.turns;
      c.ping();
      await server.until(() => server.turns > turns);
      // Which of them come first is the path's affair.
      expect(server.ids(s).sort((a, b) => a - b)).toEqual([0, 4, 8, 12]);
      server.hooks = { onData: (x, id, _b, _s, _e, fin) => fin && send(x, id, text('ok'), true) };
      for (const id of [0, 4, 8, 12]) send(s, id, text('ok'), true);
      await client.until(() => client.seen(c, 36).fin);
    });

    test('the limit of connections refuses the next one and takes it again later', async () => {
      const server = new Recorder();
      const ep = await start(server, { limits: { connections: 1 } });
      const client = new Recorder();
      const c = await dial(ep, client);
      await server.until(() => server.conns.length === 1);
      const e = await refusedWith(dial(ep, new Recorder()));
      expect([e.side, e.code]).toEqual(['remote', 0x02]);
      expect(ep.stats()).toMatchObject({
        connections: 1,
        dropped: { connections: 1 },
        handshakes: { accepted: 1, refused_limit: 1 },
        answered: { refused: 1 },
      });
      c.close(true, 0x100, '');
      await server.until(() => server.closes.length === 1);
      ep.setLimits({ ...listenOptions().limits, connections: 3 });
      await dial(ep, new Recorder());
    });

    test('Q11: one address has no more connections than its share', async () => {
      const server = new Recorder();
      const ep = await start(server, { limits: { perAddress: 2 } });
      await dial(ep, new Recorder());
      await dial(ep, new Recorder());
      const e = await refusedWith(dial(ep, new Recorder()));
      expect(e.code).toBe(0x02);
      expect(ep.stats()).toMatchObject({ connections: 2, dropped: { address_limit: 1 }, handshakes: { refused_limit: 1 } });
      await dial(ep, new Recorder(), { local: '127.0.0.2' });
    });

    test('DATAGRAM frames both ways, as far as they were agreed on', async () => {
      const server = new Recorder({ onDatagram: (c, buf, start, end) => c.datagram(buf, start, end) });
      const client = new Recorder();
      const { c } = await pair(server, client);
      expect(made.engine.caps.datagram).toBe(true);
      // They may be lost: it is enough that one comes back.
      for (let i = 0; i < 20; i++) expect(c.datagram(text('ping'), 0, 4)).toBe(true);
      await client.until(() => client.datagrams.length > 0);
      expect(client.datagrams[0]?.toString()).toBe('ping');
      expect(c.datagram(new Uint8Array(5000), 0, 5000)).toBe(false);
      const off = new Recorder();
      const none = await pair(off, new Recorder(), { limits: { datagrams: false } });
      expect(none.c.datagram(text('x'), 0, 1)).toBe(false);
    });

    test('stats count connections, handshakes, datagrams and bytes', async () => {
      const server = echo();
      const client = new Recorder();
      const { ep, c, s } = await pair(server, client);
      send(c, 0, pattern(100_000), true);
      await client.until(() => client.seen(c, 0).fin);
      const st = ep.stats();
      expect(st.connections).toBe(1);
      expect(st.handshakes.accepted).toBe(1);
      expect(st.datagrams[0]).toBeGreaterThan(5);
      expect(st.bytes[0]).toBeGreaterThan(100_000);
      expect(st.bytes[1]).toBeGreaterThan(100_000);
      expect(s.stats().received).toBeGreaterThan(5);
      expect(s.stats()).toEqual(s.stats());
      expect(s.remote.length).toBe(18);
      expect(s.local.length).toBe(18);
    });

    test('keys differ, and are safe integers', async () => {
      const server = new Recorder();
      const ep = await start(server);
      for (let i = 0; i < 5; i++) await dial(ep, new Recorder());
      await server.until(() => server.conns.length === 5);
      const keys = server.conns.map((c) => c.key);
      expect(new Set(keys).size).toBe(5);
      for (const k of keys) expect(Number.isSafeInteger(k)).toBe(true);
    });

    test('what an engine cannot do is refused by name', async () => {
      made ??= make();
      const refused = async (more: ListenMore, why: string): Promise<void> =>
        await expect(made.engine.listen(listenOptions(more), new Recorder())).rejects.toThrow(why);
      if (!nature.honours?.includes('keylog')) await refused({ keylog: '/tmp/keys' }, 'keylog');
      if (!nature.honours?.includes('earlyData')) await refused({ tls: table([entry(['x'], { earlyData: true })]) }, 'earlyData');
      await refused({ tls: table([entry(['x'], { alpn: [] })]) }, 'ALPN');
      await refused({ congestion: 'vegas' as 'cubic' }, 'congestion');
    });

    describe('an exception of the handler ends its connection and nothing else', () => {
      const callbacks = ['onConnection', 'onData', 'onReset', 'onStop', 'onWritable', 'onDatagram', 'onClose', 'onTurnEnd'] as const;
      for (const which of callbacks) {
        test(which, async () => {
          const victim = '127.0.0.3';
          const bad = (c?: QuicConn): void => {
            if (c === undefined ? armed : c.remote[15] === 3) throw new Error(`thrown by ${which}`);
          };
          let armed = false;
          const server = echo();
          const plain = server.hooks;
          server.hooks = {
            ...plain,
            [which]: (c: QuicConn, ...rest: never[]) => {
              bad(c);
              (plain as Record<string, ((...a: unknown[]) => void) | undefined>)[which]?.(c, ...rest);
            },
          };
          const ep = await start(server);
          const honest = new Recorder();
          const c = await dial(ep, honest);
          const client = new Recorder();
          client.keep = false;
          armed = true;
          const v = await dial(ep, client, { local: victim });
          // Whatever it takes to have each callback called.
          if (which === 'onWritable') {
            const big = pattern(MIB);
            const echoed = plain.onData;
            server.hooks = {
              ...server.hooks,
              onData: (x, id, ...rest) => (x.remote[15] === 3 ? x.write(id, big, 0, big.length, false) : echoed?.(x, id, ...rest)),
            };
          }
          send(v, 0, text('stay'), false);
          if (which === 'onDatagram') for (let i = 0; i < 20; i++) v.datagram(text('d'), 0, 1);
          if (which === 'onReset' || which === 'onStop') await client.until(() => client.seen(v, 0).bytes > 0);
          if (which === 'onReset') v.reset(0, 1);
          if (which === 'onStop') v.stop(0, 1);
          if (which === 'onClose') v.close(true, 0x100, '');
          if (which !== 'onClose' && which !== 'onTurnEnd') {
            await client.until(() => client.closes.length === 1);
            expect(client.closes[0]?.why).toMatchObject({ side: 'remote', app: true, code: 0x102 });
          }
          for (let id = 4; id < 400 && made.errors.length === 0; id += 4) await barrier(c, honest, id);
          armed = false;
          await barrier(c, honest, 0);
          expect(honest.closes).toEqual([]);
          const errors = made.errors.splice(0);
          expect(errors.length).toBeGreaterThan(0);
          for (const e of errors) expect((e.error as Error).message).toBe(`thrown by ${which}`);
        });
      }
    });
  });
}
