/** Reporting end to end: a source that watches, a leader with a lease, statuses and events over HTTPS, with the rights of the chart and no others. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { ObjectStatus } from '../../../../src/control/compile/index.ts';
import { leaseName } from '../../../../src/control/leader.ts';
import type { SeenObject } from '../../../../src/control/status/client.ts';
import { field, listField } from '../../../../src/control/status/conditions.ts';
import { BAD, compiledOf, listenerStatus, upstreamStatus } from '../../status/cluster.ts';
import {
  applyAs,
  createObject,
  eventsOf,
  fakeServer,
  freshNamespace,
  getObject,
  must,
  Pod,
  realServer,
  until,
  type Call,
  type Seen,
  type Server,
} from './reporting.ts';

const SERVED = { bindProblems: [], acknowledged: true };

const REAL = process.env['SPOOKY_APISERVER_KUBECONFIG'];
const SERVERS: [string, () => Promise<Server>][] = [['the fake', fakeServer]];
if (REAL !== undefined && REAL !== '') SERVERS.push(['a real server', () => realServer(REAL)]);

const statusOf = (object: unknown): unknown => field(object, 'status');
const conditionOf = (own: unknown, type: string): unknown => listField(own, 'conditions').find((c) => field(c, 'type') === type);
const entries = (object: unknown): readonly unknown[] => listField(statusOf(object), 'installations');
const versionOf = (object: unknown): unknown => field(field(object, 'metadata'), 'resourceVersion');

describe.each(SERVERS)('%s', (_, start) => {
  let server: Server;
  let namespace: string;
  let className: string;
  const pods: Pod[] = [];
  /** What every pod of the suite asked for. */
  const asked: Call[] = [];
  let count = 0;

  beforeAll(async () => {
    server = await start();
  }, 60_000);

  afterAll(async () => {
    await server.stop();
  });

  afterEach(async () => {
    for (const pod of pods.splice(0)) {
      await pod.stop();
      asked.push(...pod.calls);
    }
  });

  const podOf = async (name = 'pod-a', seen?: Seen): Promise<Pod> => {
    const pod = await Pod.start(server, { name, namespace, className, ...(seen === undefined ? {} : { seen }) });
    pods.push(pod);
    return pod;
  };

  /** A namespace, a class and a pod that leads for it. */
  const begin = async (): Promise<Pod> => {
    namespace = await freshNamespace(server);
    className = `story-${++count}`;
    const pod = await podOf();
    await pod.lead();
    return pod;
  };

  const made = async (
    kind: ObjectStatus['kind'],
    name: string,
    change: Parameters<typeof upstreamStatus>[1] = {},
  ): Promise<ObjectStatus> => {
    const { uid, generation } = await createObject(server, kind, namespace, name, className);
    const status = kind === 'Listener' ? listenerStatus : upstreamStatus;
    return status(`${namespace}/${name}`, { uid, generation, ...change });
  };

  const seenBy = (pod: Pod, statuses: readonly ObjectStatus[]): Promise<void> =>
    until(() => statuses.every((s) => pod.source.seen(s) !== null), 'watching');

  test('statuses arrive, and are not written again: not the same, not after a restart, not by another leader', async () => {
    const pod = await begin();
    const statuses = [await made('Listener', 'public', { attachedUpstreams: 1 }), await made('Upstream', 'api')];
    await seenBy(pod, statuses);
    pod.reporter.applied(compiledOf(statuses), SERVED);
    await until(() => pod.results.length === 2);
    expect(pod.results.toSorted()).toEqual(['Listener written', 'Upstream written']);
    const listener = await getObject(server, 'Listener', namespace, 'public');
    expect(statusOf(listener)).toMatchObject({ attachedUpstreams: 1, addresses: [{ type: 'IPAddress', value: '203.0.113.7', port: 443 }] });
    expect(conditionOf(statusOf(listener), 'Programmed')).toMatchObject({
      status: 'True',
      reason: 'Programmed',
      observedGeneration: 1,
      lastTransitionTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    });
    const upstream = await getObject(server, 'Upstream', namespace, 'api');
    expect(entries(upstream)).toHaveLength(1);
    expect(entries(upstream)[0]).toMatchObject({ controllerName: `spooky.dev/${className}`, attached: '1/1' });
    // The next pod takes over, and finds everything as it would have written it.
    await pod.stop();
    const next = await podOf('pod-b');
    next.reporter.applied(compiledOf(statuses), SERVED);
    await next.lead();
    next.reporter.applied(compiledOf(statuses), SERVED);
    next.reporter.becameLeader();
    await new Promise((done) => setTimeout(done, 300));
    expect(next.writes()).toEqual([]);
    expect(versionOf(await getObject(server, 'Upstream', namespace, 'api'))).toBe(versionOf(upstream));
  });

  test('a manager of others writes between our look and our write: a conflict, then both are there', async () => {
    const pod = await begin();
    const status = await made('Upstream', 'api');
    await seenBy(pod, [status]);
    await pod.stop();
    // A watch that is behind until it is told to catch up.
    let stale: SeenObject | null = pod.source.seen(status);
    const behind = await podOf('pod-b', (source, ref) => stale ?? source.seen(ref));
    await applyAs(server, 'spooky.dev/other', 'Upstream', namespace, 'api', {
      installations: [{ controllerName: 'spooky.dev/other', attached: '0/1' }],
    });
    await behind.lead();
    behind.reporter.applied(compiledOf([status]), SERVED);
    await until(() => behind.results.includes('Upstream conflict'));
    stale = null;
    await until(() => behind.results.includes('Upstream written'));
    const object = await getObject(server, 'Upstream', namespace, 'api');
    expect(entries(object).map((e) => field(e, 'controllerName'))).toEqual(
      expect.arrayContaining(['spooky.dev/other', `spooky.dev/${className}`]),
    );
    expect(behind.writes()).toHaveLength(2);
  });

  test('K7: a manager of others that forces itself upon our fields loses them; what it has of its own it keeps', async () => {
    const pod = await begin();
    const status = await made('Listener', 'public');
    await seenBy(pod, [status]);
    pod.reporter.applied(compiledOf([status]), SERVED);
    await until(() => pod.results.length === 1);
    const now = '2026-11-21T10:11:12Z';
    const theirs = [
      { type: 'Accepted', status: 'False', reason: 'Mine', message: '', lastTransitionTime: now },
      { type: 'example.org/Audited', status: 'True', reason: 'Mine', message: '', lastTransitionTime: now },
    ];
    await applyAs(server, 'auditor', 'Listener', namespace, 'public', { conditions: theirs });
    await until(() => field(conditionOf(pod.source.seen(status)?.status, 'Accepted'), 'reason') === 'Mine');
    // Not within ten seconds of our last write: whoever fights is answered slowly. Another leader has not written yet.
    await pod.stop();
    const next = await podOf('pod-b');
    next.reporter.applied(compiledOf([status]), SERVED);
    await next.lead();
    await until(() => next.results.includes('Listener written'));
    const after = statusOf(await getObject(server, 'Listener', namespace, 'public'));
    expect(conditionOf(after, 'Accepted')).toMatchObject({ status: 'True', reason: 'Valid' });
    expect(conditionOf(after, 'example.org/Audited')).toMatchObject({ status: 'True', reason: 'Mine' });
    expect(next.writes()).toHaveLength(1);
  });

  test('what is not ours any more loses our part and no other, and is left alone from then on', async () => {
    const pod = await begin();
    const statuses = [await made('Listener', 'public'), await made('Upstream', 'api'), await made('Upstream', 'alone')];
    await seenBy(pod, statuses);
    await applyAs(server, 'spooky.dev/other', 'Upstream', namespace, 'api', {
      installations: [{ controllerName: 'spooky.dev/other', attached: '0/1' }],
    });
    await until(() => pod.source.seen(statuses[1] as ObjectStatus)?.resourceVersion !== '0');
    pod.reporter.applied(compiledOf(statuses), SERVED);
    await until(() => pod.results.filter((r) => r.endsWith('written')).length === 3);
    pod.reporter.applied(compiledOf([]), SERVED);
    await until(() => pod.results.filter((r) => r.endsWith('written')).length === 6);
    const object = await getObject(server, 'Upstream', namespace, 'api');
    expect(entries(object)).toEqual([{ controllerName: 'spooky.dev/other', attached: '0/1' }]);
    for (const [kind, name] of [
      ['Listener', 'public'],
      ['Upstream', 'alone'],
    ] as const) {
      const left = await getObject(server, kind, namespace, name);
      expect(statusOf(left) ?? {}).toEqual({});
      expect(JSON.stringify(field(left, 'metadata'))).not.toContain(`"manager":"spooky.dev/${className}"`);
    }
    const writes = pod.writes().length;
    pod.reporter.applied(compiledOf([]), SERVED);
    pod.reporter.becameLeader();
    await new Promise((done) => setTimeout(done, 300));
    expect(pod.writes()).toHaveLength(writes);
  });

  test('what left while nobody led is cleaned up by who leads next', async () => {
    const pod = await begin();
    const statuses = [await made('Listener', 'public'), await made('Upstream', 'api')];
    await seenBy(pod, statuses);
    pod.reporter.applied(compiledOf(statuses), SERVED);
    await until(() => pod.results.length === 2);
    await pod.stop();
    const next = await podOf('pod-b');
    next.reporter.applied(compiledOf(statuses.slice(0, 1)), SERVED);
    await next.lead();
    await until(() => next.results.includes('Upstream written'));
    expect(next.writes()).toHaveLength(1);
    expect(entries(await getObject(server, 'Upstream', namespace, 'api'))).toEqual([]);
  });

  test('an object that is deleted, and one that was made anew by its name', async () => {
    const pod = await begin();
    const status = await made('Upstream', 'api');
    await seenBy(pod, [status]);
    const seen = pod.source.seen(status);
    await pod.stop();
    const behind = await podOf('pod-b', () => seen);
    await behind.lead();
    const path = `/apis/spooky.dev/v1alpha1/namespaces/${namespace}/upstreams/api`;
    await must(server.admin.request({ method: 'DELETE', path }));
    behind.reporter.applied(compiledOf([status]), SERVED);
    await until(() => behind.results.includes('Upstream gone'));
    await createObject(server, 'Upstream', namespace, 'api');
    behind.reporter.applied(compiledOf([upstreamStatus(`${namespace}/api`, { uid: status.uid, bad: [BAD.refs] })]), SERVED);
    await until(() => behind.results.includes('Upstream conflict'));
    expect(entries(await getObject(server, 'Upstream', namespace, 'api'))).toEqual([]);
  });

  test('events: good to bad, back, and the same again as a series of the same event', async () => {
    const pod = await begin();
    const good = await made('Upstream', 'api');
    const bad = upstreamStatus(`${namespace}/api`, { uid: good.uid, bad: [BAD.refs] });
    await seenBy(pod, [good]);
    for (const [i, status] of [bad, good, bad, good].entries()) {
      pod.reporter.applied(compiledOf([status]), SERVED);
      await until(() => pod.results.filter((r) => r.startsWith('event')).length === i + 1, `event ${i}`);
    }
    expect(pod.results.filter((r) => r.startsWith('event'))).toEqual([
      'event written',
      'event written',
      'event repeated',
      'event repeated',
    ]);
    const events = await eventsOf(server, namespace);
    const brief = events.map((e) => ({
      type: field(e, 'type'),
      reason: field(e, 'reason'),
      action: field(e, 'action'),
      note: field(e, 'note'),
      by: field(e, 'reportingController'),
      instance: field(e, 'reportingInstance'),
      uid: field(field(e, 'regarding'), 'uid'),
      count: field(field(e, 'series'), 'count'),
    }));
    const common = { action: 'Resolve', by: `spooky.dev/${className}`, instance: 'pod-a', uid: good.uid, count: 2 };
    const cause = 'there is no Service web/x. Correct the backend; requests of its share are answered with 500 until then.';
    expect(brief.toSorted((a, b) => String(b.type).localeCompare(String(a.type)))).toEqual([
      { type: 'Warning', reason: 'InvalidBackend', note: cause, ...common },
      { type: 'Normal', reason: 'ResolvedRefs', note: 'Good again, after InvalidBackend.', ...common },
    ]);
  }, 30_000);

  test('of two pods one writes; killed, it is followed after its lease; taken by force, it stops', async () => {
    const first = await begin();
    const second = await podOf('pod-b');
    second.leader.start();
    const statuses = [await made('Upstream', 'api')];
    await Promise.all([seenBy(first, statuses), seenBy(second, statuses)]);
    for (const pod of [first, second]) pod.reporter.applied(compiledOf(statuses), SERVED);
    await until(() => first.results.length === 1);
    expect(second.writes()).toEqual([]);
    expect(second.leader.isLeader()).toBe(false);
    // A forced takeover: somebody writes himself in.
    const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${leaseName(className)}`;
    await until(async () => {
      const lease = await must(server.admin.request({ method: 'GET', path }));
      const spec = { ...(field(lease, 'spec') as object), holderIdentity: 'operator', leaseDurationSeconds: 1 };
      return (await server.admin.request({ method: 'PUT', path, body: { ...(lease as object), spec } })).ok;
    });
    await until(() => !first.leader.isLeader(), 'losing the lease');
    await until(() => first.leader.isLeader() || second.leader.isLeader(), 'another leader');
    expect(first.leader.isLeader() && second.leader.isLeader()).toBe(false);
    // A release is followed at the next try.
    const [holder, other] = first.leader.isLeader() ? [first, second] : [second, first];
    await holder.leader.stop();
    const tries = (): number => other.calls.filter((call) => call.method === 'GET' && call.path === path).length;
    const before = tries();
    await until(() => other.leader.isLeader(), 'the release');
    // A lease that has to run out is looked at ten times.
    expect(tries() - before).toBeLessThanOrEqual(4);
    const lease = await must(server.admin.request({ method: 'GET', path }));
    expect(field(field(lease, 'spec'), 'leaseTransitions')).toBeGreaterThanOrEqual(2);
    expect(field(field(lease, 'spec'), 'renewTime')).toMatch(/\.\d{6}Z$/);
  }, 40_000);

  test('K7: two hundred new Upstreams cost hardly more than two hundred writes', async () => {
    const pod = await begin();
    const listener = await made('Listener', 'public');
    const all: ObjectStatus[] = [];
    for (let i = 0; i < 10; i++) {
      all.push(...(await Promise.all(Array.from({ length: 20 }, (_, n) => made('Upstream', `u${i * 20 + n}`)))));
      await seenBy(pod, [listener, ...all]);
      pod.reporter.applied(compiledOf([{ ...listener, attachedUpstreams: all.length }, ...all]), SERVED);
    }
    await until(() => pod.results.filter((r) => r === 'Upstream written').length >= 200);
    await new Promise((done) => setTimeout(done, 500));
    expect(pod.writes().length).toBeGreaterThan(200);
    expect(pod.writes().length).toBeLessThanOrEqual(210);
  }, 40_000);

  test('K12: everything was done with the rights of the chart, and every right was used', () => {
    expect(asked.length).toBeGreaterThan(250);
    expect(asked.filter((c) => !c.outcome.ok && c.outcome.error.kind === 'forbidden')).toEqual([]);
    const used = asked.map(({ method, path }) => {
      const plain = path.split('?')[0] ?? '';
      const [, resource = '', rest = ''] = /namespaces\/[^/]+\/(\w+)(.*)$/.exec(plain) ?? [];
      return `${method} ${resource}${rest.endsWith('/status') ? '/status' : ''}`;
    });
    expect([...new Set(used)].toSorted()).toEqual([
      'GET leases',
      'PATCH events',
      'PATCH listeners/status',
      'PATCH upstreams/status',
      'POST events',
      'POST leases',
      'PUT leases',
    ]);
  });
});
