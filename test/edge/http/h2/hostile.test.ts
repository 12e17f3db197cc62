/**
 * Hostile and broken backends, each by name: the exact code, whether the stream or the connection bears it, what the
 * handler is told, that it is reported, and that the neighbours (streams of the same connection, or other connections)
 * lose nothing.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { ErrorCode, Flag, FrameType, Setting, errorName } from '../../../../src/edge/http/h2/codes.ts';
import type { SessionOptions } from '../../../../src/edge/http/h2/options.ts';
import { ManualClock, type Clock } from '../../../../src/lib/clock.ts';
import { FakeSocket } from '../../../kit/fakesocket.ts';
import { TestClient, type Recorder } from '../../../kit/h2client.ts';
import { frameBytes, startH2Server, u32, type H2Peer, type H2Server, type H2ServerOptions, type Rows } from '../../../kit/h2server.ts';

const { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } = FrameType;

const clients: TestClient[] = [];
const servers: H2Server[] = [];
let neighbour: TestClient;
let neighbourServer: H2Server;

beforeEach(async () => {
  neighbourServer = await serve({});
  neighbour = await client(neighbourServer);
});

afterEach(async () => {
  for (const c of clients.splice(0)) {
    expect(c.internal).toEqual([]);
    c.end();
  }
  for (const s of servers.splice(0)) await s.close();
});

async function serve(options: H2ServerOptions): Promise<H2Server> {
  const server = await startH2Server(options);
  servers.push(server);
  return server;
}

async function client(server: { port: number }, options: Partial<SessionOptions> = {}, clock?: Clock): Promise<TestClient> {
  const c = await TestClient.connect(server.port, options, clock);
  clients.push(c);
  return c.untilReady();
}

type Act = (c: H2Peer, id: number) => void;

interface Attack {
  c: TestClient;
  server: H2Server;
  peer: H2Peer;
  evil: Recorder;
}

/** Sends one request to a server that does `act` instead of answering, with honest requests beside it. */
async function attack(act: Act, body?: null, settings: readonly number[] = []): Promise<Attack> {
  const server = await serve({
    settings,
    onRequest: (r) => {
      if (r.path !== '/evil') return false;
      act(r.connection, r.id);
      return true;
    },
  });
  const c = await client(server);
  const evil = c.send({ path: '/evil', ...(body === null ? { body } : {}) });
  return { c, server, peer: server.connections[0] as H2Peer, evil };
}

/** The whole connection ends with `code`; its streams fail, a connection elsewhere does not notice. */
async function endsConnection(code: number, act: Act, settings: readonly number[] = []): Promise<Attack> {
  const a = await attack(act, undefined, settings);
  const honest = neighbour.send({ path: '/bytes/100000' });
  await a.evil.untilOver();
  await a.c.untilClosed();
  await a.peer.untilClosed();
  expect(errorName(a.peer.goaway?.code ?? -1)).toBe(errorName(code));
  expect(a.evil.failure).toMatchObject({ reason: 'backend_protocol_error', unseen: false });
  expect(a.evil.failure?.detail).toContain(errorName(code));
  expect(a.c.failure?.reason).toBe('backend_protocol_error');
  expect(a.c.errors.filter(([scope]) => scope === 'connection')).toEqual([['connection', errorName(code), expect.any(String)]]);
  expect([a.evil.ends, a.evil.late, a.c.closed, a.c.draining]).toEqual([1, 0, 1, 1]);
  expect((await honest.untilOver()).bytes).toBe(100_000);
  return a;
}

/** Only the stream ends, by our RST_STREAM with `code`; others on the same connection do not notice. */
async function endsStream(code: number, reason: string, act: Act): Promise<Attack> {
  const a = await attack(act);
  const honest = a.c.send({ path: '/bytes/100000' });
  await a.evil.untilOver();
  expect(a.evil.failure).toMatchObject({ reason, unseen: false });
  expect([a.evil.ends, a.evil.late]).toEqual([1, 0]);
  expect(a.c.errors).toEqual([['stream', errorName(code), expect.any(String)]]);
  expect((await honest.untilOver()).bytes).toBe(100_000);
  expect((await a.c.fetch()).body.toString()).toBe('hello');
  const request = a.server.requests.find((r) => r.path === '/evil');
  await request?.untilReset();
  expect(errorName(request?.reset ?? -1)).toBe(errorName(code));
  expect(a.c.closed).toBe(0);
  return a;
}

/** Nothing bad at all: the request is answered, and so is the next. */
async function harmless(act: Act, settings: readonly number[] = []): Promise<Attack> {
  const a = await attack(
    (c, id) => {
      act(c, id);
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'fine', true);
    },
    undefined,
    settings,
  );
  await a.evil.untilOver();
  expect([a.evil.failure, a.evil.status, a.evil.body.toString()]).toEqual([null, 200, 'fine']);
  expect((await a.c.fetch()).body.toString()).toBe('hello');
  expect(a.c.errors).toEqual([]);
  return a;
}

const times = (n: number, fn: (i: number) => void): void => {
  for (let i = 0; i < n; i++) fn(i);
};

const setting = (identifier: number, value: number): Buffer =>
  Buffer.concat([Buffer.from([identifier >> 8, identifier & 0xff]), u32(value)]);

describe('header blocks', () => {
  const open = (c: H2Peer, id: number): void => c.frame(HEADERS, 0, id, Buffer.from([0x88]));

  test('B1: a flood of CONTINUATION of one byte (CVE-2024-28182): ENHANCE_YOUR_CALM', async () => {
    await endsConnection(ErrorCode.ENHANCE_YOUR_CALM, (c, id) => {
      open(c, id);
      times(1000, () => c.frame(CONTINUATION, 0, id, Buffer.from([0x88])));
    });
  });

  test('B1: empty CONTINUATIONs without END_HEADERS: ENHANCE_YOUR_CALM', async () => {
    await endsConnection(ErrorCode.ENHANCE_YOUR_CALM, (c, id) => {
      open(c, id);
      times(1000, () => c.frame(CONTINUATION, 0, id));
    });
  });

  test('B1: a block of megabytes in full CONTINUATIONs: ENHANCE_YOUR_CALM', async () => {
    await endsConnection(ErrorCode.ENHANCE_YOUR_CALM, (c, id) => {
      open(c, id);
      times(64, () => c.frame(CONTINUATION, 0, id, Buffer.alloc(16_384, 0x88)));
    });
  });

  test('B1: CONTINUATIONs that do end are one list', async () => {
    const a = await attack((c, id) => {
      const block = c.encode([
        [':status', '200'],
        ['x-a', '1'],
        ['x-b', '2'],
      ]);
      c.frame(HEADERS, Flag.END_STREAM, id, block.subarray(0, 3));
      times(block.length - 3, (i) =>
        c.frame(CONTINUATION, 3 + i === block.length - 1 ? Flag.END_HEADERS : 0, id, block.subarray(3 + i, 4 + i)),
      );
    });
    await a.evil.untilOver();
    expect(a.evil.fields).toEqual([
      ['x-a', '1'],
      ['x-b', '2'],
    ]);
  });

  test.each([
    ['DATA', (c: H2Peer, id: number) => c.data(id, 'x')],
    ['PING', (c: H2Peer) => c.ping()],
    ['an unknown frame', (c: H2Peer, id: number) => c.frame(0x0f, 0, id)],
    ['CONTINUATION of another stream', (c: H2Peer, id: number) => c.frame(CONTINUATION, Flag.END_HEADERS, id + 2)],
  ])('B1: %s within a block: PROTOCOL_ERROR (s6.10)', async (_name, other) => {
    await endsConnection(ErrorCode.PROTOCOL_ERROR, (c, id) => {
      open(c, id);
      other(c, id);
    });
  });

  test('B1: CONTINUATION without HEADERS: PROTOCOL_ERROR', async () => {
    await endsConnection(ErrorCode.PROTOCOL_ERROR, (c, id) => c.frame(CONTINUATION, Flag.END_HEADERS, id));
  });

  test.each([
    ['an index that is not there', 'ff'],
    ['a Huffman string with EOS', '0084ffffffff0161'],
    ['a string beyond the block', '000561'],
    ['an integer above 2^53', 'ff81ffffffffffff7f'],
  ])('B2, P9, P10: %s: COMPRESSION_ERROR', async (_name, hex) => {
    await endsConnection(ErrorCode.COMPRESSION_ERROR, (c, id) => c.frame(HEADERS, Flag.END_HEADERS, id, Buffer.from(hex, 'hex')));
  });

  test('B2: a block that does not decode ends the connection also on a stream that we have left', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'x');
    });
    await a.evil.until(() => a.evil.bytes === 1);
    a.evil.stream?.cancel();
    a.peer.frame(HEADERS, Flag.END_HEADERS, 1, Buffer.from('ff', 'hex'));
    await a.c.untilClosed();
    expect(a.c.errors[0]?.[1]).toBe('COMPRESSION_ERROR');
  });

  const bomb = (c: H2Peer, id: number): void => {
    // One entry of 4,000 bytes, then 16,000 references to it: 64 MB from 20 kB.
    const entry = Buffer.concat([
      Buffer.from('88400161', 'hex'),
      Buffer.from([0x7f, 0x80 | ((3900 - 127) & 0x7f), (3900 - 127) >> 7]),
      Buffer.alloc(3900, 0x61),
    ]);
    c.frame(HEADERS, Flag.END_HEADERS | Flag.END_STREAM, id, Buffer.concat([entry, Buffer.alloc(12_000, 0xbe)]));
  };

  test('B2, P1: a header bomb ends its stream, after decoding no more than the limit; the table stays in step', async () => {
    const a = await attack(bomb, null);
    await a.evil.untilOver();
    expect(a.evil.failure).toMatchObject({ reason: 'malformed_response', unseen: false });
    expect(a.evil.fields).toEqual([]);
    const request = a.server.requests[0];
    await request?.untilReset();
    expect(request?.reset).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect((await a.c.fetch()).body.toString()).toBe('hello');
    expect(a.c.errors).toEqual([['stream', 'ENHANCE_YOUR_CALM', expect.any(String)]]);
  });

  test('B2, P1: five of them end the connection', async () => {
    const server = await serve({
      onRequest: (r) => {
        bomb(r.connection, r.id);
        return true;
      },
    });
    const c = await client(server);
    for (let i = 0; i < 5; i++) expect((await c.fetch()).failure?.reason).toBe('malformed_response');
    await c.untilClosed();
    await server.connections[0]?.untilClosed();
    expect(server.connections[0]?.goaway?.code).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });

  test('B2, P2: the same limit holds for trailers', async () => {
    await endsStream(ErrorCode.ENHANCE_YOUR_CALM, 'malformed_response', (c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.headers(
        id,
        Array.from({ length: 129 }, (_, i): [string, string] => [`x-${i}`, 'v']),
        false,
      );
    });
  });
});

describe('SETTINGS', () => {
  test.each([
    ['MAX_FRAME_SIZE 0 (GO-2026-4918)', Setting.MAX_FRAME_SIZE, 0, ErrorCode.PROTOCOL_ERROR],
    ['MAX_FRAME_SIZE 16383', Setting.MAX_FRAME_SIZE, 16_383, ErrorCode.PROTOCOL_ERROR],
    ['MAX_FRAME_SIZE 2^24', Setting.MAX_FRAME_SIZE, 1 << 24, ErrorCode.PROTOCOL_ERROR],
    ['INITIAL_WINDOW_SIZE 2^31', Setting.INITIAL_WINDOW_SIZE, 2 ** 31, ErrorCode.FLOW_CONTROL_ERROR],
    ['INITIAL_WINDOW_SIZE 2^32-1', Setting.INITIAL_WINDOW_SIZE, 2 ** 32 - 1, ErrorCode.FLOW_CONTROL_ERROR],
    ['ENABLE_PUSH 1', Setting.ENABLE_PUSH, 1, ErrorCode.PROTOCOL_ERROR],
    ['ENABLE_PUSH 2', Setting.ENABLE_PUSH, 2, ErrorCode.PROTOCOL_ERROR],
  ])('B3: %s', async (_name, identifier, value, code) => {
    await endsConnection(code, (c) => c.frame(SETTINGS, 0, 0, setting(identifier, value)));
  });

  test('B3: INITIAL_WINDOW_SIZE that takes a stream’s window above 2^31-1: FLOW_CONTROL_ERROR (s6.9.2)', async () => {
    await endsConnection(ErrorCode.FLOW_CONTROL_ERROR, (c, id) => {
      c.windowUpdate(id, 1_000_000);
      c.frame(SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 0x7fffffff));
    });
  });

  test('B3: an INITIAL_WINDOW_SIZE that shrinks makes windows negative: nothing is sent until they are above 0 again', async () => {
    const server = await serve({ mute: true });
    const c = await client(server);
    const r = c.send({ body: null });
    r.stream?.write(Buffer.alloc(60_000), 0, 60_000);
    const peer = server.connections[0] as H2Peer;
    const sent = (): number => peer.requests.get(1)?.body.length ?? 0;
    await peer.until(() => sent() === 60_000);
    peer.frame(SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 10_000));
    await peer.until(() => peer.frames.filter((f) => f.type === SETTINGS && (f.flags & Flag.ACK) !== 0).length === 2);
    // 10,000 - 60,000: minus 50,000.
    r.stream?.write(Buffer.alloc(5000), 0, 5000);
    peer.windowUpdate(1, 50_000);
    peer.ping();
    await peer.untilFrame((f) => f.type === PING);
    expect(sent()).toBe(60_000);
    peer.windowUpdate(1, 5000);
    await peer.until(() => sent() === 65_000);
  });

  test('B4: a flood of SETTINGS (CVE-2019-9515): ENHANCE_YOUR_CALM', async () => {
    await endsConnection(ErrorCode.ENHANCE_YOUR_CALM, (c) => times(3000, () => c.frame(SETTINGS, 0, 0)));
  });

  test('B4: 2,400 entries once are read, forty times they are a flood', async () => {
    const many = Buffer.concat(Array.from({ length: 2400 }, () => setting(Setting.MAX_HEADER_LIST_SIZE, 4096)));
    await harmless((c) => c.frame(SETTINGS, 0, 0, many));
    await endsConnection(ErrorCode.ENHANCE_YOUR_CALM, (c) => times(40, () => c.frame(SETTINGS, 0, 0, many)));
  });

  test('B4: 2,700 INITIAL_WINDOW_SIZEs in one frame move the windows of open streams once, to the last of them', async () => {
    const server = await serve({ mute: true });
    const c = await client(server);
    const r = c.send({ body: null });
    r.stream?.write(Buffer.alloc(70_000), 0, 70_000);
    const peer = server.connections[0] as H2Peer;
    const sent = (): number => peer.requests.get(1)?.body.length ?? 0;
    await peer.until(() => sent() === 65_535);
    let looks = 0;
    const { streams } = c.session;
    const all = streams.all.bind(streams);
    streams.all = () => {
      looks++;
      return all();
    };
    peer.windowUpdate(0, 100_000);
    peer.frame(SETTINGS, 0, 0, Buffer.concat(Array.from({ length: 2700 }, (_, i) => setting(Setting.INITIAL_WINDOW_SIZE, 63_301 + i))));
    await peer.until(() => sent() === 66_000);
    expect(looks).toBe(1);
    // Up and down again in one frame is nothing, and what is held leaves when the window rises by SETTINGS alone.
    peer.frame(SETTINGS, 0, 0, Buffer.concat([0, 66_001, 66_000].map((n) => setting(Setting.INITIAL_WINDOW_SIZE, n))));
    peer.ping();
    await peer.untilFrame((f) => f.type === PING);
    expect(sent()).toBe(66_000);
    peer.frame(SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 80_000));
    await peer.until(() => sent() === 70_000);
  });

  test('B3: an INITIAL_WINDOW_SIZE that is too much for a stream is so also when the next one in its frame is not', async () => {
    await endsConnection(ErrorCode.FLOW_CONTROL_ERROR, (c, id) => {
      c.windowUpdate(id, 1_000_000);
      c.frame(
        SETTINGS,
        0,
        0,
        Buffer.concat([setting(Setting.INITIAL_WINDOW_SIZE, 0x7fffffff), setting(Setting.INITIAL_WINDOW_SIZE, 65_535)]),
      );
    });
  });

  test('B5: HEADER_TABLE_SIZE 0: our blocks say so and use no table', async () => {
    const { server, c } = await harmless(() => undefined, [Setting.HEADER_TABLE_SIZE, 0]);
    for (let i = 0; i < 3; i++) expect((await c.fetch({ fields: [['x-a', 'b']] })).status).toBe(200);
    const blocks = server.connections[0]?.frames.filter((f) => f.type === HEADERS) ?? [];
    expect(blocks[0]?.payload[0]).toBe(0x20);
    expect(server.connections[0]?.decoder.table.length).toBe(0);
  });

  test('B5: HEADER_TABLE_SIZE 2^32-1: we keep to 4096', async () => {
    const { server } = await harmless(() => undefined, [Setting.HEADER_TABLE_SIZE, 2 ** 32 - 1]);
    expect(server.connections[0]?.decoder.table.capacity).toBe(4096);
  });

  test('B6: MAX_CONCURRENT_STREAMS 0: no capacity and no error, until it rises', async () => {
    const server = await serve({ settings: [Setting.MAX_CONCURRENT_STREAMS, 0] });
    const c = await client(server);
    expect([c.ready, c.session.capacity]).toEqual([1, 0]);
    expect(() => c.send()).toThrow('no capacity');
    server.connections[0]?.frame(SETTINGS, 0, 0, setting(Setting.MAX_CONCURRENT_STREAMS, 1));
    await c.until(() => c.capacities > 0);
    expect(c.session.capacity).toBe(1);
    expect((await c.fetch()).status).toBe(200);
  });

  test.each([
    ['on a stream', (c: H2Peer) => c.frame(SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR],
    ['of 5 bytes', (c: H2Peer) => c.frame(SETTINGS, 0, 0, Buffer.alloc(5)), ErrorCode.FRAME_SIZE_ERROR],
    ['ACK with a payload', (c: H2Peer) => c.frame(SETTINGS, Flag.ACK, 0, Buffer.alloc(6)), ErrorCode.FRAME_SIZE_ERROR],
  ])('%s', async (_name, act, code) => {
    await endsConnection(code, act);
  });

  test('unknown settings are ignored', async () => {
    await harmless((c) => c.frame(SETTINGS, 0, 0, Buffer.concat([setting(0xffff, 7), setting(0x0a0a, 1)])));
  });

  test.each([
    ['PING', (c: H2Peer) => c.ping()],
    ['an acknowledgement', (c: H2Peer) => c.frame(SETTINGS, Flag.ACK, 0)],
    ['an unknown frame', (c: H2Peer) => c.frame(0x0b, 0, 0)],
    ['DATA', (c: H2Peer) => c.data(1, 'x')],
  ])('the first frame is %s: PROTOCOL_ERROR (s3.4)', async (_name, act) => {
    const server = await serve({
      onConnection: (c) => {
        act(c);
        return true;
      },
    });
    const c = await client(server);
    await c.untilClosed();
    await server.connections[0]?.untilClosed();
    expect(server.connections[0]?.goaway?.code).toBe(ErrorCode.PROTOCOL_ERROR);
    expect([c.ready, c.failure?.reason]).toEqual([0, 'backend_protocol_error']);
  });

  test('none in time: connect_timeout', async () => {
    const clock = new ManualClock();
    const server = await serve({ onConnection: () => true });
    const c = await TestClient.connect(server.port, { readyMs: 1000 }, clock);
    clients.push(c);
    clock.advance(1100);
    expect([c.closed, c.ready, c.failure?.reason]).toEqual([1, 0, 'connect_timeout']);
  });
});

describe('floods and frames of the wrong shape', () => {
  test.each<[string, Act]>([
    ['PING (CVE-2019-9512)', (c) => times(3000, () => c.ping())],
    ['PING acknowledgements', (c) => times(3000, () => c.ping(true))],
    ['WINDOW_UPDATE', (c) => times(3000, () => c.windowUpdate(0, 1))],
    ['PRIORITY (CVE-2019-9513)', (c, id) => times(3000, () => c.frame(PRIORITY, 0, id, Buffer.alloc(5)))],
    ['empty DATA (CVE-2019-9518)', (c, id) => (c.headers(id, [[':status', '200']], false), times(3000, () => c.data(id, '')))],
    [
      'padded empty DATA on a stream that is gone',
      (c, id) => (c.headers(id, [[':status', '999']], false), times(3000, () => c.data(id, ''))),
    ],
    [
      'DATA of padding alone',
      (c, id) => (c.headers(id, [[':status', '200']], false), times(3000, () => c.frame(DATA, Flag.PADDED, id, Buffer.alloc(1)))),
    ],
    ['unknown frames', (c) => times(3000, (i) => c.frame(0x0a + (i % 6), 0, 0, Buffer.alloc(3)))],
    ['GOAWAY', (c) => times(3000, () => c.sendGoaway(0x7fffffff))],
    ['RST_STREAM of streams that have ended', (c, id) => times(3000, () => c.rst(id, ErrorCode.CANCEL))],
  ])('B7: %s: ENHANCE_YOUR_CALM', async (_name, act) => {
    const a = await attack(act);
    const honest = neighbour.send({ path: '/bytes/100000' });
    await a.c.untilClosed();
    await a.peer.untilClosed();
    expect(errorName(a.peer.goaway?.code ?? -1)).toBe('ENHANCE_YOUR_CALM');
    expect(a.c.errors.at(-1)?.slice(0, 2)).toEqual(['connection', 'ENHANCE_YOUR_CALM']);
    expect([a.evil.ends, a.evil.late]).toEqual([1, 0]);
    expect((await honest.untilOver()).bytes).toBe(100_000);
  });

  test.each<[string, (c: H2Peer, i: number) => void]>([
    ['INITIAL_WINDOW_SIZE', (c, i) => c.frame(SETTINGS, 0, 0, setting(Setting.INITIAL_WINDOW_SIZE, 65_000 + (i & 1)))],
    ['GOAWAY', (c) => c.sendGoaway(0x7fffffff)],
  ])('B7: %s weighs as much as the streams that it concerns: a flood with 200 open ones comes sooner', async (_name, send) => {
    const flood = async (open: number): Promise<TestClient> => {
      const server = await serve({ onRequest: () => true });
      const c = await client(server);
      const peer = server.connections[0] as H2Peer;
      times(open, () => c.send());
      await peer.until(() => peer.requests.size === open);
      times(150, (i) => send(peer, i));
      peer.ping();
      await peer.untilFrame((f) => f.type === PING || f.type === GOAWAY);
      return c;
    };
    expect((await flood(1)).errors).toEqual([]);
    expect((await flood(200)).errors).toEqual([['connection', 'ENHANCE_YOUR_CALM', expect.any(String)]]);
  });

  test('B7: some of each are the work of an honest server', async () => {
    await harmless((c, id) => {
      times(50, () => c.ping());
      times(50, () => c.windowUpdate(0, 1));
      times(50, () => c.frame(PRIORITY, 0, id, Buffer.alloc(5)));
      times(50, () => c.frame(SETTINGS, 0, 0));
    });
  });

  test.each<[string, Buffer]>([
    ['PING', frameBytes(PING, 0, 0, Buffer.alloc(8))],
    ['SETTINGS', frameBytes(SETTINGS, 0, 0)],
  ])('B7: %s of a backend that reads none of our answers is not paid for by its DATA (CVE-2019-9512)', async (_name, asks) => {
    class Deaf extends FakeSocket {
      override _write(): void {
        return;
      }
    }
    const socket = new Deaf();
    const c = new TestClient(socket as unknown as Socket);
    clients.push(c);
    socket.feed(frameBytes(SETTINGS, 0, 0));
    const r = c.send();
    socket.feed(frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.from([0x88])));
    let asked = 0;
    for (; asked < 50_000 && c.closed === 0; asked++) {
      socket.feed(Buffer.concat([frameBytes(DATA, 0, 1, 'x'), asks]));
      if (asked % 500 === 0) await new Promise(setImmediate);
    }
    expect(asked).toBeLessThan(50_000);
    expect(c.errors).toEqual([['connection', 'ENHANCE_YOUR_CALM', expect.any(String)]]);
    expect(r.failure?.reason).toBe('backend_protocol_error');
    expect(socket.writableLength).toBeLessThan(512 * 1024);
  });

  test('B7: a server that PINGs for ever, slowly, is left alone', async () => {
    const clock = new ManualClock();
    const server = await serve({});
    const c = await client(server, {}, clock);
    const peer = server.connections[0] as H2Peer;
    const acks = (): number => peer.frames.filter((f) => f.type === PING).length;
    for (let i = 1; i <= 30; i++) {
      clock.advance(1000);
      times(100, () => peer.ping());
      await peer.until(() => acks() === i * 100);
    }
    expect([acks(), c.closed]).toEqual([3000, 0]);
  });

  test.each([0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0xff])(
    'B14: frame type %d (GO-2026-4559) is passed over, of any length and on any stream',
    async (type) => {
      await harmless((c, id) => {
        c.frame(type, 0xff, 0, Buffer.alloc(16_384));
        c.frame(type, 0, id);
        c.frame(type, 0, 0x7ffffffe, Buffer.alloc(1));
      });
    },
  );

  test.each<[string, number, Act]>([
    ['a frame of 16,385 bytes', ErrorCode.FRAME_SIZE_ERROR, (c, id) => c.frame(DATA, 0, id, Buffer.alloc(16_385))],
    ['an unknown frame of 2^24-1 bytes', ErrorCode.FRAME_SIZE_ERROR, (c) => c.sendHex('ffffff 0b 00 00000000')],
    ['PING of 7 bytes', ErrorCode.FRAME_SIZE_ERROR, (c) => c.frame(PING, 0, 0, Buffer.alloc(7))],
    ['PING on a stream', ErrorCode.PROTOCOL_ERROR, (c, id) => c.frame(PING, 0, id, Buffer.alloc(8))],
    ['WINDOW_UPDATE of 3 bytes', ErrorCode.FRAME_SIZE_ERROR, (c) => c.frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(3))],
    ['RST_STREAM of 5 bytes', ErrorCode.FRAME_SIZE_ERROR, (c, id) => c.frame(RST_STREAM, 0, id, Buffer.alloc(5))],
    ['RST_STREAM on stream 0', ErrorCode.PROTOCOL_ERROR, (c) => c.rst(0, 0)],
    ['RST_STREAM on an idle stream', ErrorCode.PROTOCOL_ERROR, (c) => c.rst(99, 0)],
    ['GOAWAY of 7 bytes', ErrorCode.FRAME_SIZE_ERROR, (c) => c.frame(GOAWAY, 0, 0, Buffer.alloc(7))],
    ['GOAWAY on a stream', ErrorCode.PROTOCOL_ERROR, (c, id) => c.frame(GOAWAY, 0, id, Buffer.alloc(8))],
    ['PRIORITY on stream 0', ErrorCode.PROTOCOL_ERROR, (c) => c.frame(PRIORITY, 0, 0, Buffer.alloc(5))],
    ['HEADERS on stream 0', ErrorCode.PROTOCOL_ERROR, (c) => c.frame(HEADERS, Flag.END_HEADERS, 0, Buffer.from([0x88]))],
    ['HEADERS on a stream of the server’s', ErrorCode.PROTOCOL_ERROR, (c) => c.frame(HEADERS, Flag.END_HEADERS, 2, Buffer.from([0x88]))],
    [
      'HEADERS shorter than its priority',
      ErrorCode.FRAME_SIZE_ERROR,
      (c, id) => c.frame(HEADERS, Flag.END_HEADERS | Flag.PRIORITY, id, Buffer.alloc(4)),
    ],
  ])('%s', async (_name, code, act) => {
    await endsConnection(code, act);
  });

  test.each<[string, number, Act]>([
    [
      'PUSH_PROMISE though ENABLE_PUSH is 0 (CVE-2024-2398)',
      ErrorCode.PROTOCOL_ERROR,
      (c, id) => c.frame(PUSH_PROMISE, Flag.END_HEADERS, id, Buffer.from('0000000282', 'hex')),
    ],
  ])('B10: %s', async (_name, code, act) => {
    await endsConnection(code, act);
  });

  test.each<[string, number, Act]>([
    ['DATA on stream 0', ErrorCode.PROTOCOL_ERROR, (c) => c.data(0, 'x')],
    ['DATA on an idle stream', ErrorCode.PROTOCOL_ERROR, (c) => c.data(99, 'x')],
    ['DATA on a stream of the server’s', ErrorCode.PROTOCOL_ERROR, (c) => c.data(2, 'x')],
    ['HEADERS on an idle stream', ErrorCode.PROTOCOL_ERROR, (c) => c.frame(HEADERS, Flag.END_HEADERS, 99, Buffer.from([0x88]))],
  ])('B13: %s', async (_name, code, act) => {
    await endsConnection(code, act);
  });

  test.each<[string, number, Act]>([
    [
      'padding as long as the DATA frame',
      ErrorCode.PROTOCOL_ERROR,
      (c, id) => (c.headers(id, [[':status', '200']], false), c.frame(DATA, Flag.PADDED, id, Buffer.from([3, 0, 0]))),
    ],
    ['padding without its length', ErrorCode.FRAME_SIZE_ERROR, (c, id) => c.frame(DATA, Flag.PADDED, id)],
    [
      'padding as long as the HEADERS frame',
      ErrorCode.PROTOCOL_ERROR,
      (c, id) => c.frame(HEADERS, Flag.PADDED | Flag.END_HEADERS, id, Buffer.from([2, 0x88])),
    ],
    ['HEADERS of padding without its length', ErrorCode.FRAME_SIZE_ERROR, (c, id) => c.frame(HEADERS, Flag.PADDED | Flag.END_HEADERS, id)],
  ])('B16: %s', async (_name, code, act) => {
    await endsConnection(code, act);
  });

  test('B16: padding that fits is taken off DATA and HEADERS, and counts for flow control', async () => {
    const a = await attack((c, id) => {
      c.frame(HEADERS, Flag.PADDED | Flag.PRIORITY | Flag.END_HEADERS, id, Buffer.from('02 8000000310 88 0000'.replaceAll(' ', ''), 'hex'));
      c.frame(DATA, Flag.PADDED, id, Buffer.concat([Buffer.from([255]), Buffer.from('abc'), Buffer.alloc(255)]));
      c.frame(DATA, Flag.PADDED, id, Buffer.concat([Buffer.from([9]), Buffer.alloc(9)]));
      c.frame(DATA, Flag.PADDED | Flag.END_STREAM, id, Buffer.concat([Buffer.from([0]), Buffer.from('def')]));
    });
    await a.evil.untilOver();
    expect([a.evil.failure, a.evil.body.toString(), a.evil.pieces.length]).toEqual([null, 'abcdef', 2]);
  });

  test('B16: a window that padding alone has used up comes back', async () => {
    const server = await serve({ onRequest: (r) => (r.respond(200), true) });
    const c = await client(server);
    const r = c.send();
    await r.until(() => r.status === 200);
    const peer = server.connections[0] as H2Peer;
    // Not half of the window, and then the rest of it in frames of 256 bytes.
    times(9, () => peer.data(1, Buffer.alloc(14_336)));
    times(520, () => peer.frame(DATA, Flag.PADDED, 1, Buffer.concat([Buffer.from([255]), Buffer.alloc(255)])));
    await peer.untilFrame((f) => f.type === WINDOW_UPDATE && f.id === 1);
    peer.data(1, 'end', true);
    expect([(await r.untilOver()).failure, r.bytes]).toEqual([null, 9 * 14_336 + 3]);
  });

  test('PRIORITY of 4 bytes: a stream error FRAME_SIZE_ERROR (s6.3)', async () => {
    await endsStream(ErrorCode.FRAME_SIZE_ERROR, 'backend_protocol_error', (c, id) => c.frame(PRIORITY, 0, id, Buffer.alloc(4)));
  });

  test('B15: 500 empty DATA frames are never handed on, nor kept', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      times(500, () => c.data(id, ''));
      c.data(id, 'end', true);
    });
    await a.evil.untilOver();
    expect([a.evil.failure, a.evil.pieces.length]).toEqual([null, 1]);
  });
});

describe('windows', () => {
  test('B8: WINDOW_UPDATE of 0: on the connection its error, on a stream that one’s', async () => {
    await endsConnection(ErrorCode.PROTOCOL_ERROR, (c) => c.windowUpdate(0, 0));
    await endsStream(ErrorCode.PROTOCOL_ERROR, 'backend_protocol_error', (c, id) => c.windowUpdate(id, 0));
  });

  test('B8: a window above 2^31-1: FLOW_CONTROL_ERROR, on either (s6.9.1)', async () => {
    await endsConnection(ErrorCode.FLOW_CONTROL_ERROR, (c) => c.windowUpdate(0, 0x7fffffff));
    await endsStream(ErrorCode.FLOW_CONTROL_ERROR, 'backend_protocol_error', (c, id) => c.windowUpdate(id, 0x7fffffff));
  });

  test('B8: WINDOW_UPDATE on an idle stream is an error, on one that has ended it is not', async () => {
    await endsConnection(ErrorCode.PROTOCOL_ERROR, (c) => c.windowUpdate(99, 1));
    const { c, peer } = await harmless(() => undefined);
    peer.windowUpdate(1, 1);
    expect((await c.fetch()).status).toBe(200);
  });

  test('B9: windows of one byte (CVE-2019-9511, -9517): what is held stays bounded, and frames of one byte come to an end', async () => {
    const server = await serve({ mute: true, settings: [Setting.INITIAL_WINDOW_SIZE, 1000] });
    const c = await client(server);
    const peer = server.connections[0] as H2Peer;
    const r = c.send({ body: null });
    let held = 0;
    while (held < 1 << 20 && r.stream?.write(Buffer.alloc(1000), 0, 1000) === true) held += 1000;
    expect(held).toBeLessThanOrEqual(66_000);
    const frames = (): number => peer.frames.filter((f) => f.type === DATA).length;
    for (let i = 0; i < 200; i++) {
      peer.windowUpdate(1, 1);
      peer.ping(false, u32(i).length === 4 ? Buffer.concat([u32(i), u32(0)]) : Buffer.alloc(8));
      await peer.until(() => peer.frames.filter((f) => f.type === PING).length === i + 1);
    }
    expect(frames()).toBeLessThanOrEqual(66);
    // A real window is used at once.
    peer.windowUpdate(1, 10_000);
    await peer.until(() => (peer.requests.get(1)?.body.length ?? 0) > 11_000);
  });

  test('B8: DATA beyond our window of the stream: FLOW_CONTROL_ERROR on it', async () => {
    const server = await serve({
      onRequest: (r) => {
        if (r.path !== '/evil') return false;
        r.respond(200);
        return true;
      },
    });
    const c = await client(server);
    const evil = c.send({ path: '/evil' });
    evil.onHead = () => evil.stream?.pause();
    await evil.until(() => evil.status === 200);
    times(17, () => server.connections[0]?.data(1, Buffer.alloc(16_384)));
    await evil.untilOver();
    expect(evil.failure?.reason).toBe('backend_protocol_error');
    expect(evil.bytes).toBe(256 * 1024);
    await server.requests[0]?.untilReset();
    expect(server.requests[0]?.reset).toBe(ErrorCode.FLOW_CONTROL_ERROR);
    expect((await c.fetch({ path: '/bytes/100000' })).bytes).toBe(100_000);
  });

  test('the connection’s window comes back also for streams that are gone', async () => {
    const server = await serve({
      onRequest: (r) => {
        r.respond(200);
        times(15, () => r.connection.data(r.id, Buffer.alloc(16_384)));
        return true;
      },
    });
    const c = await client(server, { streams: 1000 });
    // 200 x 240 KiB is three times the connection's window.
    for (let i = 0; i < 200; i++) {
      const r = c.send();
      await r.until(() => r.bytes > 0);
      r.stream?.cancel();
      await c.until(() => c.session.capacity > 0);
    }
    expect([c.closed, c.errors]).toEqual([0, []]);
    const updates = server.connections[0]?.frames.filter((f) => f.type === WINDOW_UPDATE && f.id === 0) ?? [];
    expect(updates.length).toBeGreaterThan(1);
  });
});

describe('GOAWAY', () => {
  /** Three requests; the server says GOAWAY with `lastId` when all are there. */
  async function threeAndGoaway(lastId: number, code: number = ErrorCode.NO_ERROR) {
    const server = await serve({ onRequest: () => true });
    const c = await client(server);
    const all = [c.send({ path: '/1' }), c.send({ path: '/2' }), c.send({ path: '/3', method: 'POST', body: 'x' })] as const;
    const peer = server.connections[0] as H2Peer;
    await peer.until(() => server.requests.length === 3);
    peer.sendGoaway(lastId, code);
    await c.until(() => c.draining > 0);
    return { server, c, peer, all };
  }

  test('B11, B18: streams above the last one were not seen, the others finish, then the connection closes', async () => {
    const { server, c, all } = await threeAndGoaway(3);
    expect(all[2].failure).toMatchObject({ reason: 'backend_closed', unseen: true });
    expect([all[0].ends, all[1].ends, c.session.capacity, c.closed]).toEqual([0, 0, 0, 0]);
    server.requests[0]?.answer(200, 'one');
    server.requests[1]?.answer(200, 'two');
    await c.untilClosed();
    expect(all.map((r) => r.body.toString())).toEqual(['one', 'two', '']);
    expect([c.failure, c.draining]).toEqual([null, 1]);
  });

  test('B11: a lower one later: those in between were not seen either', async () => {
    const { c, peer, all } = await threeAndGoaway(0x7fffffff);
    expect(all.map((r) => r.ends)).toEqual([0, 0, 0]);
    peer.sendGoaway(1);
    await all[1].untilOver();
    expect(all.map((r) => r.failure?.unseen)).toEqual([undefined, true, true]);
    expect(c.closed).toBe(0);
  });

  test('B11: a higher one later: PROTOCOL_ERROR (s6.8)', async () => {
    const { c, peer, all } = await threeAndGoaway(3);
    peer.sendGoaway(5);
    await c.untilClosed();
    await peer.untilClosed();
    expect(peer.goaway?.code).toBe(ErrorCode.PROTOCOL_ERROR);
    expect(all.map((r) => [r.failure?.reason, r.failure?.unseen])).toEqual([
      ['backend_protocol_error', false],
      ['backend_protocol_error', false],
      ['backend_closed', true],
    ]);
  });

  test('B11: 0: nothing was seen, whatever the code', async () => {
    const { c, all } = await threeAndGoaway(0, ErrorCode.ENHANCE_YOUR_CALM);
    expect(all.map((r) => r.failure?.unseen)).toEqual([true, true, true]);
    await c.untilClosed();
  });

  test('a stream above the last one that was answered all the same was seen', async () => {
    const { c, peer, all } = await threeAndGoaway(0x7fffffff);
    peer.headers(5, [[':status', '200']], false);
    await all[2].until(() => all[2].status === 200);
    peer.sendGoaway(3);
    await all[2].untilOver();
    expect([all[2].failure?.unseen, c.closed]).toEqual([false, 0]);
  });

  test('B11: then frames on streams above it: nobody’s, and the others finish', async () => {
    const { server, c, peer, all } = await threeAndGoaway(3);
    peer.headers(
      5,
      [
        [':status', '200'],
        ['x-late', 'one'],
      ],
      false,
    );
    peer.data(5, 'late', true);
    server.requests[0]?.answer(200, 'one', [['x-late', 'one']]);
    server.requests[1]?.answer(200, 'two');
    await c.untilClosed();
    expect(all.map((r) => r.body.toString())).toEqual(['one', 'two', '']);
    expect(all[0].fields).toContainEqual(['x-late', 'one']);
    expect([c.failure, c.errors, all[2].ends, all[2].late]).toEqual([null, [], 1, 0]);
  });

  test('B11: then the connection breaks: what was below may have been seen', async () => {
    const { c, peer, all } = await threeAndGoaway(3);
    peer.socket.destroy();
    await c.untilClosed();
    expect(all.map((r) => r.failure?.unseen)).toEqual([false, false, true]);
  });

  test('B12: then silence (CVE-2023-35945): PING, and the end when nobody answers', async () => {
    const clock = new ManualClock();
    const server = await serve({ onRequest: () => true, mute: true });
    const c = await client(server, { keepAliveMs: 10_000, keepAliveTimeoutMs: 2000 }, clock);
    const r = c.send();
    const peer = server.connections[0] as H2Peer;
    await peer.until(() => server.requests.length === 1);
    peer.sendGoaway(1);
    await c.until(() => c.draining > 0);
    times(30, () => clock.advance(1000));
    expect([r.failure?.reason, r.failure?.unseen, c.closed]).toEqual(['backend_closed', false, 1]);
    expect(r.failure?.detail).toContain('PING');
  });

  test('B12: memory: nothing is left of a connection that was drained', async () => {
    const { c, server } = await threeAndGoaway(0);
    await c.untilClosed();
    await server.connections[0]?.untilClosed();
    expect([c.session.active, c.session.capacity]).toEqual([0, 0]);
  });
});

describe('streams that end oddly', () => {
  test('B13: DATA behind END_STREAM: STREAM_CLOSED', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], true);
      c.data(id, 'late');
    });
    await a.c.untilClosed();
    await a.peer.untilClosed();
    expect(a.peer.goaway?.code).toBe(ErrorCode.STREAM_CLOSED);
    expect([a.evil.failure, a.evil.ends, a.evil.late, a.evil.bytes]).toEqual([null, 1, 0, 0]);
  });

  test.each<[string, Act]>([
    ['HEADERS behind END_STREAM', (c, id) => (c.headers(id, [[':status', '200']], true), c.headers(id, [['x', 'y']], true))],
    ['DATA behind trailers', (c, id) => (c.headers(id, [[':status', '200']], false), c.headers(id, [['x', 'y']], true), c.data(id, 'x'))],
  ])('B13: %s: STREAM_CLOSED', async (_name, act) => {
    const a = await attack(act);
    await a.c.untilClosed();
    await a.peer.untilClosed();
    expect(a.peer.goaway?.code).toBe(ErrorCode.STREAM_CLOSED);
    expect([a.evil.ends, a.evil.late]).toEqual([1, 0]);
  });

  test.each<[string, Act, number]>([
    ['its own RST_STREAM', (c, id) => c.rst(id, ErrorCode.CANCEL), 1],
    [
      'RST_STREAM in the place of END_STREAM',
      (c, id) => (
        c.headers(
          id,
          [
            [':status', '200'],
            ['content-length', '0'],
          ],
          false,
        ),
        c.rst(id, ErrorCode.NO_ERROR)
      ),
      0,
    ],
  ])('B13: frames behind %s are nobody’s (s5.1), and the tables stay in step', async (_name, act, failures) => {
    const a = await attack((c, id) => {
      if (id > 1)
        return c.headers(
          id,
          [
            [':status', '200'],
            ['x-late', 'one'],
          ],
          true,
        );
      act(c, id);
      c.headers(
        id,
        [
          [':status', '200'],
          ['x-late', 'one'],
        ],
        false,
      );
      c.data(id, 'late');
      c.rst(id, ErrorCode.CANCEL);
    });
    await a.evil.untilOver();
    const next = a.c.send({ path: '/evil' });
    await next.untilOver();
    expect(next.fields).toContainEqual(['x-late', 'one']);
    expect([a.evil.ends, a.evil.late, a.evil.failure === null ? 0 : 1, a.c.errors, a.c.closed]).toEqual([1, 0, failures, [], 0]);
  });

  test('B13: frames behind its own RST_STREAM without end are a flood', async () => {
    const a = await attack((c, id) => {
      c.rst(id, ErrorCode.CANCEL);
      times(3000, () => c.data(id, 'x'.repeat(1024)));
    });
    await a.c.untilClosed();
    await a.peer.untilClosed();
    expect(errorName(a.peer.goaway?.code ?? -1)).toBe('ENHANCE_YOUR_CALM');
    expect([a.evil.ends, a.evil.late, a.evil.bytes]).toEqual([1, 0, 0]);
  });

  test('B13: frames that crossed our RST_STREAM are nobody’s', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'x');
    });
    await a.evil.until(() => a.evil.bytes === 1);
    a.evil.stream?.cancel();
    times(20, () => a.peer.data(1, 'more'));
    a.peer.headers(1, [['x-trailer', '1']], true);
    a.peer.rst(1, ErrorCode.CANCEL);
    a.peer.windowUpdate(1, 1);
    expect((await a.c.fetch()).body.toString()).toBe('hello');
    expect([a.evil.ends, a.evil.bytes, a.c.errors]).toEqual([0, 1, []]);
  });

  test('B13: nor are they a flood when they are small: all that the window let the backend send may be on its way', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'x');
    });
    const other = a.c.send({ path: '/held' });
    await a.evil.until(() => a.evil.bytes === 1);
    a.evil.stream?.cancel();
    // A stream of messages of 20 bytes each, until the window of 256 KiB is used up.
    a.peer.send(Buffer.concat(Array.from({ length: 13_000 }, () => frameBytes(DATA, 0, 1, 'a message of 20 byte'))));
    expect((await a.c.fetch()).body.toString()).toBe('hello');
    expect([a.evil.ends, a.evil.bytes, a.c.errors, other.failure]).toEqual([0, 1, [], null]);
  });

  test.each([
    [ErrorCode.NO_ERROR, false],
    [ErrorCode.CANCEL, false],
    [ErrorCode.INTERNAL_ERROR, false],
    [ErrorCode.REFUSED_STREAM, true],
    [0xdeadbeef, false],
  ])('B18: RST_STREAM %d before any response: backend_reset, unseen %s (s8.7)', async (code, unseen) => {
    const a = await attack((c, id) => c.rst(id, code));
    await a.evil.untilOver();
    expect(a.evil.failure).toMatchObject({ reason: 'backend_reset', unseen });
    expect(a.evil.failure?.detail).toContain(errorName(code));
    expect((await a.c.fetch()).status).toBe(200);
  });

  test('B18: REFUSED_STREAM behind a response, or behind an interim one, says nothing about the request', async () => {
    const late = await attack((c, id) => (c.headers(id, [[':status', '200']], false), c.rst(id, ErrorCode.REFUSED_STREAM)));
    await late.evil.untilOver();
    expect(late.evil.failure?.unseen).toBe(false);
    const interim = await attack((c, id) => (c.headers(id, [[':status', '103']], false), c.rst(id, ErrorCode.REFUSED_STREAM)));
    await interim.evil.untilOver();
    expect(interim.evil.failure?.unseen).toBe(false);
  });

  test('B17: RST_STREAM midway: a failure, never a short body that looks complete', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'half');
      c.rst(id, ErrorCode.NO_ERROR);
    });
    await a.evil.untilOver();
    expect([a.evil.body.toString(), a.evil.trailers]).toEqual(['half', undefined]);
    expect(a.evil.failure).toMatchObject({ reason: 'backend_reset', unseen: false });
  });

  test.each([
    ['4', 'half', ErrorCode.NO_ERROR, null],
    ['0', '', ErrorCode.NO_ERROR, null],
    ['4', 'half', ErrorCode.CANCEL, 'backend_reset'],
    ['4', 'half', ErrorCode.INTERNAL_ERROR, 'backend_reset'],
    ['5', 'half', ErrorCode.NO_ERROR, 'backend_reset'],
  ])(
    'B17: RST_STREAM in the place of END_STREAM, content-length %s and %j, code %d: Node ends so when the window ends with the body',
    async (length, body, code, reason) => {
      const a = await attack((c, id) => {
        c.headers(id, [[':status', '200'], ['content-length', length]], false); // prettier-ignore
        if (body !== '') c.data(id, body);
        c.rst(id, code);
      });
      await a.evil.untilOver();
      expect([a.evil.status, a.evil.body.toString(), a.evil.failure?.reason ?? null]).toEqual([200, body, reason]);
      expect([a.evil.ends, a.evil.late, a.c.errors]).toEqual([1, 0, []]);
      expect((await a.c.fetch()).status).toBe(200);
      expect(a.c.session.active).toBe(0);
      expect(a.server.requests[0]?.reset ?? null).toBe(null);
    },
  );

  test('the connection ends midway: the same, and before any response it may have been seen', async () => {
    const half = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'half');
      c.socket.end();
    });
    await half.evil.untilOver();
    expect(half.evil.failure).toMatchObject({ reason: 'backend_closed', unseen: false });
    const none = await attack((c) => c.socket.destroy());
    await none.evil.untilOver();
    expect(none.evil.failure).toMatchObject({ reason: 'backend_closed', unseen: false });
  });

  test('B17: an early response and RST_STREAM NO_ERROR is a success (s8.1)', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '413']], false);
      c.data(id, 'too much', true);
      c.rst(id, ErrorCode.NO_ERROR);
    }, null);
    const piece = Buffer.alloc(16_384);
    a.evil.stream?.write(piece, 0, piece.length);
    await a.evil.untilOver();
    expect([a.evil.status, a.evil.body.toString(), a.evil.failure]).toEqual([413, 'too much', null]);
    a.evil.stream?.write(piece, 0, piece.length);
    a.evil.stream?.end(null);
    expect((await a.c.fetch()).status).toBe(200);
    expect([a.evil.ends, a.evil.late, a.c.errors]).toEqual([1, 0, []]);
    // We say the same from our side: the rest of the request will not come.
    expect(a.server.requests[0]?.reset).toBe(ErrorCode.NO_ERROR);
  });

  /** The first are those that a connection begins with. */
  const questions = (peer: H2Peer): number => peer.frames.filter((f) => f.type === SETTINGS && (f.flags & Flag.ACK) === 0).length;

  test('many streams are cancelled: they count until the backend has confirmed', async () => {
    const server = await serve({ mute: true, settings: [Setting.MAX_CONCURRENT_STREAMS, 10], onRequest: () => true });
    const clock = new ManualClock();
    const c = await client(server, {}, clock);
    const peer = server.connections[0] as H2Peer;
    times(10, () => c.send().stream?.cancel());
    expect([c.session.active, c.session.capacity]).toEqual([0, 0]);
    // One PING behind all resets of the turn: its answer confirms them all.
    const ping = await peer.untilFrame((f) => f.type === PING);
    expect(peer.frames.filter((f) => f.type === RST_STREAM)).toHaveLength(10);
    peer.ping(true, ping.payload);
    await c.until(() => c.session.capacity === 10);
    expect(questions(peer)).toBe(1);
    const cancelAll = async (): Promise<void> => {
      const resets = peer.frames.filter((f) => f.type === RST_STREAM).length;
      times(10, () => c.send().stream?.cancel());
      expect(c.session.capacity).toBe(0);
      await peer.until(() => peer.frames.filter((f) => f.type === RST_STREAM).length === resets + 10);
    };
    // Without traffic in between there is no second PING so soon: SETTINGS ask, and the peer acknowledges in order.
    await cancelAll();
    await peer.until(() => questions(peer) === 2);
    peer.frame(SETTINGS, Flag.ACK, 0);
    peer.ping(false, Buffer.alloc(8));
    await peer.untilFrame((f) => f.type === PING && (f.flags & Flag.ACK) !== 0);
    expect(c.session.capacity).toBe(0);
    peer.frame(SETTINGS, Flag.ACK, 0);
    await c.until(() => c.session.capacity === 10);
    // Nor these at once: a tenth of a second later.
    await cancelAll();
    clock.advance(99);
    expect(questions(peer)).toBe(2);
    clock.advance(60);
    await peer.until(() => questions(peer) === 3);
    expect(c.session.capacity).toBe(0);
    // Who does not answer is not asked again: time confirms.
    clock.advance(6000);
    expect(c.session.capacity).toBe(10);
    await cancelAll();
    clock.advance(6000);
    expect([c.session.capacity, questions(peer)]).toEqual([10, 3]);
    expect(peer.frames.filter((f) => f.type === PING && (f.flags & Flag.ACK) === 0)).toHaveLength(1);
  });

  test('resets while others are asked about wait for the next question', async () => {
    const server = await serve({ mute: true, settings: [Setting.MAX_CONCURRENT_STREAMS, 4], onRequest: () => true });
    const clock = new ManualClock();
    const c = await client(server, { keepAliveMs: 0 }, clock);
    const peer = server.connections[0] as H2Peer;
    peer.frame(SETTINGS, Flag.ACK, 0);
    times(2, () => c.send().stream?.cancel());
    await peer.until(() => questions(peer) === 2);
    times(2, () => c.send().stream?.cancel());
    await peer.until(() => peer.frames.filter((f) => f.type === RST_STREAM).length === 4);
    expect(c.session.capacity).toBe(0);
    peer.frame(SETTINGS, Flag.ACK, 0);
    await c.until(() => c.session.capacity === 2);
    clock.advance(160);
    await peer.until(() => questions(peer) === 3);
    peer.frame(SETTINGS, Flag.ACK, 0);
    await c.until(() => c.session.capacity === 4);
  });

  test('the answer to a question from before the resets confirms nothing', async () => {
    const server = await serve({ mute: true, settings: [Setting.MAX_CONCURRENT_STREAMS, 4], onRequest: (r) => r.path === '/held' });
    const clock = new ManualClock();
    const c = await client(server, { keepAliveMs: 0 }, clock);
    const peer = server.connections[0] as H2Peer;
    peer.frame(SETTINGS, Flag.ACK, 0);
    c.send({ path: '/held' }).stream?.cancel();
    await peer.until(() => questions(peer) === 2);
    await c.fetch();
    expect(c.session.capacity).toBe(4);
    c.send({ path: '/held' }).stream?.cancel();
    // The answer, and one that nobody has asked for.
    times(2, () => peer.frame(SETTINGS, Flag.ACK, 0));
    peer.ping(false, Buffer.alloc(8));
    await peer.untilFrame((f) => f.type === PING && (f.flags & Flag.ACK) !== 0);
    expect([c.session.capacity, c.errors]).toEqual([3, []]);
  });

  test('the answer to a later stream confirms resets too', async () => {
    const server = await serve({ mute: true, settings: [Setting.MAX_CONCURRENT_STREAMS, 2], onRequest: (r) => r.path === '/held' });
    const c = await client(server, { keepAliveMs: 0 });
    c.send({ path: '/held' }).stream?.cancel();
    expect(c.session.capacity).toBe(1);
    await c.fetch();
    expect(c.session.capacity).toBe(2);
  });
});

describe('M14: malformed responses are failures of their stream', () => {
  const ok: Rows = [[':status', '200']];
  test.each<[string, Act]>([
    [':status 99', (c, id) => c.headers(id, [[':status', '99']], false)],
    [':status 099', (c, id) => c.headers(id, [[':status', '099']], false)],
    [':status 600', (c, id) => c.headers(id, [[':status', '600']], false)],
    [':status 2000', (c, id) => c.headers(id, [[':status', '2000']], false)],
    [':status +20', (c, id) => c.headers(id, [[':status', '+20']], false)],
    [':status 2e1', (c, id) => c.headers(id, [[':status', '2e1']], false)],
    [':status empty', (c, id) => c.headers(id, [[':status', '']], false)],
    ['no :status', (c, id) => c.headers(id, [['x', 'y']], false)],
    ['an empty block', (c, id) => c.frame(HEADERS, Flag.END_HEADERS, id)],
    ['two :status', (c, id) => c.headers(id, [...ok, ...ok], false)],
    ['a request’s pseudo-field', (c, id) => c.headers(id, [...ok, [':path', '/']], false)],
    ['an unknown pseudo-field', (c, id) => c.headers(id, [...ok, [':x', '/']], false)],
    [':status behind a field', (c, id) => c.headers(id, [['x', 'y'], ...ok], false)],
    ['101', (c, id) => c.headers(id, [[':status', '101']], false)],
    ['END_STREAM on 103', (c, id) => c.headers(id, [[':status', '103']], true)],
    ['more interim responses than are bearable', (c, id) => times(40, () => c.headers(id, [[':status', '103']], false))],
    [
      'interim responses that are larger together than a header list may be',
      (c, id) =>
        times(3, () =>
          c.headers(
            id,
            [
              [':status', '103'],
              ['link', 'l'.repeat(30_000)],
            ],
            false,
          ),
        ),
    ],
    ['DATA before HEADERS', (c, id) => c.data(id, 'x')],
    ['DATA behind an interim response', (c, id) => (c.headers(id, [[':status', '103']], false), c.data(id, 'x'))],
    ['END_STREAM on DATA without HEADERS', (c, id) => c.data(id, '', true)],
    ['a second HEADERS without END_STREAM', (c, id) => (c.headers(id, ok, false), c.headers(id, [['x', 'y']], false))],
    ['a second response', (c, id) => (c.headers(id, ok, false), c.headers(id, ok, false))],
    ['a pseudo-field in trailers', (c, id) => (c.headers(id, ok, false), c.headers(id, ok, true))],
    ['connection in trailers', (c, id) => (c.headers(id, ok, false), c.headers(id, [['connection', 'x']], true))],
    ['a value with LF in trailers', (c, id) => (c.headers(id, ok, false), c.headers(id, [['x', 'a\nb']], true))],
    ['content-length 5, body 0, on HEADERS', (c, id) => c.headers(id, [...ok, ['content-length', '5']], true)],
    ['content-length 5, body 4', (c, id) => (c.headers(id, [...ok, ['content-length', '5']], false), c.data(id, '1234', true))],
    [
      'content-length 5, body 4, trailers',
      (c, id) => (c.headers(id, [...ok, ['content-length', '5']], false), c.data(id, '1234'), c.headers(id, [['x', 'y']], true)),
    ],
    ['content-length 5, body 6', (c, id) => (c.headers(id, [...ok, ['content-length', '5']], false), c.data(id, '123456', true))],
    ['content-length 0, body 1', (c, id) => (c.headers(id, [...ok, ['content-length', '0']], false), c.data(id, '1', true))],
    ['content-length twice, equal', (c, id) => c.headers(id, [...ok, ['content-length', '5'], ['content-length', '5']], false)],
    ['content-length 5, 5', (c, id) => c.headers(id, [...ok, ['content-length', '5, 5']], false)],
    ['content-length +5', (c, id) => c.headers(id, [...ok, ['content-length', '+5']], false)],
    ['content-length -1', (c, id) => c.headers(id, [...ok, ['content-length', '-1']], false)],
    ['content-length 0x5', (c, id) => c.headers(id, [...ok, ['content-length', '0x5']], false)],
    ['content-length empty', (c, id) => c.headers(id, [...ok, ['content-length', '']], false)],
    ['content-length 2^53', (c, id) => c.headers(id, [...ok, ['content-length', '9007199254740992']], false)],
    ['204 with a body', (c, id) => (c.headers(id, [[':status', '204']], false), c.data(id, 'x', true))],
    [
      '204 with a content-length',
      (c, id) =>
        c.headers(
          id,
          [
            [':status', '204'],
            ['content-length', '1'],
          ],
          false,
        ),
    ],
    ['304 with a body', (c, id) => (c.headers(id, [[':status', '304']], false), c.data(id, 'x', true))],
    ['connection', (c, id) => c.headers(id, [...ok, ['connection', 'close']], false)],
    ['keep-alive', (c, id) => c.headers(id, [...ok, ['keep-alive', '1']], false)],
    ['proxy-connection', (c, id) => c.headers(id, [...ok, ['proxy-connection', 'close']], false)],
    ['transfer-encoding', (c, id) => c.headers(id, [...ok, ['transfer-encoding', 'chunked']], false)],
    ['upgrade', (c, id) => c.headers(id, [...ok, ['upgrade', 'h3']], false)],
    ['te', (c, id) => c.headers(id, [...ok, ['te', 'trailers']], false)],
    ['an upper-case name', (c, id) => c.headers(id, [...ok, ['X-Upper', 'v']], false)],
    ['an empty name (CVE-2023-25725)', (c, id) => c.headers(id, [...ok, ['', 'v']], false)],
    ['a name with a space', (c, id) => c.headers(id, [...ok, ['x y', 'v']], false)],
    ['a name with CR LF', (c, id) => c.headers(id, [...ok, ['x\r\ny', 'v']], false)],
    ['a value with CR', (c, id) => c.headers(id, [...ok, ['x', 'a\rb']], false)],
    ['a value with NUL', (c, id) => c.headers(id, [...ok, ['x', 'a\0b']], false)],
    ['a value with a control character (RFC 9114 s10.3)', (c, id) => c.headers(id, [...ok, ['x', 'a\x01b']], false)],
    ['a value with DEL', (c, id) => c.headers(id, [...ok, ['x', 'a\x7f']], false)],
    ['a value with a leading space', (c, id) => c.headers(id, [...ok, ['x', ' a']], false)],
    ['a value with a trailing tab', (c, id) => c.headers(id, [...ok, ['x', 'a\t']], false)],
  ])('%s', async (_name, act) => {
    // The request stays open, so that the reset always shows.
    const a = await attack(act, null);
    const honest = a.c.send({ path: '/bytes/100000' });
    await a.evil.untilOver();
    expect(a.evil.failure).toMatchObject({ reason: 'malformed_response', unseen: false });
    expect([a.evil.ends, a.evil.late]).toEqual([1, 0]);
    expect(a.evil.informs.length).toBeLessThanOrEqual(32);
    expect((await honest.untilOver()).bytes).toBe(100_000);
    expect(a.c.errors).toEqual([['stream', 'PROTOCOL_ERROR', expect.any(String)]]);
    const request = a.server.requests.find((r) => r.path === '/evil');
    await request?.untilReset();
    expect(errorName(request?.reset ?? -1)).toBe('PROTOCOL_ERROR');
    expect(a.c.closed).toBe(0);
  });

  test('10,000 interim responses that do not heed our RST_STREAM are a flood', async () => {
    const a = await attack((c, id) => times(10_000, () => c.headers(id, [[':status', '103']], false)));
    await a.evil.untilOver();
    expect([a.evil.failure?.reason, a.evil.informs.length]).toEqual(['malformed_response', 32]);
    await a.c.untilClosed();
    await a.peer.untilClosed();
    expect(errorName(a.peer.goaway?.code ?? -1)).toBe('ENHANCE_YOUR_CALM');
    expect((await neighbour.fetch()).status).toBe(200);
  });

  test('a body in answer to HEAD', async () => {
    const server = await serve({
      onRequest: (r) => {
        r.respond(200, [['content-length', '4']]);
        r.connection.data(r.id, 'body', true);
        return true;
      },
    });
    const c = await client(server);
    const r = await c.fetch({ method: 'HEAD' });
    expect(r.failure?.reason).toBe('malformed_response');
    expect(r.bytes).toBe(0);
  });

  test('what looks odd and is not: empty DATA on HEAD, 204 with content-length 0, content-length on 304, names of the language', async () => {
    const server = await serve({
      onRequest: (r) => {
        if (r.method === 'HEAD') {
          r.respond(200, [['content-length', '4']]);
          r.connection.data(r.id, '', true);
        } else if (r.path === '/204') r.respond(204, [['content-length', '0']], true);
        else if (r.path === '/304') r.respond(304, [['content-length', '10']], true);
        else
          r.respond(
            200,
            [
              ['__proto__', '1'],
              ['constructor', '2'],
              ['hasownproperty', '3'],
            ],
            true,
          );
        return true;
      },
    });
    const c = await client(server);
    for (const request of [{ method: 'HEAD' }, { path: '/204' }, { path: '/304' }]) expect((await c.fetch(request)).failure).toBeNull();
    expect((await c.fetch()).fields).toEqual([
      ['__proto__', '1'],
      ['constructor', '2'],
      ['hasownproperty', '3'],
    ]);
  });

  test('B20: trailers that end a stream which is cancelled within the callback (CVE-2026-73513)', async () => {
    const a = await attack((c, id) => {
      c.headers(id, [[':status', '200']], false);
      c.data(id, 'x');
      c.headers(id, [['x', 'y']], true);
    });
    a.evil.onBody = () => a.evil.stream?.cancel();
    expect((await a.c.fetch()).body.toString()).toBe('hello');
    expect([a.evil.ends, a.evil.bytes, a.c.errors]).toEqual([0, 1, []]);
  });
});

describe('M15: the frame writer is the only producer of bytes', () => {
  test('bodies full of frames and prefaces arrive as bodies', async () => {
    const { server, c } = await harmless(() => undefined);
    const smuggled = Buffer.concat([
      Buffer.from('000004080000000000 00000000'.replaceAll(' ', ''), 'hex'),
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      Buffer.from('0000050105000000ff8287848641', 'hex'),
      Buffer.from('HTTP/1.1 200 OK\r\n\r\n'),
    ]);
    const body = Buffer.concat(Array.from({ length: 500 }, () => smuggled));
    const r = await c.fetch({ body });
    expect(r.body.equals(body)).toBe(true);
    const peer = server.connections[0] as H2Peer;
    expect(new Set(peer.frames.map((f) => f.type))).toEqual(new Set([SETTINGS, WINDOW_UPDATE, HEADERS, DATA]));
    expect(server.requests.map((q) => q.path)).toEqual(['/evil', '/', '/']);
  });

  test('fields cannot leave their string', async () => {
    const { server, c } = await harmless(() => undefined);
    await c.fetch({ path: '/a\r\nx: y', fields: [['x-evil', 'a\r\n\r\n0\u0000\u010a']] });
    const request = server.requests.at(-1);
    expect([request?.path, request?.field('x-evil')]).toEqual(['/a\r\nx: y', 'a\r\n\r\n0\u0000?']);
  });
});

describe('a backend that speaks something else', () => {
  test.each(['HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n', 'HTTP/1.0 200 OK\r\n\r\n', 'HTTP/1.'])(
    '%j: backend_not_http2',
    async (text) => {
      const server = createServer((s) => {
        s.on('error', () => undefined).resume();
        for (const c of text) s.write(c);
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const c = await TestClient.connect((server.address() as AddressInfo).port);
      clients.push(c);
      await c.untilClosed();
      expect([c.ready, c.failure?.reason, c.failure?.unseen]).toEqual([0, 'backend_not_http2', false]);
      await new Promise((resolve) => server.close(resolve));
    },
  );

  test('SSH: backend_protocol_error', async () => {
    const server = await serve({ onConnection: (c) => (c.send(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')), true) });
    const c = await client(server);
    await c.untilClosed();
    expect(c.failure?.reason).toBe('backend_protocol_error');
  });

  test('closed before SETTINGS: backend_closed', async () => {
    const server = await serve({ onConnection: (c) => (c.socket.destroy(), true) });
    const c = await client(server);
    await c.untilClosed();
    expect([c.ready, c.failure?.reason]).toEqual([0, 'backend_closed']);
  });
});

describe('a stalled backend', () => {
  const options = { keepAliveMs: 10_000, keepAliveTimeoutMs: 2000 };
  const pings = (peer: H2Peer): number => peer.frames.filter((f) => f.type === PING && (f.flags & Flag.ACK) === 0).length;

  async function stalled(mute: boolean) {
    const clock = new ManualClock();
    const server = await serve({ onRequest: () => true, mute });
    const c = await client(server, options, clock);
    const r = c.send();
    const peer = server.connections[0] as H2Peer;
    await peer.until(() => server.requests.length === 1);
    return { clock, server, c, r, peer };
  }

  test('B21: no answer to PING: the connection ends, its streams fail with backend_closed', async () => {
    const { clock, c, r, peer } = await stalled(true);
    times(22, () => clock.advance(1000));
    await peer.until(() => pings(peer) === 1);
    times(5, () => clock.advance(1000));
    expect([r.failure?.reason, r.failure?.unseen, c.closed]).toEqual(['backend_closed', false, 1]);
  });

  /** Everything that either side has written has been read by the other. */
  async function settled(c: TestClient, peer: H2Peer): Promise<void> {
    const a = c.socket;
    const b = peer.socket;
    for (let i = 0; i < 10_000; i++) {
      await new Promise(setImmediate);
      if (i > 2 && a.bytesWritten === b.bytesRead && b.bytesWritten === a.bytesRead) return;
    }
    throw new Error('bytes were lost');
  }

  test('an answer keeps it open, and PINGs without traffic stay minutes apart', async () => {
    const { clock, c, r, peer } = await stalled(false);
    // Ten minutes of silence: servers of gRPC would end a connection with a PING every ten seconds.
    for (let i = 0; i < 600; i++) {
      clock.advance(1000);
      await settled(c, peer);
    }
    expect([r.ends, c.closed]).toEqual([0, 0]);
    expect(pings(peer)).toBeGreaterThanOrEqual(2);
    expect(pings(peer)).toBeLessThanOrEqual(3);
  });

  test('a connection that was silent for long is asked with the first request', async () => {
    const clock = new ManualClock();
    const server = await serve({});
    const c = await client(server, options, clock);
    await c.fetch();
    clock.advance(60_000);
    await c.fetch();
    await server.connections[0]?.untilFrame((f) => f.type === PING);
  });

  test('keepAliveMs 0: never', async () => {
    const clock = new ManualClock();
    const server = await serve({ onRequest: () => true, mute: true });
    const c = await client(server, { keepAliveMs: 0 }, clock);
    const r = c.send();
    times(100, () => clock.advance(10_000));
    expect([r.ends, c.closed]).toEqual([0, 0]);
  });

  test('B9: a backend that reads nothing: what waits is bounded, and GOAWAY does not keep the socket', async () => {
    const clock = new ManualClock();
    const server = await serve({ onConnection: (c) => void c.socket.pause(), settings: [Setting.INITIAL_WINDOW_SIZE, 0x7fffffff] });
    const c = await client(server, {}, clock);
    server.connections[0]?.windowUpdate(0, 0x7fff0000);
    const streams = Array.from({ length: 20 }, () => c.send({ body: null }));
    const piece = Buffer.alloc(65_536);
    let total = 0;
    for (const r of streams) {
      for (let i = 0; i < 1000 && r.stream?.write(piece, 0, piece.length) === true; i++) total += piece.length;
    }
    // The kernel takes some megabytes; beyond that 64 KiB a stream and a flush.
    expect(total).toBeLessThan(40 << 20);
    c.session.destroy();
    expect(streams.every((r) => r.ends === 1)).toBe(true);
  });
});

describe('exceptions of ours', () => {
  test.each(['onHead', 'onBody'] as const)(
    'thrown in %s: counted, the connection closes, every stream ends once, other connections go on',
    async (where) => {
      const server = await serve({});
      const c = await client(server);
      const bad = c.send({ path: '/bytes/10' });
      const other = c.send({ path: '/bytes/10' });
      bad[where] = () => {
        throw new Error('ours');
      };
      await c.untilClosed();
      expect(c.internal.splice(0)).toEqual([['h2_receive', new Error('ours')]]);
      expect([bad.ends, other.ends, other.failure?.reason]).toEqual([1, 1, 'internal']);
      expect((await neighbour.fetch()).status).toBe(200);
    },
  );
});
