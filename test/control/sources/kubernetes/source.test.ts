/** Stories of the source, told with a fake API server. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { apiError } from '../../../../src/control/sources/kubernetes/answers.ts';
import type { KubeApi } from '../../../../src/control/sources/kubernetes/api.ts';
import type { KubernetesSourceOptions } from '../../../../src/control/sources/kubernetes/source.ts';
import { secretScopes, scopesOf } from '../../../../src/control/sources/kubernetes/scopes.ts';
import { readOnce } from '../../../../src/control/sources/kubernetes/once.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { startApiServer, type FakeApiServer, type Plain } from '../../../kit/apiserver/index.ts';
import { apiOf, eager, follow, hasty, installation, until, type Story } from './story.ts';
import { endpoint, type Raw } from './raw.ts';

let fake: FakeApiServer;
let story: Story;

const at = (kind: string, name: string, namespace: string | null, rest: Plain, apiVersion = 'v1'): Plain => ({
  apiVersion,
  kind,
  metadata: { name, ...(namespace === null ? {} : { namespace }) },
  ...rest,
});
const OURS = 'spooky.dev/v1alpha1';
const listener = (name: string, spec: Plain = {}, namespace = 'spooky-system') =>
  at('Listener', name, namespace, { spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] }, ...spec } }, OURS);
const upstream = (name: string, spec: Plain = {}, namespace = 'web') =>
  at(
    'Upstream',
    name,
    namespace,
    { spec: { hostnames: [`${name}.example.com`], backends: [{ service: { name, port: 80 } }], ...spec } },
    OURS,
  );
const service = (name: string, spec: Plain = {}, namespace = 'web') =>
  at('Service', name, namespace, { spec: { ports: [{ port: 80, targetPort: 8080 }], ...spec } });
const secret = (name: string, namespace: string, type = 'kubernetes.io/tls') =>
  at('Secret', name, namespace, { type, data: { 'tls.crt': 'YQ==', 'tls.key': 'YQ==' } });
const slice = (name: string, of: string, endpoints: readonly Raw[], namespace = 'web'): Plain => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, namespace, labels: { 'kubernetes.io/service-name': of } },
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints,
});

beforeEach(async () => {
  fake = await startApiServer();
  fake.namespace('spooky-system');
  fake.namespace('web', { team: 'a' });
  fake.create(listener('public'));
  for (const name of ['api', 'shop']) {
    fake.create(upstream(name));
    fake.create(service(name));
    fake.create(slice(`${name}-1`, name, [endpoint('10.0.0.1')]));
  }
  fake.create(secret('tls', 'spooky-system'));
});

afterEach(async () => {
  await story.stop();
  await fake.stop();
});

const begin = async (options: Partial<KubernetesSourceOptions> & { token?: string } = {}): Promise<Story> => {
  story = await follow(fake, { clock: eager, ...options });
  await story.first;
  return story;
};
const API = { namespace: 'web', name: 'api', portName: '' };
const specOf = (name: string, i = -1) => story.states.at(i)?.set.upstreams.get(`web/${name}`);

/** A change that makes a state, so that one that should have made none would have been seen before. */
const marker = async (): Promise<number> => {
  const before = story.states.length;
  const name = `marker-${before}`;
  fake.create(upstream(name));
  await until('the state of a marker', () => specOf(name) !== undefined);
  return story.states.length - before - 1;
};

describe('the first state', () => {
  test('is complete', async () => {
    await begin();
    const { set, problems, settings } = story.last();
    expect([...set.listeners.keys()]).toEqual(['spooky-system/public']);
    expect([...set.upstreams.keys()].sort()).toEqual(['web/api', 'web/shop']);
    expect([...set.secrets.keys()]).toEqual(['spooky-system/tls']);
    expect([...(set.cluster?.services.keys() ?? [])].sort()).toEqual(['web/api', 'web/shop']);
    expect(set.cluster?.namespaces.get('web')?.get('team')).toBe('a');
    expect(set.cluster).toMatchObject({ grants: [], rejected: [], nodeAddresses: [] });
    expect([problems, settings]).toEqual([[], null]);
    expect(story.source.endpoints.endpoints(API)).toEqual([{ address: '10.0.0.1', port: 8080, draining: false }]);
    expect(story.source.pending()).toEqual([]);
    expect(story.counted.get('heard Upstream')).toBeGreaterThan(0);
    expect(story.counted.get('synced Upstream')).toBe(1);
    expect(story.counted.get('objects Upstream')).toBe(2);
    expect(story.counted.get('list Upstream')).toBe(1);
  });

  test('waits for every kind, and says for which', async () => {
    const token = fake.rules([
      { apiGroups: [''], resources: ['services', 'namespaces', 'secrets', 'configmaps'], verbs: ['list', 'watch'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      { apiGroups: ['spooky.dev'], resources: ['listeners'], verbs: ['list', 'watch'] },
    ]);
    story = await follow(fake, { token });
    await until('the reason alone', () => story.source.pending().length === 1 && story.counted.has('error Upstream forbidden'));
    expect(story.source.pending()[0]).toMatch(/^Upstreams cannot be listed: forbidden: /);
    expect(story.states).toEqual([]);
    expect([story.counted.get('synced Upstream'), story.counted.get('synced Listener')]).toEqual([0, 1]);
  });

  test('does not wait for Secrets that may not be read', async () => {
    const token = fake.rules([
      { apiGroups: [''], resources: ['services', 'namespaces'], verbs: ['list', 'watch'] },
      { apiGroups: [''], resources: ['secrets', 'configmaps'], verbs: ['list', 'watch'], namespace: 'spooky-system' },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
      { apiGroups: ['spooky.dev'], resources: ['listeners', 'upstreams'], verbs: ['list', 'watch'] },
    ]);
    await begin({ token, installation: installation({ secretNamespaces: new Set(['spooky-system', 'web']) }) });
    expect([...story.last().set.secrets.keys()]).toEqual(['spooky-system/tls']);
    expect(story.counted.get('error Secret forbidden')).toBeGreaterThan(0); // it asks again and again
    expect(story.counted.get('synced Secret')).toBe(0);
  });

  test('waits for the definitions of our kinds, and needs no restart when they come', async () => {
    await fake.stop();
    fake = await startApiServer({ crds: false });
    fake.namespace('spooky-system');
    fake.namespace('web');
    story = await follow(fake, { clock: hasty });
    await until('the reasons alone', () => story.source.pending().length === 2);
    expect(story.source.pending().map((r) => r.split(':')[0])).toEqual(['Listeners cannot be listed', 'Upstreams cannot be listed']);
    for (const file of ['listeners', 'upstreams']) fake.create(parse(readFileSync(`crds/${file}.yaml`, 'utf8')) as Plain);
    fake.create(upstream('api'));
    expect((await story.first).set.listeners.size).toBe(0);
    await until('the Upstream', () => specOf('api') !== undefined);
  });

  test('waits while the server cannot say whether there are grants', async () => {
    fake.faults.status(500, { path: /^\/apis\/gateway/, times: Infinity });
    story = await follow(fake);
    await until('the reason', () =>
      story.source.pending().some((r) => r.startsWith('it is not known whether there are ReferenceGrants: ')),
    );
    await until('the lists', () => story.source.pending().length === 1);
    fake.faults.clear();
    expect((await story.first).set.upstreams.size).toBe(2);
  });
});

describe('one change is one state', () => {
  test('in which everything else is what it was', async () => {
    await begin();
    const before = story.last().set;
    fake.patch('upstreams', 'web', 'api', { spec: { hostnames: ['new.example.com'] } });
    await until('the state', () => story.states.length > 1);
    const after = story.last().set;
    expect(after.upstreams.get('web/api')?.spec.hostnames).toEqual(['new.example.com']);
    expect(after.upstreams.get('web/api')?.meta.generation).toBe(2);
    expect(after.upstreams.get('web/shop')).toBe(before.upstreams.get('web/shop'));
    expect(after.listeners.get('spooky-system/public')).toBe(before.listeners.get('spooky-system/public'));
    expect(after.secrets).toBe(before.secrets);
    expect(after.cluster?.services).toBe(before.cluster?.services);
    expect(before.upstreams.get('web/api')?.spec.hostnames).toEqual(['api.example.com']);
    expect(await marker()).toBe(0);
  });

  test('and a burst of them, too', async () => {
    await begin({ clock: systemClock });
    for (let i = 0; i < 50; i++) fake.create(upstream(`u${i}`));
    await until('all of them', () => specOf('u49') !== undefined);
    expect(story.states.length).toBeLessThan(20);
    expect(story.last().set.upstreams.size).toBe(52);
  });

  test.each<[string, string, () => unknown]>([
    [
      'a status',
      'Upstream',
      () => fake.setStatus('upstreams', 'web', 'api', { installations: [{ controllerName: 'spooky.dev/spooky', attached: '1/1' }] }),
    ],
    ['an annotation of an Upstream', 'Upstream', () => fake.patch('upstreams', 'web', 'api', { metadata: { annotations: { a: 'b' } } })],
    ['an annotation of a Service', 'Service', () => fake.patch('services', 'web', 'api', { metadata: { annotations: { a: 'b' } } })],
    ['a slice', 'EndpointSlice', () => fake.patch('endpointslices', 'web', 'api-1', { endpoints: [endpoint('10.0.0.2')] })],
    ['a ConfigMap without a bundle', 'ConfigMap', () => fake.patch('configmaps', 'web', 'x', { data: { a: 'c' } })],
  ])('but none of %s', async (what, kind, change) => {
    fake.create(at('ConfigMap', 'x', 'web', { data: { a: 'b' } }));
    await begin();
    const version = () => story.source.seen({ kind: 'Upstream', namespace: 'web', name: 'api' })?.resourceVersion;
    const [events, seen] = [story.counted.get(`event ${kind}`) ?? 0, version()];
    const told: string[] = [];
    story.source.onSeen((ref) => told.push(`${ref.kind} ${ref.namespace}/${ref.name}`));
    change();
    await until('the event', () => (story.counted.get(`event ${kind}`) ?? 0) > events);
    expect(await marker()).toBe(0);
    expect(story.states).toHaveLength(2);
    expect(version() === seen).toBe(kind !== 'Upstream');
    expect(told).toEqual(kind === 'Upstream' ? ['Upstream web/api'] : []);
    if (what === 'a status')
      expect(story.source.seen({ kind: 'Upstream', namespace: 'web', name: 'api' })?.status).toMatchObject({
        installations: [{ attached: '1/1' }],
      });
  });

  test('deletion', async () => {
    await begin();
    fake.remove('upstreams', 'web', 'api');
    await until('it is gone', () => specOf('api') === undefined);
    expect(specOf('shop')).toBe(specOf('shop', 0));
    expect(story.source.seen({ kind: 'Upstream', namespace: 'web', name: 'api' })).toBeNull();
    fake.remove('secrets', 'spooky-system', 'tls');
    await until('the Secret is gone', () => story.last().set.secrets.size === 0);
  });

  test('another object under the same name', async () => {
    await begin();
    const before = specOf('api');
    fake.remove('upstreams', 'web', 'api');
    fake.create(upstream('api'));
    await until('the new one', () => specOf('api') !== undefined && specOf('api')?.meta.uid !== before?.meta.uid);
    expect(specOf('api')?.spec).toEqual(before?.spec);
  });

  test('labels of a namespace', async () => {
    await begin();
    fake.patch('namespaces', null, 'web', { metadata: { labels: { team: 'b' } } });
    await until('the label', () => story.last().set.cluster?.namespaces.get('web')?.get('team') === 'b');
    const asked = fake.calls.filter((c) => c.resource === 'namespaces');
    expect(asked.length).toBeGreaterThan(0);
    expect(await marker()).toBe(0);
  });
});

describe('endpoints', () => {
  test('change without a state, soon', async () => {
    await begin();
    const told: string[] = [];
    story.source.endpoints.onChange((services) => told.push(...services));
    fake.patch('endpointslices', 'web', 'api-1', { endpoints: [endpoint('10.0.0.2'), endpoint('10.0.0.3', { ready: false })] });
    await until('the change', () => story.source.endpoints.endpoints(API)[0]?.address === '10.0.0.2');
    await until('the call, with which all that was before is told', () => told.includes('web/api'));
    told.length = 0;
    expect(story.source.endpoints.counts(API)).toEqual({ total: 2, ready: 1 });
    fake.remove('endpointslices', 'web', 'api-1');
    await until('the call', () => told.includes('web/api'));
    expect(story.source.endpoints.endpoints(API)).toEqual([]);
    expect(await marker()).toBe(0);
  });

  test('prefer our zone, as our Node says it', async () => {
    fake.create(at('Node', 'n1', null, { metadata: { name: 'n1', labels: { 'topology.kubernetes.io/zone': 'b' } } }));
    fake.create(at('Node', 'n2', null, { metadata: { name: 'n2', labels: { 'topology.kubernetes.io/zone': 'a' } } }));
    fake.put(slice('api-1', 'api', [endpoint('10.0.0.1', { zones: ['a'] }), endpoint('10.0.0.2', { zones: ['b'] })]));
    await begin({ nodes: true, zone: null });
    expect(story.source.endpoints.endpoints(API).map((e) => e.address)).toEqual(['10.0.0.2']);
    fake.patch('nodes', null, 'n1', { metadata: { labels: { 'topology.kubernetes.io/zone': 'a' } } });
    await until('the other zone', () => story.source.endpoints.endpoints(API)[0]?.address === '10.0.0.1');
    expect(fake.calls.filter((c) => c.resource === 'nodes').every((c) => c.path.includes('metadata.name%3Dn1'))).toBe(true);
    expect(story.last().set.cluster?.nodeAddresses).toEqual([]);
  });
});

describe('Nodes', () => {
  const node = (name: string, address: string, ready: string) =>
    at('Node', name, null, { status: { conditions: [{ type: 'Ready', status: ready }], addresses: [{ type: 'InternalIP', address }] } });

  test('give their addresses when those are published', async () => {
    fake.create(node('n1', '192.0.2.2', 'True'));
    fake.create(node('n2', '192.0.2.1', 'True'));
    fake.create(node('n3', '192.0.2.3', 'False'));
    await begin({ nodes: true, installation: installation({ publishNodeAddresses: true }) });
    expect(story.last().set.cluster?.nodeAddresses).toEqual(['192.0.2.1', '192.0.2.2']);
    fake.setStatus('nodes', null, 'n3', {
      conditions: [{ type: 'Ready', status: 'True' }],
      addresses: [{ type: 'InternalIP', address: '192.0.2.3' }],
    });
    await until('the third', () => story.last().set.cluster?.nodeAddresses.length === 3);
  });

  test.each([
    [false, null],
    [true, 'z1'],
  ])('are not asked for without need (nodes %s, zone %s)', async (nodes, zone) => {
    await begin({ nodes, zone });
    expect(fake.calls.some((c) => c.resource === 'nodes')).toBe(false);
  });
});

describe('classes', () => {
  test('a Listener that changes its class moves, and comes back', async () => {
    await begin();
    const key = 'spooky-system/public';
    expect(story.last().set.cluster?.foreignListeners.size).toBe(0);
    fake.patch('listeners', 'spooky-system', 'public', { spec: { className: 'other' } });
    await until('it is foreign', () => story.last().set.cluster?.foreignListeners.has(key) === true);
    expect(story.last().set.listeners.size).toBe(0);
    // Whoever took fields of its status away needs its version.
    expect(story.source.seen({ kind: 'Listener', namespace: 'spooky-system', name: 'public' })?.generation).toBe(2);
    fake.patch('listeners', 'spooky-system', 'public', { spec: { className: 'spooky' } });
    await until('it is ours again', () => story.last().set.listeners.has(key));
    expect(story.last().set.cluster?.foreignListeners.size).toBe(0);
  });

  test('objects that carry a status of ours are held', async () => {
    const api = await apiOf(fake);
    const apply = (manager: string, name: string) =>
      api.request({
        method: 'PATCH',
        path: `/apis/${OURS}/namespaces/web/upstreams/${name}/status?fieldManager=${encodeURIComponent(manager)}&force=true`,
        contentType: 'application/apply-patch+yaml',
        body: {
          apiVersion: OURS,
          kind: 'Upstream',
          metadata: { name, namespace: 'web' },
          status: { installations: [{ controllerName: manager, attached: '1/1' }] },
        },
      });
    expect(await apply('spooky.dev/spooky', 'api')).toMatchObject({ ok: true });
    expect(await apply('spooky.dev/other', 'shop')).toMatchObject({ ok: true });
    await begin();
    expect([...story.source.held()]).toMatchObject([{ kind: 'Upstream', namespace: 'web', name: 'api' }]);
    expect(story.source.seen({ kind: 'Upstream', namespace: 'web', name: 'shop' })?.status).toEqual({});
    api.close();
  });
});

describe('grants', () => {
  const grant = (name = 'g') =>
    at(
      'ReferenceGrant',
      name,
      'shared',
      { spec: { from: [{ group: 'spooky.dev', kind: 'Upstream', namespace: 'web' }], to: [{ group: '', kind: 'Service' }] } },
      'gateway.networking.k8s.io/v1beta1',
    );
  const grants = () => story.last().set.cluster?.grants ?? [];

  test.each([[['v1', 'v1beta1']], [['v1beta1']]])('are there from the first state on (%s)', async (versions) => {
    fake.namespace('shared');
    fake.installGrants(versions);
    fake.create(grant());
    await begin();
    expect(grants()).toEqual([
      { namespace: 'shared', from: [{ kind: 'Upstream', namespace: 'web' }], to: [{ group: '', kind: 'Service', name: '' }] },
    ]);
    const asked = new Set(fake.calls.filter((c) => c.resource === 'referencegrants').map((c) => c.path.split('/')[3]));
    expect([...asked]).toEqual([versions[0]]);
  });

  test('K1: are found when they are installed later, and revoked within seconds', async () => {
    fake.namespace('shared');
    await begin({ clock: hasty });
    expect(grants()).toEqual([]);
    fake.installGrants();
    fake.create(grant());
    await until('the grant', () => grants().length === 1);
    fake.remove('referencegrants', 'shared', 'g');
    // By its watch: nothing else would tell within the bound of `until`.
    await until('it is revoked', () => grants().length === 0);
    fake.create(grant('other'));
    await until('another one', () => grants().length === 1);
    fake.uninstallGrants();
    await until('there are none any more', () => grants().length === 0);
    await until('rows of the kind are gone too', () => !story.counted.has('synced ReferenceGrant'));
    expect(story.counted.has('objects ReferenceGrant')).toBe(false);
    fake.installGrants(['v1beta1']);
    fake.create(grant());
    await until('they are back', () => grants().length === 1);
  });

  test('one look that finds nothing takes no grant away', async () => {
    fake.namespace('shared');
    fake.installGrants();
    fake.create(grant());
    await begin({ clock: hasty });
    // Right after its start a server does not know its CRDs. Each look asks for two versions.
    const looks = () => fake.calls.filter((c) => /^\/apis\/gateway\.networking\.k8s\.io\/v1(beta1)?$/.test(c.path)).length;
    fake.faults.status(404, { path: /^\/apis\/gateway\.networking\.k8s\.io\/v1(beta1)?$/, times: 2 });
    const before = looks();
    await until('a few looks more', () => looks() >= before + 6);
    expect(story.states).toHaveLength(1);
    expect(grants()).toHaveLength(1);
  });
});

describe('Secrets', () => {
  test('are asked for only where that was opted in', async () => {
    fake.create(secret('tls', 'web'));
    await begin({ installation: installation({ secretNamespaces: new Set(['spooky-system']) }) });
    expect([...story.last().set.secrets.keys()]).toEqual(['spooky-system/tls']);
    fake.create(secret('late', 'web'));
    expect(await marker()).toBe(0);
    const asked = fake.calls.filter((c) => c.resource === 'secrets' || c.resource === 'configmaps');
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((c) => c.namespace !== 'spooky-system')).toEqual([]);
  });

  test('nowhere at all without a namespace', async () => {
    await begin({ installation: installation({ secretNamespaces: new Set() }) });
    expect(fake.calls.filter((c) => c.resource === 'secrets' || c.resource === 'configmaps')).toEqual([]);
  });

  test('of types that nothing is read from are not sent', async () => {
    for (const type of ['helm.sh/release.v1', 'kubernetes.io/service-account-token', 'Opaque'])
      fake.create(secret(type.toLowerCase().replaceAll('/', '-'), 'web', type));
    await begin();
    expect([...story.last().set.secrets.keys()].sort()).toEqual(['spooky-system/tls', 'web/opaque']);
    expect(story.counted.get('objects Secret')).toBe(2);
  });

  test('are never asked for one by one, and nothing is written', async () => {
    await begin();
    const others = fake.calls.filter((c) => c.verb !== 'list' && c.verb !== 'watch');
    expect(others.map((c) => `${c.method} ${c.path}`)).toEqual([
      'GET /apis/gateway.networking.k8s.io/v1',
      'GET /apis/gateway.networking.k8s.io/v1beta1',
    ]);
  });
});

describe('--namespaces', () => {
  test('nothing else is watched or taken', async () => {
    fake.namespace('other');
    fake.create(upstream('foreign', {}, 'other'));
    await begin({ namespaces: ['web'] });
    fake.create(upstream('foreign-2', {}, 'other'));
    expect(await marker()).toBe(0);
    expect([...story.last().set.upstreams.keys()].some((k) => k.startsWith('other/'))).toBe(false);
    expect([...story.last().set.listeners.keys()]).toEqual(['spooky-system/public']);
    const asked = new Map<string, Set<string | null>>();
    for (const c of fake.calls) asked.set(c.resource, (asked.get(c.resource) ?? new Set()).add(c.namespace));
    for (const resource of ['upstreams', 'listeners', 'services', 'endpointslices', 'secrets', 'configmaps'])
      expect([resource, [...(asked.get(resource) ?? [])].sort()]).toEqual([resource, ['spooky-system', 'web']]);
    expect(story.counted.get('synced Upstream')).toBe(1);
    expect(story.source.endpoints.endpoints(API)).toHaveLength(1);
    fake.remove('upstreams', 'web', 'shop');
    await until('it is gone', () => specOf('shop') === undefined);
    expect(specOf('api')).toBeDefined();
  });

  describe('of which one is gone, and with it the right to read it', () => {
    const everywhere = [{ apiGroups: [''], resources: ['namespaces'], verbs: ['list', 'watch'] }];
    const rulesOf = (...namespaces: string[]) => [
      ...everywhere,
      ...namespaces.flatMap((namespace) =>
        [
          ['', 'services', 'secrets', 'configmaps'],
          ['discovery.k8s.io', 'endpointslices'],
          ['spooky.dev', 'listeners', 'upstreams'],
        ].map(([group = '', ...resources]) => ({ apiGroups: [group], resources, verbs: ['list', 'watch'], namespace })),
      ),
    ];

    test('the first state does not wait for it, and it may come back', async () => {
      const user = 'tenants';
      await begin({ token: fake.rules(rulesOf('spooky-system', 'web'), user), namespaces: ['web', 'gone'], clock: hasty });
      expect([...story.last().set.upstreams.keys()].sort()).toEqual(['web/api', 'web/shop']);
      expect(story.counted.get('synced Upstream')).toBe(0);
      fake.namespace('gone');
      fake.create(upstream('back', {}, 'gone'));
      fake.rules(rulesOf('spooky-system', 'web', 'gone'), user);
      await until('what is in it now', () => story.last().set.upstreams.has('gone/back'));
      expect(story.counted.get('synced Upstream')).toBe(1);
    });

    test('one that is there, and may not be read, is waited for', async () => {
      fake.namespace('shut');
      story = await follow(fake, { token: fake.rules(rulesOf('spooky-system', 'web')), namespaces: ['web', 'shut'] });
      await until('the reasons alone', () => {
        const pending = story.source.pending();
        return pending.length === 4 && pending.every((reason) => / of namespace shut cannot be listed: forbidden: /.test(reason));
      });
      expect(story.states).toEqual([]);
    });

    test('nothing of it is served on, though nobody could tell of its end', async () => {
      const user = 'tenants';
      await begin({ token: fake.rules(rulesOf('spooky-system', 'web'), user), namespaces: ['web'], clock: hasty });
      await fake.kill();
      for (const name of ['api', 'shop']) {
        fake.remove('upstreams', 'web', name);
        fake.remove('endpointslices', 'web', `${name}-1`);
      }
      fake.remove('namespaces', null, 'web');
      fake.rules(rulesOf('spooky-system'), user);
      await fake.restart();
      await until('its Upstreams are gone', () => story.last().set.upstreams.size === 0);
      await until('its endpoints, too', () => story.source.endpoints.endpoints(API).length === 0);
      expect(story.last().set.listeners.size).toBe(1);
    });
  });

  test('scopes', () => {
    expect(scopesOf(null, 'own')).toEqual([null]);
    expect(scopesOf([], 'own')).toEqual(['own']);
    expect(scopesOf(['a', 'own', 'a'], 'own')).toEqual(['own', 'a']);
    expect(secretScopes([null], null)).toEqual([null]);
    expect(secretScopes([null], new Set(['a']))).toEqual(['a']);
    expect(secretScopes(['own', 'a'], null)).toEqual(['own', 'a']);
    expect(secretScopes(['own', 'a'], new Set(['a', 'b']))).toEqual(['a']);
  });
});

describe('objects that are not as they should be', () => {
  /** Past the schema of the server, as created before a rule was. */
  const loose = async (): Promise<void> => {
    await fake.stop();
    fake = await startApiServer({ crds: false });
    for (const [kind, plural] of [
      ['Listener', 'listeners'],
      ['Upstream', 'upstreams'],
    ] as const)
      fake.create({
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: `${plural}.spooky.dev` },
        spec: {
          group: 'spooky.dev',
          scope: 'Namespaced',
          names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
          versions: [
            {
              name: 'v1alpha1',
              served: true,
              storage: true,
              subresources: { status: {} },
              schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
            },
          ],
        },
      });
    fake.namespace('web');
    fake.namespace('spooky-system');
  };

  test('K8: are rejected one by one, and the others serve', async () => {
    await loose();
    fake.create(listener('public'));
    fake.create(listener('broken', { port: 70_000 }));
    fake.create(listener('theirs', { port: 70_000, className: 'other' }));
    fake.create(upstream('api'));
    fake.create(upstream('broken', { hostnames: ['not a host'] }));
    fake.create(upstream('theirs', { hostnames: ['not a host'], listeners: [{ namespace: 'spooky-system', name: 'theirs' }] }));
    await begin();
    const { set } = story.last();
    expect([...set.listeners.keys(), ...set.upstreams.keys()]).toEqual(['spooky-system/public', 'web/api']);
    expect(set.cluster?.rejected.map((r) => `${r.kind} ${r.meta.namespace}/${r.meta.name} ${r.faults[0]?.path}`)).toEqual([
      'Listener spooky-system/broken spec.port',
      'Upstream web/broken spec.hostnames[0]',
    ]);
    // Theirs becomes ours to judge with the class of its Listener.
    fake.patch('listeners', 'spooky-system', 'theirs', { spec: { className: 'spooky', port: 9443 } });
    await until('the verdict', () => story.last().set.cluster?.rejected.some((r) => r.meta.name === 'theirs') === true);
    fake.patch('upstreams', 'web', 'broken', { spec: { hostnames: ['a.example.com'] } });
    await until('it is mended', () => specOf('broken') !== undefined);
    expect(story.last().set.cluster?.rejected.map((r) => r.meta.name)).toEqual(['broken', 'theirs']);
  });

  test('without what every object has are counted and left out', async () => {
    await begin();
    fake.faults.raw(
      `${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'A/B', namespace: 'web', uid: 'x', resourceVersion: '999999' } } })}\n`,
      { path: /\/upstreams/ },
    );
    await until('it is counted', () => (story.counted.get('error Upstream malformed') ?? 0) > 0);
    expect(story.lines.some((l) => l.includes('object left out'))).toBe(true);
    expect(await marker()).toBe(0);
  });
});

describe('an outage', () => {
  test('changes nothing, and what happened meanwhile follows', async () => {
    await begin();
    const before = story.last();
    await fake.kill();
    fake.remove('upstreams', 'web', 'api');
    fake.create(upstream('late'));
    await until('it is noticed', () => (story.counted.get('error Upstream connection') ?? 0) > 0);
    expect(story.states).toEqual([before]);
    expect(story.source.pending()).toEqual([]);
    expect(story.source.endpoints.endpoints(API)).toHaveLength(1);
    await fake.restart();
    await until('the state after it', () => specOf('late') !== undefined && specOf('api') === undefined);
    expect(specOf('shop')).toBe(specOf('shop', 0));
  });
});

describe('the end', () => {
  test('nothing comes after it', async () => {
    await begin();
    await story.source.stop();
    fake.create(upstream('late'));
    story.source.reread();
    await until('no watch is left', () => fake.watches === 0);
    expect(story.states).toHaveLength(1);
  });

  test('reading again tells the state as it is, and lists', async () => {
    await begin();
    story.source.reread();
    expect(story.states).toHaveLength(2);
    expect(story.states[1]?.set.upstreams).toBe(story.states[0]?.set.upstreams);
    await until('another list', () => story.counted.get('list Upstream') === 2);
    expect(specOf('api')).toBe(specOf('api', 0));
  });
});

describe('once', () => {
  const once = async (token = fake.token, secrets = true) => {
    const api = await apiOf(fake, token);
    try {
      return await readOnce({ api, installation: installation(), namespaces: null, secrets });
    } finally {
      api.close();
    }
  };

  test('gives what a watch gives', async () => {
    fake.namespace('shared');
    fake.installGrants();
    await begin();
    const found = await once();
    if (!found.ok) throw new Error(found.error);
    const { state, endpoints, skipped, leftOut } = found.value;
    expect(state).toEqual(story.last());
    expect(endpoints.endpoints(API)).toEqual(story.source.endpoints.endpoints(API));
    expect([skipped, leftOut]).toEqual([[], []]);
    expect(fake.calls.filter((c) => c.verb === 'list' && c.resource === 'namespaces').at(-1)?.path).toContain('limit=500');
  });

  test('without Secrets where they may not be read', async () => {
    await begin();
    const reader = [
      { apiGroups: [''], resources: ['services', 'namespaces'], verbs: ['list'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list'] },
      { apiGroups: ['spooky.dev'], resources: ['listeners', 'upstreams'], verbs: ['list'] },
    ];
    const found = await once(fake.rules(reader));
    if (!found.ok) throw new Error(found.error);
    expect(found.value.state.set.secrets.size).toBe(0);
    expect(found.value.skipped).toEqual([
      expect.stringMatching(/^Secrets cannot be listed: forbidden: /),
      expect.stringMatching(/^ConfigMaps cannot be listed: forbidden: /),
    ]);
    const refused = await once(fake.rules(reader.slice(0, 2)));
    expect(refused).toEqual({ ok: false, error: expect.stringMatching(/^Listeners cannot be listed: forbidden: /) });
  });

  test('page by page, and all at once when a page has expired', async () => {
    for (let i = 0; i < 600; i++) fake.create(service(`s${i}`));
    await begin();
    const pages = () => fake.calls.filter((c) => c.resource === 'services' && c.verb === 'list' && c.path.includes('limit=500')).length;
    const before = pages();
    fake.faults.status(410, { path: /services.*continue=/, reason: 'Expired' });
    const found = await once();
    if (!found.ok) throw new Error(found.error);
    expect(found.value.state.set.cluster?.services.size).toBe(602);
    // The second page was refused before it was counted.
    expect(pages() - before).toBe(1);
    expect(fake.calls.filter((c) => c.resource === 'services' && c.verb === 'list').at(-1)?.path).not.toContain('limit');
  });

  test('by smaller pages where one is more than a body may hold', async () => {
    for (let i = 0; i < 40; i++) fake.create(service(`s${i}`));
    const api = await apiOf(fake, fake.token);
    const asked: string[] = [];
    const narrow: KubeApi = {
      request: (request) => {
        const { pathname, searchParams } = new URL(request.path, 'https://api.test');
        if (!pathname.endsWith('/services')) return api.request(request);
        asked.push(searchParams.get('limit') ?? '');
        if (Number(searchParams.get('limit')) < 40) return api.request(request);
        return Promise.resolve({ ok: false, error: apiError('too_large', 'more than may be', 200) });
      },
      stream: () => Promise.resolve(null),
      close: () => api.close(),
    };
    const found = await readOnce({ api: narrow, installation: installation(), namespaces: null, secrets: true });
    narrow.close();
    if (!found.ok) throw new Error(found.error);
    expect(found.value.state.set.cluster?.services.size).toBe(fake.list('services').length);
    expect(found.value.skipped).toEqual([]);
    expect(asked).toEqual(['500', '125', '31', '31']);
  });
});
