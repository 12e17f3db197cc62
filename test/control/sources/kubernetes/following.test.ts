/** Reflector and client together, against the fake API server and its faults: what is held is what the server has. */
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createClient } from '../../../../src/control/sources/kubernetes/client.ts';
import type { KubeApi } from '../../../../src/control/sources/kubernetes/api.ts';
import { loadCredentials } from '../../../../src/control/sources/kubernetes/credentials.ts';
import { METADATA_ONLY, Reflector, type RawObject } from '../../../../src/control/sources/kubernetes/reflector.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { createLog } from '../../../../src/lib/log.ts';
import { startApiServer, type FakeApiServer } from '../../../kit/apiserver/index.ts';
import { until } from './waiting.ts';

const KIND = { kind: 'Service', group: '', version: 'v1', plural: 'services' };
const log = createLog({ level: 'off', format: 'plain', write: () => {}, wall: () => 0 });

let fake: FakeApiServer;
let clock: ManualClock;
let api: KubeApi;
const reflectors: Reflector<string>[] = [];

beforeEach(async () => {
  fake = await startApiServer({ crds: false });
  clock = new ManualClock();
  const { folder, env } = fake.mount();
  const loaded = await loadCredentials({ kubeconfig: null, context: null, env, clock, serviceAccount: folder });
  if (!loaded.ok) throw new Error(loaded.error);
  api = createClient({ credentials: loaded.value, clock, log, userAgent: 'spooky/test' });
});
afterEach(async () => {
  for (const reflector of reflectors.splice(0)) reflector.stop();
  api.close();
  await fake.stop();
});

const service = (name: string, labels: Record<string, string> = {}): Record<string, unknown> => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', labels },
  spec: { ports: [{ port: 80 }] },
});
const textOf = ({ metadata, ...rest }: RawObject): string =>
  `${metadata.name}@${metadata.resourceVersion}${'spec' in rest ? '' : ' (metadata)'}`;
const namesOf = (o: { metadata: { name: string; resourceVersion: string } }): string => `${o.metadata.name}@${o.metadata.resourceVersion}`;

const follow = (more: { accept?: string; kind?: typeof KIND; optional?: boolean } = {}) => {
  const held = new Map<string, string>();
  const counts = new Map<string, number>();
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
  const nameIn = (text: string): string => text.split('@')[0] as string;
  const reflector = new Reflector<string>({
    api,
    kind: KIND,
    namespace: null,
    clock,
    log,
    random: () => 0,
    optional: false,
    ...more,
    handler: {
      project: textOf,
      replaced: (all) => {
        held.clear();
        for (const text of all) held.set(nameIn(text), text);
      },
      changed: (type, text) => void (type === 'DELETED' ? held.delete(nameIn(text)) : held.set(nameIn(text), text)),
    },
    hooks: {
      list: () => count('list'),
      reconnect: () => count('reconnect'),
      event: () => count('event'),
      error: (_kind, reason) => count(reason),
      heard: () => count('heard'),
      synced: () => count('synced'),
    },
  });
  reflectors.push(reflector);
  reflector.start();
  const equal = (): boolean => {
    const there = fake.list('services').map(namesOf).sort().join();
    return [...held.values()].sort().join() === there;
  };
  /** Pauses pass as fast as the server answers. */
  const converged = (what: string): Promise<void> =>
    until(what, () => {
      clock.advance(20);
      return reflector.state().synced && equal();
    });
  return { reflector, held, counts, converged, equal };
};

test.each([true, false])('lists and changes (lists by watch: %j)', async (watchLists) => {
  fake.watchLists = watchLists;
  for (let i = 0; i < 3; i++) fake.create(service(`s${i}`));
  const { converged, counts } = follow();
  await converged('the list');
  fake.create(service('new'));
  fake.patch('services', 'default', 's1', { metadata: { labels: { a: 'b' } } });
  fake.remove('services', 'default', 's2');
  await converged('the changes');
  expect(counts.get('list')).toBe(1);
  expect([...counts.keys()].sort()).toEqual(['event', 'heard', 'list', 'synced']);
});

test('a list by pages whose token expires', async () => {
  fake.watchLists = false;
  for (let i = 0; i < 501; i++) fake.create(service(`s${i}`));
  const { converged, counts, reflector } = follow();
  await converged('the first list');
  fake.faults.status(410, { path: 'continue=', watch: false, reason: 'Expired' });
  reflector.relist();
  await until('the second list', () => counts.get('list') === 2);
  await converged('it is complete');
  const lists = fake.calls
    .filter((call) => call.path.startsWith('/api/v1/services') && !call.path.includes('watch=true'))
    .map((call) => call.path);
  expect(lists[0]).toBe('/api/v1/services?limit=500&resourceVersion=0');
  expect(lists.slice(-3).map((path) => path.replace(/continue=.*/, 'continue'))).toEqual([
    '/api/v1/services?limit=500',
    '/api/v1/services?limit=500&continue',
    '/api/v1/services?',
  ]);
});

test('metadata alone', async () => {
  for (const watchLists of [true, false]) {
    fake.watchLists = watchLists;
    const { reflector, held } = follow({ accept: METADATA_ONLY, kind: { ...KIND, kind: 'Namespace', plural: 'namespaces' } });
    await until('the list', () => reflector.state().synced);
    expect(held.get('default')).toMatch(/^default@\d+ \(metadata\)$/);
    reflector.stop();
  }
});

test.each<[string, () => void, string]>([
  ['cut', () => fake.faults.cut(), 'connection'],
  // What is written next may still come, behind the half.
  ['cut within a line', () => fake.faults.halfLine(), 'connection|malformed'],
  ['410 as an event', () => fake.faults.gone(), 'gone'],
  ['an error event', () => fake.faults.errorEvent(500, 'etcd is not well'), 'server'],
  ['a line that is no JSON', () => fake.faults.raw('{"type":\n'), 'malformed'],
  ['an unknown type', () => fake.faults.raw('{"type":"MOVED","object":{}}\n'), 'malformed'],
  ['more than a line may hold', () => fake.faults.huge(5_000_000), 'too_large'],
])('%s, and what happened meanwhile is not lost', async (_what, arm, reason) => {
  fake.create(service('a'));
  const { converged, counts, equal } = follow();
  await converged('the list');
  arm();
  fake.create(service('b'));
  fake.remove('services', 'default', 'a');
  expect(equal()).toBe(false);
  await converged('all is there');
  expect(reason.split('|').some((r) => (counts.get(r) ?? 0) >= 1)).toBe(true);
});

test('K10: kill -9: everything stays; when the server is back, without a history, a new list', async () => {
  fake.create(service('a'));
  const { converged, counts, held, reflector } = follow();
  await converged('the list');
  await fake.kill();
  await until('it is noticed', () => {
    clock.advance(20);
    return (counts.get('connection') ?? 0) > 3;
  });
  expect([...held.keys()]).toEqual(['a']);
  expect(reflector.state()).toMatchObject({ synced: true, problem: expect.stringMatching(/^Services cannot be watched: connection: /) });
  fake.create(service('b'));
  await fake.restart();
  await converged('all is there');
  expect(reflector.state().problem).toBeNull();
  expect(counts.get('list')).toBe(2);
});

test('K10: a black hole is noticed within 60 s, and left', async () => {
  fake.create(service('a'));
  const { converged, equal, counts } = follow();
  await converged('the list');
  await until('a plain watch', () => {
    if (fake.calls.some((call) => call.path.includes('resourceVersion=') && !call.path.includes('sendInitialEvents'))) return true;
    fake.faults.cut();
    clock.advance(20);
    return false;
  });
  await until('it is open', () => fake.watches === 1);
  await converged('nothing is missing');
  const before = counts.get('timeout') ?? 0;
  const from = clock.now();
  fake.faults.blackHole({ times: 0 });
  fake.create(service('b'));
  expect(equal()).toBe(false);
  await until('it is noticed', () => {
    clock.advance(1000);
    return (counts.get('timeout') ?? 0) > before;
  });
  expect(clock.now() - from).toBeLessThanOrEqual(60_000);
  await converged('all is there');
});

test('K10: a token that was rotated, an authority that was rotated', async () => {
  const { converged, counts } = follow();
  await converged('the list');
  fake.rotateToken();
  fake.faults.cut();
  fake.create(service('a'));
  await converged('with the new token');
  expect(counts.get('unauthorized')).toBeUndefined();
  fake.rotateCa();
  fake.cutAll();
  fake.create(service('b'));
  await converged('with the new authority');
});

test('K10: 429, 500, 403, 404, HTML, half of a body: in the end it is listed', async () => {
  fake.watchLists = false;
  fake.create(service('a'));
  fake.faults.status(429, { retryAfter: 1 });
  fake.faults.status(500);
  fake.faults.status(403);
  fake.faults.status(404);
  fake.faults.html();
  const { converged, counts } = follow();
  await converged('the list');
  fake.faults.halfBody();
  expect(Object.fromEntries([...counts].filter(([what]) => !['heard', 'list', 'synced', 'event'].includes(what)))).toEqual({
    throttled: 1,
    server: 2,
    forbidden: 1,
    not_found: 1,
  });
});

test('K10: doubled and reordered lines change nothing in the end', async () => {
  const { converged, counts } = follow();
  await converged('the list');
  let n = 0;
  fake.faults.lineRate({ duplicate: 0.5, reorder: 0.4, split: 0.5, random: () => (++n * 0.61803) % 1 });
  for (let i = 0; i < 100; i++) {
    if (i % 3 === 0) fake.put(service(`s${i % 7}`, { n: String(i) }));
    else if (i % 5 === 0 && fake.get('services', 'default', `s${i % 7}`) !== undefined) fake.remove('services', 'default', `s${i % 7}`);
    else fake.put(service(`s${i % 7}`, { m: String(i) }));
  }
  fake.faults.lineRate({});
  await converged('all is there');
  expect(counts.get('malformed')).toBeGreaterThan(0);
});
