import { expect, test } from '@jest/globals';
import type { TlsId, TlsTable } from '../../../src/edge/quic/engine.ts';
import { canonicalName, pickTls } from '../../../src/edge/quic/sni.ts';

const id = (n: number): TlsId => n as TlsId;
const names = new Map([
  ['a.example', id(1)],
  ['*.example', id(2)],
  ['*.b.example', id(3)],
  ['__proto__', id(4)],
]);
const table = (fallback: number | null): TlsTable => ({ entries: [], names, fallback: fallback === null ? null : id(fallback) });

test('Q13: exact, then one label of wildcard, then the fallback, whatever the spelling', () => {
  const t = table(9);
  const cases: [string | null, number][] = [
    ['a.example', 1],
    ['A.EXAMPLE', 1],
    ['a.example.', 1],
    ['x.example', 2],
    ['X.eXample.', 2],
    ['b.example', 2],
    ['x.b.example', 3],
    ['y.x.b.example', 9],
    ['example', 9],
    ['.example', 9],
    ['', 9],
    [null, 9],
    ['*.example', 2],
    ['__proto__', 4],
    ['constructor', 9],
    ['a.example\0', 9],
    ['\u212a.example', 2],
  ];
  for (const [sni, want] of cases) expect([sni, pickTls(t, sni)]).toEqual([sni, want]);
});

test('without a fallback nothing lax is chosen', () => {
  for (const sni of [null, '', 'nope', 'y.x.b.example']) expect(pickTls(table(null), sni)).toBeNull();
});

test('only ASCII letters are folded', () => {
  expect(canonicalName('ABCxyz-09.Z')).toBe('abcxyz-09.z');
  expect(canonicalName('\u0130.example')).toBe('\u0130.example');
  expect(canonicalName('\u212a')).toBe('\u212a');
});
