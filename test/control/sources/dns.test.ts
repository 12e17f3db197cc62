import { afterEach, describe, expect, test } from '@jest/globals';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { Dns, FamilyMemory, MAX_ADDRESSES, systemResolve, type Answer } from '../../../src/control/sources/dns.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

const settle = async (): Promise<void> => {
  for (let i = 0; i < 10; i++) await Promise.resolve();
};

const setUp = (random = 0) => {
  const clock = new ManualClock();
  const zone = new Map<string, readonly Answer[] | Error>();
  const asked: [string, number][] = [];
  const changes: string[] = [];
  const failures: [string, string][] = [];
  const dns = new Dns({
    clock,
    resolve: (name) => {
      asked.push([name, clock.now()]);
      const answer = zone.get(name) ?? Object.assign(new Error('queryA ENOTFOUND'), { code: 'ENOTFOUND' });
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    random: () => random,
    onChange: (name) => changes.push(name),
    onFailure: (name, error) => failures.push([name, error]),
  });
  return { clock, zone, asked, changes, failures, dns };
};
const a = (address: string, ttl = 60): Answer => ({ address, ttl });
const times = (asked: [string, number][]): number[] => asked.map(([, at]) => at);

test('IP literals pass through and are never asked for', async () => {
  const { asked, dns } = setUp();
  dns.watch(new Set(['192.0.2.1', '::1']));
  await settle();
  expect(asked).toEqual([]);
  expect(dns.addresses('192.0.2.1')).toEqual(['192.0.2.1']);
  expect(dns.addresses('::1')).toEqual(['::1']);
});

test('localhost is the loopback address without a question, of the one family that most servers listen on', async () => {
  const { asked, dns } = setUp();
  dns.watch(new Set(['localhost']));
  await settle();
  expect(asked).toEqual([]);
  expect(dns.addresses('localhost')).toEqual(['127.0.0.1']);
});

test('a name is asked for again when its shortest time to live has passed', async () => {
  const { clock, zone, asked, changes, dns } = setUp();
  zone.set('a.test', [a('192.0.2.1', 60), a('2001:db8::1', 20)]);
  dns.watch(new Set(['a.test']));
  await settle();
  expect(dns.addresses('a.test')).toEqual(['192.0.2.1', '2001:db8::1']);
  expect(changes).toEqual(['a.test']);
  clock.advance(19_999);
  expect(asked).toHaveLength(1);
  clock.advance(1);
  expect(asked).toHaveLength(2);
});

test.each([
  [0, 1000],
  [1, 1000],
  [86_400, 300_000],
])('a time to live of %i s counts as %i ms', async (ttl, ms) => {
  const { clock, zone, asked, dns } = setUp();
  zone.set('a.test', [a('192.0.2.1', ttl)]);
  dns.watch(new Set(['a.test']));
  await settle();
  clock.advance(ms - 1);
  expect(asked).toHaveLength(1);
  clock.advance(1);
  expect(asked).toHaveLength(2);
});

test('jitter is up to a tenth, early', async () => {
  const { clock, zone, asked, dns } = setUp(0.5);
  zone.set('a.test', [a('192.0.2.1', 100)]);
  dns.watch(new Set(['a.test']));
  await settle();
  clock.advance(200_000);
  expect(times(asked)).toEqual([0, 95_000]);
});

test('the order of an answer is no change, other addresses are', async () => {
  const { clock, zone, changes, dns } = setUp();
  zone.set('a.test', [a('192.0.2.2', 1), a('192.0.2.1', 1)]);
  dns.watch(new Set(['a.test']));
  await settle();
  zone.set('a.test', [a('192.0.2.1', 1), a('192.0.2.2', 1)]);
  clock.advance(1000);
  await settle();
  expect(changes).toHaveLength(1);
  zone.set('a.test', [a('192.0.2.3', 1)]);
  clock.advance(1000);
  await settle();
  expect(changes).toHaveLength(2);
  expect(dns.addresses('a.test')).toEqual(['192.0.2.3']);
});

test('a failure keeps the last answer, says so, and is retried with growing pauses up to 30 s', async () => {
  const { clock, zone, asked, failures, dns } = setUp();
  zone.set('a.test', [a('192.0.2.1', 10)]);
  dns.watch(new Set(['a.test']));
  await settle();
  zone.set('a.test', Object.assign(new Error('x'), { code: 'ESERVFAIL' }));
  for (let i = 0; i < 200; i++) {
    clock.advance(1000);
    await settle();
  }
  expect(dns.addresses('a.test')).toEqual(['192.0.2.1']);
  expect(dns.states()).toEqual([{ name: 'a.test', addresses: ['192.0.2.1'], error: 'ESERVFAIL', resolved: true }]);
  const pauses = times(asked).map((t, i, all) => t - (all[i - 1] ?? 0));
  expect(pauses.slice(2, 9)).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  expect(failures[0]).toEqual(['a.test', 'ESERVFAIL']);
  zone.set('a.test', [a('192.0.2.9', 10)]);
  clock.advance(30_000);
  await settle();
  expect(dns.addresses('a.test')).toEqual(['192.0.2.9']);
});

test('an empty answer is a failure', async () => {
  const { zone, dns, failures } = setUp();
  zone.set('a.test', []);
  dns.watch(new Set(['a.test']));
  await settle();
  expect(failures).toEqual([['a.test', 'no addresses']]);
});

test('more addresses than anybody needs are cut', async () => {
  const { zone, dns } = setUp();
  zone.set(
    'a.test',
    Array.from({ length: 1000 }, (_, i) => a(`10.0.${i >> 8}.${i & 255}`)),
  );
  dns.watch(new Set(['a.test']));
  await settle();
  expect(dns.addresses('a.test')).toHaveLength(MAX_ADDRESSES);
});

test('a forgotten name is asked for no more, and its late answer is nothing', async () => {
  const { clock, zone, asked, changes, dns } = setUp();
  zone.set('a.test', [a('192.0.2.1', 10)]);
  dns.watch(new Set(['a.test']));
  dns.watch(new Set());
  await settle();
  clock.advance(100_000);
  expect(asked).toHaveLength(1);
  expect(changes).toEqual([]);
  expect(dns.addresses('a.test')).toEqual([]);
  expect(clock.pending()).toBe(0);
});

test('settled waits for the first answer of every name, good or bad, but not for ever', async () => {
  const { clock, zone, dns } = setUp();
  zone.set('a.test', [a('192.0.2.1')]);
  dns.watch(new Set(['a.test', 'missing.test']));
  await dns.settled(1000);
  expect(dns.states().map((s) => s.resolved)).toEqual([true, false]);
  const slow = new Dns({ clock, resolve: () => new Promise(() => {}), random: () => 0, onChange: () => {}, onFailure: () => {} });
  slow.watch(new Set(['slow.test']));
  let done = false;
  const waiting = slow.settled(1000).then(() => (done = true));
  clock.advance(999);
  await settle();
  expect(done).toBe(false);
  clock.advance(1);
  await waiting;
});

test('a family that cannot be asked keeps its last answer beside the other one’s new answer; one that is gone does not', () => {
  const memory = new FamilyMemory();
  const given = (address: string) => ({ status: 'fulfilled' as const, value: [a(address)] });
  const failed = (code: string) => ({ status: 'rejected' as const, reason: Object.assign(new Error(code), { code }) });
  const addresses = (...asked: Parameters<FamilyMemory['complete']>[1]) => memory.complete('a.test', asked).map((x) => x.address);
  expect(addresses(given('192.0.2.1'), failed('ESERVFAIL'))).toEqual(['192.0.2.1']);
  expect(addresses(given('192.0.2.1'), given('2001:db8::1'))).toEqual(['192.0.2.1', '2001:db8::1']);
  expect(addresses(given('192.0.2.2'), failed('ETIMEOUT'))).toEqual(['192.0.2.2', '2001:db8::1']);
  expect(addresses(given('192.0.2.2'), failed('ESERVFAIL'))).toEqual(['192.0.2.2', '2001:db8::1']);
  expect(addresses(given('192.0.2.2'), failed('ENODATA'))).toEqual(['192.0.2.2']);
  expect(addresses(given('192.0.2.2'), failed('ESERVFAIL'))).toEqual(['192.0.2.2']);
});

describe('over a real socket', () => {
  const sockets: Socket[] = [];
  afterEach(() => {
    for (const s of sockets.splice(0)) s.close();
  });

  /** A server that knows A records only; everything else does not exist, `broken` is SERVFAIL. */
  const serve = async (records: Record<string, readonly [string, number]>): Promise<string> => {
    const socket = createSocket('udp4');
    sockets.push(socket);
    socket.on('message', (query, peer) => {
      let at = 12;
      const labels: string[] = [];
      while ((query[at] as number) > 0) {
        labels.push(query.toString('latin1', at + 1, at + 1 + (query[at] as number)));
        at += 1 + (query[at] as number);
      }
      const name = labels.join('.');
      const isA = query.readUInt16BE(at + 1) === 1;
      const record = isA ? records[name] : undefined;
      const known = Object.hasOwn(records, name);
      const code = name === 'broken.test' ? 2 : known ? 0 : 3;
      const head = Buffer.from([
        query[0] as number,
        query[1] as number,
        0x81,
        0x80 | code,
        0,
        1,
        0,
        record === undefined ? 0 : 1,
        0,
        0,
        0,
        0,
      ]);
      const parts = [head, query.subarray(12, at + 5)];
      if (record !== undefined) {
        const answer = Buffer.alloc(16);
        answer.writeUInt16BE(0xc00c, 0);
        answer.writeUInt16BE(1, 2);
        answer.writeUInt16BE(1, 4);
        answer.writeUInt32BE(record[1], 6);
        answer.writeUInt16BE(4, 10);
        record[0].split('.').forEach((octet, i) => answer.writeUInt8(Number(octet), 12 + i));
        parts.push(answer);
      }
      socket.send(Buffer.concat(parts), peer.port, peer.address);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return `127.0.0.1:${socket.address().port}`;
  };

  test('addresses come with their times to live; one family is enough', async () => {
    const resolve = systemResolve([await serve({ 'a.test': ['192.0.2.7', 42] })]);
    expect(await resolve('a.test')).toEqual(
      [{ address: '192.0.2.7', ttl: 42, type: 'A' }].map(({ address, ttl }) => expect.objectContaining({ address, ttl })),
    );
  });

  test('a server that fails is a failure, not an absence', async () => {
    const resolve = systemResolve([await serve({})]);
    await expect(resolve('broken.test')).rejects.toMatchObject({ code: 'ESERVFAIL' });
  });

  test('a name that DNS does not know but the hosts file does', async () => {
    const resolve = systemResolve([await serve({})]);
    // Every machine's hosts file has it; a question for it would get NXDOMAIN here.
    const answers = await resolve('localhost');
    expect(answers.map((x) => x.address).every((x) => x === '127.0.0.1' || x === '::1')).toBe(true);
    await expect(resolve('missing.invalid')).rejects.toMatchObject({ code: expect.stringMatching(/^E/) });
  });
});
