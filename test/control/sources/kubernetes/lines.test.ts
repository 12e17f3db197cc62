import { expect, test } from '@jest/globals';
import { Lines } from '../../../../src/control/sources/kubernetes/lines.ts';

const collect = (limit = 1000) => {
  const got: string[] = [];
  const lines = new Lines(limit, (line) => void got.push(line.toString('utf8')));
  return { got, lines };
};

const TEXT = '{"a":1}\n\n{"b":"größe 🎃 ﷽"}\n{"c":"\\n"}\r\nrest';
const BYTES = Buffer.from(TEXT);
const WHOLE = TEXT.split('\n').slice(0, -1);

test('every prefix gives the lines that it ends, and tells what waits', () => {
  for (let end = 0; end <= BYTES.length; end++) {
    const { got, lines } = collect();
    const prefix = BYTES.subarray(0, end);
    expect(lines.push(prefix)).toBe(true);
    const text = prefix.toString('latin1').split('\n');
    expect(got).toEqual(WHOLE.slice(0, text.length - 1));
    expect(lines.rest).toBe((text.at(-1) as string).length);
  }
});

test('every cut into three, also within characters, gives the same lines', () => {
  for (let a = 0; a <= BYTES.length; a++) {
    for (let b = a; b <= BYTES.length; b++) {
      const { got, lines } = collect();
      for (const part of [BYTES.subarray(0, a), BYTES.subarray(a, b), BYTES.subarray(b)]) lines.push(part);
      expect(got).toEqual(WHOLE);
    }
  }
});

test('byte by byte', () => {
  const { got, lines } = collect();
  for (const byte of BYTES) lines.push(Buffer.from([byte]));
  expect(got).toEqual(WHOLE);
  expect(lines.rest).toBe(4);
});

test('a line inside one chunk is not copied', () => {
  const chunk = Buffer.from('abc\n');
  let view: Buffer = Buffer.alloc(0);
  new Lines(10, (line) => (view = line)).push(chunk);
  expect(view.buffer).toBe(chunk.buffer);
  expect(view.byteOffset).toBe(chunk.byteOffset);
});

test.each([
  ['at once', ['12345678\n'], true],
  ['in pieces', ['1234', '5678', '\n'], true],
  ['one byte more', ['123456789\n'], false],
  ['one byte more, before its end is there', ['1234', '56789'], false],
  ['the end in a chunk of its own', ['12345678', '9\n'], false],
])('a line may have as many bytes as the limit: %s', (_how, chunks, fine) => {
  const { got, lines } = collect(8);
  expect(chunks.every((chunk) => lines.push(Buffer.from(chunk)))).toBe(fine);
  expect(got).toEqual(fine ? ['12345678'] : []);
  expect(lines.rest).toBe(0);
});

test('after a refusal nothing is held and nothing comes', () => {
  const { got, lines } = collect(4);
  expect(lines.push(Buffer.from('ok\n12345\nok\n'))).toBe(false);
  lines.push(Buffer.from('ok\n'));
  expect(got).toEqual(['ok']);
});

test('after close() nothing comes, not even of the chunk at hand', () => {
  const got: string[] = [];
  const lines: Lines = new Lines(100, (line) => {
    got.push(line.toString());
    lines.close();
  });
  lines.push(Buffer.from('a\nb\nc'));
  lines.push(Buffer.from('d\n'));
  expect(got).toEqual(['a']);
});

test('what a reader throws goes to the caller', () => {
  const lines = new Lines(100, () => {
    throw new Error('no');
  });
  expect(() => lines.push(Buffer.from('a\n'))).toThrow('no');
});
