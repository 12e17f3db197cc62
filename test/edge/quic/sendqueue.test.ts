import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { SendQueue } from '../../../src/edge/quic/sendqueue.ts';
import { Stream } from '../../../src/edge/quic/stream.ts';

const stream = (id: number, urgency = 3, incremental = false): Stream => {
  const s = new Stream(id, true, true, true);
  s.urgency = urgency;
  s.incremental = incremental;
  return s;
};

test('by urgency, then whole streams by id, then incremental ones', () => {
  const q = new SendQueue();
  for (const s of [stream(8, 7), stream(4, 3, true), stream(12), stream(0, 3), stream(16, 0, true)]) q.add(s);
  expect(q.items.map((s) => s.id)).toEqual([16, 0, 12, 4, 8]);
});

test('incremental equals take turns', () => {
  const q = new SendQueue();
  const all = [0, 4, 8].map((id) => stream(id, 3, true));
  for (const s of all) q.add(s);
  q.add(stream(12, 5));
  const served: number[] = [];
  for (let i = 0; i < 6; i++) {
    const s = q.items[0] as Stream;
    served.push(s.id);
    q.rotate(s);
  }
  expect(served).toEqual([0, 4, 8, 0, 4, 8]);
  expect(q.items.at(-1)?.id).toBe(12);
});

test('any sequence of steps leaves it sorted and numbered', () => {
  const step = fc.record({
    what: fc.constantFrom('add', 'remove', 'rotate', 'priority'),
    i: fc.integer({ min: 0, max: 9 }),
    u: fc.integer({ min: 0, max: 7 }),
    inc: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const q = new SendQueue();
      const all = Array.from({ length: 10 }, (_, i) => stream(i * 4));
      const inside = new Set<Stream>();
      for (const { what, i, u, inc } of steps) {
        const s = all[i] as Stream;
        if (what === 'add') {
          q.add(s);
          inside.add(s);
        } else if (what === 'remove') {
          q.remove(s);
          inside.delete(s);
        } else if (what === 'rotate') {
          if (s.queued >= 0 && s.incremental) q.rotate(s);
        } else {
          s.urgency = u;
          s.incremental = inc;
          q.reorder(s);
        }
      }
      expect(new Set(q.items)).toEqual(inside);
      q.items.forEach((s, at) => expect(s.queued).toBe(at));
      for (const s of all) if (!inside.has(s)) expect(s.queued).toBe(-1);
      for (let i = 1; i < q.items.length; i++)
        expect((q.items[i - 1] as Stream).urgency).toBeLessThanOrEqual((q.items[i] as Stream).urgency);
    }),
  );
});

test('a stream gives its bytes in order, in any pieces', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 100 }),
      fc.integer({ min: 1, max: 60 }),
      (chunks, limit) => {
        const s = stream(0);
        for (const c of chunks) s.push(c);
        const out: number[] = [];
        while (s.pending > 0) {
          const p = s.peek(limit);
          expect(p.length).toBeGreaterThan(0);
          const n = Math.max(1, Math.floor(p.length * 0.7));
          out.push(...p.subarray(0, n));
          s.took(n);
        }
        expect(out).toEqual(chunks.flatMap((c) => [...c]));
        expect(s.peek(limit).length).toBe(0);
      },
    ),
  );
});
