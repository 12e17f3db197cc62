import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { ErrorCode, Flag, FrameType, Setting, errorName } from '../../../../src/edge/http/h2/codes.ts';
import {
  GOAWAY_SIZE,
  PING_SIZE,
  RST_STREAM_SIZE,
  WINDOW_UPDATE_SIZE,
  appendFrameHeader,
  appendGoaway,
  appendPing,
  appendRstStream,
  appendSettings,
  appendU32,
  appendWindowUpdate,
  parseFrameHeader,
  readU16,
  readU24,
  readU31,
  readU32,
  settingsSize,
} from '../../../../src/edge/http/h2/frames.ts';
import { FrameReader, type FrameSink } from '../../../../src/edge/http/h2/reader.ts';
import { everyCut } from '../../../kit/prefix.ts';

test('a frame header comes back, whatever its numbers', () => {
  fc.assert(
    fc.property(fc.nat(0xffffff), fc.nat(255), fc.nat(255), fc.nat(0x7fffffff), (length, type, flags, id) => {
      const buf = new Uint8Array(12);
      expect(appendFrameHeader(buf, 2, length, type, flags, id)).toBe(11);
      const header = { length: 0, type: 0, flags: 0, id: 0 };
      parseFrameHeader(buf, 2, header);
      expect(header).toEqual({ length, type, flags, id });
    }),
  );
});

test('the reserved bit of identifiers and increments is ignored', () => {
  const header = { length: 0, type: 0, flags: 0, id: 0 };
  parseFrameHeader(Buffer.from('00000008008000000100', 'hex'), 0, header);
  expect(header.id).toBe(1);
  expect(readU31(Buffer.from('ffffffff', 'hex'), 0)).toBe(0x7fffffff);
});

test('numbers are unsigned', () => {
  const ff = Buffer.alloc(4, 0xff);
  expect([readU16(ff, 0), readU24(ff, 0), readU32(ff, 0)]).toEqual([0xffff, 0xffffff, 0xffffffff]);
  const out = Buffer.alloc(4);
  appendU32(out, 0, 0xfffffffe);
  expect(out.toString('hex')).toBe('fffffffe');
});

test('frames as bytes', () => {
  const out = Buffer.alloc(64);
  const hex = (end: number): string => out.toString('hex', 0, end);
  expect(hex(appendRstStream(out, 0, 5, ErrorCode.CANCEL))).toBe('00000403000000000500000008');
  expect(hex(appendSettings(out, 0, 0, [Setting.ENABLE_PUSH, 0, Setting.INITIAL_WINDOW_SIZE, 2 ** 31 - 1]))).toBe(
    '00000c04000000000000020000000000047fffffff',
  );
  expect(hex(appendPing(out, 0, true, Buffer.from('xx12345678'), 2))).toBe(`000008060100000000${Buffer.from('12345678').toString('hex')}`);
  expect(hex(appendGoaway(out, 0, 7, ErrorCode.ENHANCE_YOUR_CALM))).toBe('000008070000000000000000070000000b');
  expect(hex(appendWindowUpdate(out, 0, 3, 65_536))).toBe('00000408000000000300010000');
  expect([RST_STREAM_SIZE, settingsSize([1, 2]), PING_SIZE, GOAWAY_SIZE, WINDOW_UPDATE_SIZE]).toEqual([13, 15, 17, 17, 13]);
});

test('names of errors', () => {
  expect([errorName(0), errorName(11), errorName(13), errorName(14), errorName(0xffffffff)]).toEqual([
    'NO_ERROR',
    'ENHANCE_YOUR_CALM',
    'HTTP_1_1_REQUIRED',
    '0xe',
    '0xffffffff',
  ]);
});

/** What a reader tells, as text. Pieces of DATA are joined, since cuts are not its business. */
class Notes implements FrameSink {
  readonly lines: string[] = [];
  private data = '';

  onData(id: number, flags: number, length: number): void {
    this.lines.push(`data ${id} ${flags} ${length}`);
    this.data = '';
  }
  onDataBytes(buf: Uint8Array, start: number, end: number): void {
    expect(end).toBeGreaterThan(start);
    this.data += Buffer.from(buf.subarray(start, end)).toString('latin1');
  }
  onDataEnd(): void {
    this.lines.push(`end ${this.data}`);
  }
  onHeaderBlock(id: number, flags: number, buf: Uint8Array, start: number, end: number): void {
    this.lines.push(`headers ${id} ${flags} ${Buffer.from(buf.subarray(start, end)).toString('hex')}`);
  }
  onFrame(type: number, flags: number, id: number, buf: Uint8Array, start: number, end: number): void {
    this.lines.push(`frame ${type} ${flags} ${id} ${Buffer.from(buf.subarray(start, end)).toString('hex')}`);
  }
  onUnknownFrame(type: number, length: number): void {
    this.lines.push(`unknown ${type} ${length}`);
  }
  onFrameError(code: number, detail: string): void {
    this.lines.push(`error ${errorName(code)} ${detail}`);
  }
}

function frame(type: number, flags: number, id: number, payload: Buffer): Buffer {
  const out = Buffer.alloc(9 + payload.length);
  appendFrameHeader(out, 0, payload.length, type, flags, id);
  payload.copy(out, 9);
  return out;
}

const LIMITS = { blockBytes: 1000, continuations: 4 };

function read(...pieces: Uint8Array[]): string[] {
  const notes = new Notes();
  const reader = new FrameReader(notes, LIMITS);
  for (const p of pieces) reader.read(p, 0, p.length);
  return notes.lines;
}

describe('the reader', () => {
  const WHOLE = Buffer.concat([
    frame(FrameType.SETTINGS, 0, 0, Buffer.alloc(6)),
    frame(FrameType.HEADERS, Flag.END_HEADERS | Flag.PADDED | Flag.PRIORITY, 1, Buffer.from('01000000000088ff', 'hex')),
    frame(FrameType.DATA, 0, 1, Buffer.from('plain')),
    frame(FrameType.DATA, Flag.PADDED, 1, Buffer.from('\x03padded\0\0\0')),
    frame(FrameType.DATA, Flag.PADDED, 1, Buffer.from('\x02\0\0')),
    frame(FrameType.DATA, Flag.END_STREAM, 1, Buffer.alloc(0)),
    frame(0x42, 7, 9, Buffer.from('whatever')),
    frame(0x42, 7, 9, Buffer.alloc(0)),
    frame(FrameType.HEADERS, Flag.END_STREAM, 3, Buffer.from('aa', 'hex')),
    frame(FrameType.CONTINUATION, 0, 3, Buffer.from('bbbb', 'hex')),
    frame(FrameType.CONTINUATION, Flag.END_HEADERS, 3, Buffer.from('cc', 'hex')),
    frame(FrameType.PING, 0, 0, Buffer.from('12345678')),
  ]);
  const TOLD = [
    'frame 4 0 0 000000000000',
    'headers 1 44 88',
    'data 1 0 5',
    'end plain',
    'data 1 8 10',
    'end padded',
    'data 1 8 3',
    'end ',
    'data 1 1 0',
    'end ',
    'unknown 66 8',
    'unknown 66 0',
    'headers 3 1 aabbbbcc',
    'frame 6 0 0 3132333435363738',
  ];

  test('tells the same however the bytes are cut in two', () => {
    everyCut(WHOLE, (a, b) => expect(read(a, b)).toEqual(TOLD));
  });

  test('and byte by byte', () => {
    expect(read(...Array.from(WHOLE, (b) => Uint8Array.of(b)))).toEqual(TOLD);
  });

  test('a frame that has not come whole is not told', () => {
    const ping = frame(FrameType.PING, 0, 0, Buffer.alloc(8));
    for (let end = 0; end < ping.length; end++) expect(read(ping.subarray(0, end))).toEqual([]);
  });

  test('errors show as soon as the header is there, and end it', () => {
    const wrong = frame(FrameType.PING, 0, 0, Buffer.alloc(7)).subarray(0, 9);
    expect(read(wrong, WHOLE)).toEqual(['error FRAME_SIZE_ERROR PING not of 8 bytes (s6.7)']);
  });

  test('the block’s limits: exactly at them is fine', () => {
    const head = frame(FrameType.HEADERS, 0, 1, Buffer.alloc(400));
    const more = (flags: number): Buffer => frame(FrameType.CONTINUATION, flags, 1, Buffer.alloc(150));
    expect(read(head, more(0), more(0), more(0), more(Flag.END_HEADERS))).toEqual([`headers 1 0 ${'00'.repeat(1000)}`]);
    expect(read(head, more(0), more(0), more(0), frame(FrameType.CONTINUATION, 4, 1, Buffer.alloc(151)))[0]).toContain('ENHANCE_YOUR_CALM');
    const empty = frame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(0));
    expect(read(head, empty, empty, empty, empty)).toEqual([]);
    expect(read(head, empty, empty, empty, empty, empty)[0]).toContain('ENHANCE_YOUR_CALM');
  });
});
