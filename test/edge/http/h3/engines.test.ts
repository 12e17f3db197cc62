/** The HTTP/3 server and both clients over real engines. */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Reason } from '../../../../src/contract/reasons.ts';
import { Fields } from '../../../../src/edge/http/fields.ts';
import { fetchOnce, H3ClientError } from '../../../../src/edge/http/h3/client.ts';
import { H3 } from '../../../../src/edge/http/h3/codes.ts';
import type { H3Limits } from '../../../../src/edge/http/h3/options.ts';
import { createH3Server, type H3Server } from '../../../../src/edge/http/h3/server.ts';
import type { RequestAbort, RequestHandler, ServerApp, ServerConnection, ServerStream } from '../../../../src/edge/http/message.ts';
import type { QuicEndpoint, QuicEngine } from '../../../../src/edge/quic/engine.ts';
import { MemoryEngine } from '../../../../src/edge/quic/memory/engine.ts';
import { MemoryNetwork } from '../../../../src/edge/quic/memory/network.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { TimerWheel } from '../../../../src/lib/wheel.ts';
import { bytes, concat, data, frame, request, varint } from '../../../kit/h3bytes.ts';
import { Cut, H3Client } from '../../../kit/h3client.ts';
import { Nat } from '../../../kit/nat.ts';
import { connectOptions, listenOptions } from '../../quic/kit.ts';
import { fields, LIMITS } from './world.ts';
import { onRealEngines } from '../../quic/native/built.ts';

/**
 * Paths: `/` two bytes, `/bytes/N`, `/echo` body and trailers back, `/hang` no answer, `/trailers`, `/open` two bytes without an end.
 */
class Echo implements RequestHandler {
  readonly stream: ServerStream;
  private readonly app: EchoApp;
  private left = 0;
  abort: RequestAbort | null = null;
  written = 0;
  isBlocked = false;

  constructor(app: EchoApp, stream: ServerStream) {
    this.app = app;
    this.stream = stream;
  }

  begin(): void {
    const { path } = this.stream.head;
    if (path === '/echo') this.stream.respond(200, new Fields(), false);
    if (path.startsWith('/bytes/')) {
      this.left = Number(path.slice(7));
      this.stream.respond(200, fields(['content-length', String(this.left)]), this.left === 0);
      this.pump();
    }
  }

  private pump(): void {
    const block = Buffer.alloc(16_384, 'abcdefghijklmnopqrstuvwxyz');
    while (this.left > 0) {
      const n = Math.min(this.left, block.length);
      this.left -= n;
      this.written += n;
      const hasRoom = this.stream.write(block, 0, n);
      if (this.left === 0) this.stream.end(null);
      else if (!hasRoom) {
        this.isBlocked = true;
        this.app.changed();
        return;
      }
    }
  }

  onRequestBody(buf: Uint8Array, start: number, end: number): void {
    if (this.stream.head.path === '/echo' && !this.stream.write(buf, start, end)) this.stream.pause();
  }

  onRequestEnd(trailers: Fields | null): void {
    const { path } = this.stream.head;
    if (path === '/echo') this.stream.end(trailers);
    if (path === '/' || path === '/trailers') {
      this.stream.respond(200, fields(['content-type', 'text/plain']), false);
      this.stream.write(Buffer.from('ok'), 0, 2);
      this.stream.end(path === '/' ? null : fields(['grpc-status', '0'], ['grpc-message', 'fine']));
    }
    if (path === '/open') {
      this.stream.respond(200, new Fields(), false);
      this.stream.write(Buffer.from('ok'), 0, 2);
    }
    if (path === '/inform') {
      this.stream.inform(103, fields(['link', '</a>']));
      this.stream.respond(204, new Fields(), true);
    }
    if (path === '/broken') {
      this.stream.respond(200, new Fields(), false);
      this.stream.write(Buffer.from('half'), 0, 4);
      this.stream.reset(H3.H3_INTERNAL_ERROR);
    }
  }

  onRequestAbort(abort: RequestAbort): void {
    this.abort = abort;
    this.app.changed();
  }

  onResponseWritable(): void {
    this.isBlocked = false;
    if (this.stream.head.path === '/echo') this.stream.resume();
    else this.pump();
  }

  onResponseSent(): void {}
}

class EchoApp implements ServerApp {
  readonly errors: string[] = [];
  readonly requests: Echo[] = [];
  private waiters: { check: () => boolean; done: () => void }[] = [];

  until(check: () => boolean): Promise<void> {
    if (check()) return Promise.resolve();
    return new Promise((done) => this.waiters.push({ check, done }));
  }

  changed(): void {
    const all = this.waiters;
    this.waiters = [];
    for (const w of all) {
      if (w.check()) w.done();
      else this.waiters.push(w);
    }
  }

  onConnection(): void {}

  onRequest(s: ServerStream, end: boolean, _rejection: Reason | null): RequestHandler {
    const echo = new Echo(this, s);
    this.requests.push(echo);
    echo.begin();
    if (end) echo.onRequestEnd(null);
    this.changed();
    return echo;
  }

  onProtocolError(_c: ServerConnection, scope: string, code: string, rule: string): void {
    this.errors.push(`${scope} ${code} ${rule}`);
  }

  onLimit(): void {}
  onFieldDropped(): void {}
  onMove(): void {}
  onClose(): void {
    this.changed();
  }
}

const suite = (name: string, make: () => QuicEngine): void =>
  describe(`over ${name}`, () => {
    const engine = make();
    const app = new EchoApp();
    const internal: string[] = [];
    const limits: H3Limits = { ...LIMITS };
    const wheel = new TimerWheel(systemClock, (e) => internal.push(String(e)));
    let server: H3Server;
    let endpoint: QuicEndpoint;
    let port = 0;

    beforeAll(async () => {
      server = createH3Server({
        clock: systemClock,
        wheel,
        limits: () => limits,
        app,
        onInternalError: (where, e) => internal.push(`${where}: ${String(e)}`),
      });
      endpoint = await engine.listen(listenOptions(), server.handler);
      port = endpoint.addresses[0]?.port ?? 0;
    });

    afterAll(async () => {
      server.closeAll();
      await endpoint.close();
      wheel.stop();
      expect(internal).toEqual([]);
    });

    const connect = (): Promise<H3Client> => H3Client.connect(engine, connectOptions(port));

    test('GET, twice, and the settings', async () => {
      const client = await connect();
      await client.ready;
      expect([...client.settings]).toEqual([
        [1, 0],
        [6, 65_536],
        [7, 0],
      ]);
      for (let i = 0; i < 2; i++) {
        const answer = await client.get('/');
        expect([answer.status, answer.body.toString(), answer.trailers]).toEqual([200, 'ok', null]);
      }
      client.close();
      await client.closed;
    });

    test('100 requests at once', async () => {
      const client = await connect();
      const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => client.get(`/bytes/${i * 100}`)));
      expect(answers.map((a) => a.body.length)).toEqual(Array.from({ length: 100 }, (_, i) => i * 100));
      client.close();
    });

    test('trailers, interim answers, HEAD-like ends', async () => {
      const client = await connect();
      expect((await client.get('/trailers')).trailers).toEqual(
        new Map([
          ['grpc-status', '0'],
          ['grpc-message', 'fine'],
        ]),
      );
      const answer = await client.get('/inform');
      expect([answer.informs, answer.status, answer.body.length]).toEqual([[103], 204, 0]);
      client.close();
    });

    test('1 MiB there and back, with backpressure both ways', async () => {
      const client = await connect();
      const body = Buffer.alloc(1 << 20, 'the quick brown fox jumps over the lazy dog ');
      const exchange = client.request('/echo', { method: 'POST', open: true, fields: [['content-length', String(body.length)]] });
      for (let at = 0; at < body.length; at += 32_768) await exchange.write(body.subarray(at, at + 32_768));
      exchange.end([['x-sum', 'yes']]);
      const answer = await exchange.answer;
      expect(createHash('sha256').update(answer.body).digest('hex')).toBe(createHash('sha256').update(body).digest('hex'));
      expect(answer.trailers?.get('x-sum')).toBe('yes');
      client.close();
    });

    test('the end of an answer that is lost behind its bytes arrives all the same', async () => {
      if (engine.name === 'memory') return;
      const nat = await Nat.open({ host: '127.0.0.1', port }, '127.0.0.2');
      try {
        const client = await H3Client.connect(engine, connectOptions(Number(nat.address.split(':')[1])));
        const before = app.requests.length;
        const exchange = client.request('/open');
        await exchange.bodyOf(2);
        // The client has not acknowledged these bytes yet; the next packet is lost.
        let lost = 0;
        nat.judge = (_datagram, direction) => (direction === 'down' && lost++ === 0 ? 'drop' : 'pass');
        app.requests[before]?.stream.end(null);
        const answer = await exchange.answer;
        expect([answer.body.toString(), lost > 0]).toEqual(['ok', true]);
        client.close();
      } finally {
        nat.close();
      }
    });

    test('a reader that stops makes the writer stop', async () => {
      const client = await connect();
      const size = 64 * 1024 * 1024;
      const before = app.requests.length;
      const exchange = client.request(`/bytes/${size}`, { discards: true });
      await exchange.head;
      exchange.pause();
      await app.until(() => app.requests[before]?.isBlocked === true);
      const echo = app.requests[before] as Echo;
      // What lies between is bounded by windows and marks, far below the body.
      expect(echo.written).toBeLessThan(8 * 1024 * 1024);
      exchange.cancel();
      await app.until(() => echo.abort !== null);
      expect(['stop', 'reset']).toContain(echo.abort);
      expect((await client.get('/')).status).toBe(200);
      client.close();
    });

    test('a cancelled request is told in the application, the next one is served', async () => {
      const client = await connect();
      const before = app.requests.length;
      const exchange = client.request('/hang', { method: 'POST', open: true });
      await app.until(() => app.requests.length > before);
      exchange.cancel();
      await app.until(() => app.requests[before]?.abort !== null);
      expect((await client.get('/')).status).toBe(200);
      client.close();
    });

    test('an answer that breaks off is a reset, never an end', async () => {
      const client = await connect();
      await expect(client.get('/broken')).rejects.toMatchObject({ by: 'reset', code: H3.H3_INTERNAL_ERROR });
      client.close();
    });

    test.each([
      ['H3_FRAME_UNEXPECTED', (c: H3Client) => c.raw(c.nextBidi(), data('x'))],
      ['H3_FRAME_ERROR', (c: H3Client) => c.raw(c.nextBidi(), concat(request(), bytes(0, 9)), true)],
      ['QPACK_DECOMPRESSION_FAILED', (c: H3Client) => c.raw(c.nextBidi(), frame(0x01, bytes(0, 0, 0x80)), true)],
      ['QPACK_ENCODER_STREAM_ERROR', (c: H3Client) => c.openUni(0x02, bytes(0x41))],
      ['H3_STREAM_CREATION_ERROR', (c: H3Client) => c.openUni(0x00)],
      ['H3_CLOSED_CRITICAL_STREAM', (c: H3Client) => c.raw(2, bytes(), true)],
      ['H3_EXCESSIVE_LOAD', (c: H3Client) => c.raw(2, concat(...Array.from({ length: 1500 }, () => frame(0x0d, varint(1)))))],
    ] as [keyof typeof H3, (c: H3Client) => void][])('closes with %s', async (code, attack) => {
      const honest = await connect();
      const client = await connect();
      attack(client);
      expect(await client.closed).toMatchObject({ side: 'remote', app: true, code: H3[code] });
      expect(app.errors.at(-1)).toContain(`connection ${code}`);
      expect((await honest.get('/')).status).toBe(200);
      honest.close();
    });

    test('refuses a malformed request with H3_MESSAGE_ERROR, and serves the next', async () => {
      const client = await connect();
      await expect(client.get('/', [['connection', 'close']])).rejects.toEqual(new Cut('reset', H3.H3_MESSAGE_ERROR));
      expect((await client.get('/')).status).toBe(200);
      client.close();
    });

    test('a client for one request: answer and timings', async () => {
      const ask = (path: string, body: Uint8Array | null = null): ReturnType<typeof fetchOnce> =>
        fetchOnce(
          engine,
          connectOptions(port),
          { method: body === null ? 'GET' : 'POST', scheme: 'https', authority: 'localhost', path, fields: fields(['x-a', 'b']), body },
          systemClock,
          10_000,
        );
      const answer = await ask('/trailers');
      expect([answer.status, answer.bodyBytes, answer.fields.get('content-type'), answer.trailers?.get('grpc-status')]).toEqual([
        200,
        2,
        'text/plain',
        '0',
      ]);
      expect(answer.connectedMs).toBeGreaterThanOrEqual(0);
      expect(answer.firstByteMs).toBeGreaterThanOrEqual(answer.connectedMs);
      expect(answer.doneMs).toBeGreaterThanOrEqual(answer.firstByteMs);
      expect(answer.info.alpn).toBe('h3');
      expect((await ask('/echo', Buffer.alloc(100_000))).bodyBytes).toBe(100_000);
      await expect(ask('/broken')).rejects.toThrow(new H3ClientError('response', 'the server reset the stream: H3_INTERNAL_ERROR'));
    });

    test('a client for one request gives up in time', async () => {
      const hang = { method: 'GET', scheme: 'https', authority: 'localhost', path: '/hang', fields: new Fields(), body: null };
      await expect(fetchOnce(engine, connectOptions(port), hang, systemClock, 50)).rejects.toThrow('no answer within 50 ms');
    });

    // Last: the server does not come back from it.
    test('drain: requests begun before GOAWAY end well, those after are refused, and the connection closes', async () => {
      const client = await connect();
      const exchange = client.request('/echo', { method: 'POST', open: true });
      await exchange.head;
      server.drain();
      await client.warned;
      expect(client.goaways[0]).toBe(Number.MAX_SAFE_INTEGER);
      await exchange.write('late');
      exchange.end();
      expect((await exchange.answer).body.toString()).toBe('late');
      const why = await client.closed;
      expect([why.app, why.code]).toEqual([true, H3.H3_NO_ERROR]);
      expect(client.goaways).toEqual([Number.MAX_SAFE_INTEGER, exchange.id + 4]);
      expect(client.request('/').isOver).toBe(true);
    });

    test('drain: who has not asked for anything yet hears both GOAWAYs, and so that what is on its way may be sent again', async () => {
      const client = await connect();
      server.drain();
      const why = await client.closed;
      expect([why.app, why.code]).toEqual([true, H3.H3_NO_ERROR]);
      expect(client.goaways).toEqual([Number.MAX_SAFE_INTEGER, 0]);
    });
  });

suite('memory', () => new MemoryEngine());
suite(
  'memory with losses',
  () => new MemoryEngine({ network: new MemoryNetwork({ seed: 3, drop: 0.03, reorder: 0.1, split: 900, resendMs: 5 }) }),
);
onRealEngines(suite);
