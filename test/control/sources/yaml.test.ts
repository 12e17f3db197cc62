import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { stringify } from 'yaml';
import {
  DocumentOrigin,
  MAX_DOCUMENT_CHARS,
  parseChunk,
  placeOf,
  splitDocuments,
  type YamlDocument,
} from '../../../src/control/sources/yaml.ts';
import { cost } from '../../kit/cost.ts';

const one = (text: string): YamlDocument => parseChunk({ text, line: 1 })[0] as YamlDocument;
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value ?? null));

describe('cutting text into documents', () => {
  test.each<[string, readonly [string, number][]]>([
    ['', []],
    ['a: 1\n', [['a: 1\n', 1]]],
    ['---\na: 1\n---\nb: 1', [['---\na: 1\n', 1], ['---\nb: 1', 3]]], // prettier-ignore
    ['a: 1\r\n---\r\nb: 1\r\n', [['a: 1\r\n', 1], ['---\r\nb: 1\r\n', 2]]], // prettier-ignore
    ['a: |\n  ---\n  b\n----\n', [['a: |\n  ---\n  b\n----\n', 1]]],
    ['a: -----BEGIN\n-----END\n', [['a: -----BEGIN\n-----END\n', 1]]],
    ['--- a\n--- b', [['--- a\n', 1], ['--- b', 2]]], // prettier-ignore
  ])('%j', (text, chunks) => {
    expect(splitDocuments(text).map((c) => [c.text, c.line])).toEqual(chunks);
  });

  test('nothing is lost', () => {
    const piece = fc.constantFrom('---\n', 'a: 1\n', '\n', '--- x\n', '  ---\n', '...\n', '# c\n', '---');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const text = pieces.join('');
        expect(splitDocuments(text).map((c) => c.text).join('')).toBe(text); // prettier-ignore
      }),
    );
  });
});

describe('reading', () => {
  test('values that any writer of YAML wrote', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 6 }), (value) => {
        const text = stringify(value, { version: '1.1', schema: 'yaml-1.1', lineWidth: 0, aliasDuplicateObjects: false });
        const doc = one(text);
        // Keys with nothing but null count as absent, and `<<` is refused by name.
        if (JSON.stringify(value).includes('"<<"')) return;
        expect(doc.broken).toBe(false);
        expect(plain(doc.value)).toEqual(plain(dropNulls(value)));
      }),
      { numRuns: 300 },
    );
  });

  test('any text is read without an exception', () => {
    const token = fc.constantFrom(
      'a',
      ': ',
      '\n',
      '  ',
      '- ',
      '[',
      ']',
      '{',
      '}',
      '&x ',
      '*x',
      '!t ',
      '"',
      "'",
      '|',
      '>',
      '#',
      '?',
      '%',
      '\t',
      ',',
      '\u0000',
      'é',
      '<<',
      '~',
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), (tokens) => {
        for (const chunk of splitDocuments(tokens.join('')))
          for (const doc of parseChunk(chunk)) expect(Array.isArray(doc.faults)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['[', 100_000],
    ['{a: ', 50_000],
    ['- ', 50_000],
    ['a: &a [*a, ', 3000],
    ['? ', 50_000],
  ])('%j repeated %d times ends in a fault, soon', (piece, n) => {
    const parse = (): void => {
      const docs = parseChunk({ text: piece.repeat(n), line: 1 });
      expect(docs.every((d) => d.broken || d.faults.length > 0)).toBe(true);
    };
    expect(cost(parse)).toBeLessThan(5000);
  });

  test('depth is told as what it is, whoever finds it', () => {
    for (const [open, close] of [
      ['[', ']'],
      ['{a: ', '}'],
    ] as const)
      // prettier-ignore
      for (const n of [70, 3000]) {
        const doc = one(`a: ${open.repeat(n)}${close.repeat(n)}`);
        expect([doc.broken, ...doc.faults.map((f) => f.message)]).toEqual([true, 'is nested more than 64 deep']);
      }
  });

  test('a document that is too large is refused before it is parsed', () => {
    const doc = one(`a: ${'x'.repeat(MAX_DOCUMENT_CHARS)}`);
    expect([doc.broken, doc.faults[0]?.message]).toEqual([true, `has more than ${MAX_DOCUMENT_CHARS} characters; split it`]);
  });

  test.each(['y', 'Y', 'yes', 'No', 'on', 'OFF', 'n'])('%s without quotes is ambiguous, with quotes it is text', (word) => {
    expect(one(`a: ${word}`).faults.map((f) => [f.ambiguous, f.path])).toEqual([[true, 'a']]);
    expect(one(`a: "${word}"`).faults).toEqual([]);
  });

  test('numbers that are others in YAML 1.1', () => {
    for (const text of ['017', '0o17', '-07']) expect(one(`a: ${text}`).faults.map((f) => f.ambiguous)).toEqual([true]);
    for (const text of ['17', '0', '0.5', '1e3', '0x1f']) expect(one(`a: ${text}`).faults).toEqual([]);
  });
});

const dropNulls = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(dropNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== null).map(([k, v]) => [k, dropNulls(v)])); // prettier-ignore
};

describe('places', () => {
  const text = 'apiVersion: x\nspec:\n  backends:\n    - name: a\n      weight: 1\n    - {name: b, "odd key": [1, 2]}\n';
  const origin = new DocumentOrigin('a.yaml', { text, line: 11 }, 0);

  test.each<[string, number, number]>([
    ['', 11, 1],
    ['apiVersion', 11, 1],
    ['spec', 12, 1],
    ['spec.backends[0]', 14, 7],
    ['spec.backends[0].weight', 15, 7],
    ['spec.backends[1].name', 16, 8],
    ['spec.backends[1]["odd key"][1]', 16, 32],
    ['spec.backends[1].weight', 16, 7],
    ['spec.backends[7].weight', 13, 3],
    ['spec.nothing.here', 12, 1],
    ['nothing', 11, 1],
  ])('%s is at %d:%d', (path, line, column) => {
    expect(origin.locate(path)).toEqual({ line, column });
  });

  test('columns count characters, lines are 1-based', () => {
    expect(placeOf({ text: 'a\r\nbc', line: 5 }, 4)).toEqual({ line: 6, column: 2 });
  });
});

test.each([
  '| canary',
  '*canary',
  '!canary',
  '!!canary',
  '!canary!',
  '!<canary>',
  ']canary',
  '"a" canary',
  '}canary',
  '"\\canary"',
  '@canary',
  '{canary',
])('what stands in a Secret is in no message: %s', (text) => {
  const { faults } = one(`kind: Secret\nstringData:\n  password: ${text}\n`);
  expect(faults).not.toEqual([]);
  expect(JSON.stringify(faults)).not.toContain('canary');
});
