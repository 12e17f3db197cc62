import { expect, test } from '@jest/globals';
import type { Socket } from 'node:net';
import { Output } from '../../../../src/edge/http/h2/output.ts';

/** A socket that keeps what is written until it is told that all has left. */
class SlowSocket {
  writableLength = 0;
  slow = true;
  readonly highWaterMark: number;
  readonly kept: Buffer[] = [];
  private gone = '';

  constructor(highWaterMark = Infinity) {
    this.highWaterMark = highWaterMark;
  }

  write(b: Buffer): boolean {
    expect(b.length).toBeGreaterThan(0);
    this.kept.push(b);
    this.writableLength += b.length;
    if (!this.slow) this.leave();
    return this.writableLength < this.highWaterMark;
  }

  /** What was kept leaves as it is by now. */
  leave(): void {
    for (const b of this.kept.splice(0)) this.gone += b.toString('latin1');
    this.writableLength = 0;
  }

  cork(): void {}

  uncork(): void {}

  get chunks(): number {
    return new Set(this.kept.map((b) => b.buffer)).size;
  }

  get got(): string {
    return this.gone;
  }
}

const setUp = (highWaterMark?: number) => {
  const socket = new SlowSocket(highWaterMark);
  const out = new Output(
    socket as unknown as Socket,
    () => {},
    (e) => {
      throw e;
    },
  );
  let sent = '';
  const append = (size: number, letter: string): void => {
    const buf = out.reserve(size);
    const { at } = out;
    buf.fill(letter, at, at + size);
    out.commit(at + size);
    sent += letter.repeat(size);
  };
  return { socket, out, append, sent: () => sent };
};

const letter = (i: number): string => String.fromCharCode(97 + (i % 26));

test('what a slow socket is given piece by piece shares a chunk', () => {
  const { socket, out, append, sent } = setUp();
  for (let i = 0; i < 1000; i++) {
    append(50, letter(i));
    out.flush();
  }
  expect([socket.kept.length, socket.chunks]).toEqual([1000, 1]);
  socket.leave();
  expect(socket.got).toBe(sent());
});

test('nothing is written over before it has left, nor twice, across chunks and turns', () => {
  const { socket, out, append, sent } = setUp();
  for (let i = 0; i < 400; i++) {
    for (let k = 0; k <= i % 5; k++) append(1 + ((i * 7919 + k * 104729) % 30_000), letter(i + k));
    out.flush();
    if (i % 23 === 0) socket.leave();
    socket.slow = i % 7 !== 0;
  }
  socket.leave();
  expect(socket.got.length).toBe(sent().length);
  expect(socket.got === sent()).toBe(true);
});

test('a chunk that is full when all of it was written is not written again', () => {
  const { socket, out, append, sent } = setUp();
  append(64 * 1024, 'a');
  out.flush();
  append(10, 'b');
  out.flush();
  append(64 * 1024 + 1, 'c');
  append(10, 'd');
  out.flush();
  socket.leave();
  expect(socket.got === sent()).toBe(true);
});

test('while it is blocked nothing is written; then all of it, once', () => {
  const { socket, out, append, sent } = setUp(100);
  append(150, 'a');
  out.flush();
  expect(out.blocked).toBe(true);
  append(20, 'b');
  out.flush();
  expect(socket.writableLength).toBe(150);
  socket.leave();
  out.drained();
  expect([out.blocked, socket.writableLength]).toEqual([false, 20]);
  socket.leave();
  append(30, 'c');
  socket.slow = false;
  out.flush();
  expect(socket.got).toBe(sent());
  // All has left: the chunk is filled from its beginning again.
  expect([out.at, out.room]).toEqual([0, 64 * 1024]);
});
