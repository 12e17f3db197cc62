import { describe, expect, test } from '@jest/globals';
import { LEAST_HANDSHAKES, LEAST_SHARE, LOOK_MS, Overload, watchOverload } from '../../../src/edge/proxy/overload.ts';
import type { Limits } from '../../../src/edge/quic/engine.ts';
import { MemoryEngine } from '../../../src/edge/quic/memory/engine.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { gateway, type GatewayOptions } from '../../kit/gateway.ts';

describe('what a worker allows newcomers', () => {
  test('is less while datagrams are lost and the loop never rests, and all of it again within five seconds of calm', () => {
    const overload = new Overload();
    expect([overload.look(1, 1), overload.look(1, 2), overload.share, overload.sheds]).toEqual([true, true, 0.5625, true]);
    expect(overload.handshakes(2000)).toBe(1125);
    let looks = 0;
    while (overload.sheds && looks < 100) [looks] = [looks + 1, overload.look(1, 2)];
    expect(looks * LOOK_MS).toBeLessThanOrEqual(5000);
    expect(overload.handshakes(2000)).toBe(2000);
  });

  test('is less when even the quickest handshake was slow, and not when some were', () => {
    const overload = new Overload();
    for (const ms of [1700, 20, 1900]) overload.took(ms);
    expect(overload.look(1, 0)).toBe(false);
    for (const ms of [1700, 1600, 1900]) overload.took(ms);
    expect(overload.look(1, 0)).toBe(true);
    expect(overload.share).toBe(0.75);
    // They count once.
    overload.look(1, 0);
    expect(overload.share).toBeCloseTo(0.825);
  });

  test('is all of it while the loop has time to rest: then the network is to blame', () => {
    const overload = new Overload();
    overload.took(5000);
    expect([overload.look(0.5, 1000), overload.sheds]).toEqual([false, false]);
  });

  test('is never nothing, and never more than the listener has', () => {
    const overload = new Overload();
    for (let i = 1; i < 100; i++) overload.look(1, i);
    expect(overload.share).toBe(LEAST_SHARE);
    expect(overload.handshakes(100)).toBe(LEAST_HANDSHAKES);
    expect(overload.handshakes(3)).toBe(3);
    expect(overload.handshakes(100_000)).toBe(Math.ceil(100_000 * LEAST_SHARE));
  });

  test('is all of it again within five seconds of the worst', () => {
    const overload = new Overload();
    for (let i = 1; i < 100; i++) overload.look(1, i);
    for (let i = 0; i < 5000 / LOOK_MS; i++) overload.look(1, 99);
    expect(overload.handshakes(2000)).toBe(2000);
  });
});

test('it is looked at four times a second, with what the loop did since the last look, until it is stopped', () => {
  const clock = new ManualClock();
  const overload = new Overload();
  let [active, idle, dropped, changes] = [0, 0, 0, 0];
  const stop = watchOverload(
    overload,
    clock,
    () => ({ active, idle, utilization: 0 }),
    () => dropped,
    () => changes++,
  );
  [active, idle, dropped] = [10_000, 0, 5];
  clock.advance(LOOK_MS);
  expect([changes, overload.sheds]).toEqual([1, true]);
  // Busy before, and idle since.
  [idle, dropped] = [250, 10];
  clock.advance(LOOK_MS);
  expect([changes, overload.share > 0.75]).toEqual([2, true]);
  stop();
  [active, dropped] = [active + 1000, 20];
  clock.advance(LOOK_MS * 4);
  expect([changes, clock.pending()]).toEqual([2, 0]);
});

describe('U4: clients that never come back begin at most a quarter of the handshakes that may begin', () => {
  const perSecond = ({ retryAbove, handshakeMs }: Limits): number => (retryAbove * 1000) / handshakeMs;

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

  test('also of a worker that has too much to do', async () => {
    const clock = new ManualClock(1000);
    const told = await limitsOf(
      { clock, limits: { handshakesPerSecond: 125 }, utilization: () => ({ active: clock.now(), idle: 0, utilization: 1 }) },
      () => clock.advance(20 * LOOK_MS),
    );
    const least = told.at(-1) as Limits;
    expect(least.handshakesPerSecond).toBe(LEAST_HANDSHAKES);
    for (const l of told) expect(perSecond(l)).toBeLessThanOrEqual(l.handshakesPerSecond / 4);
    expect(perSecond(least)).toBe(LEAST_HANDSHAKES / 4);
  });

  /** What the engine is told for a gateway whose sockets lose something whenever somebody looks. */
  async function limitsOf(options: GatewayOptions, meanwhile = (): void => {}): Promise<Limits[]> {
    const engine = new MemoryEngine();
    const told: Limits[] = [];
    const listen = engine.listen.bind(engine);
    engine.listen = async (o, h) => {
      told.push(o.limits);
      const endpoint = await listen(o, h);
      const stats = endpoint.stats.bind(endpoint);
      let kernelDrops = 0;
      return Object.assign(endpoint, {
        setLimits: (l: Limits) => told.push(l),
        stats: () => ({ ...stats(), kernelDrops: ++kernelDrops }),
      });
    };
    const g = await gateway({ ...options, engine })
      .routeTo({}, { to: [] })
      .start();
    try {
      meanwhile();
    } finally {
      await g.close();
    }
    return told;
  }
});
