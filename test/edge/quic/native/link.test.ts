import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { addressFrom } from '../../../../src/edge/quic/address.ts';
import type { QuicConn, QuicEndpoint } from '../../../../src/edge/quic/engine.ts';
import { HandshakeError } from '../../../../src/edge/quic/failure.ts';
import { NativeEngine } from '../../../../src/edge/quic/native/engine.ts';
import * as records from '../../../../src/edge/quic/native/records.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { Pace } from '../../../../src/lib/pace.ts';
import { connectOptions, entry, listenOptions, pattern, Recorder, send, table, text, type Hooks } from '../kit.ts';
import { FakeAddon, type Event, type FakeEndpoint, type FakeSizes } from './fakeaddon.ts';

const R = records;
const REMOTE = addressFrom('192.0.2.1', 1000) as Uint8Array;
const LOCAL = addressFrom('192.0.2.2', 443) as Uint8Array;
const MOVED = addressFrom('2001:db8::7', 2000) as Uint8Array;

const conn = (slot: number, generation: number, maxDatagram = 0, flags = 0): Event => {
  const max = Buffer.alloc(4);
  max.writeUInt32LE(maxDatagram);
  return { kind: R.EVENT_CONN, slot, generation, bytes: Buffer.concat([REMOTE, LOCAL, max]), flags };
};
const data = (slot: number, generation: number, id: bigint, bytes: string, fin = false): Event => ({
  kind: R.EVENT_DATA,
  slot,
  generation,
  id,
  bytes: Buffer.from(bytes),
  flags: fin ? R.FIN : 0,
});

interface Stage {
  readonly addon: FakeAddon;
  readonly fake: FakeEndpoint;
  readonly ep: QuicEndpoint;
  readonly h: Recorder;
  readonly errors: { where: string; message: string }[];
  readonly clock: ManualClock;
}

const stage = async (hooks: Hooks = {}, sizes?: FakeSizes): Promise<Stage> => {
  const addon = new FakeAddon(sizes);
  const errors: Stage['errors'] = [];
  const clock = new ManualClock();
  const engine = new NativeEngine({ addon, clock, onInternalError: (where, e) => errors.push({ where, message: (e as Error).message }) });
  const h = new Recorder(hooks);
  const ep = await engine.listen(listenOptions(), h);
  return { addon, fake: addon.last, ep, h, errors, clock };
};
const connected = async (hooks: Hooks = {}, sizes?: FakeSizes): Promise<Stage & { c: QuicConn }> => {
  const s = await stage(hooks, sizes);
  s.fake.play(conn(5, 77, 1000));
  return { ...s, c: s.h.conns[0] as QuicConn };
};
const nextTurn = (): Promise<void> => new Promise((done) => setImmediate(done));

test('the numbers are those of the addon', () => {
  const rust = readFileSync(new URL('../../../../native/src/records.rs', import.meta.url), 'utf8');
  const found = new Map<string, number>();
  let prefix = '';
  for (const line of rust.split('\n')) {
    const mod = /^pub mod (event|command) \{/.exec(line);
    if (mod !== null) prefix = `${(mod[1] as string).toUpperCase()}_`;
    else if (line === '}') prefix = '';
    const value = /^\s*pub const ([A-Z_]+): (?:u32|usize) = (\d+);/.exec(line);
    if (value !== null) found.set(prefix + (value[1] as string), Number(value[2]));
  }
  const ours = Object.entries(records).filter(([name]) => found.has(name));
  expect(ours.length).toBe(found.size);
  for (const [name, value] of ours) expect([name, value]).toEqual([name, found.get(name)]);
});

describe('events', () => {
  test('a connection has its key, its addresses and its streams', async () => {
    const { c, h, fake } = await connected();
    expect(c.key).toBe(5 + 77 * 2 ** 24);
    expect([Buffer.from(c.remote), Buffer.from(c.local)]).toEqual([Buffer.from(REMOTE), Buffer.from(LOCAL)]);
    expect(c.early).toBe(false);
    expect([c.openUni(), c.openUni()]).toEqual([3, 7]);
    fake.play(conn(6, 77, 0, R.EARLY));
    expect(h.conns[1]?.early).toBe(true);
    expect(h.turns).toBe(2);
  });

  test('each kind reaches its callback, in order', async () => {
    const seen: unknown[] = [];
    const { fake, h, c } = await connected({
      onData: (_c, id, buf, start, end, fin) => seen.push(['data', id, Buffer.from(buf.subarray(start, end)).toString(), fin]),
      onReset: (_c, id, code) => seen.push(['reset', id, code]),
      onStop: (_c, id, code) => seen.push(['stop', id, code]),
      onWritable: (_c, id) => seen.push(['writable', id]),
      onDatagram: (_c, buf, start, end) => seen.push(['datagram', Buffer.from(buf.subarray(start, end)).toString()]),
      onPath: (x) => seen.push(['path', Buffer.from(x.remote).equals(MOVED), Buffer.from(x.local).equals(LOCAL)]),
      onClose: (_c, why) => seen.push(['close', why]),
    });
    const of = { slot: 5, generation: 77 };
    fake.play(
      data(5, 77, 0n, 'first'),
      data(5, 77, 4n, 'last', true),
      data(5, 77, 2n ** 40n, '', true),
      { kind: R.EVENT_RESET, ...of, id: 8n, code: 0x10cn },
      { kind: R.EVENT_STOP, ...of, id: 12n, code: 2n ** 52n + 1n },
      { kind: R.EVENT_WRITABLE, ...of, id: 16n },
      { kind: R.EVENT_DATAGRAM, ...of, bytes: text('dgram') },
      { kind: R.EVENT_PATH, ...of, bytes: Buffer.concat([MOVED, LOCAL]) },
      { kind: R.EVENT_CLOSE, ...of, id: 0x107n, bytes: text('load'), flags: 1 | R.APPLICATION_EVENT },
    );
    expect(seen).toEqual([
      ['data', 0, 'first', false],
      ['data', 4, 'last', true],
      ['data', 2 ** 40, '', true],
      ['reset', 8, 0x10c],
      ['stop', 12, 2 ** 52 + 1],
      ['writable', 16],
      ['datagram', 'dgram'],
      ['path', true, true],
      ['close', { side: 'remote', app: true, code: 0x107, reason: 'load' }],
    ]);
    expect(h.turns).toBe(2);
    expect(Buffer.from(c.remote).equals(MOVED)).toBe(true);
  });

  test('codes that no number holds saturate', async () => {
    const { fake, h, c } = await connected();
    const of = { slot: 5, generation: 77 };
    fake.play(
      { kind: R.EVENT_RESET, ...of, id: 0n, code: 2n ** 62n - 1n },
      { kind: R.EVENT_STOP, ...of, id: 0n, code: 2n ** 53n - 1n },
      { kind: R.EVENT_CLOSE, ...of, id: 2n ** 53n, flags: 1 },
    );
    expect(h.seen(c, 0).resets).toEqual([Number.MAX_SAFE_INTEGER]);
    expect(h.seen(c, 0).stops).toEqual([Number.MAX_SAFE_INTEGER]);
    expect(h.closes[0]?.why.code).toBe(Number.MAX_SAFE_INTEGER);
  });

  test('sides of an ending', async () => {
    const { fake, h } = await stage();
    for (let side = 0; side < 4; side++) {
      fake.play(conn(side, 1), { kind: R.EVENT_CLOSE, slot: side, generation: 1, flags: side });
    }
    expect(h.closes.map((x) => [x.why.side, x.why.app])).toEqual([
      ['local', false],
      ['remote', false],
      ['timeout', false],
      ['reset', false],
    ]);
  });

  test('what names another generation, or no connection, reaches nobody', async () => {
    const { fake, h, errors } = await connected();
    fake.play(
      data(5, 76, 0n, 'old'),
      data(4, 77, 0n, 'nobody'),
      data(4000, 0, 0n, 'nobody'),
      { kind: R.EVENT_CLOSE, slot: 5, generation: 76 },
      { kind: R.EVENT_CLOSE, slot: 5, generation: 77, flags: 1 },
      { kind: R.EVENT_CLOSE, slot: 5, generation: 77, flags: 1 },
      data(5, 77, 0n, 'late'),
      conn(5, 78),
      data(5, 77, 0n, 'later'),
      data(5, 78, 0n, 'new'),
    );
    expect([h.conns.length, h.closes.length]).toEqual([2, 1]);
    expect(h.seen(h.conns[0] as QuicConn, 0).bytes).toBe(0);
    expect(
      h
        .seen(h.conns[1] as QuicConn, 0)
        .data()
        .toString(),
    ).toBe('new');
    expect(errors).toEqual([]);
  });

  test('after close nothing comes but its ending', async () => {
    const { fake, h, c } = await connected({ onData: (x) => x.close(true, 0x101, 'enough') });
    fake.play(data(5, 77, 0n, 'one'), data(5, 77, 4n, 'two'), { kind: R.EVENT_STOP, slot: 5, generation: 77, id: 0n, code: 1n });
    expect([h.seen(c, 0).bytes, h.seen(c, 4).bytes, h.seen(c, 0).stops.length]).toEqual([3, 0, 0]);
    fake.play({ kind: R.EVENT_CLOSE, slot: 5, generation: 77, id: 0x101n, flags: R.APPLICATION_EVENT });
    expect(h.closes.length).toBe(1);
  });

  test('a datagram of another worker, with both addresses', async () => {
    const { fake, h } = await stage();
    fake.play({ kind: R.EVENT_FOREIGN, slot: 9, bytes: Buffer.concat([REMOTE, LOCAL, text('packet')]) });
    expect(h.foreign).toEqual([{ worker: 9, bytes: Buffer.from('packet'), from: Buffer.from(REMOTE), to: Buffer.from(LOCAL) }]);
  });

  test('a batch without events ends like any other', async () => {
    const { fake, h } = await stage();
    fake.play();
    expect(h.turns).toBe(1);
  });
});

describe('commands', () => {
  test('each is a record', async () => {
    const { fake, c } = await connected();
    c.pause(4);
    c.resume(4);
    c.reset(8, 0x10c);
    c.stop(2 ** 40, 2 ** 53 - 1);
    c.priority(12, 7, true);
    c.priority(16, 0, false);
    c.ping();
    expect(c.datagram(text('xdgramx'), 1, 6)).toBe(true);
    c.write(0, text('.hello.'), 1, 6, true);
    c.close(true, 0x107, 'load');
    await nextTurn();
    expect(fake.calls).toEqual(['flush 10']);
    const got = fake.takeCommands();
    for (const x of got) expect([x.slot, x.generation]).toEqual([5, 77]);
    expect(got.map((x) => [x.kind, x.id, x.flags])).toEqual([
      [R.COMMAND_PAUSE, 4n, 0],
      [R.COMMAND_RESUME, 4n, 0],
      [R.COMMAND_RESET, 8n, 0],
      [R.COMMAND_STOP, 2n ** 40n, 0],
      [R.COMMAND_PRIORITY, 12n, 7 | R.INCREMENTAL],
      [R.COMMAND_PRIORITY, 16n, 0],
      [R.COMMAND_PING, 0n, 0],
      [R.COMMAND_DATAGRAM, 0n, 0],
      [R.COMMAND_SEND, 0n, R.FIN],
      [R.COMMAND_CLOSE, 0x107n, R.APPLICATION_COMMAND],
    ]);
    expect([got[2]?.code, got[3]?.code]).toEqual([0x10cn, 2n ** 53n - 1n]);
    expect([got[7], got[8], got[9]].map((x) => x?.bytes.toString())).toEqual(['dgram', 'hello', 'load']);
  });

  test('in a batch they wait for its end; outside of one they leave together', async () => {
    const { fake, c } = await connected({ onData: (x, id) => send(x, id, text('answer'), true) });
    fake.play(data(5, 77, 0n, 'a', true), data(5, 77, 4n, 'b', true));
    expect(fake.takeCommands().map((x) => x.bytes.toString())).toEqual(['answer', 'answer']);
    send(c, 8, text('one'), false);
    send(c, 12, text('two'), false);
    expect(fake.commands).toEqual([]);
    await nextTurn();
    expect(fake.calls).toEqual(['flush 2']);
    await nextTurn();
    expect(fake.calls).toEqual(['flush 2']);
  });

  test('who spreads its work rests when what the round brought has left', async () => {
    const pace = new Pace({ now: () => 0, used: () => 10, sleep: (ms) => fake.calls.push(`rest ${ms}`) });
    const addon = new FakeAddon();
    const h = new Recorder();
    await new NativeEngine({ addon, clock: new ManualClock(), pace }).listen(listenOptions(), h);
    const fake = addon.last;
    fake.play(conn(5, 77, 1000));
    await nextTurn();
    expect(fake.calls).toEqual([]);
    pace.share = 0.5;
    pace.wanted = () => true;
    fake.play(data(5, 77, 0n, 'a', true));
    fake.play(data(5, 77, 4n, 'b', true));
    send(h.conns[0] as QuicConn, 0, text('one'), false);
    await nextTurn();
    expect(fake.calls).toEqual(['flush 1', 'rest 20']);
    await nextTurn();
    expect(fake.calls).toEqual(['flush 1', 'rest 20']);
  });

  test('a closed connection says nothing any more', async () => {
    const { fake, c } = await connected();
    c.close(false, 0, '');
    c.close(true, 1, 'again');
    expect(send(c, 0, text('x'), true)).toBe(true);
    expect(c.datagram(text('x'), 0, 1)).toBe(false);
    c.pause(0);
    c.reset(0, 1);
    c.stop(0, 1);
    c.ping();
    expect(c.stuck?.(5)).toEqual([]);
    await nextTurn();
    expect(fake.takeCommands().map((x) => x.kind)).toEqual([R.COMMAND_CLOSE]);
  });

  test('a full list of records is handed over at once, in order', async () => {
    const { fake, c } = await connected({}, { records: 4, data: 4096 });
    for (let i = 0; i < 10; i++) c.pause(i * 4);
    await nextTurn();
    expect(fake.calls).toEqual(['submit 4', 'submit 4', 'flush 2']);
    expect(fake.takeCommands().map((x) => Number(x.id))).toEqual([0, 4, 8, 12, 16, 20, 24, 28, 32, 36]);
  });

  test('full data is handed over at once, in a batch as well', async () => {
    const { fake } = await connected(
      { onData: (x, id, buf, start, end) => x.write(id, buf, start, end, false) },
      { records: 64, data: 4096 },
    );
    const bytes = 'x'.repeat(1500);
    fake.play(data(5, 77, 0n, bytes), data(5, 77, 4n, bytes));
    fake.play(data(5, 77, 8n, bytes));
    expect(fake.calls).toEqual([]);
    fake.takeCommands();
    const big = await connected(
      { onData: (x) => [0, 4, 8].forEach((id) => x.write(id, Buffer.from(bytes), 0, 1500, false)) },
      { records: 64, data: 4096 },
    );
    big.fake.play(data(5, 77, 0n, 'go'));
    expect(big.fake.calls).toEqual(['submit 2']);
    expect(big.fake.takeCommands().map((x) => [Number(x.id), x.bytes.toString()])).toEqual([
      [0, bytes],
      [4, bytes],
      [8, bytes],
    ]);
  });

  test('a write longer than the buffer goes in pieces; only the last one ends the stream', async () => {
    const { fake, c } = await connected({}, { records: 64, data: 4096 });
    const body = pattern(10_000);
    expect(send(c, 0, body, true)).toBe(true);
    await nextTurn();
    const got = fake.takeCommands();
    expect(Buffer.concat(got.map((x) => x.bytes)).equals(body)).toBe(true);
    expect(got.map((x) => x.flags)).toEqual([0, 0, R.FIN]);
  });

  test('what is written to one stream in a row is one record', async () => {
    const { fake, c } = await connected({}, { records: 64, data: 16 });
    const far = 2 ** 33;
    for (const [id, bytes] of [
      [0, 'ab'],
      [0, 'cd'],
      [4, 'e'],
      [0, 'f'],
      [far, 'g'],
      [far, 'h'],
    ] as const)
      send(c, id, text(bytes), false);
    send(c, 8, text('ij'), false);
    send(c, 8, text('k'), true);
    send(c, 8, text('l'), true);
    await nextTurn();
    expect(fake.takeCommands().map((x) => [Number(x.id), x.bytes.toString(), x.flags])).toEqual([
      [0, 'abcd', 0],
      [4, 'e', 0],
      [0, 'f', 0],
      [far, 'g', 0],
      [far, 'h', 0],
      [8, 'ijk', R.FIN],
      [8, 'l', R.FIN],
    ]);
  });

  test('a record ends where the buffer does, and before anything but bytes', async () => {
    const { fake, c } = await connected({}, { records: 64, data: 8 });
    send(c, 0, text('12345'), false);
    send(c, 0, text('6789'), false);
    c.priority(0, 1, false);
    send(c, 0, text('0'), false);
    c.datagram(text('d'), 0, 1);
    send(c, 0, text('1'), false);
    await nextTurn();
    expect(fake.calls).toEqual(['submit 1', 'flush 5']);
    expect(fake.takeCommands().map((x) => [x.kind, x.bytes.toString()])).toEqual([
      [R.COMMAND_SEND, '12345'],
      [R.COMMAND_SEND, '6789'],
      [R.COMMAND_PRIORITY, ''],
      [R.COMMAND_SEND, '0'],
      [R.COMMAND_DATAGRAM, 'd'],
      [R.COMMAND_SEND, '1'],
    ]);
  });

  test('all of a buffer is used, to the last record and the last byte', async () => {
    const { fake, c } = await connected({}, { records: 2, data: 8 });
    send(c, 0, text('1234'), false);
    send(c, 4, text('56'), false);
    send(c, 4, text('78'), false);
    await nextTurn();
    expect(fake.calls).toEqual(['flush 2']);
    send(c, 0, text('12345678'), true);
    await nextTurn();
    expect(fake.calls).toEqual(['flush 2', 'flush 1']);
  });

  test('DATAGRAM frames are as long as was agreed on', async () => {
    const { fake, c, h } = await connected();
    expect(c.datagram(new Uint8Array(1000), 0, 1000)).toBe(true);
    expect(c.datagram(new Uint8Array(1001), 0, 1001)).toBe(false);
    fake.play(conn(6, 1, 0));
    expect((h.conns[1] as QuicConn).datagram(text('x'), 0, 1)).toBe(false);
  });
});

describe('how much a stream may write', () => {
  const block = new Uint8Array(32 * 1024);
  const sizes = { records: 4096, data: 2 << 20 };
  const writable = (id: bigint): Event => ({ kind: R.EVENT_WRITABLE, slot: 5, generation: 77, id });

  test('above 128 KiB the answer is false, WRITABLE is asked for once, and starts anew', async () => {
    const { fake, c, h } = await connected({}, sizes);
    for (let round = 0; round < 3; round++) {
      const answers = [1, 2, 3, 4, 5, 6].map(() => send(c, 0, block, false));
      expect(answers).toEqual([true, true, true, true, false, false]);
      expect(send(c, 0, text(''), false)).toBe(false);
      await nextTurn();
      expect(fake.takeCommands().map((x) => [x.bytes.length, x.flags])).toEqual([
        [5 * block.length, R.WANT_WRITABLE],
        [block.length, 0],
      ]);
      fake.play(writable(0n));
      expect(h.seen(c, 0).writable).toBe(round + 1);
    }
  });

  test('fin is always taken, and asks for nothing', async () => {
    const { fake, c } = await connected({}, sizes);
    for (let i = 0; i < 5; i++) send(c, 0, block, false);
    expect(send(c, 0, block, true)).toBe(true);
    expect(send(c, 4, new Uint8Array(1 << 20), true)).toBe(true);
    await nextTurn();
    expect(fake.takeCommands().at(-1)?.flags).toBe(R.FIN);
  });

  test('all streams together: above 1 MiB', async () => {
    const { fake, c } = await connected({}, sizes);
    const answers: boolean[] = [];
    for (let id = 0; id < 40; id += 4) for (let i = 0; i < 4; i++) answers.push(send(c, id, block, false));
    expect(answers.indexOf(false)).toBe(32);
    await nextTurn();
    fake.takeCommands();
    // Half a MiB may still be there: as much again and the mark is passed.
    fake.play(writable(32n));
    const again: boolean[] = [];
    for (let id = 100; id < 140; id += 4) for (let i = 0; i < 4; i++) again.push(send(c, id, block, false));
    expect(again.indexOf(false)).toBe(16);
  });

  test('several WRITABLE of one batch lower the sum once', async () => {
    const wrote: boolean[] = [];
    const again = await connected({ onWritable: (x, id) => wrote.push(...[1, 2, 3, 4].map(() => send(x, id, block, false))) }, sizes);
    for (let id = 0; id < 36; id += 4) for (let i = 0; i < 4; i++) send(again.c, id, block, false);
    await nextTurn();
    again.fake.play(...[0n, 4n, 8n, 12n, 16n, 20n].map(writable));
    expect(wrote.indexOf(false)).toBe(16);
  });

  test('streams that were reset or stopped are forgotten', async () => {
    const { fake, c } = await connected({}, sizes);
    for (let i = 0; i < 5; i++) send(c, 0, block, false);
    c.reset(0, 1);
    expect(send(c, 0, text('x'), false)).toBe(true);
    for (let i = 0; i < 5; i++) send(c, 4, block, false);
    fake.play({ kind: R.EVENT_STOP, slot: 5, generation: 77, id: 4n, code: 1n });
    expect(send(c, 4, text('x'), false)).toBe(true);
  });
});

describe('exceptions of the handler', () => {
  const of = { slot: 5, generation: 77 };
  const throwing = (which: keyof Hooks): Hooks => ({
    [which]: () => {
      throw new Error(`thrown by ${which}`);
    },
  });
  const closes: readonly (readonly [keyof Hooks, Event])[] = [
    ['onConnection', conn(6, 1)],
    ['onData', data(5, 77, 0n, 'x')],
    ['onReset', { kind: R.EVENT_RESET, ...of, id: 0n, code: 1n }],
    ['onStop', { kind: R.EVENT_STOP, ...of, id: 0n, code: 1n }],
    ['onWritable', { kind: R.EVENT_WRITABLE, ...of, id: 0n }],
    ['onDatagram', { kind: R.EVENT_DATAGRAM, ...of, bytes: text('x') }],
    ['onPath', { kind: R.EVENT_PATH, ...of, bytes: Buffer.concat([MOVED, LOCAL]) }],
  ];
  test.each(closes)('%s: that connection closes with 0x102, the others go on', async (which, event) => {
    const { fake, h, errors } = await connected();
    h.hooks = throwing(which);
    fake.play(event, event, conn(7, 1));
    const found = fake.takeCommands().filter((x) => x.slot === (which === 'onConnection' ? 6 : 5));
    expect(found.map((x) => [x.kind, x.id, x.flags])).toContainEqual([R.COMMAND_CLOSE, 0x102n, R.APPLICATION_COMMAND]);
    expect(errors[0]).toEqual({ where: 'quic_event', message: `thrown by ${which}` });
    if (which !== 'onConnection') expect([errors.length, found.length]).toEqual([1, 1]);
    expect(h.conns.some((x) => x.key === 7 + 2 ** 24)).toBe(true);
    expect(h.turns).toBe(2);
  });

  test.each([
    ['onClose', 'quic_close', { kind: R.EVENT_CLOSE, ...of, flags: 1 }],
    ['onTurnEnd', 'quic_turn_end', data(5, 77, 0n, 'x')],
    ['onForeign', 'quic_foreign', { kind: R.EVENT_FOREIGN, slot: 9, bytes: Buffer.concat([REMOTE, LOCAL]) }],
  ] as const)('%s: told, nothing else', async (which, where, event) => {
    const { fake, h, errors } = await connected();
    h.hooks = throwing(which);
    fake.play(event as Event, data(5, 77, 4n, 'on'));
    expect(errors).toEqual([{ where, message: `thrown by ${which}` }]);
    expect(fake.takeCommands()).toEqual([]);
  });
});

describe('the end of an endpoint', () => {
  test('a fault: onFault, then every connection; what is said afterwards is forgotten', async () => {
    const { fake, h, ep, c, errors } = await connected();
    fake.stats = '{"connections":1}';
    ep.stats();
    const drained = ep.drain();
    fake.dead = 'panicked at x.rs';
    fake.fault('panicked at x.rs');
    fake.fault('again');
    expect(h.faults).toEqual([]);
    await nextTurn();
    expect(h.faults.map((e) => e.message)).toEqual(['panicked at x.rs']);
    expect(h.closes.map((x) => x.why)).toEqual([{ side: 'local', app: false, code: 1, reason: '' }]);
    await drained;
    send(c, 0, text('x'), false);
    await nextTurn();
    ep.setLimits(listenOptions().limits);
    ep.setRetry('always');
    ep.setTls(table());
    ep.setCongestion?.('bbr');
    ep.forward(text('x'), REMOTE, LOCAL);
    expect(ep.stats()).toEqual({ connections: 1 });
    expect([c.info().alpn, c.stats().rttMs]).toEqual(['', 0]);
    await ep.drain();
    await ep.close();
    expect(fake.calls.at(-1)).toBe('close');
    expect([h.faults.length, h.closes.length, errors.length]).toEqual([1, 1, 0]);
  });

  test('an exception of onFault is told, and the connections still end', async () => {
    const { fake, h, errors } = await connected();
    h.hooks = {
      onFault: () => {
        throw new Error('thrown by onFault');
      },
    };
    fake.fault('socket');
    await nextTurn();
    expect(errors).toEqual([{ where: 'quic_fault', message: 'thrown by onFault' }]);
    expect(h.closes.length).toBe(1);
  });

  test('an endpoint that dies while commands are handed over throws at nobody', async () => {
    const { fake, c, h, errors } = await connected({}, { records: 2, data: 64 });
    fake.dead = 'panic';
    fake.fault('panic');
    for (let i = 0; i < 5; i++) c.pause(0);
    await nextTurn();
    expect(h.faults.length).toBe(1);
    expect(errors).toEqual([]);
  });

  test('an endpoint that dies of a question answers with what it last knew', async () => {
    const { fake, ep, errors } = await connected();
    fake.stats = '{"connections":1}';
    expect(ep.stats()).toEqual({ connections: 1 });
    fake.dead = 'panicked in stats';
    expect(ep.stats()).toEqual({ connections: 1 });
    await ep.drain();
    expect(errors.map((e) => e.where)).toEqual(['quic_stats', 'quic_drain']);
    expect(errors[0]?.message).toBe('the endpoint is dead: panicked in stats');
  });

  test('and so does a connection of it, before the fault is told', async () => {
    const { fake, c, errors } = await connected();
    fake.dead = 'panicked in a turn';
    expect([c.info().alpn, c.stats().rttMs, c.stuck?.(1)]).toEqual(['', 0, []]);
    expect(errors.map((e) => e.where)).toEqual(['quic_info', 'quic_conn_stats', 'quic_stuck']);
  });

  test('close hands over what waits, tells those that the addon did not, and only once', async () => {
    const { fake, h, ep, c } = await connected();
    fake.play(conn(6, 1));
    fake.stats = '{"connections":2,"halfOpen":0}';
    send(c, 0, text('bye'), true);
    fake.onClose = () => fake.play({ kind: R.EVENT_CLOSE, slot: 5, generation: 77 });
    const drained = ep.drain();
    await Promise.all([ep.close(), ep.close(), drained]);
    expect(fake.calls).toEqual(['drain', 'stats', 'submit 1', 'close']);
    expect(h.closes.map((x) => [x.conn.key, x.why.side])).toEqual([
      [c.key, 'local'],
      [6 + 2 ** 24, 'local'],
    ]);
    expect(ep.stats().connections).toBe(0);
    await nextTurn();
    expect(fake.calls.at(-1)).toBe('close');
  });

  test('close from inside a batch waits for its end', async () => {
    let closing: Promise<void> | null = null;
    const { fake, ep, h } = await connected({ onData: () => (closing = ep_().close()) });
    function ep_(): QuicEndpoint {
      return ep;
    }
    fake.play(data(5, 77, 0n, 'x'), data(5, 77, 0n, 'y'));
    expect(fake.calls).toEqual([]);
    await closing;
    expect(fake.calls.at(-1)).toBe('close');
    expect(h.seen(h.conns[0] as QuicConn, 0).bytes).toBe(2);
  });

  test('drain asks once and resolves for everybody at DRAINED', async () => {
    const { fake, ep } = await connected();
    let done = 0;
    const both = [ep.drain().then(() => done++), ep.drain().then(() => done++)];
    await nextTurn();
    expect([done, fake.calls]).toEqual([0, ['drain', 'flush 0']]);
    fake.play({ kind: R.EVENT_DRAINED });
    await Promise.all(both);
    await ep.drain();
    expect(fake.calls).toEqual(['drain', 'flush 0']);
  });
});

describe('what is asked of the addon', () => {
  test('facts of a connection, once', async () => {
    const { fake, c } = await connected();
    const der = Buffer.from('certificate');
    fake.info = JSON.stringify({
      sni: 'a.example',
      alpn: 'h3',
      tls: 4,
      resumed: true,
      peerChain: [der.toString('base64')],
      handshakeMs: 1.5,
    });
    expect(c.info()).toEqual({ sni: 'a.example', alpn: 'h3', tls: 4, resumed: true, peerChain: [der], handshakeMs: 1.5 });
    expect(c.info()).toBe(c.info());
    expect(fake.calls).toEqual(['info 5 77']);
  });

  test('figures of a connection, once a second', async () => {
    const { fake, c, clock } = await connected();
    fake.connStats = [1.5, 2, 3, 4];
    const first = c.stats();
    expect(first).toEqual({ rttMs: 1.5, lost: 2, sent: 3, received: 4 });
    clock.advance(999);
    expect(c.stats()).toBe(first);
    fake.connStats = [2, 2, 3, 4];
    clock.advance(1);
    expect(c.stats().rttMs).toBe(2);
    fake.connStats = null;
    clock.advance(1000);
    expect(c.stats().rttMs).toBe(2);
    expect(fake.calls.length).toBe(3);
    fake.stuck = [4, 8];
    expect(c.stuck?.(250)).toEqual([4, 8]);
    expect(fake.calls.at(-1)).toBe('stuck 5 77 250');
  });

  test('changes of the configuration, and a datagram that was handed over', async () => {
    const { fake, ep } = await stage();
    ep.setRetry('always');
    ep.setCongestion?.('bbr');
    ep.setKeys({ resetKey: Buffer.alloc(32, 1), tokenKeys: [Buffer.alloc(32, 2)] });
    ep.succeed([4, 200]);
    expect(() => ep.succeed([4, 256])).toThrow('succeed: 256 is no worker');
    ep.forward(text('packet'), REMOTE, LOCAL);
    await nextTurn();
    expect(fake.calls).toEqual([
      'setRetry always',
      'setCongestion bbr',
      `setKeys {"resetKey":"${'01'.repeat(32)}","tokenKeys":["${'02'.repeat(32)}"]}`,
      'succeed [4,200]',
      'forward 6',
      'flush 0',
    ]);
    expect(ep.addresses).toEqual([{ host: '127.0.0.1', port: 4433 }]);
  });
});

describe('options', () => {
  const refused = async (more: Parameters<typeof listenOptions>[0]): Promise<string> => {
    const addon = new FakeAddon();
    const e = await new NativeEngine({ addon }).listen(listenOptions(more), new Recorder()).then(
      () => null,
      (x: unknown) => x as Error,
    );
    expect(addon.endpoints.length).toBe(0);
    return e?.message ?? '';
  };

  test('what is wrong is refused by name before the addon sees it', async () => {
    expect(await refused({ hosts: [] })).toBe('hosts: no interface is named');
    expect(await refused({ hosts: ['localhost'] })).toBe('hosts: "localhost" is no IP address');
    expect(await refused({ handover: { folder: '/tmp', name: '../x' } })).toBe('handover.name: "../x" is not 16 hexadecimal digits');
    expect(await refused({ resetKey: Buffer.alloc(8) })).toBe('resetKey: at least 16 bytes wanted');
    expect(await refused({ tokenKeys: [] })).toBe('tokenKeys: at least one key wanted');
    expect(await refused({ tokenKeys: [Buffer.alloc(16)] })).toBe('tokenKeys: 32 bytes wanted');
    expect(await refused({ congestion: 'vegas' as 'cubic' })).toBe('the native engine cannot honour congestion: cubic, bbr or reno wanted');
    expect(await refused({ limits: { idleMs: -1 } })).toBe('limits.idleMs: -1 is no count');
    expect(await refused({ tls: table([entry(['x'], { alpn: [] })]) })).toContain('no ALPN protocol');
    expect(await refused({ tls: table([entry(['x'], { certs: [] })]) })).toContain('no certificate');
    expect(await refused({ tls: table([entry(['x'], { clientAuth: 'require' })]) })).toContain('clientAuth require without a CA');
    expect(await refused({ tls: table([entry(['x'], { ticketKeys: [Buffer.alloc(32)] })]) })).toContain(
      'ticket keys have 48 bytes, not 32',
    );
  });

  test('the addon gets them as its JSON says; wildcards as they are', async () => {
    const addon = new FakeAddon();
    const engine = new NativeEngine({ addon, keylog: '/tmp/keys', qlog: '/tmp/qlog' });
    const e = entry(['a.example']);
    await engine.listen(listenOptions({ hosts: ['0.0.0.0', '::', '::'], tls: table([e], [['a.example', e]], null) }), new Recorder());
    const o = addon.last.options;
    expect(o).toMatchObject({
      hosts: ['0.0.0.0', '::'],
      port: 0,
      reusePort: false,
      retry: 'off',
      congestion: 'cubic',
      keylog: '/tmp/keys',
      qlog: '/tmp/qlog',
    });
    expect(o['limits']).toEqual(listenOptions().limits);
    expect(o['cid']).toMatchObject({ nodeId: 7, workerId: 3 });
    expect(o['tls']).toMatchObject({ names: { 'a.example': e.id }, fallback: null });
    const [one] = (o['tls'] as { entries: Record<string, unknown>[] }).entries;
    expect(one).toMatchObject({ id: e.id, clientAuth: 'none', alpn: ['h3'], earlyData: false, ticketKeys: [] });
    expect((one as { certs: { key: string }[] }).certs[0]?.key).toContain('BEGIN PRIVATE KEY');
  });
});

describe('a connection that we dial', () => {
  const dial = (): { addon: FakeAddon; h: Recorder; p: Promise<QuicConn> } => {
    const addon = new FakeAddon();
    const h = new Recorder();
    return { addon, h, p: new NativeEngine({ addon }).connect(connectOptions(443), h) };
  };

  test('is handed over when it is established, and its endpoint goes with it', async () => {
    const { addon, h, p } = dial();
    expect(addon.last.options).toMatchObject({
      host: '127.0.0.1',
      port: 443,
      local: null,
      sni: 'localhost',
      alpn: ['h3'],
      insecure: false,
    });
    addon.last.play(conn(0, 0));
    const c = await p;
    expect(h.conns).toEqual([c]);
    expect(c.key).toBeGreaterThanOrEqual(2 ** 48);
    expect([c.openUni(), c.openUni()]).toEqual([2, 6]);
    addon.last.play({ kind: R.EVENT_CLOSE, flags: 2 });
    expect(h.closes.map((x) => x.why.side)).toEqual(['timeout']);
    await nextTurn();
    expect(addon.last.calls).toEqual(['close']);
  });

  test('fails with what ended it', async () => {
    const { addon, h, p } = dial();
    addon.last.play({ kind: R.EVENT_FAILED, id: 0x170n, bytes: text('no'), flags: 1 });
    const e = (await p.catch((x: unknown) => x)) as HandshakeError;
    expect(e).toBeInstanceOf(HandshakeError);
    expect([e.side, e.app, e.code, e.message]).toEqual(['remote', false, 0x170, 'handshake failed (remote, code 0x170: no)']);
    await nextTurn();
    expect(addon.last.calls).toEqual(['close']);
    expect([h.conns.length, h.closes.length]).toEqual([0, 0]);
    const late = dial();
    late.addon.last.play({ kind: R.EVENT_FAILED, flags: 2 });
    await expect(late.p).rejects.toThrow('no handshake in time');
  });

  test('fails with a dead endpoint', async () => {
    const { addon, h, p } = dial();
    addon.last.fault('panic');
    await expect(p).rejects.toThrow('panic');
    expect(h.faults.length).toBe(1);
    await nextTurn();
    expect(addon.last.calls).toEqual(['close']);
  });

  test('what cannot be dialled is refused by name', async () => {
    const engine = new NativeEngine({ addon: new FakeAddon() });
    const failed = (more: Parameters<typeof connectOptions>[1]): Promise<QuicConn> =>
      engine.connect(connectOptions(443, more), new Recorder());
    await expect(failed({ host: 'localhost' })).rejects.toThrow('host: "localhost" is no IP address');
    await expect(failed({ local: 'lo' })).rejects.toThrow('local: "lo" is no IP address');
    await expect(failed({ alpn: [] })).rejects.toThrow('alpn: at least one protocol wanted');
    await expect(failed({ ca: text('nonsense') })).rejects.toThrow('ca: there is no certificate');
  });
});
