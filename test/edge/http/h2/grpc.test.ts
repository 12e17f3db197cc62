/** The shapes that gRPC has on HTTP/2, against node:http2. */
import { afterEach, expect, test } from '@jest/globals';
import { createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { TestClient } from '../../../kit/h2client.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function start(serve: (stream: ServerHttp2Stream) => void): Promise<TestClient> {
  const server = createServer();
  server.on('stream', serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = await TestClient.connect((server.address() as AddressInfo).port);
  closers.push(() => {
    client.end();
    server.close();
  });
  return client.untilReady();
}

const FIELDS = [
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
  ['grpc-timeout', '1S'],
] as const;

const message = (text: string): Buffer => {
  const out = Buffer.alloc(5 + text.length);
  out.writeUInt32BE(text.length, 1);
  out.write(text, 5);
  return out;
};

test('unary: one message up, one down, the status in trailers', async () => {
  const client = await start((stream) => {
    stream.on('data', (b: Buffer) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0', 'grpc-message': '' }));
      stream.end(message(`got ${b.length}`));
    });
  });
  const r = await client.fetch({ path: '/pkg.Service/Unary', fields: FIELDS, body: message('hello') });
  expect(r.failure).toBeNull();
  expect(r.body).toEqual(message('got 10'));
  expect(r.trailers).toEqual([
    ['grpc-status', '0'],
    ['grpc-message', ''],
  ]);
});

test('trailers-only: a head that is the end', async () => {
  const client = await start((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': 12 }, { endStream: true });
  });
  const r = await client.fetch({ fields: FIELDS, body: message('x') });
  expect([r.status, r.failure, r.trailers, r.bytes]).toEqual([200, null, null, 0]);
  expect(r.fields).toEqual(expect.arrayContaining([['grpc-status', '12']]));
});

test('trailers-only while the request is open: the rest of it is dropped, and it is no failure', async () => {
  const client = await start((stream) => {
    stream.on('error', () => undefined);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': 16 }, { endStream: true });
  });
  const r = client.send({ fields: FIELDS, body: null });
  await r.untilOver();
  expect([r.failure, r.ends]).toEqual([null, 1]);
  expect(r.stream?.write(message('late'), 0, 9)).toBe(true);
  expect((await client.fetch({ fields: FIELDS, body: message('x') })).failure).toBeNull();
});

test('bidirectional: each message is answered before the next is sent', async () => {
  const client = await start((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.on('data', (b: Buffer) => void stream.write(b));
    stream.on('end', () => void stream.end());
  });
  const r = client.send({ path: '/pkg.Service/Chat', fields: FIELDS, body: null });
  await r.until(() => r.status === 200);
  expect(r.ends).toBe(0);
  let expected = Buffer.alloc(0);
  for (let i = 0; i < 50; i++) {
    const m = message(`message ${i}`);
    expected = Buffer.concat([expected, m]);
    r.stream?.write(m, 0, m.length);
    await r.until(() => r.bytes === expected.length);
  }
  r.stream?.end(null);
  await r.untilOver();
  expect([r.body.equals(expected), r.trailers, r.failure]).toEqual([true, [['grpc-status', '0']], null]);
});

test('a deadline passes: cancellation reaches the server', async () => {
  let seen = -1;
  const client = await start((stream) => {
    stream.on('error', () => undefined);
    stream.on('close', () => {
      seen = stream.rstCode;
      client.onCapacity();
    });
    stream.respond({ ':status': 200 });
  });
  const r = client.send({ fields: FIELDS, body: null });
  await r.until(() => r.status === 200);
  r.stream?.cancel();
  await client.until(() => seen >= 0);
  expect(seen).toBe(8);
});
