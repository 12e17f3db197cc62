import { expect, test } from '@jest/globals';
import { addressFrom } from '../../../src/edge/quic/address.ts';
import type { Address } from '../../../src/edge/quic/engine.ts';
import { successorOf } from '../../../src/edge/quic/successor.ts';

const at = (port: number): Address => addressFrom('192.0.2.7', port) as Address;

test('a client and its id have one successor', () => {
  const id = Buffer.from('aa0102030405060708bb', 'hex');
  const whole = successorOf([4, 9, 200], at(1000), id, 1, 9);
  expect([4, 9, 200]).toContain(whole);
  expect(successorOf([4, 9, 200], at(1000), Buffer.from('0102030405060708', 'hex'), 0, 8)).toBe(whole);
  expect(successorOf([7], at(1000), id, 0, 10)).toBe(7);
});

test('clients are spread, by their ports and by their ids', () => {
  const shares = (of: (i: number) => number): number[] => {
    const counts = [0, 0, 0];
    for (let i = 0; i < 3000; i++) {
      const w = of(i);
      counts[w] = (counts[w] as number) + 1;
    }
    return counts;
  };
  const id = Buffer.alloc(8);
  for (const counts of [
    shares((i) => successorOf([0, 1, 2], at(1000 + i), id, 0, 8)),
    shares((i) => {
      id.writeUInt32BE(i, 4);
      return successorOf([0, 1, 2], at(1000), id, 0, 8);
    }),
  ])
    for (const n of counts) expect(n).toBeGreaterThan(850);
});
