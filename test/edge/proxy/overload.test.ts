import { describe, expect, test } from '@jest/globals';
import { CALM, LOOK_MS, Overload, watchOverload } from '../../../src/edge/proxy/overload.ts';
import type { Limits } from '../../../src/edge/quic/engine.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { gateway, type GatewayOptions } from '../../kit/gateway.ts';

describe('a worker sheds', () => {
  test('from the first newcomer that was turned away until none was for a second', () => {
    const overload = new Overload();
    expect([overload.look(0), overload.sheds]).toEqual([false, false]);
    expect([overload.look(3), overload.sheds]).toEqual([true, true]);
    expect([overload.look(4), overload.sheds]).toEqual([false, true]);
    for (let i = 1; i < CALM; i++) expect([overload.look(4), overload.sheds]).toEqual([false, true]);
    expect([overload.look(4), overload.sheds]).toEqual([true, false]);
    expect(CALM * LOOK_MS).toBe(1000);
  });

  test('not because of a listener that is gone, whose count went with it', () => {
    const overload = new Overload();
    overload.look(10);
    for (let i = 0; i < CALM; i++) overload.look(10);
    expect([overload.look(2), overload.sheds]).toEqual([false, false]);
    expect([overload.look(3), overload.sheds]).toEqual([true, true]);
  });
});

test('it is looked at four times a second, until it is stopped', () => {
  const clock = new ManualClock();
  const overload = new Overload();
  let [turnedAway, changes] = [0, 0];
  const stop = watchOverload(
    overload,
    clock,
    () => turnedAway,
    () => changes++,
  );
  clock.advance(LOOK_MS);
  expect([changes, overload.sheds]).toEqual([0, false]);
  turnedAway = 5;
  clock.advance(LOOK_MS);
  expect([changes, overload.sheds]).toEqual([1, true]);
  clock.advance(LOOK_MS * CALM);
  expect([changes, overload.sheds]).toEqual([2, false]);
  stop();
  turnedAway = 9;
  clock.advance(LOOK_MS * 4);
  expect([changes, clock.pending()]).toEqual([2, 0]);
});

test('a gateway says once when it begins, and once when it is over', async () => {
  const clock = new ManualClock(1000);
  let batch = 0;
  const engine = new MemoryEngine();
  const listen = engine.listen.bind(engine);
  engine.listen = async (o, h) => {
    const endpoint = await listen(o, h);
    const stats = endpoint.stats.bind(endpoint);
    return Object.assign(endpoint, { stats: () => ({ ...stats(), dropped: { ...stats().dropped, batch } }) });
  };
  const g = await gateway({ clock, engine, watchOverload: true }).routeTo({}, { to: [] }).start();
  const said = (): string[] => g.logged.map(({ msg }) => msg).filter((msg) => msg.startsWith('overload'));
  const shedding = (): number => g.cells.read().find((r) => r.metric === 'worker_overloaded')?.values[0] ?? 0;
  try {
    clock.advance(4 * LOOK_MS);
    expect([said(), shedding()]).toEqual([[], 0]);
    batch = 7;
    clock.advance(2 * LOOK_MS);
    expect([said(), shedding()]).toEqual([['overload: newcomers are refused'], 1]);
    clock.advance(8 * LOOK_MS);
    expect([said(), shedding()]).toEqual([['overload: newcomers are refused', 'overload is over'], 0]);
  } finally {
    await g.close();
  }
});

describe('U4: clients that never come back begin at most a quarter of the handshakes that may begin', () => {
  test('whatever the listener allows', async () => {
    for (const [handshakesPerSecond, handshakeTimeoutMs, retryAbove] of [
      [2000, 10_000, 100],
      [125, 10_000, 100],
      [8, 10_000, 20],
      [125, 100, 3],
      [1, 100, 1],
    ] as const) {
      const [told] = await limitsOf({ limits: { handshakesPerSecond }, quic: { handshakeTimeoutMs } });
      expect([handshakesPerSecond, told?.retryAbove]).toEqual([handshakesPerSecond, retryAbove]);
    }
  });

  /** What the engine is told for a gateway. */
  async function limitsOf(options: GatewayOptions): Promise<Limits[]> {
    const engine = new MemoryEngine();
    const told: Limits[] = [];
    const listen = engine.listen.bind(engine);
    engine.listen = (o, h) => {
      told.push(o.limits);
      return listen(o, h);
    };
    const g = await gateway({ ...options, engine })
      .routeTo({}, { to: [] })
      .start();
    await g.close();
    return told;
  }
});
