/** Clients whose address changes: behind a NAT, or on purpose; and those who only pretend. */
import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { backend } from '../kit/backend.ts';
import { aioquic, Curl, quicgo, type Client, type DriverClient, type Session } from '../kit/clients.ts';
import { describeWith, ENGINE } from '../kit/engine.ts';
import { Nat } from '../kit/nat.ts';
import type { Connection, Dial, RequestSpec } from '../kit/peers.ts';
import { eventually, freeUdpPort } from '../kit/process.ts';
import { startSpooky, type Spooky } from '../kit/spooky.ts';
import { UdpPeer } from '../kit/udp.ts';
import { certificateFiles, documents, HOSTS, listener, makeAuthority, makeLeaves, startWorld, upstream, type World } from './world.ts';

const MIB = 1 << 20;
/** The first bytes of the body that all clients and the Go backend make. */
const SIZE = 20 * MIB;
const HASH = '54a94dfea629ba51efb8d75086d9e8204672c96786dce43fee663168b70c4495';
const SHORT = { size: SIZE, sha256: HASH };
const LONG = { size: 100 * MIB, sha256: 'f429ac538e445c986a868f0305fce16106cc39f5f67ae4df8e32b152c9e6cbe2' };
const CLIENT = '127.0.0.2';
const ATTACKER = '127.0.0.9';

const download: RequestSpec = { authority: HOSTS.go, path: `/bytes/${SIZE}` };
const upload: RequestSpec = { authority: HOSTS.go, path: '/echo', method: 'POST', body: SIZE };

const open: { close: () => void }[] = [];
afterEach(() => {
  for (const o of open.splice(0)) o.close();
});

async function behindNat(dial: Dial, outside = CLIENT): Promise<{ nat: Nat; dial: Dial }> {
  const nat = await Nat.open({ host: '127.0.0.1', port: Number(dial.address.split(':').at(-1)) }, outside);
  open.push(nat);
  // Without validation a new address has three times what comes from it, and a client that only acknowledges sends less than one answer
  // takes: it has to speak by itself (quic-go does so three times in its idle time).
  const alive = ENGINE.caps.migration ? {} : { keepAliveMs: 200, idleMs: 3000 };
  return { nat, dial: { ...dial, ...alive, address: nat.address } };
}

async function attacker(): Promise<UdpPeer> {
  const peer = await UdpPeer.open(ATTACKER);
  open.push(peer);
  return peer;
}

const pathChanges = (spooky: Spooky): Promise<number> => spooky.metric('spooky_quic_path_changes_total');

/** The address that the backend is told. */
async function seenAs(session: Session): Promise<string | undefined> {
  const { text } = await session.request({ authority: HOSTS.go, path: '/whoami' });
  return (JSON.parse(text) as { headers: Record<string, string[]> }).headers['X-Forwarded-For']?.join();
}

/** What a path's client has answered may be lost in the transfer's last moments: it is asked again with what the client says next. */
async function expectPathChanges(count: number, before: number, session: Session, goesOn: boolean): Promise<void> {
  await eventually(async () => {
    if (goesOn) await seenAs(session);
    expect((await pathChanges(world.spooky)) - before).toBe(count);
  });
}

/** At a fifth, two, three and four fifths of the transfer the NAT takes another port, and the next of these addresses when there are any. */
async function rebindAlong(nat: Nat, direction: 'up' | 'down', hosts: readonly string[] = [], size = SIZE): Promise<void> {
  const from = nat.passedBy[direction].bytes;
  for (let fifth = 1; fifth < 5; fifth++) {
    await nat.passed(direction, from + (fifth * size) / 5);
    await nat.rebind(hosts[fifth - 1]);
  }
}

/** Each of five mappings carried its part. */
function expectFiveParts(nat: Nat, hosts: readonly string[]): void {
  expect(nat.outsides.map((o) => o.host)).toEqual(hosts);
  for (const outside of nat.outsides) expect(outside.bytesIn + outside.bytesOut).toBeGreaterThan(MIB);
}

let world: World;
beforeAll(async () => {
  world = await startWorld();
}, 60_000);

const CLIENTS: readonly [string, () => Client][] = [
  ['curl', () => new Curl()],
  ['aioquic', aioquic],
  ['quic-go', quicgo],
];

describe.each(CLIENTS)(`${ENGINE.name}: %s behind a NAT`, (_, make) => {
  let client: Client;
  beforeAll(() => {
    client = make();
  });
  afterAll(() => (client as Client | undefined)?.stop());

  const ports = [CLIENT, CLIENT, CLIENT, CLIENT, CLIENT];

  test('whose port changes four times in a download: no byte is lost', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    const before = await pathChanges(world.spooky);
    const [answer] = await Promise.all([session.request(download), rebindAlong(nat, 'down')]);
    expect(answer).toMatchObject({ status: 200, size: SIZE, sha256: HASH });
    expectFiveParts(nat, ports);
    await expectPathChanges(ENGINE.caps.migration ? 4 : 0, before, session, client.can.has('sessions'));
    await session.close();
  }, 60_000);

  test('whose port changes four times in an upload: no byte is lost', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    const before = await pathChanges(world.spooky);
    const [answer] = await Promise.all([session.request(upload), rebindAlong(nat, 'up')]);
    expect(answer).toMatchObject({ status: 200, size: SIZE, sha256: HASH, sent: HASH });
    expectFiveParts(nat, ports);
    await expectPathChanges(ENGINE.caps.migration ? 4 : 0, before, session, client.can.has('sessions'));
    await session.close();
  }, 60_000);

  describeWith('migration', 'addresses', () => {
    const hosts = ['127.0.0.3', '127.0.0.4', '127.0.0.2', '127.0.0.3'];

    test.each(['down', 'up'] as const)(
      'whose address changes four times, most goes %s: no byte is lost, the backend is told',
      async (direction) => {
        const { nat, dial } = await behindNat(world.dial(HOSTS.go));
        const session = await client.open(dial);
        const keeps = client.can.has('sessions');
        if (keeps) expect(await seenAs(session)).toBe(CLIENT);
        const before = await pathChanges(world.spooky);
        const [answer] = await Promise.all([session.request(direction === 'down' ? download : upload), rebindAlong(nat, direction, hosts)]);
        expect(answer).toMatchObject({ status: 200, size: SIZE, sha256: HASH });
        expectFiveParts(nat, [CLIENT, ...hosts]);
        await expectPathChanges(4, before, session, keeps);
        if (keeps) expect(await seenAs(session)).toBe('127.0.0.3');
        await session.close();
      },
      60_000,
    );
  });
});

describe.each(CLIENTS.filter(([name]) => name !== 'curl'))(`${ENGINE.name}: %s for long behind a NAT`, (_, make) => {
  let client: Client;
  beforeAll(() => {
    client = make();
  });
  afterAll(() => (client as Client | undefined)?.stop());

  test('that changes its port thirty times', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    for (let change = 0; change < 30; change++) {
      await nat.rebind();
      expect((await session.request({ authority: HOSTS.go, path: '/bytes/100000', timeoutMs: 10_000 })).size).toBe(100_000);
    }
    expect(nat.outsides.length).toBe(31);
    await session.close();
  }, 60_000);

  // What is in flight to a forgotten port is lost, all of it.
  test('that forgets its old port in the midst of a download', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    const moved = nat.passed('down', SIZE / 2).then(() => nat.rebind(CLIENT, { forget: true }));
    const [answer] = await Promise.all([session.request(download), moved]);
    expect(answer).toMatchObject({ status: 200, size: SIZE, sha256: HASH });
    expect(nat.outsides.length).toBe(2);
    await session.close();
  }, 60_000);
});

// The kernel chooses the worker by the client's address and port: with four of them, three of four changes lead to another one.
describe.each(['1', '4'])(`${ENGINE.name}: a NAT in front of workers: %s`, (workers) => {
  let several: World;
  beforeAll(async () => {
    several = await startWorld(['--workers', workers]);
  }, 60_000);
  // An engine without migration follows a port, and no further.
  const hosts = ENGINE.caps.migration ? ['127.0.0.3', '127.0.0.3', CLIENT, '127.0.0.3'] : [CLIENT, CLIENT, CLIENT, CLIENT];
  const body = ENGINE.caps.migration ? LONG : SHORT;

  describe.each(CLIENTS)('%s', (_, make) => {
    let client: Client;
    beforeAll(() => {
      client = make();
    });
    afterAll(() => (client as Client | undefined)?.stop());

    test.each(['down', 'up'] as const)(
      `${body.size / MIB} MiB %s through four changes: no byte is lost`,
      async (direction) => {
        const { nat, dial } = await behindNat(several.dial(HOSTS.go));
        const session = await client.open(dial);
        const request: RequestSpec =
          direction === 'down'
            ? { authority: HOSTS.go, path: `/bytes/${body.size}`, timeoutMs: 110_000 }
            : { authority: HOSTS.go, path: '/digest', method: 'POST', body: body.size, timeoutMs: 110_000 };
        const [answer] = await Promise.all([session.request(request), rebindAlong(nat, direction, hosts, body.size)]);
        expect(answer.status).toBe(200);
        if (direction === 'down') expect(answer).toMatchObject(body);
        else expect(answer.text).toBe(body.sha256);
        expectFiveParts(nat, [CLIENT, ...hosts]);
        await session.close();
      },
      120_000,
    );
  });
});

describe(`${ENGINE.name}: a NAT in front of two workers`, () => {
  let client: DriverClient;
  let two: World;
  beforeAll(async () => {
    client = quicgo();
    two = await startWorld(['--workers', '2']);
  }, 60_000);
  afterAll(() => (client as DriverClient | undefined)?.stop());

  test('datagrams that the kernel gives to the other worker reach the connection', async () => {
    const { nat, dial } = await behindNat(two.dial(HOSTS.go));
    const connection = await client.driver.open(dial);
    const delivered = (): Promise<number> =>
      two.spooky.metric('spooky_quic_handover_datagrams_total', { direction: 'in', outcome: 'delivered' });
    // The kernel chooses the worker by the client's port: each change is a toss of a coin.
    for (let change = 0; change < 40 && (await delivered()) === 0; change++) {
      await nat.rebind();
      expect((await connection.request({ authority: HOSTS.go, path: '/bytes/100000' })).size).toBe(100_000);
    }
    expect(await delivered()).toBeGreaterThan(0);
    const received = (): Promise<number> => two.spooky.metric('spooky_quic_datagrams_total', { direction: 'in' });
    const before = [await delivered(), await received()] as const;
    expect((await connection.request(download)).sha256).toBe(HASH);
    const [handed, all] = [(await delivered()) - before[0], (await received()) - before[1]];
    // The native engine tells the kernel whose they are when there are many.
    if (ENGINE.name === 'native') expect(handed).toBeLessThan(all / 5);
    await connection.close();
  }, 60_000);
});

describe(`${ENGINE.name}: quic-go on the move`, () => {
  let client: DriverClient;
  let connection: Connection;
  beforeAll(() => {
    client = quicgo();
  });
  afterAll(() => (client as DriverClient | undefined)?.stop());

  if (!ENGINE.caps.migration) {
    test('is told that it must not', async () => {
      connection = await client.driver.open(world.dial(HOSTS.go));
      await expect(connection.migrate('127.0.0.3')).rejects.toThrow('server disabled connection migration');
      expect((await connection.request({ authority: HOSTS.go, path: '/bytes/1000' })).size).toBe(1000);
      await connection.close();
    });
  }

  describeWith('migration', 'paths', () => {
    const moves = [
      { after: 4 * MIB, local: '127.0.0.3' },
      { after: 10 * MIB, local: '127.0.0.4' },
    ];

    test.each([
      ['download', download, SIZE],
      ['upload', upload, 2 * SIZE],
    ] as const)(
      'a %s through two migrations: no byte is lost, the backend is told',
      async (_, request, bytes) => {
        connection = await client.driver.open(world.dial(HOSTS.go));
        expect(await seenAs(connection)).toBe('127.0.0.1');
        const before = await pathChanges(world.spooky);
        const answer = await connection.request({ ...request, migrate: moves });
        expect(answer).toMatchObject({ status: 200, size: SIZE, sha256: HASH });
        if (request.body !== undefined) expect(answer.sent).toBe(HASH);
        expect(answer.moves?.map((m) => m.local.split(':')[0])).toEqual(['127.0.0.3', '127.0.0.4']);
        for (const move of answer.moves ?? []) expect(move.at).toBeLessThan(bytes);
        expect(await seenAs(connection)).toBe('127.0.0.4');
        expect((await pathChanges(world.spooky)) - before).toBe(2);
        await connection.close();
      },
      60_000,
    );

    test('twenty migrations, one after the other, between requests', async () => {
      connection = await client.driver.open(world.dial(HOSTS.go));
      const before = await pathChanges(world.spooky);
      for (let i = 0; i < 20; i++) {
        const local = `127.0.0.${10 + i}`;
        expect(await connection.migrate(local)).toMatch(new RegExp(`^${local.replaceAll('.', '\\.')}:\\d+$`));
        expect(await seenAs(connection)).toBe(local);
      }
      expect((await pathChanges(world.spooky)) - before).toBe(20);
      await connection.close();
    }, 60_000);
  });
});

describe(`${ENGINE.name}: what only pretends to be the client`, () => {
  let client: DriverClient;
  beforeAll(() => {
    client = aioquic();
  });
  afterAll(() => (client as DriverClient | undefined)?.stop());

  test('Q8: forged datagrams with the real connection id move nothing, and get no answer', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    expect(await seenAs(session)).toBe(CLIENT);
    const before = await pathChanges(world.spooky);
    const genuine = nat.last as Buffer;
    expect((genuine[0] as number) & 0xc0).toBe(0x40);
    const evil = await attacker();
    const received = await world.spooky.metric('spooky_quic_datagrams_total', { direction: 'in' });
    for (let i = 0; i < 100; i++) {
      const forged = Buffer.concat([genuine.subarray(0, 18), randomBytes(20 + 12 * i)]);
      evil.send(forged, { host: '127.0.0.1', port: world.ports.open });
    }
    await world.spooky.metricAbove('spooky_quic_datagrams_total', { direction: 'in' }, received + 99);
    expect(await seenAs(session)).toBe(CLIENT);
    expect(evil.bytesIn).toBe(0);
    expect((await pathChanges(world.spooky)) - before).toBe(0);
    await session.close();
  });

  test('Q8: genuine datagrams, replayed from elsewhere, move nothing', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    expect(await seenAs(session)).toBe(CLIENT);
    const before = await pathChanges(world.spooky);
    const evil = await attacker();
    for (let i = 0; i < 20; i++) {
      const received = await world.spooky.metric('spooky_quic_datagrams_total', { direction: 'in' });
      evil.send(nat.last as Buffer, { host: '127.0.0.1', port: world.ports.open });
      await world.spooky.metricAbove('spooky_quic_datagrams_total', { direction: 'in' }, received);
      expect(await seenAs(session)).toBe(CLIENT);
    }
    expect(evil.bytesIn).toBeLessThanOrEqual(3 * evil.bytesOut);
    expect((await pathChanges(world.spooky)) - before).toBe(0);
    await session.close();
  }, 30_000);

  test('Q8: datagrams that arrive from elsewhere first get three times their bytes at most, and the client keeps its connection', async () => {
    const { nat, dial } = await behindNat(world.dial(HOSTS.go));
    const session = await client.open(dial);
    expect(await seenAs(session)).toBe(CLIENT);
    const before = await pathChanges(world.spooky);
    const peers = await Promise.all(Array.from({ length: 8 }, () => attacker()));
    let raced = 0;
    nat.judge = (datagram, direction, n) => {
      if (direction === 'up' && n % 10 === 9 && raced < 40) {
        peers[raced++ % peers.length]?.send(datagram, { host: '127.0.0.1', port: world.ports.open });
      }
      return 'pass';
    };
    const answer = await session.request(download);
    expect(answer).toMatchObject({ status: 200, size: SIZE, sha256: HASH });
    expect(raced).toBe(40);
    for (const peer of peers) expect(peer.bytesIn).toBeLessThanOrEqual(3 * peer.bytesOut);
    // Those who look like a path are asked whether they are one; an engine without paths has nothing to say to another address.
    const asked = peers.reduce((sum, peer) => sum + peer.bytesIn, 0);
    expect(asked > 0).toBe(ENGINE.caps.migration);
    expect(await seenAs(session)).toBe(CLIENT);
    expect((await pathChanges(world.spooky)) - before).toBe(0);
    // And there is room for a real change.
    await nat.rebind();
    expect(await seenAs(session)).toBe(CLIENT);
    expect((await session.request(download)).sha256).toBe(HASH);
    await session.close();
  }, 60_000);
});

describeWith('migration', 'an address that is not validated yet', () => {
  test.each([
    ['aioquic', aioquic],
    ['quic-go', quicgo],
  ])(
    'Q8: %s: requests from it are reported from the old one, and it gets three times its bytes at most',
    async (_, make) => {
      const authority = makeAuthority();
      const recorder = await backend((r) => r.answer(200, 'here'));
      const port = await freeUdpPort();
      const spooky = await startSpooky({
        documents: documents(listener('open', port), upstream('main', [HOSTS.go], recorder.address)),
        files: certificateFiles(makeLeaves(authority)),
      });
      const client = make();
      const { nat, dial } = await behindNat({ address: `127.0.0.1:${port}`, name: HOSTS.go, ca: authority.file });
      const session = await client.open(dial);
      const told = (i: number): string | undefined => recorder.requests[i]?.fields.find(([name]) => name === 'x-forwarded-for')?.[1];
      await session.request({ authority: HOSTS.go, path: '/' });
      expect(told(0)).toBe(CLIENT);
      // What the server sends to the new address does not arrive: it cannot be validated.
      let deaf = true;
      nat.judge = (__, direction, ___, outside) => (deaf && direction === 'down' && outside.host === '127.0.0.3' ? 'drop' : 'pass');
      await nat.rebind('127.0.0.3');
      const answer = session.request({ authority: HOSTS.go, path: '/from-the-new-address' });
      await recorder.began(2);
      expect(nat.outside.host).toBe('127.0.0.3');
      expect(told(1)).toBe(CLIENT);
      expect(await pathChanges(spooky)).toBe(0);
      await nat.outside.until(() => nat.outside.received > 0);
      expect(nat.outside.bytesIn).toBeLessThanOrEqual(3 * nat.outside.bytesOut);
      deaf = false;
      expect((await answer).status).toBe(200);
      // A challenge that was lost is sent again as the client speaks.
      await eventually(async () => {
        await session.request({ authority: HOSTS.go, path: '/' });
        expect(told(recorder.requests.length - 1)).toBe('127.0.0.3');
      });
      expect(await pathChanges(spooky)).toBe(1);
      await session.close();
      await client.stop();
      await recorder.close();
      await spooky.stop();
    },
    60_000,
  );
});
