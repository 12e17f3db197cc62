import { expect, test } from '@jest/globals';
import { addressFrom } from '../../../src/edge/quic/address.ts';
import type { Address } from '../../../src/edge/quic/engine.ts';
import { AddressCounts, PrefixBuckets, PrefixCounts, TokenBucket } from '../../../src/edge/quic/limiter.ts';

const take = (n: number, f: () => boolean): number => Array.from({ length: n }, f).filter(Boolean).length;

test('a bucket gives its burst, then its rate', () => {
  const b = new TokenBucket(10, 5, 0);
  expect(take(20, () => b.take(0))).toBe(5);
  expect(take(20, () => b.take(1000))).toBe(5);
  expect(take(20, () => b.take(1200))).toBe(2);
  expect(take(20, () => b.take(1e9))).toBe(5);
  b.set(10, 1);
  expect(take(20, () => b.take(2e9))).toBe(1);
});

test('whether a bucket would give is asked for nothing', () => {
  const bucket = new TokenBucket(10, 1, 0);
  expect([bucket.ready(0), bucket.ready(0), bucket.take(0), bucket.ready(0), bucket.ready(100)]).toEqual([true, true, true, false, true]);
});

test('prefixes share a bucket, others have their own', () => {
  const b = new PrefixBuckets(10, 3, 0);
  const at = (h: string): Address => addressFrom(h, 1) as Address;
  expect(take(5, () => b.take(at('192.0.2.1'), 0))).toBe(3);
  expect(b.take(at('192.0.2.200'), 0)).toBe(false);
  // 4096 places: of ten other prefixes at least nine must be free.
  expect(Array.from({ length: 10 }, (_, i) => b.take(at(`198.51.${i}.1`), 0)).filter(Boolean).length).toBeGreaterThanOrEqual(9);
  expect(take(5, () => b.take(at('2001:db8:1::1'), 0))).toBe(3);
  expect(b.take(at('2001:db8:1:ffff::1'), 0)).toBe(false);
});

test('a bucket is low below half of its burst', () => {
  const b = new TokenBucket(10, 4, 0);
  expect([b.isLow(0), b.take(0), b.take(0), b.isLow(0), b.take(0), b.isLow(0), b.isLow(101)]).toEqual([
    false,
    true,
    true,
    false,
    true,
    true,
    false,
  ]);
});

test('whoever had more than a quarter of the last handshakes has many, until others had theirs', () => {
  const at = (h: string): Address => addressFrom(h, 1) as Address;
  const [one, beside] = [at('192.0.2.1'), at('192.0.2.9')];
  const c = new PrefixCounts();
  const add = (n: number, from: Address, proven: boolean): void => {
    for (let i = 0; i < n; i++) c.add(from, proven);
  };
  add(64, one, true);
  // By chance one may share its place among 4096; what is not proven is nobody's.
  const others = Array.from({ length: 10 }, (_, i) => at(`2001:db8:${i}::1`));
  for (const other of others) add(1024, other, false);
  expect([one, ...others].map((a) => c.hasMany(a))).toEqual(Array(11).fill(false));
  add(1024, one, true);
  expect([c.hasMany(one), c.hasMany(beside)]).toEqual([true, true]);
  expect(others.filter((a) => c.hasMany(a)).length).toBeLessThanOrEqual(1);
  for (let i = 0; i < 1024; i++) {
    add(1, one, true);
    add(4, others[0] as Address, false);
  }
  expect(c.hasMany(one)).toBe(false);
});

test('counts go with the last connection', () => {
  const c = new AddressCounts();
  c.add('__proto__');
  c.add('__proto__');
  expect(c.get('__proto__')).toBe(2);
  c.remove('__proto__');
  c.remove('__proto__');
  expect([c.get('__proto__'), c.size]).toEqual([0, 0]);
});
