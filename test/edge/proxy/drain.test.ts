import { afterEach, expect, test } from '@jest/globals';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import type { QuicEngine } from '../../../src/edge/quic/engine.ts';
import { backend, named } from '../../kit/backend.ts';
import { frame } from '../../kit/h3bytes.ts';
import { gateway, head, type Client } from '../../kit/gateway.ts';
import { onRealEngines } from '../quic/native/built.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const GOAWAY_MAX = frame(0x07, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc]));
const goaway = (id: number) => frame(0x07, Buffer.from([id]));

const told = (c: Client, bytes: Uint8Array): Promise<void> => {
  const control = c.recorder.seen(c.conn, 3);
  return c.recorder.until(() => control.data().includes(bytes));
};

const suite = (name: string, make: () => QuicEngine): void => {
  test(`${name}: GOAWAY in two steps; what was begun succeeds; then H3_NO_ERROR`, async () => {
    const b = keep(await backend(() => {}));
    const g = keep(await gateway({ engine: make() }).route('/', b).start());
    const c = await g.client();
    const first = c.send(head('GET', '/'));
    (await b.began(1)).answer(200, 'first');
    expect((await c.answer(first)).body).toBe('first');
    const second = c.send(head('GET', '/'));
    await b.began(2);
    const drained = g.edge.drain(10_000);
    await told(c, GOAWAY_MAX);
    // Begun before the real GOAWAY: served.
    const third = c.send(head('GET', '/'));
    const r3 = await b.began(3);
    await told(c, goaway(12));
    await expect(g.client()).rejects.toThrow();
    b.requests[1]?.answer(200, 'second');
    r3.answer(200, 'third');
    expect((await c.answer(second)).body).toBe('second');
    expect((await c.answer(third)).body).toBe('third');
    expect(await c.closed()).toMatchObject({ side: 'remote', app: true, code: 0x100 });
    await drained;
  });
};
suite('memory', () => new MemoryEngine());
onRealEngines(suite);

test('what is left at the time-out is closed with H3_NO_ERROR, its backend cancelled', async () => {
  const b = keep(await backend(() => {}));
  const g = keep(await gateway().route('/', b).start());
  const c = await g.client();
  c.send(head('GET', '/'));
  const r = await b.began();
  await g.edge.drain(200);
  expect(await c.closed()).toMatchObject({ app: true, code: 0x100 });
  await r.connection.until(() => r.reset !== null);
  expect(r.connection.closed || r.reset === 8).toBe(true);
  expect(g.counted('requests_total')).toEqual({ 'edge/public web/up1 0 draining': 1 });
});

test('an idle edge drains at once and twice', async () => {
  const g = keep(
    await gateway()
      .route('/', keep(await named('x')))
      .start(),
  );
  await Promise.all([g.edge.drain(5_000), g.edge.drain(5_000)]);
  await g.edge.close();
});

test('who succeeds takes the newcomers of listeners that a switch brings, too', async () => {
  const told: (readonly number[])[] = [];
  const engine = new MemoryEngine();
  const listen = engine.listen.bind(engine);
  engine.listen = async (...args) => Object.assign(await listen(...args), { succeed: (workers: readonly number[]) => told.push(workers) });
  const b = keep(await named('x'));
  const g = keep(gateway({ engine }).route('/', b));
  await g.load();
  g.edge.succeed([7]);
  expect(told).toEqual([]);
  g.switch();
  expect(told).toEqual([[7]]);
});
