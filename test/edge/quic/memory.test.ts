import { expect, test } from '@jest/globals';
import type { QuicConn } from '../../../src/edge/quic/engine.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { MemoryNetwork, type NetworkOptions } from '../../../src/edge/quic/memory/network.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { engineSuite, type Made } from './conformance.ts';
import { connectOptions, echo, listenOptions, pattern, Recorder, send } from './kit.ts';

const make = (o: NetworkOptions) => (): Made => {
  const errors: Made['errors'] = [];
  return {
    engine: new MemoryEngine({ network: new MemoryNetwork(o), onInternalError: (where, error) => errors.push({ where, error }) }),
    errors,
  };
};

engineSuite('memory', make({}));
engineSuite('memory with losses', make({ seed: 7, drop: 0.02, reorder: 0.05, split: 5000, resendMs: 5 }), { lossy: true });

/** A whole story on a clock of its own; returns what the handlers saw, in order. */
async function story(seed: number): Promise<string[]> {
  const clock = new ManualClock();
  const network = new MemoryNetwork({ clock, seed, latencyMs: 5, jitterMs: 3, drop: 0.05, reorder: 0.1, split: 700 });
  const engine = new MemoryEngine({ network });
  const log: string[] = [];
  const server = echo();
  const ep = await engine.listen(listenOptions(), server);
  const client = new Recorder({
    onData: (_c, id, _b, start, end, fin) => log.push(`${clock.now().toFixed(3)} ${id} ${end - start} ${fin}`),
    onClose: (_c, why) => log.push(`close ${why.side}`),
  });
  const conns: QuicConn[] = [];
  const connected = engine.connect(connectOptions(ep.addresses[0]?.port as number), client).then((x) => conns.push(x));
  for (let i = 0; i < 50 && conns.length === 0; i++) {
    clock.advance(1);
    await Promise.resolve();
  }
  await connected;
  for (let id = 0; id < 12; id += 4) send(conns[0] as QuicConn, id, pattern(20_000, id), true);
  clock.advance(500);
  await ep.close();
  clock.advance(100);
  return log;
}

test('the same seed and clock give the same story, to the millisecond', async () => {
  const one = await story(42);
  expect(one.length).toBeGreaterThan(20);
  expect(one.at(-1)).toBe('close remote');
  expect(await story(42)).toEqual(one);
  expect(await story(43)).not.toEqual(one);
});

test('late events: bytes of the batch in which a stream was stopped still arrive', async () => {
  const network = new MemoryNetwork({ split: 100 });
  const engine = new MemoryEngine({ network });
  let after = 0;
  let stopped = false;
  const server = new Recorder({
    onData(c, id) {
      if (stopped) after++;
      stopped = true;
      c.stop(0, 1);
      c.stop(4, 1);
      if (id === 4) c.close(true, 0x100, '');
    },
  });
  const ep = await engine.listen(listenOptions(), server);
  const client = new Recorder();
  const c = await engine.connect(connectOptions(ep.addresses[0]?.port as number), client);
  send(c, 0, pattern(1000), true);
  send(c, 4, pattern(1000), true);
  send(c, 8, pattern(1000), true);
  await server.until(() => server.closes.length === 1);
  expect(after).toBeGreaterThan(0);
  expect(server.closes.length).toBe(1);
});

test('a silent network ends in time-outs', async () => {
  const network = new MemoryNetwork();
  const engine = new MemoryEngine({ network });
  const server = new Recorder();
  const ep = await engine.listen(listenOptions({ limits: { idleMs: 50 } }), server);
  const client = new Recorder();
  const port = ep.addresses[0]?.port as number;
  await engine.connect(connectOptions(port), client);
  network.silent = true;
  await server.until(() => server.closes.length === 1);
  await client.until(() => client.closes.length === 1);
  expect([server.closes[0]?.why.side, client.closes[0]?.why.side]).toEqual(['timeout', 'timeout']);
  await expect(engine.connect(connectOptions(port, { handshakeMs: 20 }), new Recorder())).rejects.toThrow('no handshake in time');
  ep.fail(new Error('socket'));
  expect(server.faults.map((e) => e.message)).toEqual(['socket']);
});
