/** Every kind of hostile HTTP/3 connection a thousand times over, and random bytes: what is left of them. */
import { expect, test } from '@jest/globals';
import { codeName } from '../../src/edge/http/h3/codes.ts';
import { World } from '../edge/http/h3/world.ts';
import { FakeConn } from '../kit/fakeconn.ts';
import { expectNothingLeft } from '../kit/footprint.ts';
import { bytes, concat, data, frame, headers, POST, request, section, varint, varint8 } from '../kit/h3bytes.ts';

const REPETITIONS = 1000;
const COUNT = Number(process.env['SPOOKY_FUZZ_COUNT'] ?? 20_000);

const SETTINGS = concat(bytes(0x00), frame(0x04));
const repeat = (n: number, part: Uint8Array): Buffer => concat(...Array.from({ length: n }, () => part));
const HUGE = varint8(2n ** 62n - 1n);

/** On a connection of its own each; by stream id. */
const ATTACKS: [name: string, stream: number, attack: Uint8Array][] = [
  ['DATA first', 0, data('x')],
  ['HEADERS behind trailers', 0, concat(request(), headers([['a', 'b']]), headers([['a', 'b']]))],
  ['SETTINGS on a request', 0, frame(0x04)],
  ['an HTTP/2 frame', 0, frame(0x08)],
  ['SETTINGS of a megabyte', 6, concat(bytes(0x00, 0x04), HUGE)],
  ['a push stream', 6, bytes(0x01)],
  ['a second control stream', 6, SETTINGS],
  ['an unknown frame without end', 0, concat(request(), varint(0x21), HUGE, Buffer.alloc(60_000))],
  ['HEADERS without end', 0, concat(bytes(0x01), HUGE, Buffer.alloc(60_000))],
  ['HEADERS in part', 0, concat(bytes(0x01), varint(60_000), Buffer.alloc(59_000))],
  ['empty DATA', 0, concat(request([], POST), repeat(1200, frame(0x00)))],
  ['unknown frames', 0, repeat(1200, frame(0x21))],
  ['a bomb', 0, frame(0x01, concat(section([]), Buffer.alloc(20_000, 0xc0 | 58)))],
  ['a bomb of trailers', 0, concat(request([], POST), frame(0x01, concat(section([]), Buffer.alloc(20_000, 0xc0 | 58))))],
  ['an insertion', 6, concat(bytes(0x02, 0x5f), Buffer.alloc(8, 0xff), bytes(0x3f))],
  ['capacity 0 without end', 6, concat(bytes(0x02), Buffer.alloc(1200, 0x20))],
  ['an acknowledgment', 6, bytes(0x03, 0x84)],
  ['a dynamic index', 0, frame(0x01, bytes(0, 0, 0x80))],
  ['an integer without end', 0, frame(0x01, concat(bytes(0, 0, 0xff), Buffer.alloc(20, 0x80)))],
  ['Huffman with EOS', 0, frame(0x01, bytes(0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff))],
  ['content-length and no body', 0, request([['content-length', '5']], POST)],
  ['connection', 0, request([['connection', 'close']])],
  ['a line break', 0, request([['x', 'a\nb']])],
  [
    'names of prototypes',
    0,
    request([
      ['__proto__', 'x'],
      ['constructor', 'y'],
      ['tostring', 'z'],
    ]),
  ],
  ['a partial type', 6, bytes(0x40)],
  ['PRIORITY_UPDATE', 2, repeat(1200, frame(0xf0700, concat(varint(4), Buffer.from('u=1'))))],
];

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

function attack(world: World, stream: number, attackBytes: Uint8Array): void {
  const c = new FakeConn(world.server.handler).open();
  c.feed(2, SETTINGS);
  c.feed(4, request([], POST));
  const half = attackBytes.length >> 1;
  c.feed(stream, attackBytes.subarray(0, half));
  c.feed(stream, attackBytes.subarray(half), stream === 0);
  if (c.closed === null) c.peerClose(0);
  else c.finishClose();
}

test('memory and the event loop stay as they were, and an honest client is served all the while', async () => {
  const world = new World();
  let honest = world.connect();
  let next = 0;
  const pass = async (n: number): Promise<void> => {
    for (const [name, stream, attackBytes] of ATTACKS) {
      for (let i = 0; i < n; i++) {
        attack(world, stream, attackBytes);
        if (i % 20 !== 0) continue;
        expect([name, world.isHonest(honest, next)]).toEqual([name, true]);
        next += 4;
        await turn();
      }
      // What the test itself keeps.
      world.requests.length = 0;
      world.errors.length = 0;
      world.limitsHit.length = 0;
      world.dropped.length = 0;
      world.connections.length = 0;
      world.farewells.length = 0;
      honest.peerClose(0);
      honest = world.connect();
      next = 0;
    }
    expect(world.internal).toEqual([]);
    expect(world.server.connections()).toBe(1);
  };
  await pass(REPETITIONS);
  await expectNothingLeft(() => pass(REPETITIONS));
}, 240_000);

/** mulberry32. */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

test('random and mutated bytes on any stream end in an answer or in an error with a name', async () => {
  const next = random(20_260_102);
  const below = (n: number): number => Math.floor(next() * n);
  const seeds = [
    ...ATTACKS.map(([, , attackBytes]) => attackBytes.subarray(0, 400)),
    request(),
    concat(request([], POST), data('abc'), headers([['a', 'b']])),
  ];
  const world = new World();
  const honest = world.connect();
  for (let round = 0, done = 0; done < COUNT; round++) {
    const c = new FakeConn(world.server.handler).open();
    if (below(4) > 0) c.feed(2, SETTINGS);
    for (let i = 0; i < 40 && c.closed === null; i++, done++) {
      const chunk = Buffer.from(seeds[below(seeds.length)] as Uint8Array);
      for (let m = below(4); m > 0; m--) chunk[below(chunk.length)] = below(256);
      const id = below(12) * (below(6) === 0 ? 2 : 4) + (below(6) === 0 ? 2 : 0);
      const from = below(3) === 0 ? below(chunk.length) : 0;
      const kind = below(20);
      if (kind === 0) c.peerReset(id, below(1024));
      else if (kind === 1) c.peerStop(id, below(1024));
      else c.feed(id, chunk.subarray(from, from + 1 + below(chunk.length)), below(3) === 0);
      if (below(50) === 0) world.clock.advance(below(20_000));
    }
    if (c.closed !== null) {
      expect(codeName(c.closed.code)).not.toBe('other');
      expect(codeName(c.closed.code)).not.toBe('H3_INTERNAL_ERROR');
      c.finishClose();
    } else c.peerClose(0);
    for (const seen of world.requests) expect(seen.log.some((e) => e.includes('after abort'))).toBe(false);
    world.requests.length = 0;
    world.errors.length = 0;
    if (round % 10 === 0) expect(world.isHonest(honest, round * 4)).toBe(true);
    if (round % 100 === 0) await turn();
  }
  expect(world.internal).toEqual([]);
  expect(world.server.connections()).toBe(1);
  expect(honest.closed).toBe(null);
}, 600_000);
