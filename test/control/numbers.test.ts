import { expect, test } from '@jest/globals';
import { MAX_NUMBERS, Numbers } from '../../src/control/numbers.ts';

test('the lowest free number is taken', () => {
  const numbers = new Numbers();
  expect([numbers.take(), numbers.take(), numbers.take()]).toEqual([0, 1, 2]);
  numbers.give(1);
  expect(numbers.take()).toBe(1);
  expect(numbers.take()).toBe(3);
  expect(numbers.inUse()).toEqual([0, 1, 2, 3]);
});

test('a preferred number is taken while it is free, and no number twice', () => {
  const numbers = new Numbers();
  expect(numbers.take(7)).toBe(7);
  expect(numbers.take(7)).toBe(0);
  expect(numbers.take(MAX_NUMBERS)).toBe(1);
  numbers.give(7);
  expect(numbers.take(7)).toBe(7);
});

test("another tree's numbers are left alone until they are free again", () => {
  const numbers = new Numbers();
  numbers.reserve([0, 1, 3]);
  expect([numbers.take(), numbers.take(3), numbers.take()]).toEqual([2, 4, 5]);
  numbers.reserve([]);
  expect(numbers.take()).toBe(0);
  expect(numbers.inUse()).toEqual([0, 2, 4, 5]);
});

test('a reservation takes nothing away from a process that has its number', () => {
  const numbers = new Numbers();
  expect(numbers.take()).toBe(0);
  numbers.reserve([0]);
  expect(numbers.inUse()).toEqual([0]);
  numbers.give(0);
  expect(numbers.take(0)).toBe(1);
});

test('from the other end', () => {
  const numbers = new Numbers();
  numbers.reserve([255, 253]);
  expect([numbers.takeHighest(), numbers.takeHighest(), numbers.take()]).toEqual([254, 252, 0]);
  numbers.give(254);
  expect(numbers.takeHighest()).toBe(254);
  numbers.reserve(Array.from({ length: MAX_NUMBERS }, (_, i) => i));
  expect(numbers.takeHighest()).toBeNull();
});

test('where all are taken it is asked whether others need theirs still', () => {
  let asked = 0;
  const numbers: Numbers = new Numbers(() => {
    asked++;
    numbers.reserve([]);
  });
  numbers.reserve(Array.from({ length: MAX_NUMBERS - 1 }, (_, i) => i));
  expect([numbers.take(), asked]).toEqual([255, 0]);
  expect([numbers.take(), asked, numbers.take()]).toEqual([null, 1, 0]);
  numbers.reserve(Array.from({ length: MAX_NUMBERS }, (_, i) => i));
  expect([numbers.takeHighest(), asked, numbers.takeHighest()]).toEqual([null, 2, 254]);
});

test('there are 256 and no more', () => {
  const numbers = new Numbers();
  const all = Array.from({ length: MAX_NUMBERS }, () => numbers.take());
  expect(all.at(-1)).toBe(255);
  expect(numbers.take()).toBeNull();
  numbers.give(100);
  expect(numbers.take(3)).toBe(100);
});
