import { expect, test } from '@jest/globals';
import type { QuicHandler } from '../../../../src/edge/quic/engine.ts';
import type { Connection } from '../../../../src/edge/quic/matrixai/binding.ts';
import type { Conn } from '../../../../src/edge/quic/matrixai/conn.ts';
import { Outbound } from '../../../../src/edge/quic/matrixai/outbound.ts';
import { OPEN } from '../../../../src/edge/quic/matrixai/state.ts';
import { Stream } from '../../../../src/edge/quic/stream.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';

/** A path with so much room, and streams with windows of their own. */
class Path {
  room = 0;
  readonly windows = new Map<number, number>();
  readonly clock = new ManualClock(1000);
  readonly streams: Stream[] = [];
  readonly outbound: Outbound;
  /** What a stream gets again as soon as it has room. */
  readonly refill = new Map<number, number>();
  private readonly q: Connection;

  constructor() {
    const handler = { onWritable: (_c: unknown, id: number) => this.write(id, this.refill.get(id) ?? 0) } as unknown as QuicHandler;
    this.outbound = new Outbound({ state: OPEN, streams: new Map(), settleStream: () => {} } as unknown as Conn, handler, this.clock);
    this.q = {
      streamCapacity: (id: number) => this.capacity(id),
      streamPriority: () => {},
      streamSend: (id: number, chunk: Uint8Array) => {
        const n = Math.min(chunk.length, this.capacity(id));
        if (n === 0 && chunk.length > 0) return null;
        this.room -= n;
        this.windows.set(id, (this.windows.get(id) ?? Infinity) - n);
        return n;
      },
    } as unknown as Connection;
  }

  private capacity(id: number): number {
    return Math.max(0, Math.min(this.room, this.windows.get(id) ?? Infinity));
  }

  stream(id: number, urgency = 3, incremental = false): this {
    const s = new Stream(id, false, true, true);
    s.urgency = urgency;
    s.incremental = incremental;
    this.streams[id] = s;
    return this;
  }

  write(id: number, bytes: number, fin = false): void {
    if (bytes > 0 || fin) this.outbound.write(this.streams[id] as Stream, Buffer.alloc(bytes), 0, bytes, fin);
  }

  /** So many seconds, in each of which there is room for so much. */
  run(seconds: number, room: number): void {
    for (let i = 0; i < seconds * 10; i++) {
      this.clock.advance(100);
      this.room += room / 10;
      // As a flush does: until nothing moves.
      for (let before = -1; before !== this.room;) {
        before = this.room;
        this.outbound.offer(this.q);
      }
    }
  }

  stuck(ms: number): readonly number[] {
    return this.outbound.stuck(this.clock.now() - ms);
  }
}

const MIB = 1024 * 1024;

test('who waits behind somebody that moves is not stuck, however long it takes', () => {
  for (const urgency of [3, 7]) {
    const p = new Path().stream(0).stream(4, urgency);
    p.write(0, 100_000);
    p.refill.set(0, 100_000);
    p.write(4, 50_000, true);
    p.run(100, 1000);
    p.run(100, 40_000);
    p.run(3, 4 * MIB);
    expect(p.stuck(1000)).toEqual([]);
  }
});

test('equals that share are not stuck, nor is a path that is slow', () => {
  const p = new Path().stream(0, 3, true).stream(4, 3, true).stream(8, 3, true);
  for (const id of [0, 4, 8]) p.write(id, MIB);
  p.run(60, 1500);
  expect(p.stuck(5000)).toEqual([]);
});

test('equals share a path however little room it has at a time', () => {
  for (const room of [13_000, 130_000, 1_300_000]) {
    const p = new Path().stream(0, 3, true).stream(4, 3, true).stream(8, 3, true).stream(12, 7, true);
    for (const id of [0, 4, 8, 12]) p.write(id, 4 * MIB);
    p.run(Math.floor((2 * MIB) / room) + 1, room);
    const left = [0, 4, 8].map((id) => (p.streams[id] as Stream).pending);
    expect(Math.max(...left) - Math.min(...left)).toBeLessThanOrEqual(2 * 8192);
    expect((p.streams[12] as Stream).pending).toBe(4 * MIB);
    // One that is stopped by its own window keeps nobody else.
    p.windows.set(4, 0);
    p.run(Math.floor(MIB / room) + 1, room);
    const after = [0, 8].map((id) => (p.streams[id] as Stream).pending);
    expect(Math.abs((after[0] as number) - (after[1] as number))).toBeLessThanOrEqual(2 * 8192);
    expect((p.streams[4] as Stream).pending).toBe(left[1]);
    expect(after[0]).toBeLessThan((left[0] as number) - MIB / 3);
  }
});

test('who has no window is stuck, in front of others that move and behind others that are done', () => {
  const p = new Path().stream(0).stream(4).stream(8);
  p.windows.set(0, 1000);
  p.windows.set(8, 0);
  p.write(0, 20_000, true);
  p.write(4, 50_000);
  p.write(8, 5000, true);
  p.run(10, 100_000);
  expect(p.stuck(9000)).toEqual([0, 8]);
  expect(p.stuck(11_000)).toEqual([]);
  p.windows.set(0, 100);
  p.run(1, 1000);
  // 0 has moved, so 8 may have waited for it: both times begin anew.
  expect(p.stuck(1100)).toEqual([]);
  p.run(10, 50_000);
  expect(p.stuck(9000)).toEqual([0, 8]);
  p.write(4, 10_000_000);
  p.run(10, 50_000);
  // 4 is served before 8 and after 0.
  expect(p.stuck(9000)).toEqual([0]);
});

test('when nothing moves at all, everything is stuck', () => {
  const p = new Path().stream(0).stream(4);
  p.write(0, 5000, true);
  p.write(4, 5000, true);
  p.run(10, 0);
  expect(p.stuck(9000)).toEqual([0, 4]);
});
