import { describe, expect, test } from '@jest/globals';
import { ByteBudget } from '../../../../src/edge/quic/matrixai/budget.ts';
import { Rebinding } from '../../../../src/edge/quic/matrixai/rebinding.ts';
import { Remains } from '../../../../src/edge/quic/matrixai/remains.ts';

const KIB = 1024;

/** Feeds datagrams of `size` until the budget ends the connection; returns how many bytes that took. */
function feed(b: ByteBudget, size: number, now = 0, paused = 0, after: () => void = () => {}, limit = 100_000): number {
  for (let i = 1; i <= limit; i++) {
    const ask = b.take(size);
    after();
    if (ask && b.exceeded(now, paused)) return i * size;
  }
  return Infinity;
}

describe('Q1, Q2, Q3, Q5: the byte budget', () => {
  test('what only arrives ends at 256 KiB, plus 100 KiB a minute', () => {
    expect(feed(new ByteBudget(0, 256 * KIB, 4096 * KIB), 1200)).toBeLessThan(258 * KIB);
    const later = feed(new ByteBudget(0, 256 * KIB, 4096 * KIB), 1200, 60_000);
    expect(later).toBeGreaterThan(355 * KIB);
    expect(later).toBeLessThan(358 * KIB);
  });

  test('honest traffic never meets it: uploads, downloads, padded requests', () => {
    const up = new ByteBudget(0, 256 * KIB, 4096 * KIB);
    expect(feed(up, 1350, 0, 0, () => up.delivered(1300))).toBe(Infinity);
    const down = new ByteBudget(0, 256 * KIB, 4096 * KIB);
    expect(feed(down, 60, 0, 0, () => down.sent(2))).toBe(Infinity);
    const requests = new ByteBudget(0, 256 * KIB, 4096 * KIB);
    const request = (): void => {
      requests.delivered(60);
      requests.sent(1);
      requests.finished();
    };
    expect(feed(requests, 1444, 0, 0, request)).toBe(Infinity);
  });

  test('a paused reader may be owed its window, all of them the window of the connection', () => {
    const one = feed(new ByteBudget(0, 1024 * KIB, 4096 * KIB), 1200, 0, 1);
    expect(one).toBeGreaterThan((1024 + 256) * KIB);
    expect(one).toBeLessThan((1024 * 1.25 + 256 + 2) * KIB);
    const many = feed(new ByteBudget(0, 1024 * KIB, 4096 * KIB), 1200, 0, 100);
    expect(many).toBeGreaterThan(4096 * KIB);
    expect(many).toBeLessThan((4096 * 1.25 + 256 + 2) * KIB);
  });

  test('a stopped upload may still bring what was on its way', () => {
    const b = new ByteBudget(0, 256 * KIB, 4096 * KIB);
    b.stopped();
    const n = feed(b, 1200);
    expect(n).toBeGreaterThan(510 * KIB);
    expect(n).toBeLessThan(515 * KIB);
  });
});

describe('Q2: what floods leave behind', () => {
  function count(connections: number, owed: number): number {
    let collections = 0;
    const remains = new Remains(() => () => void collections++);
    for (let i = 0; i < connections; i++) remains.left(owed);
    return collections;
  }

  test('is collected for every 32 MiB', () => {
    expect(count(18, 450 * KIB)).toBe(0);
    expect(count(19, 450 * KIB)).toBe(1);
    expect(count(190, 450 * KIB)).toBe(10);
  });

  test('is not looked for behind honest connections', () => {
    expect(count(100_000, 0)).toBe(0);
    expect(count(100_000, -1_000_000)).toBe(0);
    expect(count(100_000, 40 * KIB)).toBe(0);
  });

  test('a budget is owed what arrived and led to nothing', () => {
    const b = new ByteBudget(0, 256 * KIB, 4096 * KIB);
    b.take(300 * KIB);
    expect(b.owed).toBe(300 * KIB);
    b.delivered(100 * KIB);
    expect(b.owed).toBeLessThan(0);
  });
});

describe('U10: following a client to another port', () => {
  test('three times what comes from there, until it has answered for a round trip', () => {
    const r = new Rebinding();
    expect(r.credit).toBe(Infinity);
    r.moved(1000, 100);
    expect(r.credit).toBe(300);
    r.credit -= 250;
    r.received(1020, 10, 50);
    expect(r.credit).toBe(200);
    r.received(1059, 10, 50);
    expect(r.credit).toBe(350);
    r.received(1061, 10, 50);
    expect(r.credit).toBe(Infinity);
  });

  test('eight attempts a second', () => {
    const r = new Rebinding();
    const tries = (now: number): number => Array.from({ length: 20 }, () => r.mayTry(now)).filter(Boolean).length;
    expect([tries(5000), tries(5500), tries(6001)]).toEqual([8, 0, 8]);
  });
});
