/** docs/security/hostile-input.md is true: every row is there, and every test that it names exists and begins with the row's id. */
import { describe, expect, test } from '@jest/globals';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';

const PAGE = resolve(import.meta.dirname, '..', 'docs', 'security', 'hostile-input.md');
const text = readFileSync(PAGE, 'utf8');

const SECTIONS: readonly (readonly [letter: string, ids: readonly number[]])[] = [
  ['U', upTo(10)],
  ['Q', upTo(15)],
  ['H', upTo(21)],
  ['P', upTo(12)],
  ['M', upTo(17)],
  ['B', upTo(22)],
  ['J', upTo(8)],
  ['K', upTo(15)],
];

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

const wanted = SECTIONS.flatMap(([letter, ids]) => ids.map((n) => `${letter}${n}`));
const links = new Map([...text.matchAll(/^\[([\w-]+)\]: (\S+)$/gm)].map((m) => [m[1] as string, join(dirname(PAGE), m[2] as string)]));
const rows = [...text.matchAll(/^\| ([A-Z]\d+) \| (.+) \| (.+) \| (.+) \|$/gm)].map((m) => ({
  id: m[1] as string,
  shown: [...(m[4] as string).matchAll(/\[([\w-]+)\]/g)].map((l) => l[1] as string),
}));

/** The ids at the head of the titles in a file: `test('H1: ...')`, `])('H2, H3: ...')`, `describe('U5: ...')`. */
const TITLE = /(?:\b(?:test|describe)(?:\.\w+)*|\))\s*\(\s*(['"`])((?:[A-Z]\d+, )*[A-Z]\d+)(?:: (?!\1)|\1)/g;
const known = new Map<string, Set<string>>();

function titlesIn(file: string): Set<string> {
  let ids = known.get(file);
  if (ids === undefined) {
    ids = new Set([...readFileSync(file, 'utf8').matchAll(TITLE)].flatMap((m) => (m[2] as string).split(', ')));
    known.set(file, ids);
  }
  return ids;
}

test('every row of every section is on the page, once and in order', () => {
  expect(rows.map((r) => r.id)).toEqual(wanted);
});

test('every link leads to a file, and every file is named', () => {
  const named = new Set([...text.matchAll(/\[([\w-]+)\](?!:|\()/g)].map((m) => m[1] as string));
  expect([...named].filter((name) => !links.has(name))).toEqual([]);
  expect([...links.keys()].filter((name) => !named.has(name))).toEqual([]);
  for (const [name, file] of links) expect([name, existsSync(file)]).toEqual([name, true]);
});

test('titles are found where they are, and only there', () => {
  const sample =
    "test('A1: x', f); test.each([1])('A2, A3: %s', f); describe(`A4: y`); ])(\n 'A5: z', f); closes('B1', 'B2: no'); f('B3: no'); // B4: no";
  expect([...sample.matchAll(TITLE)].flatMap((m) => (m[2] as string).split(', '))).toEqual(['A1', 'A2', 'A3', 'A4', 'A5']);
});

describe('rows', () => {
  test.each(rows.map((r) => [r.id, r] as const))('%s is shown by tests of its name', (id, row) => {
    expect(row.shown).not.toEqual([]);
    for (const name of row.shown) {
      const file = links.get(name) as string;
      expect([name, id, titlesIn(file).has(id)]).toEqual([name, id, true]);
    }
  });
});
