/** What an engine can do, as its peers see it: key exchange, length of datagrams, and the address that a wildcard answers from. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { aioquic, Curl, quicgo, type Client, type DriverClient } from '../kit/clients.ts';
import { describeWith, ENGINE } from '../kit/engine.ts';
import { Nat } from '../kit/nat.ts';
import { TOOLS, type Dial } from '../kit/peers.ts';
import { freeUdpPort, run } from '../kit/process.ts';
import { startSpooky } from '../kit/spooky.ts';
import { UdpPeer } from '../kit/udp.ts';
import { ADDRESSES, certificateFiles, documents, HOSTS, listener, startWorld, upstream, type World } from './world.ts';

const MIB = 1 << 20;
const download = { authority: HOSTS.go, path: `/bytes/${8 * MIB}` };
/** The smallest that every path must carry (RFC 9000 s14), and what an engine without discovery uses at most. */
const SMALLEST = 1200;
const USUAL = 1350;

let world: World;
const open: { close: () => void }[] = [];
const clients: Record<'curl' | 'aioquic' | 'quic-go', Client> = { curl: new Curl(), aioquic: aioquic(), 'quic-go': quicgo() };

beforeAll(async () => {
  world = await startWorld();
}, 60_000);
afterEach(() => {
  for (const o of open.splice(0)) o.close();
});
afterAll(() => Promise.all(Object.values(clients).map((client) => client.stop())));

const NAMES = ['curl', 'aioquic', 'quic-go'] as const;

async function behindNat(): Promise<{ nat: Nat; dial: Dial }> {
  const nat = await Nat.open({ host: '127.0.0.1', port: world.ports.open }, '127.0.0.2');
  open.push(nat);
  return { nat, dial: { ...world.dial(HOSTS.go), address: nat.address } };
}

describe(`${ENGINE.name}: key exchange`, () => {
  const group = ENGINE.caps.pq ? 'X25519MLKEM768' : 'X25519';

  test('quic-go, which offers both, agrees on the best that the engine has', async () => {
    const connection = await (clients['quic-go'] as DriverClient).driver.open(world.dial(HOSTS.go));
    expect(connection.group).toBe(group);
    await connection.close();
  });

  test('so does curl', async () => {
    const { name, address, ca } = world.dial(HOSTS.go);
    const port = address.split(':').at(-1);
    const args = ['--verbose', '--silent', '--http3-only', '--resolve', `${name}:${port}:127.0.0.1`, '--cacert', ca as string];
    const { stderr } = await run(join(TOOLS, 'sid'), ['run', 'curl', ...args, `https://${name}:${port}/bytes/10`]);
    const used = /SSL connection using TLSv1\.3 \/ \S+ \/ (\S+) /.exec(stderr)?.[1];
    expect(used?.toUpperCase()).toBe(group);
  });
});

describe(`${ENGINE.name}: datagrams`, () => {
  test.each(NAMES)(
    'on a path that carries them: %s',
    async (name) => {
      const { nat, dial } = await behindNat();
      const session = await clients[name].open(dial);
      expect((await session.request(download)).size).toBe(8 * MIB);
      if (ENGINE.caps.pmtud) expect(nat.passedBy.down.longest).toBeGreaterThan(1400);
      else expect(nat.passedBy.down.longest).toBeLessThanOrEqual(USUAL);
      await session.close();
    },
    30_000,
  );

  describeWith('pmtud', 'narrow paths', () => {
    test.each(NAMES)(
      'that swallow what is longer than 1200 bytes: %s',
      async (name) => {
        const { nat, dial } = await behindNat();
        nat.judge = (datagram, direction) => (direction === 'down' && datagram.length > SMALLEST ? 'drop' : 'pass');
        const session = await clients[name].open(dial);
        expect((await session.request(download)).size).toBe(8 * MIB);
        expect(nat.passedBy.down.longest).toBeLessThanOrEqual(SMALLEST);
        await session.close();
      },
      30_000,
    );
  });
});

describe(`${ENGINE.name}: wildcards`, () => {
  let port: number;
  let dial: (address: string) => Dial;
  // Without packet info an engine binds the addresses of the interfaces: 127.0.0.1 is one, 127.0.0.2 is none.
  const reached = ENGINE.name === 'matrixai' ? ADDRESSES : [...ADDRESSES, '127.0.0.2', '127.99.0.7'];

  beforeAll(async () => {
    port = await freeUdpPort();
    const hosts = ADDRESSES.length > 1 ? '["0.0.0.0", "::"]' : '["0.0.0.0"]';
    const everywhere = listener('everywhere', port).replace(/addresses: .*/, `addresses: ${hosts}`);
    await startSpooky({
      documents: documents(everywhere, upstream('go', [HOSTS.go], world.backend.address)),
      files: certificateFiles(world.leaves),
    });
    dial = (address) => ({
      address: `${address.includes(':') ? `[${address}]` : address}:${port}`,
      name: HOSTS.go,
      ca: world.authority.file,
    });
  }, 30_000);

  test.each(reached)('%s answers from there, before there is a connection', async (address) => {
    const peer = await UdpPeer.open(address.includes(':') ? '::1' : '127.0.0.1');
    open.push(peer);
    const from: string[] = [];
    peer.onMessage = (_, { host }) => from.push(host);
    const unknownVersion = Buffer.concat([Buffer.from('c01a2a3a4a08', 'hex'), randomBytes(8), Buffer.of(8), randomBytes(1190)]);
    peer.send(unknownVersion, { host: address, port });
    await peer.until(() => from.length > 0);
    expect(from).toEqual([address]);
  });

  test.each(reached.flatMap((address) => NAMES.map((name) => [address, name] as const)))(
    '%s serves %s',
    async (address, name) => {
      const session = await clients[name].open(dial(address));
      expect((await session.request(download)).size).toBe(8 * MIB);
      await session.close();
    },
    30_000,
  );
});
