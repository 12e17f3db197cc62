import { describe, expect, test } from '@jest/globals';
import { FrameBudget } from '../../../../src/edge/http/h2/budget.ts';
import { Acks } from '../../../../src/edge/http/h2/acks.ts';
import { Pinger } from '../../../../src/edge/http/h2/pinger.ts';
import { Resets } from '../../../../src/edge/http/h2/resets.ts';
import { parseContentLength, parseStatus } from '../../../../src/edge/http/h2/response.ts';

describe('FrameBudget', () => {
  test('a thousand at once, then a hundred a second', () => {
    let now = 0;
    const budget = new FrameBudget(now);
    const spend = (): boolean => budget.spend(1, () => now);
    for (let i = 0; i < 1000; i++) expect(spend()).toBe(false);
    expect(spend()).toBe(true);
    now = 10_000;
    let left = 0;
    while (!spend()) left++;
    expect(left).toBeGreaterThan(990);
    expect(left).toBeLessThanOrEqual(1000);
  });

  test('what is earned is not hoarded', () => {
    const budget = new FrameBudget(0);
    budget.earn(1e9);
    let spent = 0;
    while (!budget.spend(1, () => 0)) spent++;
    expect(spent).toBe(1000);
    budget.earn(11);
    expect(budget.spend(1, () => 0)).toBe(false);
  });

  test('what we have called forth may come at any time', () => {
    const budget = new FrameBudget(0);
    budget.expect(5000);
    budget.earn(10);
    let spent = 0;
    while (!budget.spend(1, () => 0)) spent++;
    expect(spent).toBe(6000);
  });
});

describe('Pinger', () => {
  test('the first at any time, the next with traffic in between or five minutes later, never two at once', () => {
    const p = new Pinger();
    expect(p.allowed(0)).toBe(true);
    p.sent(0);
    expect(p.allowed(1_000_000)).toBe(false);
    // Traffic before the answer may have been sent before the server saw the PING.
    p.heard();
    p.answered();
    expect([p.allowed(299_999), p.allowed(300_000)]).toEqual([false, true]);
    p.heard();
    expect(p.allowed(1)).toBe(true);
  });
});

describe('Acks', () => {
  test('one question at a time, the next a tenth of a second after the last; those of the beginning are acknowledged first', () => {
    const a = new Acks();
    expect(a.wait(0)).toBe(0);
    a.asked(0);
    expect([a.wait(0), a.wait(1_000_000)]).toEqual([Infinity, Infinity]);
    expect([a.come(), a.wait(40)]).toEqual([false, Infinity]);
    expect([a.come(), a.wait(40), a.wait(100)]).toEqual([true, 60, 0]);
    // Nobody asked for it.
    expect([a.come(), a.come()]).toEqual([false, false]);
    a.asked(100);
    expect([a.come(), a.come()]).toEqual([true, false]);
  });
});

describe('Resets', () => {
  test('streams that linger count until the barrier is passed; those behind it wait for the next', () => {
    const r = new Resets();
    r.add(1, true, 5);
    r.add(3, false, 5);
    expect([r.unconfirmed, r.wantsBarrier, r.has(1), r.has(3), r.has(5)]).toEqual([1, true, true, true, false]);
    r.setBarrier();
    r.add(5, true, 7);
    expect([r.unconfirmed, r.wantsBarrier]).toEqual([2, false]);
    expect([r.heard(5), r.heard(7)]).toEqual([false, true]);
    expect([r.unconfirmed, r.wantsBarrier, r.confirm()]).toEqual([1, true, false]);
    r.setBarrier();
    expect([r.confirm(), r.unconfirmed]).toEqual([true, 0]);
  });

  test('bounded: what is forgotten is taken for reset', () => {
    const r = new Resets();
    for (let id = 1; id < 20_000; id += 2) r.add(id, false, id);
    expect((r as unknown as { ids: Set<number> }).ids.size).toBe(4096);
    expect([r.has(1), r.has(19_999), r.has(20_001)]).toEqual([true, true, false]);
  });
});

test('statuses of three digits from 100 to 599', () => {
  for (let s = 100; s < 600; s++) expect(parseStatus(String(s))).toBe(s);
  for (const bad of ['', '1', '20', '099', '000', '600', '999', '2000', ' 200', '200 ', '2 0', '+20', '-20', '2e1', '0x1', '２00']) {
    expect(parseStatus(bad)).toBe(-1);
  }
});

test('content-length of digits alone, up to 2^53-1', () => {
  const good: [string, number][] = [
    ['0', 0],
    ['00', 0],
    ['5', 5],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ];
  for (const [text, value] of good) expect(parseContentLength(text)).toBe(value);
  for (const bad of ['', ' 5', '5 ', '+5', '-5', '5.0', '0x5', '1e3', '5,5', '9007199254740992', '99999999999999999', '5abc', 'Infinity']) {
    expect(parseContentLength(bad)).toBe(-1);
  }
});
