/** What hostile and broken backends do to clients and to each other: the whole edge, real sockets to the backends. */
import { afterEach, describe, expect, test } from '@jest/globals';
import { ErrorCode } from '../../../src/edge/http/h2/codes.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { backend, named, type RecordingBackend } from '../../kit/backend.ts';
import { gateway, head, type Client, type Gateway, type GatewayOptions } from '../../kit/gateway.ts';
import type { H2Request } from '../../kit/h2server.ts';

const INTERNAL_ERROR = -0x102;

const open: { close(): Promise<void> }[] = [];
const keep = <T extends { close(): Promise<void> }>(x: T): T => {
  open.push(x);
  return x;
};
afterEach(async () => {
  for (const x of open.splice(0).reverse()) await x.close();
});

const settle = async (): Promise<void> => {
  for (let i = 0; i < 30; i++) await new Promise((done) => setImmediate(done));
};

interface Two {
  readonly g: Gateway;
  readonly evil: RecordingBackend;
  readonly good: RecordingBackend;
  readonly client: Client;
}

/** `/evil` goes to a backend of its own, everything else to an honest one. */
async function two(act: (r: H2Request) => void, options: GatewayOptions = {}): Promise<Two> {
  const evil = keep(await backend(act, { early: true }));
  const good = keep(await backend());
  const g = keep(await gateway(options).route('/evil', evil).route('/', good).start());
  return { g, evil, good, client: await g.client() };
}

describe('requests that failed', () => {
  test('B18: what the backend has not seen is sent once more, of any method; what it may have seen never', async () => {
    const acts: [string, (r: H2Request) => void, number][] = [
      ['REFUSED_STREAM', (r) => r.connection.rst(r.id, ErrorCode.REFUSED_STREAM), 2],
      ['GOAWAY below', (r) => r.connection.sendGoaway(0), 2],
      ['CANCEL', (r) => r.connection.rst(r.id, ErrorCode.CANCEL), 1],
      ['INTERNAL_ERROR', (r) => r.connection.rst(r.id, ErrorCode.INTERNAL_ERROR), 1],
      ['a closed connection', (r) => r.connection.socket.destroy(), 1],
      ['GOAWAY above, then closed', (r) => (r.connection.sendGoaway(r.id), r.connection.socket.end()), 1],
      ['a malformed answer', (r) => r.respond(99), 1],
    ];
    for (const [what, act, sent] of acts) {
      const { g, evil, client } = await two(act);
      for (const method of ['GET', 'POST']) {
        const before = evil.requests.length;
        const answer = await client.answer(client.send(head(method, '/evil'), method === 'POST' ? 'order' : ''));
        expect([what, method, answer.status]).toEqual([what, method, 502]);
        expect([what, method, evil.requests.length - before]).toEqual([what, method, sent]);
      }
      const retries = Object.values(g.counted('backend_retries_total')).reduce((a, n) => a + n, 0);
      expect([what, retries]).toEqual([what, sent === 2 ? 2 : 0]);
    }
  });

  test('B17: an answer, then RST_STREAM NO_ERROR while the body still comes: the client gets the whole answer', async () => {
    const { g, client } = await two((r) => {
      r.answer(413, 'too much');
      r.connection.rst(r.id, ErrorCode.NO_ERROR);
    });
    const id = client.send(head('POST', '/evil'), null);
    client.body(id, 'x'.repeat(10_000));
    expect(await client.answer(id)).toMatchObject({ status: 413, body: 'too much' });
    await settle();
    expect(g.counted('requests_total')).toEqual({ 'edge/public web/up1 413 ok': 1 });
  });

  test('B19: trailers that do not end the stream, and a second head: RESET H3_INTERNAL_ERROR, never a complete answer', async () => {
    const acts: [(r: H2Request) => void, reset: boolean][] = [
      [(r) => r.connection.headers(r.id, [['x-trailer', '1']], false), true],
      [(r) => r.connection.headers(r.id, [[':status', '200']], false), true],
      // Both sides have ended: there is nothing left to reset.
      [(r) => r.connection.headers(r.id, [[':status', '200']], true), false],
    ];
    for (const [act, reset] of acts) {
      const { g, evil, client } = await two((r) => {
        r.respond(200);
        r.write('part');
        act(r);
      });
      const answer = await client.get('/evil');
      expect(answer.status).toBe(INTERNAL_ERROR);
      expect((await client.post('/', 'intact')).body).toBe('intact');
      expect(g.counted('requests_total')).toMatchObject({ 'edge/public web/up1 200 malformed_response': 1 });
      if (!reset) continue;
      await evil.last.untilReset();
      expect(evil.last.reset).toBe(ErrorCode.PROTOCOL_ERROR);
    }
  });
});

describe('silence', () => {
  test('B21: a backend that says nothing: 504, its stream is cancelled', async () => {
    const clock = new ManualClock(1000);
    const evil = keep(await backend(() => undefined, { early: true }));
    const g = keep(
      await gateway({ clock })
        .routeTo({ timeouts: { responseMs: 5000 } }, { to: [evil] })
        .start(),
    );
    const client = await g.client();
    const id = client.send(head('GET', '/'));
    const r = await evil.began();
    clock.advance(5100);
    expect((await client.answer(id)).status).toBe(504);
    await r.untilReset();
    expect(r.reset).toBe(ErrorCode.CANCEL);
    expect(g.counted('requests_total')).toEqual({ 'edge/public web/up1 504 response_timeout': 1 });
  });
});

describe('neighbours', () => {
  const hostile: [string, (r: H2Request) => void][] = [
    [
      'a CONTINUATION flood',
      (r) =>
        flood(
          r,
          (c) => c.frame(9, 0, r.id, Buffer.of(0x88)),
          (c) => c.frame(1, 0, r.id, Buffer.of(0x88)),
        ),
    ],
    ['a PING flood', (r) => flood(r, (c) => c.ping())],
    ['a SETTINGS flood', (r) => flood(r, (c) => c.frame(4, 0, 0))],
    ['empty DATA without end', (r) => (r.respond(200), flood(r, (c) => c.data(r.id, '')))],
    ['a window of nothing', (r) => (r.connection.windowUpdate(0, 0), undefined)],
    ['a block that does not decode', (r) => r.connection.frame(1, 4, r.id, Buffer.of(0xff))],
    ['HTTP/1.1 in the middle', (r) => r.connection.send(Buffer.from('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n'))],
    ['silence', () => undefined],
  ];
  type Peer = H2Request['connection'];
  function flood(r: H2Request, frame: (c: Peer) => void, first: (c: Peer) => void = () => undefined): void {
    first(r.connection);
    for (let i = 0; i < 3000; i++) frame(r.connection);
  }

  test.each(hostile)('B22: %s at one backend: the other’s pool keeps its connection and its requests', async (what, act) => {
    const { g, good, client } = await two(act);
    expect((await client.post('/', 'first')).body).toBe('first');
    const slow = client.send(head('POST', '/'), null);
    client.body(slow, 'be');
    const attacks = Array.from({ length: 3 }, () => client.send(head('GET', '/evil')));
    for (let i = 0; i < 20; i++) expect((await client.post('/', `n${i}`)).body).toBe(`n${i}`);
    client.body(slow, 'gun', true);
    expect((await client.answer(slow)).body).toBe('begun');
    if (what === 'silence') for (const id of attacks) client.reset(id);
    else {
      for (const id of attacks) {
        const { status } = await client.answer(id);
        expect([502, INTERNAL_ERROR]).toContain(status);
      }
    }
    expect(good.server.connections.filter((c) => !c.closed)).toHaveLength(1);
    expect(good.server.connections).toHaveLength(1);
    const lost = Object.keys(g.counted('requests_total')).filter((k) => k.startsWith('edge/public web/up2') && !k.endsWith(' 200 ok'));
    expect(lost).toEqual([]);
    expect(g.counted('internal_errors_total')).toEqual({});
  });
});

describe('names that a connection was not made for', () => {
  test('Q14: 421, counted, before anything reaches a backend; the connection goes on; a connection of its own is served', async () => {
    const a = keep(await named('a'));
    const b = keep(await named('b'));
    const g = keep(
      await gateway({ certificates: [['a.example', '*.a.example'], ['b.example']] })
        .routeTo({ host: 'a.example' }, { to: [a] })
        .routeTo({ host: '*.a.example' }, { to: [a] })
        .routeTo({ host: 'b.example' }, { to: [b] })
        .start(),
    );
    const client = await g.client('x.a.example');
    for (const spelling of ['b.example', 'B.Example', 'b.example.', 'b.example:443']) {
      const answer = await client.get('/', [], spelling);
      expect([spelling, answer.status]).toEqual([spelling, 421]);
      expect(answer.fields.get('proxy-status')).toContain('error=http_request_denied');
    }
    expect(b.requests).toHaveLength(0);
    expect(g.counted('requests_total')).toEqual({ 'edge/public  421 misdirected': 4 });
    for (const host of ['a.example', 'y.a.example', 'Y.A.EXAMPLE.']) expect((await client.get('/', [], host)).body).toBe('a');
    expect((await (await g.client('b.example')).get('/', [], 'b.example')).body).toBe('b');
  });
});
