import { describe, expect, test } from '@jest/globals';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { H3 } from '../../../../src/edge/http/h3/codes.ts';
import type { CloseReason } from '../../../../src/edge/quic/engine.ts';
import { FakeConn, LOOPBACK } from '../../../kit/fakeconn.ts';
import { answerOf, bytes, concat, data, frame, framesOf, headers, POST, request, varint, varint8 } from '../../../kit/h3bytes.ts';
import { everyCut } from '../../../kit/prefix.ts';
import { answer, fields, Seen, turn, World } from './world.ts';

const GOAWAY_MAX = bytes(0x07, 0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc);

function one(world: World): Seen {
  expect(world.requests.length).toBe(1);
  return world.requests[0] as Seen;
}

function writesOn(c: FakeConn, id: number): [length: number, fin: boolean][] {
  return c.writes.filter((w) => w.id === id).map((w) => [w.bytes.length, w.fin]);
}

describe('a connection', () => {
  test('begins with our settings on stream 3, and no other stream', () => {
    const world = new World({ headerBytes: 65_536 });
    const c = world.connect(false);
    expect(c.writes.length).toBe(1);
    expect(c.bytesOn(3)).toEqual(concat(bytes(0x00), frame(0x04, bytes(0x01, 0x00, 0x06, 0x80, 0x01, 0x00, 0x00, 0x07, 0x00))));
    expect(world.server.connections()).toBe(1);
    c.peerClose(0);
    expect(world.server.connections()).toBe(0);
    expect(world.closes).toBe(1);
    expect(world.farewells).toEqual([{ side: 'remote', app: true, code: 0, reason: '' }]);
  });

  test('knows its peer, and follows it to another path', () => {
    const world = new World();
    const c = new FakeConn(world.server.handler);
    c.sni = 'A.Test';
    c.open();
    const [connection] = world.connections;
    expect([connection?.remoteAddress, connection?.remotePort, connection?.sni]).toEqual(['127.0.0.1', 0x1151, 'a.test']);
    c.remote = Uint8Array.of(0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x01, 0xbb);
    world.server.handler.onPath(c);
    expect([connection?.remoteAddress, connection?.remotePort]).toEqual(['2001:db8::a', 443]);
    expect(world.moves).toEqual(['127.0.0.1 4433']);
  });

  test('serves streams that arrive out of order, each once', () => {
    const world = new World();
    const c = world.connect();
    for (const id of [12, 4, 0, 8]) expect(world.isHonest(c, id)).toBe(true);
    for (const id of [12, 4, 0, 8]) c.feed(id, request(), true);
    expect(world.requests.length).toBe(4);
    expect(world.isHonest(c, 16)).toBe(true);
  });

  test('without requests gets GOAWAY and is closed', () => {
    const world = new World({ noRequestTimeoutMs: 60_000 });
    const c = world.connect();
    world.clock.advance(30_000);
    expect(world.isHonest(c, 0)).toBe(true);
    world.clock.advance(59_000);
    expect(world.limitsHit).toEqual([]);
    world.clock.advance(1100);
    expect(world.limitsHit).toEqual(['noRequestTimeout']);
    world.clock.advance(1100);
    expect(c.bytesOn(3).subarray(-13)).toEqual(concat(GOAWAY_MAX, bytes(0x07, 0x01, 0x04)));
    expect(c.closed).toEqual({ app: true, code: H3.H3_NO_ERROR, reason: '' });
  });

  test('with a request open is not without requests', () => {
    const world = new World({ noRequestTimeoutMs: 1000 });
    world.onEnd = () => {};
    const c = world.connect();
    c.feed(0, request(), true);
    world.clock.advance(10_000);
    expect(world.limitsHit).toEqual([]);
    answer(one(world));
    world.clock.advance(1100);
    expect(world.limitsHit).toEqual(['noRequestTimeout']);
  });

  test('PINGs while a request is open, by what the limits say now', () => {
    const world = new World({ keepAliveMs: 5000 });
    world.onEnd = () => {};
    const c = world.connect();
    world.clock.advance(20_000);
    expect(c.pings).toBe(0);
    c.feed(0, request(), true);
    world.clock.advance(20_000);
    expect(c.pings).toBe(4);
    world.limits = { ...world.limits, keepAliveMs: 0 };
    world.clock.advance(20_000);
    expect(c.pings).toBe(4);
    world.limits = { ...world.limits, keepAliveMs: 1000 };
    world.clock.advance(32_100);
    expect(c.pings).toBeGreaterThan(4);
    const pings = c.pings;
    answer(one(world));
    world.clock.advance(20_000);
    expect(c.pings).toBe(pings);
  });

  test('... and while the client has no room for the end of its answer', () => {
    const world = new World({ keepAliveMs: 5000 });
    const stuck = [3, 0];
    const c = world.connect(true, (ms) => (ms === 0 ? stuck : []));
    expect(world.isHonest(c, 0)).toBe(true);
    world.clock.advance(20_200);
    expect(c.pings).toBe(4);
    // Of the requests nothing waits any more.
    stuck.pop();
    world.clock.advance(20_000);
    expect(c.pings).toBe(4);
  });

  test('after its number of requests gets GOAWAY, and serves those under way', () => {
    const world = new World({ requestsPerConnection: 3 });
    const c = world.connect();
    for (const id of [0, 4]) expect(world.isHonest(c, id)).toBe(true);
    expect(world.limitsHit).toEqual([]);
    expect(world.isHonest(c, 8)).toBe(true);
    expect(world.limitsHit).toEqual(['requestsPerConnection']);
    expect(c.bytesOn(3).subarray(-10)).toEqual(GOAWAY_MAX);
    // Sent before the client could know.
    expect(world.isHonest(c, 12)).toBe(true);
    world.clock.advance(1100);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x10));
    c.feed(16, request(), true);
    expect(c.resets).toEqual([[16, H3.H3_REQUEST_REJECTED]]);
    expect(c.stops).toEqual([[16, H3.H3_REQUEST_REJECTED]]);
    expect(world.requests.length).toBe(4);
    expect(world.limitsHit).toEqual(['requestsPerConnection']);
  });
});

describe('drain', () => {
  test('in two steps, three round trips apart; closes when the last request is done and its bytes are out', () => {
    const world = new World();
    const c = world.connect();
    c.rttMs = 400;
    world.onEnd = () => {};
    c.feed(0, request(), true);
    world.server.drain();
    world.server.drain();
    expect(c.bytesOn(3).subarray(-10)).toEqual(GOAWAY_MAX);
    world.clock.advance(1190);
    c.feed(4, request(), true);
    expect(world.requests.length).toBe(2);
    world.clock.advance(30);
    expect(framesOf(c.bytesOn(3).subarray(1)).map((f) => f.type)).toEqual([0x04, 0x07, 0x07]);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x08));
    c.feed(8, request(), true);
    expect(c.resets).toEqual([[8, H3.H3_REQUEST_REJECTED]]);
    world.clock.advance(60_000);
    expect(c.closed).toBe(null);
    for (const seen of world.requests) answer(seen);
    c.feed(2, bytes());
    expect([world.answer(c, 0).body, world.answer(c, 4).body]).toEqual(['ok', 'ok']);
    expect(c.closed).toBe(null);
    // Still sending.
    c.sent = 10;
    world.clock.advance(1200);
    expect(c.closed).toBe(null);
    world.clock.advance(1200);
    expect(c.closed).toEqual({ app: true, code: H3.H3_NO_ERROR, reason: '' });
    c.finishClose();
    expect(world.closes).toBe(1);
    expect(world.server.connections()).toBe(0);
  });

  test('what comes within a second of the warning is served: that may have been lost on its way, and sent again', () => {
    const world = new World();
    const c = world.connect();
    c.rttMs = 1;
    world.onEnd = () => {};
    world.server.drain();
    world.clock.advance(980);
    c.feed(0, request(), true);
    expect([c.resets, world.requests.length]).toEqual([[], 1]);
    answer(world.requests[0] as Seen);
    world.clock.advance(40);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x04));
    c.feed(4, request(), true);
    expect(c.resets).toEqual([[4, H3.H3_REQUEST_REJECTED]]);
  });

  test('nor does a slow client wait for longer than three seconds', () => {
    const world = new World();
    const c = world.connect();
    c.rttMs = 20_000;
    world.server.drain();
    world.clock.advance(2950);
    expect(c.closed).toBe(null);
    world.clock.advance(200);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('a late request of an id that is allowed is served to its end', () => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 8)).toBe(true);
    world.server.drain();
    world.clock.advance(1100);
    expect(c.closed).toBe(null);
    expect(world.isHonest(c, 0)).toBe(true);
    world.clock.advance(2500);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('never closes while a request is open, however long ago the last one ended', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = () => {};
    c.feed(0, request(), true);
    world.clock.advance(60_000);
    world.server.drain();
    world.clock.advance(60_000);
    expect(c.closed).toBe(null);
    answer(world.requests[0] as Seen);
    world.clock.advance(3000);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('nor when an allowed request comes after the last one ended', () => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 4)).toBe(true);
    world.server.drain();
    world.clock.advance(1100);
    world.onEnd = () => {};
    c.feed(0, request(), true);
    world.clock.advance(60_000);
    expect(c.closed).toBe(null);
    answer(world.requests[1] as Seen);
    world.clock.advance(3000);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('the second GOAWAY leaves before the connection closes, however long ago the last answer was', () => {
    const world = new World();
    const c = world.connect();
    c.rttMs = 400;
    expect(world.isHonest(c, 0)).toBe(true);
    world.clock.advance(60_000);
    world.server.drain();
    world.clock.advance(1220);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x04));
    expect(c.closed).toBe(null);
    // Bytes that still leave are not waited for twice.
    c.sent = 10;
    world.clock.advance(150);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('nor before a client that has no room for the end of its answer has got it, however long ago that was complete', () => {
    const world = new World();
    const stuck = [3, 0];
    const c = world.connect(true, (ms) => (ms === 0 ? stuck : []));
    expect(world.isHonest(c, 0)).toBe(true);
    world.clock.advance(50_000);
    world.server.drain();
    world.clock.advance(100_000);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x04));
    expect(c.closed).toBe(null);
    // It reads on: of the requests nothing waits any more.
    stuck.pop();
    c.sent = 10;
    world.clock.advance(1200);
    expect(c.closed).toBe(null);
    world.clock.advance(1200);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('a connection that never had a request closes when the second GOAWAY has left; its first one, late, is refused', () => {
    const world = new World();
    const [c, late] = [world.connect(), world.connect()];
    world.server.drain();
    world.clock.advance(1050);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x00));
    expect(c.closed).toBe(null);
    late.feed(0, request(), true);
    expect([late.resets, world.requests]).toEqual([[[0, H3.H3_REQUEST_REJECTED]], []]);
    world.clock.advance(150);
    expect([c.closed?.code, late.closed?.code]).toEqual([H3.H3_NO_ERROR, H3.H3_NO_ERROR]);
  });

  test('a connection whose handshake ends after the drain began is told as well', () => {
    const world = new World();
    world.server.drain();
    const c = world.connect();
    world.clock.advance(1050);
    expect(c.bytesOn(3).subarray(-3)).toEqual(bytes(0x07, 0x01, 0x00));
    world.clock.advance(150);
    expect(c.closed?.code).toBe(H3.H3_NO_ERROR);
  });

  test('closeAll ends every connection and tells every request', () => {
    const world = new World();
    world.onEnd = () => {};
    const all = [world.connect(), world.connect()];
    for (const c of all) c.feed(0, request(), true);
    world.server.closeAll();
    for (const c of all) expect(c.closed).toEqual({ app: true, code: H3.H3_NO_ERROR, reason: '' });
    expect(world.requests.map((r) => r.abort)).toEqual([
      ['drained', H3.H3_NO_ERROR],
      ['drained', H3.H3_NO_ERROR],
    ]);
    for (const c of all) c.finishClose();
    expect([world.closes, world.server.connections()]).toEqual([2, 0]);
  });
});

describe('a request', () => {
  const whole = concat(
    request(
      [
        ['content-length', '6'],
        ['user-agent', 'test'],
      ],
      POST,
    ),
    data('abc'),
    frame(0x21, bytes(1, 2, 3)),
    data('def'),
    headers([['x-trailer', 'yes']]),
  );

  test('reads the same wherever it is cut', () => {
    let cuts = 0;
    everyCut(whole, (first, second) => {
      cuts++;
      const world = new World();
      const c = world.connect();
      c.feed(0, first);
      c.feed(0, second, true);
      const seen = one(world);
      expect([seen.body, seen.trailers?.get('x-trailer'), seen.stream.head.fields.get('user-agent')]).toEqual(['abcdef', 'yes', 'test']);
      expect(seen.stream.bytesIn).toBe(6);
      expect(world.answer(c, 0).body).toBe('ok');
    });
    expect(cuts).toBe(whole.length + 1);
  });

  test('reads the same byte by byte, with a bare FIN', () => {
    const world = new World();
    const c = world.connect();
    for (const octet of whole) c.feed(0, bytes(octet));
    expect(one(world).log.at(-1)).toBe('body');
    c.feed(0, bytes(), true);
    expect([one(world).body, world.answer(c, 0).status]).toEqual(['abcdef', 200]);
  });

  test('with lengths in more bytes than they need', () => {
    const world = new World();
    const c = world.connect();
    const section = request().subarray(2);
    c.feed(0, concat(bytes(0x40, 0x01), varint8(BigInt(section.length)), section, bytes(0x80, 0, 0, 0, 0x40, 1, 0x61)), true);
    expect(one(world).body).toBe('a');
  });

  test('complete in one chunk is complete when it is handed on', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, request(), true);
    c.feed(4, request());
    c.feed(8, concat(request(), frame(0x21)), true);
    expect(world.requests.map((r) => [r.end, r.log])).toEqual([
      [true, ['sent']],
      [false, []],
      [false, ['end', 'sent']],
    ]);
    expect(world.requests[0]?.stream.head).toMatchObject({
      method: 'GET',
      scheme: 'https',
      authority: 'a.test',
      path: '/',
      contentLength: -1,
      urgency: 3,
      incremental: false,
      startedAt: 1000,
    });
  });

  test('has its scheme in lower case', () => {
    const world = new World();
    const c = world.connect();
    c.feed(
      0,
      headers([
        [':method', 'GET'],
        [':scheme', 'HTTPS'],
        [':authority', 'a.test'],
        [':path', '/'],
      ]),
      true,
    );
    expect(one(world).stream.head.scheme).toBe('https');
  });

  test('cookie crumbs are one field where the first one stood', () => {
    const world = new World();
    const c = world.connect();
    c.feed(
      0,
      request([
        ['cookie', 'a=b'],
        ['x', 'y'],
        ['cookie', 'c=d'],
        ['cookie', 'e=f'],
      ]),
      true,
    );
    const { names, values } = one(world).stream.head.fields;
    expect([names, values]).toEqual([
      ['cookie', 'x'],
      ['a=b; c=d; e=f', 'y'],
    ]);
  });

  test.each([
    [['a=b', ''], 'a=b'],
    [['', 'a=b'], 'a=b'],
    [['a=b', '', 'c=d', '', ''], 'a=b; c=d'],
    [['', ''], ''],
  ])('cookie crumbs %j: %j, never with a blank at an end', (crumbs, whole) => {
    const world = new World();
    const c = world.connect();
    c.feed(0, request(crumbs.map((crumb) => ['cookie', crumb])), true);
    const { names, values } = one(world).stream.head.fields;
    expect([names, values]).toEqual([['cookie'], [whole]]);
  });

  test('has a size by RFC 9114 s4.2.2', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, request(), true);
    const sizes = [':method', 'GET', ':scheme', 'https', ':authority', 'a.test', ':path', '/'].map((s) => s.length);
    expect(one(world).stream.head.bytes).toBe(sizes.reduce((a, b) => a + b, 4 * 32));
  });

  test('that is exactly as large as allowed passes', () => {
    const size = 7 + 3 + 7 + 5 + 10 + 6 + 5 + 1 + 4 * 32;
    for (const [headerBytes, status] of [
      [size, 200],
      [size - 1, 431],
    ] as const) {
      const world = new World({ headerBytes });
      const c = world.connect();
      c.feed(0, request(), true);
      expect(world.answer(c, 0).status).toBe(status);
    }
  });

  test('without a complete head in time gets 408, the rest is ignored', () => {
    const world = new World({ headerTimeoutMs: 5000 });
    const c = world.connect();
    const bytesOfRequest = request();
    c.feed(0, bytesOfRequest.subarray(0, 5));
    world.clock.advance(4000);
    c.feed(0, bytesOfRequest.subarray(5, 6));
    expect(world.requests.length).toBe(0);
    world.clock.advance(1100);
    expect(one(world).rejection).toBe('header_timeout');
    expect(one(world).end).toBe(true);
    expect(world.limitsHit).toEqual(['headerTimeout']);
    expect(c.stops).toEqual([[0, H3.H3_NO_ERROR]]);
    c.feed(2, bytes());
    expect(world.answer(c, 0).status).toBe(408);
    c.feed(0, bytesOfRequest.subarray(6), true);
    expect(world.requests.length).toBe(1);
    expect(world.isHonest(c, 4)).toBe(true);
  });

  test('whose head is there in time is never timed out', () => {
    const world = new World({ headerTimeoutMs: 5000 });
    const c = world.connect();
    c.feed(0, request([], POST).subarray(0, 4));
    world.clock.advance(4000);
    c.feed(0, request([], POST).subarray(4));
    world.clock.advance(60_000);
    expect(world.limitsHit).toEqual([]);
    c.feed(0, data('x'), true);
    expect(one(world).log).toEqual(['body', 'end', 'sent']);
  });

  test('takes limits as they are when it comes', () => {
    const world = new World();
    const c = world.connect();
    world.limits = { ...world.limits, headerCount: 3 };
    c.feed(0, request(), true);
    expect(world.answer(c, 0).status).toBe(431);
    world.limits = { ...world.limits, headerCount: 4 };
    expect(world.isHonest(c, 4)).toBe(true);
  });

  test('pauses and resumes its body', () => {
    const world = new World();
    const c = world.connect();
    c.feed(0, concat(request([], POST), data('a')));
    one(world).stream.pause();
    one(world).stream.resume();
    expect(c.pauses).toEqual([
      [0, true],
      [0, false],
    ]);
    c.feed(0, bytes(), true);
    one(world).stream.pause();
    expect(c.pauses.length).toBe(2);
  });

  test('may be answered before it is complete: the rest is told to stop, and its reset is no abort', () => {
    const world = new World();
    const c = world.connect();
    world.onBegin = (seen) => {
      seen.stream.ignoreRequest();
      seen.stream.respond(413, new Fields(), false);
    };
    c.feed(0, concat(request([], POST), data('lost')));
    expect(c.stops).toEqual([[0, H3.H3_NO_ERROR]]);
    c.peerReset(0, H3.H3_NO_ERROR);
    one(world).stream.end(null);
    c.feed(2, bytes());
    expect(one(world).log).toEqual(['sent']);
    expect(world.answer(c, 0).status).toBe(413);
    expect(c.resets).toEqual([]);
  });

  test('goes on when its answer is complete, and its end or abort is told', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = () => {};
    world.onBegin = (seen) => answer(seen);
    for (const id of [0, 4, 8]) c.feed(id, request([], POST));
    c.feed(0, data('more'), true);
    c.peerReset(4, H3.H3_REQUEST_CANCELLED);
    c.peerStop(8, H3.H3_REQUEST_CANCELLED);
    c.feed(8, bytes(), true);
    expect(world.requests.map((r) => r.log)).toEqual([
      ['sent', 'body', 'end'],
      ['sent', 'abort'],
      ['sent', 'end'],
    ]);
    expect(c.resets).toEqual([]);
  });

  test('is over for the application with its connection', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = () => {};
    c.feed(0, request(), true);
    c.feed(4, request([], POST));
    c.peerClose(0x10c);
    expect(world.requests.map((r) => r.abort)).toEqual([
      ['closed', 0x10c],
      ['closed', 0x10c],
    ]);
    for (const seen of world.requests) answer(seen);
    expect(c.writes.filter((w) => w.id < 8 && w.id !== 3)).toEqual([]);
  });

  test('whose application closes the connection within it is told as well', () => {
    const world = new World();
    const c = world.connect();
    world.onBegin = (seen) => seen.stream.connection.close(H3.H3_NO_ERROR, 'bye');
    c.feed(0, request(), true);
    expect(one(world).abort).toEqual(['closed', H3.H3_NO_ERROR]);
    expect(c.closed).toEqual({ app: true, code: H3.H3_NO_ERROR, reason: 'bye' });
  });
});

describe('an answer', () => {
  const BODY = Buffer.from('hello');

  function waiting(): [World, FakeConn, Seen] {
    const world = new World();
    world.onEnd = () => {};
    const c = world.connect();
    c.feed(0, request(), true);
    return [world, c, one(world)];
  }

  test('of head, body and trailers is one write', () => {
    const [, c, seen] = waiting();
    seen.stream.respond(200, fields(['content-type', 'text/plain']), false);
    expect(seen.stream.write(BODY, 0, 5)).toBe(true);
    seen.stream.end(fields(['grpc-status', '0']));
    expect(writesOn(c, 0).length).toBe(1);
    expect(c.finOn(0)).toBe(true);
    expect(answerOf(c.bytesOn(0))).toMatchObject({ status: 200, body: 'hello', trailers: new Map([['grpc-status', '0']]) });
    expect(framesOf(c.bytesOn(0)).map((f) => f.type)).toEqual([1, 0, 1]);
    expect(seen.stream.bytesOut).toBe(5);
  });

  test('whose head stands alone leaves at the end of the callback', async () => {
    const [, c, seen] = waiting();
    seen.stream.respond(200, new Fields(), false);
    expect(writesOn(c, 0)).toEqual([]);
    await turn();
    expect(writesOn(c, 0)).toEqual([[6, false]]);
    seen.stream.end(null);
    expect(writesOn(c, 0).at(-1)).toEqual([0, true]);
    expect(seen.log).toEqual([]);
    await turn();
    expect(seen.log).toEqual(['sent']);
  });

  test('leaves with the batch in which it was made', () => {
    const world = new World();
    const c = world.connect();
    world.onEnd = (s) => s.stream.respond(200, new Fields(), false);
    c.feed(0, request(), true);
    expect(writesOn(c, 0)).toEqual([[6, false]]);
  });

  test('without a body is one write with FIN, and no DATA', () => {
    const [, c, seen] = waiting();
    seen.stream.respond(204, new Fields(), true);
    expect(writesOn(c, 0).map(([, fin]) => fin)).toEqual([true]);
    expect(framesOf(c.bytesOn(0)).map((f) => f.type)).toEqual([1]);
    seen.stream.write(BODY, 0, 5);
    seen.stream.end(null);
    seen.stream.respond(200, new Fields(), true);
    expect(writesOn(c, 0).length).toBe(1);
  });

  test('never carries empty DATA or empty trailers', () => {
    const [, c, seen] = waiting();
    seen.stream.respond(200, new Fields(), false);
    seen.stream.write(BODY, 2, 2);
    seen.stream.end(new Fields());
    expect(framesOf(c.bytesOn(0)).map((f) => f.type)).toEqual([1]);
  });

  test('ends with empty DATA where an end without bytes may get lost, and only when it would be one', async () => {
    const [, c, seen] = waiting();
    c.losesBareEnds = true;
    seen.stream.respond(200, new Fields(), false);
    seen.stream.write(BODY, 0, 5);
    await turn();
    seen.stream.end(null);
    expect(writesOn(c, 0).at(-1)).toEqual([2, true]);
    expect(framesOf(c.bytesOn(0)).map((f) => [f.type, f.payload.length])).toEqual([
      [1, 3],
      [0, 5],
      [0, 0],
    ]);
    const [, whole, other] = waiting();
    whole.losesBareEnds = true;
    other.stream.respond(200, new Fields(), false);
    other.stream.write(BODY, 0, 5);
    other.stream.end(null);
    expect(framesOf(whole.bytesOn(0)).map((f) => f.type)).toEqual([1, 0]);
    const [, trailed, last] = waiting();
    trailed.losesBareEnds = true;
    last.stream.respond(200, new Fields(), false);
    await turn();
    last.stream.end(fields(['x-t', 'v']));
    expect(framesOf(trailed.bytesOn(0)).map((f) => f.type)).toEqual([1, 1]);
  });

  test('of two streams in turns keeps to itself', () => {
    const world = new World();
    world.onEnd = () => {};
    const c = world.connect();
    c.feed(0, request(), true);
    c.feed(4, request(), true);
    const [a, b] = world.requests as [Seen, Seen];
    a.stream.respond(200, fields(['x', 'a']), false);
    b.stream.respond(200, fields(['x', 'b']), false);
    a.stream.write(BODY, 0, 5);
    b.stream.write(BODY, 0, 2);
    a.stream.end(null);
    b.stream.end(fields(['y', 'b']));
    expect([answerOf(c.bytesOn(0)), answerOf(c.bytesOn(4))]).toMatchObject([
      { body: 'hello', trailers: null },
      { body: 'he', trailers: new Map([['y', 'b']]) },
    ]);
    expect([answerOf(c.bytesOn(0)).fields.get('x'), answerOf(c.bytesOn(4)).fields.get('x')]).toEqual(['a', 'b']);
  });

  test.each([1, 47, 48, 49, 4095, 4096, 16_384, 16_385, 65_535, 65_536, 1 << 20])('with a body of %i bytes arrives whole', (size) => {
    const [, c, seen] = waiting();
    const body = Buffer.alloc(size, 'abcdefghijklmnopq');
    seen.stream.respond(200, new Fields(), false);
    expect(seen.stream.write(body, 0, size)).toBe(true);
    seen.stream.end(null);
    expect(answerOf(c.bytesOn(0)).body === body.toString('latin1')).toBe(true);
    expect(seen.stream.bytesOut).toBe(size);
  });

  test.each([100, 16_000, 17_000, 70_000, 300_000])('with fields of %i bytes arrives whole', (size) => {
    const [, c, seen] = waiting();
    const value = 'X'.repeat(size);
    seen.stream.respond(200, fields(['x-a', value]), false);
    seen.stream.write(BODY, 0, 5);
    seen.stream.end(null);
    const seenAnswer = answerOf(c.bytesOn(0));
    expect([seenAnswer.fields.get('x-a') === value, seenAnswer.body]).toEqual([true, 'hello']);
  });

  test.each([61_000, 65_000, 65_500])('with trailers of %i bytes behind a held head arrives whole', (size) => {
    const [, c, seen] = waiting();
    const value = 'X'.repeat(size);
    seen.stream.respond(200, fields(['x-a', 'b'.repeat(300)]), false);
    seen.stream.write(BODY, 0, 5);
    seen.stream.end(fields(['x-t', value]));
    expect(answerOf(c.bytesOn(0))).toMatchObject({ status: 200, body: 'hello' });
    expect(answerOf(c.bytesOn(0)).trailers?.get('x-t') === value).toBe(true);
  });

  test('above the engine’s mark: false, and one call when there is room', () => {
    const [, c, seen] = waiting();
    c.full.add(0);
    seen.stream.respond(200, new Fields(), false);
    const block = Buffer.alloc(20_000);
    expect(seen.stream.write(block, 0, block.length)).toBe(false);
    expect(seen.stream.write(block, 0, block.length)).toBe(false);
    c.drained(0);
    c.drained(0);
    expect(seen.log).toEqual(['writable']);
    expect(seen.stream.write(block, 0, block.length)).toBe(true);
    c.drained(0);
    expect(seen.log).toEqual(['writable']);
    expect(answerOf(c.bytesOn(0)).body.length).toBe(60_000);
  });

  test('who was not told to wait is not told to go on', async () => {
    const [, c, seen] = waiting();
    c.full.add(0);
    seen.stream.respond(200, new Fields(), false);
    await turn();
    c.drained(0);
    expect(seen.log).toEqual([]);
  });

  test('reset by the application: nothing held goes out, nothing is told', () => {
    const [world, c, seen] = waiting();
    seen.stream.respond(200, new Fields(), false);
    seen.stream.write(BODY, 0, 5);
    seen.stream.reset(H3.H3_INTERNAL_ERROR);
    c.feed(2, bytes());
    expect(writesOn(c, 0)).toEqual([]);
    expect(c.resets).toEqual([[0, H3.H3_INTERNAL_ERROR]]);
    expect(c.stops).toEqual([]);
    expect(seen.log).toEqual([]);
    world.onEnd = (s) => answer(s);
    expect(world.isHonest(c, 4)).toBe(true);
  });

  test('cancelled by the client: nothing held goes out, and the application is told in the same turn', () => {
    const [, c, seen] = waiting();
    seen.stream.respond(200, new Fields(), false);
    c.peerStop(0, H3.H3_REQUEST_CANCELLED);
    expect(seen.abort).toEqual(['stop', H3.H3_REQUEST_CANCELLED]);
    expect(writesOn(c, 0)).toEqual([]);
    expect(c.resets).toEqual([[0, H3.H3_REQUEST_CANCELLED]]);
    answer(seen);
    expect(writesOn(c, 0)).toEqual([]);
  });

  test('interim answers are no final ones', () => {
    const [, c, seen] = waiting();
    seen.stream.inform(103, fields(['link', '</a.css>']));
    seen.stream.inform(99, new Fields());
    seen.stream.inform(200, new Fields());
    seen.stream.end(null);
    expect(seen.stream.write(BODY, 0, 5)).toBe(true);
    answer(seen);
    expect(answerOf(c.bytesOn(0))).toMatchObject({ informs: [103], status: 200, body: 'ok' });
  });
});

describe('priorities', () => {
  const update = (id: number, value: string): Buffer => frame(0xf0700, concat(varint(id), Buffer.from(value)));

  test('of the header, of a frame, and of a frame that came before', () => {
    const world = new World();
    world.onEnd = () => {};
    const c = world.connect();
    c.feed(0, request([['priority', 'u=1, i']]), true);
    c.feed(4, request(), true);
    c.feed(2, update(4, 'u=0'));
    c.feed(2, update(8, 'u=7'));
    c.feed(8, request([['priority', 'u=1, i']]), true);
    expect(c.priorities).toEqual([
      [0, 1, true],
      [4, 0, false],
      [8, 7, false],
    ]);
    expect(world.requests.map((r) => [r.stream.head.urgency, r.stream.head.incremental])).toEqual([
      [1, true],
      [0, false],
      [7, false],
    ]);
    expect(world.requests[0]?.stream.head.fields.get('priority')).toBe('u=1, i');
  });

  test('of a frame stands when the head comes in pieces', () => {
    const world = new World();
    const c = world.connect();
    const whole = request([['priority', 'u=1']]);
    c.feed(0, whole.subarray(0, 4));
    c.feed(2, update(0, 'u=6'));
    c.feed(0, whole.subarray(4), true);
    expect(c.priorities).toEqual([[0, 6, false]]);
  });

  test('of streams that came to nothing take no place from others', () => {
    const world = new World({ maxStreams: 1 });
    const c = world.connect();
    for (let id = 0; id < 64 * 4; id += 4) {
      c.feed(2, update(id, 'u=6'));
      if (id % 8 === 0) c.peerReset(id, H3.H3_REQUEST_CANCELLED);
      else c.feed(id, request([['te', 'x']]), true);
    }
    world.onEnd = () => {};
    c.feed(256, request(), true);
    c.feed(2, update(260, 'u=6'));
    c.feed(260, request(), true);
    expect(c.resets.at(-1)).toEqual([260, H3.H3_REQUEST_REJECTED]);
    for (let id = 264; id < 264 + 64 * 4; id += 4) c.feed(2, update(id, 'u=0'));
    answer(world.requests.at(-1) as Seen);
    world.onEnd = (seen) => answer(seen);
    for (let id = 264; id < 264 + 64 * 4; id += 4) expect(world.isHonest(c, id)).toBe(true);
    expect(c.priorities.length).toBe(64);
  });

  test('of streams that are over mean nothing', () => {
    const world = new World();
    const c = world.connect();
    expect(world.isHonest(c, 0)).toBe(true);
    c.feed(2, update(0, 'u=6'));
    expect(c.priorities).toEqual([]);
    expect(c.closed).toBe(null);
  });
});

describe('an exception in the application', () => {
  const rounds: Record<string, (world: World, c: FakeConn) => void> = {
    request: (_w, c) => c.feed(0, request(), true),
    body: (_w, c) => c.feed(0, concat(request([], POST), data('x'))),
    end: (_w, c) => c.feed(0, concat(request([], POST), data('x')), true),
    sent: (_w, c) => c.feed(0, request(), true),
    abort: (_w, c) => (c.feed(0, request([], POST)), c.peerReset(0, 0)),
    writable: (w, c) => {
      w.onEnd = (seen) => {
        c.full.add(0);
        seen.stream.respond(200, new Fields(), false);
        seen.stream.write(Buffer.alloc(20_000), 0, 20_000);
      };
      c.feed(0, request(), true);
      c.drained(0);
    },
    protocol_error: (_w, c) => c.feed(0, request([['te', 'x']]), true),
    limit: (w, c) => (c.feed(0, bytes(1)), w.clock.advance(w.limits.headerTimeoutMs + 20)),
    field_dropped: (_w, c) => c.feed(0, request([['a_b', 'c']]), true),
  };

  test.each(Object.keys(rounds))('in %s closes that connection, and no other', (event) => {
    const world = new World();
    const honest = world.connect();
    expect(world.isHonest(honest, 0)).toBe(true);
    const c = world.connect();
    world.throwIn = event;
    rounds[event]?.(world, c);
    world.throwIn = '';
    expect(world.internal.map(([, message]) => message)).toEqual([`thrown in ${event}`]);
    expect(c.closed?.code).toBe(H3.H3_INTERNAL_ERROR);
    c.feed(40, request(), true);
    c.finishClose();
    expect(world.closes).toBe(1);
    world.onEnd = (seen) => answer(seen);
    expect(world.isHonest(honest, 4)).toBe(true);
  });

  test('in connection, close, foreign and fault', () => {
    const world = new World();
    for (const [event, where, run] of [
      ['connection', 'connection', () => void world.connect()],
      ['foreign', 'foreign', () => world.server.handler.onForeign(1, bytes(1), 0, 1, LOOPBACK, LOOPBACK)],
      ['fault', 'fault', () => world.server.handler.onFault(new Error('dead'))],
    ] as [string, string, () => void][]) {
      world.throwIn = event;
      run();
      expect(world.internal.pop()).toEqual([where, `thrown in ${event}`]);
    }
    world.throwIn = '';
    const c = world.connect();
    world.throwIn = 'close';
    c.peerClose(0);
    expect(world.internal.pop()).toEqual(['closed', 'thrown in close']);
    expect(world.internal).toEqual([]);
  });

  test('in the abort of one request does not keep another from hearing of it', () => {
    const world = new World();
    world.onEnd = () => {};
    const c = world.connect();
    c.feed(0, request(), true);
    c.feed(4, request(), true);
    world.throwIn = 'abort';
    c.peerClose(0);
    expect(world.internal.length).toBe(2);
    expect(world.requests.map((r) => r.log)).toEqual([['abort'], ['abort']]);
    expect(world.closes).toBe(1);
  });

  test('in a timer of a connection', () => {
    const world = new World({ noRequestTimeoutMs: 1000 });
    const c = world.connect();
    world.throwIn = 'limit';
    world.clock.advance(1100);
    expect(world.internal).toEqual([['connection_timer', 'thrown in limit']]);
    expect(c.closed?.code).toBe(H3.H3_INTERNAL_ERROR);
  });
});

test('events of a connection that was never begun, or is over, change nothing', () => {
  const world = new World();
  const { handler } = world.server;
  const stranger = new FakeConn(handler);
  const why: CloseReason = { side: 'remote', app: false, code: 0, reason: '' };
  handler.onData(stranger, 0, request(), 0, 1, true);
  handler.onReset(stranger, 0, 0);
  handler.onStop(stranger, 0, 0);
  handler.onWritable(stranger, 0);
  handler.onPath(stranger);
  handler.onClose(stranger, why);
  handler.onDatagram(stranger, bytes(1), 0, 1);
  handler.onTurnEnd();
  expect([stranger.writes, stranger.resets, stranger.closed, world.internal, world.closes]).toEqual([[], [], null, [], 0]);
});
