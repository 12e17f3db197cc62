import { expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { ObjectRef, SeenObject } from '../../../src/control/status/client.ts';
import type { Plan } from '../../../src/control/status/documents.ts';
import { StatusWriter, type Cause, type Wish, type WriterLimits } from '../../../src/control/status/writer.ts';
import { FakeCluster, logOf, settle } from './cluster.ts';

/** A wish for a status with one text and one number. */
const wishFor = (ref: ObjectRef, text: string, count = 0): Wish => ({
  ref,
  plan(seen: SeenObject): Plan | null {
    const status = seen.status as { attachedUpstreams?: number; conditions?: { type: string; message: string }[] };
    const same = status.conditions?.[0]?.message === text;
    if (same && status.attachedUpstreams === count) return null;
    return { document: { attachedUpstreams: count, conditions: [{ type: 'Accepted', message: text }] } as never, countsOnly: same };
  },
});

function setUp(limits?: WriterLimits) {
  const cluster = new FakeCluster();
  const wishes = new Map<string, Wish>();
  const outcomes: string[] = [];
  const written: unknown[][] = [];
  const done: string[] = [];
  const { log, lines } = logOf();
  const state = { leading: true };
  const writer = new StatusWriter({
    clock: cluster.clock,
    random: () => 0.5,
    log,
    client: cluster,
    leader: () => state.leading,
    wish: (key) => wishes.get(key),
    onWrite: (kind, outcome) => outcomes.push(`${kind} ${outcome}`),
    onWritten: (wish, before, after) => written.push([wish.ref.name, before, after]),
    onDone: (key) => done.push(key),
    ...(limits === undefined ? {} : { limits }),
  });
  const want = (name: string, text: string, count = 0, cause: Cause = 'changed'): void => {
    const key = `Listener ${name}`;
    const [namespace = '', short = ''] = name.split('/');
    const uid = cluster.objects.get(key)?.uid ?? `uid-${name}`;
    wishes.set(key, wishFor({ kind: 'Listener', namespace, name: short, uid }, text, count));
    writer.enqueue(key, cause);
  };
  const textOf = (name: string): unknown =>
    (cluster.status('Listener', name)['conditions'] as { message: string }[] | undefined)?.[0]?.message;
  const at = (): number[] => cluster.writes.map((w) => w.at);
  return { cluster, wishes, outcomes, written, done, lines, state, writer, want, textOf, at };
}

test('what differs is written at once, and said', async () => {
  const { cluster, want, textOf, outcomes, written, at } = setUp();
  cluster.put('Listener', 'sys/a');
  want('sys/a', 'one');
  await cluster.advance(100);
  expect(textOf('sys/a')).toBe('one');
  expect(at()).toEqual([0]);
  expect(outcomes).toEqual(['Listener written']);
  expect(written).toEqual([['a', {}, { attachedUpstreams: 0, conditions: [{ type: 'Accepted', message: 'one' }] }]]);
});

test('K7: what is there already costs no call', async () => {
  const { cluster, want, outcomes, done } = setUp();
  cluster.put('Listener', 'sys/a', { status: { attachedUpstreams: 0, conditions: [{ type: 'Accepted', message: 'one' }] } });
  want('sys/a', 'one');
  await cluster.advance(5000);
  expect(cluster.writes).toEqual([]);
  expect(outcomes).toEqual([]);
  expect(done).toEqual(['Listener sys/a']);
});

test('one write of an object a second, of what is wanted by then', async () => {
  const { cluster, want, textOf, at } = setUp();
  cluster.put('Listener', 'sys/a');
  for (let i = 0; i < 50; i++) {
    want('sys/a', `text ${i}`);
    await cluster.advance(50);
  }
  await cluster.advance(2000);
  expect(textOf('sys/a')).toBe('text 49');
  expect(at()).toHaveLength(4);
  for (const [i, write] of cluster.writes.entries()) {
    const before = cluster.writes[i - 1];
    if (before !== undefined) expect(write.at - before.endedAt).toBeGreaterThanOrEqual(1000);
  }
});

test('a change during a write follows it, as the newest', async () => {
  const { cluster, want, textOf } = setUp();
  cluster.put('Listener', 'sys/a');
  cluster.latency = () => 400;
  want('sys/a', 'one');
  await cluster.advance(100);
  want('sys/a', 'two');
  want('sys/a', 'three');
  await cluster.advance(3000);
  expect(textOf('sys/a')).toBe('three');
  expect(cluster.writes).toHaveLength(2);
});

test('a change that is taken back in time costs nothing', async () => {
  const { cluster, want } = setUp();
  cluster.put('Listener', 'sys/a');
  want('sys/a', 'one');
  await cluster.advance(100);
  want('sys/a', 'two');
  await cluster.advance(100);
  want('sys/a', 'one');
  await cluster.advance(5000);
  expect(cluster.writes).toHaveLength(1);
});

test('numbers alone wait for ten seconds; with news they go along', async () => {
  const { cluster, want, at } = setUp();
  cluster.put('Listener', 'sys/a');
  want('sys/a', 'one', 1);
  await cluster.advance(100);
  for (let i = 2; i < 40; i++) {
    want('sys/a', 'one', i, i % 2 === 0 ? 'counts' : 'changed');
    await cluster.advance(250);
  }
  await cluster.advance(1000);
  expect(at()).toHaveLength(2);
  expect((at()[1] ?? 0) - (at()[0] ?? 0)).toBeGreaterThanOrEqual(10_000);
  expect(cluster.status('Listener', 'sys/a')['attachedUpstreams']).toBe(39);
  want('sys/a', 'one', 40, 'counts');
  await cluster.advance(2000);
  want('sys/a', 'two', 41);
  await cluster.advance(100);
  expect(at()).toHaveLength(3);
  expect(cluster.status('Listener', 'sys/a')['attachedUpstreams']).toBe(41);
});

test('numbers that are known to wait are not computed again for every change of them', async () => {
  const { cluster, wishes, writer } = setUp();
  const ref = cluster.put('Listener', 'sys/a');
  let plans = 0;
  wishes.set('Listener sys/a', {
    ref,
    plan: () => {
      plans++;
      return { document: {}, countsOnly: true };
    },
  });
  for (let i = 0; i < 900; i++) {
    writer.enqueue('Listener sys/a', 'counts');
    await cluster.advance(10);
  }
  expect(cluster.writes).toHaveLength(1);
  expect(plans).toBeLessThan(5);
});

test('a conflict is computed again from what the watch brings, not before', async () => {
  const { cluster, want, textOf, outcomes } = setUp();
  cluster.put('Listener', 'sys/a');
  cluster.lagging = true;
  cluster.put('Listener', 'sys/a', { status: { foreign: 1 } });
  want('sys/a', 'one');
  await cluster.advance(5000);
  expect(outcomes).toEqual(['Listener conflict']);
  cluster.catchUp();
  await cluster.advance(2000);
  expect(outcomes).toEqual(['Listener conflict', 'Listener written']);
  expect(textOf('sys/a')).toBe('one');
  expect(cluster.status('Listener', 'sys/a')['foreign']).toBeUndefined();
});

test('a watch that lags does not make a write be repeated', async () => {
  const { cluster, want, writer } = setUp();
  cluster.put('Listener', 'sys/a');
  cluster.lagging = true;
  want('sys/a', 'one');
  await cluster.advance(2000);
  writer.enqueue('Listener sys/a', 'check');
  await cluster.advance(15_000, 100);
  expect(cluster.writes).toHaveLength(1);
  cluster.catchUp();
  cluster.lagging = true;
  want('sys/a', 'one more');
  await cluster.advance(100);
  expect(cluster.writes.splice(0)).toHaveLength(2);
  // And the next change waits until it can be applied.
  want('sys/a', 'two');
  await cluster.advance(3000);
  expect(cluster.writes).toHaveLength(0);
  cluster.catchUp();
  await cluster.advance(2000);
  expect(cluster.writes.map((w) => w.outcome)).toEqual(['written']);
});

test('what is gone is dropped, and so is what was made anew', async () => {
  const { cluster, want, outcomes, done, writer } = setUp();
  cluster.put('Listener', 'sys/a');
  cluster.lagging = true;
  cluster.remove('Listener', 'sys/a');
  want('sys/a', 'one');
  await cluster.advance(30_000);
  expect(outcomes).toEqual(['Listener gone']);
  cluster.catchUp();
  want('sys/a', 'two');
  await cluster.advance(30_000);
  expect(cluster.writes).toHaveLength(1);
  expect(done).toEqual(['Listener sys/a', 'Listener sys/a']);
  cluster.put('Listener', 'sys/b', { uid: 'first' });
  want('sys/b', 'one');
  cluster.remove('Listener', 'sys/b');
  cluster.put('Listener', 'sys/b', { uid: 'second' });
  await cluster.advance(30_000);
  expect(cluster.writes).toHaveLength(1);
  expect(writer.size).toBe(0);
});

test('a failure is tried again, later each time, and said once', async () => {
  const { cluster, want, textOf, outcomes, at, lines } = setUp();
  cluster.put('Listener', 'sys/a');
  let refusals = 5;
  cluster.verdict = () => (refusals-- > 0 ? { outcome: 'failed' } : null);
  want('sys/a', 'one');
  await cluster.advance(120_000, 100);
  expect(outcomes).toEqual([...Array<string>(5).fill('Listener failed'), 'Listener written']);
  const waits = at()
    .map((t, i, all) => t - (all[i - 1] ?? 0))
    .slice(1);
  for (const [i, wait] of waits.entries()) expect(wait).toBeGreaterThanOrEqual(Math.max(1000, 750 * 2 ** i));
  expect(waits.reduce((a, b) => a + b)).toBeLessThan(60_000);
  expect(textOf('sys/a')).toBe('one');
  expect(lines.filter((l) => l['msg'] === 'status not written')).toEqual([
    expect.objectContaining({ level: 'warn', object: 'Listener sys/a', why: 'no' }),
  ]);
});

test('Retry-After holds for everything', async () => {
  const { cluster, want, at } = setUp();
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) cluster.put('Listener', `sys/${name}`);
  let asked = false;
  cluster.verdict = () => {
    if (asked) return null;
    asked = true;
    return { outcome: 'failed', retryAfterMs: 7000 };
  };
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) want(`sys/${name}`, 'one');
  await cluster.advance(6900);
  // Four were under way.
  expect(at()).toHaveLength(4);
  await cluster.advance(3000);
  expect(at()).toHaveLength(7);
});

test('a server that refuses everything is not asked a thousand times', async () => {
  const { cluster, want, outcomes, lines } = setUp();
  cluster.verdict = () => ({ outcome: 'failed' });
  for (let i = 0; i < 1000; i++) {
    cluster.put('Listener', `sys/l${i}`);
    want(`sys/l${i}`, 'one');
  }
  await cluster.advance(60_000, 100);
  expect(outcomes.length).toBeLessThan(40);
  expect(lines.length).toBeLessThan(40);
  cluster.verdict = () => null;
  await cluster.advance(600_000, 500);
  expect(outcomes.filter((o) => o === 'Listener written')).toHaveLength(1000);
});

test('one object that the server does not take keeps nobody else from being told', async () => {
  const { cluster, want, textOf } = setUp();
  cluster.put('Listener', 'sys/bad');
  cluster.verdict = () => (cluster.writes.at(-1)?.key === 'Listener sys/bad' ? { outcome: 'failed' } : null);
  want('sys/bad', 'one');
  for (let i = 0; i < 20; i++) {
    cluster.put('Listener', `sys/l${i}`);
    want(`sys/l${i}`, 'one');
    await cluster.advance(500);
    expect(textOf(`sys/l${i}`)).toBe('one');
  }
});

test('another document after refusals of one begins anew', async () => {
  const { cluster, want, textOf, at } = setUp();
  cluster.put('Listener', 'sys/a');
  cluster.put('Listener', 'sys/b');
  const isA = (): boolean => cluster.writes.at(-1)?.key === 'Listener sys/a';
  let refused = true;
  cluster.verdict = () => (refused && isA() ? { outcome: 'failed' } : null);
  want('sys/a', 'one');
  for (let i = 0; i < 60; i++) {
    // The server is well.
    want('sys/b', `text ${i}`);
    await cluster.advance(2000, 100);
  }
  const tries = (): number => cluster.writes.filter((w) => w.key === 'Listener sys/a').length;
  const before = tries();
  expect(before).toBeLessThan(12);
  want('sys/a', 'two');
  await cluster.advance(100);
  expect(tries()).toBe(before + 1);
  await cluster.advance(1100);
  expect(tries()).toBe(before + 2);
  refused = false;
  await cluster.advance(3000);
  expect(textOf('sys/a')).toBe('two');
  expect(at().length).toBe(cluster.writes.length);
});

test('rate and concurrency are bounded', async () => {
  const { cluster, want } = setUp({ perSecond: 10, burst: 20, concurrency: 3 });
  let most = 0;
  cluster.latency = () => {
    most = Math.max(most, cluster.writes.filter((w) => w.endedAt === Infinity).length);
    return 50;
  };
  for (let i = 0; i < 100; i++) {
    cluster.put('Listener', `sys/l${i}`);
    want(`sys/l${i}`, 'one');
  }
  await cluster.advance(1000);
  expect(cluster.writes.length).toBeLessThanOrEqual(30);
  expect(cluster.writes.length).toBeGreaterThanOrEqual(28);
  await cluster.advance(8000);
  expect(cluster.writes).toHaveLength(100);
  expect(most).toBe(3);
});

test('who does not lead writes nothing, from the next write on', async () => {
  const { cluster, want, state, writer } = setUp();
  for (let i = 0; i < 10; i++) cluster.put('Listener', `sys/l${i}`);
  cluster.latency = () => {
    state.leading = false;
    return 20;
  };
  for (let i = 0; i < 10; i++) want(`sys/l${i}`, 'one');
  await cluster.advance(60_000, 50);
  // The lease was lost while the first one was under way.
  expect(cluster.writes).toHaveLength(1);
  const seen = cluster.seen.bind(cluster);
  let looks = 0;
  cluster.seen = (ref) => {
    looks++;
    return seen(ref);
  };
  for (let i = 0; i < 10; i++) want(`sys/l${i}`, 'two');
  await cluster.advance(60_000, 50);
  expect(looks).toBe(0);
  expect(writer.size).toBe(0);
  cluster.latency = () => 5;
  state.leading = true;
  for (let i = 0; i < 10; i++) writer.enqueue(`Listener sys/l${i}`, 'check');
  await cluster.advance(1000);
  expect(cluster.writes).toHaveLength(11);
});

test('leadership that is lost and found within a second does not write an object twice', async () => {
  const { cluster, want, state, writer } = setUp();
  cluster.put('Listener', 'sys/a');
  want('sys/a', 'one');
  await cluster.advance(100);
  state.leading = false;
  want('sys/a', 'two');
  await cluster.advance(100);
  state.leading = true;
  writer.enqueue('Listener sys/a', 'check');
  await cluster.advance(700);
  expect(cluster.writes).toHaveLength(1);
  await cluster.advance(1000);
  expect(cluster.writes).toHaveLength(2);
});

test('K7: somebody who undoes what we write is answered ever more seldom', async () => {
  const { cluster, want, writer } = setUp();
  cluster.put('Listener', 'sys/a');
  want('sys/a', 'one');
  for (let second = 0; second < 3600; second += 5) {
    cluster.put('Listener', 'sys/a', { status: { conditions: [{ type: 'Accepted', message: 'theirs' }] } });
    writer.enqueue('Listener sys/a', 'check');
    await cluster.advance(5000, 1000);
  }
  expect(cluster.writes.length).toBeGreaterThan(5);
  expect(cluster.writes.length).toBeLessThan(15);
});

test('stop ends it: what is under way is waited for, and not for ever', async () => {
  const { cluster, want, writer, outcomes } = setUp();
  for (const name of ['sys/a', 'sys/b']) cluster.put('Listener', name);
  cluster.latency = () => 300;
  want('sys/a', 'one');
  await cluster.advance(10);
  let stopped = false;
  const stopping = writer.stop().then(() => (stopped = true));
  want('sys/b', 'one');
  await cluster.advance(200);
  expect(stopped).toBe(false);
  await cluster.advance(200);
  await stopping;
  expect(outcomes).toEqual(['Listener written']);
  await cluster.advance(60_000, 100);
  expect(cluster.writes).toHaveLength(1);
  expect(cluster.clock.pending()).toBe(0);
});

test('stop does not wait for an answer that never comes', async () => {
  const { cluster, want, writer } = setUp();
  cluster.put('Listener', 'sys/a');
  cluster.latency = () => 1_000_000;
  want('sys/a', 'one');
  await cluster.advance(10);
  let stopped = false;
  void writer.stop().then(() => (stopped = true));
  await cluster.advance(990);
  expect(stopped).toBe(false);
  await cluster.advance(20);
  expect(stopped).toBe(true);
});

test('an exception in a wish or in the client concerns its object alone', async () => {
  const { cluster, wishes, want, writer, textOf, outcomes, lines } = setUp();
  for (const name of ['sys/a', 'sys/b', 'sys/c']) cluster.put('Listener', name);
  const ref: ObjectRef = { kind: 'Listener', namespace: 'sys', name: 'a', uid: '' };
  wishes.set('Listener sys/a', {
    ref,
    plan: () => {
      throw new Error('a defect');
    },
  });
  writer.enqueue('Listener sys/a', 'changed');
  const apply = cluster.applyStatus.bind(cluster);
  cluster.applyStatus = (r, version, status) => {
    if (r.name === 'b') throw new Error('another');
    return apply(r, version, status);
  };
  want('sys/b', 'one');
  want('sys/c', 'one');
  await cluster.advance(500);
  expect(textOf('sys/c')).toBe('one');
  expect(outcomes.toSorted()).toEqual(['Listener failed', 'Listener written']);
  expect(lines.map((l) => l['msg'])).toContain('internal error');
});

test('ten thousand objects are compared in slices, and leave nothing behind', async () => {
  const { cluster, wishes, writer } = setUp();
  let plans = 0;
  let most = 0;
  const after = cluster.clock.after.bind(cluster.clock);
  cluster.clock.after = (ms, fn) =>
    after(ms, () => {
      const before = plans;
      fn();
      most = Math.max(most, plans - before);
    });
  for (let i = 0; i < 10_000; i++) {
    const ref = cluster.put('Listener', `sys/l${i}`);
    wishes.set(`Listener sys/l${i}`, {
      ref,
      plan: () => {
        plans++;
        return null;
      },
    });
    writer.enqueue(`Listener sys/l${i}`, 'check');
  }
  expect(writer.size).toBe(10_000);
  await cluster.advance(100, 1);
  expect(plans).toBe(10_000);
  expect(most).toBe(100);
  expect(writer.size).toBe(0);
  expect(cluster.clock.pending()).toBe(0);
});

interface Step {
  readonly object: number;
  readonly text: number;
  readonly count: number;
  readonly kind: 'want' | 'foreign' | 'remove' | 'lag' | 'catch up' | 'lose' | 'lead';
  readonly pause: number;
}

test('in whatever order answers come and whatever they are: the desired status in the end, no object twice within a second, memory bounded', async () => {
  const step = fc.record<Step>({
    object: fc.nat(3),
    text: fc.nat(2),
    count: fc.nat(2),
    kind: fc.oneof(
      { arbitrary: fc.constant<Step['kind']>('want'), weight: 6 },
      { arbitrary: fc.constantFrom<Step['kind']>('foreign', 'remove', 'lag', 'catch up', 'lose', 'lead'), weight: 3 },
    ),
    pause: fc.nat(1500),
  });
  const answer = fc.record({
    latency: fc.nat(2500),
    verdict: fc.constantFrom(null, null, null, null, 'failed', 'failed but landed', 'conflict', 'throttled'),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.array(answer, { minLength: 1, maxLength: 20 }), async (steps, answers) => {
      const { cluster, want, writer, wishes, state } = setUp();
      const names = ['sys/a', 'sys/b', 'sys/c', 'sys/d'];
      for (const name of names) cluster.put('Listener', name);
      let turn = 0;
      let calm = false;
      const next = () => answers[turn++ % answers.length] as { latency: number; verdict: string | null };
      cluster.verdict = () => {
        const { latency, verdict } = next();
        cluster.latency = () => latency;
        if (calm || verdict === null) return null;
        if (verdict === 'conflict') return { outcome: 'conflict' };
        return {
          outcome: 'failed',
          lands: verdict === 'failed but landed',
          ...(verdict === 'throttled' ? { retryAfterMs: 1200 } : {}),
        };
      };
      for (const s of steps) {
        const name = names[s.object] as string;
        if (s.kind === 'want') {
          // Made anew, when it is gone.
          if (!cluster.objects.has(`Listener ${name}`)) cluster.put('Listener', name, { uid: `uid-${turn}-${name}` });
          want(name, `t${s.text}`, s.count);
        } else if (s.kind === 'foreign') {
          if (cluster.objects.has(`Listener ${name}`))
            cluster.put('Listener', name, { uid: cluster.objects.get(`Listener ${name}`)?.uid ?? '' });
        } else if (s.kind === 'remove') cluster.remove('Listener', name);
        else if (s.kind === 'lag') cluster.lagging = true;
        else if (s.kind === 'catch up') cluster.catchUp();
        else state.leading = s.kind === 'lead';
        await cluster.advance(s.pause, 100);
        expect(writer.size).toBeLessThanOrEqual(names.length);
      }
      calm = true;
      cluster.catchUp();
      state.leading = true;
      for (const key of wishes.keys()) writer.enqueue(key, 'check');
      await cluster.advance(700_000, 1000);
      for (const [key, wish] of wishes) {
        const o = cluster.objects.get(key);
        if (o !== undefined && o.uid === wish.ref.uid) expect(wish.plan(cluster.seen(wish.ref) as SeenObject, 0)).toBeNull();
      }
      for (const key of wishes.keys()) {
        const writes = cluster.writes.filter((w) => w.key === key);
        for (const [i, write] of writes.entries()) {
          const before = writes[i - 1];
          if (before !== undefined) expect(write.at - before.endedAt).toBeGreaterThanOrEqual(1000);
        }
      }
      expect(writer.size).toBe(0);
      expect(cluster.clock.pending()).toBe(0);
      await settle();
    }),
    { numRuns: 150 },
  );
}, 60_000);
