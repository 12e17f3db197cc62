/** gRPC through Spooky: connect-go over quic-go in front, grpc-go's interoperability server behind. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startGrpcServer } from '../kit/backends.ts';
import { quicgo, type DriverClient } from '../kit/clients.ts';
import type { Connection, GrpcCall, GrpcResult } from '../kit/peers.ts';
import { freeUdpPort } from '../kit/process.ts';
import { startSpooky } from '../kit/spooky.ts';
import { certificateFiles, documents, listener, makeAuthority, makeLeaves, upstream } from './world.ts';

const HOST = 'grpc.a.test';
const STATUS = { ok: 0, cancelled: 1, unknown: 2, deadlineExceeded: 4, unimplemented: 12, unavailable: 14 } as const;

let client: DriverClient;
let connection: Connection;

beforeAll(async () => {
  const authority = makeAuthority();
  const server = await startGrpcServer();
  const port = await freeUdpPort();
  await startSpooky({
    documents: documents(listener('open', port), upstream('grpc', [HOST], server.address)),
    files: certificateFiles(makeLeaves(authority)),
  });
  client = quicgo();
  connection = await client.driver.open({ address: `127.0.0.1:${port}`, name: HOST, ca: authority.file });
}, 60_000);
afterAll(() => (client as DriverClient | undefined)?.stop());

const call = (request: Omit<GrpcCall, 'authority'>): Promise<GrpcResult> => connection.grpc({ authority: HOST, ...request });
/** What the server gives back of the metadata that the client sends. */
const TRAILING = 'q6ur';

test('unary, with metadata both ways', async () => {
  const result = await call({ kind: 'unary', size: 271_828, sizes: [314_159] });
  expect(result).toMatchObject({ code: STATUS.ok, received: [314_159], initial: 'initial', trailing: TRAILING });
});

test('unary of nothing', async () => {
  expect(await call({ kind: 'unary', size: 0, sizes: [0] })).toMatchObject({ code: STATUS.ok, received: [0] });
});

test('server streaming', async () => {
  expect(await call({ kind: 'server', sizes: [31_415, 9, 2653, 58_979] })).toMatchObject({
    code: STATUS.ok,
    received: [31_415, 9, 2653, 58_979],
  });
});

test('client streaming', async () => {
  expect(await call({ kind: 'client', sizes: [27_182, 8, 1828, 45_904] })).toMatchObject({ code: STATUS.ok, received: [74_922] });
});

test('bidirectional streaming, message by message', async () => {
  const sizes = Array.from({ length: 50 }, (_, i) => 1000 + i);
  expect(await call({ kind: 'bidi', size: 500, sizes })).toMatchObject({ code: STATUS.ok, received: sizes, trailing: TRAILING });
});

test('an error in trailers only', async () => {
  const result = await call({ kind: 'error', code: STATUS.unknown, message: 'test status message' });
  expect(result).toMatchObject({ code: STATUS.unknown, message: 'test status message', received: [] });
});

test('an error with a message that is not ASCII', async () => {
  const message = '\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n';
  expect(await call({ kind: 'error', code: STATUS.unknown, message })).toMatchObject({ code: STATUS.unknown, message });
});

test('a method that the server lacks', async () => {
  expect((await call({ kind: 'unimplemented' })).code).toBe(STATUS.unimplemented);
});

test('a deadline', async () => {
  expect((await call({ kind: 'deadline', sizes: [100], timeoutMs: 500 })).code).toBe(STATUS.deadlineExceeded);
});

test('cancelled after the first message', async () => {
  expect(await call({ kind: 'cancel', sizes: [100, 200] })).toMatchObject({ code: STATUS.cancelled, received: [100] });
});

test('many calls at once on one connection', async () => {
  const calls = Array.from({ length: 40 }, (_, i) => call({ kind: 'bidi', size: 100, sizes: [i, i + 1, i + 2] }));
  expect((await Promise.all(calls)).map((r) => r.received)).toEqual(Array.from({ length: 40 }, (_, i) => [i, i + 1, i + 2]));
}, 60_000);
