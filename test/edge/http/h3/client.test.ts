import { describe, expect, test } from '@jest/globals';
import { encodeRequest, fetchOnce, type H3Events, type H3Request, type H3Response } from '../../../../src/edge/http/h3/client.ts';
import { H3 } from '../../../../src/edge/http/h3/codes.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import type { CloseReason, ConnectOptions, QuicEngine } from '../../../../src/edge/quic/engine.ts';
import { FakeConn } from '../../../kit/fakeconn.ts';
import { bytes, concat, data, fieldsOf, frame, framesOf, headers, varint, varint8, type Pair } from '../../../kit/h3bytes.ts';
import { everyCut, everyPrefix } from '../../../kit/prefix.ts';
import { fields, turn } from './world.ts';

const OPTIONS: ConnectOptions = {
  host: '127.0.0.1',
  port: 1,
  local: null,
  sni: 'a.test',
  alpn: ['h3'],
  ca: null,
  insecure: false,
  handshakeMs: 1000,
  idleMs: 1000,
};

const REQUEST: H3Request = { method: 'GET', scheme: 'https', authority: 'a.test', path: '/x', fields: fields(['x-a', 'b']), body: null };

interface Asked {
  readonly conn: FakeConn;
  readonly clock: ManualClock;
  readonly answer: Promise<H3Response>;
}

async function ask(events: H3Events = {}, request: H3Request = REQUEST, early?: CloseReason): Promise<Asked> {
  const clock = new ManualClock(5000);
  let made: FakeConn | null = null;
  const engine = {
    name: 'fake',
    version: '1',
    caps: { migration: false, gso: false, pmtud: false, newToken: false, datagram: false, threads: false, pq: false, handover: false },
    unfit: () => null,
    listen: () => Promise.reject(new Error('no server')),
    connect(_o, handler) {
      made = new FakeConn(handler);
      clock.advance(30);
      if (early !== undefined) handler.onClose(made, early);
      return Promise.resolve(made);
    },
  } satisfies QuicEngine;
  const answer = fetchOnce(engine, OPTIONS, request, clock, 1000, events);
  answer.catch(() => {});
  await turn();
  await turn();
  if (made === null) throw new Error('not connected');
  return { conn: made, clock, answer };
}

const head = (status: string, more: readonly Pair[] = []): Buffer => headers([[':status', status], ...more]);

describe('a request', () => {
  test('is written as it is asked for', async () => {
    const { conn } = await ask({}, { ...REQUEST, method: 'POST', body: Buffer.from('hello') });
    const [first, second] = framesOf(conn.bytesOn(0));
    expect(fieldsOf(first?.payload ?? bytes())).toEqual([
      [':method', 'POST', false],
      [':scheme', 'https', false],
      [':authority', 'a.test', false],
      [':path', '/x', false],
      ['x-a', 'b', false],
    ]);
    expect([second?.type, second?.payload.toString()]).toEqual([0, 'hello']);
    expect(conn.finOn(0)).toBe(true);
    expect(conn.bytesOn(3).subarray(0, 2)).toEqual(bytes(0x00, 0x04));
    expect(framesOf(encodeRequest(REQUEST)).map((f) => f.type)).toEqual([1]);
  });
});

describe('an answer', () => {
  const whole = concat(
    head('103', [['link', '</a>']]),
    head('200', [['x-b', 'c']]),
    frame(0x21, bytes(1)),
    data('hel'),
    data('lo'),
    headers([['x-t', 'u']]),
  );

  test('reads the same wherever it is cut, and is timed', async () => {
    const cuts: [Uint8Array, Uint8Array][] = [];
    everyCut(whole, (a, b) => cuts.push([a, b]));
    for (const [a, b] of cuts) {
      const seen: string[] = [];
      const { conn, clock, answer } = await ask({
        onInform: (status) => seen.push(`inform ${status}`),
        onResponse: (status, f) => seen.push(`response ${status} ${f.get('x-b')}`),
        onBody: (buf, start, end) => seen.push(Buffer.from(buf.subarray(start, end)).toString()),
      });
      clock.advance(20);
      conn.feed(0, a);
      clock.advance(50);
      conn.feed(0, b, true);
      const { status, trailers, bodyBytes, connectedMs, firstByteMs, doneMs } = await answer;
      expect([status, trailers?.get('x-t'), bodyBytes, connectedMs, firstByteMs, doneMs]).toEqual([200, 'u', 5, 30, 50, 100]);
      expect(seen.slice(0, 2)).toEqual(['inform 103', 'response 200 c']);
      expect(seen.slice(2).join('')).toBe('hello');
      expect(conn.closed).toEqual({ app: true, code: H3.H3_NO_ERROR, reason: '' });
    }
  });

  test('that ends anywhere but at its end is none', async () => {
    const good = new Set([0]);
    let at = 0;
    for (const part of [head('103', [['link', '</a>']]), head('200', [['x-b', 'c']]), frame(0x21, bytes(1)), data('hel'), data('lo')]) {
      at += part.length;
      good.add(at);
    }
    const prefixes: Uint8Array[] = [];
    everyPrefix(whole, (prefix) => prefixes.push(prefix));
    for (const prefix of prefixes) {
      const { conn, answer } = await ask();
      conn.feed(0, prefix, true);
      const headEnd = head('103', [['link', '</a>']]).length + head('200', [['x-b', 'c']]).length;
      if (good.has(prefix.length) && prefix.length >= headEnd) expect((await answer).status).toBe(200);
      else await expect(answer).rejects.toMatchObject({ name: 'H3ClientError', message: 'the answer was cut off' });
    }
  });

  test.each([
    ['without a status', headers([['x-a', 'b']]), H3.H3_MESSAGE_ERROR],
    [
      'with two',
      headers([
        [':status', '200'],
        [':status', '200'],
      ]),
      H3.H3_MESSAGE_ERROR,
    ],
    ['with a status that is none', head('2xx'), H3.H3_MESSAGE_ERROR],
    [
      'with a status behind fields',
      headers([
        ['x-a', 'b'],
        [':status', '200'],
      ]),
      H3.H3_MESSAGE_ERROR,
    ],
    ['with a request’s pseudo-field', head('200', [[':path', '/']]), H3.H3_MESSAGE_ERROR],
    ['with an upper-case name', head('200', [['X-A', 'b']]), H3.H3_MESSAGE_ERROR],
    ['with a line break', head('200', [['x-a', 'b\nc']]), H3.H3_MESSAGE_ERROR],
    ['with a status among trailers', concat(head('200'), head('200')), H3.H3_MESSAGE_ERROR],
    ['with two trailer sections', concat(head('200'), headers([['a', 'b']]), headers([['a', 'b']])), H3.H3_MESSAGE_ERROR],
    ['of a dynamic table', frame(0x01, bytes(0, 0, 0x80)), H3.QPACK_DECOMPRESSION_FAILED],
    ['with a push', concat(head('200'), frame(0x05, bytes(0))), H3.H3_FRAME_UNEXPECTED],
    ['with SETTINGS', frame(0x04), H3.H3_FRAME_UNEXPECTED],
    ['with an HTTP/2 frame', frame(0x08), H3.H3_FRAME_UNEXPECTED],
    ['with fields without end', concat(varint(0x01), varint8(2n ** 60n)), H3.H3_EXCESSIVE_LOAD],
    ['with a bomb', frame(0x01, concat(bytes(0, 0), Buffer.alloc(20_000, 0xc0 | 58))), H3.H3_EXCESSIVE_LOAD],
  ] as [string, Buffer, number][])('%s is refused', async (_name, stream, code) => {
    const { conn, answer } = await ask();
    conn.feed(0, stream, true);
    await expect(answer).rejects.toMatchObject({ name: 'H3ClientError', phase: 'response' });
    expect(conn.closed).toEqual({ app: true, code, reason: '' });
  });

  test('that is reset, closed, late, or never comes says so', async () => {
    const close = (why: Partial<CloseReason>): CloseReason => ({ side: 'remote', app: true, code: H3.H3_NO_ERROR, reason: '', ...why });
    for (const [end, message] of [
      [(a: Asked) => a.conn.peerReset(0, H3.H3_REQUEST_REJECTED), 'the server reset the stream: H3_REQUEST_REJECTED'],
      [(a: Asked) => a.conn.peerReset(0, 0x1234), 'the server reset the stream: 0x1234'],
      [(a: Asked) => a.conn.peerClose(H3.H3_INTERNAL_ERROR), 'the connection was closed: H3_INTERNAL_ERROR'],
      [(a: Asked) => a.conn.peerClose(10, false), 'the connection was closed: transport error 0xa'],
      [(a: Asked) => a.clock.advance(1000), 'no answer within 1000 ms'],
    ] as [(a: Asked) => void, string][]) {
      const asked = await ask();
      end(asked);
      await expect(asked.answer).rejects.toMatchObject({ phase: 'request', message });
    }
    const early = await ask({}, REQUEST, close({ side: 'timeout' }));
    await expect(early.answer).rejects.toMatchObject({ message: 'the connection timed out' });
    expect(early.conn.bytesOn(0).length).toBe(0);
  });

  test('is over when it is complete: nothing after it counts', async () => {
    const { conn, clock, answer } = await ask();
    conn.feed(3, bytes(1, 2, 3));
    conn.feed(0, concat(head('200'), data('x')), true);
    conn.peerReset(0, 1);
    conn.peerClose(H3.H3_INTERNAL_ERROR);
    clock.advance(5000);
    expect((await answer).status).toBe(200);
  });

  test('whose consumer throws is given up', async () => {
    const { conn, answer } = await ask({
      onBody() {
        throw new Error('full');
      },
    });
    conn.feed(0, concat(head('200'), data('x')), true);
    await expect(answer).rejects.toMatchObject({ message: 'full' });
    expect(conn.closed?.code).toBe(H3.H3_INTERNAL_ERROR);
  });
});
