/** What arrives from hostile clients: one test or more per row, named by its id. */
import { describe, expect, test } from '@jest/globals';
import { H3, type H3CodeName } from '../../../../src/edge/http/h3/codes.ts';
import type { FakeConn } from '../../../kit/fakeconn.ts';
import { bytes, concat, data, frame, GET, headers, POST, request, section, varint, varint8, type Pair } from '../../../kit/h3bytes.ts';
import { answer, Seen, World } from './world.ts';
import { neverOf } from '../../../kit/never.ts';

const SETTINGS = frame(0x04);
const CONTROL = bytes(0x00);

interface Reached {
  /** Requests that had every right to reach the application before the attack showed. */
  requests?: number;
  withSettings?: boolean;
  limits?: Partial<World['limits']>;
}

/** The attack ends its connection, with this code and no other, and another client notices nothing. */
function closes(code: H3CodeName, rule: string, attack: (c: FakeConn, world: World) => void, reached: Reached = {}): void {
  const world = new World(reached.limits);
  const honest = world.connect();
  expect(world.isHonest(honest, 0)).toBe(true);
  const c = world.connect(reached.withSettings ?? true);
  attack(c, world);
  expect(c.closed).toEqual({ app: true, code: H3[code], reason: '' });
  expect(world.errors).toEqual([`connection ${code} ${rule}`]);
  expect(world.requests.length).toBe(1 + (reached.requests ?? 0));
  for (const seen of world.requests.slice(1)) expect(seen.log.at(-1)).toMatch(/^(abort|sent)$/);
  // Nothing that follows is looked at, and nothing is said twice.
  c.feed(400, request(), true);
  c.feed(2, SETTINGS);
  c.peerReset(404, 0);
  expect(world.requests.length).toBe(1 + (reached.requests ?? 0));
  expect(world.errors.length).toBe(1);
  c.finishClose();
  expect(world.closes).toBe(1);
  expect(world.isHonest(honest, 4)).toBe(true);
  expect(honest.closed).toBe(null);
  expect(world.internal).toEqual([]);
}

/** The attack ends its stream, without an answer, and the next request on the connection is served. */
function refuses(code: H3CodeName, rule: string, stream: Uint8Array, o: { fin?: boolean; requests?: number } = {}): void {
  const world = new World();
  const c = world.connect();
  c.feed(0, stream, o.fin ?? false);
  expect(c.closed).toBe(null);
  expect(c.resets).toEqual([[0, H3[code]]]);
  expect(c.stops).toEqual(o.fin === true ? [] : [[0, H3[code]]]);
  expect(c.bytesOn(0).length).toBe(0);
  expect(world.errors).toEqual([`stream ${code} ${rule}`]);
  expect(world.requests.length).toBe(o.requests ?? 0);
  for (const seen of world.requests) expect(seen.abort).toEqual(['malformed', H3[code]]);
  c.feed(0, data('late'), true);
  expect(world.isHonest(c, 4)).toBe(true);
  expect(world.requests.length).toBe((o.requests ?? 0) + 1);
  expect(world.errors.length).toBe(1);
  expect(world.internal).toEqual([]);
}

/** A request with these fields, complete, is malformed; so it is in two pieces, and with a body to come. */
function malformed(rule: string, pairs: readonly Pair[]): void {
  refuses('H3_MESSAGE_ERROR', rule, headers(pairs), { fin: true });
  refuses('H3_MESSAGE_ERROR', rule, headers(pairs));
}

const without = (name: string): Pair[] => GET.filter(([n]) => n !== name);
const changed = (name: string, value: string): Pair[] => GET.map(([n, v]) => [n, n === name ? value : v]);

describe('HTTP/3 framing', () => {
  test('H1: DATA before HEADERS', () => closes('H3_FRAME_UNEXPECTED', 'H1', (c) => c.feed(0, data('x'))));
  test('H1: HEADERS after trailers', () =>
    closes('H3_FRAME_UNEXPECTED', 'H1', (c) => c.feed(0, concat(request(), headers([['x', 'y']]), headers([['x', 'y']]))), {
      requests: 1,
    }));
  test('H1: DATA after trailers', () =>
    closes('H3_FRAME_UNEXPECTED', 'H1', (c) => c.feed(0, concat(request(), headers([['x', 'y']]), data('x'))), { requests: 1 }));

  test.each([
    ['CANCEL_PUSH', 0x03],
    ['SETTINGS', 0x04],
    ['GOAWAY', 0x07],
    ['MAX_PUSH_ID', 0x0d],
  ])('H2: %s on a request stream', (_name, type) => {
    closes('H3_FRAME_UNEXPECTED', 'H2', (c) => c.feed(0, frame(type, varint(0))));
    closes('H3_FRAME_UNEXPECTED', 'H2', (c) => c.feed(0, concat(request(), frame(type, varint(0)))), { requests: 1 });
  });
  test.each([0x00, 0x01])('H2: frame type %i on the control stream', (type) =>
    closes('H3_FRAME_UNEXPECTED', 'H2', (c) => c.feed(2, frame(type, section(GET)))),
  );

  test.each([0x02, 0x06, 0x08, 0x09])('H3: the HTTP/2 frame type %i', (type) => {
    closes('H3_FRAME_UNEXPECTED', 'H3', (c) => c.feed(0, frame(type)));
    closes('H3_FRAME_UNEXPECTED', 'H3', (c) => c.feed(0, concat(request(), frame(type, bytes(1)))), { requests: 1 });
    closes('H3_FRAME_UNEXPECTED', 'H3', (c) => c.feed(2, frame(type, bytes(1, 2))));
  });

  test.each([0x00, 0x01, 0x03, 0x07, 0x0d, 0x21, 0xf0700])('H4: frame type %i before SETTINGS', (type) =>
    closes('H3_MISSING_SETTINGS', 'H4', (c) => c.feed(2, concat(CONTROL, frame(type, varint(0)))), { withSettings: false }),
  );
  test('H4: a second SETTINGS', () => closes('H3_FRAME_UNEXPECTED', 'H4', (c) => c.feed(2, SETTINGS)));
  test.each([0x02, 0x03, 0x04, 0x05])('H4: the HTTP/2 setting %i', (id) =>
    closes('H3_SETTINGS_ERROR', 'H4', (c) => c.feed(2, concat(CONTROL, frame(0x04, bytes(id, 1)))), { withSettings: false }),
  );
  test.each([
    ['known', bytes(6, 1, 6, 1)],
    ['unknown', bytes(0x21, 1, 0x21, 2)],
    ['beyond 2^53', concat(varint8(2n ** 60n), bytes(0), varint8(2n ** 60n), bytes(0))],
  ])('H4: a setting twice, %s', (_name, payload) =>
    closes('H3_SETTINGS_ERROR', 'H4', (c) => c.feed(2, concat(CONTROL, frame(0x04, payload))), { withSettings: false }),
  );
  test.each([0x08, 0x33])('H4: setting %i is a boolean', (id) =>
    closes('H3_SETTINGS_ERROR', 'H4', (c) => c.feed(2, concat(CONTROL, frame(0x04, bytes(id, 2)))), { withSettings: false }),
  );

  test.each([0x00, 0x02, 0x03])('H5: a second stream of type %i', (type) =>
    closes('H3_STREAM_CREATION_ERROR', 'H5', (c) => {
      if (type !== 0x00) c.feed(6, bytes(type));
      c.feed(10, bytes(type));
    }),
  );
  test('H5: a critical stream opened again after its end', () =>
    closes('H3_CLOSED_CRITICAL_STREAM', 'H6', (c) =>
      c.feedAll([
        [2, bytes(), true],
        [6, concat(CONTROL, SETTINGS), false],
      ]),
    ));

  test.each([0x00, 0x02, 0x03])('H6: the end of the critical stream of type %i', (type) => {
    const prepare = (c: FakeConn): void => {
      if (type !== 0x00) c.feed(6, bytes(type));
    };
    const id = type === 0x00 ? 2 : 6;
    closes('H3_CLOSED_CRITICAL_STREAM', 'H6', (c) => (prepare(c), c.feed(id, bytes(), true)));
    closes('H3_CLOSED_CRITICAL_STREAM', 'H6', (c) => (prepare(c), c.peerReset(id, H3.H3_NO_ERROR)));
  });
  test('H6: FIN behind the type of a critical stream', () =>
    closes('H3_CLOSED_CRITICAL_STREAM', 'H6', (c) => c.feed(6, bytes(0x02), true)));
  test('H6: STOP_SENDING of our control stream', () => closes('H3_CLOSED_CRITICAL_STREAM', 'H6', (c) => c.peerStop(3, H3.H3_NO_ERROR)));

  test('H7: a push stream of a client', () => closes('H3_STREAM_CREATION_ERROR', 'H7', (c) => c.feed(6, bytes(0x01, 0x00))));
  test('H7: PUSH_PROMISE of a client', () => {
    closes('H3_FRAME_UNEXPECTED', 'H7', (c) => c.feed(0, concat(request(), frame(0x05, bytes(0)))), { requests: 1 });
    closes('H3_FRAME_UNEXPECTED', 'H7', (c) => c.feed(2, frame(0x05, bytes(0))));
  });

  test('H8: MAX_PUSH_ID goes down', () =>
    closes('H3_ID_ERROR', 'H8', (c) => c.feed(2, concat(frame(0x0d, varint(7)), frame(0x0d, varint(7)), frame(0x0d, varint(6))))));
  test('H8: GOAWAY goes up', () =>
    closes('H3_ID_ERROR', 'H8', (c) =>
      c.feed(
        2,
        concat(frame(0x07, varint(8)), frame(0x07, varint(8)), frame(0x07, varint(4)), frame(0x07, varint(4)), frame(0x07, varint(5))),
      ),
    ));
  test('H8: ids that stay as they are, or move the right way, are fine', () => {
    const world = new World();
    const c = world.connect();
    c.feed(2, concat(...[3, 3, 8].map((id) => frame(0x0d, varint(id))), ...[8, 8, 4].map((id) => frame(0x07, varint(id)))));
    expect(c.closed).toBe(null);
    expect(world.isHonest(c, 0)).toBe(true);
  });
  test('H8: CANCEL_PUSH of nothing that was promised', () => closes('H3_ID_ERROR', 'H8', (c) => c.feed(2, frame(0x03, varint(0)))));

  test.each([
    ['the head of a frame', request().subarray(0, 1)],
    ['a field section', request().subarray(0, 9)],
    ['an unknown frame', concat(varint(0x21), varint(5), bytes(1, 2))],
  ])('H9: FIN in %s', (_name, cut) => closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(0, cut, true)));
  test('H9: FIN in DATA', () => closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(0, concat(request(), bytes(0, 5, 1)), true), { requests: 1 }));
  test('H9: a bare FIN in DATA', () =>
    closes(
      'H3_FRAME_ERROR',
      'H9',
      (c) => {
        c.feed(0, concat(request(), bytes(0, 5, 1)));
        c.feed(0, bytes(), true);
      },
      { requests: 1 },
    ));
  test.each([
    ['MAX_PUSH_ID', 0x0d],
    ['GOAWAY', 0x07],
    ['CANCEL_PUSH', 0x03],
  ])('H9: %s of a wrong length', (_name, type) => {
    closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, frame(type)));
    closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, frame(type, bytes(0, 0))));
    closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, frame(type, bytes(0x40))));
    closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, frame(type, bytes(0, 0, 0, 0, 0, 0, 0, 0, 0))));
  });
  test('H9: SETTINGS cut in a pair', () => {
    for (const payload of [bytes(6), bytes(6, 0x40), bytes(0x40)]) {
      closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, concat(CONTROL, frame(0x04, payload))), { withSettings: false });
    }
  });
  test('H9: a stream without a request', () => {
    refuses('H3_REQUEST_INCOMPLETE', 'H9', bytes(), { fin: true });
    refuses('H3_REQUEST_INCOMPLETE', 'H9', frame(0x21, bytes(1)), { fin: true });
  });

  test('H10: SETTINGS over 4 KiB, by what it announces', () => {
    closes('H3_EXCESSIVE_LOAD', 'H10', (c) => c.feed(2, concat(CONTROL, varint(0x04), varint(4097))), { withSettings: false });
    closes('H3_EXCESSIVE_LOAD', 'H10', (c) => c.feed(2, concat(CONTROL, varint(0x04), varint8(2n ** 62n - 1n))), { withSettings: false });
  });
  test('H10: SETTINGS of 4 KiB is read', () => {
    const world = new World();
    const c = world.connect(false);
    const pairs = Array.from({ length: 1024 }, (_, i) => concat(varint(16_000 - i), bytes(0x40, 0)));
    c.feed(2, concat(CONTROL, frame(0x04, concat(...pairs))));
    expect(c.closed).toBe(null);
    expect(world.isHonest(c, 0)).toBe(true);
  });
  test('H10: an unknown frame of 2^62-1 bytes passes until the budget is spent', () =>
    closes(
      'H3_EXCESSIVE_LOAD',
      'H10',
      (c, world) => {
        c.feed(0, concat(request(), varint(0x21), varint8(2n ** 62n - 1n)));
        const block = Buffer.alloc(16_384);
        let fed = 0;
        while (c.closed === null && fed < 8 * 1024 * 1024) {
          c.feed(0, block);
          fed += block.length;
        }
        expect(fed).toBeGreaterThan(1024 * 1024);
        expect(fed).toBeLessThan(2 * 1024 * 1024);
        expect(world.requests[1]?.body).toBe('');
      },
      { requests: 1 },
    ));
  test('H10: the same on the control stream', () =>
    closes('H3_EXCESSIVE_LOAD', 'H10', (c) => {
      c.feed(2, concat(varint(0x21), varint8(2n ** 62n - 1n)));
      for (let i = 0; i < 200 && c.closed === null; i++) c.feed(2, Buffer.alloc(16_384));
    }));
  test('H10: HEADERS of 2^62-1 bytes, trickled: 431 at once, nothing kept', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, concat(varint(0x01), varint8(2n ** 62n - 1n), bytes(0, 0)));
    expect(world.answer(c, 0).status).toBe(431);
    expect(c.stops).toEqual([[0, H3.H3_NO_ERROR]]);
    expect(world.limitsHit).toEqual(['headerBytes']);
    for (let i = 0; i < 100; i++) c.feed(0, bytes(0xd1));
    expect(world.requests.map((r) => r.rejection)).toEqual(['headers_too_large']);
    expect(world.isHonest(c, 4)).toBe(true);
  });

  test.each([
    ['empty DATA', frame(0x00), 1],
    ['unknown frames', frame(0x21), 1],
    ['reserved frames with a byte', frame(0x1f * 7 + 0x21, bytes(0)), 1],
  ])('H11: %s without end', (_name, flood, requests) =>
    closes(
      'H3_EXCESSIVE_LOAD',
      'H11',
      (c, world) => {
        c.feed(0, request([], POST));
        const many = concat(...Array.from({ length: 100 }, () => flood));
        let frames = 0;
        for (; frames < 10_000 && c.closed === null; frames += 100) c.feed(0, many);
        expect(frames).toBeGreaterThan(900);
        expect(frames).toBeLessThan(1200);
        expect(world.requests[1]?.log.filter((e) => e === 'body')).toEqual([]);
      },
      { requests },
    ),
  );
  test('H11: the same on the control stream, and as encoder and decoder instructions', () => {
    for (const [first, flood] of [
      [bytes(), frame(0x0d, varint(1))],
      [bytes(), frame(0x21)],
    ] as const) {
      closes('H3_EXCESSIVE_LOAD', 'H11', (c) => {
        c.feed(2, first);
        for (let i = 0; i < 2000 && c.closed === null; i++) c.feed(2, flood);
      });
    }
    for (const [type, flood] of [
      [0x02, 0x20],
      [0x03, 0x44],
    ] as const) {
      closes('H3_EXCESSIVE_LOAD', 'H11', (c) => c.feed(6, concat(bytes(type), Buffer.alloc(2000, flood))));
    }
  });
  test('H11: empty DATA between real DATA is never handed on', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, concat(request([], POST), frame(0), data('a'), frame(0), frame(0), data('b'), frame(0)), true);
    expect(world.requests[0]?.log).toEqual(['body', 'body', 'end', 'sent']);
    expect(world.requests[0]?.body).toBe('ab');
  });

  test('H12: streams of unknown types are told to stop, the connection stays', () => {
    const world = new World();
    const c = world.connect();
    c.feed(6, concat(varint(0x1f * 3 + 0x21), Buffer.from('grease')));
    c.feed(6, Buffer.from('more'));
    c.feed(10, varint8(2n ** 62n - 1n));
    c.feed(14, bytes(0x21), true);
    expect(c.stops).toEqual([
      [6, H3.H3_STREAM_CREATION_ERROR],
      [10, H3.H3_STREAM_CREATION_ERROR],
    ]);
    c.feed(6, bytes(0), true);
    c.peerReset(10, 0);
    expect(c.closed).toBe(null);
    expect(world.isHonest(c, 0)).toBe(true);
  });
  test('H12: a partial type waits; ended or reset it means nothing', () => {
    const world = new World();
    const c = world.connect(false);
    c.feed(6, bytes(0x40));
    c.feed(10, bytes(0x40), true);
    c.feed(14, bytes(0xc0, 0));
    c.peerReset(14, 0);
    c.feed(18, bytes());
    c.feed(18, bytes(), true);
    expect(c.closed).toBe(null);
    // 0x4000 is the control stream after all.
    c.feed(6, concat(bytes(0x00), SETTINGS));
    c.feed(6, frame(0x0d, varint(1)));
    expect(c.closed).toBe(null);
    expect(c.stops).toEqual([]);
    c.feed(6, frame(0x00));
    expect(world.errors).toEqual(['connection H3_FRAME_UNEXPECTED H2']);
  });
  test('H12: unknown streams without end', () =>
    closes('H3_EXCESSIVE_LOAD', 'H12', (c) => {
      for (let id = 6; id < 8000 && c.closed === null; id += 4) c.feed(id, bytes(0x21), true);
    }));

  test('H13: 100 streams without a type: the oldest are told to stop, the three that matter work', () => {
    const world = new World();
    const c = world.connect(false);
    for (let i = 0; i < 100; i++) c.feed(6 + 4 * i, bytes(0x40));
    expect(c.stops.length).toBe(84);
    expect(c.stops[0]).toEqual([6, H3.H3_STREAM_CREATION_ERROR]);
    c.feed(406, concat(CONTROL, SETTINGS));
    c.feed(410, bytes(0x02, 0x20));
    c.feed(414, bytes(0x03));
    expect(c.closed).toBe(null);
    expect(world.isHonest(c, 0)).toBe(true);
    // They are the real ones.
    c.feed(410, bytes(0x3f, 0x01));
    expect(world.errors).toEqual(['connection QPACK_ENCODER_STREAM_ERROR P7']);
  });

  test.each([1, 3, 7])('H14: data on stream %i, which only a server opens', (id) => {
    closes('H3_STREAM_CREATION_ERROR', 'H14', (c) => c.feed(id, bytes(0)));
    closes('H3_STREAM_CREATION_ERROR', 'H14', (c) => c.peerReset(id, 0));
  });

  test.each(['reset', 'stop'] as const)('H15: 200 requests, each with %s behind it', (how) =>
    closes(
      'H3_EXCESSIVE_LOAD',
      'H15',
      (c, world) => {
        world.onEnd = () => {};
        for (let n = 0; n < 300 && c.closed === null; n++) {
          c.feed(n * 4, request(), how === 'stop');
          if (how === 'reset') c.peerReset(n * 4, H3.H3_REQUEST_CANCELLED);
          else c.peerStop(n * 4, H3.H3_REQUEST_CANCELLED);
          if (c.closed !== null) expect(n).toBe(199);
        }
        for (const seen of world.requests.slice(1)) expect(seen.abort?.[0]).toBe(how);
        world.onEnd = (seen) => answer(seen);
      },
      { requests: 200 },
    ),
  );
  test('H15: half of more than 500 requests, slowly', () => {
    const world = new World();
    const c = world.connect();
    let n = 0;
    for (; n < 1000 && c.closed === null; n++) {
      world.clock.advance(100);
      world.onEnd = n % 2 === 0 ? () => {} : (seen) => answer(seen);
      c.feed(n * 4, request(), true);
      if (n % 2 === 0) c.peerStop(n * 4, H3.H3_REQUEST_CANCELLED);
    }
    expect(n).toBe(501);
    expect(world.errors).toEqual(['connection H3_EXCESSIVE_LOAD H15']);
  });
  test('H15: a client that cancels a third of its requests, or old ones, is left alone', () => {
    const world = new World();
    const c = world.connect();
    for (let n = 0; n < 900; n++) {
      world.clock.advance(300);
      const cancels = n % 3 === 0;
      world.onEnd = cancels ? () => {} : (seen) => answer(seen);
      c.feed(n * 4, request(), true);
      if (cancels) c.peerStop(n * 4, H3.H3_REQUEST_CANCELLED);
    }
    world.onEnd = () => {};
    for (let n = 900; n < 1000; n++) c.feed(n * 4, request(), true);
    world.clock.advance(30_000);
    for (let n = 900; n < 1000; n++) c.peerStop(n * 4, H3.H3_REQUEST_CANCELLED);
    expect(c.closed).toBe(null);
    expect(world.errors).toEqual([]);
  });
  test('H15: a client that watches for a while and cancels each time is left alone', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = () => {};
    for (let n = 0; n < 600; n++) {
      c.feed(n * 4, request(), true);
      world.clock.advance(2000);
      c.peerStop(n * 4, H3.H3_REQUEST_CANCELLED);
    }
    expect(c.closed).toBe(null);
    expect(world.errors).toEqual([]);
  });
  test('H15: streams that end before they say anything count as well', () =>
    closes('H3_EXCESSIVE_LOAD', 'H15', (c) => {
      for (let n = 0; n < 300 && c.closed === null; n++) c.peerReset(n * 4, 0);
    }));

  test.each([
    ['DATA beyond content-length', concat(request([['content-length', '1']], POST), data('xx'))],
    ['malformed trailers', concat(request([], POST), headers([['A', 'b']]))],
  ])('H16: %s, so that we reset: 200 times', (_name, attack) => {
    const world = new World();
    const c = world.connect();
    const other = world.connect();
    let n = 0;
    for (; n < 300 && c.closed === null; n++) c.feed(n * 4, attack);
    expect(n).toBe(200);
    expect(c.closed?.code).toBe(H3.H3_EXCESSIVE_LOAD);
    expect(world.errors.at(-1)).toBe('connection H3_EXCESSIVE_LOAD H16');
    expect(world.errors.slice(0, -1)).toEqual(Array.from({ length: 200 }, () => world.errors[0]));
    for (const seen of world.requests) expect(seen.abort?.[0]).toBe('malformed');
    expect(world.isHonest(other, 0)).toBe(true);
  });
  test('H16: a tiny MAX_FIELD_SECTION_SIZE of the peer makes us reset nothing', () => {
    const world = new World();
    const c = world.connect(false);
    c.feed(2, concat(CONTROL, frame(0x04, bytes(0x06, 0x01))));
    expect(world.isHonest(c, 0)).toBe(true);
    expect(c.resets).toEqual([]);
  });

  test('H17: a client that does not read: the writer is told to wait, then the stream is cancelled', () => {
    const world = new World({ responseStallMs: 5000 });
    const c = world.connect();
    world.onEnd = () => {};
    c.feed(0, request(), true);
    const seen = world.requests[0] as Seen;
    c.full.add(0);
    seen.stream.respond(200, seen.stream.head.fields, false);
    expect(seen.stream.write(Buffer.alloc(65_536), 0, 65_536)).toBe(false);
    world.clock.advance(4900);
    expect(seen.abort).toBe(null);
    c.drained(0);
    expect(seen.log).toEqual(['writable']);
    c.full.add(0);
    expect(seen.stream.write(Buffer.alloc(65_536), 0, 65_536)).toBe(false);
    world.clock.advance(5100);
    expect(seen.abort).toEqual(['stalled', H3.H3_REQUEST_CANCELLED]);
    expect(world.limitsHit).toEqual(['responseStall']);
    expect(c.resets).toEqual([[0, H3.H3_REQUEST_CANCELLED]]);
    world.onEnd = (s) => answer(s);
    expect(world.isHonest(c, 4)).toBe(true);
  });

  test('H17: by an engine that tells: a stream that waits for its turn lives, one that nobody reads goes, even when its answer is complete', () => {
    const world = new World({ responseStallMs: 4000 });
    const stuck: number[] = [];
    const asked = new Set<number>();
    const c = world.connect(true, (ms) => {
      asked.add(ms);
      return stuck;
    });
    world.onEnd = () => {};
    c.full.add(0).add(4);
    for (const id of [0, 4]) {
      c.feed(id, request(), true);
      const { stream } = world.requests.at(-1) as Seen;
      stream.respond(200, stream.head.fields, false);
      expect(stream.write(Buffer.alloc(65_536), 0, 65_536)).toBe(false);
    }
    world.onEnd = (s) => answer(s);
    c.feed(8, request(), true);
    world.clock.advance(60_000);
    expect(world.limitsHit).toEqual([]);
    // 2, 3: no answers. 8 is complete here and waits in the engine.
    stuck.push(0, 2, 3, 8);
    world.clock.advance(1010);
    stuck.length = 0;
    world.clock.advance(60_000);
    expect([...asked]).toEqual([4000]);
    expect(world.requests.map((r) => r.abort)).toEqual([['stalled', H3.H3_REQUEST_CANCELLED], null, null]);
    expect(c.resets).toEqual([
      [0, H3.H3_REQUEST_CANCELLED],
      [8, H3.H3_REQUEST_CANCELLED],
    ]);
    expect(world.limitsHit).toEqual(['responseStall', 'responseStall']);
    expect(world.isHonest(c, 12)).toBe(true);
  });

  test('H17: a shorter time holds for connections that are open, too', () => {
    const world = new World({ responseStallMs: 3_600_000 });
    const asked: number[] = [];
    world.connect(true, (ms) => {
      asked.push(ms);
      return [];
    });
    world.limits = { ...world.limits, responseStallMs: 1000 };
    world.clock.advance(5100);
    expect(asked).toEqual([1000]);
  });

  test('H18: DATA after RESET in the same batch, FIN with RESET, RESET after the answer', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, request([], POST));
    c.peerReset(0, H3.H3_REQUEST_CANCELLED);
    c.feed(0, data('late'), true);
    expect(world.requests[0]?.log).toEqual(['abort']);
    c.feed(4, request(), true);
    c.peerReset(4, 1);
    c.peerStop(4, 1);
    expect(world.requests[1]?.log).toEqual(['sent']);
    expect(world.requests.length).toBe(2);
    expect(world.errors).toEqual([]);
    expect(world.isHonest(c, 8)).toBe(true);
  });
  test('H18: after a reset of ours late bytes open nothing', () => {
    const world = new World();
    const c = world.connect();
    world.onBegin = (seen) => seen.stream.reset(H3.H3_INTERNAL_ERROR);
    c.feedAll([
      [0, request(), false],
      [0, request(), true],
    ]);
    expect(world.requests.length).toBe(1);
    expect(world.requests[0]?.log).toEqual([]);
    expect(c.resets).toEqual([[0, H3.H3_INTERNAL_ERROR]]);
    expect(c.stops).toEqual([[0, H3.H3_INTERNAL_ERROR]]);
  });
  test('H18: every order of six events keeps the rules', () => {
    const events = ['headers', 'data', 'fin', 'reset', 'stop', 'answer'] as const;
    let orders = 0;
    for (const order of permutations(events)) {
      orders++;
      const world = new World();
      world.onEnd = () => {};
      const c = world.connect();
      for (const event of order) {
        if (event === 'headers') c.feed(0, request([], POST));
        else if (event === 'data') c.feed(0, data('d'));
        else if (event === 'fin') c.feed(0, bytes(), true);
        else if (event === 'reset') c.peerReset(0, 1);
        else if (event === 'stop') c.peerStop(0, 1);
        else if (world.requests[0] !== undefined) {
          answer(world.requests[0]);
          c.feed(2, bytes());
        }
      }
      const where = order.join(' ');
      expect([where, world.internal]).toEqual([where, []]);
      expect([where, world.requests.length <= 1]).toEqual([where, true]);
      const log = world.requests[0]?.log ?? [];
      // An abort comes once, last, and nothing comes after the end but what belongs to the answer.
      expect([where, log.filter((e) => e === 'abort').length <= 1]).toEqual([where, true]);
      expect([where, log.some((e) => e.includes('after abort'))]).toEqual([where, false]);
      if (log.includes('end')) expect([where, log.indexOf('body') < log.indexOf('end')]).toEqual([where, true]);
      if (c.closed === null) expect([where, world.isHonest(honestNow(world, c), 4)]).toEqual([where, true]);
    }
    expect(orders).toBe(720);
  });

  test('H19: an id further away than streams can be opened', () => closes('H3_ID_ERROR', 'H19', (c) => c.feed(2 ** 50, request(), true)));
  test('H19: more at once than the limit: refused untouched', () => {
    const world = new World({ maxStreams: 4 });
    const c = world.connect();
    world.onEnd = () => {};
    for (let n = 0; n < 5; n++) c.feed(n * 4, request(), true);
    expect(world.requests.length).toBe(4);
    expect(c.resets).toEqual([[16, H3.H3_REQUEST_REJECTED]]);
    expect(world.limitsHit).toEqual(['maxStreams']);
    expect(c.closed).toBe(null);
  });

  test('H20: PRIORITY_UPDATE over 256 bytes, or without end', () => {
    closes('H3_EXCESSIVE_LOAD', 'H20', (c) => c.feed(2, concat(varint(0xf0700), varint(257))));
    closes('H3_EXCESSIVE_LOAD', 'H20', (c) => {
      for (let n = 0; n < 2000 && c.closed === null; n++) c.feed(2, frame(0xf0700, concat(varint(n * 4), Buffer.from('u=1'))));
    });
  });
  test('H20: PRIORITY_UPDATE of what is no request, of a push, empty, cut', () => {
    closes('H3_ID_ERROR', 'H20', (c) => c.feed(2, frame(0xf0700, concat(varint(2), Buffer.from('u=1')))));
    closes('H3_ID_ERROR', 'H20', (c) => c.feed(2, frame(0xf0701, concat(varint(0), Buffer.from('u=1')))));
    closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, frame(0xf0700)));
    closes('H3_FRAME_ERROR', 'H9', (c) => c.feed(2, frame(0xf0700, bytes(0x40))));
    closes('H3_FRAME_UNEXPECTED', 'H20', (c) => c.feed(0, frame(0xf0700, bytes(0))));
  });
  test('H20: PRIORITY_UPDATE of 256 bytes is read', () => {
    const world = new World();
    const c = world.connect();
    const value = `u=5, x="${'y'.repeat(255 - 'u=5, x=""'.length)}"`;
    c.feed(2, frame(0xf0700, concat(varint(0), Buffer.from(value))));
    expect(world.isHonest(c, 0)).toBe(true);
    expect(c.priorities).toEqual([[0, 5, false]]);
  });
  test('H20: unknown ids are ignored, and only so many kept', () => {
    const world = new World();
    const c = world.connect();
    for (let n = 0; n < 500; n++) c.feed(2, frame(0xf0700, concat(varint(4 * n), Buffer.from('u=1'))));
    expect(c.closed).toBe(null);
    c.feed(0, request(), true);
    c.feed(400, request(), true);
    expect(c.priorities).toEqual([[0, 1, false]]);
  });

  test('H21: Expect passes; interim answers go out in order and stop at the final one', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = (seen) => {
      seen.stream.inform(100, seen.stream.head.fields);
      seen.stream.inform(101, seen.stream.head.fields);
      seen.stream.inform(103, seen.stream.head.fields);
      answer(seen);
      seen.stream.inform(103, seen.stream.head.fields);
    };
    c.feed(0, request([['expect', '100-continue']], POST), true);
    expect(world.requests[0]?.stream.head.fields.get('expect')).toBe('100-continue');
    expect(world.answer(c, 0)).toMatchObject({ informs: [100, 103], status: 200, body: 'ok' });
  });
});

describe('QPACK', () => {
  const closesBy = (rule: string, payload: Uint8Array): void => {
    closes('QPACK_DECOMPRESSION_FAILED', rule, (c) => c.feed(0, frame(0x01, payload), true));
    // In two pieces it is the same.
    closes('QPACK_DECOMPRESSION_FAILED', rule, (c) => {
      const whole = frame(0x01, payload);
      c.feed(0, whole.subarray(0, whole.length - 1));
      c.feed(0, whole.subarray(whole.length - 1), true);
    });
    // And so it is in trailers.
    closes('QPACK_DECOMPRESSION_FAILED', rule, (c) => c.feed(0, concat(request([], POST), frame(0x01, payload)), true), { requests: 1 });
  };

  test('P1: a bomb of indexed fields: 431 by bytes and by count, five of them end the connection', () => {
    for (const [limit, limits] of [
      ['headerBytes', { headerBytes: 8192, headerCount: 10_000 }],
      ['headerCount', { headerBytes: 1 << 20, headerCount: 100 }],
    ] as const) {
      const world = new World(limits);
      const honest = world.connect();
      const c = world.connect();
      const bomb = frame(0x01, concat(section(GET), Buffer.alloc(1000, 0xc0 | 58)));
      for (let n = 0; n < 4; n++) {
        c.feed(n * 4, bomb, true);
        expect(world.answer(c, n * 4).status).toBe(431);
        const head = world.requests[n]?.stream.head;
        expect(head?.fields.length).toBeLessThanOrEqual(100);
        expect(head?.bytes).toBeLessThanOrEqual(limits.headerBytes);
        expect(head?.path).toBe('/');
      }
      expect(world.limitsHit).toEqual([limit, limit, limit, limit]);
      expect(world.isHonest(c, 16)).toBe(true);
      c.feed(20, bomb, true);
      expect(c.closed?.code).toBe(H3.H3_EXCESSIVE_LOAD);
      expect(world.errors).toEqual(['connection H3_EXCESSIVE_LOAD P1']);
      expect(world.requests.length).toBe(5);
      expect(world.isHonest(honest, 0)).toBe(true);
    }
  });
  test('P1: cookie crumbs and dropped fields count, each of them', () => {
    for (const [name, value] of [
      ['cookie', 'a=b'],
      ['x_y', 'z'],
    ] as const) {
      const world = new World({ headerCount: 50 });
      const c = world.connect();
      c.feed(0, request(Array.from({ length: 47 }, () => [name, value] as const)), true);
      expect(world.answer(c, 0).status).toBe(431);
      expect(world.limitsHit).toEqual(['headerCount']);
      c.feed(4, request(Array.from({ length: 46 }, () => [name, value] as const)), true);
      expect(world.answer(c, 4).status).toBe(200);
    }
  });
  test('P1: a head that is malformed as well as too large is malformed', () => {
    const world = new World({ headerCount: 10 });
    const c = world.connect();
    c.feed(0, request([['te', 'gzip'], ...Array.from({ length: 10 }, (): Pair => ['x', 'y'])]), true);
    expect(c.resets).toEqual([[0, H3.H3_MESSAGE_ERROR]]);
    expect([world.errors, world.limitsHit, world.requests.length]).toEqual([['stream H3_MESSAGE_ERROR M3'], [], 0]);
  });
  test('P2: the same in trailers ends the stream', () => {
    const world = new World({ headerCount: 100 });
    const c = world.connect();
    c.feed(0, concat(request([], POST), frame(0x01, concat(bytes(0, 0), Buffer.alloc(101, 0xc0 | 58)))), true);
    expect(world.requests[0]?.abort).toEqual(['malformed', H3.H3_EXCESSIVE_LOAD]);
    expect(c.resets).toEqual([[0, H3.H3_EXCESSIVE_LOAD]]);
    expect(world.limitsHit).toEqual(['headerCount']);
    expect(world.errors).toEqual(['stream H3_EXCESSIVE_LOAD P2']);
    expect(world.isHonest(c, 4)).toBe(true);
    // Announced, not sent.
    c.feed(8, concat(request([], POST), varint(0x01), varint8(2n ** 62n - 1n)));
    expect(c.resets.at(-1)).toEqual([8, H3.H3_EXCESSIVE_LOAD]);
  });
  test.each([
    ['a literal name of 2^62 bytes', bytes(0x5f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f)],
    ['a literal name of one byte', bytes(0x41)],
    ['a name reference with a value of 2^53 bytes', bytes(0xc0, 0x7f, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)],
    ['an empty entry', bytes(0xc0, 0x00)],
  ])('P3: an insertion of %s', (_name, attack) => {
    closes('QPACK_ENCODER_STREAM_ERROR', 'P3', (c) => c.feed(6, concat(bytes(0x02), attack)));
    closes('QPACK_ENCODER_STREAM_ERROR', 'P3', (c) => {
      c.feed(6, bytes(0x02));
      c.feed(6, attack.subarray(0, 1));
    });
  });
  test('P4: a section that would block', () => {
    closesBy('P4', bytes(0x01, 0x00, 0x80));
    closesBy('P4', bytes(0xff, 0x80, 0x01, 0x00, 0x80));
  });
  test('P5: a client that acknowledges nothing: we refer to nothing that needs it', () => {
    const world = new World();
    const c = world.connect();
    for (let n = 0; n < 200; n++) expect(world.isHonest(c, n * 4)).toBe(true);
    expect(c.writes.filter((w) => (w.id & 3) === 3).map((w) => w.id)).toEqual([3]);
    for (const write of c.writes) if (write.id === 0) expect(write.bytes.subarray(3, 5)).toEqual(bytes(0, 0));
  });
  test.each([
    ['Section Acknowledgment', bytes(0x80)],
    ['Insert Count Increment of 0', bytes(0x00)],
    ['Insert Count Increment beyond what was inserted', bytes(0x01)],
  ])('P6: %s', (_name, attack) =>
    closes('QPACK_DECODER_STREAM_ERROR', 'P6', (c) => c.feed(6, concat(bytes(0x03), attack)), { requests: 0 }),
  );
  test('P6: Stream Cancellation of anything is fine', () => {
    const world = new World();
    const c = world.connect();
    c.feed(6, bytes(0x03, 0x40, 0x7f, 0x01));
    expect(world.isHonest(c, 0)).toBe(true);
  });
  test.each([
    ['a capacity over the limit', bytes(0x21)],
    ['a capacity over the limit, long', bytes(0x3f, 0xe1, 0x1f)],
    ['Duplicate of nothing', bytes(0x00)],
  ])('P7: %s', (_name, attack) => closes('QPACK_ENCODER_STREAM_ERROR', 'P7', (c) => c.feed(6, concat(bytes(0x02), attack))));
  test('P7: a name reference out of range, and any insertion at all', () =>
    closes('QPACK_ENCODER_STREAM_ERROR', 'P3', (c) => c.feed(6, bytes(0x02, 0xff, 0x24, 0x00))));
  test.each([
    ['a static index of 99', bytes(0, 0, 0xff, 0x24)],
    ['a static name of 99', bytes(0, 0, 0x5f, 0x54, 0x00)],
    ['a dynamic index', bytes(0, 0, 0x80)],
    ['a dynamic name', bytes(0, 0, 0x40, 0x00)],
    ['a post-base index', bytes(0, 0, 0x10)],
    ['a post-base name', bytes(0, 0, 0x00, 0x00)],
    ['a negative Base', bytes(0, 0x80, 0xd1)],
  ])('P8: %s', (_name, payload) => closesBy('P8', payload));
  test.each([
    ['nothing at all', bytes()],
    ['half a prefix', bytes(0)],
    ['an index of more than 2^53', bytes(0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)],
    ['a length of 2^62-1', bytes(0, 0, 0x51, 0x7f, 0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f)],
    ['ten empty continuations', bytes(0, 0, 0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80)],
    ['a cut index', bytes(0, 0, 0xff)],
    ['a cut value', bytes(0, 0, 0x51, 0x05, 0x61)],
    ['no value', bytes(0, 0, 0x51)],
    ['a cut name', bytes(0, 0, 0x25, 0x61)],
    ['a Required Insert Count beyond numbers', bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0)],
  ])('P9: %s', (_name, payload) => closesBy('P9', payload));
  test('P9: integers of the instruction streams', () => {
    closes('QPACK_ENCODER_STREAM_ERROR', 'P7', (c) => c.feed(6, concat(bytes(0x02, 0x3f), Buffer.alloc(12, 0x80))));
    closes('QPACK_DECODER_STREAM_ERROR', 'P6', (c) => c.feed(6, concat(bytes(0x03, 0x7f), Buffer.alloc(12, 0x80))));
    closes('QPACK_DECODER_STREAM_ERROR', 'P6', (c) => {
      c.feed(6, bytes(0x03, 0x7f));
      for (let i = 0; i < 12 && c.closed === null; i++) c.feed(6, bytes(0x80));
    });
  });
  test('P9: HTTP/3 ids up to 2^62-1 are legal', () => {
    const world = new World();
    const c = world.connect();
    c.feed(2, concat(frame(0x0d, varint8(2n ** 62n - 1n)), frame(0x07, varint8(2n ** 62n - 4n))));
    c.feed(2, concat(varint8(0x1fn * 2n ** 56n + 0x21n), bytes(1, 0)));
    expect(c.closed).toBe(null);
    expect(world.isHonest(c, 0)).toBe(true);
  });
  test.each([
    ['EOS', bytes(0xff, 0xff, 0xff, 0xff)],
    ['padding of eight bits', bytes(0x1f, 0xff)],
    ['padding not of ones', bytes(0x18)],
    ['a cut code', bytes(0xff, 0xfe)],
  ])('P10: Huffman with %s', (_name, code) => {
    closesBy('P10', concat(bytes(0, 0, 0x51, 0x80 | code.length), code));
    closesBy('P10', concat(bytes(0, 0, 0x28 | code.length), code, bytes(0)));
  });
  test('P11: never-indexed stays so, in both directions', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = (seen) => {
      seen.stream.respond(200, seen.stream.head.fields, true);
    };
    c.feed(
      0,
      request([
        ['authorization', 'secret', true],
        ['x-secret', 'secret', true],
        ['cookie', 'a=b'],
        ['cookie', 'c=d', true],
      ]),
      true,
    );
    const { fields } = (world.requests[0] as Seen).stream.head;
    expect([fields.names, neverOf(fields)]).toEqual([
      ['authorization', 'x-secret', 'cookie'],
      [true, true, true],
    ]);
    const out = c.bytesOn(0);
    // :status 200, then literals with the N bit: name reference 84 (0111), literal name (0011).
    expect(out.subarray(3, 6)).toEqual(bytes(0, 0, 0xc0 | 25));
    expect(out.subarray(6, 8)).toEqual(bytes(0x7f, 84 - 15));
    // The value of seven letters is shorter packed; then the name of eight.
    const rest = out.subarray(8 + 1 + ((out[8] as number) & 0x7f));
    expect((rest[0] as number) & 0xf8).toBe(0x38);
  });
  test.each([
    [':path', '/?token=secret', true],
    [':authority', 'secret.test', true],
    ['host', 'secret.test', true],
    [':method', 'GET', false],
  ] as const)('P11: %s that is never-indexed is known as such', (name, value, isNever) => {
    const world = new World();
    const c = world.connect();
    const others = GET.filter(([n]) => n !== name && !(name === 'host' && n === ':authority'));
    c.feed(0, headers(name === 'host' ? [...others, [name, value, true]] : [[name, value, true], ...others]), true);
    c.feed(4, request(), true);
    expect(world.requests.map((r) => r.stream.head.neverIndexed)).toEqual([isNever, false]);
  });
  test('P12: nothing is shared between connections, nor kept of one request for the next', () => {
    const world = new World();
    const a = world.connect();
    const b = world.connect();
    world.onEnd = (seen) => seen.stream.respond(200, seen.stream.head.fields, true);
    const secret = request([
      ['authorization', 'Bearer abcdef'],
      ['cookie', 'sid=abcdef'],
    ]);
    a.feed(0, secret, true);
    a.feed(4, secret, true);
    b.feed(0, secret, true);
    expect(a.bytesOn(4)).toEqual(a.bytesOn(0));
    expect(b.bytesOn(0)).toEqual(a.bytesOn(0));
  });
});

describe('message rules', () => {
  test('M1: content-length and no body: HEADERS with FIN', () => {
    refuses('H3_MESSAGE_ERROR', 'M1', request([['content-length', '5']], POST), { fin: true });
  });
  test('M1: content-length and no body: HEADERS, then a bare FIN', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, request([['content-length', '5']], POST));
    c.feed(0, bytes(), true);
    expect(world.requests[0]?.log).toEqual(['abort']);
    expect(world.requests[0]?.abort).toEqual(['malformed', H3.H3_MESSAGE_ERROR]);
    expect(c.resets).toEqual([[0, H3.H3_MESSAGE_ERROR]]);
    expect(world.errors).toEqual(['stream H3_MESSAGE_ERROR M1']);
    expect(world.isHonest(c, 4)).toBe(true);
  });
  test('M1: on every other path that ends a stream', () => {
    const start = request([['content-length', '5']], POST);
    const trailers = headers([['x', 'y']]);
    for (const [rule, stream] of [
      ['M1', concat(start, trailers)],
      ['M1', concat(start, frame(0x00))],
      ['M1', concat(start, frame(0x21, bytes(1)))],
      ['M2', concat(start, data('1234'))],
      ['M2', concat(start, data('1234'), trailers)],
    ] as const) {
      const world = new World();
      const c = world.connect();
      c.feed(0, stream, true);
      expect(world.requests[0]?.log.includes('end')).toBe(false);
      expect(world.requests[0]?.abort).toEqual(['malformed', H3.H3_MESSAGE_ERROR]);
      expect(world.errors).toEqual([`stream H3_MESSAGE_ERROR ${rule}`]);
      expect(world.isHonest(c, 4)).toBe(true);
    }
  });
  test('M2: content-length too small: not a byte too many goes on', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, concat(request([['content-length', '3']], POST), data('123'), data('4')));
    expect(world.requests[0]?.body).toBe('123');
    expect(world.requests[0]?.abort).toEqual(['malformed', H3.H3_MESSAGE_ERROR]);
    c.feed(4, concat(request([['content-length', '3']], POST), data('1234')));
    expect(world.requests[1]?.body).toBe('');
    c.feed(8, concat(request([['content-length', '0']], POST), data('1')));
    expect(world.requests[2]?.body).toBe('');
    expect(world.errors).toEqual(Array.from({ length: 3 }, () => 'stream H3_MESSAGE_ERROR M2'));
    expect(world.isHonest(c, 12)).toBe(true);
  });
  test.each(['5, 5', '+5', '-5', '', '0x5', '5abc', '5.0', '1e3', '9007199254740992', '99999999999999999999'])(
    'M2: content-length %p',
    (value) => malformed('M2', [...POST, ['content-length', value]]),
  );
  test('M2: content-length twice, equal or not', () => {
    malformed('M2', [...POST, ['content-length', '5'], ['content-length', '5']]);
    malformed('M2', [...POST, ['content-length', '5'], ['content-length', '6']]);
  });
  test('M2: content-length that holds', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, concat(request([['content-length', '0']], POST)), true);
    c.feed(4, concat(request([['content-length', '5']], POST), data('12'), data('345')), true);
    expect(world.requests.map((r) => [r.stream.head.contentLength, r.body, r.stream.bytesIn])).toEqual([
      [0, '', 0],
      [5, '12345', 5],
    ]);
    expect(world.errors).toEqual([]);
  });

  test.each([
    ['connection', 'close'],
    ['connection', 'x-forwarded-for'],
    ['keep-alive', 'timeout=5'],
    ['proxy-connection', 'keep-alive'],
    ['transfer-encoding', 'chunked'],
    ['upgrade', 'websocket'],
    ['te', 'gzip'],
    ['te', 'trailers, gzip'],
  ])('M3: %s: %s', (name, value) => malformed('M3', [...GET, [name, value]]));
  test('M3: te: trailers is fine', () => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 0, [...GET, ['te', 'trailers']])).toBe(true);
    expect(world.requests[0]?.stream.head.fields.get('te')).toBe('trailers');
  });

  test.each(['a\rb', 'a\nb', 'a\0b', 'a\r\n b', ' a', 'a ', '\ta', 'a\t', ' ', 'a\x01b', 'a\x7fb'])('M4: the value %j', (value) => {
    malformed('M4', [...GET, ['x-a', value]]);
    malformed('M4', [...GET, ['cookie', value]]);
    malformed('M4', [...GET, ['user-agent', value, true]]);
    malformed('M4', [...GET, ['host', value]]);
    malformed('M4', changed(':path', value));
  });
  test('M4: blanks within, bytes above 0x7f and empty values are fine', () => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 0, [...GET, ['x-a', 'a \t b'], ['x-b', 'caf\xe9\xff'], ['x-c', '']])).toBe(true);
    expect(world.requests[0]?.stream.head.fields.values).toEqual(['a \t b', 'caf\xe9\xff', '']);
  });

  test.each(['', 'X-A', 'x a', 'x:a', 'x\0a', 'x\ta', 'x"a', 'x(a', 'x,a', 'x\xe9a', 'x\x7fa', 'Host', 'Content-Length'])(
    'M5: the name %j',
    (name) => malformed('M5', [...GET, [name, 'v']]),
  );
  test('M5: a name with an underscore is dropped and counted, and cannot pass for ours', () => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 0, [...GET, ['x_forwarded_for', '1.2.3.4'], ['content_length', '5'], ['x-a', 'b']])).toBe(true);
    expect(world.requests[0]?.stream.head.fields.names).toEqual(['x-a']);
    expect(world.dropped).toEqual(['underscore', 'underscore']);
    malformed('M4', [...GET, ['x_a', 'a\nb']]);
  });

  test.each([
    ['twice', [...GET, [':method', 'GET']]],
    [':path twice', [...GET, [':path', '/']]],
    ['without :method', without(':method')],
    ['without :scheme', without(':scheme')],
    ['without :path', without(':path')],
    ['unknown', [...GET, [':foo', 'bar']]],
    ['of a response', [...GET, [':status', '200']]],
    ['after a field', [['x-a', 'b'], ...GET]],
    ['after a dropped field', [['x_a', 'b'], ...GET]],
    ['after host', [...without(':authority'), ['host', 'a.test'], [':authority', 'a.test']]],
    ['nothing but fields', [['x-a', 'b']]],
    ['nothing at all', []],
  ] as [string, Pair[]][])('M6: pseudo-fields %s', (_name, pairs) => malformed('M6', pairs));
  test.each([':method', ':path', ':status', ':foo'])('M6: %s among trailers', (name) => {
    refuses('H3_MESSAGE_ERROR', 'M6', concat(request([], POST), headers([[name, '/']])), { fin: true, requests: 1 });
  });

  test.each(['GE T', 'GET\x80', 'G(T', '', 'GET/1', 'G:'])('M7: the method %j', (value) => malformed('M7', changed(':method', value)));
  test.each(['http://evil', '', '1http', 'ht tp', 'https/', '+'])('M7: the scheme %j', (value) =>
    malformed('M7', changed(':scheme', value)),
  );
  test.each(['', 'x', 'http://a.test/', '*', '/a b', '/a#b', '?x', '/\x80\x20y'])('M7: the path %j', (value) =>
    malformed('M7', changed(':path', value)),
  );
  test('M7: * is for OPTIONS', () => {
    const world = new World();
    const c = world.connect();
    const options: Pair[] = [[':method', 'OPTIONS'], ...changed(':path', '*').slice(1)];
    expect(world.isHonest(c, 0, options)).toBe(true);
    malformed('M7', [[':method', 'OPTIONS'], ...changed(':path', '**').slice(1)]);
  });

  test.each([
    ['differ', [...GET, ['host', 'b.test']]],
    ['differ in the port', [...GET, ['host', 'a.test:443']]],
    ['both missing', without(':authority')],
    ['empty', changed(':authority', '')],
    ['empty host', [...without(':authority'), ['host', '']]],
    ['two hosts', [...GET, ['host', 'a.test'], ['host', 'a.test']]],
    ['userinfo', changed(':authority', 'user@a.test')],
    ['userinfo in host', [...without(':authority'), ['host', 'u:p@a.test']]],
    ['a path', changed(':authority', 'a.test/b')],
    ['a blank', changed(':authority', 'a test')],
    ['a port that is none', changed(':authority', 'a.test:8o')],
    ['a port too large', changed(':authority', 'a.test:65536')],
    ['a port in front of which are zeros', changed(':authority', 'a.test:000443')],
    ['two ports', changed(':authority', 'a.test:80:80')],
    ['only a port', changed(':authority', ':80')],
    ['an open bracket', changed(':authority', '[::1')],
    ['empty brackets', changed(':authority', '[]')],
    ['something behind brackets', changed(':authority', '[::1]x')],
    ['something else in brackets', changed(':authority', '[::g]')],
    ['beyond ASCII', changed(':authority', 'k\xe9.test')],
    ['a list', changed(':authority', 'a.test, b.test')],
  ] as [string, Pair[]][])('M8: authority and host: %s', (_name, pairs) => malformed('M8', pairs));
  test.each([
    [[...GET, ['host', 'a.test']], 'a.test'],
    [[...GET, ['host', 'A.TEST']], 'a.test'],
    [[...without(':authority'), ['host', 'b.test:8443']], 'b.test:8443'],
    [changed(':authority', 'A.Test.'), 'A.Test.'],
    [changed(':authority', '[2001:db8::1]:443'), '[2001:db8::1]:443'],
    [changed(':authority', '[::ffff:1.2.3.4]'), '[::ffff:1.2.3.4]'],
  ] as [Pair[], string][])('M8: %j is one authority and no host field', (pairs, authority) => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 0, pairs)).toBe(true);
    expect(world.requests[0]?.stream.head.authority).toBe(authority);
    expect(world.requests[0]?.stream.head.fields.names).toEqual([]);
  });

  test('M9: CONNECT goes up for its 501, with and without a body', () => {
    const world = new World();
    const c = world.connect();
    const connect: Pair[] = [
      [':method', 'CONNECT'],
      [':authority', 'a.test:443'],
    ];
    world.onBegin = (seen) => {
      if (!seen.end) {
        answer(seen, 501, '');
        seen.stream.ignoreRequest();
      }
    };
    c.feed(0, concat(headers(connect), data('tunnel')));
    expect(world.requests[0]?.stream.head).toMatchObject({ method: 'CONNECT', scheme: '', path: '', authority: 'a.test:443' });
    expect(world.requests[0]?.body).toBe('');
    expect(world.answer(c, 0).status).toBe(501);
    expect(c.stops).toEqual([[0, H3.H3_NO_ERROR]]);
    expect(world.isHonest(c, 4, connect)).toBe(true);
  });
  test.each([
    [
      'with :path',
      [
        [':method', 'CONNECT'],
        [':authority', 'a.test:443'],
        [':path', '/'],
      ],
    ],
    [
      'with :scheme',
      [
        [':method', 'CONNECT'],
        [':authority', 'a.test:443'],
        [':scheme', 'https'],
      ],
    ],
    ['without :authority', [[':method', 'CONNECT']]],
    ['extended', [[':method', 'CONNECT'], [':protocol', 'websocket'], ...GET.slice(1)]],
    ['extended, unknown', [[':method', 'CONNECT'], [':protocol', 'nonsense'], ...GET.slice(1)]],
  ] as [string, Pair[]][])('M9: CONNECT %s', (_name, pairs) => malformed('M9', pairs));
  test('M9: :protocol of another method', () => malformed('M9', [...GET, [':protocol', 'websocket']]));
  test('M9: Upgrade', () => malformed('M3', [...GET, ['upgrade', 'h2c']]));

  test('M10: trailers bring nothing that was checked in the head', () => {
    const world = new World();
    const c = world.connect();
    const names = [
      'x-forwarded-for',
      'x-forwarded-proto',
      'forwarded',
      'host',
      'content-length',
      'authorization',
      'te',
      'cookie',
      'x-real-ip',
    ];
    c.feed(
      0,
      concat(request([], POST), data('b'), headers([...names.map((n): Pair => [n, '1']), ['grpc-status', '0'], ['x_y', 'z']])),
      true,
    );
    expect(world.requests[0]?.trailers?.names).toEqual(['grpc-status']);
    expect(world.dropped).toEqual(['underscore', ...names.map(() => 'trailer')]);
    expect(world.isHonest(c, 4)).toBe(true);
  });
  test.each([
    ['M3', 'transfer-encoding', 'chunked'],
    ['M3', 'connection', 'close'],
    ['M4', 'x-a', 'a\nb'],
    ['M5', 'X-A', 'b'],
    ['M5', '', 'b'],
  ])('M10: trailers under the same checks: %s', (rule, name, value) => {
    refuses('H3_MESSAGE_ERROR', rule, concat(request([], POST), headers([[name, value]])), { fin: true, requests: 1 });
  });
});

describe('JavaScript', () => {
  const NAMES = ['__proto__', 'constructor', 'hasownproperty', 'tostring', 'valueof', 'prototype', 'length', 'toJSON'.toLowerCase()];

  test('names of Object.prototype are names like any other', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = (seen) => {
      seen.stream.respond(200, seen.stream.head.fields, false);
      seen.stream.end(seen.stream.head.fields);
    };
    c.feed(0, request(NAMES.map((n): Pair => [n, n])), true);
    // Only the underscores go.
    expect(world.requests[0]?.stream.head.fields.names).toEqual(NAMES.slice(1));
    expect(world.dropped).toEqual(['underscore']);
    const seen = world.answer(c, 0);
    expect(seen.status).toBe(200);
    for (const name of NAMES.slice(1)) expect([name, seen.fields.get(name), seen.trailers?.get(name)]).toEqual([name, name, name]);
  });
  test('and as values, in cookies, paths and methods', () => {
    const world = new World();
    const c = world.connect();
    for (const [n, name] of ['__proto__', ...NAMES].entries()) {
      const pairs: Pair[] = [
        [':method', name],
        [':scheme', 'https'],
        [':authority', `${name.replaceAll('_', '')}x.test`],
        [':path', `/${name}?${name}=${name}`],
        ['cookie', `${name}=1`],
        ['priority', `${name}=1`],
      ];
      expect(world.isHonest(c, n * 4, pairs)).toBe(true);
      expect(world.requests[n]?.stream.head).toMatchObject({ method: name, path: `/${name}?${name}=${name}`, urgency: 3 });
    }
    expect(world.internal).toEqual([]);
  });
});

function* permutations<T>(items: readonly T[]): Generator<T[]> {
  if (items.length <= 1) {
    yield [...items];
    return;
  }
  for (let i = 0; i < items.length; i++) {
    for (const rest of permutations([...items.slice(0, i), ...items.slice(i + 1)])) yield [items[i] as T, ...rest];
  }
}

function honestNow(world: World, c: FakeConn): FakeConn {
  world.onEnd = (seen) => answer(seen);
  return c;
}
