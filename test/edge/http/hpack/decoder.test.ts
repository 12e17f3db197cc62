import { describe, expect, jest, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { HpackDecoder } from '../../../../src/edge/http/hpack/decoder.ts';
import { LineMemory, type KnownLine } from '../../../../src/edge/http/hpack/lines.ts';
import { FieldNote } from '../../../../src/edge/http/hpack/rules.ts';

const LIMITS = { bytes: 65536, count: 128 };

interface Outcome {
  ok: boolean;
  decoder: HpackDecoder;
  pseudo: Fields;
  fields: Fields;
}

function decode(hex: string, decoder = new HpackDecoder(4096, LIMITS)): Outcome {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const pseudo = new Fields();
  const fields = new Fields();
  return { ok: decoder.decode(bytes, 0, bytes.length, pseudo, fields), decoder, pseudo, fields };
}

/** A literal without indexing and without Huffman. */
const literal = (name: string, value: string, first = '00'): string => {
  const part = (text: string) => text.length.toString(16).padStart(2, '0') + Buffer.from(text, 'latin1').toString('hex');
  return first + part(name) + part(value);
};

describe('COMPRESSION_ERROR', () => {
  test.each([
    ['index 0 (s6.1)', '80'],
    ['index 62 with an empty table (s2.3.3)', 'be'],
    ['a name at index 62 with an empty table', '7e0161'],
    ['P9: an index of 2^53', 'ff81ffffffffffff0f'],
    ['P9: an index with eleven continuation octets', 'ff8080808080808080808080'],
    ['P9: a string length of 2^62-1', '007f80ffffffffffffffff3f'],
    ['P10: EOS in a Huffman string', '0084ffffffff0161'],
    ['P10: Huffman padding of eight bits', '00 8364 02ff 0161'],
    ['P10: Huffman padding that is not ones', '00 8106 0161'],
    ['P10: a Huffman length beyond the block', '00 8564 02'],
    ['a string cut short', '0005 6162'],
    ['a literal without a value', '0001 61'],
    ['a size update above what was allowed (s6.3)', '3fe21f'],
    ['a size update behind a field (s4.2)', '8820'],
    ['a size update cut short', '3f'],
  ])('%s', (_name, hex) => {
    expect(decode(hex).ok).toBe(false);
  });
});

describe('lines that come again', () => {
  const text = (s: string): string => s.length.toString(16).padStart(2, '0') + Buffer.from(s, 'latin1').toString('hex');
  /** `first`: which literal; a name is spelt out, or an index of one digit. */
  const line = fc.record({
    first: fc.constantFrom('00', '10', '40'),
    index: fc.constantFrom('00', '01', '08', '0e'),
    name: fc.constantFrom('server', 'content-length', 'te', 'Bad', ':status', 'connection', 'x-longer-than-many-others'),
    value: fc.constantFrom('', '1', '100', ' space', 'nginx/1.30.6', 'v'.repeat(40), 'w'.repeat(100), 'w'.repeat(127)),
  });
  type Line = typeof line extends fc.Arbitrary<infer T> ? T : never;
  const hexOf = ({ first, index, name, value }: Line): string => {
    const head = (parseInt(first, 16) | parseInt(index, 16)).toString(16).padStart(2, '0');
    return head + (index === '00' ? text(name) : '') + text(value);
  };
  const told = ({ ok, decoder: d, pseudo, fields }: Outcome): unknown => [
    ok,
    [d.notes, d.size, d.contentLengthAt, d.table.size, d.table.length],
    [d.table.names, d.table.values, [...d.table.notes]],
    [pseudo.names, pseudo.values, pseudo.names.map((_, i) => pseudo.isNever(i))],
    [fields.names, fields.values, fields.names.map((_, i) => fields.isNever(i))],
  ];

  test('say the same as ever: fields, notes, sizes and the table', () => {
    fc.assert(
      fc.property(fc.array(fc.array(line, { maxLength: 6 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(4096, LIMITS);
        const forgetful = new HpackDecoder(4096, LIMITS);
        for (let i = 0; i < 4; i++) {
          for (const lines of blocks) {
            const hex = lines.map(hexOf).join('');
            Object.assign(forgetful, { lines: new LineMemory() });
            expect(told(decode(hex, decoder))).toEqual(told(decode(hex, forgetful)));
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test.each([
    ['without indexing', '0f27', '1f27'],
    ['with indexing', '76', '1f27'],
  ])('%s: from the third time on they are the strings of the second; never-indexed ones are not kept', (_name, first, never) => {
    const decoder = new HpackDecoder(4096, LIMITS);
    const recall = jest.spyOn(LineMemory.prototype, 'recall');
    for (let i = 0; i < 4; i++) {
      const { fields } = decode(first + text('nginx/1.30.6') + never + text('nginx/1.30.6'), decoder);
      expect(fields.values).toEqual(['nginx/1.30.6', 'nginx/1.30.6']);
      expect([fields.isNever(0), fields.isNever(1)]).toEqual([false, true]);
    }
    expect(recall.mock.results.map((r) => (r.value as KnownLine | null)?.value ?? null)).toEqual([
      null,
      null,
      'nginx/1.30.6',
      'nginx/1.30.6',
    ]);
    recall.mockRestore();
  });

  test('a name out of the dynamic table is looked up each time', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    // The index is that of the newest entry, which is another one each time: 0f2f is 62 in four bits.
    for (const name of ['first', 'second', 'third', 'fourth']) {
      const { ok, fields } = decode(`40${text(name)}000f2f${text('the same line')}`, decoder);
      expect([ok, fields.names, fields.values]).toEqual([true, [name, name], ['', 'the same line']]);
    }
  });

  test('count against the limits as if they were new', () => {
    const decoder = new HpackDecoder(4096, { bytes: 100, count: 2 });
    for (let i = 0; i < 4; i++) {
      const { ok, fields } = decode(`0f27${text('nginx')}`.repeat(3), decoder);
      expect([ok, decoder.oversize, fields.length]).toEqual([true, true, 2]);
    }
  });
});

describe('the dynamic table', () => {
  test('size updates: to nothing, to the limit, several at the beginning of a block', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    expect(decode('40016101 62', decoder).ok).toBe(true);
    expect(decoder.table.length).toBe(1);
    expect(decode('20 3fe11f 88', decoder).ok).toBe(true);
    expect(decoder.table.length).toBe(0);
    expect(decoder.table.capacity).toBe(4096);
  });

  test('a field larger than the table empties it and is still delivered (s4.4)', () => {
    const decoder = new HpackDecoder(64, LIMITS);
    decode('4001610162', decoder);
    expect(decoder.table.length).toBe(1);
    const big = 'x'.repeat(60);
    const { ok, fields } = decode(literal('big', big, '40'), decoder);
    expect(ok).toBe(true);
    expect(fields.get('big')).toBe(big);
    expect([decoder.table.length, decoder.table.size]).toEqual([0, 0]);
  });

  test('a name may refer to the entry that its own insertion evicts (s4.4)', () => {
    const decoder = new HpackDecoder(64, LIMITS);
    decode(literal('name', 'v1-------------------', '40'), decoder);
    const { ok, fields } = decode('7e0276 32'.replaceAll(' ', ''), decoder);
    expect(ok).toBe(true);
    expect([fields.names[0], fields.values[0]]).toEqual(['name', 'v2']);
  });

  test('128 entries of nothing, then one more', () => {
    const decoder = new HpackDecoder(4096, { bytes: 1 << 20, count: 1000 });
    decode('40 00 00'.repeat(129), decoder);
    expect([decoder.table.length, decoder.table.size]).toEqual([128, 4096]);
    expect(decode('ff40', decoder).ok).toBe(false);
  });
});

describe('P1: limits hold while decoding', () => {
  test('a bomb by count: the fields stop at the limit, the table goes on', () => {
    const decoder = new HpackDecoder(4096, { bytes: 1 << 20, count: 100 });
    decode(literal('a', 'x'.repeat(90), '40'), decoder);
    const { ok, fields } = decode('be'.repeat(16_000), decoder);
    expect(ok).toBe(true);
    expect(decoder.oversize).toBe(true);
    expect(fields.length).toBe(100);
    expect(decode('88', decoder).decoder.oversize).toBe(false);
  });

  test('a bomb by bytes: at most the limit is kept', () => {
    const decoder = new HpackDecoder(4096, { bytes: 65536, count: 1e6 });
    const value = 'x'.repeat(100);
    decode(literal('a', value, '40'), decoder);
    const { fields } = decode('be'.repeat(16_000), decoder);
    expect(decoder.oversize).toBe(true);
    expect(fields.length).toBe(Math.floor(65536 / (32 + 1 + 100)));
  });

  test('exactly the limit passes, in bytes and in count', () => {
    const bytes = 2 * (32 + 1 + 1);
    expect(decode(literal('a', 'b').repeat(2), new HpackDecoder(4096, { bytes, count: 2 })).decoder.oversize).toBe(false);
    expect(decode(literal('a', 'b').repeat(2), new HpackDecoder(4096, { bytes: bytes - 1, count: 2 })).decoder.oversize).toBe(true);
    expect(decode(literal('a', 'b').repeat(2), new HpackDecoder(4096, { bytes, count: 1 })).decoder.oversize).toBe(true);
  });

  test('what was left out still entered the table', () => {
    const decoder = new HpackDecoder(4096, { bytes: 65536, count: 1 });
    decode(literal('a', '1', '40') + literal('b', '2', '40'), decoder);
    expect(decoder.oversize).toBe(true);
    const { fields } = decode('be', decoder);
    expect([fields.names[0], fields.values[0]]).toEqual(['b', '2']);
  });
});

describe('what a field is', () => {
  const notesOf = (hex: string): number => decode(hex).decoder.notes;

  test.each(['Upper', 'sp ace', 'co:lon', '', 'ctl\u0001', 'del\u007f', 'hi\u00ff', ':Status', 'nul\0'])('bad name %j', (name) => {
    expect(notesOf(literal(name, 'v'))).toBe(FieldNote.BAD_NAME);
  });

  test.each(['a\0b', 'a\rb', 'a\nb', ' a', 'a ', '\ta', 'a\t', '\r', '\n', '\0', ' ', 'a\u0001', '\u001fb', '\u007f'])(
    'bad value %j',
    (value) => {
      expect(notesOf(literal('n', value))).toBe(FieldNote.BAD_VALUE);
    },
  );

  test.each(['', 'a b', 'a\tb', '\u00e9', '\u0080', 'x'.repeat(100)])('good value %j', (value) => {
    expect(notesOf(literal('n', value))).toBe(0);
  });

  test.each(['connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade'])('%s', (name) => {
    expect(notesOf(literal(name, 'v'))).toBe(FieldNote.CONNECTION);
  });

  test('te, content-length, also twice, pseudo-fields, also late', () => {
    expect(notesOf(literal('te', 'trailers'))).toBe(FieldNote.TE);
    expect(notesOf(literal('content-length', '5'))).toBe(FieldNote.CONTENT_LENGTH);
    expect(notesOf(literal('content-length', '5').repeat(2))).toBe(FieldNote.CONTENT_LENGTH | FieldNote.MORE_LENGTHS);
    expect(notesOf('88')).toBe(FieldNote.PSEUDO);
    expect(notesOf(literal('a', 'b') + '88')).toBe(FieldNote.PSEUDO | FieldNote.LATE_PSEUDO);
  });

  test('a bad entry is still bad when it comes by index, and its bad value does not stain its name', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    decode(literal('x', 'a\nb', '40'), decoder);
    decode('be', decoder);
    expect(decoder.notes).toBe(FieldNote.BAD_VALUE);
    decode('7e0163', decoder);
    expect(decoder.notes).toBe(0);
    decode(literal('connection', 'close', '40'), decoder);
    decode('7e0163', decoder);
    expect(decoder.notes).toBe(FieldNote.CONNECTION);
  });

  test('names of the language are names like others', () => {
    const names = ['__proto__', 'constructor', 'hasownproperty', 'tostring'];
    const { fields, decoder } = decode(names.map((n) => literal(n, 'v')).join(''));
    expect(decoder.notes).toBe(0);
    expect(fields.names).toEqual(names);
  });
});

test('any bytes: true or false, never an exception, and the table within its bounds', () => {
  const decoder = new HpackDecoder(512, { bytes: 2000, count: 20 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const fields = new Fields();
      const pseudo = new Fields();
      expect(typeof decoder.decode(bytes, 0, bytes.length, pseudo, fields)).toBe('boolean');
      expect(decoder.table.size).toBeLessThanOrEqual(512);
      expect(decoder.table.length).toBeLessThanOrEqual(16);
      expect(fields.length + pseudo.length).toBeLessThanOrEqual(20);
    }),
    { numRuns: 5000 },
  );
});
