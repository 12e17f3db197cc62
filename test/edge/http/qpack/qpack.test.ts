import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Fields } from '../../../../src/edge/http/fields.ts';
import {
  decodeSection,
  section,
  SECTION_BYTES,
  SECTION_COUNT,
  SECTION_FAILED,
  SECTION_OK,
} from '../../../../src/edge/http/qpack/decode.ts';
import { sectionRoom, writeFields, writeSectionPrefix, writeStatus } from '../../../../src/edge/http/qpack/encode.ts';
import {
  acknowledgment,
  DecoderStream,
  DUPLICATE,
  EncoderStream,
  INCOMPLETE,
  INSERT_COUNT_INCREMENT,
  INSERT_LITERAL,
  INSERT_WITH_NAME,
  instruction,
  INVALID,
  readDecoderInstruction,
  readEncoderInstruction,
  SECTION_ACKNOWLEDGMENT,
  SET_CAPACITY,
  STREAM_CANCELLATION,
} from '../../../../src/edge/http/qpack/instructions.ts';
import { STATIC_NAMES, STATIC_SIZE, STATIC_VALUES } from '../../../../src/edge/http/qpack/static.ts';
import { huffmanSize } from '../../../../src/lib/bytes/huffman.ts';
import { bytes, fieldsOf, PairSink, section as encode, type Pair } from '../../../kit/h3bytes.ts';
import { everyCut, everyPrefix } from '../../../kit/prefix.ts';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s/g, ''), 'hex');

function decode(buf: Uint8Array, maxBytes = 65_536, maxCount = 1000): number {
  return decodeSection(buf, 0, buf.length, new PairSink(), maxBytes, maxCount);
}

const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)), maxLength: 300 });
const name = fc.oneof(fc.constantFrom(...STATIC_NAMES), latin1);
const value = fc.oneof(fc.constantFrom(...STATIC_VALUES), latin1);
const pair: fc.Arbitrary<Pair> = fc.tuple(name, value, fc.boolean());

describe('field sections', () => {
  test('decode to what was encoded, in order, never-indexed kept', () => {
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 20 }), (pairs) => {
        expect(fieldsOf(encode(pairs))).toEqual(pairs);
        // What is remembered of the first time changes nothing.
        expect(fieldsOf(encode(pairs))).toEqual(pairs);
      }),
      { numRuns: 500 },
    );
  });

  test('fit into the room that was asked for', () => {
    fc.assert(
      fc.property(fc.array(pair, { maxLength: 20 }), (pairs) => {
        const fields = new Fields();
        for (const [n, v, never] of pairs) fields.add(n, v, never);
        const buf = new Uint8Array(sectionRoom(fields) + 64);
        expect(writeFields(buf, writeSectionPrefix(buf, 0), fields)).toBeLessThanOrEqual(sectionRoom(fields));
      }),
    );
  });

  test('cut anywhere are refused, or a shorter list', () => {
    const pairs: Pair[] = [
      [':method', 'GET', false],
      [':path', '/a/b', false],
      ['x-name', 'some value that packs', false],
      ['\x01', '\xff\xfe', false],
      ['etag', '', true],
    ];
    const whole = encode(pairs);
    everyPrefix(whole, (prefix) => {
      const sink = new PairSink();
      const result = decodeSection(prefix, 0, prefix.length, sink, 65_536, 100);
      expect(sink.pairs).toEqual(pairs.slice(0, sink.pairs.length));
      if (result === SECTION_OK) expect(fieldsOf(prefix)).toEqual(pairs.slice(0, sink.pairs.length));
      else expect(result).toBe(SECTION_FAILED);
    });
  });

  test('of random bytes never throw and never pass their limits', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(2000), fc.nat(20), (tail, maxBytes, maxCount) => {
        const buf = Buffer.concat([bytes(0, 0), tail]);
        const sink = new PairSink();
        const result = decodeSection(buf, 0, buf.length, sink, maxBytes, maxCount);
        expect([SECTION_OK, SECTION_FAILED, SECTION_BYTES, SECTION_COUNT]).toContain(result);
        expect(sink.pairs.length).toBeLessThanOrEqual(maxCount);
        const size = sink.pairs.reduce((sum, [n, v]) => sum + n.length + v.length + 32, 0);
        expect(size).toBeLessThanOrEqual(maxBytes);
        expect([section.bytes, section.count]).toEqual([size, sink.pairs.length]);
      }),
      { numRuns: 3000 },
    );
  });

  test('are limited exactly', () => {
    const buf = encode([
      [':method', 'GET'],
      ['ab', 'cde'],
      ['ab', 'cde'],
    ]);
    const size = 7 + 3 + 32 + 2 * (2 + 3 + 32);
    expect([decode(buf, size, 3), decode(buf, size - 1, 3), decode(buf, size, 2)]).toEqual([SECTION_OK, SECTION_BYTES, SECTION_COUNT]);
  });

  test('have every entry of the static table', () => {
    expect(STATIC_SIZE).toBe(99);
    for (let i = 0; i < STATIC_SIZE; i++) {
      const indexed = i < 63 ? bytes(0, 0, 0xc0 | i) : bytes(0, 0, 0xff, i - 63);
      expect(fieldsOf(indexed)).toEqual([[STATIC_NAMES[i], STATIC_VALUES[i], false]]);
      expect(encode([[STATIC_NAMES[i] as string, STATIC_VALUES[i] as string]]).length).toBeLessThanOrEqual(4);
    }
    // RFC 9204 appendix A, a few of each column.
    expect([0, 17, 25, 53, 63, 74, 85, 98].map((i) => [STATIC_NAMES[i], STATIC_VALUES[i]])).toEqual([
      [':authority', ''],
      [':method', 'GET'],
      [':status', '200'],
      ['content-type', 'text/plain'],
      [':status', '100'],
      ['access-control-allow-credentials', 'TRUE'],
      ['content-security-policy', "script-src 'none'; object-src 'none'; base-uri 'none'"],
      ['x-frame-options', 'sameorigin'],
    ]);
  });

  test('are packed where that is shorter, and only there', () => {
    const packed = encode([['etag', 'aaaaaaaa']]);
    expect(packed).toEqual(Buffer.concat([bytes(0, 0, 0x57, 0x80 | huffmanSize('aaaaaaaa')), hex('18c6318c63')]));
    expect(encode([['etag', '~~~~']])).toEqual(Buffer.concat([bytes(0, 0, 0x57, 4), Buffer.from('~~~~')]));
  });

  test('carry any status', () => {
    for (let status = 100; status < 600; status++) {
      const buf = new Uint8Array(16);
      expect(fieldsOf(buf.slice(0, writeStatus(buf, writeSectionPrefix(buf, 0), status)))).toEqual([[':status', String(status), false]]);
    }
  });

  test('never let a character beyond latin-1 become another byte', () => {
    expect(fieldsOf(encode([['x-\u{10a}', 'a\u{10d}\u{10a}b~~~~~~']]))).toEqual([['x-?', 'a??b~~~~~~', false]]);
    expect(fieldsOf(encode([['x', '\u{10a}aaaaaaaa']]))).toEqual([['x', '?aaaaaaaa', false]]);
  });
});

/** Lets every line be remembered, and says which ones were. */
class RememberingSink extends PairSink {
  readonly recalled: string[] = [];

  override onField(name: string, value: string, never: boolean): number {
    super.onField(name, value, never);
    return 7;
  }

  override onChecked(name: string, value: string, tag?: number): void {
    super.onChecked(name, value);
    this.recalled.push(`${name} ${tag}`);
  }
}

function reread(pairs: readonly Pair[]): RememberingSink {
  const buf = encode(pairs);
  const sink = new RememberingSink();
  expect(decodeSection(buf, 0, buf.length, sink, 65_536, 1000)).toBe(SECTION_OK);
  expect(sink.pairs).toEqual(pairs);
  return sink;
}

describe('lines that are remembered', () => {
  test('come back with what the sink said of them, from the third time on', () => {
    const pairs: Pair[] = [
      ['user-agent', 'remembered/1', false],
      ['sec-ch-ua', '"remembered"', false],
    ];
    expect([reread(pairs), reread(pairs), reread(pairs)].map((s) => s.recalled)).toEqual([[], [], ['user-agent 7', 'sec-ch-ua 7']]);
  });

  test('are not mixed up with others, whatever they share', () => {
    // Equal in length and in every byte that the slot is chosen by.
    const twins = [...'abcdefgh'].map((c) => `0123${c}56789ab${c}def~~~~~~~~~~`);
    for (let round = 0; round < 4; round++) {
      for (const value of [...twins, 'aaaa/1', 'aaab/1', 'aaaa/2', 'baaa/1', 'a'.repeat(250), 'a'.repeat(260), 'a'.repeat(500)]) {
        for (const name of ['user-agent', 'sec-ch-ua', 'accept']) reread([[name, value, false]]);
      }
    }
    fc.assert(
      fc.property(fc.constantFrom('user-agent', 'origin', 'sec-ch-ua'), fc.stringMatching(/^[ab~]{1,24}$/), (name, value) => {
        reread([[name, value, false]]);
      }),
      { numRuns: 2000 },
    );
  });

  test('are never those that identify somebody, nor never-indexed ones', () => {
    const pairs: Pair[] = [
      ['cookie', 'session=12345678', false],
      ['authorization', 'Bearer 12345678', false],
      [':path', '/reset?token=12345678', false],
      ['referer', 'https://a.test/?token=12345678', false],
      ['x-api-key', '12345678', false],
      ['user-agent', 'never/1234', true],
      ['accept', 'application/never', true],
    ];
    for (let i = 0; i < 5; i++) expect(reread(pairs).recalled).toEqual([]);
  });
});

test('answers repeat the encoding of a value, short or long, and of no other', () => {
  for (let round = 0; round < 3; round++) {
    for (const value of ['max-age=60', 'max-age=61', '~'.repeat(90), '~'.repeat(91), '~'.repeat(95), 'x'.repeat(400), '']) {
      const pairs: Pair[] = [
        ['cache-control', value, false],
        ['content-type', value, false],
        ['cache-control', value, true],
      ];
      for (let again = 0; again < 2; again++) expect(fieldsOf(encode(pairs))).toEqual(pairs);
    }
  }
});

describe('RFC 9204 appendix B', () => {
  test('B.1: a literal with a name reference', () => {
    expect(fieldsOf(hex('0000 510b 2f69 6e64 6578 2e68 746d 6c'))).toEqual([[':path', '/index.html', false]]);
  });

  test('B.2: the dynamic table: instructions have their meaning, and are refused here', () => {
    const stream = hex('3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d c10c 2f73 616d 706c 652f 7061 7468');
    const read: unknown[] = [];
    let at = 0;
    while (at < stream.length) {
      at = readEncoderInstruction(stream, at, stream.length, 4096);
      expect(at).toBeGreaterThan(0);
      read.push({ ...instruction });
    }
    expect(read).toMatchObject([
      { kind: SET_CAPACITY, number: 220 },
      { kind: INSERT_WITH_NAME, isStatic: true, number: 0, value: 'www.example.com' },
      { kind: INSERT_WITH_NAME, isStatic: true, number: 1, value: '/sample/path' },
    ]);
    expect(new EncoderStream().push(stream, 0, stream.length)).toBe('P7');
    expect(new EncoderStream().push(stream, 3, stream.length)).toBe('P3');
    const sectionOfB2 = hex('0381 10 11');
    expect([decode(sectionOfB2), section.rule]).toEqual([SECTION_FAILED, 'P4']);
    const ack = hex('84');
    expect(readDecoderInstruction(ack, 0, 1)).toBe(1);
    expect({ ...acknowledgment }).toEqual({ kind: SECTION_ACKNOWLEDGMENT, number: 4 });
    expect(new DecoderStream().push(ack, 0, 1)).toBe('P6');
  });

  test('B.3: a speculative insertion', () => {
    const stream = hex('4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565');
    expect(readEncoderInstruction(stream, 0, stream.length, 4096)).toBe(stream.length);
    expect({ ...instruction }).toMatchObject({ kind: INSERT_LITERAL, name: 'custom-key', value: 'custom-value' });
    expect(new EncoderStream().push(stream, 0, stream.length)).toBe('P3');
    expect(readDecoderInstruction(hex('01'), 0, 1)).toBe(1);
    expect({ ...acknowledgment }).toEqual({ kind: INSERT_COUNT_INCREMENT, number: 1 });
    expect(new DecoderStream().push(hex('01'), 0, 1)).toBe('P6');
  });

  test('B.4: a duplicate, and a cancellation', () => {
    expect(readEncoderInstruction(hex('02'), 0, 1, 4096)).toBe(1);
    expect({ ...instruction }).toMatchObject({ kind: DUPLICATE, number: 2 });
    expect(new EncoderStream().push(hex('02'), 0, 1)).toBe('P7');
    expect([decode(hex('0500 80 c1 81')), section.rule]).toEqual([SECTION_FAILED, 'P4']);
    expect(readDecoderInstruction(hex('48'), 0, 1)).toBe(1);
    expect({ ...acknowledgment }).toEqual({ kind: STREAM_CANCELLATION, number: 8 });
    expect(new DecoderStream().push(hex('48'), 0, 1)).toBe(null);
  });

  test('B.5: an insertion that evicts', () => {
    const stream = hex('810d 6375 7374 6f6d 2d76 616c 7565 32');
    expect(readEncoderInstruction(stream, 0, stream.length, 4096)).toBe(stream.length);
    expect({ ...instruction }).toMatchObject({ kind: INSERT_WITH_NAME, isStatic: false, number: 1, value: 'custom-value2' });
    expect(new EncoderStream().push(stream, 0, stream.length)).toBe('P3');
  });
});

describe('instructions', () => {
  const stream = hex('3fbd01 c00f 7777 772e 6578 616d 706c 652e 636f 6d 4a63 7573 746f 6d2d 6b65 790c 6375 7374 6f6d 2d76 616c 7565');

  test('cut anywhere are incomplete', () => {
    let at = 0;
    while (at < stream.length) {
      const end = readEncoderInstruction(stream, at, stream.length, 4096);
      everyPrefix(stream.subarray(at, end), (prefix, n) => expect(readEncoderInstruction(prefix, 0, n, 4096)).toBe(INCOMPLETE));
      at = end;
    }
    everyPrefix(hex('7f8101'), (prefix, n) => expect(readDecoderInstruction(prefix, 0, n)).toBe(INCOMPLETE));
  });

  test('with strings over the limit are refused by what they announce', () => {
    expect(readEncoderInstruction(hex('5f e1ff03'), 0, 4, 4096)).toBe(INVALID);
    expect(readEncoderInstruction(hex('c0 7f 82 1f'), 0, 4, 4096)).toBe(INVALID);
    expect(readEncoderInstruction(hex('c0 01'), 0, 2, 0)).toBe(INVALID);
    expect(readEncoderInstruction(hex('c0 81 18'), 0, 3, 4096)).toBe(INVALID);
  });

  test('of capacity 0 and cancellations pass wherever they are cut', () => {
    const capacities = hex('2020');
    everyCut(capacities, (a, b) => {
      const encoder = new EncoderStream();
      expect([encoder.push(a, 0, a.length), encoder.push(b, 0, b.length), encoder.count]).toEqual([null, null, 2]);
    });
    const cancellations = hex('40 7fffff03 44 7f00');
    everyCut(cancellations, (a, b) => {
      const decoder = new DecoderStream();
      expect([decoder.push(a, 0, a.length), decoder.push(b, 0, b.length), decoder.count]).toEqual([null, null, 4]);
    });
  });
});
