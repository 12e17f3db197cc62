import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { HpackDecoder } from '../../../../src/edge/http/hpack/decoder.ts';
import { HpackEncoder } from '../../../../src/edge/http/hpack/encoder.ts';

type Row = [name: string, value: string, never?: boolean];

const BIG = { bytes: 1 << 24, count: 10_000 };

function fieldsOf(rows: readonly Row[]): Fields {
  const fields = new Fields();
  for (const [name, value, never] of rows) fields.add(name, value, never ?? false);
  return fields;
}

function encodeRequest(encoder: HpackEncoder, rows: readonly Row[], path = '/', method = 'GET', neverIndexed = false): Buffer {
  const request = { method, scheme: 'https', authority: 'www.example.com', path, fields: fieldsOf(rows), neverIndexed };
  const room = HpackEncoder.roomForRequest(request);
  const out = Buffer.alloc(room + 1, 0xaa);
  const end = encoder.request(out, 0, request);
  expect(end).toBeLessThanOrEqual(room);
  return out.subarray(0, end);
}

function decodeAll(decoder: HpackDecoder, bytes: Uint8Array): { pseudo: Row[]; rows: Row[] } {
  const pseudo = new Fields();
  const fields = new Fields();
  expect(decoder.decode(bytes, 0, bytes.length, pseudo, fields)).toBe(true);
  const rows = (f: Fields): Row[] => f.names.map((name, i) => [name, f.values[i] as string, f.isNever(i)]);
  return { pseudo: rows(pseudo), rows: rows(fields) };
}

test('pseudo-fields first, from the static table where they are there', () => {
  const bytes = encodeRequest(new HpackEncoder(), []);
  expect(bytes.toString('hex')).toBe(`8287010f${Buffer.from('www.example.com').toString('hex')}84`);
  const { pseudo } = decodeAll(new HpackDecoder(4096, BIG), bytes);
  expect(pseudo.map(([name]) => name)).toEqual([':method', ':scheme', ':authority', ':path']);
});

test('an empty authority is left out', () => {
  const out = Buffer.alloc(200);
  const end = new HpackEncoder().request(out, 0, { method: 'GET', scheme: 'http', authority: '', path: '/', fields: new Fields() });
  expect(out.toString('hex', 0, end)).toBe('828684');
});

test('what comes twice in a row enters the table, the third time it is one octet; what changes never enters', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(4096, BIG);
  const sizes: number[] = [];
  for (let i = 0; i < 4; i++) {
    const rows: Row[] = [
      ['user-agent', 'curl/8.23'],
      ['x-tenant', 'blue'],
      ['x-changing', `id-${i}`],
    ];
    const bytes = encodeRequest(encoder, rows, `/path/${i}`);
    sizes.push(bytes.length);
    expect(decodeAll(decoder, bytes).rows).toEqual(rows.map(([n, v]) => [n, v, false]));
  }
  expect(encoder.table.length).toBe(3);
  expect([...encoder.table.names].filter((n) => n !== '').sort()).toEqual([':authority', 'user-agent', 'x-tenant']);
  expect(sizes[2]).toBe(sizes[3]);
  expect(sizes[2]).toBeLessThan(sizes[0] as number);
});

describe('P11, P12: what never enters the table', () => {
  test.each(['authorization', 'proxy-authorization', 'cookie'])('%s: never-indexed, however often it comes', (name) => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, BIG);
    for (let i = 0; i < 4; i++) {
      const { rows } = decodeAll(decoder, encodeRequest(encoder, [[name, 'secret']]));
      expect(rows).toEqual([[name, 'secret', true]]);
    }
    expect(encoder.table.names).not.toContain(name);
    expect(encoder.table.values).not.toContain('secret');
  });

  test.each(['accept', 'x-own'])('%s flagged never-indexed stays so, also when the same field is in the table', (name) => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, BIG);
    for (let i = 0; i < 3; i++) decodeAll(decoder, encodeRequest(encoder, [[name, 'v']]));
    expect(encoder.table.names).toContain(name);
    const { rows } = decodeAll(decoder, encodeRequest(encoder, [[name, 'v', true]]));
    expect(rows).toEqual([[name, 'v', true]]);
  });

  test('a path and an authority that are flagged: literals each time, also when they are in a table; the next request’s are as ever', () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, BIG);
    for (let i = 0; i < 3; i++) decodeAll(decoder, encodeRequest(encoder, [], '/secret'));
    for (const path of ['/secret', '/token', '/token', '/']) {
      const { pseudo } = decodeAll(decoder, encodeRequest(encoder, [], path, 'GET', true));
      expect(pseudo).toEqual([
        [':method', 'GET', false],
        [':scheme', 'https', false],
        [':authority', 'www.example.com', true],
        [':path', path, true],
      ]);
    }
    expect(encoder.table.values).not.toContain('/token');
    expect(encodeRequest(encoder, [], '/secret').length).toBe(4);
  });

  test('a flagged field that the static table has is still sent as a literal', () => {
    const { rows } = decodeAll(
      new HpackDecoder(4096, BIG),
      encodeRequest(new HpackEncoder(), [['accept-encoding', 'gzip, deflate', true]]),
    );
    expect(rows).toEqual([['accept-encoding', 'gzip, deflate', true]]);
  });
});

describe('the peer’s SETTINGS_HEADER_TABLE_SIZE', () => {
  const rows: Row[] = [['user-agent', 'curl/8.23']];

  test('0: an update to 0 once, nothing indexed, and a decoder without a table agrees', () => {
    const encoder = new HpackEncoder();
    encoder.setPeerLimit(0);
    const decoder = new HpackDecoder(0, BIG);
    const first = encodeRequest(encoder, rows);
    expect(first[0]).toBe(0x20);
    decodeAll(decoder, first);
    for (let i = 0; i < 3; i++) {
      const next = encodeRequest(encoder, rows);
      expect(next[0]).toBe(0x82);
      decodeAll(decoder, next);
    }
    expect(encoder.table.length).toBe(0);
  });

  test('down and up again between blocks: both are told (s4.2)', () => {
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder(4096, BIG);
    for (let i = 0; i < 3; i++) decodeAll(decoder, encodeRequest(encoder, rows));
    expect(encoder.table.length).toBe(2);
    encoder.setPeerLimit(0);
    encoder.setPeerLimit(65536);
    const bytes = encodeRequest(encoder, rows);
    expect(bytes.toString('hex').startsWith('203fe11f82')).toBe(true);
    decodeAll(decoder, bytes);
    expect([encoder.table.length, decoder.table.length]).toEqual([0, 0]);
    expect(decoder.table.capacity).toBe(4096);
  });

  test('more than we use is not taken up, and needs no update', () => {
    const encoder = new HpackEncoder();
    encoder.setPeerLimit(0xffffffff);
    expect(encoder.table.capacity).toBe(4096);
    expect(encodeRequest(encoder, [])[0]).toBe(0x82);
  });
});

test('large fields stay out of the table', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(4096, BIG);
  for (let i = 0; i < 3; i++) decodeAll(decoder, encodeRequest(encoder, [['x-big', 'y'.repeat(2000)]]));
  expect(encoder.table.names).not.toContain('x-big');
});

test('a name of ours enters the table with its first value, for the sake of the name', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(4096, BIG);
  const sizes: number[] = [];
  for (let i = 0; i < 4; i++) {
    const rows: Row[] = [
      ['x-request-id', `id-${i}`],
      ['x-forwarded-for', `192.0.2.${i}`],
    ];
    const bytes = encodeRequest(encoder, rows);
    sizes.push(bytes.length);
    expect(decodeAll(decoder, bytes).rows).toEqual(rows.map(([n, v]) => [n, v, false]));
  }
  expect([...encoder.table.names].filter((n) => n !== '')).toEqual(['x-request-id', 'x-forwarded-for', ':authority']);
  expect([...encoder.table.values].filter((v) => v !== '')).toEqual(['id-0', '192.0.2.0', 'www.example.com']);
  // :method, :scheme, :authority and :path by index; then for each name an index, a length, and the value.
  expect(sizes[3]).toBe(4 + 3 + 'id-3'.length + 3 + '192.0.2.3'.length);
});

test('... again when it was evicted, and not at all where there is no table', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(4096, BIG);
  const send = (id: string, more: readonly Row[] = []): void => {
    const rows: Row[] = [['x-request-id', id], ...more];
    expect(decodeAll(decoder, encodeRequest(encoder, rows)).rows).toEqual(rows.map(([n, v]) => [n, v, false]));
  };
  send('first');
  for (let i = 0; i < 5; i++) for (let twice = 0; twice < 2; twice++) send('next', [[`x-${i}`, 'y'.repeat(900)]]);
  expect(encoder.table.values).not.toContain('first');
  send('last');
  expect(encoder.table.names.filter((n) => n === 'x-request-id').length).toBe(1);
  encoder.setPeerLimit(0);
  for (let i = 0; i < 3; i++) send('none');
  expect(encoder.table.length).toBe(0);
});

test('a name at the place where another one stood, or was forgotten, is still itself', () => {
  const encoder = new HpackEncoder();
  const decoder = new HpackDecoder(4096, BIG);
  const send = (...rows: Row[]): void => {
    expect(decodeAll(decoder, encodeRequest(encoder, rows)).rows).toEqual(rows.map(([n, v]) => [n, v, false]));
  };
  for (let i = 0; i < 3; i++) send(['x-a', '1'], ['x-b', '2']);
  send(['x-b', '2'], ['x-a', '1']);
  encoder.setPeerLimit(0);
  send(['x-b', '2'], ['x-a', '1']);
  encoder.setPeerLimit(4096);
  for (let i = 0; i < 3; i++) send(['x-b', '2'], ['x-a', '1']);
  expect(encoder.table.names.filter((n) => n === 'x-a' || n === 'x-b').length).toBe(2);
});

describe('strings', () => {
  const block = (encoder: HpackEncoder, value: string): string => {
    const fields = fieldsOf([['x', value]]);
    const out = Buffer.alloc(HpackEncoder.roomForFields(fields));
    return out.toString('latin1', 0, encoder.trailers(out, 0, fields));
  };

  test('plain where they change', () => {
    const encoder = new HpackEncoder();
    expect(block(encoder, 'value')).toBe('\x00\x01x\x05value');
    expect(block(encoder, 'other')).toBe('\x00\x01x\x05other');
  });

  test('Huffman where they enter the table, and only where it is shorter', () => {
    const encoder = new HpackEncoder();
    const [long, value] = ['www.example.com', '\u00ff\u00fe\u00fd{}|'];
    block(encoder, long);
    expect(block(encoder, long)).toBe(Buffer.from('4001788cf1e3c2e5f23a6ba0ab90f4ff', 'hex').toString('latin1'));
    block(encoder, value);
    expect(block(encoder, value)).toBe(`\x7e\x06${value}`);
  });
});

test('characters beyond latin-1 never become CR or LF', () => {
  const out = Buffer.alloc(100);
  const end = new HpackEncoder().trailers(out, 0, fieldsOf([['x', '\u00ff\u010d\u010a\u00ff']]));
  expect(out.toString('latin1', 0, end)).toBe('\x00\x01x\x04\u00ff??\u00ff');
});

describe('decode(encode(x)) = x', () => {
  // Few names and values, so that the tables fill, evict and refer back; and arbitrary ones.
  const name = fc.oneof(
    fc.constantFrom(
      'accept',
      'user-agent',
      'x-a',
      'x-b',
      'x-c',
      'cookie',
      'authorization',
      '__proto__',
      'content-length',
      'via',
      'x-request-id',
      'forwarded',
    ),
    fc.stringMatching(/^[a-z0-9-]{1,30}$/),
  );
  const value = fc.oneof(
    fc.constantFrom('', '1', '2', 'gzip, deflate', 'v'.repeat(300), 'w'.repeat(900), 'z'.repeat(1100)),
    fc.uint8Array({ maxLength: 60 }).map((b) => Buffer.from(b).toString('latin1')),
  );
  const list = fc.array(fc.tuple(name, value, fc.boolean()), { maxLength: 12 });
  const step = fc.record({
    rows: list,
    repeat: fc.integer({ min: 1, max: 4 }),
    limit: fc.option(fc.constantFrom(0, 31, 32, 100, 500, 1500, 4096, 100_000), { freq: 5 }),
  });

  test('over many lists, with both tables equal after each', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const encoder = new HpackEncoder();
        const decoder = new HpackDecoder(4096, BIG);
        for (const { rows, repeat, limit } of steps) {
          if (limit !== null) encoder.setPeerLimit(limit);
          for (let i = 0; i < repeat; i++) {
            const got = decodeAll(decoder, encodeRequest(encoder, rows, '/' + 'p'.repeat(i)));
            expect(got.rows.map(([n, v]) => [n, v])).toEqual(rows.map(([n, v]) => [n, v]));
            for (const [j, row] of rows.entries()) if (row[2] === true) expect(got.rows[j]?.[2]).toBe(true);
            expect([decoder.table.size, decoder.table.length, decoder.table.capacity]).toEqual([
              encoder.table.size,
              encoder.table.length,
              encoder.table.capacity,
            ]);
          }
        }
      }),
      { numRuns: 500 },
    );
  });
});

test('names that clients choose do not make the encoder grow', () => {
  const encoder = new HpackEncoder();
  const known = (encoder as unknown as { infos: Map<string, unknown> }).infos;
  const before = known.size;
  for (let i = 0; i < 2000; i++) for (let twice = 0; twice < 2; twice++) encodeRequest(encoder, [[`x-${i}`, 'v']]);
  expect(known.size).toBeLessThanOrEqual(before + 128);
});
