/** Our HPACK against that of Node (nghttp2), through sockets, with tables that evolve over many lists. */
import { afterEach, expect, test } from '@jest/globals';
import { connect, createServer, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import * as fc from 'fast-check';
import { TestClient } from '../../../kit/h2client.ts';
import { startH2Server } from '../../../kit/h2server.ts';

type Row = [name: string, value: string];

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

// Names that Node neither joins, splits nor forbids. Values that both sides take as they are.
const name = fc.oneof(
  fc.constantFrom('x-a', 'x-b', 'x-c', 'accept-language', 'via', 'x-long-name-that-is-often-there'),
  fc.stringMatching(/^x-[a-z0-9]{1,12}$/),
);
const value = fc.oneof(
  fc.constantFrom('1', 'gzip, deflate', 'application/json', 'v'.repeat(200), 'w'.repeat(1500)),
  fc.stringMatching(/^[!-~][ -~]{0,60}[!-~]$/),
);
const list = fc.uniqueArray(fc.tuple(name, value), { maxLength: 15, selector: ([n]) => n });
const lists = fc.sample(list, { numRuns: 150, seed: 20260101 }) as Row[][];
/** Each list three times, so that fields enter the tables and come by index. */
const SEQUENCE = lists.flatMap((l) => [l, l, l]);

/** What `node:http2` gives and takes, as rows; what it adds itself is left out. */
function rowsOf(headers: Record<string, unknown>): Row[] {
  return Object.entries(headers)
    .filter(([n]) => n.startsWith('x-') || n === 'via' || n === 'accept-language')
    .map(([n, v]): Row => [n, String(v)]);
}

const sorted = (rows: readonly (readonly [string, string])[]): string[] => rows.map(([n, v]) => `${n}: ${v}`).sort();

test.each([4096, 0, 200, 65_536])('our encoder, nghttp2’s decoder with a table of %d', async (headerTableSize) => {
  const server = createServer({ settings: { headerTableSize } });
  const seen: Row[][] = [];
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    seen.push(rowsOf(headers));
    stream.respond({ ':status': 200 }, { endStream: true });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = await TestClient.connect((server.address() as AddressInfo).port);
  closers.push(() => {
    client.end();
    server.close();
  });
  await client.untilReady();
  for (const [i, rows] of SEQUENCE.entries()) {
    const r = await client.fetch({ fields: rows });
    expect(r.failure).toBeNull();
    expect(sorted(seen[i] ?? [])).toEqual(sorted(rows));
  }
});

test('nghttp2’s encoder, our decoder: responses', async () => {
  const server = createServer();
  server.on('stream', (stream: ServerHttp2Stream, headers) => {
    stream.respond(
      { ':status': 200, ...Object.fromEntries(SEQUENCE[Number(String(headers[':path']).slice(1))] as Row[]) },
      { endStream: true },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const client = await TestClient.connect((server.address() as AddressInfo).port);
  closers.push(() => {
    client.end();
    server.close();
  });
  await client.untilReady();
  for (const [i, rows] of SEQUENCE.entries()) {
    const r = await client.fetch({ path: `/${i}` });
    expect(r.failure).toBeNull();
    expect(sorted(rowsOf(Object.fromEntries(r.fields)))).toEqual(sorted(rows));
  }
});

test('nghttp2’s encoder, our decoder: requests, never-indexed kept', async () => {
  const server = await startH2Server();
  const session = connect(`http://${server.address}`);
  closers.push(async () => {
    session.destroy();
    await server.close();
  });
  for (const [i, rows] of SEQUENCE.entries()) {
    const request = session.request({ ':path': '/', authorization: 'Basic x', ...Object.fromEntries(rows) });
    request.resume();
    await new Promise<void>((resolve, reject) => {
      request.on('end', resolve);
      request.on('error', reject);
    });
    const got = server.requests[i];
    expect(sorted(rowsOf(Object.fromEntries(got?.fields ?? [])))).toEqual(sorted(rows));
    // nghttp2 sends it so by itself.
    expect(got?.never).toContain('authorization');
  }
});
