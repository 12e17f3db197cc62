import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { Leader, LEADER_TIMES, leaseName, type LeaderTimes } from '../../src/control/leader.ts';
import type { LeaseAnswer, LeaseClient, LeaseRecord } from '../../src/control/status/client.ts';
import { ManualClock } from '../../src/lib/clock.ts';
import { logOf, settle } from './status/cluster.ts';

/** The Lease on the server, and what it refuses. */
class FakeLease {
  record: LeaseRecord | null = null;
  version = 1;

  get(): LeaseAnswer {
    return this.record === null ? { ok: false, kind: 'missing', message: 'not_found' } : this.answer(this.record);
  }

  create(record: LeaseRecord): LeaseAnswer {
    if (this.record !== null) return { ok: false, kind: 'conflict', message: 'AlreadyExists' };
    return this.put(record);
  }

  update(record: LeaseRecord, resourceVersion: string): LeaseAnswer {
    if (this.record === null) return { ok: false, kind: 'missing', message: 'not_found' };
    return resourceVersion === String(this.version) ? this.put(record) : { ok: false, kind: 'conflict', message: 'Conflict' };
  }

  put(record: LeaseRecord): LeaseAnswer {
    this.record = record;
    this.version++;
    return this.answer(record);
  }

  private answer(record: LeaseRecord): LeaseAnswer {
    return { ok: true, record, resourceVersion: String(this.version) };
  }
}

const FAILED: LeaseAnswer = { ok: false, kind: 'failed', message: 'connection: refused' };

interface Way {
  /** Milliseconds there, and back. */
  there: number;
  back: number;
  cut: 'open' | 'there' | 'back';
}

/** Five seconds, as the client has it. */
const TIMEOUT_MS = 5000;

/** One contender: a clock of its own, and a way to the server in true time. */
function contender(lease: FakeLease, world: ManualClock, identity: string, times: LeaderTimes = LEADER_TIMES) {
  const clock = new ManualClock(Math.floor(identity.charCodeAt(0) * 1000));
  const way: Way = { there: 1, back: 1, cut: 'open' };
  const calls: string[] = [];
  const send = (name: string, operation: () => LeaseAnswer): Promise<LeaseAnswer> => {
    calls.push(name);
    return new Promise((resolve) => {
      clock.after(TIMEOUT_MS, () => resolve(FAILED));
      world.after(way.there, () => {
        if (way.cut === 'there') return;
        const answer = operation();
        world.after(way.back, () => {
          if (way.cut === 'open') resolve(answer);
        });
      });
    });
  };
  const client: LeaseClient = {
    get: () => send('get', () => lease.get()),
    create: (record) => send('create', () => lease.create(record)),
    update: (record, version) => send('update', () => lease.update(record, version)),
  };
  const { log, lines } = logOf();
  const changes: boolean[] = [];
  const leader = new Leader({ clock, random: () => 0.5, log, client, identity, onChange: (is) => changes.push(is), times });
  return { clock, way, calls, leader, changes, lines, identity };
}

type Contender = ReturnType<typeof contender>;

/** Lets true time pass; each clock goes at its own rate. */
async function pass(
  world: ManualClock,
  all: readonly (Contender & { rate?: number })[],
  ms: number,
  each?: () => void,
  step = 50,
): Promise<void> {
  for (let t = 0; t < ms; t += step) {
    world.advance(step);
    await settle();
    for (const c of all) c.clock.advance(step * (c.rate ?? 1));
    await settle();
    each?.();
  }
}

function setUp(identity = 'a') {
  const world = new ManualClock();
  const lease = new FakeLease();
  const one = contender(lease, world, identity);
  return { world, lease, one };
}

const recordOf = (holderIdentity: string, change: Partial<LeaseRecord> = {}): LeaseRecord => ({
  holderIdentity,
  leaseDurationSeconds: 15,
  acquireTime: '2026-01-01T00:00:00.000000Z',
  renewTime: '2026-01-01T00:00:00.000000Z',
  leaseTransitions: 0,
  ...change,
});

test('the name is that of the class, fit for an object', () => {
  expect(leaseName('spooky')).toBe('spooky-leader');
  expect(leaseName('My_class.2')).toBe('my-class-2-8f0ba435-leader');
  const alike = ['a-b', 'a.b', 'a_b', 'A-b', 'a-B'];
  expect(new Set(alike.map(leaseName)).size).toBe(alike.length);
});

test('times that contradict each other are refused', () => {
  const { world, lease } = setUp();
  const wrong = [
    { leaseDurationMs: 10_000, renewDeadlineMs: 10_000, retryPeriodMs: 2000 },
    { leaseDurationMs: 15_000, renewDeadlineMs: 2400, retryPeriodMs: 2000 },
  ];
  for (const times of wrong) expect(() => contender(lease, world, 'a', times)).toThrow('must outlast');
});

test('a lease that is not there is made, with the record that client-go writes', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  expect(one.leader.isLeader()).toBe(false);
  await pass(world, [one], 200);
  expect(one.leader.isLeader()).toBe(true);
  expect(one.changes).toEqual([true]);
  expect(lease.record).toEqual({
    holderIdentity: 'a',
    leaseDurationSeconds: 15,
    acquireTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    renewTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
    leaseTransitions: 0,
  });
});

test('it is renewed every two seconds by one call, and keeps when it was acquired', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  await pass(world, [one], 1000);
  const first = lease.record;
  await pass(world, [one], 60_000);
  expect(one.calls.slice(0, 2)).toEqual(['get', 'create']);
  expect(new Set(one.calls.slice(2))).toEqual(new Set(['update']));
  expect(one.calls.length - 2).toBeGreaterThanOrEqual(25);
  expect(one.calls.length - 2).toBeLessThanOrEqual(30);
  expect(lease.record).toEqual({ ...first, renewTime: lease.record?.renewTime });
  expect(lease.record?.renewTime).not.toBe(first?.renewTime);
  expect(one.changes).toEqual([true]);
});

test('another holder is waited for as long as its record says, from when we saw it, whatever its clock says', async () => {
  const { world, lease, one } = setUp();
  lease.record = recordOf('other', { leaseDurationSeconds: 30, renewTime: '2050-01-01T00:00:00.000000Z', leaseTransitions: 4 });
  one.leader.start();
  await pass(world, [one], 29_500);
  expect(one.calls).not.toContain('update');
  await pass(world, [one], 5500);
  expect(one.leader.isLeader()).toBe(true);
  expect(lease.record).toMatchObject({ holderIdentity: 'a', leaseDurationSeconds: 15, leaseTransitions: 5 });
});

test('a holder that renews is waited for on and on', async () => {
  const { world, lease, one } = setUp();
  lease.record = recordOf('other');
  one.leader.start();
  for (let i = 0; i < 20; i++) {
    lease.put(recordOf('other', { renewTime: `2026-01-01T00:00:${String(i).padStart(2, '0')}.000000Z` }));
    await pass(world, [one], 14_000, undefined, 200);
  }
  expect(one.leader.isLeader()).toBe(false);
  expect(one.changes).toEqual([]);
  expect(one.leader.holder()).toBe('other');
});

test('a lease that was released is taken at the next try', async () => {
  const { world, lease, one } = setUp();
  lease.record = recordOf('', { leaseDurationSeconds: 1, leaseTransitions: 7 });
  one.leader.start();
  await pass(world, [one], 200);
  expect(lease.record).toMatchObject({ holderIdentity: 'a', leaseTransitions: 8 });
});

test('a lease of our own, from before a restart, goes on', async () => {
  const { world, lease, one } = setUp();
  lease.record = recordOf('a', { leaseTransitions: 3 });
  one.leader.start();
  await pass(world, [one], 200);
  expect(one.leader.isLeader()).toBe(true);
  expect(lease.record).toMatchObject({ holderIdentity: 'a', leaseTransitions: 3, acquireTime: '2026-01-01T00:00:00.000000Z' });
});

test.each(['there', 'back'] as const)('cut off (%s), it stops to lead after the deadline, before anybody may follow', async (cut) => {
  const { world, one } = setUp();
  one.leader.start();
  await pass(world, [one], 5000);
  one.way.cut = cut;
  const began = world.now();
  let lost = Infinity;
  await pass(world, [one], 14_000, () => {
    if (!one.leader.isLeader() && lost === Infinity) lost = world.now() - began;
  });
  expect(lost).toBeGreaterThan(7500);
  expect(lost).toBeLessThanOrEqual(10_000);
  expect(one.changes).toEqual([true, false]);
  expect(one.lines.filter((l) => l['msg'] === 'the lease cannot be read or written')).toHaveLength(1);
  expect(one.lines.filter((l) => l['msg'] === 'not the leader any more')).toHaveLength(1);
  one.way.cut = 'open';
  await pass(world, [one], 8000);
  expect(one.changes).toEqual([true, false, true]);
});

test('the deadline counts from when the last good renewal was sent, not from its answer', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  await pass(world, [one], 1000);
  one.way.back = 4000;
  const sent = (): number => one.calls.filter((c) => c === 'update').length;
  while (sent() === 0) await pass(world, [one], 50);
  const began = world.now();
  one.way.there = 1;
  await pass(world, [one], 4200);
  const renewed = lease.record?.renewTime;
  one.way.cut = 'there';
  await pass(world, [one], 5600);
  expect(lease.record?.renewTime).toBe(renewed);
  expect(one.leader.isLeader()).toBe(true);
  expect(world.now() - began).toBeLessThan(10_000);
  await pass(world, [one], 250);
  expect(one.leader.isLeader()).toBe(false);
});

test('an answer after the deadline does not make a leader', async () => {
  const { world, lease, one } = setUp();
  const times = { leaseDurationMs: 6000, renewDeadlineMs: 3000, retryPeriodMs: 1000 };
  const slow = contender(lease, world, 's', times);
  slow.way.back = 3500;
  slow.leader.start();
  await pass(world, [slow], 8000);
  expect(lease.record?.holderIdentity).toBe('s');
  expect(slow.changes).toEqual([]);
  expect(one.changes).toEqual([]);
});

test('a process that stood still knows by the time that it does not lead, before any timer runs', async () => {
  const lease = new FakeLease();
  const clock = new ManualClock();
  let stoodStill = 0;
  const { log } = logOf();
  const leader = new Leader({
    clock: { now: () => clock.now() + stoodStill, wall: () => clock.wall(), after: (ms, fn) => clock.after(ms, fn) },
    random: () => 0,
    log,
    client: {
      get: () => Promise.resolve(lease.get()),
      create: (r) => Promise.resolve(lease.create(r)),
      update: (r, v) => Promise.resolve(lease.update(r, v)),
    },
    identity: 'a',
    onChange: () => undefined,
  });
  leader.start();
  clock.advance(0);
  await settle();
  expect(leader.isLeader()).toBe(true);
  stoodStill = 9999;
  expect(leader.isLeader()).toBe(true);
  stoodStill = 10_000;
  expect(leader.isLeader()).toBe(false);
});

test('an answer that is lost is found in the record: leading goes on', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  await pass(world, [one], 2500);
  one.way.cut = 'back';
  await pass(world, [one], 2500);
  one.way.cut = 'open';
  await pass(world, [one], 30_000);
  expect(one.changes).toEqual([true]);
  expect(lease.record?.leaseTransitions).toBe(0);
});

test('who takes it by force has it: the next renewal sees it', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  await pass(world, [one], 5000);
  lease.put(recordOf('thief', { leaseTransitions: 1 }));
  await pass(world, [one], 2500);
  expect(one.leader.isLeader()).toBe(false);
  expect(one.changes).toEqual([true, false]);
  expect(lease.record?.holderIdentity).toBe('thief');
});

test('a lease that somebody deletes is made again', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  await pass(world, [one], 5000);
  lease.record = null;
  await pass(world, [one], 3000);
  expect(one.changes).toEqual([true]);
  expect(lease.record).toMatchObject({ holderIdentity: 'a' });
});

test('stop: not the leader at once, the lease free for a second at most', async () => {
  const { world, lease, one } = setUp();
  one.leader.start();
  await pass(world, [one], 5000);
  const stopping = one.leader.stop();
  expect(one.leader.isLeader()).toBe(false);
  expect(one.changes).toEqual([true, false]);
  await pass(world, [one], 200);
  await stopping;
  expect(lease.record).toMatchObject({ holderIdentity: '', leaseDurationSeconds: 1 });
  const calls = one.calls.length;
  await pass(world, [one], 60_000, undefined, 500);
  expect(one.calls).toHaveLength(calls);
  await one.leader.stop();
});

test('stop of one that does not lead writes nothing', async () => {
  const { world, lease, one } = setUp();
  lease.record = recordOf('other');
  one.leader.start();
  await pass(world, [one], 500);
  const stopping = one.leader.stop();
  await pass(world, [one], 200);
  await stopping;
  expect(one.calls).toEqual(['get']);
  expect(lease.record).toEqual(recordOf('other'));
});

test('stop does not wait for a server that is not there', async () => {
  const { world, one } = setUp();
  one.leader.start();
  await pass(world, [one], 5000);
  one.way.cut = 'there';
  let stopped = false;
  void one.leader.stop().then(() => (stopped = true));
  await pass(world, [one], 2100);
  expect(stopped).toBe(true);
});

test('stopped while it was about to take the lease, it lets go of it', async () => {
  const { world, lease, one } = setUp();
  one.way.there = 300;
  one.leader.start();
  await pass(world, [one], 400);
  expect(one.calls).toEqual(['get', 'create']);
  const stopping = one.leader.stop();
  await pass(world, [one], 1500);
  await stopping;
  expect(one.changes).toEqual([]);
  expect(lease.record?.holderIdentity).toBe('');
});

test('exceptions of the client, or of who listens, end nothing', async () => {
  const clock = new ManualClock();
  const lease = new FakeLease();
  let broken = true;
  const guarded = <T>(answer: () => T): Promise<T> => {
    if (broken) throw new Error('a defect');
    return Promise.resolve(answer());
  };
  const { log, lines } = logOf();
  const leader = new Leader({
    clock,
    random: () => 0,
    log,
    client: {
      get: () => guarded(() => lease.get()),
      create: (r) => guarded(() => lease.create(r)),
      update: (r, v) => guarded(() => lease.update(r, v)),
    },
    identity: 'a',
    onChange: () => {
      throw new Error('another');
    },
  });
  leader.start();
  for (let i = 0; i < 5; i++) {
    clock.advance(1000);
    await settle();
  }
  broken = false;
  for (let i = 0; i < 5; i++) {
    clock.advance(1000);
    await settle();
  }
  expect(leader.isLeader()).toBe(true);
  expect(lines.map((l) => l['msg'])).toEqual(['the lease cannot be read or written', 'leader', 'internal error']);
});

test('of three, one leads; when it stops another follows within the seconds of a try; when it is cut off, after its lease', async () => {
  const world = new ManualClock();
  const lease = new FakeLease();
  const all = ['a', 'b', 'c'].map((id) => contender(lease, world, id));
  const leading = (): Contender[] => all.filter((c) => c.leader.isLeader());
  for (const c of all) c.leader.start();
  await pass(world, all, 10_000);
  expect(leading()).toHaveLength(1);
  const [first] = leading() as [Contender];
  const stopping = first.leader.stop();
  await pass(world, all, 4500);
  await stopping;
  expect(leading()).toHaveLength(1);
  const [second] = leading() as [Contender];
  expect(second).not.toBe(first);
  second.way.cut = 'there';
  await pass(world, all, 14_000);
  expect(leading()).toHaveLength(0);
  await pass(world, all, 7000);
  expect(leading()).toHaveLength(1);
  expect(leading()[0]).not.toBe(second);
});

interface Move {
  readonly who: number;
  readonly there: number;
  readonly back: number;
  readonly cut: Way['cut'];
  readonly ms: number;
}

test('whatever the network does, and clocks that differ by a fifth each way: never two at one time, and one when it is quiet', async () => {
  const move = fc.record<Move>({
    who: fc.nat(2),
    there: fc.nat(4000),
    back: fc.nat(4000),
    cut: fc.constantFrom<Way['cut']>('open', 'open', 'there', 'back'),
    ms: fc.integer({ min: 100, max: 20_000 }),
  });
  const rates = fc.tuple(...['a', 'b', 'c'].map(() => fc.double({ min: 0.84, max: 1.2, noNaN: true })));
  let samples = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(move, { minLength: 5, maxLength: 20 }), rates, async (moves, speed) => {
      const world = new ManualClock();
      const lease = new FakeLease();
      const all = ['a', 'b', 'c'].map((id, i) => ({ ...contender(lease, world, id), rate: speed[i] as number }));
      const alone = (): void => {
        samples++;
        if (all.filter((c) => c.leader.isLeader()).length > 1) throw new Error(`two leaders at ${world.now()}`);
      };
      for (const c of all) c.leader.start();
      for (const { who, there, back, cut, ms } of moves) {
        Object.assign((all[who] as Contender).way, { there, back, cut });
        await pass(world, all, ms, alone, 100);
      }
      for (const c of all) Object.assign(c.way, { there: 1, back: 1, cut: 'open' });
      await pass(world, all, 45_000, alone, 100);
      expect(all.filter((c) => c.leader.isLeader())).toHaveLength(1);
    }),
    { numRuns: 80 },
  );
  expect(samples).toBeGreaterThan(10_000);
}, 120_000);
