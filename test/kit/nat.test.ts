import { afterEach, expect, test } from '@jest/globals';
import { Nat, type Direction } from './nat.ts';
import { UdpPeer } from './udp.ts';

const open: { close: () => void }[] = [];
afterEach(() => {
  for (const o of open.splice(0)) o.close();
});
const keep = <T extends { close: () => void }>(o: T): T => {
  open.push(o);
  return o;
};

/** A server that answers with where a datagram came from. */
async function stage(outside = '127.0.0.2'): Promise<{ nat: Nat; client: UdpPeer; server: UdpPeer; from: string[]; to: () => number }> {
  const server = keep(await UdpPeer.open('127.0.0.1'));
  const from: string[] = [];
  server.onMessage = (datagram, { host, port }) => {
    from.push(`${host}:${port}`);
    server.send(Buffer.concat([datagram, Buffer.from(` from ${host}`)]), { host, port });
  };
  const nat = keep(await Nat.open(server, outside));
  const client = keep(await UdpPeer.open('127.0.0.1'));
  return { nat, client, server, from, to: () => Number(nat.address.split(':').at(-1)) };
}

const say = async (client: UdpPeer, port: number, text: string): Promise<string> => {
  const before = client.received;
  client.send(Buffer.from(text), { host: '127.0.0.1', port });
  await client.until(() => client.received > before);
  return String(client.got.at(-1));
};

test('forwards both ways, from an address of its own', async () => {
  const s = await stage();
  expect(await say(s.client, s.to(), 'one')).toBe('one from 127.0.0.2');
  expect(await say(s.client, s.to(), 'two')).toBe('two from 127.0.0.2');
  expect(new Set(s.from).size).toBe(1);
  expect(s.from[0]).toBe(s.nat.outside.address);
  expect(s.nat.passedBy).toEqual({ up: { datagrams: 2, bytes: 6, longest: 3 }, down: { datagrams: 2, bytes: 36, longest: 18 } });
  expect(String(s.nat.last)).toBe('two');
  await s.nat.passed('down', 36);
});

test('another port, another address: from the next datagram on, and the old one may be forgotten', async () => {
  const s = await stage();
  await say(s.client, s.to(), 'a');
  const first = s.nat.outside;
  await s.nat.rebind();
  // Not before the client has used it: what is on its way to the old port still arrives.
  s.server.send(Buffer.from('late'), first);
  await s.client.until(() => s.client.received === 2);
  expect(await say(s.client, s.to(), 'b')).toBe('b from 127.0.0.2');
  expect(s.nat.outside.port).not.toBe(first.port);
  s.server.send(Buffer.from('later'), first);
  await s.client.until(() => s.client.received === 4);
  await s.nat.rebind('127.0.0.3', { forget: true });
  expect(await say(s.client, s.to(), 'c')).toBe('c from 127.0.0.3');
  expect(new Set(s.from).size).toBe(3);
  s.server.send(Buffer.from('lost'), first);
  await first.until(() => first.received === 4);
  expect(await say(s.client, s.to(), 'd')).toBe('d from 127.0.0.3');
  expect(s.client.received).toBe(6);
  expect(s.nat.outsides.map((o) => o.host)).toEqual(['127.0.0.2', '127.0.0.2', '127.0.0.3']);
});

test('two rebindings at once count once', async () => {
  const s = await stage();
  await say(s.client, s.to(), 'a');
  await s.nat.rebind('127.0.0.4');
  await s.nat.rebind('127.0.0.3');
  expect(await say(s.client, s.to(), 'b')).toBe('b from 127.0.0.3');
  expect(s.nat.outsides.length).toBe(2);
});

test('drops and doubles what it is told to', async () => {
  const s = await stage();
  const judged: [Direction, number][] = [];
  s.nat.judge = (datagram, direction, n) => {
    judged.push([direction, n]);
    if (String(datagram) === 'drop') return 'drop';
    return direction === 'up' && n === 2 ? 'twice' : 'pass';
  };
  await say(s.client, s.to(), 'a');
  s.client.send(Buffer.from('drop'), { host: '127.0.0.1', port: s.to() });
  s.client.send(Buffer.from('two'), { host: '127.0.0.1', port: s.to() });
  await s.client.until(() => s.client.received === 3);
  expect(s.from.length).toBe(3);
  expect(judged).toEqual([
    ['up', 0],
    ['down', 0],
    ['up', 1],
    ['up', 2],
    ['down', 1],
    ['down', 2],
  ]);
  expect(s.nat.passedBy.up.bytes).toBe(4);
});

test('every client has an outside socket of its own', async () => {
  const s = await stage();
  const other = keep(await UdpPeer.open('127.0.0.1'));
  const answers = await Promise.all([say(s.client, s.to(), 'a'), say(other, s.to(), 'b')]);
  expect(answers).toEqual(['a from 127.0.0.2', 'b from 127.0.0.2']);
  expect(new Set(s.from).size).toBe(2);
  expect(s.from.toSorted()).toContain(s.nat.outside.address);
  expect(s.nat.outsides.length).toBe(1);
});

test('IPv6', async () => {
  const server = keep(await UdpPeer.open('::1'));
  server.onMessage = (datagram, from) => server.send(datagram, from);
  const nat = keep(await Nat.open(server, '::1'));
  const client = keep(await UdpPeer.open('::1'));
  client.send(Buffer.from('six'), { host: '::1', port: Number(/\d+$/.exec(nat.address)?.[0]) });
  await client.until(() => client.received === 1);
  expect(String(client.got[0])).toBe('six');
});
