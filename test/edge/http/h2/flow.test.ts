import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { ByteQueue, ReceiveWindow, STREAM_WINDOW, STREAM_WINDOW_MOST } from '../../../../src/edge/http/h2/flow.ts';

describe('ByteQueue', () => {
  test('bytes come out as they went in, whatever the sizes', () => {
    const step = fc.oneof(fc.record({ push: fc.integer({ min: 1, max: 9000 }) }), fc.record({ take: fc.integer({ min: 1, max: 9000 }) }));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const queue = new ByteQueue();
        let next = 0;
        let read = 0;
        for (const s of steps) {
          if ('push' in s) {
            const bytes = Uint8Array.from({ length: s.push + 2 }, (_, i) => (next + i - 1) & 0xff);
            queue.push(bytes, 1, s.push + 1);
            next += s.push;
          } else {
            const n = Math.min(s.take, queue.size);
            const out = new Uint8Array(n + 3);
            queue.take(out, 3, n);
            const wanted = Uint8Array.from({ length: n }, (_, i) => (read + i) & 0xff);
            expect(Buffer.compare(out.subarray(3), wanted)).toBe(0);
            read += n;
          }
          expect(queue.size).toBe(next - read);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('what is pushed is copied', () => {
    const queue = new ByteQueue();
    const bytes = Uint8Array.of(1, 2, 3);
    queue.push(bytes, 0, 3);
    bytes.fill(9);
    const out = new Uint8Array(3);
    queue.take(out, 0, 3);
    expect([...out]).toEqual([1, 2, 3]);
  });

  test('single bytes share blocks', () => {
    const queue = new ByteQueue();
    for (let i = 0; i < 10_000; i++) queue.push(Uint8Array.of(i), 0, 1);
    const { blocks } = queue as unknown as { blocks: Uint8Array[] };
    expect(blocks.length).toBe(3);
    queue.clear();
    expect([queue.size, blocks.length]).toEqual([0, 0]);
  });
});

describe('ReceiveWindow', () => {
  const HALF = STREAM_WINDOW / 2;

  test('nothing is given back below half, then all of it', () => {
    const w = new ReceiveWindow();
    w.pause(0);
    w.resume(0);
    expect(w.receive(HALF - 1)).toBe(true);
    expect(w.due).toBe(false);
    w.receive(1);
    expect(w.due).toBe(true);
    expect(w.credit(0)).toBe(HALF);
    expect(w.left).toBe(STREAM_WINDOW);
  });

  test('a quick reader gets a window that fills 1 Gbit/s x 20 ms, and no more than the most', () => {
    const w = new ReceiveWindow();
    let size = STREAM_WINDOW;
    // Half a window every 10 ms.
    for (let now = 0; now < 1000; now += 10) {
      w.receive(size / 2);
      const increment = w.credit(now);
      expect(increment === size / 2 || increment === size / 2 + size).toBe(true);
      size += increment - size / 2;
      expect(w.left).toBe(size);
    }
    expect(size).toBe(STREAM_WINDOW_MOST);
    expect(size).toBeGreaterThanOrEqual((1e9 / 8) * 0.02);
  });

  test('a reader that pauses, or takes its time, keeps the small one', () => {
    const w = new ReceiveWindow();
    for (let i = 0; i < 20; i++) {
      // Half of the time.
      w.pause(i * 10);
      w.receive(HALF);
      expect(w.due).toBe(false);
      w.resume(i * 10 + 5);
      expect(w.credit(i * 10 + 5)).toBe(HALF);
    }
    const slow = new ReceiveWindow();
    slow.receive(HALF);
    slow.credit(0);
    slow.receive(STREAM_WINDOW);
    expect(slow.credit(5000)).toBe(STREAM_WINDOW);
    expect(slow.left).toBe(2 * STREAM_WINDOW);
  });

  test('a reader that needs a moment for what comes in one go, and then waits for more, gets the large one', () => {
    const w = new ReceiveWindow();
    let size = STREAM_WINDOW;
    for (let now = 0; now < 1000; now += 20) {
      w.receive(size / 2);
      w.pause(now);
      w.resume(now + 3);
      w.pause(now + 4);
      w.resume(now + 8);
      size += w.credit(now + 8) - size / 2;
    }
    expect(size).toBe(STREAM_WINDOW_MOST);
  });

  test('beyond the window: false', () => {
    const w = new ReceiveWindow();
    expect(w.receive(STREAM_WINDOW)).toBe(true);
    expect(w.receive(1)).toBe(false);
  });
});
