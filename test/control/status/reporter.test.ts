import { expect, test } from '@jest/globals';
import type { GroupService, ObjectStatus } from '../../../src/control/compile/index.ts';
import type { ServiceEndpoints } from '../../../src/control/sources/services.ts';
import { RECHECK_MS, Reporter } from '../../../src/control/status/reporter.ts';
import type { WorkerFacts } from '../../../src/control/status/programmed.ts';
import { ManualClock } from '../../../src/lib/clock.ts';
import { BAD, compiledOf, FakeCluster, listenerStatus, logOf, upstreamStatus } from './cluster.ts';
import { cost } from '../../kit/cost.ts';

const SERVED: WorkerFacts = { bindProblems: [], acknowledged: true };

class FakeEndpoints implements ServiceEndpoints {
  readonly numbers = new Map<string, { total: number; ready: number }>();
  endpoints(): [] {
    return [];
  }
  counts(service: GroupService): { total: number; ready: number } {
    return this.numbers.get(`${service.namespace}/${service.name}`) ?? { total: 0, ready: 0 };
  }
  onChange(): () => void {
    return () => {};
  }
}

function process(cluster: FakeCluster, leading = true) {
  const state = { leading };
  const endpoints = new FakeEndpoints();
  const writes: string[] = [];
  const events: string[] = [];
  const { log, lines } = logOf();
  const reporter = new Reporter({
    clock: cluster.clock,
    log,
    client: cluster,
    leader: () => state.leading,
    className: 'spooky',
    endpoints,
    onWrite: (kind, result) => writes.push(`${kind} ${result}`),
    onEvent: (result) => events.push(result),
    random: () => 0.5,
  });
  return { reporter, state, endpoints, writes, events, lines };
}

/** A cluster that has these objects, and a process that leads in it. */
function setUp(statuses: readonly ObjectStatus[] = [listenerStatus(), upstreamStatus()]) {
  const cluster = new FakeCluster(new ManualClock(1_000_000));
  for (const s of statuses) cluster.put(s.kind, `${s.namespace}/${s.name}`, { generation: s.generation });
  return { cluster, ...process(cluster) };
}

const shortEvents = (cluster: FakeCluster): string[] => cluster.events.map((e) => `${e.regarding.name} ${e.type} ${e.reason}`);

test('a first state is written, each object once; the same again costs nothing', async () => {
  const { cluster, reporter, writes, events } = setUp();
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(100);
  expect(writes.toSorted()).toEqual(['Listener written', 'Upstream written']);
  expect(cluster.condition('Upstream', 'web/api', 'Programmed')).toMatchObject({ status: 'True', reason: 'Programmed' });
  for (let i = 0; i < 20; i++) {
    reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
    await cluster.advance(1500, 100);
  }
  await cluster.advance(RECHECK_MS * 4, 5000);
  expect(cluster.writes).toHaveLength(2);
  expect(events).toEqual([]);
});

test('a restart, and another leader, cost nothing either', async () => {
  const { cluster, reporter, state } = setUp();
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(20_000, 100);
  state.leading = false;
  const next = process(cluster, false);
  next.reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(1000);
  next.state.leading = true;
  next.reporter.becameLeader();
  await cluster.advance(20_000, 100);
  expect(cluster.writes).toHaveLength(2);
  expect(next.events).toEqual([]);
});

test('who follows writes nothing; who comes to lead writes what is missing and no more', async () => {
  const { cluster, reporter, state } = setUp();
  state.leading = false;
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  reporter.endpointsChanged(new Set(['web/api']));
  await cluster.advance(RECHECK_MS * 2, 5000);
  expect(cluster.writes).toEqual([]);
  // Another one has written half of it.
  const other = process(cluster);
  other.reporter.applied(compiledOf([listenerStatus()]), SERVED);
  await cluster.advance(100);
  other.state.leading = false;
  state.leading = true;
  reporter.becameLeader();
  await cluster.advance(1000);
  expect(cluster.writes.map((w) => w.key)).toEqual(['Listener sys/public', 'Upstream web/api']);
});

test('who follows does not keep what has gone', () => {
  const { cluster, reporter, state } = setUp([]);
  state.leading = false;
  for (let i = 0; i < 50; i++) {
    cluster.put('Upstream', `web/u${i}`);
    reporter.applied(compiledOf([upstreamStatus(`web/u${i}`)]), SERVED);
    expect(reporter.size).toBeLessThanOrEqual(2);
    cluster.remove('Upstream', `web/u${i}`);
    // Another one by the same name is not the one that was ours.
    if (i % 2 === 0) cluster.put('Upstream', `web/u${i}`, { uid: 'another' });
  }
  reporter.applied(compiledOf([]), SERVED);
  expect(reporter.size).toBe(0);
});

test('leading before the first state is nothing to act upon', async () => {
  const { cluster, reporter } = setUp();
  reporter.becameLeader();
  await cluster.advance(1000);
  expect(cluster.writes).toEqual([]);
});

test('a lost lease stops writing before the next write', async () => {
  const many = Array.from({ length: 30 }, (_, i) => upstreamStatus(`web/u${i}`));
  const { cluster, reporter, state, writes } = setUp(many);
  cluster.latency = () => 50;
  reporter.applied(compiledOf(many), SERVED);
  await cluster.advance(20);
  expect(cluster.writes).toHaveLength(4);
  state.leading = false;
  await cluster.advance(5000);
  expect(cluster.writes).toHaveLength(4);
  expect(writes).toHaveLength(4);
});

test('programmed follows the workers', async () => {
  const { cluster, reporter } = setUp();
  const statuses = [listenerStatus(), upstreamStatus()];
  reporter.applied(compiledOf(statuses), { bindProblems: [], acknowledged: false });
  await cluster.advance(2000);
  expect(cluster.condition('Upstream', 'web/api', 'Programmed')).toMatchObject({ status: 'False', reason: 'Pending' });
  reporter.applied(compiledOf(statuses), SERVED);
  await cluster.advance(2000);
  expect(cluster.condition('Upstream', 'web/api', 'Programmed')).toMatchObject({ status: 'True', reason: 'Programmed' });
  const message = 'UDP [::]:8443: EADDRINUSE, held by process 7 (nginx)';
  reporter.applied(compiledOf(statuses), { bindProblems: [{ listener: 'sys/public', message }], acknowledged: true });
  await cluster.advance(2000);
  expect(cluster.condition('Listener', 'sys/public', 'Programmed')).toMatchObject({ status: 'False', reason: 'AddressNotBound', message });
  expect(shortEvents(cluster)).toEqual([
    'public Normal Programmed',
    'api Normal Programmed',
    'public Warning AddressNotBound',
    'api Warning Pending',
  ]);
});

test('events on turns only, after the write, and none when a new leader writes what was written', async () => {
  const { cluster, reporter } = setUp([upstreamStatus()]);
  reporter.applied(compiledOf([upstreamStatus()]), SERVED);
  await cluster.advance(2000);
  reporter.applied(compiledOf([upstreamStatus('web/api', { bad: [BAD.refs] })]), SERVED);
  await cluster.advance(2000);
  reporter.applied(compiledOf([upstreamStatus('web/api', { generation: 2, bad: [BAD.refs] })]), SERVED);
  await cluster.advance(2000);
  expect(shortEvents(cluster)).toEqual(['api Warning InvalidBackend']);
  const next = process(cluster);
  next.reporter.applied(compiledOf([upstreamStatus('web/api', { generation: 2, bad: [BAD.refs] })]), SERVED);
  await cluster.advance(2000);
  expect(cluster.events).toHaveLength(1);
  next.reporter.applied(compiledOf([upstreamStatus('web/api', { generation: 2 })]), SERVED);
  await cluster.advance(2000);
  expect(shortEvents(cluster)).toEqual(['api Warning InvalidBackend', 'api Normal ResolvedRefs']);
});

test('endpoints are counted, each Service once, and their numbers written every ten seconds at most', async () => {
  const status = upstreamStatus('web/api', { groups: ['a', 'b', 'c', 'gone'] as never });
  const { cluster, reporter, endpoints } = setUp([status]);
  endpoints.numbers.set('web/one', { total: 3, ready: 2 });
  const compiled = () => compiledOf([status], { a: 'web/one', b: 'web/one', c: 4 });
  reporter.applied(compiled(), SERVED);
  await cluster.advance(1000);
  const counts = (): unknown => (cluster.status('Upstream', 'web/api')['installations'] as { endpoints: unknown }[])[0]?.endpoints;
  expect(counts()).toEqual({ total: 7, ready: 6 });
  for (let i = 0; i < 100; i++) {
    endpoints.numbers.set('web/one', { total: 3, ready: i % 3 });
    reporter.endpointsChanged(new Set(['web/one', 'web/other']));
    await cluster.advance(300, 100);
  }
  // 30 seconds.
  expect(cluster.writes.length - 1).toBeGreaterThanOrEqual(2);
  expect(cluster.writes.length - 1).toBeLessThanOrEqual(3);
  endpoints.numbers.set('web/one', { total: 9, ready: 9 });
  reporter.endpointsChanged(new Set(['web/one']));
  await cluster.advance(12_000, 100);
  expect(counts()).toEqual({ total: 13, ready: 13 });
  expect(cluster.events).toEqual([]);
});

test('endpoints are not counted where nobody counts them', async () => {
  const cluster = new FakeCluster();
  const status = upstreamStatus('web/api', { groups: ['a'] as never });
  cluster.put('Upstream', 'web/api');
  const reporter = new Reporter({
    clock: cluster.clock,
    log: logOf().log,
    client: cluster,
    leader: () => true,
    className: 'spooky',
    endpoints: null,
    onWrite: () => {},
    onEvent: () => {},
    random: () => 0,
  });
  reporter.applied(compiledOf([status], { a: 4 }), SERVED);
  await cluster.advance(100);
  expect(cluster.status('Upstream', 'web/api')['installations']).toEqual([expect.not.objectContaining({ endpoints: expect.anything() })]);
});

test('a certificate that expires is warned about at that moment, by one timer, however far it is', async () => {
  const wall = 1_700_000_000_000 + 1_000_000;
  const day = 86_400_000;
  const certificates = [
    { source: 'sys/soon', notBefore: 0, notAfter: wall + 60 * day },
    { source: 'sys/late', notBefore: 0, notAfter: wall + 61 * day },
  ];
  const listener = listenerStatus('sys/public', { certificates });
  const { cluster, reporter } = setUp([listener]);
  reporter.applied(compiledOf([listener]), SERVED);
  await cluster.advance(20_000, 1000);
  // The recheck and the end of a certificate.
  expect(cluster.clock.pending()).toBe(2);
  await cluster.advance(60 * day - 30_000, 3_600_000);
  expect(cluster.writes).toHaveLength(1);
  await cluster.advance(20_000, 1000);
  const message = (): unknown => cluster.condition('Listener', 'sys/public', 'ResolvedRefs');
  expect(message()).toMatchObject({ status: 'True', reason: 'ResolvedRefs', message: 'certificates that have expired: sys/soon' });
  await cluster.advance(day, 3_600_000);
  expect(message()).toMatchObject({ status: 'True', message: 'certificates that have expired: sys/soon, sys/late' });
  expect(shortEvents(cluster)).toEqual(['public Warning CertificateExpired']);
  const renewed = listenerStatus('sys/public', { certificates: [{ source: 'sys/soon', notBefore: 0, notAfter: wall + 400 * day }] });
  reporter.applied(compiledOf([renewed]), SERVED);
  await cluster.advance(2000);
  expect(message()).toMatchObject({ status: 'True', message: '' });
  expect(shortEvents(cluster)).toEqual(['public Warning CertificateExpired', 'public Normal CertificateRenewed']);
  expect(cluster.writes).toHaveLength(4);
});

test('a certificate that was expired when it came is said with the first write', async () => {
  const listener = listenerStatus('sys/public', { certificates: [{ source: 'sys/old', notBefore: 0, notAfter: 5 }] });
  const { cluster, reporter } = setUp([listener]);
  reporter.applied(compiledOf([listener]), SERVED);
  await cluster.advance(1000);
  expect(cluster.condition('Listener', 'sys/public', 'ResolvedRefs')).toMatchObject({ message: 'certificates that have expired: sys/old' });
  expect(shortEvents(cluster)).toEqual(['public Warning CertificateExpired']);
});

test('a certificate that is not valid yet is warned about until it is, beside one that has expired', async () => {
  const at = 1_700_000_000_000 + 1_060_000;
  const certificates = [
    { source: 'sys/early', notBefore: at, notAfter: at + 1e9 },
    { source: 'sys/old', notBefore: 0, notAfter: 5 },
  ];
  const listener = listenerStatus('sys/public', { certificates });
  const { cluster, reporter } = setUp([listener]);
  reporter.applied(compiledOf([listener]), SERVED);
  await cluster.advance(1000);
  const message = (): unknown => cluster.condition('Listener', 'sys/public', 'ResolvedRefs');
  const old = 'certificates that have expired: sys/old';
  expect(message()).toMatchObject({ status: 'True', message: `${old}; certificates that are not valid yet: sys/early` });
  await cluster.advance(120_000, 1000);
  expect(message()).toMatchObject({ status: 'True', message: old });
});

test('what is not ours any more loses our entry, once, and nothing of others', async () => {
  const { cluster, reporter } = setUp();
  const theirs = { controllerName: 'spooky.dev/other', conditions: [] };
  cluster.put('Upstream', 'web/api', { status: { installations: [theirs] } });
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(2000);
  expect(cluster.status('Upstream', 'web/api')['installations']).toHaveLength(2);
  reporter.applied(compiledOf([]), SERVED);
  await cluster.advance(2000);
  expect(cluster.status('Upstream', 'web/api')['installations']).toEqual([theirs]);
  expect(cluster.status('Listener', 'sys/public')['conditions']).toEqual([]);
  expect(cluster.writes.slice(2).map((w) => w.document)).toEqual([{}, {}]);
  for (let i = 0; i < 5; i++) {
    reporter.applied(compiledOf([]), SERVED);
    await cluster.advance(2000);
  }
  // Whoever serves it now says so.
  cluster.put('Listener', 'sys/public', { status: { conditions: [{ type: 'Accepted', status: 'True' }] } });
  await cluster.advance(RECHECK_MS * 3, 5000);
  expect(cluster.writes).toHaveLength(4);
  expect(cluster.events).toEqual([]);
  expect(reporter.size).toBe(0);
});

test('what comes back before its entry was taken away is not disturbed', async () => {
  const { cluster, reporter } = setUp([upstreamStatus()]);
  reporter.applied(compiledOf([upstreamStatus()]), SERVED);
  await cluster.advance(100);
  reporter.applied(compiledOf([]), SERVED);
  await cluster.advance(100);
  reporter.applied(compiledOf([upstreamStatus()]), SERVED);
  await cluster.advance(5000);
  expect(cluster.writes).toHaveLength(1);
});

test('what is deleted costs no call, and leaves nothing', async () => {
  const { cluster, reporter } = setUp();
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(100);
  cluster.remove('Upstream', 'web/api');
  reporter.applied(compiledOf([listenerStatus()]), SERVED);
  await cluster.advance(30_000, 100);
  expect(cluster.writes).toHaveLength(2);
});

test('what left while nobody led is found by what the objects hold', async () => {
  const { cluster, reporter, state } = setUp();
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(100);
  state.leading = false;
  const next = process(cluster);
  cluster.heldRefs = [
    { kind: 'Listener', namespace: 'sys', name: 'public', uid: 'uid-sys/public' },
    { kind: 'Upstream', namespace: 'web', name: 'api', uid: 'uid-web/api' },
  ];
  next.reporter.applied(compiledOf([listenerStatus()]), SERVED);
  await cluster.advance(2000);
  expect(cluster.writes.slice(2).map((w) => [w.key, w.document])).toEqual([['Upstream web/api', {}]]);
  expect(cluster.status('Upstream', 'web/api')['installations']).toEqual([]);
});

test('somebody else who writes our fields is noticed and put right', async () => {
  const { cluster, reporter } = setUp([upstreamStatus()]);
  reporter.applied(compiledOf([upstreamStatus()]), SERVED);
  await cluster.advance(20_000, 100);
  const before = structuredClone(cluster.status('Upstream', 'web/api'));
  cluster.put('Upstream', 'web/api', { status: {} });
  await cluster.advance(RECHECK_MS * 2, 5000);
  expect(cluster.writes).toHaveLength(2);
  expect(Object.keys(cluster.status('Upstream', 'web/api'))).toEqual(Object.keys(before));
});

test('it is put right at once when the watch shows it, and somebody who persists is written to ever less often', async () => {
  const { cluster, reporter } = setUp([upstreamStatus()]);
  reporter.applied(compiledOf([upstreamStatus()]), SERVED);
  await cluster.advance(20_000, 100);
  const thief = (): void => reporter.seenAgain(cluster.put('Upstream', 'web/api', { status: {} }));
  thief();
  await cluster.advance(1000, 100);
  expect(cluster.writes).toHaveLength(2);
  // Our own write, as the watch shows it, is what we want.
  reporter.seenAgain({ kind: 'Upstream', namespace: 'web', name: 'api', uid: 'uid-web/api' });
  reporter.seenAgain({ kind: 'Upstream', namespace: 'web', name: 'stranger', uid: 'u' });
  await cluster.advance(20_000, 1000);
  expect(cluster.writes).toHaveLength(2);
  for (let i = 0; i < 300; i++) {
    thief();
    await cluster.advance(1000, 500);
  }
  expect(cluster.writes.length).toBeLessThan(10);
});

test('a thousand new Upstreams cost at most 1,100 writes', async () => {
  const all = Array.from({ length: 1000 }, (_, i) => upstreamStatus(`web/u${i}`, { groups: [`g${i}`] as never }));
  const groups = Object.fromEntries(all.map((_, i) => [`g${i}`, `web/s${i % 50}`]));
  const { cluster, reporter, endpoints } = setUp([listenerStatus()]);
  reporter.applied(compiledOf([listenerStatus()]), SERVED);
  await cluster.advance(2000);
  for (let i = 0; i < 50; i++) endpoints.numbers.set(`web/s${i}`, { total: 2, ready: 2 });
  // A minute of kubectl apply, a state for every 20 of them.
  for (let n = 20; n <= 1000; n += 20) {
    for (const s of all.slice(n - 20, n)) cluster.put('Upstream', `web/${s.name}`);
    reporter.applied(compiledOf([listenerStatus('sys/public', { attachedUpstreams: n }), ...all.slice(0, n)], groups), SERVED);
    await cluster.advance(1200, 100);
  }
  await cluster.advance(120_000, 100);
  expect(cluster.status('Listener', 'sys/public')['attachedUpstreams']).toBe(1000);
  for (const s of all) expect(cluster.condition('Upstream', `web/${s.name}`, 'Programmed')).toMatchObject({ status: 'True' });
  expect(cluster.writes.length).toBeGreaterThan(1000);
  expect(cluster.writes.length).toBeLessThanOrEqual(1030);
  expect(cluster.events).toEqual([]);
});

test('ten thousand objects that have not changed are looked at in a moment', () => {
  const names = Array.from({ length: 10_000 }, (_, i) => i);
  const groups = Object.fromEntries(names.map((i) => [`g${i}`, `web/s${i}`]));
  const fresh = () =>
    compiledOf(
      names.map((i) => upstreamStatus(`web/u${i}`, { groups: [`g${i}`] as never })),
      groups,
    );
  const { reporter } = setUp([]);
  reporter.applied(fresh(), SERVED);
  const times = Array.from({ length: 3 }, () => {
    const compiled = fresh();
    return cost(() => reporter.applied(compiled, SERVED));
  });
  // Some 30 ms where nothing else runs: the bound is for what grows with the square.
  expect(Math.min(...times)).toBeLessThan(1500);
});

test('stop: no write, no event, no timer afterwards', async () => {
  const { cluster, reporter, events } = setUp();
  reporter.applied(
    compiledOf([listenerStatus('sys/public', { certificates: [{ source: 'a', notBefore: 0, notAfter: 1e15 }] }), upstreamStatus()]),
    SERVED,
  );
  const stopped = reporter.stop();
  await cluster.advance(1100);
  await stopped;
  reporter.applied(compiledOf([]), SERVED);
  reporter.endpointsChanged(new Set(['web/api']));
  reporter.becameLeader();
  await cluster.advance(RECHECK_MS * 3, 5000);
  expect(cluster.writes).toEqual([]);
  expect(events).toEqual([]);
  expect(cluster.clock.pending()).toBe(0);
});

test('a client that fails in asking what it holds is survived', async () => {
  const { cluster, reporter, lines } = setUp();
  cluster.held = () => {
    throw new Error('a defect');
  };
  reporter.applied(compiledOf([listenerStatus(), upstreamStatus()]), SERVED);
  await cluster.advance(100);
  expect(cluster.writes).toHaveLength(2);
  expect(lines.map((l) => l['msg'])).toContain('internal error');
});
