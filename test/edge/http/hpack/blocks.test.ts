/** Whole blocks that repeat: with the memory and without it, the same fields and the same tables. */
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { HpackDecoder } from '../../../../src/edge/http/hpack/decoder.ts';
import { KnownHead } from '../../../../src/edge/http/known.ts';

const LIMITS = { bytes: 65_536, count: 128 };

const text = (s: string): number[] => [s.length, ...Buffer.from(s, 'latin1')];
const literal = (first: number, name: string, value: string): number[] => [first, ...text(name), ...text(value)];
const INSERT = 0x40;
const PLAIN = 0x00;
const NEVER = 0x10;

/** What a session does with a block: null when it does not decode. */
function take(d: HpackDecoder, block: readonly number[], remembers: boolean): { rows: string[]; known: boolean } | null {
  // Somewhere in a larger buffer, as in the one that sockets read into.
  const buf = Uint8Array.from([0xff, ...block, 0xff]);
  const known = remembers ? d.recall(buf, 1, 1 + block.length) : null;
  if (known !== null) return { rows: rows(known.fields), known: true };
  const fields = new Fields();
  if (!d.decode(buf, 1, 1 + block.length, fields, fields)) return null;
  if (remembers && d.repeats()) d.remember(new KnownHead(200, -1, fields.copy()));
  return { rows: rows(fields), known: false };
}

const rows = (f: Fields): string[] => f.names.map((name, i) => `${name}: ${f.values[i] as string}${f.isNever(i) ? ' never' : ''}`);

function tableOf(d: HpackDecoder): string[] {
  // Whoever decodes looks at the table.
  d.decode(new Uint8Array(0), 0, 0, new Fields(), new Fields());
  const { table } = d;
  return Array.from({ length: table.length }, (_, i) => {
    const at = (table.oldest + i) & table.mask;
    return `${table.names[at] as string}: ${table.values[at] as string} (${table.notes[at] as number})`;
  });
}

const decoder = (): HpackDecoder => new HpackDecoder(4096, LIMITS);
const knownOf = (d: HpackDecoder, block: readonly number[], times: number): boolean[] =>
  Array.from({ length: times }, () => take(d, block, true)?.known ?? false);

const name = fc.constantFrom('server', 'date', 'etag', 'x-served-by');
const value = fc.constantFrom('a', 'bc', 'nginx/1.31', 'v'.repeat(60), 'w'.repeat(100));
const line = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(name, value).map(([n, v]) => literal(INSERT, n, v)) },
  { weight: 2, arbitrary: fc.tuple(name, value).map(([n, v]) => literal(PLAIN, n, v)) },
  { weight: 1, arbitrary: fc.tuple(name, value).map(([n, v]) => literal(NEVER, n, v)) },
  { weight: 2, arbitrary: fc.constantFrom(0x88, 0x89).map((i) => [i]) },
  { weight: 3, arbitrary: fc.integer({ min: 62, max: 66 }).map((i) => [0x80 | i]) },
  { weight: 1, arbitrary: fc.tuple(fc.integer({ min: 63, max: 65 }), value).map(([i, v]) => [0x7f, i - 63, ...text(v)]) },
);
const resize = fc.constantFrom<number[]>([], [], [], [], [], [], [0x20], [0x3f, 0x45], [0x3f, 0xe1, 0x1f]);
const block = fc.tuple(resize, fc.array(line, { minLength: 1, maxLength: 5 })).map(([r, lines]) => [...r, ...lines.flat()]);
/** Few different blocks in runs: as backends send them. */
const sequence = fc
  .array(block, { minLength: 1, maxLength: 4 })
  .chain((blocks) => fc.array(fc.tuple(fc.constantFrom(...blocks), fc.integer({ min: 1, max: 60 })), { minLength: 1, maxLength: 12 }));

test('the memory changes nothing but the time that it takes', () => {
  let known = 0;
  fc.assert(
    fc.property(sequence, (runs) => {
      const [one, other] = [decoder(), decoder()];
      for (const [bytes, times] of runs) {
        for (let i = 0; i < times; i++) {
          const [a, b] = [take(one, bytes, true), take(other, bytes, false)];
          expect(a?.rows).toEqual(b?.rows);
          // COMPRESSION_ERROR: the connection is over.
          if (b === null) return;
          if (a?.known === true) known++;
        }
        expect(tableOf(one)).toEqual(tableOf(other));
      }
    }),
    { seed: 20260101, numRuns: 400 },
  );
  expect(known).toBeGreaterThan(1000);
});

describe('what is remembered', () => {
  const nginx = [0x88, ...literal(INSERT, 'server', 'nginx'), ...literal(INSERT, 'x-a', 'b')];

  test('a block of literals, from its third time on', () => {
    expect(knownOf(decoder(), nginx, 4)).toEqual([false, false, true, true]);
  });

  test('also where the table holds nothing, as a peer wants it that does not use it', () => {
    const d = decoder();
    expect(take(d, [0x20, ...nginx], true)).not.toBeNull();
    expect(knownOf(d, nginx, 3)).toEqual([false, false, true]);
    // With room, the same bytes fill the table.
    expect(take(d, [0x3f, 0xe1, 0x1f, 0x88], true)?.known).toBe(false);
    expect(take(d, nginx, true)?.known).toBe(false);
    expect(tableOf(d)).toHaveLength(2);
  });

  test('a block that refers to the table, as long as that stays as it is', () => {
    const d = decoder();
    const indexed = [0x88, 0xbe, ...literal(PLAIN, 'x-b', 'c')];
    take(d, nginx, true);
    expect(knownOf(d, indexed, 3)).toEqual([false, false, true]);
    take(d, [...literal(INSERT, 'x-c', 'new')], true);
    const after = take(d, indexed, true);
    expect([after?.known, after?.rows]).toEqual([false, [':status: 200', 'x-c: new', 'x-b: c']]);
    expect(take(d, indexed, true)?.known).toBe(true);
  });

  test('not that an entry was too large for a table that was empty: it empties one that is not', () => {
    const d = decoder();
    const large = [0x88, ...literal(INSERT, 'x-large', 'v'.repeat(60))];
    const small = literal(INSERT, 'x-a', 'b');
    expect(take(d, [0x3f, 0x21, 0x88], true)).not.toBeNull();
    for (let i = 0; i < 3; i++) take(d, large, true);
    take(d, small, true);
    expect(tableOf(d)).toHaveLength(1);
    take(d, large, true);
    expect(tableOf(d)).toEqual([]);
    // COMPRESSION_ERROR: there is nothing to refer to.
    expect(take(d, [0xbe], true)).toBeNull();
  });

  test('its entries are in the table when a later block refers to them', () => {
    const d = decoder();
    expect(knownOf(d, nginx, 50).at(-1)).toBe(true);
    expect(take(d, [0xbe, 0xbf], true)?.rows).toEqual(['x-a: b', 'server: nginx']);
  });

  test('nothing with a never-indexed field, and nothing that is long', () => {
    expect(knownOf(decoder(), [0x88, ...literal(NEVER, 'set-cookie', 'a=b')], 5)).not.toContain(true);
    const long = Array.from({ length: 6 }, (_, i) => literal(PLAIN, `x-${i}`, 'v'.repeat(100))).flat();
    expect(knownOf(decoder(), long, 5)).not.toContain(true);
  });

  test('nothing beyond the limits', () => {
    const d = new HpackDecoder(4096, { bytes: 40, count: 128 });
    expect(knownOf(d, nginx, 5)).not.toContain(true);
    expect(d.oversize).toBe(true);
  });
});
