/** Other backends behind Spooky: nginx, and Spooky's own `demo`. The client is quic-go. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { startNginx } from '../kit/backends.ts';
import { quicgo, type DriverClient } from '../kit/clients.ts';
import { field, type Answer, type Connection, type Dial, type RequestSpec } from '../kit/peers.ts';
import { freeUdpPort } from '../kit/process.ts';
import { startDemo, startSpooky, type Spooky } from '../kit/spooky.ts';
import { certificateFiles, documents, listener, makeAuthority, makeLeaves, upstream } from './world.ts';

const MIB = 1 << 20;
const file = randomBytes(5 * MIB + 17);
let client: DriverClient;
let spooky: Spooky;
let dial: Dial;
const connections = new Map<string, Connection>();

beforeAll(async () => {
  const authority = makeAuthority();
  const [nginx, brief, demo, port] = await Promise.all([startNginx({ large: file }), startNginx({}, 50), startDemo(), freeUdpPort()]);
  spooky = await startSpooky({
    documents: documents(
      listener('open', port),
      upstream('nginx', ['nginx.a.test'], nginx.address),
      upstream('brief', ['brief.a.test'], brief.address),
      upstream('demo', ['demo.a.test'], demo.address),
    ),
    files: certificateFiles(makeLeaves(authority)),
  });
  client = quicgo();
  dial = { address: `127.0.0.1:${port}`, name: 'brief.a.test', ca: authority.file };
  for (const name of ['nginx', 'demo']) {
    connections.set(name, await client.driver.open({ address: `127.0.0.1:${port}`, name: `${name}.a.test`, ca: authority.file }));
  }
}, 60_000);
afterAll(() => (client as DriverClient | undefined)?.stop());

const at =
  (name: string) =>
  (request: Omit<RequestSpec, 'authority'>): Promise<Answer> =>
    (connections.get(name) as Connection).request({ authority: `${name}.a.test`, ...request });

test('nginx that ends every connection after 50 requests: no request fails', async () => {
  const load = await client.driver.load(dial, { authority: 'brief.a.test', path: '/' }, { conns: 4, streams: 16 });
  await new Promise((resolve) => setTimeout(resolve, 3000));
  // Twenty connections of nginx, however slow the machine is.
  await spooky.metricAbove('spooky_requests_total', { upstream: 'default/brief', code: '200' }, 1000, 60_000);
  const result = await load.halt();
  expect(result).toMatchObject({ failed: 0, statuses: { 200: expect.any(Number) } });
  expect(Object.keys(result.statuses)).toEqual(['200']);
  expect(result.statuses['200']).toBeGreaterThan(1000);
}, 90_000);

describe('nginx', () => {
  const nginx = at('nginx');

  test('speaks HTTP/2 with us', async () => {
    expect(await nginx({ path: '/' })).toMatchObject({ status: 200, text: 'nginx over HTTP/2.0\n' });
  });

  test('a file, whole and in parts', async () => {
    const whole = await nginx({ path: '/files/large' });
    expect(whole).toMatchObject({ status: 200, size: file.length, sha256: createHash('sha256').update(file).digest('hex') });
    const part = await nginx({ path: '/files/large', headers: [['range', 'bytes=1000-1999']] });
    expect(part).toMatchObject({ status: 206, size: 1000 });
    expect(field(part, 'content-range')).toBe(`bytes 1000-1999/${file.length}`);
    const same = await nginx({ path: '/files/large', headers: [['if-none-match', field(whole, 'etag') ?? '']] });
    expect(same).toMatchObject({ status: 304, size: 0 });
  });

  test('HEAD', async () => {
    const answer = await nginx({ path: '/files/large', method: 'HEAD' });
    expect(answer).toMatchObject({ status: 200, size: 0 });
    expect(field(answer, 'content-length')).toBe(String(file.length));
  });

  test('trailers', async () => {
    expect((await nginx({ path: '/trailers' })).trailers).toEqual([['x-checksum', 'abc123']]);
  });

  test('an upload, answered before it is complete', async () => {
    expect(await nginx({ path: '/upload', method: 'POST', body: 8 * MIB })).toMatchObject({ status: 200, text: 'taken\n' });
  });

  test('100 at once', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => nginx({ path: '/files/hello' })));
    expect(answers.map((answer) => answer.text)).toEqual(Array.from({ length: 100 }, () => 'hello\n'));
  });
});

describe('demo', () => {
  const demo = at('demo');

  test.each(['/', '/health', '/whoami'])('GET %s', async (path) => {
    const answer = await demo({ path });
    expect(answer.status).toBe(200);
    expect(answer.size).toBeGreaterThan(0);
  });

  test('echo of 16 MiB', async () => {
    const answer = await demo({ path: '/echo', method: 'POST', body: 16 * MIB });
    expect(answer).toMatchObject({ status: 200, size: 16 * MIB, sha256: answer.sent });
  });

  test('bytes, status, slow', async () => {
    expect(await demo({ path: '/bytes/123456' })).toMatchObject({ status: 200, size: 123_456 });
    expect((await demo({ path: '/status/418' })).status).toBe(418);
    const slow = await demo({ path: '/slow?ms=200' });
    expect(slow.status).toBe(200);
    expect(slow.firstByteMs).toBeGreaterThanOrEqual(199);
  });

  test('trailers', async () => {
    const answer = await demo({ path: '/trailers' });
    expect(answer.status).toBe(200);
    expect(answer.trailers.length).toBeGreaterThan(0);
  });

  test('events arrive one by one', async () => {
    const answer = await demo({ path: '/events', cancelAfter: 1 });
    expect(answer).toMatchObject({ status: 200, cancelled: true });
    expect(field(answer, 'content-type')).toBe('text/event-stream');
  });
});
