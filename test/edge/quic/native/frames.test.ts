/** Frames that no honest client sends, on a connection whose handshake was honest: rows Q1 to Q7 of docs/security/hostile-input.md. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { QuicConn, QuicEndpoint } from '../../../../src/edge/quic/engine.ts';
import { NativeEngine } from '../../../../src/edge/quic/native/engine.ts';
import { Forger } from '../forger.ts';
import { connectOptions, echo, listenOptions, pattern, Recorder, send } from '../kit.ts';
import { Wire } from '../wire.ts';
import { describeNative } from './built.ts';

const PROTOCOL_VIOLATION = 0x0a;
const CONNECTION_ID_LIMIT_ERROR = 0x09;
const CRYPTO_BUFFER_EXCEEDED = 0x0d;
const FRAME_ENCODING_ERROR = 0x07;
const H3_EXCESSIVE_LOAD = 0x107;
/** More than one packet can hold is sent in several. */
const PACKET = 1100;

const u16 = (n: number): Buffer => Buffer.from([0x40 | (n >> 8), n & 255]);
const u32 = (n: number): Buffer => Buffer.from([0x80 | (n >>> 24), (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
const PING = Buffer.from([1]);
const HANDSHAKE_DONE = Buffer.from([0x1e]);

const challenge = (n: number): Buffer => Buffer.concat([Buffer.from([0x1a]), mark(n)]);
const mark = (n: number): Buffer => Buffer.from(`mark${String(n).padStart(4, '0')}`);
const newConnectionId = (sequence: number, retirePriorTo: number): Buffer =>
  Buffer.concat([
    Buffer.from([0x18]),
    u16(sequence),
    u16(retirePriorTo),
    Buffer.from([8]),
    pattern(8, sequence + 1),
    pattern(16, sequence + 7),
  ]);
const retire = (sequence: number): Buffer => Buffer.concat([Buffer.from([0x19]), u16(sequence)]);
const crypto = (offset: number, data: Buffer): Buffer => Buffer.concat([Buffer.from([6]), u32(offset), u16(data.length), data]);
const acknowledge = (largest: number, first: number): Buffer =>
  Buffer.concat([Buffer.from([2]), u32(largest), Buffer.from([0, 0]), u32(first)]);
const stream = (id: number, offset: number, data: Buffer): Buffer =>
  Buffer.concat([Buffer.from([0x0e]), u16(id), u32(offset), u16(data.length), data]);

describeNative('frames at native', (addon) => {
  let engine: NativeEngine;
  let server: Recorder;
  let ep: QuicEndpoint;
  let port: number;
  let client: QuicConn;
  let heard: Recorder;
  let requests: number;
  const wires: Wire[] = [];
  const errors: unknown[] = [];

  beforeEach(async () => {
    engine = new NativeEngine({ addon: addon(), onInternalError: (where, e) => errors.push([where, e]) });
    server = echo();
    ep = await engine.listen(listenOptions(), server);
    port = ep.addresses[0]?.port as number;
    heard = new Recorder();
    client = await engine.connect(connectOptions(port), heard);
    requests = 0;
    await work();
  });

  afterEach(async () => {
    client.close(true, 0x100, '');
    await ep.close();
    for (const w of wires.splice(0)) await w.close();
    expect(errors.splice(0)).toEqual([]);
  });

  /** The honest client asks for 64 KiB back, and loses nothing. */
  async function work(): Promise<void> {
    const id = requests++ * 4;
    const body = pattern(65536, id + 1);
    send(client, id, body, true);
    await heard.until(() => heard.seen(client, id).fin || heard.closes.length > 0);
    expect(heard.closes).toEqual([]);
    expect(heard.seen(client, id).data().equals(body)).toBe(true);
  }

  async function forger(): Promise<Forger> {
    const w = await Wire.open();
    wires.push(w);
    const f = await Forger.connect(w, port);
    await w.barrier(port);
    return f;
  }

  /** In packets, each read before the next ones come: the kernel drops none. */
  async function pour(f: Forger, frames: readonly Buffer[]): Promise<void> {
    let packet: Buffer[] = [];
    let size = 0;
    let packets = 0;
    const leave = async (): Promise<void> => {
      await f.send(Buffer.concat(packet));
      packet = [];
      size = 0;
      if (++packets % 32 === 0) await f.wire.barrier(port, 1);
    };
    for (const frame of frames) {
      if (size + frame.length > PACKET) await leave();
      packet.push(frame);
      size += frame.length;
    }
    if (size > 0) await leave();
    await f.wire.barrier(port, 2);
  }

  /** The connection ended by our own error with this code and this name, once, and the honest one did not notice. */
  async function endsWith(code: number, reason: string): Promise<void> {
    await server.until(() => server.closes.length > 0);
    expect(server.closes.map((c) => c.why)).toEqual([{ side: 'local', app: false, code, reason }]);
    await work();
  }

  async function lives(f: Forger): Promise<void> {
    await f.wire.barrier(port);
    expect(server.closes).toEqual([]);
    const before = f.received().length;
    await f.send(PING);
    await f.wire.until(() => f.received().length > before);
    await work();
  }

  const numbers = (count: number, first = 0): number[] => Array.from({ length: count }, (_, i) => first + i);

  test('Q1: more ids than were allowed end the connection', async () => {
    const f = await forger();
    await pour(
      f,
      numbers(40, 1).map((n) => newConnectionId(n, 0)),
    );
    await endsWith(CONNECTION_ID_LIMIT_ERROR, 'IdLimit');
  });

  test('Q1: ids that retire each other, with no acknowledgement of ours, end the connection', async () => {
    const f = await forger();
    await pour(
      f,
      numbers(2000, 1).map((n) => newConnectionId(n, n)),
    );
    await endsWith(CONNECTION_ID_LIMIT_ERROR, 'IdLimit');
  });

  test('Q1: ids of ours can be given back, and no more often than there are', async () => {
    const f = await forger();
    await pour(f, [retire(500)]);
    await endsWith(PROTOCOL_VIOLATION, 'InvalidState');
  });

  test('Q2: of challenges without end a few are answered', async () => {
    const f = await forger();
    const marks = numbers(3000);
    await pour(f, marks.map(challenge));
    await lives(f);
    const answers = Buffer.concat(f.received());
    const answered = marks.filter((n) => answers.includes(Buffer.concat([Buffer.from([0x1b]), mark(n)])));
    // Three to a packet of ours, and there are no more of those than of theirs.
    expect(answered.length).toBeGreaterThan(0);
    expect(answered.length).toBeLessThan(500);
  });

  test('Q3: CRYPTO data has an end, after the handshake as well', async () => {
    const f = await forger();
    await pour(f, [crypto(0xffff, Buffer.from('x'))]);
    await endsWith(CRYPTO_BUFFER_EXCEEDED, 'CryptoBufferExceeded');
  });

  test('Q3: pieces of it with gaps are held up to that end, and no longer', async () => {
    const f = await forger();
    await pour(
      f,
      numbers(30_000).map((n) => crypto(n * 2 + 1, Buffer.from('x'))),
    );
    await lives(f);
    await pour(f, [crypto(0x10000, Buffer.from('x'))]);
    await endsWith(CRYPTO_BUFFER_EXCEEDED, 'CryptoBufferExceeded');
  });

  test('Q4: an acknowledgement of what was never sent ends the connection', async () => {
    const f = await forger();
    await pour(f, [acknowledge(100_000, 0)]);
    await endsWith(PROTOCOL_VIOLATION, 'InvalidAckRange');
  });

  test('Q4: a range that reaches below zero ends the connection', async () => {
    const f = await forger();
    await pour(f, [acknowledge(1, 5000)]);
    await endsWith(FRAME_ENCODING_ERROR, 'InvalidFrame');
  });

  test('Q5: fragments with gaps end the connection before they weigh ten times what they cost', async () => {
    const f = await forger();
    const before = process.memoryUsage().rss;
    // One packet is written again and again: what the test itself throws away must not count.
    const size = 10;
    const packet = Buffer.concat(Array.from({ length: 110 }, () => stream(0, 0, Buffer.from('x'))));
    for (let sent = 0, id = 4, at = 1; sent < 4000 && server.closes.length === 0; sent++) {
      for (let frame = 0; frame < packet.length; frame += size, at += 2) {
        u16(id).copy(packet, frame + 1);
        u32(at).copy(packet, frame + 3);
      }
      if (at > 240_000) [id, at] = [id + 4, 1];
      await f.send(packet);
      if (sent % 32 === 31) await f.wire.barrier(port, 1);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024);
    expect(server.closes.map((c) => c.why)).toEqual([{ side: 'local', app: true, code: H3_EXCESSIVE_LOAD, reason: 'budget' }]);
    expect(f.sent).toBeGreaterThan(250 * 1024);
    await work();
  });

  test('Q7: HANDSHAKE_DONE is not for clients to say', async () => {
    const f = await forger();
    await pour(f, [HANDSHAKE_DONE]);
    await endsWith(PROTOCOL_VIOLATION, 'InvalidPacket');
  });

  test('Q7: packets that cannot be decrypted are dropped, and nothing is kept of them', async () => {
    const f = await forger();
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 4000 && server.closes.length === 0; i++) {
      await f.garble(pattern(PACKET, i + 1));
      if (i % 32 === 31) await f.wire.barrier(port, 1);
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024);
    await lives(f);
  });
});
