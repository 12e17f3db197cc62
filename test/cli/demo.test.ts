import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { connect, type ClientHttp2Session, type IncomingHttpHeaders } from 'node:http2';
import { startDemo, type Demo } from '../../src/cli/demo.ts';

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
