/** The client against the HTTP/2 server of Node, which others wrote. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { createServer, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { ErrorCode, FrameType, Setting } from '../../../../src/edge/http/h2/codes.ts';
import type { SessionOptions } from '../../../../src/edge/http/h2/options.ts';
import { TestClient, type Recorder } from '../../../kit/h2client.ts';
import { startH2Server, type H2Peer, type H2Request, type H2ServerOptions } from '../../../kit/h2server.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

type Serve = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void;

async function start(
  serve: Serve,
  settings: Parameters<typeof createServer>[0] = {},
  options: Partial<SessionOptions> = {},
): Promise<{ client: TestClient; server: Http2Server }> {
  const server = createServer(settings);
  server.on('stream', serve);
  server.on('sessionError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = await TestClient.connect((server.address() as AddressInfo).port, options);
  closers.push(() => {
    client.end();
    server.close();
  });
  await client.untilReady();
  return { client, server };
}

const echo: Serve = (stream, headers) => {
  stream.respond({ ':status': 200, 'x-method': String(headers[':method']), 'x-path': String(headers[':path']) });
  stream.pipe(stream);
};

test('GET: status, fields and body', async () => {
  const { client } = await start((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'text/plain', 'content-length': 5 });
    stream.end('hello');
  });
  const r = await client.fetch();
  expect(r.status).toBe(200);
  expect(r.fields).toEqual(expect.arrayContaining([['content-type', 'text/plain']]));
  expect(r.body.toString()).toBe('hello');
  expect([r.trailers, r.failure, r.ends]).toEqual([null, null, 1]);
  expect(client.session.active).toBe(0);
  expect(client.session.idleSince).toBeGreaterThan(0);
});

test('what is opened waits for the end of the turn, and the session says so', async () => {
  const { client } = await start((stream) => stream.respond({ ':status': 204 }, { endStream: true }));
  const answer = client.fetch();
  expect(client.session.writing).toBe(true);
  await answer;
  // The preface's own answers may still be on their way: a turn later they are not.
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect(client.session.writing).toBe(false);
});

test('what takes the place of a request that is answered leaves at once', async () => {
  const one = { settings: { maxConcurrentStreams: 1 } };
  const { client } = await start((stream) => stream.respond({ ':status': 204 }, { endStream: true }), one);
  const first = client.send();
  const opened: { next: Recorder | null; waits: boolean | null } = { next: null, waits: null };
  client.onRoom = () => {
    client.onRoom = null;
    opened.next = client.send();
    // What was read has been dealt with then, and the turn may go on for long.
    process.nextTick(() => {
      opened.waits = client.session.writing;
    });
  };
  await first.untilOver();
  expect((await opened.next?.untilOver())?.status).toBe(204);
  expect(opened.waits).toBe(false);
});

test('POST: what goes up comes down, with the fields as given', async () => {
  let seen: IncomingHttpHeaders = {};
  const { client } = await start((stream, headers) => {
    seen = headers;
    echo(stream, headers);
  });
  const r = await client.fetch({
    body: 'ping',
    path: '/a?b=c',
    fields: [
      ['x-one', '1'],
      ['cookie', 'a=b'],
      ['te', 'trailers'],
    ],
  });
  expect(r.body.toString()).toBe('ping');
  expect(r.fields).toEqual(
    expect.arrayContaining([
      ['x-method', 'POST'],
      ['x-path', '/a?b=c'],
    ]),
  );
  expect([seen['x-one'], seen['cookie'], seen['te'], seen[':authority']]).toEqual(['1', 'a=b', 'trailers', 'test.example']);
});

test('HEAD, 204 and 304 without bodies, content-length on HEAD and 304 kept', async () => {
  const { client } = await start((stream, headers) => {
    if (headers[':method'] === 'HEAD') stream.respond({ ':status': 200, 'content-length': 1234 }, { endStream: true });
    else if (headers[':path'] === '/304') stream.respond({ ':status': 304, 'content-length': 99 }, { endStream: true });
    else stream.respond({ ':status': 204 }, { endStream: true });
  });
  const head = await client.fetch({ method: 'HEAD' });
  expect([head.status, head.failure, head.fields.find(([n]) => n === 'content-length')?.[1]]).toEqual([200, null, '1234']);
  const notModified = await client.fetch({ path: '/304' });
  expect([notModified.status, notModified.failure]).toEqual([304, null]);
  const none = await client.fetch({ path: '/204' });
  expect([none.status, none.failure, none.bytes]).toEqual([204, null, 0]);
});

test('trailers in both directions', async () => {
  const { client } = await start((stream) => {
    let got: IncomingHttpHeaders = {};
    stream.on('trailers', (t: IncomingHttpHeaders) => (got = t));
    stream.resume();
    stream.on('end', () => {
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-seen': String(got['x-up']), 'x-down': '1' }));
      stream.end('body');
    });
  });
  const r = await client.fetch({ body: 'data', trailers: [['x-up', 'yes']] });
  expect(r.body.toString()).toBe('body');
  expect(r.trailers).toEqual([
    ['x-seen', 'yes'],
    ['x-down', '1'],
  ]);
});

test('interim responses come before the final one', async () => {
  const { client } = await start((stream) => {
    stream.additionalHeaders({ ':status': 103, link: '</a.css>; rel=preload' });
    stream.respond({ ':status': 200 });
    stream.end('done');
  });
  const r = await client.fetch();
  expect(r.informs).toEqual([[103, [['link', '</a.css>; rel=preload']]]]);
  expect([r.status, r.body.toString()]).toEqual([200, 'done']);
});

test('100 parallel streams, each with its own bytes', async () => {
  const { client } = await start(echo);
  const bodies = Array.from({ length: 100 }, (_, i) => Buffer.alloc(1000 + i * 37, i));
  const all = await Promise.all(bodies.map((body, i) => client.fetch({ body, path: `/${i}` })));
  for (const [i, r] of all.entries()) {
    expect(r.failure).toBeNull();
    expect(r.body.equals(bodies[i] as Buffer)).toBe(true);
    expect(r.fields).toEqual(expect.arrayContaining([['x-path', `/${i}`]]));
  }
  expect(client.session.active).toBe(0);
});

test('more requests than the backend allows at once: capacity says so, and each end makes room', async () => {
  const held: ServerHttp2Stream[] = [];
  const { client } = await start((stream) => void held.push(stream), { settings: { maxConcurrentStreams: 3 } });
  expect(client.session.capacity).toBe(3);
  const three = [client.send(), client.send(), client.send()];
  expect(client.session.capacity).toBe(0);
  expect(() => client.send()).toThrow('no capacity');
  await client.until(() => held.length === 3 || client.closed > 0 || (setImmediate(() => client.onCapacity()), false));
  held[0]?.respond({ ':status': 200 }, { endStream: true });
  await Promise.race(three.map((r) => r.untilOver()));
  expect(client.session.capacity).toBe(1);
});

describe('flow control', () => {
  test('1 MiB up and down through windows of 65,535', async () => {
    const { client } = await start(echo);
    const body = Buffer.alloc(1 << 20);
    for (let i = 0; i < body.length; i++) body[i] = (i * 31) & 0xff;
    const r = await client.fetch({ body });
    expect(r.failure).toBeNull();
    expect(createHash('sha256').update(r.body).digest('hex')).toBe(createHash('sha256').update(body).digest('hex'));
  });

  test('20 MiB down: both our windows are given back', async () => {
    const { client } = await start((stream) => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(20 << 20, 'z'));
    });
    const r = await client.fetch();
    expect([r.failure, r.bytes]).toEqual([null, 20 << 20]);
  });

  test('a paused response stops within its window, and others go on', async () => {
    let sent = 0;
    const { client } = await start((stream, headers) => {
      stream.respond({ ':status': 200 });
      if (headers[':path'] === '/small') return void stream.end('small');
      const piece = Buffer.alloc(64 * 1024, 'y');
      const more = (): void => {
        while (sent < 16 << 20) {
          sent += piece.length;
          if (!stream.write(piece)) return void stream.once('drain', more);
        }
        stream.end();
      };
      more();
    });
    const big = client.send({ path: '/big' });
    big.onHead = () => big.stream?.pause();
    await big.until(() => big.bytes >= 256 * 1024);
    for (let i = 0; i < 20; i++) expect((await client.fetch({ path: '/small' })).body.toString()).toBe('small');
    expect(big.bytes).toBe(256 * 1024);
    big.stream?.resume();
    await big.untilOver();
    expect([big.failure, big.bytes]).toEqual([null, 16 << 20]);
  });

  test('a backend that does not read: write says no, and says when to go on', async () => {
    let reader: ServerHttp2Stream | null = null;
    const { client } = await start((stream) => {
      reader = stream;
      stream.respond({ ':status': 200 });
      stream.pause();
    });
    const r = client.send({ body: null });
    const piece = Buffer.alloc(16 * 1024, 'w');
    let written = 0;
    let wrote = true;
    for (let i = 0; i < 1000 && wrote; i++) {
      wrote = r.stream?.write(piece, 0, piece.length) ?? false;
      written += piece.length;
    }
    expect(wrote).toBe(false);
    // The window and what is held beyond it, no more.
    expect(written).toBeLessThanOrEqual(65_535 + 64 * 1024 + piece.length);
    expect(r.writable).toBe(0);
    await r.until(() => r.status === 200);
    let total = 0;
    (reader as ServerHttp2Stream | null)?.on('data', (b: Buffer) => (total += b.length)).resume();
    await r.until(() => r.writable > 0);
    r.stream?.end(null);
    await new Promise<void>((resolve) => (reader as ServerHttp2Stream | null)?.on('end', resolve));
    expect(total).toBe(written);
    (reader as ServerHttp2Stream | null)?.end();
    await r.untilOver();
    expect(r.failure).toBeNull();
  });
});

describe('pieces of a body that are written in one turn', () => {
  async function mute(): Promise<{ client: TestClient; peer: H2Peer }> {
    const server = await startH2Server({ mute: true });
    const client = await TestClient.connect(server.port);
    closers.push(() => {
      client.end();
      void server.close();
    });
    await client.untilReady();
    return { client, peer: server.connections[0] as H2Peer };
  }

  const sizes = (peer: H2Peer, id: number): number[] =>
    peer.frames.filter((f) => f.type === FrameType.DATA && f.id === id).map((f) => f.payload.length);

  test('share frames: 40,000 single bytes are three, the last one with the end', async () => {
    const { client, peer } = await mute();
    const r = client.send({ body: null });
    const body = Buffer.from(Array.from({ length: 40_000 }, (_, i) => i % 251));
    for (let i = 0; i < body.length; i++) r.stream?.write(body, i, i + 1);
    r.stream?.end(null);
    await peer.until(() => peer.requests.get(1)?.ended === true);
    expect(sizes(peer, 1)).toEqual([16_384, 16_384, 7232]);
    expect(peer.requests.get(1)?.body.equals(body)).toBe(true);
  });

  test('keep to their streams, to both windows, and to what has left', async () => {
    const { client, peer } = await mute();
    const [a, b] = [client.send({ body: null }), client.send({ body: null })];
    const piece = Buffer.from('0123456789');
    const write = (r: Recorder, n: number): void => {
      for (let i = 0; i < n; i++) r.stream?.write(piece, 0, piece.length);
    };
    write(a, 2);
    write(b, 3);
    write(a, 4);
    await peer.until(() => (peer.requests.get(1)?.body.length ?? 0) === 60);
    // What is on its way cannot grow.
    write(a, 1);
    await peer.until(() => (peer.requests.get(1)?.body.length ?? 0) === 70);
    expect([sizes(peer, 1), sizes(peer, 3)]).toEqual([[20, 40, 10], [30]]);
    // 65,535 on the connection, of which a hundred are gone.
    write(b, 7000);
    await peer.until(() => (peer.requests.get(3)?.body.length ?? 0) === 65_535 - 70);
    peer.windowUpdate(0, 100_000);
    await peer.until(() => (peer.requests.get(3)?.body.length ?? 0) === 65_535);
    peer.windowUpdate(3, 100_000);
    b.stream?.end(null);
    await peer.until(() => peer.requests.get(3)?.ended === true);
    expect(peer.requests.get(3)?.body.toString()).toBe('0123456789'.repeat(7003));
    expect(sizes(peer, 3).length).toBeLessThan(10);
  });

  test('share no frame across a reset, trailers or a frame of another kind', async () => {
    const { client, peer } = await mute();
    const [a, b] = [client.send({ body: null }), client.send({ body: null })];
    a.stream?.write(Buffer.from('abc'), 0, 3);
    client.session.writer.ourPing();
    a.stream?.write(Buffer.from('def'), 0, 3);
    a.stream?.end(null);
    b.stream?.write(Buffer.from('ghi'), 0, 3);
    b.stream?.cancel();
    b.stream?.write(Buffer.from('jkl'), 0, 3);
    await peer.until(() => peer.requests.get(3)?.reset === ErrorCode.CANCEL && peer.requests.get(1)?.ended === true);
    expect([sizes(peer, 1), sizes(peer, 3)]).toEqual([[3, 3], [3]]);
    expect(peer.requests.get(1)?.body.toString()).toBe('abcdef');
  });
});

test('a socket that stalls: every byte arrives in order once it moves again, other streams in between', async () => {
  const server = await startH2Server({ settings: [Setting.INITIAL_WINDOW_SIZE, 0x7fffffff] });
  const client = await TestClient.connect(server.port);
  closers.push(() => {
    client.end();
    void server.close();
  });
  await client.untilReady();
  const peer = server.connections[0] as H2Peer;
  peer.windowUpdate(0, 0x7fff0000);
  // Behind it, the connection's window is known to be large.
  await client.fetch();
  peer.socket.pause();
  const bodies = [1, 2, 3].map((seed) => {
    const body = Buffer.alloc(4 << 20);
    for (let i = 0; i < body.length; i++) body[i] = (i * seed + (i >> 9)) & 0xff;
    return body;
  });
  const all = bodies.map(() => client.send({ body: null }));
  for (let at = 0; at < 4 << 20; at += 60_000) {
    for (const [i, r] of all.entries()) r.stream?.write(bodies[i] as Buffer, at, Math.min(4 << 20, at + 60_000));
    if (at % 600_000 === 0) await new Promise(setImmediate);
  }
  for (const r of all) r.stream?.end(null);
  expect(client.socket.writableLength).toBeGreaterThan(0);
  peer.socket.resume();
  for (const [i, r] of all.entries()) {
    await r.untilOver();
    expect([r.failure, r.body.equals(bodies[i] as Buffer)]).toEqual([null, true]);
  }
});

test('cancel: the backend sees CANCEL, the handler hears nothing more', async () => {
  const { client } = await start((stream) => {
    stream.on('error', () => undefined);
    stream.on('aborted', () => codes.push(stream.rstCode));
    stream.on('close', () => client.onCapacity());
    stream.respond({ ':status': 200 });
    stream.write('first');
  });
  const codes: number[] = [];
  const r = client.send();
  await r.until(() => r.bytes > 0);
  r.stream?.cancel();
  r.stream?.cancel();
  r.stream?.write(Buffer.from('x'), 0, 1);
  r.stream?.end(null);
  await client.until(() => codes.length > 0);
  expect(codes).toEqual([8]);
  expect([r.ends, r.late]).toEqual([0, 0]);
  expect((await client.fetch({ method: 'HEAD' })).status).toBe(200);
});

test('requests of over 16 KiB of fields go out in CONTINUATIONs', async () => {
  const { client } = await start(
    (stream, headers) => {
      stream.respond({ ':status': 200, 'x-length': String(String(headers['x-big']).length) });
      stream.end();
    },
    { maxHeaderListPairs: 1000, settings: { maxHeaderListSize: 200_000 }, maxSendHeaderBlockLength: 200_000 },
  );
  const r = await client.fetch({ fields: [['x-big', '|'.repeat(40_000)]] });
  expect(r.fields).toEqual(expect.arrayContaining([['x-length', '40000']]));
});

describe('heads that a backend repeats', () => {
  const repeats = async (options: H2ServerOptions): Promise<TestClient> => {
    const server = await startH2Server(options);
    const client = await TestClient.connect(server.port);
    closers.push(() => {
      client.end();
      void server.close();
    });
    return client.untilReady();
  };
  const answer = (r: H2Request): true => {
    r.answer(200, 'hello', [['x-a', 'b']]);
    return true;
  };

  test('are known from the third or fourth on, when the table has settled, and say all that the first one said', async () => {
    const client = await repeats({ onRequestEnd: answer });
    const known: number[] = [];
    for (let i = 0; i < 8; i++) {
      const r = await client.fetch();
      expect([r.status, r.body.toString(), r.failure, r.ends]).toEqual([200, 'hello', null, 1]);
      expect(r.fields).toEqual([
        ['x-a', 'b'],
        ['content-length', '5'],
      ]);
      known.push(r.known);
    }
    expect(known.slice(0, 2)).toEqual([0, 0]);
    expect(known.slice(-3)).toEqual([1, 1, 1]);
  });

  test('each stream judges for itself what such a head says of its body', async () => {
    const client = await repeats({
      onRequestEnd: (r) => {
        if (r.path === '/short') {
          r.respond(200, [
            ['x-a', 'b'],
            ['content-length', '5'],
          ]);
          r.write('hell', true);
        } else if (r.path === '/none') {
          r.respond(
            200,
            [
              ['x-a', 'b'],
              ['content-length', '5'],
            ],
            true,
          );
        } else return answer(r);
        return true;
      },
    });
    for (let i = 0; i < 6; i++) await client.fetch();
    const short = await client.fetch({ path: '/short' });
    expect([short.known, short.failure?.reason]).toEqual([1, 'malformed_response']);
    // As an answer to GET it lacks its body, to HEAD it is complete.
    expect((await client.fetch({ path: '/none' })).failure?.detail).toContain('content-length 5, body 0');
    const head = await client.fetch({ path: '/none', method: 'HEAD' });
    expect([head.known, head.failure, head.ends]).toEqual([1, null, 1]);
  });

  test('are no trailers', async () => {
    const client = await repeats({
      onRequestEnd: (r) => {
        if (r.path !== '/twice') return answer(r);
        r.respond(200, [['x-a', 'b']]);
        r.connection.headers(
          r.id,
          [
            [':status', '200'],
            ['x-a', 'b'],
            ['content-length', '5'],
          ],
          true,
        );
        return true;
      },
    });
    for (let i = 0; i < 6; i++) await client.fetch();
    const r = await client.fetch({ path: '/twice' });
    expect([r.failure?.reason, r.failure?.detail, r.ends]).toEqual(['malformed_response', 'a pseudo-field in trailers (s8.1)', 1]);
  });
});

test('shutdown: what runs is finished, then the connection closes; nothing new is taken', async () => {
  let finish = (): void => undefined;
  const { client } = await start((stream) => {
    stream.respond({ ':status': 200 });
    stream.write('a');
    finish = () => void stream.end('b');
  });
  const r = client.send();
  await r.until(() => r.bytes > 0);
  client.session.shutdown();
  expect([client.session.capacity, client.draining]).toEqual([0, 1]);
  expect(() => client.send()).toThrow('no capacity');
  finish();
  await r.untilOver();
  await client.untilClosed();
  expect([r.body.toString(), r.failure, client.failure, client.closed]).toEqual(['ab', null, null, 1]);
});

test('GOAWAY of a server that closes: streams are finished, then it is over', async () => {
  const { client, server } = await start((stream) => {
    stream.session?.goaway();
    stream.respond({ ':status': 200 });
    stream.end('last words');
  });
  expect(server.listening).toBe(true);
  const r = await client.fetch();
  expect(r.body.toString()).toBe('last words');
  await client.untilClosed();
  expect(client.failure).toBeNull();
});

test('destroy: streams fail with the given reason, once', async () => {
  const { client } = await start(() => undefined);
  const r = client.send();
  client.session.destroy({ reason: 'draining', unseen: false, detail: 'x' });
  client.session.destroy();
  expect([r.failure?.reason, r.ends, client.closed]).toEqual(['draining', 1, 1]);
  expect(client.internal).toEqual([]);
});
