import { expect, test } from '@jest/globals';
import { Backends, type Target } from '../../../src/edge/backends/index.ts';
import { Cells } from '../../../src/contract/cells.ts';
import type { BackendTlsPart, EndpointInfo, GroupId, GroupPart } from '../../../src/contract/snapshot/parts.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { TimerWheel } from '../../../src/lib/wheel.ts';

const ID = '["default","api","default"]' as GroupId;
const part = (tls: BackendTlsPart | null = null): GroupPart => ({
  kind: 'group',
  id: ID,
  upstream: { namespace: 'default', name: 'api' },
  name: 'default',
  protocol: tls === null ? 'H2C' : 'H2',
  tls,
  healthCheck: null,
});
const info = (n: number, over: Partial<EndpointInfo> = {}): EndpointInfo => ({
  address: `10.0.0.${n}`,
  port: 80,
  host: `10.0.0.${n}`,
  label: `10.0.0.${n}:80`,
  weight: 100,
  healthy: true,
  draining: false,
  ...over,
});

function rig(metricsDetail: 'listener' | 'upstream' | 'endpoint' = 'upstream') {
  const cells = new Cells();
  const dialled: Target[] = [];
  const backends = new Backends({
    wheel: new TimerWheel(new ManualClock(), () => {}),
    cells,
    random: () => 0,
    metricsDetail,
    connectFor: () => (target) => {
      dialled.push(target);
      return () => {};
    },
  });
  const reading = (metric: string) => cells.read().find((r) => r.metric === metric)?.values[0];
  return { backends, cells, dialled, reading };
}

/** A request that waits for a connection: one is dialled. */
const dial = (group: { choose(h: number): { open(...args: unknown[]): unknown } | null }): void =>
  void group.choose(0)?.open({} as never, true, {} as never, 250);

const picks = (group: { choose(h: number): { label: string } | null }, n = 12): string[] =>
  [...new Set(Array.from({ length: n }, () => group.choose(0)?.label ?? 'none'))].sort();

test('a group whose endpoints cannot be reached by a defect keeps no other from its list, and is not left behind half made', () => {
  const broken = part();
  const backends = new Backends({
    wheel: new TimerWheel(new ManualClock(), () => {}),
    cells: new Cells(),
    random: () => 0,
    metricsDetail: 'upstream',
    connectFor: (p) => {
      if (p === broken) throw new Error('its certificate is missing');
      return () => () => {};
    },
  });
  backends.group(broken, { type: 'RoundRobin' });
  const group = backends.group(part(), { type: 'RoundRobin' });
  expect(() => backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] })).toThrow('certificate');
  expect(picks(group)).toEqual(['10.0.0.1:80']);
  expect(() => backends.group(broken, { type: 'RoundRobin' })).toThrow('certificate');
  backends.release(group);
  expect(backends.activity()).toEqual([]);
  expect(() => backends.setEndpoints({ group: ID, sequence: 2, list: [info(1)] })).toThrow('certificate');
});

test('a list may come before its group or after it, and the higher sequence wins', () => {
  const { backends } = rig();
  backends.setEndpoints({ group: ID, sequence: 5, list: [info(1)] });
  const group = backends.group(part(), { type: 'RoundRobin' });
  expect(picks(group)).toEqual(['10.0.0.1:80']);
  backends.setEndpoints({ group: ID, sequence: 4, list: [info(2)] });
  expect(picks(group)).toEqual(['10.0.0.1:80']);
  backends.setEndpoints({ group: ID, sequence: 6, list: [info(1), info(2)] });
  expect(picks(group)).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
});

test('a list that came for a group that returns outlives the end of the one that had its id', () => {
  const { backends } = rig();
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  const old = backends.group(part(), { type: 'RoundRobin' });
  // The group has left and comes back while what is gone is still being let go, a slice after the other.
  backends.forgetLists([ID]);
  backends.setEndpoints({ group: ID, sequence: 2, list: [info(2)] });
  backends.release(old);
  expect(picks(backends.group(part(), { type: 'RoundRobin' }))).toEqual(['10.0.0.2:80']);
});

test('a list stays until it is said that nothing needs it, whatever became of the group', () => {
  const { backends } = rig();
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  // Built for a listener that could not be bound.
  backends.release(backends.group(part(), { type: 'RoundRobin' }));
  expect(picks(backends.group(part(), { type: 'RoundRobin' }))).toEqual(['10.0.0.1:80']);
  backends.forgetLists([ID]);
  expect(backends.group(part(), { type: 'Random' }).empty).toBe(true);
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(3)] });
  expect(backends.group(part(), { type: 'Random' }).empty).toBe(false);
});

test('unhealthy and draining endpoints are not picked', () => {
  const { backends, reading } = rig();
  const group = backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1), info(2, { healthy: false }), info(3, { draining: true })] });
  expect(picks(group)).toEqual(['10.0.0.1:80']);
  expect(reading('panic_total')).toBe(0);
});

test('when all are unhealthy, all are used, and each pick counts as panic', () => {
  const { backends, reading } = rig();
  const group = backends.group(part(), { type: 'Random' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1, { healthy: false }), info(2, { healthy: false })] });
  for (let i = 0; i < 10; i++) expect(group.choose(0)).not.toBeNull();
  expect(reading('panic_total')).toBe(10);
});

test('elsewhere is another one, however little its weight, and the same only when it is alone', () => {
  for (const type of ['RoundRobin', 'Random'] as const) {
    const { backends } = rig();
    const group = backends.group(part(), { type });
    backends.setEndpoints({ group: ID, sequence: 1, list: [info(1, { weight: 1_000_000 }), info(2, { weight: 1 })] });
    const heavy = group.members[0]?.endpoint;
    if (heavy === undefined) throw new Error('no member');
    for (let i = 0; i < 20; i++) expect(group.elsewhere(heavy, 0)?.address).toBe('10.0.0.2');
    backends.setEndpoints({ group: ID, sequence: 2, list: [info(1)] });
    expect(group.elsewhere(heavy, 0)).toBe(heavy);
  }
});

test('what goes elsewhere takes nobody’s turn: an endpoint that refuses is not asked first by every request', () => {
  const { backends } = rig();
  const group = backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1), info(2)] });
  const firsts = Array.from({ length: 8 }, () => {
    const first = group.choose(0);
    if (first?.label === '10.0.0.1:80') expect(group.elsewhere(first, 0)?.label).toBe('10.0.0.2:80');
    return first?.label;
  });
  expect(firsts.filter((label) => label === '10.0.0.1:80').length).toBe(4);
});

test('in panic what goes elsewhere is one pick more, however often the policy is asked', () => {
  const { backends, reading } = rig();
  const group = backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({
    group: ID,
    sequence: 1,
    list: [info(1, { weight: 1000, healthy: false }), info(2, { weight: 1, healthy: false })],
  });
  const first = group.choose(0);
  if (first !== null) group.elsewhere(first, 0);
  expect(reading('panic_total')).toBe(2);
});

test('no endpoints: nothing to choose', () => {
  const { backends } = rig();
  const group = backends.group(part(), { type: 'RoundRobin' });
  expect(group.empty).toBe(true);
  expect(group.choose(0)).toBeNull();
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  backends.setEndpoints({ group: ID, sequence: 2, list: [] });
  expect(group.choose(0)).toBeNull();
});

test('a new snapshot with the same endpoints keeps their connections and what is in flight', () => {
  const { backends } = rig();
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  const old = backends.group(part(), { type: 'RoundRobin' });
  const endpoint = old.choose(0);
  const next = backends.group(part(), { type: 'Random' });
  backends.release(old);
  expect(next.choose(0)).toBe(endpoint);
  expect(old.choose(0)).toBeNull();
});

test('another TLS identity is another endpoint: connections are never shared across it', () => {
  const { backends } = rig();
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  const tls: BackendTlsPart = { verify: true, serverName: 'a', sni: true, ca: null, client: null };
  const a = backends.group(part(tls), { type: 'RoundRobin' });
  const b = backends.group(part({ ...tls, serverName: 'b' }), { type: 'RoundRobin' });
  expect(a.choose(0)).not.toBe(b.choose(0));
});

test('a duplicate address counts once', () => {
  const { backends } = rig();
  const group = backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1), info(1)] });
  expect(group.members).toHaveLength(1);
  expect(backends.activity()).toEqual([{ group: ID, endpoint: '10.0.0.1:80', active: 0 }]);
});

test('the per-endpoint gauge goes with its endpoint', () => {
  const { backends, cells } = rig('endpoint');
  backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1), info(2)] });
  backends.measure();
  const labels = () =>
    cells
      .read()
      .filter((r) => r.metric === 'endpoint_active_requests')
      .map((r) => r.labels[1]);
  expect(labels()).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  backends.setEndpoints({ group: ID, sequence: 2, list: [info(2)] });
  expect(labels()).toEqual(['10.0.0.2:80']);
});

test('an endpoint that is called by another name goes by that name, with what it has in flight', () => {
  const { backends, cells } = rig('endpoint');
  const group = backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1, { label: 'old' })] });
  const endpoint = group.choose(0);
  if (endpoint !== null) endpoint.active = 3;
  backends.measure();
  backends.setEndpoints({ group: ID, sequence: 2, list: [info(1, { label: 'new' })] });
  backends.measure();
  expect(group.choose(0)).toBe(endpoint);
  expect(backends.activity()).toEqual([{ group: ID, endpoint: 'new', active: 3 }]);
  const rows = cells.read().filter((r) => r.metric === 'endpoint_active_requests');
  expect(rows.map((r) => [r.labels[1], r.values[0]])).toEqual([['new', 3]]);
});

test('the rows of an upstream go with its last group', () => {
  const { backends, cells } = rig();
  const rows = () =>
    cells
      .read()
      .map((r) => r.metric)
      .sort();
  const old = backends.group(part(), { type: 'RoundRobin' });
  const next = backends.group(part(), { type: 'Random' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  backends.measure();
  // Nobody has asked for it: there is nothing to tell of connections.
  expect(rows()).toEqual(['panic_total']);
  dial(old as never);
  backends.measure();
  expect(rows()).toEqual(['backend_connections', 'backend_connections', 'panic_total']);
  backends.release(old);
  expect(rows()).toHaveLength(3);
  backends.release(next);
  expect(rows()).toEqual([]);
});

test('detail listener: no row names an upstream, and they stay while there is any group', () => {
  const { backends, cells } = rig('listener');
  const of = (name: string) =>
    backends.group({ ...part(), id: name as GroupId, upstream: { namespace: 'web', name } }, { type: 'RoundRobin' });
  const a = of('a');
  of('b');
  backends.setEndpoints({ group: 'b' as GroupId, sequence: 1, list: [info(1)] });
  dial(backends.group({ ...part(), id: 'b' as GroupId, upstream: { namespace: 'web', name: 'b' } }, { type: 'Random' }) as never);
  backends.measure();
  const labels = () => cells.read().map((r) => [r.metric, ...r.labels].join(' '));
  const rows = ['panic_total ', 'backend_connections  open', 'backend_connections  connecting'];
  expect(labels()).toEqual(rows);
  backends.release(a);
  expect(labels()).toEqual(rows);
});

test('gauges of endpoints that are alike in two groups of an upstream are sums, and count no endpoint twice', () => {
  const { backends, reading } = rig('endpoint');
  const ids = ['v1', 'v2'] as GroupId[];
  for (const id of ids) {
    const groups = [backends.group({ ...part(), id }, { type: 'RoundRobin' }), backends.group({ ...part(), id }, { type: 'Random' })];
    backends.setEndpoints({ group: id, sequence: 1, list: [info(1)] });
    const endpoint = groups[0]?.choose(0);
    if (endpoint !== null && endpoint !== undefined) endpoint.active = id === 'v1' ? 2 : 3;
  }
  backends.measure();
  expect(reading('endpoint_active_requests')).toBe(5);
});

test('a gauge that was not zero is told when it is again, and of Upstreams that nobody asked for nothing is', () => {
  const { backends, cells } = rig();
  const group = backends.group(part(), { type: 'RoundRobin' });
  backends.setEndpoints({ group: ID, sequence: 1, list: [info(1)] });
  const told = () => {
    backends.measure();
    return cells.readUsed().map((r) => `${r.labels.join(' ')} ${r.values[0]}`);
  };
  expect(told()).toEqual([]);
  dial(group as never);
  expect(told()).toEqual(['default/api connecting 1']);
  backends.setEndpoints({ group: ID, sequence: 2, list: [info(2)] });
  expect(told()).toEqual(['default/api connecting 0']);
  expect(told()).toEqual(['default/api connecting 0']);
});
