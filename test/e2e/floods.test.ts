/** Frames that no honest client sends, from aioquic that makes them by hand, beside an honest client: section 2 of docs/security/hostile-input.md. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { quicgo, type DriverClient } from '../kit/clients.ts';
import { ENGINE } from '../kit/engine.ts';
import { Nat } from '../kit/nat.ts';
import { Driver, type Connection } from '../kit/peers.ts';
import { eventually } from '../kit/process.ts';
import { residentMemory } from '../kit/spooky.ts';
import { HOSTS, startWorld, type World } from './world.ts';

const MIB = 1 << 20;
/** Of the attack at a time. Half a mebibyte that each of them left behind would be seen. */
const REPETITIONS = 20;
const BOUND = 10 * MIB;
/**
 * The first is for what is made once, and fills what the allocator keeps; of the others one has to leave nothing: what leaks grows every time. What is
 * closing lives for some seconds, so that the first few may all grow.
 */
const ROUNDS = 12;
const TIMEOUT = 300_000;

/** How the connection ends for the client; null: it does not. */
type End = Told | 'unheard' | null;
interface Told {
  readonly kind: 'transport' | 'application';
  readonly code: number;
}

const transport = (code: number): Told => ({ kind: 'transport', code });
/** The byte budget of both engines: H3_EXCESSIVE_LOAD. */
const BUDGET: End = { kind: 'application', code: 0x107 };
/** The same, but what the library has queued before it leaves no room for the close: the client hears nothing more, or not in time. */
const UNHEARD = 'unheard';
const CONNECTION_ID_LIMIT_ERROR = transport(0x09);
const PROTOCOL_VIOLATION = transport(0x0a);
const CRYPTO_BUFFER_EXCEEDED = transport(0x0d);

interface Attack {
  /** A method of test/e2e/clients/aioquic_hostile.py. */
  readonly what: string;
  readonly frames: number;
  readonly mute?: boolean;
  readonly native: End;
  readonly matrixai: End;
}

let world: World;
let evil: Driver;
let honest: DriverClient;

beforeAll(async () => {
  world = await startWorld();
  evil = Driver.hostile();
  honest = quicgo();
}, 60_000);
afterAll(() => Promise.all([evil, honest].map((d) => (d as Driver | DriverClient | undefined)?.stop())));

const small = { authority: HOSTS.go, path: '/bytes/2000' };

const attacker = (): Promise<Connection> => evil.open({ ...world.dial(HOSTS.go), idleMs: 10_000 });

const overBudget = (): Promise<number> =>
  world.spooky.metric('spooky_quic_connection_closed_total', { side: 'local', code: 'H3_EXCESSIVE_LOAD' });

/** While `use` runs, an honest client asks without end, and every one of its requests is answered. */
async function besideAnHonestClient(use: () => Promise<void>): Promise<void> {
  const worker = await world.spooky.worker();
  const load = await honest.driver.load(world.dial(HOSTS.go), small, { conns: 2, streams: 2 });
  try {
    await use();
  } finally {
    const result = await load.halt();
    expect(result).toMatchObject({ failed: 0, refused: 0, dials: 2 });
    expect(Object.keys(result.statuses)).toEqual(['200']);
  }
  expect(await world.spooky.worker()).toBe(worker);
  expect(await world.spooky.metric('spooky_internal_errors_total')).toBe(0);
}

async function once(attack: Attack, end: End): Promise<void> {
  const connection = await attacker();
  // The handshake is confirmed on both sides: what ends the connection is said in packets that the client can read.
  expect((await connection.request(small)).size).toBe(2000);
  const closed = await overBudget();
  await connection.flood(attack.what, attack.frames, { mute: attack.mute ?? false });
  if (end === UNHEARD) {
    await eventually(async () => expect(await overBudget()).toBe(closed + 1), 30_000);
    await connection.close();
    return;
  }
  if (end !== null) {
    expect((await connection.closed()).how).toMatchObject({ ...end, remote: true });
    return;
  }
  if (attack.mute !== true) expect((await connection.request(small)).size).toBe(2000);
  await connection.close();
}

/** By how much the worker has grown over a round of the attack. */
async function growth(attack: Attack, end: End): Promise<number> {
  const worker = await world.spooky.worker();
  const before = residentMemory(worker);
  for (let i = 0; i < REPETITIONS; i++) await once(attack, end);
  return residentMemory(worker) - before;
}

/** Each connection of the attacker ends as it must, and what they cost is given back. */
async function endure(attack: Attack): Promise<void> {
  const end = ENGINE.name === 'matrixai' ? attack.matrixai : attack.native;
  const closed = await overBudget();
  const grown: number[] = [];
  let least = Infinity;
  while (least >= BOUND && grown.length < ROUNDS) {
    await besideAnHonestClient(async () => void grown.push(await growth(attack, end)));
    least = Math.min(...grown.slice(1));
  }
  if (least >= BOUND) throw new Error(`the worker grew in every round: by ${grown.map((n) => (n / MIB).toFixed(1)).join(', ')} MiB`);
  expect((await overBudget()) - closed).toBe(end === BUDGET || end === UNHEARD ? grown.length * REPETITIONS : 0);
}

describe(`${ENGINE.name}: connection ids`, () => {
  test(
    'Q1: more ids than the server keeps',
    () => endure({ what: 'ids_beyond_limit', frames: 200, native: CONNECTION_ID_LIMIT_ERROR, matrixai: PROTOCOL_VIOLATION }),
    TIMEOUT,
  );

  test(
    'Q1: ids that retire all before them, acknowledged',
    () => endure({ what: 'ids_retiring_all', frames: 50_000, native: CONNECTION_ID_LIMIT_ERROR, matrixai: BUDGET }),
    TIMEOUT,
  );

  test(
    'Q1: ids that retire all before them, nothing acknowledged',
    () => endure({ what: 'ids_retiring_all', frames: 50_000, mute: true, native: CONNECTION_ID_LIMIT_ERROR, matrixai: BUDGET }),
    TIMEOUT,
  );

  test(
    'Q1: every id of the server given back as soon as it comes, nothing acknowledged',
    () =>
      besideAnHonestClient(async () => {
        for (let i = 0; i < 5; i++) {
          const connection = await attacker();
          // The ids of a connection are counted in one octet: there is an end, one way or the other.
          expect(await connection.flood('retire_all', 5000, { mute: true })).toBeLessThan(260);
          await connection.close();
        }
      }),
    TIMEOUT,
  );
});

describe(`${ENGINE.name}: paths`, () => {
  test(
    'Q2: PATH_CHALLENGE in every byte of every packet',
    () => endure({ what: 'path_challenges', frames: 50_000, native: BUDGET, matrixai: UNHEARD }),
    TIMEOUT,
  );

  test(
    'Q2: PATH_CHALLENGE in every byte of every packet, nothing acknowledged',
    () => endure({ what: 'path_challenges', frames: 50_000, mute: true, native: BUDGET, matrixai: UNHEARD }),
    TIMEOUT,
  );

  test(
    'Q2: PATH_CHALLENGE is answered with less than was sent',
    () =>
      besideAnHonestClient(async () => {
        const nat = await Nat.open({ host: '127.0.0.1', port: world.ports.open }, '127.0.0.2');
        const connection = await evil.open({ ...world.dial(HOSTS.go), address: nat.address });
        const { up, down } = nat.passedBy;
        const [sent, answered] = [up.bytes, down.bytes];
        await connection.flood('path_challenges', 20_000);
        expect((await connection.request(small)).size).toBe(2000);
        expect(up.bytes - sent).toBeGreaterThan(180_000);
        expect(down.bytes - answered).toBeLessThan(up.bytes - sent);
        await connection.close();
        nat.close();
      }),
    TIMEOUT,
  );

  test(
    'Q8: genuine packets from 150 addresses: each gets three times its bytes at most, and the connection goes on',
    () =>
      besideAnHonestClient(async () => {
        const connection = await attacker();
        const changes = await world.spooky.metric('spooky_quic_path_changes_total');
        expect(await connection.flood('many_addresses', 150)).toBeLessThanOrEqual(3);
        expect((await connection.request(small)).size).toBe(2000);
        expect(await world.spooky.metric('spooky_quic_path_changes_total')).toBe(changes);
        await connection.close();
      }),
    TIMEOUT,
  );
});

describe(`${ENGINE.name}: the handshake's stream`, () => {
  test(
    'Q3: it goes on without its next byte',
    () => endure({ what: 'crypto_with_a_gap', frames: 2000, native: CRYPTO_BUFFER_EXCEEDED, matrixai: BUDGET }),
    TIMEOUT,
  );

  test(
    'Q3: a byte here, a byte a mebibyte on',
    () => endure({ what: 'crypto_far_away', frames: 20_000, native: CRYPTO_BUFFER_EXCEEDED, matrixai: BUDGET }),
    TIMEOUT,
  );
});

describe(`${ENGINE.name}: acknowledgements`, () => {
  test(
    'Q4: of packets that were never sent',
    () => endure({ what: 'ack_of_nothing', frames: 10, native: PROTOCOL_VIOLATION, matrixai: null }),
    TIMEOUT,
  );

  const withSkips = ENGINE.name === 'matrixai' ? test.skip : test;
  withSkips(
    'Q4: of everything up to the latest, whether it came or not',
    () =>
      besideAnHonestClient(async () => {
        const connection = await attacker();
        await connection.flood('optimistic', 0);
        const answer = await connection.attempt({ authority: HOSTS.go, path: `/bytes/${100 * MIB}`, timeoutMs: 30_000 });
        expect(answer.error).toMatchObject({ ...PROTOCOL_VIOLATION, remote: true });
        expect(answer.size).toBeLessThan(50 * MIB);
      }),
    TIMEOUT,
  );
});
