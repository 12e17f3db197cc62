import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { once } from 'node:events';
import { demo as demoCommand, startDemo, type Demo } from '../../src/cli/demo.ts';
import { makeCertificate } from '../kit/x509.ts';

let demo: Demo;
let session: ClientHttp2Session;
beforeAll(async () => {
  demo = await startDemo('127.0.0.1', 0);
  session = connect(`http://127.0.0.1:${demo.port}`);
});
afterAll(async () => {
  session.close();
  await demo.close();
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
  trailers: IncomingHttpHeaders;
}

const ask = (path: string, method = 'GET', body: Buffer | null = null): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const stream = session.request({ ':path': path, ':method': method, 'content-type': 'text/x-test' }, { endStream: body === null });
    const answer: Answer = { status: 0, headers: {}, body: Buffer.alloc(0), trailers: {} };
    const chunks: Buffer[] = [];
    stream.on('response', (headers) => Object.assign(answer, { headers, status: headers[':status'] }));
    stream.on('trailers', (trailers) => Object.assign(answer, { trailers }));
    stream.on('data', (b: Buffer) => chunks.push(b));
    stream.on('end', () => resolve({ ...answer, body: Buffer.concat(chunks) }));
    stream.on('error', reject);
    if (body !== null) stream.end(body);
  });

test.each(['/', '/health'])('%s', async (path) => {
  const answer = await ask(path);
  expect(answer.status).toBe(200);
  expect(answer.body.length).toBeGreaterThan(0);
});

test('/echo gives back body and content-type, streaming', async () => {
  const body = Buffer.alloc(3_000_000, 'spooky');
  const answer = await ask('/echo', 'POST', body);
  expect([answer.status, answer.headers['content-type'], answer.body.equals(body)]).toEqual([200, 'text/x-test', true]);
});

test('/slow answers after its time', async () => {
  const began = performance.now();
  expect((await ask('/slow?ms=50')).status).toBe(200);
  expect(performance.now() - began).toBeGreaterThanOrEqual(49);
});

test.each([
  ['/status/200', 200],
  ['/status/204', 204],
  ['/status/304', 304],
  ['/status/418', 418],
  ['/status/599', 599],
  ['/status/600', 400],
  ['/status/101', 400],
  ['/status/abc', 400],
  ['/status/', 400],
  ['/status/200/x', 404],
  ['/bytes/-1', 400],
  ['/bytes/99999999999999', 400],
  ['/slow?ms=x', 400],
  ['/slow?ms=60001', 400],
  ['/nothing', 404],
  ['/__proto__', 404],
  ['/constructor', 404],
])('%s is %i', async (path, status) => expect((await ask(path)).status).toBe(status));

test.each([0, 1, 65_536, 1_000_001])('/bytes/%i', async (n) => {
  const answer = await ask(`/bytes/${n}`);
  expect([answer.body.length, answer.headers['content-length']]).toEqual([n, String(n)]);
});

test('HEAD of /bytes has the length and no body', async () => {
  const answer = await ask('/bytes/1000', 'HEAD');
  expect([answer.body.length, answer.headers['content-length']]).toEqual([0, '1000']);
});

test('/trailers', async () => {
  const answer = await ask('/trailers');
  expect(answer.trailers['x-demo']).toBe('the end');
});

test('/events come one by one and end with their count', async () => {
  const answer = await ask('/events?ms=1&count=3');
  expect(answer.headers['content-type']).toBe('text/event-stream');
  expect(answer.body.toString().match(/^id: \d$/gm)).toEqual(['id: 1', 'id: 2', 'id: 3']);
});

test('/whoami shows what arrived', async () => {
  const shown = JSON.parse((await ask('/whoami?x=1')).body.toString()) as Record<string, unknown>;
  expect(shown).toMatchObject({ method: 'GET', path: '/whoami?x=1', headers: { 'content-type': 'text/x-test' } });
});

describe('an address that is taken', () => {
  test('is an error of listen', async () => {
    await expect(startDemo('127.0.0.1', demo.port)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

test('with a certificate it speaks HTTP/2 over TLS', async () => {
  const leaf = makeCertificate({ names: ['DNS:localhost'] });
  const secure = await startDemo('127.0.0.1', 0, { cert: Buffer.from(leaf.cert), key: Buffer.from(leaf.key) });
  const client = connect(`https://127.0.0.1:${secure.port}`, { ca: leaf.cert, servername: 'localhost' });
  const stream = client.request({ ':path': '/health' });
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders];
  expect(headers[':status']).toBe(200);
  client.destroy();
  await secure.close();
});

describe('a drain', () => {
  const begin = async (path: string) => {
    const server = await startDemo('127.0.0.1', 0);
    const client = connect(`http://127.0.0.1:${server.port}`);
    client.on('error', () => {});
    const stream = client.request({ ':path': path });
    stream.on('error', () => {});
    await once(client, 'remoteSettings');
    // A round trip, so that the request has arrived.
    const trip = client.request({ ':path': '/health' });
    trip.resume();
    await once(trip, 'close');
    return { server, client, stream };
  };

  test('says GOAWAY, answers what is open, and then is over', async () => {
    const { server, client, stream } = await begin('/slow?ms=100');
    const goaway = once(client, 'goaway');
    const answered = once(stream, 'response') as Promise<[IncomingHttpHeaders]>;
    const drained = server.drain(20_000);
    expect(((await goaway) as [number])[0]).toBe(0);
    expect((await answered)[0][':status']).toBe(200);
    stream.resume();
    await drained;
    await expect(startDemo('127.0.0.1', server.port).then((again) => again.close())).resolves.toBeUndefined();
  });

  test('waits no longer than it may', async () => {
    const { server, client } = await begin('/events?ms=1000');
    await server.drain(50);
    client.destroy();
  });
});

test.each([
  [['--cert', 'x'], '--cert and --key belong together'],
  [['--key', 'x'], '--cert and --key belong together'],
  [['--cert', '/no/such', '--key', '/no/such'], '--cert: '],
  [['--listen', 'nowhere'], '--listen must be an address and a port'],
  [['more'], 'unexpected "more"'],
])('usage: %j', async (args, said) => {
  let err = '';
  const io = { stdout: () => {}, stderr: (text: string) => void (err += text), env: {}, cwd: '/' };
  expect(await demoCommand.run(args, io)).toBe(2);
  expect(err).toContain(said);
});
