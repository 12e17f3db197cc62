import { afterEach, describe, expect, test } from '@jest/globals';
import type { QuicConn, QuicEndpoint } from '../../../src/edge/quic/engine.ts';
import type { Made } from './conformance.ts';
import { connectOptions, echo, listenOptions, send, text, type Recorder } from './kit.ts';

const CLIENTS = 16;

/** What every engine with sockets does with the datagrams of other workers: two workers of one port, in one process. */
export function handoverSuite(name: string, make: () => Made): void {
  describe(`${name} between workers`, () => {
    let made: Made;
    const open: QuicEndpoint[] = [];
    const clients: QuicConn[] = [];

    const worker = async (workerId: number, server: Recorder, port = 0): Promise<QuicEndpoint> => {
      made ??= make();
      const o = listenOptions({ port, reusePort: true });
      const ep = await made.engine.listen({ ...o, cid: { ...o.cid, workerId } }, server);
      open.push(ep);
      return ep;
    };
    const asked = async (ep: QuicEndpoint, client: Recorder, what: string): Promise<string> => {
      const c = await made.engine.connect(connectOptions(ep.addresses[0]?.port as number), client);
      clients.push(c);
      send(c, 0, text(what), true);
      await client.until(() => client.seen(c, 0).fin || client.closes.length > 0);
      return client.seen(c, 0).data().toString();
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
      expect(made.errors.splice(0)).toEqual([]);
    });

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
  });
}
