/** RFC 7541 appendix C.2 to C.6: every block with the list it stands for and the table it leaves. */
import { describe, expect, test } from '@jest/globals';
import { HpackDecoder } from '../../../../src/edge/http/hpack/decoder.ts';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { neverOf } from '../../../kit/never.ts';

type List = [string, string][];
interface Block {
  hex: string;
  list: List;
  table: List;
  size: number;
}

const LIMITS = { bytes: 65536, count: 128 };

function decodeBlock(decoder: HpackDecoder, hex: string): List {
  const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const pseudo = new Fields();
  const fields = new Fields();
  expect(decoder.decode(bytes, 0, bytes.length, pseudo, fields)).toBe(true);
  return [pseudo, fields].flatMap((f) => f.names.map((name, i): [string, string] => [name, f.values[i] as string]));
}

function tableOf(decoder: HpackDecoder): List {
  const t = decoder.table;
  return Array.from({ length: t.length }, (_, i): [string, string] => {
    const at = (t.next - 1 - i) & t.mask;
    return [t.names[at] as string, t.values[at] as string];
  });
}

function check(tableLimit: number, blocks: Block[]): void {
  const decoder = new HpackDecoder(tableLimit, LIMITS);
  for (const block of blocks) {
    expect(decodeBlock(decoder, block.hex)).toEqual(block.list);
    expect(tableOf(decoder)).toEqual(block.table);
    expect(decoder.table.size).toBe(block.size);
  }
}

const AUTHORITY: [string, string] = [':authority', 'www.example.com'];
const NO_CACHE: [string, string] = ['cache-control', 'no-cache'];
const CUSTOM: [string, string] = ['custom-key', 'custom-value'];
const GET: [string, string] = [':method', 'GET'];

describe('C.2 header field representations', () => {
  test('C.2.1 literal with indexing', () => {
    check(4096, [
      {
        hex: '400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572',
        list: [['custom-key', 'custom-header']],
        table: [['custom-key', 'custom-header']],
        size: 55,
      },
    ]);
  });

  test('C.2.2 literal without indexing', () => {
    check(4096, [{ hex: '040c 2f73 616d 706c 652f 7061 7468', list: [[':path', '/sample/path']], table: [], size: 0 }]);
  });

  test('C.2.3 literal never indexed: the flag stays with the field', () => {
    const decoder = new HpackDecoder(4096, LIMITS);
    const bytes = Buffer.from('100870617373776f726406736563726574', 'hex');
    const fields = new Fields();
    expect(decoder.decode(bytes, 0, bytes.length, new Fields(), fields)).toBe(true);
    expect([fields.names, fields.values, neverOf(fields)]).toEqual([['password'], ['secret'], [true]]);
    expect(decoder.table.length).toBe(0);
  });

  test('C.2.4 indexed', () => {
    check(4096, [{ hex: '82', list: [GET], table: [], size: 0 }]);
  });
});

const REQUESTS: Omit<Block, 'hex'>[] = [
  { list: [GET, [':scheme', 'http'], [':path', '/'], AUTHORITY], table: [AUTHORITY], size: 57 },
  { list: [GET, [':scheme', 'http'], [':path', '/'], AUTHORITY, NO_CACHE], table: [NO_CACHE, AUTHORITY], size: 110 },
  { list: [GET, [':scheme', 'https'], [':path', '/index.html'], AUTHORITY, CUSTOM], table: [CUSTOM, NO_CACHE, AUTHORITY], size: 164 },
];

describe('requests', () => {
  test.each([
    [
      'C.3 without Huffman',
      [
        '8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '8286 84be 5808 6e6f 2d63 6163 6865',
        '8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65',
      ],
    ],
    [
      'C.4 with Huffman',
      [
        '8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff',
        '8286 84be 5886 a8eb 1064 9cbf',
        '8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf',
      ],
    ],
  ])('%s', (_name, hex) => {
    check(
      4096,
      REQUESTS.map((r, i) => ({ ...r, hex: hex[i] as string })),
    );
  });
});

const DATE_21: [string, string] = ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'];
const DATE_22: [string, string] = ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'];
const LOCATION: [string, string] = ['location', 'https://www.example.com'];
const PRIVATE: [string, string] = ['cache-control', 'private'];
const GZIP: [string, string] = ['content-encoding', 'gzip'];
const COOKIE: [string, string] = ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'];
const S302: [string, string] = [':status', '302'];
const S307: [string, string] = [':status', '307'];

const RESPONSES: Omit<Block, 'hex'>[] = [
  { list: [S302, PRIVATE, DATE_21, LOCATION], table: [LOCATION, DATE_21, PRIVATE, S302], size: 222 },
  { list: [S307, PRIVATE, DATE_21, LOCATION], table: [S307, LOCATION, DATE_21, PRIVATE], size: 222 },
  { list: [[':status', '200'], PRIVATE, DATE_22, LOCATION, GZIP, COOKIE], table: [COOKIE, GZIP, DATE_22], size: 215 },
];

describe('responses, with a table of 256 bytes and evictions', () => {
  test.each([
    [
      'C.5 without Huffman',
      [
        '4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d',
        '4803 3330 37c1 c0bf',
        '88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31',
      ],
    ],
    [
      'C.6 with Huffman',
      [
        '4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3',
        '4883 640e ffc1 c0bf',
        '88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07',
      ],
    ],
  ])('%s', (_name, hex) => {
    check(
      256,
      RESPONSES.map((r, i) => ({ ...r, hex: hex[i] as string })),
    );
  });
});

test('every proper prefix of a block is an error or another, shorter list; nothing is read behind the end', () => {
  const whole = Buffer.from('828684418cf1e3c2e5f23a6ba0ab90f4ff40882 5a849e95ba97d7f8925a849e95bb8e8b4bf'.replaceAll(' ', ''), 'hex');
  const starts = [0, 1, 2, 3, 17, whole.length];
  for (let end = 0; end <= whole.length; end++) {
    const decoder = new HpackDecoder(4096, LIMITS);
    // What follows must not matter: a prefix that needed it would decode.
    const padded = Buffer.concat([whole.subarray(0, end), Buffer.from('8888888888', 'hex')]);
    expect(decoder.decode(padded, 0, end, new Fields(), new Fields())).toBe(starts.includes(end));
  }
});
