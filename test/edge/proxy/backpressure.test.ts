/** A side that does not read stops the other: neither we nor the kernel's buffers take what nobody wants. */
import { afterEach, expect, test } from '@jest/globals';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import type { QuicEngine } from '../../../src/edge/quic/engine.ts';
import { backend } from '../../kit/backend.ts';
import { gateway, head } from '../../kit/gateway.ts';
import { onRealEngines } from '../quic/native/built.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const MIB = 1 << 20;
const BODY = 48 * MIB;
/** Windows of both protocols and what sockets hold, with room to spare; a third of the body. */
const BOUND = 16 * MIB;

const quiet = async (now: () => number): Promise<number> => {
  // Until nothing has moved for a while of turns: bounded, and no clock in it.
  let last = -1;
  for (let still = 0, i = 0; still < 200 && i < 100_000; i++) {
    await new Promise((done) => setImmediate(done));
    still = now() === last ? still + 1 : 0;
    last = now();
  }
  return last;
};

const suite = (name: string, make: () => QuicEngine): void => {
  test(`${name}: a client that does not read pauses the backend, and gets everything when it reads again`, async () => {
    const b = keep(
      await backend((r) => {
        if (r.path === '/beside') return r.answer(200, 'beside');
        r.respond(200, [['content-length', String(BODY)]]);
        r.write(Buffer.alloc(BODY, 'x'), true);
      }),
    );
    const g = keep(await gateway({ engine: make() }).route('/', b).start());
    const c = await g.client();
    c.recorder.keep = false;
    const id = c.send(head('GET', '/'));
    await c.arrived(id, 100_000);
    c.conn.pause(id);
    const { socket } = b.last.connection;
    expect(await quiet(() => socket.bytesWritten)).toBeLessThan(BOUND);
    // The others of that connection and of that backend go on.
    c.recorder.keep = true;
    expect((await c.get('/beside')).body).toBe('beside');
    c.recorder.keep = false;
    c.conn.resume(id);
    const seen = c.recorder.seen(c.conn, id);
    await c.recorder.until(() => seen.fin);
    expect(seen.bytes).toBeGreaterThan(BODY);
    expect(g.counted('internal_errors_total')).toEqual({});
  }, 60_000);

  test(`${name}: a backend that does not read pauses the client, and gets everything when it reads again`, async () => {
    let reading = false;
    let held = 0;
    const b = keep(
      await backend(null, {
        onFrame: (p, f) => {
          if (f.type !== 0 || reading) return false;
          p.requests.get(f.id)?.pieces.push(f.payload);
          held += f.payload.length;
          return true;
        },
      }),
    );
    const g = keep(await gateway({ engine: make() }).route('/', b).start());
    const c = await g.client();
    const id = c.send(head('POST', '/', undefined, [['content-length', String(BODY)]]), null);
    const r = await b.began();
    let sent = 0;
    const chunk = Buffer.alloc(256 * 1024, 'y');
    const pump = (): void => {
      while (sent < BODY) {
        sent += chunk.length;
        if (!c.body(id, chunk, sent === BODY)) return;
      }
    };
    c.recorder['hooks'].onWritable = pump;
    pump();
    await quiet(() => held + sent);
    expect(held).toBeLessThanOrEqual(65_535);
    expect(sent).toBeLessThan(BOUND);
    reading = true;
    r.connection.windowUpdate(0, held);
    r.connection.windowUpdate(r.id, held);
    await r.untilEnded();
    expect(r.body.length).toBe(BODY);
  }, 60_000);
};
suite('memory', () => new MemoryEngine());
onRealEngines(suite);
