import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import {
  FRAME,
  frameHead,
  GOAWAY_MAX,
  INCOMPLETE,
  INVALID,
  priorityUpdate,
  readFrameHead,
  readIdPayload,
  readPriorityUpdate,
  readSettings,
  SETTINGS_INVALID,
  SETTINGS_OK,
  SETTINGS_TRUNCATED,
  writeFrameHead,
  writeIdFrame,
  writePriorityUpdate,
  writeSettings,
  type PeerSettings,
} from '../../../../src/edge/http/h3/frames.ts';
import { bytes, concat, frame, varint8 } from '../../../kit/h3bytes.ts';
import { everyPrefix } from '../../../kit/prefix.ts';

const number = fc.oneof(fc.nat(0x3f), fc.nat(0x3fff), fc.nat(0x3fffffff), fc.maxSafeNat());
const nothing = (): PeerSettings => ({ maxFieldSectionSize: -1, qpackMaxTableCapacity: -1, qpackBlockedStreams: -1 });

describe('heads of frames', () => {
  test('are read as they were written, and no prefix of them is', () => {
    fc.assert(
      fc.property(number, number, (type, length) => {
        const buf = new Uint8Array(16);
        const end = writeFrameHead(buf, 0, type, length);
        expect(readFrameHead(buf, 0, end)).toBe(end);
        expect({ ...frameHead }).toEqual({ type, length });
        everyPrefix(buf.subarray(0, end), (prefix, n) => expect(readFrameHead(prefix, 0, n)).toBe(INCOMPLETE));
      }),
    );
  });

  test('stop at the end they are given, not at that of the buffer', () => {
    const buf = concat(bytes(9, 9), frame(0, bytes(1, 2, 3)));
    expect(readFrameHead(buf, 2, 3)).toBe(INCOMPLETE);
    expect(readFrameHead(buf, 2, 4)).toBe(4);
    expect({ ...frameHead }).toEqual({ type: 0, length: 3 });
  });

  test('beyond 2^53 read as 2^53-1', () => {
    expect(readFrameHead(concat(varint8(2n ** 62n - 1n), varint8(2n ** 60n)), 0, 16)).toBe(16);
    expect({ ...frameHead }).toEqual({ type: Number.MAX_SAFE_INTEGER, length: Number.MAX_SAFE_INTEGER });
  });
});

describe('ids', () => {
  test('are read as they were written, alone in their payload', () => {
    fc.assert(
      fc.property(number, (id) => {
        const buf = new Uint8Array(16);
        const end = writeIdFrame(buf, 0, FRAME.GOAWAY, id);
        const start = readFrameHead(buf, 0, end);
        expect(frameHead.length).toBe(end - start);
        expect(readIdPayload(buf, start, end)).toBe(id);
        expect(readIdPayload(buf, start, end + 1)).toBe(INVALID);
        everyPrefix(buf.subarray(start, end), (prefix, n) => expect(readIdPayload(prefix, 0, n)).toBe(INVALID));
      }),
    );
  });

  test('the first GOAWAY carries 2^62-4', () => {
    expect(Buffer.from(GOAWAY_MAX as Uint8Array)).toEqual(frame(FRAME.GOAWAY, varint8(2n ** 62n - 4n)));
  });
});

describe('SETTINGS', () => {
  test('are read as they were written', () => {
    fc.assert(
      fc.property(number, number, number, (capacity, size, blocked) => {
        const buf = new Uint8Array(64);
        const end = writeSettings(buf, 0, [
          [0x01, capacity],
          [0x06, size],
          [0x21, 5],
          [0x07, blocked],
        ]);
        const start = readFrameHead(buf, 0, end);
        const into = nothing();
        expect(readSettings(buf, start, end, into)).toBe(SETTINGS_OK);
        expect(into).toEqual({ maxFieldSectionSize: size, qpackMaxTableCapacity: capacity, qpackBlockedStreams: blocked });
        // A cut between two pairs is a shorter list, every other one a fault.
        everyPrefix(buf.subarray(start, end), (prefix, n) => expect(readSettings(prefix, 0, n, nothing())).not.toBe(SETTINGS_INVALID));
        expect(readSettings(buf, start, end - 1, nothing())).toBe(SETTINGS_TRUNCATED);
      }),
    );
  });

  test('may be empty', () => expect(readSettings(bytes(), 0, 0, nothing())).toBe(SETTINGS_OK));

  test('with different ids beyond 2^53 are not twice the same', () => {
    const payload = concat(varint8(2n ** 60n), bytes(0), varint8(2n ** 60n + 1n), bytes(0));
    expect(readSettings(payload, 0, payload.length, nothing())).toBe(SETTINGS_OK);
  });
});

test('PRIORITY_UPDATE is read as it was written', () => {
  fc.assert(
    fc.property(number, fc.constantFrom('', 'u=1', 'u=0, i'), (id, value) => {
      const buf = new Uint8Array(64);
      const end = writePriorityUpdate(buf, 0, FRAME.PRIORITY_UPDATE_REQUEST, id, value);
      const start = readFrameHead(buf, 0, end);
      expect({ ...frameHead }).toEqual({ type: FRAME.PRIORITY_UPDATE_REQUEST, length: end - start });
      expect(readPriorityUpdate(buf, start, end)).toBe(true);
      expect(priorityUpdate.id).toBe(id);
      expect(Buffer.from(buf.subarray(priorityUpdate.valueAt, end)).toString()).toBe(value);
      everyPrefix(buf.subarray(start, end - value.length), (prefix, n) => expect(readPriorityUpdate(prefix, 0, n)).toBe(false));
    }),
  );
});
