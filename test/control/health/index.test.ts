import { describe, expect, test } from '@jest/globals';
import type { GroupId, GroupPart, HealthCheckPart } from '../../../src/contract/snapshot/parts.ts';
import {
  Health,
  MAX_RUNNING,
  type CheckedGroup,
  type Checker,
  type CheckReason,
  type CheckTarget,
} from '../../../src/control/health/index.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

const CHECK: HealthCheckPart = {
  path: '/health',
  statuses: [[200, 299]],
  hostname: null,
  intervalMs: 5000,
  timeoutMs: 1000,
  cooldownMs: 0,
  healthyThreshold: 2,
  unhealthyThreshold: 3,
  initial: 'Healthy',
};

const groupOf = (check: Partial<HealthCheckPart> | null, id = 'g'): GroupPart => ({
  kind: 'group',
  id: id as GroupId,
  upstream: { namespace: 'default', name: 'u' },
  name: 'default',
  protocol: 'H2C',
  tls: null,
  healthCheck: check === null ? null : { ...CHECK, ...check },
});
const endpointOf = (n: number) => ({ address: `192.0.2.${n}`, port: 80, host: `192.0.2.${n}`, label: `e${n}` });
const checkedGroup = (group: GroupPart, ...numbers: number[]): CheckedGroup => ({ group, endpoints: numbers.map(endpointOf) });

const setUp = (random = 0.5) => {
  const clock = new ManualClock();
  /** The answer of each address; 'later' keeps the check open. */
  const answers = new Map<string, CheckReason | 'later'>();
  const asked: [string, number][] = [];
  const closed: string[] = [];
  const waiting: ((success: boolean, reason: CheckReason) => void)[] = [];
  const verdicts: string[] = [];
  const turns: [string, boolean, string][] = [];
  const results: [string, boolean, string][] = [];
  const health = new Health({
    clock,
    transport: {
      open: (target: CheckTarget): Checker => ({
        check: (done) => {
          const { address } = target.endpoint;
          asked.push([address, clock.now()]);
          const answer = answers.get(address) ?? 'ok';
          if (answer === 'later') waiting.push(done);
          else done(answer === 'ok', answer);
        },
        close: () => closed.push(target.endpoint.address),
      }),
    },
    random: () => random,
    onVerdicts: (groups) => verdicts.push(...groups),
    onResult: (upstream, success, reason) => results.push([upstream, success, reason]),
    onTurn: (_, endpoint, healthy, reason) => turns.push([endpoint, healthy, reason]),
  });
  return { clock, answers, asked, closed, waiting, verdicts, turns, results, health };
};
const times = (asked: [string, number][]): number[] => asked.map(([, at]) => at);

describe('thresholds', () => {
  test('three failures in a row make an endpoint unhealthy, two successes in a row healthy again', () => {
    const { clock, answers, turns, verdicts, health } = setUp();
    const group = groupOf({});
    health.follow(checkedGroup(group, 1));
    const step = (answer: CheckReason): boolean => {
      answers.set('192.0.2.1', answer);
      clock.advance(5000);
      return health.healthy(group, endpointOf(1));
    };
    const seen = [
      step('connect_refused'),
      step('connect_refused'),
      step('ok'),
      step('connect_refused'),
      step('connect_refused'),
      step('connect_refused'),
    ];
    expect(seen).toEqual([true, true, true, true, true, false]);
    expect(turns).toEqual([['e1', false, 'connect_refused']]);
    expect([step('ok'), step('connect_refused'), step('ok'), step('ok')]).toEqual([false, false, false, true]);
    expect(turns.at(-1)).toEqual(['e1', true, 'ok']);
    expect(verdicts).toEqual(['g', 'g']);
  });

  test('initial: Unhealthy needs its successes first', () => {
    const { clock, health } = setUp();
    const group = groupOf({ initial: 'Unhealthy' });
    expect(health.healthy(group, endpointOf(1))).toBe(false);
    health.follow(checkedGroup(group, 1));
    clock.advance(4000);
    expect(health.healthy(group, endpointOf(1))).toBe(false);
    clock.advance(5000);
    expect(health.healthy(group, endpointOf(1))).toBe(true);
  });

  test('in the cooldown after turning unhealthy successes do not count', () => {
    const { clock, answers, health } = setUp();
    const group = groupOf({ cooldownMs: 20_000, unhealthyThreshold: 1, healthyThreshold: 1 });
    health.follow(checkedGroup(group, 1));
    answers.set('192.0.2.1', 'response_timeout');
    clock.advance(1000);
    expect(health.healthy(group, endpointOf(1))).toBe(false);
    answers.set('192.0.2.1', 'ok');
    const since = clock.now();
    while (!health.healthy(group, endpointOf(1)) && clock.now() - since < 60_000) clock.advance(100);
    expect(clock.now() - since).toBeGreaterThanOrEqual(19_000);
    expect(clock.now() - since).toBeLessThanOrEqual(25_000);
  });

  test('a group without a check is healthy and is not checked', () => {
    const { clock, asked, health } = setUp();
    const group = groupOf(null);
    health.follow(checkedGroup(group, 1));
    clock.advance(60_000);
    expect(asked).toEqual([]);
    expect(health.healthy(group, endpointOf(1))).toBe(true);
    expect(health.facts(group, endpointOf(1))).toBeNull();
  });
});

describe('rhythm', () => {
  test.each([
    [0, [0, 4500, 9000]],
    [0.5, [500, 5500, 10_500]],
    [0.999, [999, 6498, 11_997]],
  ])('the first check comes within a second, the others with a tenth of jitter (%f)', (random, expected) => {
    const { clock, asked, health } = setUp(random);
    health.follow(checkedGroup(groupOf({}), 1));
    for (let i = 0; i < 13_000; i++) clock.advance(1);
    expect(times(asked).map((t, i) => Math.abs(t - (expected[i] as number)) <= 1)).toEqual([true, true, true]);
  });

  test('a check that takes long does not delay the next by its length', () => {
    const { clock, answers, asked, waiting, health } = setUp();
    answers.set('192.0.2.1', 'later');
    health.follow(checkedGroup(groupOf({}), 1));
    clock.advance(1400);
    waiting[0]?.(true, 'ok');
    clock.advance(10_000);
    expect(times(asked)).toEqual([500, 5500]);
  });

  test('no more than the limit runs at once, and the others follow', () => {
    const { clock, answers, asked, waiting, health } = setUp(0);
    const group = groupOf({});
    const endpoints = Array.from({ length: MAX_RUNNING + 10 }, (_, i) => ({
      address: `10.0.${i >> 8}.${i & 255}`,
      port: 80,
      host: 'h',
      label: `e${i}`,
    }));
    for (const e of endpoints) answers.set(e.address, 'later');
    health.follow({ group, endpoints });
    clock.advance(0);
    expect(asked).toHaveLength(MAX_RUNNING);
    for (const done of waiting.splice(0, 4)) done(true, 'ok');
    expect(asked).toHaveLength(MAX_RUNNING + 4);
  });

  test('those that wait for hours do not hold up the others, and give their place back once', () => {
    const { clock, answers, asked, waiting, health } = setUp(0);
    const silent = Array.from({ length: MAX_RUNNING + 10 }, (_, i) => ({
      address: `10.0.${i >> 8}.${i & 255}`,
      port: 80,
      host: 'h',
      label: `e${i}`,
    }));
    for (const e of silent) answers.set(e.address, 'later');
    health.follow({ group: groupOf({ intervalMs: 3_600_000, timeoutMs: 3_600_000 }, 'silent'), endpoints: silent });
    clock.advance(0);
    health.follow(checkedGroup(groupOf({ unhealthyThreshold: 1 }, 'other'), 1));
    answers.set('192.0.2.1', 'connect_refused');
    clock.advance(2000);
    expect(health.healthy(groupOf({ unhealthyThreshold: 1 }, 'other'), endpointOf(1))).toBe(false);
    expect(asked).toHaveLength(MAX_RUNNING + 10 + 1);
    // Their answers, late as they are, free nothing that is free already.
    for (const done of waiting.splice(0)) done(true, 'ok');
    asked.length = 0;
    const more = silent.map((e) => ({ ...e, port: 81 }));
    health.follow({ group: groupOf({}, 'more'), endpoints: more });
    clock.advance(0);
    expect(asked).toHaveLength(MAX_RUNNING);
  });

  test('an answer that comes twice counts once', () => {
    const { clock, answers, waiting, results, health } = setUp();
    answers.set('192.0.2.1', 'later');
    health.follow(checkedGroup(groupOf({}), 1));
    clock.advance(600);
    waiting[0]?.(true, 'ok');
    waiting[0]?.(false, 'backend_closed');
    expect(results).toEqual([['default/u', true, 'ok']]);
  });
});

describe('identity', () => {
  const sick = () => {
    const all = setUp();
    const group = groupOf({ unhealthyThreshold: 1 });
    all.answers.set('192.0.2.1', 'connect_refused');
    all.health.follow(checkedGroup(group, 1, 2));
    all.clock.advance(1000);
    expect(all.health.healthy(group, endpointOf(1))).toBe(false);
    return { ...all, group };
  };

  test('a reload that keeps it keeps verdict and rhythm', () => {
    const { clock, asked, closed, health } = sick();
    const same = groupOf({ unhealthyThreshold: 1 });
    health.follow(checkedGroup(same, 1, 2, 3));
    expect(health.healthy(same, endpointOf(1))).toBe(false);
    expect(closed).toEqual([]);
    const before = asked.length;
    clock.advance(4000);
    // Only the new one: the others keep their rhythm.
    expect(asked.slice(before).map(([address]) => address)).toEqual(['192.0.2.3']);
  });

  test.each([
    [
      'another check',
      (g: GroupPart): GroupPart => ({ ...g, healthCheck: { ...(g.healthCheck as HealthCheckPart), path: '/other' } }),
      endpointOf(1),
    ],
    ['another protocol', (g: GroupPart): GroupPart => ({ ...g, protocol: 'H2' }), endpointOf(1)],
    ['another group', (g: GroupPart): GroupPart => ({ ...g, id: 'h' as GroupId }), endpointOf(1)],
    ['another port', (g: GroupPart): GroupPart => g, { ...endpointOf(1), port: 81 }],
    ['another name', (g: GroupPart): GroupPart => g, { ...endpointOf(1), host: 'x.test' }],
  ])('%s is another endpoint', (_, change, endpoint) => {
    const { closed, health, group } = sick();
    const changed = change(group);
    health.follow({ group: changed, endpoints: [endpoint] });
    if (changed.id !== group.id) health.forget(group.id);
    expect(health.healthy(changed, endpoint)).toBe(true);
    expect(closed.sort()).toEqual(['192.0.2.1', '192.0.2.2']);
  });

  test('an endpoint that is gone is closed, and a late answer about it is nothing', () => {
    const { clock, answers, closed, waiting, results, verdicts, health } = setUp();
    answers.set('192.0.2.1', 'later');
    health.follow(checkedGroup(groupOf({ unhealthyThreshold: 1 }), 1));
    clock.advance(600);
    health.stop();
    waiting[0]?.(false, 'backend_closed');
    expect(closed).toEqual(['192.0.2.1']);
    expect(results).toEqual([]);
    expect(verdicts).toEqual([]);
    expect(clock.pending()).toBe(0);
  });

  test('one that is called by another label keeps its verdict, and tells it by that', () => {
    const { health, group } = sick();
    health.follow({ group, endpoints: [{ ...endpointOf(1), label: 'renamed' }, endpointOf(2)] });
    expect([...health.verdicts()]).toEqual([
      [['default/u', 'renamed'], 0],
      [['default/u', 'e2'], 1],
    ]);
  });

  test('the gauge has a row for each label, unhealthy when one of its addresses is', () => {
    const { clock, answers, health } = setUp();
    answers.set('192.0.2.1', 'connect_refused');
    const named = [1, 2].map((n) => ({ ...endpointOf(n), label: 'db' }));
    health.follow({ group: groupOf({ unhealthyThreshold: 1 }), endpoints: [...named, endpointOf(3)] });
    clock.advance(1000);
    expect([...health.verdicts()]).toEqual([
      [['default/u', 'db'], 0],
      [['default/u', 'e3'], 1],
    ]);
  });
});
