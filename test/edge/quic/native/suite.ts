import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { hostOf } from '../../../../src/edge/quic/address.ts';
import type { QuicConn, QuicEndpoint } from '../../../../src/edge/quic/engine.ts';
import type { Addon } from '../../../../src/edge/quic/native/binding.ts';
import { NativeEngine, type NativeOptions } from '../../../../src/edge/quic/native/engine.ts';
import { connectOptions, echo, entry, listenOptions, Recorder, send, table, text } from '../kit.ts';
import { RawClient, Wire } from '../wire.ts';

/** What this engine does beyond the suites of all engines. */
export function nativeSuite(addon: () => Addon): void {
  describe('of its own', () => {
    const open: QuicEndpoint[] = [];
    const clients: QuicConn[] = [];
    const wires: Wire[] = [];
    const folders: string[] = [];
    const errors: string[] = [];

    const engine = (more: Partial<NativeOptions> = {}): NativeEngine =>
      new NativeEngine({ addon: addon(), onInternalError: (where, e) => errors.push(`${where}: ${String(e)}`), ...more });
    const listen = async (e: NativeEngine, h: Recorder, more: Parameters<typeof listenOptions>[0] = {}): Promise<QuicEndpoint> => {
      const ep = await e.listen(listenOptions(more), h);
      open.push(ep);
      return ep;
    };
    const dial = async (
      e: NativeEngine,
      ep: QuicEndpoint,
      h: Recorder,
      more: Parameters<typeof connectOptions>[1] = {},
    ): Promise<QuicConn> => {
      const c = await e.connect(connectOptions(ep.addresses[0]?.port as number, more), h);
      clients.push(c);
      return c;
    };
    const folder = (): string => {
      const dir = mkdtempSync(join(tmpdir(), 'spooky-native-'));
      folders.push(dir);
      return dir;
    };
    const ask = async (c: QuicConn, h: Recorder, id: number, what: string): Promise<string> => {
      send(c, id, text(what), true);
      await h.until(() => h.seen(c, id).fin || h.closes.length > 0);
      return h.seen(c, id).data().toString();
    };

    afterEach(async () => {
      for (const c of clients.splice(0)) c.close(true, 0x100, '');
      for (const ep of open.splice(0)) await ep.close();
      for (const w of wires.splice(0)) await w.close();
      for (const dir of folders.splice(0)) rmSync(dir, { recursive: true });
      expect(errors.splice(0)).toEqual([]);
    });

    test('it says what it can', () => {
      const e = engine();
      expect([e.name, e.version]).toEqual(['native', '0.30.0']);
      expect(e.caps).toEqual({
        migration: true,
        gso: true,
        pmtud: true,
        newToken: false,
        datagram: true,
        threads: true,
        pq: true,
        handover: true,
      });
    });

    test('commands of a promise do not meet those of the batch that resolved it', async () => {
      const e = engine();
      const server = new Recorder();
      const ep = await listen(e, server, { limits: { uni: 16 } });
      const rounds = Array.from({ length: 20 }, async (_, i) => {
        const client = new Recorder({
          onConnection(c) {
            for (let n = 0; n < 3; n++) send(c, c.openUni(), text(`batch ${i}.${n}`), false);
          },
        });
        const c = await dial(e, ep, client);
        for (let n = 0; n < 3; n++) send(c, n * 4, text(`promise ${i}.${n}`), true);
      });
      await Promise.all(rounds);
      const got = (): string[] => server.conns.flatMap((c) => server.ids(c).map((id) => server.seen(c, id).data().toString()));
      await server.until(() => got().filter((s) => s !== '').length === 120);
      const wanted = rounds.flatMap((_, i) => [0, 1, 2].flatMap((n) => [`batch ${i}.${n}`, `promise ${i}.${n}`]));
      expect(got().sort()).toEqual(wanted.sort());
      expect(ep.stats()).toMatchObject({ commandsInvalid: 0 });
    });

    test('a wildcard socket answers from the address that was asked', async () => {
      const e = engine();
      const server = echo();
      const ep = await listen(e, server, { hosts: ['0.0.0.0', '::'] });
      expect(ep.addresses.map((a) => a.host).sort()).toEqual(['0.0.0.0', '::']);
      expect(new Set(ep.addresses.map((a) => a.port)).size).toBe(1);
      for (const host of ['127.0.0.1', '127.0.0.77', '::1']) {
        const client = new Recorder();
        // A client drops what does not come from where it asked.
        const c = await dial(e, ep, client, { host, insecure: true });
        expect(await ask(c, client, 0, host)).toBe(host);
        expect(hostOf((server.conns.at(-1) as QuicConn).local)).toBe(host);
      }
    });

    test('a forwarded datagram is answered from the wildcard socket of its family', async () => {
      const e = engine();
      const ep = await listen(e, echo(), { hosts: ['0.0.0.0', '::'] });
      expect(() => ep.forward(Buffer.alloc(60, 0x40), new Uint8Array(18), new Uint8Array(18))).not.toThrow();
      expect(() => ep.forward(Buffer.alloc(0), new Uint8Array(17), new Uint8Array(18))).toThrow();
    });

    test('the socket that other workers reach it by is there as long as it is, for this user alone', async () => {
      const e = engine();
      const name = 'fedcba9876543210';
      const dir = folder();
      const ep = await listen(e, new Recorder(), { handover: { folder: dir, name } });
      // By the listener's name, and by its address.
      const names = readdirSync(dir);
      expect([names.length, names.includes(`3-${name}`)]).toEqual([2, true]);
      expect(names.map((n) => statSync(join(dir, n)).mode & 0o7777)).toEqual([0o600, 0o600]);
      await ep.close();
      expect(readdirSync(dir)).toEqual([]);
      const port = ep.addresses[0]?.port as number;
      for (const bad of [join(dir, 'none'), join(dir, 'n'.repeat(100))]) {
        const failed = e.listen(listenOptions({ port, handover: { folder: bad, name } }), new Recorder());
        await expect(failed).rejects.toThrow(`handover ${join(bad, `3-${name}`)}: `);
      }
      // Nothing of what failed is left behind.
      await listen(e, new Recorder(), { port });
    });

    test('an address that is taken is the system’s own error', async () => {
      const e = engine();
      const ep = await listen(e, new Recorder());
      const failed = e.listen(listenOptions({ port: ep.addresses[0]?.port as number }), new Recorder());
      await expect(failed).rejects.toMatchObject({ code: 'EADDRINUSE' });
      await expect(e.listen(listenOptions({ hosts: ['192.0.2.1'] }), new Recorder())).rejects.toMatchObject({ code: 'EADDRNOTAVAIL' });
    });

    test('several endpoints share a port', async () => {
      const e = engine();
      const server = echo();
      const first = await listen(e, server, { reusePort: true });
      await listen(e, server, { reusePort: true, port: first.addresses[0]?.port as number });
      for (let i = 0; i < 8; i++) {
        const client = new Recorder();
        expect(await ask(await dial(e, first, client), client, 0, 'hello')).toBe('hello');
      }
    });

    test('a key log gets the secrets of every connection, for the endpoint or for the engine', async () => {
      const dir = folder();
      const one = engine();
      const own = join(dir, 'endpoint');
      await dial(one, await listen(one, new Recorder(), { keylog: own }), new Recorder());
      const all = engine({ keylog: join(dir, 'engine') });
      const ep = await listen(all, new Recorder());
      for (let i = 0; i < 3; i++) await dial(all, ep, new Recorder());
      const lines = (name: string): string[] => readFileSync(join(dir, name), 'utf8').trimEnd().split('\n');
      expect(lines('endpoint').filter((l) => /^SERVER_TRAFFIC_SECRET_0 [0-9a-f]{64} [0-9a-f]+$/.test(l)).length).toBe(1);
      expect(lines('engine').filter((l) => l.startsWith('CLIENT_TRAFFIC_SECRET_0 ')).length).toBe(3);
      await expect(one.listen(listenOptions({ keylog: join(dir, 'none', 'file') }), new Recorder())).rejects.toThrow('keylog');
    });

    test('a folder for qlog gets a file per connection', async () => {
      const dir = folder();
      const e = engine({ qlog: dir });
      const ep = await listen(e, echo());
      for (let i = 0; i < 2; i++) {
        const client = new Recorder();
        const c = await dial(e, ep, client);
        await ask(c, client, 0, 'hello');
      }
      await ep.close();
      const files = readdirSync(dir);
      expect(files.length).toBe(2);
      for (const f of files) expect(readFileSync(join(dir, f), 'utf8')).toContain('qlog');
    });

    test('requests that come all at once are told in portions, between which the loop goes on', async () => {
      const all = 1000;
      const portions: number[] = [];
      let portion = 0;
      const server = new Recorder({
        onData(_c, _id, _buf, _start, _end, fin) {
          if (!fin) return;
          if (portion === 0)
            setImmediate(() => {
              portions.push(portion);
              portion = 0;
            });
          portion++;
        },
      });
      const e = engine();
      const c = await dial(e, await listen(e, server, { limits: { bidi: all } }), new Recorder());
      // So short that one flight brings them.
      for (let i = 0; i < all; i++) send(c, 4 * i, text('r'), true);
      await server.until(() => server.ids(server.conns[0] as QuicConn).length === all);
      await new Promise(setImmediate);
      expect(portions.reduce((a, b) => a + b)).toBe(all);
      expect(Math.max(...portions)).toBeLessThanOrEqual(512);
    });

    test('a connection that is closed in the middle of its portions does not keep others waiting', async () => {
      let begun = 0;
      const server = new Recorder({
        onData(c, id, buf, start, end, fin) {
          if (c === server.conns[0] && ++begun === 1) setImmediate(() => c.close(true, 0x10c, ''));
          else c.write(id, buf, start, end, fin);
        },
      });
      const e = engine();
      const ep = await listen(e, server, { limits: { bidi: 1000 } });
      const [first, second] = [new Recorder(), new Recorder()];
      const one = await dial(e, ep, first);
      const two = await dial(e, ep, second);
      for (let i = 0; i < 1000; i++) send(one, 4 * i, text('r'), true);
      expect(await ask(two, second, 0, 'and now?')).toBe('and now?');
      await first.until(() => first.closes.length === 1);
      expect(begun).toBeLessThanOrEqual(512);
    });

    describe('early data', () => {
      const tickets = [Buffer.alloc(48, 7)];
      const resumed = async (earlyData: boolean): Promise<{ server: Recorder; raw: RawClient; sent: boolean }> => {
        const server = echo();
        server.keep = true;
        const e = engine();
        const ep = await listen(e, server, { tls: table([entry(['localhost'], { earlyData, ticketKeys: tickets })]) });
        const port = ep.addresses[0]?.port as number;
        const client = async (session?: Uint8Array): Promise<RawClient> => {
          const w = await Wire.open();
          wires.push(w);
          return new RawClient(w, port, { configure: (c) => c.enableEarlyData(), ...(session === undefined ? {} : { session }) });
        };
        const first = await client();
        expect(await first.handshake()).toBe(true);
        await first.wire.until(() => first.q.session() !== null);
        const raw = await client(first.q.session() as Uint8Array);
        await raw.flush();
        const sent = raw.q.isInEarlyData();
        if (sent) raw.q.streamSend(0, Buffer.from('early'), true);
        expect(await raw.handshake()).toBe(true);
        expect(raw.q.isResumed()).toBe(true);
        await server.until(() => server.conns.length === 2);
        return { server, raw, sent };
      };

      test('is taken where an entry says so', async () => {
        const { server, sent } = await resumed(true);
        expect(sent).toBe(true);
        const c = server.conns[1] as QuicConn;
        await server.until(() => server.seen(c, 0).fin);
        expect(server.seen(c, 0).data().toString()).toBe('early');
        expect(c.early).toBe(true);
      });

      test('is not offered otherwise', async () => {
        const { server, sent } = await resumed(false);
        expect(sent).toBe(false);
        expect((server.conns[1] as QuicConn).early).toBe(false);
      });
    });
  });
}
