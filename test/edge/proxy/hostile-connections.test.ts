/** Clients that take their time, and early data: whole connections, on the edge's own clock. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { chooseEngine } from '../../../src/edge/quic/choose.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { backend, named, type RecordingBackend } from '../../kit/backend.ts';
import { gateway, head, type Gateway, type GatewayOptions } from '../../kit/gateway.ts';
import { headers } from '../../kit/h3bytes.ts';
import { entry, listenOptions, Recorder, table } from '../quic/kit.ts';

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const serve = async (options: GatewayOptions, b?: RecordingBackend): Promise<Gateway> =>
  keep(
    await gateway(options)
      .route('/', b ?? keep(await named('ok')))
      .start(),
  );

const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((done) => setImmediate(done));
};

describe('slow clients', () => {
  test('Q10: a connection that only sends PING is closed by noRequestTimeout, one with requests is not', async () => {
    const clock = new ManualClock(1000);
    const g = await serve({ clock, limits: { noRequestTimeoutMs: 5000 } });
    const idle = await g.client();
    const busy = await g.client();
    for (let i = 0; i < 12; i++) {
      idle.conn.ping();
      if (i % 2 === 0) expect((await busy.get('/')).status).toBe(200);
      await settle();
      clock.advance(1000);
    }
    expect(await idle.closed()).toMatchObject({ side: 'remote', app: true, code: 0x100 });
    expect((await busy.get('/')).status).toBe(200);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public noRequestTimeout': 1 });
  });

  test('Q10: a head that trickles, a byte at a time, is 408 when its time is up, however lively it is', async () => {
    const clock = new ManualClock(1000);
    const b = keep(await named('ok'));
    const g = await serve({ clock, limits: { headerTimeoutMs: 5000 } }, b);
    const c = await g.client();
    const slow = headers(head('GET', '/'));
    for (let i = 0; i < 8; i++) {
      c.raw(0, slow.subarray(i, i + 1), false);
      await settle();
      clock.advance(700);
    }
    expect((await c.answer(0)).status).toBe(408);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public headerTimeout': 1 });
    expect(b.requests).toHaveLength(0);
  });

  test('Q10: a body of a byte a minute is 408, and its backend stream is cancelled', async () => {
    const clock = new ManualClock(1000);
    const b = keep(await backend());
    const g = await serve({ clock, limits: { bodyIdleTimeoutMs: 30_000 } }, b);
    const c = await g.client();
    const id = c.send(head('POST', '/'), null);
    const r = await b.began();
    for (let i = 0; i < 3; i++) {
      c.body(id, 'x');
      await settle();
      clock.advance(20_000);
    }
    await settle();
    clock.advance(15_000);
    expect((await c.answer(id)).status).toBe(408);
    await r.untilReset();
    expect([r.reset, r.ended]).toEqual([8, false]);
    expect(g.counted('limit_rejects_total')).toEqual({ 'edge/public bodyIdleTimeout': 1 });
  });
});

describe('early data', () => {
  const tls = table([entry(['localhost'], { earlyData: true })]);

  test.each(['memory', 'matrixai'] as const)('Q9: the engine %s refuses to listen with it', async (name) => {
    const engine = name === 'memory' ? new MemoryEngine() : (await chooseEngine(name)).engine;
    await expect(engine.listen(listenOptions({ tls }), new Recorder())).rejects.toThrow('earlyData');
  });

  test('Q9: no listener asks for it, whatever the engine: there is no 0-RTT to be replayed', async () => {
    const asked: boolean[] = [];
    const engine = new MemoryEngine();
    const listen = engine.listen.bind(engine);
    engine.listen = (o, h) => {
      asked.push(...o.tls.entries.map((e) => e.earlyData));
      return listen(o, h);
    };
    keep(
      await gateway({ engine })
        .route('/', keep(await backend(() => {})))
        .start(),
    );
    expect(asked.length).toBeGreaterThan(0);
    expect(asked).not.toContain(true);
  });
});

describe('stateless resets', () => {
  /** What a listener's engine is given at first, and whenever tokens are renewed. */
  const keysOf = async (listener: GatewayOptions['listener'], start: GatewayOptions['start']): Promise<Set<string>> => {
    const keys = new Set<string>();
    const note = (key: Uint8Array): void => void keys.add(Buffer.from(key).toString('hex'));
    const clock = new ManualClock(1000);
    const engine = new MemoryEngine();
    const listen = engine.listen.bind(engine);
    let renewed = 0;
    engine.listen = async (o, h) => {
      note(o.resetKey);
      const endpoint = await listen(o, h);
      const setKeys = (k: { resetKey: Uint8Array }): void => {
        renewed++;
        note(k.resetKey);
      };
      return Object.assign(endpoint, { setKeys });
    };
    await serve({ clock, engine, ...(listener && { listener }), ...(start && { start }) });
    clock.advance(3_600_000);
    expect(renewed).toBeGreaterThan(0);
    return keys;
  };

  test('U6: the same in every worker, for as long as a port is served; no port tells the tokens of another one', async () => {
    const keys = await keysOf({ port: 4433, addresses: [] }, { workerId: 0 });
    expect(keys.size).toBe(1);
    expect(await keysOf({ port: 4433, addresses: ['127.0.0.1'] }, { workerId: 5 })).toEqual(keys);
    expect(await keysOf({ port: 4434, addresses: [] }, { workerId: 0 })).not.toEqual(keys);
  });
});
