import { mkdtempSync, readdirSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import type { QuicConn, QuicEndpoint } from '../../../src/edge/quic/engine.ts';
import { eventually } from '../../kit/process.ts';
import type { Made } from './conformance.ts';
import { connectOptions, echo, listenOptions, send, text, type Recorder } from './kit.ts';

const CLIENTS = 16;
/** Of clients that may not see that they were reset, and have to be waited for. */
const SHORT_IDLE_MS = 4000;
const NAME = '0123456789abcdef';

/** What every engine with sockets does with the datagrams of other workers: two workers of one port, in one process. */
export function handoverSuite(name: string, make: () => Made): void {
  describe(`${name} between workers`, () => {
    let made: Made;
    const open: QuicEndpoint[] = [];
    const clients: QuicConn[] = [];

    const folders: string[] = [];

    const worker = async (workerId: number, server: Recorder, port = 0, folder: string | null = null): Promise<QuicEndpoint> => {
      made ??= make();
      const handover = folder === null ? {} : { handover: { folder, name: NAME } };
      const o = listenOptions({ port, reusePort: true, ...handover });
      const ep = await made.engine.listen({ ...o, cid: { ...o.cid, workerId } }, server);
      open.push(ep);
      return ep;
    };
    const asked = async (ep: QuicEndpoint, client: Recorder, what: string, idleMs = 10_000): Promise<string> => {
      const c = await made.engine.connect(connectOptions(ep.addresses[0]?.port as number, { idleMs }), client);
      clients.push(c);
      send(c, 0, text(what), true);
      await client.until(() => client.seen(c, 0).fin || client.closes.length > 0);
      return client.seen(c, 0).data().toString();
    };
    /** Clients at ports of their own, each with one answer. */
    const askedAll = async (ep: QuicEndpoint, idleMs?: number): Promise<Recorder[]> => {
      const all: Recorder[] = [];
      for (let i = 0; i < CLIENTS; i++) {
        const client = listener();
        all.push(client);
        expect(await asked(ep, client, `client ${i}`, idleMs)).toBe(`client ${i}`);
      }
      return all;
    };
    const listener = (): Recorder => {
      const client = echo();
      client.hooks = {};
      client.keep = true;
      return client;
    };

    afterEach(async () => {
      for (const c of clients.splice(0)) c.close(true, 0x100, '');
      for (const ep of open.splice(0)) await ep.close();
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
      expect(made.errors.splice(0)).toEqual([]);
    });

    const makeFolder = (): string => {
      const folder = mkdtempSync(join(tmpdir(), 'spooky-handover-'));
      folders.push(folder);
      return folder;
    };

    test('after `succeed`, connections begin at the successor; those that there are stay', async () => {
      const [older, newer] = [echo(), echo()];
      const first = await worker(3, older);
      const port = first.addresses[0]?.port as number;
      const before = listener();
      expect(await asked(first, before, 'before')).toBe('before');
      const second = await worker(4, newer, port);
      const pass =
        (to: QuicEndpoint): Recorder['onForeign'] =>
        (_w, buf, start, end, a, b) =>
          to.forward(buf.subarray(start, end), a, b);
      older.hooks = { ...older.hooks, onForeign: pass(second) };
      newer.hooks = { ...newer.hooks, onForeign: pass(first) };
      first.succeed([4]);
      for (let i = 0; i < CLIENTS; i++) expect(await asked(first, listener(), `after ${i}`)).toBe(`after ${i}`);
      expect([older.conns.length, newer.conns.length]).toEqual([1, CLIENTS]);
      expect(older.foreign.every((f) => f.worker === 4)).toBe(true);
      // A client's address decides to whom the kernel brings it: of sixteen, some come to the first one, as good as always.
      expect(older.foreign.length).toBeGreaterThan(0);
      const c = clients[0] as QuicConn;
      send(c, 4, text('still here'), true);
      await before.until(() => before.seen(c, 4).fin);
      expect(before.seen(c, 4).data().toString()).toBe('still here');
    });

    test('who succeeds is named by a number that a worker can have', async () => {
      const ep = await worker(3, echo());
      for (const bad of [-1, 256, 1.5]) expect(() => ep.succeed([bad])).toThrow(RangeError);
      expect(() => ep.succeed([])).not.toThrow();
    });

    const itself = make().engine.caps.handover ? test : test.skip;

    itself('a worker that joins hands over what the kernel brings it of connections that there are', async () => {
      const folder = makeFolder();
      const [older, newer] = [echo(), echo()];
      const first = await worker(3, older, 0, folder);
      const port = first.addresses[0]?.port as number;
      const before = await askedAll(first);
      const second = await worker(4, newer, port, folder);
      for (const [i, client] of before.entries()) {
        const c = clients[i] as QuicConn;
        send(c, 4, text(`again ${i}`), true);
        await client.until(() => client.seen(c, 4).fin || client.closes.length > 0);
        expect(client.seen(c, 4).data().toString()).toBe(`again ${i}`);
      }
      expect([older.conns.length, newer.conns.length, older.foreign.length, newer.foreign.length]).toEqual([CLIENTS, 0, 0, 0]);
      // Of sixteen addresses some have moved, as good as always.
      expect(second.stats().handover.sent).toBeGreaterThan(0);
      // What clients acknowledge last may be on its way still.
      await eventually(async () => {
        const { sent } = second.stats().handover;
        expect(first.stats().handover).toMatchObject({ sent: 0, received: sent, delivered: sent, refused: 0 });
      });
      expect(second.stats().handover).toMatchObject({ received: 0, lost: 0 });
    });

    // The native engine tells the kernel, matrixai cannot: its sockets are Node's.
    const steering = name === 'native' ? test : test.skip;

    steering(
      'what many datagrams have gone astray of, the kernel brings to its owner from then on',
      async () => {
        const folder = makeFolder();
        const first = await worker(3, echo(), 0, folder);
        const port = first.addresses[0]?.port as number;
        const before = await askedAll(first);
        const workers = [first, await worker(4, echo(), port, folder)];
        let stream = 4;
        const sent = (): number => workers.reduce((sum, w) => sum + w.stats().handover.sent, 0);
        /** Each client asks once more: how many datagrams were handed over. */
        const round = async (): Promise<number> => {
          const past = sent();
          for (const [i, client] of before.entries()) {
            const c = clients[i] as QuicConn;
            send(c, stream, text(`again ${i}`), true);
            await client.until(() => client.seen(c, stream).fin || client.closes.length > 0);
            expect(client.seen(c, stream).data().toString()).toBe(`again ${i}`);
          }
          stream += 4;
          return sent() - past;
        };
        const settles = async (): Promise<void> => {
          // It asks again after a second, then two, four, eight.
          for (const until = Date.now() + 25_000; Date.now() < until;) if ((await round()) === 0 && (await round()) === 0) return;
          throw new Error(`still ${await round()} in a round`);
        };
        expect(await round()).toBeGreaterThan(0);
        await settles();
        // Whoever joins or leaves: the hash again, until somebody has asked again.
        workers.push(await worker(5, echo(), port, folder));
        await settles();
        await (workers[1] as QuicEndpoint).close();
        await settles();
        expect([first, workers[2] as QuicEndpoint].map((w) => w.stats().dropped.malformed)).toEqual([0, 0]);
      },
      60_000,
    );

    itself('after `succeed` it brings the successor what begins, and of clients under way only what is theirs', async () => {
      const folder = makeFolder();
      const [older, newer] = [echo(), echo()];
      const first = await worker(3, older, 0, folder);
      const before = await askedAll(first);
      const second = await worker(4, newer, first.addresses[0]?.port, folder);
      first.succeed([4]);
      const after = await askedAll(second);
      expect([older.conns.length, newer.conns.length]).toEqual([CLIENTS, CLIENTS]);
      expect(first.stats().handover.sent).toBeGreaterThan(0);
      for (const [i, client] of [...before, ...after].entries()) {
        const c = clients[i] as QuicConn;
        send(c, 4, text(`again ${i}`), true);
        await client.until(() => client.seen(c, 4).fin || client.closes.length > 0);
        expect(client.seen(c, 4).data().toString()).toBe(`again ${i}`);
      }
      expect([older.foreign.length, newer.foreign.length]).toEqual([0, 0]);
    });

    itself('the connections of a worker that is gone are reset by the one that gets their datagrams', async () => {
      const folder = makeFolder();
      const first = await worker(3, echo(), 0, folder);
      // As a client, quiche 0.18 does not see all of them.
      const blind = name === 'matrixai';
      const before = await askedAll(first, blind ? SHORT_IDLE_MS : undefined);
      const second = await worker(4, echo(), first.addresses[0]?.port, folder);
      // As far as anybody can see it has died.
      for (const name of readdirSync(folder)) if (name.startsWith('3-')) unlinkSync(join(folder, name));
      for (const c of clients) send(c, 4, text('anybody there?'), true);
      await Promise.all(
        before.map((client, i) => client.until(() => client.seen(clients[i] as QuicConn, 4).fin || client.closes.length > 0)),
      );
      const reset = before.filter((client) => client.closes.length > 0);
      expect(reset.length).toBeGreaterThan(0);
      const seen = blind ? ['reset', 'timeout'] : ['reset'];
      for (const client of reset) expect(seen).toContain(client.closes[0]?.why.side);
      expect(second.stats().answered.reset).toBeGreaterThanOrEqual(reset.length);
      expect(second.stats().handover.lost).toBeGreaterThan(0);
    });
  });
}
