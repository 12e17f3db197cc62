import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { huffmanDecode, huffmanEncode, huffmanSize } from '../../../src/lib/bytes/huffman.ts';

function encode(text: string): Buffer {
  const out = Buffer.alloc(huffmanSize(text) + 4, 0xaa);
  const end = huffmanEncode(text, out, 2);
  expect(end).toBe(2 + huffmanSize(text));
  expect(out.subarray(end)).toEqual(Buffer.from([0xaa, 0xaa]));
  return out.subarray(2, end);
}

const decode = (hex: string) => {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  return huffmanDecode(bytes, 0, bytes.length);
};

const VECTORS: [string, string][] = [
  ['www.example.com', 'f1e3 c2e5 f23a 6ba0 ab90 f4ff'],
  ['no-cache', 'a8eb 1064 9cbf'],
  ['custom-key', '25a8 49e9 5ba9 7d7f'],
  ['custom-value', '25a8 49e9 5bb8 e8b4 bf'],
  ['302', '6402'],
  ['307', '640e ff'],
  ['private', 'aec3 771a 4b'],
  ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff'],
  ['Mon, 21 Oct 2013 20:13:22 GMT', 'd07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff'],
  ['https://www.example.com', '9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3'],
  ['gzip', '9bd9 ab'],
  [
    'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
    '94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
  ],
];

describe('the strings of RFC 7541 appendix C', () => {
  test.each(VECTORS)('%s', (text, hex) => {
    expect(encode(text).toString('hex')).toBe(hex.replaceAll(' ', ''));
    expect(decode(hex)).toBe(text);
  });
});

test('codes of appendix B at both ends of the table', () => {
  // From the table itself: symbol, code, bits; alone and padded with ones.
  const rows: [number, number, number][] = [
    [0, 0x1ff8, 13],
    [1, 0x7fffd8, 23],
    [10, 0x3ffffffc, 30],
    [22, 0x3ffffffe, 30],
    [32, 0x14, 6],
    [48, 0x0, 5],
    [92, 0x7fff0, 19],
    [126, 0x1ffd, 13],
    [127, 0xffffffc, 28],
    [128, 0xfffe6, 20],
    [249, 0xffffffe, 28],
    [255, 0x3ffffee, 26],
  ];
  for (const [symbol, code, bits] of rows) {
    const padded = BigInt(code) << BigInt(40 - bits);
    const all = padded | ((1n << BigInt(40 - bits)) - 1n);
    const hex = all
      .toString(16)
      .padStart(10, '0')
      .slice(0, Math.ceil(bits / 8) * 2);
    expect(encode(String.fromCharCode(symbol)).toString('hex')).toBe(hex);
    expect(decode(hex)).toBe(String.fromCharCode(symbol));
  }
});

test('any latin-1 text comes back', () => {
  const latin1 = fc.uint8Array({ maxLength: 300 }).map((b) => Buffer.from(b).toString('latin1'));
  fc.assert(
    fc.property(latin1, (text) => {
      const bytes = encode(text);
      expect(huffmanDecode(bytes, 0, bytes.length)).toBe(text);
    }),
    { numRuns: 1000 },
  );
  const long = 'x'.repeat(100_000);
  const bytes = encode(long);
  expect(huffmanDecode(bytes, 0, bytes.length)).toBe(long);
});

test('any bytes: null, or a text that encodes to the same bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const text = huffmanDecode(bytes, 0, bytes.length);
      if (text !== null) expect([...encode(text)]).toEqual([...bytes]);
    }),
    { numRuns: 5000 },
  );
});

test('what lies before and behind the string is not looked at', () => {
  const bytes = Buffer.from('00f1e3c2e5f23a6ba0ab90f4ff00', 'hex');
  expect(huffmanDecode(bytes, 1, bytes.length - 1)).toBe('www.example.com');
  expect(huffmanDecode(bytes, 1, 1)).toBe('');
});

describe('P10', () => {
  test('EOS in the string', () => {
    expect(decode('ffffffff')).toBeNull();
    expect(decode('fffffffc')).toBeNull();
    // "0" (5 bits), EOS, then padding
    expect(decode('07ffffffff')).toBeNull();
  });

  test('padding of eight bits and more', () => {
    expect(decode('ff')).toBeNull();
    expect(decode('640effff')).toBeNull();
    expect(decode('6402ff')).toBeNull();
  });

  test('padding that is not all ones', () => {
    expect(decode('f1e3c2e5f23a6ba0ab90f4fe')).toBeNull();
    expect(decode('00')).toBeNull();
    expect(decode('06')).toBeNull();
    expect(decode('07')).toBe('0');
  });

  test('a code cut short, at every octet', () => {
    const long = encode('\n\u00ff');
    for (let end = 1; end < long.length; end++) {
      const text = huffmanDecode(long, 0, end);
      expect(text === null || encode(text).length === end).toBe(true);
    }
    expect(huffmanDecode(long, 0, 3)).toBeNull();
  });
});

test('characters beyond latin-1 become "?" and never another byte', () => {
  const bytes = encode('a\u010d\u4e0ab');
  expect(huffmanDecode(bytes, 0, bytes.length)).toBe('a??b');
});
