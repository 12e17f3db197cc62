/** What the fake API server has beside what a real one has: a hand in its store, faults, an end and a return. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Wire, type Watching } from '../control/sources/kubernetes/contract/wire.ts';
import { startApiServer, type FakeApiServer, type Plain } from './apiserver/index.ts';

let fake: FakeApiServer;
let wire: Wire;

beforeEach(async () => {
  fake = await startApiServer();
  wire = new Wire(fake);
});

afterEach(async () => {
  wire.close();
  await fake.stop();
});

const config = (name: string, data: Plain = {}): Plain => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'shop' },
  data,
});
const PATH = '/api/v1/namespaces/shop/configmaps';
const watch = (query = ''): Promise<Watching> => wire.watch(`${PATH}?watch=true&resourceVersion=${fake.store.rv}${query}`).open();
const status = async (path = PATH): Promise<number> => (await wire.ask('GET', path, { timeoutMs: 2000 })).status;

describe('objects', () => {
  test('are made with their namespace, replaced, patched and taken away', () => {
    fake.create(config('a', { x: '1' }));
    expect(fake.get('namespaces', null, 'shop')).toBeDefined();
    expect(fake.replace(config('a', { x: '2' }))['data']).toEqual({ x: '2' });
    expect(fake.patch('configmaps', 'shop', 'a', { data: { y: '3' } })['data']).toEqual({ x: '2', y: '3' });
    fake.remove('configmaps', 'shop', 'a');
    expect(fake.list('configmaps', 'shop')).toEqual([]);
  });

  test('go with their namespace', () => {
    fake.create(config('a'));
    fake.remove('namespaces', null, 'shop');
    expect(fake.get('namespaces', null, 'shop')).toBeUndefined();
    expect(fake.list('configmaps')).toEqual([]);
  });

  test('of our definitions have their defaults and bounds', () => {
    const listener = (port: number): Plain => ({
      apiVersion: 'spooky.dev/v1alpha1',
      kind: 'Listener',
      metadata: { name: `l${port}` },
      spec: { port, tls: {} },
    });
    expect((fake.create(listener(443))['spec'] as Plain)['className']).toBe('spooky');
    expect(() => fake.create(listener(70_000))).toThrow('spec.port in body should be less than or equal to 65535');
  });

  test('grants come and go with their definition', async () => {
    const path = '/apis/gateway.networking.k8s.io/v1/referencegrants';
    expect(await status(path)).toBe(404);
    fake.installGrants(['v1']);
    expect([await status(path), await status(path.replace('v1', 'v1beta1'))]).toEqual([200, 404]);
    fake.uninstallGrants();
    expect(await status(path)).toBe(404);
  });
});

describe('permissions', () => {
  const role = (kind: string, resource: string, verbs: string[]): Plain => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind,
    metadata: { name: 'r', ...(kind === 'Role' ? { namespace: 'shop' } : {}) },
    rules: [{ apiGroups: [''], resources: [resource], verbs }],
  });
  const binding = (kind: string): Plain => ({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: `${kind}Binding`,
    metadata: { name: 'b', ...(kind === 'Role' ? { namespace: 'shop' } : {}) },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name: 'r' },
    subjects: [{ kind: 'ServiceAccount', name: 'edge', namespace: 'spooky' }],
  });

  test('are those of rendered roles, and calls say who tried what', async () => {
    const chart = [
      role('Role', 'configmaps', ['list']),
      role('ClusterRole', 'services', ['list']),
      binding('Role'),
      binding('ClusterRole'),
    ];
    const token = fake.rbac([...chart, { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'x' } }], 'spooky/edge');
    const as = async (path: string): Promise<number> => (await wire.ask('GET', path, { token })).status;
    expect([await as(PATH), await as('/api/v1/configmaps'), await as('/api/v1/services'), await as('/api/v1/secrets')]).toEqual([
      200, 403, 200, 403,
    ]);
    expect(fake.calls.map((c) => [c.user, c.verb, c.resource, c.namespace, c.status])).toEqual([
      ['system:serviceaccount:spooky:edge', 'list', 'configmaps', 'shop', 200],
      ['system:serviceaccount:spooky:edge', 'list', 'configmaps', null, 403],
      ['system:serviceaccount:spooky:edge', 'list', 'services', null, 200],
      ['system:serviceaccount:spooky:edge', 'list', 'secrets', null, 403],
    ]);
  });

  test('can be a list in a test', async () => {
    const token = fake.rules([{ apiGroups: [''], resources: ['configmaps'], verbs: ['list'], namespace: 'shop' }]);
    expect((await wire.ask('GET', PATH, { token })).status).toBe(200);
    expect((await wire.ask('GET', '/api/v1/configmaps', { token })).status).toBe(403);
  });
});

describe('what goes wrong', () => {
  test("answers of one's choice, as often as one likes", async () => {
    fake.faults.status(429, { retryAfter: 3, times: 2, path: 'configmaps' });
    const first = await wire.ask('GET', PATH);
    expect([first.status, first.headers['retry-after'], first.body.reason]).toEqual([429, '3', 'TooManyRequests']);
    expect([await status('/api/v1/services'), await status(), await status()]).toEqual([200, 429, 200]);
    fake.faults.html(502);
    expect((await wire.ask('GET', PATH)).type).toBe('text/html');
  });

  test('half of an answer, a cut, silence', async () => {
    fake.faults.halfBody();
    await expect(status()).rejects.toThrow();
    fake.faults.cut({ requests: 1 });
    await expect(status()).rejects.toThrow();
    fake.faults.blackHole({ times: 1 });
    await expect(status()).rejects.toThrow('no answer');
    expect(await status()).toBe(200);
  });

  test('open watches are cut, torn in the middle of a line, or told that they are too old', async () => {
    const cut = await watch();
    fake.faults.cut();
    expect(await cut.ended()).toBe('torn');
    const half = await watch();
    fake.faults.halfLine();
    expect([await half.ended(), half.events.length, half.rest !== '']).toEqual(['torn', 0, true]);
    const gone = await watch();
    fake.faults.gone();
    expect([await gone.ended(), gone.events[0]?.object.code]).toEqual(['in order', 410]);
    fake.faults.gone({ as: 'status', times: 1 });
    expect((await wire.ask('GET', `${PATH}?watch=true`)).status).toBe(410);
    expect(fake.watches).toBe(0);
  });

  test('a watch in a black hole hears nothing any more', async () => {
    const silent = await watch();
    fake.faults.blackHole({});
    fake.faults.clear();
    const other = await watch();
    fake.create(config('a'));
    await other.first(1);
    expect([silent.events.length, fake.watches]).toEqual([0, 2]);
  });

  test('events come twice, in another order, in pieces', async () => {
    const twice = await watch();
    fake.faults.lineRate({ duplicate: 1 });
    fake.create(config('a', { text: 'grün' }));
    expect((await twice.first(2)).map((e) => e.object.metadata.name)).toEqual(['a', 'a']);
    twice.stop();
    fake.faults.lineRate({ reorder: 1, split: 1 });
    const other = await watch('&allowWatchBookmarks=true');
    fake.create(config('b', { text: 'grün' }));
    fake.create(config('c'));
    fake.create(config('d'));
    fake.bookmark();
    const events = await other.until((e) => e.type === 'BOOKMARK');
    expect(events.map((e) => [e.type, e.object.metadata.name, e.object.data?.text])).toEqual([
      ['ADDED', 'c', undefined],
      ['ADDED', 'b', 'grün'],
      ['ADDED', 'd', undefined],
      ['BOOKMARK', undefined, undefined],
    ]);
  });

  test('what led here is forgotten: 410 for watches, and for pages with a token to go on', async () => {
    for (const name of ['a', 'b', 'c']) fake.create(config(name));
    const page = await wire.ask('GET', `${PATH}?limit=1`);
    const old = fake.store.rv;
    fake.remove('configmaps', 'shop', 'b');
    fake.compact();
    const late = await wire.ask('GET', `${PATH}?limit=1&continue=${page.body.metadata.continue as string}`);
    expect([late.status, late.body.reason]).toEqual([410, 'Expired']);
    const rest = await wire.ask('GET', `${PATH}?continue=${late.body.metadata.continue as string}`);
    expect(rest.body.items.map((o: Plain) => (o['metadata'] as Plain)['name'])).toEqual(['c']);
    const [error] = await (await wire.watch(`${PATH}?watch=true&resourceVersion=${old}`).open()).first(1);
    expect(error?.object.code).toBe(410);
  });

  test('versions go back', async () => {
    fake.create(config('a'));
    fake.store.setVersion(50);
    expect((await wire.ask('GET', PATH)).body.metadata.resourceVersion).toBe('50');
    expect(fake.create(config('b')).metadata.resourceVersion).toBe('51');
  });
});

describe('credentials', () => {
  test('an old token is refused, files have the new one', async () => {
    const { folder, env } = fake.mount();
    const kubeconfig = fake.kubeconfig();
    const old = fake.token;
    const token = fake.rotateToken();
    expect((await wire.ask('GET', PATH, { token: old })).status).toBe(401);
    expect((await wire.ask('GET', PATH, { token })).status).toBe(200);
    expect(readFileSync(join(folder, 'token'), 'utf8')).toBe(token);
    expect(readFileSync(kubeconfig, 'utf8')).toContain(token);
    expect(env).toEqual({ KUBERNETES_SERVICE_HOST: '127.0.0.1', KUBERNETES_SERVICE_PORT: String(fake.port) });
  });

  test('files may get it later', () => {
    const { folder } = fake.mount();
    const old = fake.token;
    const token = fake.rotateToken(old, { tellFiles: false });
    expect(readFileSync(join(folder, 'token'), 'utf8')).toBe(old);
    fake.refreshFiles();
    expect(readFileSync(join(folder, 'token'), 'utf8')).toBe(token);
  });

  test('another authority is not trusted before it is known', async () => {
    fake.rotateCa();
    fake.cutAll();
    await expect(status()).rejects.toThrow(/certificate|signature/);
    const knowing = new Wire(fake);
    expect((await knowing.ask('GET', PATH)).status).toBe(200);
    knowing.close();
  });
});

test('killed and started: the same port and objects, no history, and nobody there in between', async () => {
  const before = fake.store.rv;
  fake.create(config('a'));
  const open = await watch();
  await fake.kill();
  expect(await open.ended()).toBe('torn');
  await expect(status()).rejects.toThrow('ECONNREFUSED');
  fake.create(config('while it was away'.replaceAll(' ', '-')));
  await fake.restart();
  expect((await wire.ask('GET', PATH)).body.items).toHaveLength(2);
  const [error] = await (await wire.watch(`${PATH}?watch=true&resourceVersion=${before}`).open()).first(1);
  expect(error?.object.code).toBe(410);
});
