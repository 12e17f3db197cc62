import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readPlain } from '../../../src/control/sources/plainyaml.ts';
import { parseAny, parseChunk, splitDocuments } from '../../../src/control/sources/yaml.ts';
import { ROOT } from '../../kit/peers.ts';
import { leastCost } from '../../kit/cost.ts';

const UPSTREAM = `---
# one of many
apiVersion: spooky.dev/v1alpha1
kind: Upstream
metadata:
  name: shop
  labels: {team: web, tier: "front end", n: 12}
spec:
  hostnames: [shop.example.com, '*.shop.example.com']
  matches:
    - path: {type: Prefix, value: /v1}
      methods: [GET, POST]
    - path:
        type: Exact
        value: /healthz

  timeouts: {response: 15s}
  retries: 2
  sticky: true
  backends:
  - name: blue
    weight: 90
    addresses:
      - {address: "10.0.0.1:8000"}
      - address: backend.example.com:80
        weight: 3
  - name: green
    addresses: []
`;

/** Whether it was read; fails where the parser of the whole language comes to something else. */
function agrees(text: string): boolean {
  const read = readPlain(text);
  if (read === null) return false;
  const expected = { ...read, broken: false, faults: [], empty: [], index: 0 };
  const found = parseAny({ text, line: 1 });
  // With the text, so that a failure shows it.
  expect({ text, found }).toEqual({ text, found: [expected] });
  // The order of members is told again to whoever reads the admin API.
  expect(JSON.stringify(found[0]?.value)).toBe(JSON.stringify(read.value));
  expect(prototypes(read.value)).toEqual(prototypes(found[0]?.value));
  return true;
}

const prototypes = (value: unknown): unknown =>
  typeof value !== 'object' || value === null
    ? []
    : [Object.getPrototypeOf(value) === null, ...Object.values(value).map((inner: unknown) => prototypes(inner))];

describe('what is plain', () => {
  test('a usual document', () => {
    expect(agrees(UPSTREAM)).toBe(true);
    expect(parseChunk({ text: UPSTREAM, line: 7 })).toEqual(parseAny({ text: UPSTREAM, line: 7 }));
  });

  test.each([
    'a: b',
    'a:\n- b\n- c\n',
    'a:\n  - b\n  - c: d\n    e: f\n  -   g: h\n      i: j\n',
    '- a\n- b: c\n- [d, {e: f}]\n- {}\n- []\n',
    'a: 0\nb: 12\nc: 15s\nd: 1d\ne: a b  c\nf: "1"\ng: true\nh: false\ni: /x?y=z\nj: http://h/p;q=1.5\n',
    'yes: a\nnull: b\ntrue: c\n__proto__: d\nconstructor: e\n',
    '\n\n  # far right\na: b   \n     \n      # c\n# d\nb:   c\n',
    'a: \'it\'\nb: ""\nc: \'\'\nd: "#:,[]{}"\n',
    '---   \na: b\n',
    'a: [x,w , z:1]\n',
  ])('%j', (text) => {
    expect(agrees(text)).toBe(true);
  });

  test.each([
    ['', 'nothing'],
    ['# a\n', 'nothing but a comment'],
    ['a', 'no map'],
    ['a:\n', 'a member without a value'],
    ['a: ~\n', 'null'],
    ['a: null\n', 'null'],
    ['a: yes\n', 'a boolean to some'],
    ['a: 012\n', 'an octal to some'],
    ['a: 1.5\n', 'a number with a point'],
    ['a: 1e3\n', 'an exponent'],
    ['a: 0x1f\n', 'hexadecimal'],
    ['a: -1\n', 'a sign'],
    ['a: 12345678901234567890\n', 'a large number'],
    ['a: b\na: c\n', 'written twice'],
    ['a: {b: c, b: d}\n', 'written twice'],
    ['a: b\n  c\n', 'over two lines'],
    ['a: b: c\n', 'two colons'],
    ['a: b #c\n', 'a comment behind it'],
    ['a: |\n  b\n', 'a block of text'],
    ['a: &x b\nc: *x\n', 'an anchor'],
    ['a: !!str b\n', 'a tag'],
    ['a: "\\n"\n', 'an escape'],
    ["a: 'it''s'\n", 'an apostrophe'],
    ['a: "b" c\n', 'more behind a quote'],
    ['a: [b\n', 'no end'],
    ['a: [b,\n  c]\n', 'over two lines'],
    ['a: [b, ]\n', 'a comma at the end'],
    ['a: [b c]\n', 'two words'],
    ['a: {b}\n', 'a member without a value'],
    ['a: {"b": c}\n', 'a key in quotes'],
    ['"a": b\n', 'a key in quotes'],
    ['? a\n: b\n', 'a key by a question mark'],
    ['<<: b\n', 'a merge'],
    ['a:\tb\n', 'a tab'],
    ['a: ä\n', 'more than ASCII'],
    ['a: b\r\n', 'a carriage return'],
    ['a: b\n...\n', 'an end'],
    ['%YAML 1.2\n---\na: b\n', 'a directive'],
    ['a: b\n c: d\n', 'a wrong indent'],
    ['a:\n  b: c\n d: e\n', 'a wrong indent'],
    ['- a\nb: c\n', 'a list and a map'],
    ['a: b\n- c\n', 'a map and a list'],
    ['- - a\n', 'a list beside a dash'],
    ['-\n  a: b\n', 'nothing beside a dash'],
    [`${'a'.repeat(1001)}: b\n`, 'a long key'],
    [`a: ${'b'.repeat(100_000)}\n`, 'a long text'],
    [`a: ${'['.repeat(40)}${']'.repeat(40)}\n`, 'depth'],
    [Array.from({ length: 40 }, (_, i) => `${' '.repeat(i)}a:\n`).join('') + `${' '.repeat(40)}a: b\n`, 'depth'],
  ])('%j is not: %s', (text) => {
    expect(readPlain(text)).toBeNull();
    // What gives up leaves it to the other: nothing is read twice in two ways.
    expect(parseChunk({ text, line: 1 })).toEqual(parseAny({ text, line: 1 }));
  });
});

describe('what it reads, the parser of the whole language reads as the same', () => {
  test('in every document of this repository', () => {
    const folders = ['manifests', 'charts', 'crds', 'test', 'docs'].map((name) => join(ROOT, name));
    let all = 0;
    for (const folder of folders)
      for (const name of listed(folder)) for (const chunk of splitDocuments(readFileSync(name, 'utf8'))) {
          all++;
          agrees(chunk.text);
        } // prettier-ignore
    expect(all).toBeGreaterThan(10);
  });

  test('in texts of a few tokens', () => {
    const tokens = ['a', 'b1', '10', '7s', 'a: ', 'b: ', 'key:', ': ', ':', '- ', '-', '\n', '\n  ', '\n    ', '  ', '"x y"', "'z'", '[', ']', '{', '}', ', ', ',', '#', ' # c', 'no', 'null', 'true', '.', '/', '~', '?', '---', '...', '&', '*', '!', '|', '>', '%', '@', '\\', '"', "'", '0', '.5', '1_0', '\n- ', '\na: ', '\n  - ', '\n  b: ']; // prettier-ignore
    let plain = 0;
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...tokens), { maxLength: 14 }), (pieces) => {
        if (agrees(pieces.join(''))) plain++;
      }),
      { numRuns: 3000 },
    );
    expect(plain).toBeGreaterThan(2);
  }, 90_000);

  test('in lines put together', () => {
    const line = fc.tuple(
      fc.nat(4),
      fc.constantFrom('a', 'b', 'c', '- a', '- b', '-  c', '- '),
      fc.constantFrom(':', ': ', ': x', ': x y', ': "q"', ': [a, b]', ': {a: b}', ': {}', ': 7', '', ' ', ': x:y', ': # c', ': []  ', ': x,y', ': {a: [b, {c: d}]}'), // prettier-ignore
    );
    let plain = 0;
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 7 }), (lines) => {
        if (agrees(lines.map(([indent, begin, rest]) => `${' '.repeat(indent)}${begin}${rest}\n`).join(''))) plain++;
      }),
      { numRuns: 3000 },
    );
    expect(plain).toBeGreaterThan(40);
  }, 90_000);

  test('in a document of which a little was changed', () => {
    const edit = fc.tuple(fc.nat(UPSTREAM.length), fc.nat(3), fc.constantFrom('', ' ', '  ', '\n', ':', ': ', '-', '- ', '#', ' #', '"', "'", ',', '{', '}', '[', ']', 'a', '1', '.', '~', '%', '|', '\\', '\t')); // prettier-ignore
    let plain = 0;
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let text = UPSTREAM;
        for (const [at, gone, come] of edits) text = text.slice(0, at) + come + text.slice(at + gone);
        for (const chunk of splitDocuments(text)) if (agrees(chunk.text)) plain++;
      }),
      { numRuns: 1000 },
    );
    expect(plain).toBeGreaterThan(40);
  }, 90_000);
});

test('it costs a fifth of the other at most', () => {
  const chunk = { text: UPSTREAM, line: 1 };
  const times = (read: () => unknown) => (): void => {
    for (let i = 0; i < 500; i++) read();
  };
  const fast = leastCost(times(() => parseChunk(chunk)));
  expect(leastCost(times(() => parseAny(chunk)))).toBeGreaterThan(5 * fast);
});

function listed(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.ya?ml$/.test(name) && !name.includes('templates'))
      .map((name) => join(folder, name));
  } catch {
    return [];
  }
}
