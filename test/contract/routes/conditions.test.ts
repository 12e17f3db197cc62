import { expect, test } from '@jest/globals';
import { FieldTest, PatternCache, headerMatches, parameterMatches } from '../../../src/contract/routes/conditions.ts';
import { leastCost } from '../../kit/cost.ts';

const condition = (name: string, type: 'Exact' | 'Regex' | 'Present', value = ''): FieldTest =>
  new FieldTest({ name, type, value }, new PatternCache());

test('headers: exact, regex over the whole value, present', () => {
  const names = ['x-a', '__proto__', 'constructor'];
  const values = ['one', 'p', ''];
  expect(headerMatches(condition('x-a', 'Exact', 'one'), names, values)).toBe(true);
  expect(headerMatches(condition('x-a', 'Exact', 'on'), names, values)).toBe(false);
  expect(headerMatches(condition('x-a', 'Regex', 'o.'), names, values)).toBe(false);
  expect(headerMatches(condition('x-a', 'Regex', 'o.*'), names, values)).toBe(true);
  expect(headerMatches(condition('constructor', 'Present'), names, values)).toBe(true);
  expect(headerMatches(condition('__proto__', 'Exact', 'p'), names, values)).toBe(true);
  expect(headerMatches(condition('toString', 'Present'), names, values)).toBe(false);
  expect(headerMatches(condition('hasOwnProperty', 'Present'), names, values)).toBe(false);
});

test('a repeated field has one value, all of its lines (RFC 9110 s5.2)', () => {
  const names = ['x-tenant', 'other', 'x-tenant'];
  const values = ['a', 'x', 'b'];
  expect(headerMatches(condition('x-tenant', 'Exact', 'a'), names, values)).toBe(false);
  expect(headerMatches(condition('x-tenant', 'Exact', 'b'), names, values)).toBe(false);
  expect(headerMatches(condition('x-tenant', 'Exact', 'a, b'), names, values)).toBe(true);
  expect(headerMatches(condition('x-tenant', 'Exact', ', b'), ['x-tenant', 'x-tenant'], ['', 'b'])).toBe(true);
  expect(headerMatches(condition('x-tenant', 'Regex', 'a, .'), names, values)).toBe(true);
  expect(headerMatches(condition('x-tenant', 'Present'), names, values)).toBe(true);
});

test('text of the configuration is compared as UTF-8 octets', () => {
  const wire = Buffer.from('é', 'utf8').toString('latin1');
  expect(headerMatches(condition('x', 'Exact', 'é'), ['x'], [wire])).toBe(true);
  expect(headerMatches(condition('x', 'Exact', 'é'), ['x'], ['\u00e9'])).toBe(false);
  expect(headerMatches(condition('x', 'Regex', '.'), ['x'], [wire])).toBe(true);
  expect(parameterMatches(condition('ü', 'Exact', 'é'), '%C3%BC=%c3%a9')).toBe(true);
});

test.each([
  ['beta=1', true],
  ['a=2&beta=1', true],
  ['beta=1&beta=2', true],
  ['beta=2&beta=1', false],
  ['beta=11', false],
  ['beta=', false],
  ['beta', false],
  ['xbeta=1', false],
  ['betax=1', false],
  ['%62eta=%31', true],
  ['BETA=1', false],
  ['', false],
  ['&&beta=1', true],
  ['=1', false],
  ['a=beta=1', false],
  ['beta=1=1', false],
  ['beta=%3', false],
  ['beta=%', false],
])('query %j has beta=1: %s', (query, expected) => {
  expect(parameterMatches(condition('beta', 'Exact', '1'), query)).toBe(expected);
});

test('query: present, empty, plus as a space, regex over the decoded value, names that JavaScript knows', () => {
  expect(parameterMatches(condition('a', 'Present'), 'b&a')).toBe(true);
  expect(parameterMatches(condition('a', 'Present'), 'b=a')).toBe(false);
  expect(parameterMatches(condition('a', 'Exact', ''), 'a')).toBe(true);
  expect(parameterMatches(condition('a', 'Exact', ''), 'a=')).toBe(true);
  expect(parameterMatches(condition('a', 'Exact', 'x y'), 'a=x+y')).toBe(true);
  expect(parameterMatches(condition('a', 'Exact', 'x y'), 'a=x%20y')).toBe(true);
  expect(parameterMatches(condition('a', 'Exact', 'x+y'), 'a=x%2By')).toBe(true);
  expect(parameterMatches(condition('a', 'Exact', '100%'), 'a=100%')).toBe(true);
  expect(parameterMatches(condition('a', 'Regex', '[0-9]+'), 'a=%34%32')).toBe(true);
  expect(parameterMatches(condition('a', 'Regex', '[0-9]'), 'a=42')).toBe(false);
  expect(parameterMatches(condition('__proto__', 'Exact', '1'), '__proto__=1')).toBe(true);
  expect(parameterMatches(condition('constructor', 'Present'), 'x=1')).toBe(false);
});

test.each(['&', 'a&', '=&', 'bet&', '%62eta&', 'x=&'])('a query of 64 KiB of %j costs its length, not the square of it', (piece) => {
  const query = piece.repeat(Math.ceil(65_536 / piece.length));
  const of = condition('beta', 'Exact', '1');
  expect(leastCost(() => expect(parameterMatches(of, query)).toBe(false), 5)).toBeLessThan(5);
});
