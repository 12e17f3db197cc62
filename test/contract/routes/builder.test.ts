/** A table that was made out of another one matches and explains as one that was built from scratch, and leaves the other as it was. */
import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { PatternCache } from '../../../src/contract/routes/conditions.ts';
import { buildTable, RouteTable, TableBuilder, TableRoute } from '../../../src/contract/routes/table.ts';
import { Trie } from '../../../src/contract/routes/trie.ts';
import type { PartHash, RouteMatch } from '../../../src/contract/snapshot/parts.ts';
import { hostPart, routePart } from '../../kit/snapshot.ts';

const HOSTS = ['a.example', 'b.example', '*.example', '*.b.example', '*'] as const;
const PATHS = ['/', '/a', '/a/b', '/ab', '/a/b/c', '/b'] as const;

const someMatch = fc.record({
  path: fc.oneof(
    fc.constant(null),
    fc.record({ type: fc.constantFrom('Exact' as const, 'Prefix' as const), value: fc.constantFrom(...PATHS) }),
    fc.record({ type: fc.constant('Regex' as const), value: fc.constantFrom('/a.*', '/[ab]') }),
  ),
  methods: fc.constantFrom<readonly string[]>([], ['GET'], ['POST']),
  headers: fc.constant([]),
  query: fc.constant([]),
});

interface Edit {
  readonly there: boolean;
  readonly n: number;
  readonly hostname: string;
  readonly written: string;
  readonly match: RouteMatch;
}

const someEdit: fc.Arbitrary<Edit> = fc.record({
  there: fc.boolean(),
  n: fc.integer({ min: 0, max: 7 }),
  hostname: fc.constantFrom(...HOSTS),
  written: fc.constantFrom(...HOSTS),
  match: someMatch,
});

const partOf = ({ n, written, match }: Edit) =>
  routePart('target' as PartHash, { upstream: { namespace: 'default', name: `u${n}` }, hostname: written, matchIndex: n, match });

const answers = (table: RouteTable<number>): unknown => {
  const found: unknown[] = [];
  for (const host of ['a.example', 'b.example', 'x.b.example', 'y.example', 'other.test'])
    for (const path of [...PATHS, '/a/', '/zz'])
      for (const method of ['GET', 'POST']) {
        found.push(table.match(host, path, '', method, [], []));
        const { chosen, others } = table.explain({ host, path, query: '', method, names: [], values: [] });
        found.push(
          chosen?.value ?? null,
          others.map((o) => `${o.value} ${o.outcome} ${o.why}`),
        );
      }
  return found;
};

test('any sequence of changes', () => {
  fc.assert(
    fc.property(fc.array(fc.array(someEdit, { minLength: 1, maxLength: 6 }), { maxLength: 8 }), (rounds) => {
      const patterns = new PatternCache();
      const there = new Map<number, { readonly edit: Edit; readonly route: TableRoute<number> }>();
      let table = RouteTable.empty<number>();
      for (const round of rounds) {
        const before = table;
        const answered = answers(before);
        const builder = new TableBuilder(before);
        for (const edit of round) {
          const old = there.get(edit.n);
          if (old !== undefined) builder.remove(old.edit.hostname, old.route);
          there.delete(edit.n);
          if (!edit.there) continue;
          const route = new TableRoute(edit.n, partOf(edit), patterns);
          builder.add(edit.hostname, route);
          there.set(edit.n, { edit, route });
        }
        table = builder.finish();
        const hosts = Array.from(there.values(), ({ edit }) => hostPart(edit.hostname, [partOf(edit)]));
        expect(answers(table)).toEqual(answers(buildTable(hosts, (route) => route.matchIndex)));
        expect(answers(before)).toEqual(answered);
      }
    }),
    { numRuns: 60 },
  );
});

test('a trie is what a map would be, and those before it stay as they were', () => {
  const someKey = fc.string({ unit: fc.constantFrom('a', 'b', '/'), maxLength: 6 });
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.array(fc.array(fc.tuple(someKey, fc.option(fc.nat())), { maxLength: 6 }), { maxLength: 10 }),
      (backwards, rounds) => {
        let trie = new Trie<number>(backwards);
        const plain = new Map<string, number>();
        const keys = new Set(rounds.flat().map(([key]) => key));
        for (const round of rounds) {
          const [before, known] = [trie, new Map(plain)];
          const owner = {};
          trie = trie.copy();
          for (const [key, value] of round) {
            trie.set(key, value, owner);
            if (value === null) plain.delete(key);
            else plain.set(key, value);
          }
          for (const key of keys) {
            expect(trie.get(key)).toBe(plain.get(key) ?? null);
            expect(before.get(key)).toBe(known.get(key) ?? null);
            const begins = [...plain.keys()]
              .filter((k) => (backwards ? key.endsWith(k) : key.startsWith(k)))
              .sort((a, b) => a.length - b.length);
            const count = trie.walk(key);
            expect(Array.from({ length: count }, (_, i) => trie.at(i).value)).toEqual(begins.map((k) => plain.get(k)));
          }
          if (plain.size === 0) expect([trie.root.value, trie.root.children]).toEqual([null, null]);
        }
      },
    ),
  );
});
