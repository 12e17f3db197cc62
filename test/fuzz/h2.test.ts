/** Every kind of hostile backend a thousand times over: what is left of them. */
import { expect, test } from '@jest/globals';
import type { Socket } from 'node:net';
import { Flag, FrameType, Setting } from '../../src/edge/http/h2/codes.ts';
import { flushOutputs } from '../../src/edge/http/h2/output.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { FakeSocket } from '../kit/fakesocket.ts';
import { expectNothingLeft } from '../kit/footprint.ts';
import { TestClient } from '../kit/h2client.ts';
import { frameBytes, u32 } from '../kit/h2server.ts';

const REPETITIONS = 1000;
const { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION } = FrameType;

const repeat = (n: number, frame: Buffer): Buffer => Buffer.concat(Array.from({ length: n }, () => frame));
const setting = (identifier: number, value: number): Buffer =>
  frameBytes(SETTINGS, 0, 0, Buffer.concat([Buffer.from([0, identifier]), u32(value)]));
const OK = frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.from([0x88]));
const BOMB = Buffer.concat([
  Buffer.from('88400161', 'hex'),
  Buffer.from([0x7f, 0x80 | ((3900 - 127) & 0x7f), (3900 - 127) >> 7]),
  Buffer.alloc(3900, 0x61),
]);

const ATTACKS: [name: string, bytes: Buffer][] = [
  [
    'CONTINUATION without end',
    Buffer.concat([frameBytes(HEADERS, 0, 1, Buffer.from([0x88])), repeat(200, frameBytes(CONTINUATION, 0, 1))]),
  ],
  [
    'a block of megabytes',
    Buffer.concat([frameBytes(HEADERS, 0, 1), repeat(12, frameBytes(CONTINUATION, 0, 1, Buffer.alloc(16_384, 0x88)))]),
  ],
  ['a header bomb', frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.concat([BOMB, Buffer.alloc(12_000, 0xbe)]))],
  ['a block that does not decode', frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.from('ff', 'hex'))],
  ['MAX_FRAME_SIZE 0', setting(Setting.MAX_FRAME_SIZE, 0)],
  ['INITIAL_WINDOW_SIZE 2^31', setting(Setting.INITIAL_WINDOW_SIZE, 2 ** 31)],
  ['SETTINGS flood', repeat(1500, frameBytes(SETTINGS, 0, 0))],
  ['PING flood', repeat(1500, frameBytes(PING, 0, 0, Buffer.alloc(8)))],
  ['WINDOW_UPDATE flood', repeat(1500, frameBytes(WINDOW_UPDATE, 0, 0, u32(1)))],
  ['PRIORITY flood', repeat(1500, frameBytes(PRIORITY, 0, 1, Buffer.alloc(5)))],
  ['empty DATA', Buffer.concat([OK, repeat(1500, frameBytes(DATA, 0, 1))])],
  ['unknown frames', repeat(1500, frameBytes(0x0f, 0, 1, Buffer.alloc(20)))],
  ['a window above its maximum', frameBytes(WINDOW_UPDATE, 0, 0, u32(0x7fffffff))],
  ['PUSH_PROMISE', frameBytes(PUSH_PROMISE, Flag.END_HEADERS, 1, Buffer.from('0000000282', 'hex'))],
  ['GOAWAY that rises', Buffer.concat([1, 3].map((id) => frameBytes(GOAWAY, 0, 0, Buffer.concat([u32(id), u32(0)]))))],
  ['GOAWAY then silence', frameBytes(GOAWAY, 0, 0, Buffer.concat([u32(1), u32(0)]))],
  ['DATA on an idle stream', frameBytes(DATA, 0, 99, 'x')],
  ['DATA behind END_STREAM', Buffer.concat([OK, frameBytes(DATA, 1, 1, 'x'), frameBytes(DATA, 1, 1, 'x')])],
  ['padding as long as the frame', Buffer.concat([OK, frameBytes(DATA, Flag.PADDED, 1, Buffer.from([9, 0]))])],
  ['interim responses', repeat(2000, frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.from('08033130 33'.replaceAll(' ', ''), 'hex')))],
  ['DATA beyond the window', Buffer.concat([OK, repeat(20, frameBytes(DATA, 0, 1, Buffer.alloc(16_384)))])],
  [
    'a frame that never comes whole',
    Buffer.concat([OK, frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.alloc(16_384)).subarray(0, 16_000)]),
  ],
  ['RST_STREAM', frameBytes(RST_STREAM, 0, 1, u32(8))],
  ['HTTP/1.1', Buffer.from('HTTP/1.1 200 OK\r\n\r\n')],
  ['101', frameBytes(HEADERS, Flag.END_HEADERS, 1, Buffer.from('0803313031', 'hex'))],
];

const GREETING = frameBytes(SETTINGS, 0, 0);
const BODY = Buffer.alloc(80_000, 'b');

function attack(bytes: Buffer, first: boolean): void {
  const socket = new FakeSocket();
  const clock = new ManualClock();
  const client = new TestClient(socket as unknown as Socket, {}, clock);
  if (!first) {
    socket.feed(GREETING);
    const get = client.send();
    const post = client.send({ body: BODY });
    get.onHead = () => get.stream?.pause();
    socket.feed(bytes);
    flushOutputs();
    client.session.destroy();
    expect([get.ends, post.ends, client.closed, client.session.active]).toEqual([1, 1, 1, 0]);
  } else {
    socket.feed(bytes);
    expect(client.closed).toBe(1);
  }
  expect(client.internal).toEqual([]);
  clock.advance(2000);
  expect(client.wheel['linked']).toBe(0);
  // It may still sleep towards a timer that is gone: for a turn, at most.
  clock.advance(11_000);
  expect(clock.pending()).toBe(0);
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test('memory and the event loop stay as they were', async () => {
  const pass = async (n: number): Promise<void> => {
    for (const [name, bytes] of ATTACKS) {
      for (let i = 0; i < n; i++) {
        attack(bytes, name === 'HTTP/1.1');
        if (i % 5 === 0) await turn();
      }
    }
  };
  await pass(REPETITIONS / 2);
  await expectNothingLeft(() => pass(REPETITIONS));
}, 240_000);
