/** Whatever a backend sends: no exception leaves the session, and every stream ends exactly once. */
import { expect, test } from '@jest/globals';
import type { Socket } from 'node:net';
import * as fc from 'fast-check';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { Flag, FrameType, PREFACE, Setting } from '../../../../src/edge/http/h2/codes.ts';
import { parseFrameHeader } from '../../../../src/edge/http/h2/frames.ts';
import { flushOutputs } from '../../../../src/edge/http/h2/output.ts';
import { HpackEncoder } from '../../../../src/edge/http/hpack/encoder.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { FakeSocket } from '../../../kit/fakesocket.ts';
import { TestClient, type Recorder } from '../../../kit/h2client.ts';
import { frameBytes, u32 } from '../../../kit/h2server.ts';

const SETTINGS = frameBytes(FrameType.SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, Setting.MAX_CONCURRENT_STREAMS]), u32(100)]));

function block(rows: [string, string][]): Buffer {
  const fields = new Fields();
  for (const [name, value] of rows) fields.add(name, value);
  const out = Buffer.alloc(HpackEncoder.roomForFields(fields));
  return out.subarray(0, new HpackEncoder().trailers(out, 0, fields));
}

const BLOCKS = [
  block([[':status', '200']]),
  block([
    [':status', '200'],
    ['content-length', '3'],
  ]),
  block([
    [':status', '103'],
    ['link', 'x'],
  ]),
  block([[':status', '204']]),
  block([['x-trailer', '1']]),
  block([
    [':status', '200'],
    ['connection', 'close'],
  ]),
  Buffer.from('ff', 'hex'),
  Buffer.alloc(0),
];

const id = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(1, 3, 5, 7) }, { weight: 1, arbitrary: fc.constantFrom(0, 2, 9, 0x7fffffff) });
const flags = fc.oneof(fc.constantFrom(0, 1, 4, 5), fc.nat(255));
const payload = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...BLOCKS) },
  { weight: 3, arbitrary: fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)) },
  { weight: 2, arbitrary: fc.constantFrom(0, 1, 3, 100, 0x7fffffff).map(u32) },
  { weight: 1, arbitrary: fc.constantFrom(6, 8, 300, 5000, 16_384).map((n) => Buffer.alloc(n, 1)) },
);
/** Frames that make sense more often than not. */
const sensible = fc.oneof(
  fc.record({ type: fc.constant(FrameType.HEADERS), flags: fc.constantFrom(4, 5), id, payload: fc.constantFrom(...BLOCKS.slice(0, 5)) }),
  fc.record({
    type: fc.constant(FrameType.DATA),
    flags: fc.constantFrom(0, 1),
    id,
    payload: fc.constantFrom(Buffer.from('abc'), Buffer.alloc(0), Buffer.alloc(1000)),
  }),
  fc.record({
    type: fc.constantFrom(FrameType.WINDOW_UPDATE, FrameType.RST_STREAM),
    flags: fc.constant(0),
    id,
    payload: fc.constantFrom(1, 7, 8, 5000).map(u32),
  }),
);
const frame = fc.oneof({ weight: 5, arbitrary: sensible }, { weight: 3, arbitrary: fc.record({ type: fc.nat(12), flags, id, payload }) });

type Act = 'cancel' | 'write' | 'end' | 'pause' | 'resume' | 'open';
const step = fc.oneof(
  { weight: 5, arbitrary: frame.map((f) => ({ kind: 'frame' as const, f, act: 'open' as Act, which: 0 })) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('act' as const),
      f: fc.constant({ type: 0, flags: 0, id: 0, payload: Buffer.alloc(0) }),
      act: fc.constantFrom<Act>('cancel', 'write', 'end', 'pause', 'resume', 'open'),
      which: fc.nat(3),
    }),
  },
);

interface World {
  socket: FakeSocket;
  client: TestClient;
  all: Recorder[];
  cancelled: Set<Recorder>;
  clock: ManualClock;
}

function world(): World {
  const socket = new FakeSocket();
  const clock = new ManualClock();
  const client = new TestClient(socket as unknown as Socket, {}, clock);
  socket.feed(SETTINGS);
  const all = [client.send(), client.send({ body: 'x'.repeat(70_000) }), client.send({ body: null }), client.send({ method: 'HEAD' })];
  return { socket, client, all, cancelled: new Set(), clock };
}

function act(w: World, what: Act, which: number): void {
  const r = w.all[which] as Recorder;
  switch (what) {
    case 'cancel':
      if (r.ends === 0) w.cancelled.add(r);
      return r.stream?.cancel();
    case 'write':
      return void r.stream?.write(Buffer.alloc(3000), 0, 3000);
    case 'end':
      return r.stream?.end(null);
    case 'pause':
      return r.stream?.pause();
    case 'resume':
      return r.stream?.resume();
    default:
      if (w.client.session.capacity > 0) w.all.push(w.client.send());
  }
}

/** What we sent is whole frames, and nothing on a stream behind its end. */
function checkOutput(written: Buffer): void {
  expect(written.toString('latin1', 0, PREFACE.length)).toBe(PREFACE);
  const header = { length: 0, type: 0, flags: 0, id: 0 };
  const ended = new Map<number, number>();
  let at = PREFACE.length;
  while (at < written.length) {
    parseFrameHeader(written, at, header);
    at += 9 + header.length;
    const { type, flags, id } = header;
    expect(type).toBeLessThanOrEqual(FrameType.CONTINUATION);
    expect(header.length).toBeLessThanOrEqual(16_384);
    if (id === 0) continue;
    const before = ended.get(id);
    if (type === FrameType.RST_STREAM) {
      expect(before === FrameType.RST_STREAM).toBe(false);
      ended.set(id, type);
    } else if (type === FrameType.WINDOW_UPDATE) expect(before === FrameType.RST_STREAM).toBe(false);
    else {
      expect(before).toBeUndefined();
      if ((flags & Flag.END_STREAM) !== 0) ended.set(id, type);
    }
  }
  expect(at).toBe(written.length);
}

function finish(w: World): void {
  flushOutputs();
  checkOutput(Buffer.concat(w.socket.written));
  w.client.session.destroy();
  expect(w.client.internal).toEqual([]);
  for (const r of w.all) {
    expect(r.ends).toBe(w.cancelled.has(r) ? 0 : 1);
    expect(r.late).toBe(0);
    expect((r.failure === null) === (r.trailers !== undefined)).toBe(!w.cancelled.has(r));
  }
  expect([w.client.closed, w.client.draining, w.client.session.active]).toEqual([1, 1, 0]);
  w.clock.advance(20_000);
  expect(w.clock.pending()).toBe(0);
}

test('any frames, however they are cut, with the application acting in between', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 5000 }), (steps, cut) => {
      const w = world();
      for (const [i, s] of steps.entries()) {
        if (i % 7 === 0) flushOutputs();
        if (s.kind === 'act') {
          act(w, s.act, s.which);
          continue;
        }
        const bytes = frameBytes(s.f.type, s.f.flags, s.f.id, s.f.payload);
        for (let at = 0; at < bytes.length; at += cut) w.socket.feed(bytes.subarray(at, at + cut));
      }
      finish(w);
    }),
    { numRuns: 1500 },
  );
});

test('any bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 20 }), fc.boolean(), (pieces, greeted) => {
      const w = world();
      if (!greeted) w.client.session.destroy();
      for (const p of pieces) w.socket.feed(p);
      finish(w);
    }),
    { numRuns: 1000 },
  );
});

test('an honest exchange cut at every byte: the same result', () => {
  const bytes = Buffer.concat([
    frameBytes(FrameType.HEADERS, 4, 1, BLOCKS[2] as Buffer),
    frameBytes(FrameType.HEADERS, 0, 1, (BLOCKS[1] as Buffer).subarray(0, 2)),
    frameBytes(FrameType.CONTINUATION, 4, 1, (BLOCKS[1] as Buffer).subarray(2)),
    frameBytes(0x0b, 0, 0, 'unknown'),
    frameBytes(FrameType.DATA, 8, 1, Buffer.from('0261620000', 'hex')),
    frameBytes(FrameType.PING, 0, 0, Buffer.alloc(8)),
    frameBytes(FrameType.DATA, 0, 1, 'c'),
    frameBytes(FrameType.HEADERS, 5, 1, BLOCKS[4] as Buffer),
  ]);
  for (let at = 0; at <= bytes.length; at++) {
    const w = world();
    w.socket.feed(bytes.subarray(0, at));
    w.socket.feed(bytes.subarray(at));
    const r = w.all[0] as Recorder;
    expect([r.status, r.body.toString(), r.trailers, r.failure, r.informs.length]).toEqual([200, 'abc', [['x-trailer', '1']], null, 1]);
    finish(w);
  }
});
