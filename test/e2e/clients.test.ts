/** The clients themselves, against quic-go's server without Spooky between: what fails here is not Spooky's. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startGoBackend, type GoBackend } from '../kit/backends.ts';
import { Chromium } from '../kit/chromium.ts';
import { aioquic, Curl, quicgo, type Client, type DriverClient } from '../kit/clients.ts';
import { Nat } from '../kit/nat.ts';
import type { Dial } from '../kit/peers.ts';
import { temporaryFolder } from '../kit/spooky.ts';
import { bodyBeforeTrailers } from './scenarios.ts';
import { fingerprint, makeAuthority, makeLeaves } from './world.ts';

const HOST = 'go.a.test';
const authority = makeAuthority();
const leaf = makeLeaves(authority).a;
let server: GoBackend;
let dial: Dial;

beforeAll(async () => {
  const dir = temporaryFolder();
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  writeFileSync(cert, leaf.cert);
  writeFileSync(key, leaf.key);
  server = await startGoBackend('quic-go', { cert, key });
  dial = { address: server.h3, name: HOST, ca: authority.file };
}, 30_000);

const port = (): string => server.h3.slice(server.h3.lastIndexOf(':') + 1);
const CLIENTS: readonly [string, () => Client][] = [
  ['curl', () => new Curl()],
  ['aioquic', aioquic],
  ['quic-go', quicgo],
  ['Chromium', () => new Chromium({ origins: [`${HOST}:${port()}`], certificates: [leaf.cert] })],
];

describe.each(CLIENTS)('%s', (_, make) => {
  let client: Client;
  beforeAll(() => {
    client = make();
  });
  afterAll(() => (client as Client | undefined)?.stop());

  test('sees the certificate, sends and receives, cancels', async () => {
    const session = await client.open(dial);
    expect(session.certificate).toBe(fingerprint(leaf));
    const echo = await session.request({ authority: HOST, path: '/echo', method: 'POST', body: 300_000 });
    expect(echo).toMatchObject({ status: 200, size: 300_000, sha256: echo.sent });
    expect(await session.request({ authority: HOST, path: '/bytes/777', method: 'HEAD' })).toMatchObject({ status: 200, size: 0 });
    const { trailers, text } = await bodyBeforeTrailers(session, { authority: HOST, path: '/trailers' });
    expect(text).toBe('body before trailers\n');
    expect(trailers.length).toBe(client.can.has('trailers') ? 2 : 0);
    expect((await session.request({ authority: HOST, path: '/hints' })).interim).toEqual(client.can.has('interim') ? [103] : []);
    expect((await session.attempt({ authority: HOST, path: '/abort' })).error).toBeDefined();
    expect(await session.attempt({ authority: HOST, path: '/endless', cancelAfter: 100_000 })).toMatchObject({
      status: 200,
      cancelled: true,
    });
    await session.close();
  }, 60_000);

  test('100 at once', async () => {
    const answers = await client.parallel(
      dial,
      Array.from({ length: 100 }, (__, i) => ({ authority: HOST, path: `/bytes/${1000 + i}` })),
    );
    expect(answers.map((answer) => answer.size)).toEqual(Array.from({ length: 100 }, (__, i) => 1000 + i));
  }, 60_000);
});

describe('changes of address', () => {
  const SIZE = 8 << 20;
  let client: DriverClient;
  beforeAll(() => {
    client = quicgo();
  });
  afterAll(() => (client as DriverClient | undefined)?.stop());

  test('quic-go moves in the midst of a request', async () => {
    const connection = await client.driver.open(dial);
    expect(connection.group).toBe('X25519MLKEM768');
    const migrate = [
      { after: 2 << 20, local: '127.0.0.3' },
      { after: 5 << 20, local: '127.0.0.4' },
    ];
    const echo = await connection.request({ authority: HOST, path: '/echo', method: 'POST', body: SIZE, migrate });
    expect(echo).toMatchObject({ status: 200, size: SIZE, sha256: echo.sent });
    expect(echo.moves?.map((m) => m.local.split(':')[0])).toEqual(['127.0.0.3', '127.0.0.4']);
    expect(await connection.migrate('127.0.0.5')).toMatch(/^127\.0\.0\.5:\d+$/);
    expect((await connection.request({ authority: HOST, path: `/bytes/${SIZE}` })).size).toBe(SIZE);
    await connection.close();
  }, 30_000);

  test('a NAT moves it to another port in the midst of a request', async () => {
    const nat = await Nat.open({ host: '127.0.0.1', port: Number(port()) }, '127.0.0.2');
    const connection = await client.driver.open({ ...dial, address: nat.address });
    const moved = nat.passed('down', SIZE / 2).then(() => nat.rebind());
    const answer = await connection.request({ authority: HOST, path: `/bytes/${SIZE}` });
    await moved;
    expect(answer).toMatchObject({ status: 200, size: SIZE });
    expect(nat.outsides.length).toBe(2);
    await connection.close();
    nat.close();
  }, 30_000);
});
