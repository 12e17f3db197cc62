/** The source against real servers: what a fake could be wrong about. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readOnce } from '../../../src/control/sources/kubernetes/once.ts';
import { apiOf, follow, hasty, installation, until, type Story } from '../../control/sources/kubernetes/story.ts';
import { oldestMissing, startApi, type Api } from '../api.ts';
import { addKinds, REFERENCE_GRANT, removeKinds } from '../foreign.ts';

const OURS = 'spooky.dev/v1alpha1';

const missing = oldestMissing();
if (missing !== null) process.stderr.write(`the oldest release is skipped: ${missing}\n`);

describe.each(missing === null ? (['newest', 'oldest'] as const) : (['newest'] as const))('the %s release', (release) => {
  let api: Api;
  let story: Story;

  const apply = (...items: readonly object[]): Promise<string> =>
    api.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
  const namespace = (name: string, labels: object = {}) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } });
  const upstream = (name: string) => ({
    apiVersion: OURS,
    kind: 'Upstream',
    metadata: { name, namespace: 'web' },
    spec: { hostnames: [`${name}.example.com`], backends: [{ service: { name: 'api', port: 80 } }] },
  });
  const slice = (ready: boolean) => ({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'api-1', namespace: 'web', labels: { 'kubernetes.io/service-name': 'api' } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready } }],
  });
  const grant = {
    apiVersion: 'gateway.networking.k8s.io/v1beta1',
    kind: 'ReferenceGrant',
    metadata: { name: 'g', namespace: 'web' },
    spec: { from: [{ group: 'spooky.dev', kind: 'Upstream', namespace: 'other' }], to: [{ group: '', kind: 'Service' }] },
  };
  const secret = (name: string, type: string, data: object) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name, namespace: 'web' },
    type,
    data,
  });

  beforeAll(async () => {
    api = await startApi({ release });
    await api.kubectl(['apply', '--server-side', '-f', 'crds/']);
    await api.kubectl(['wait', '--for', 'condition=Established', '--timeout=30s', 'crd/listeners.spooky.dev', 'crd/upstreams.spooky.dev']);
    await apply(namespace('web', { team: 'a' }), namespace('spooky-system'));
    await apply(
      upstream('api'),
      {
        apiVersion: OURS,
        kind: 'Listener',
        metadata: { name: 'public', namespace: 'spooky-system' },
        spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] } },
      },
      { apiVersion: 'v1', kind: 'Service', metadata: { name: 'api', namespace: 'web' }, spec: { ports: [{ port: 80, targetPort: 8080 }] } },
      slice(true),
      secret('tls', 'Opaque', { 'tls.crt': 'YQ==', 'tls.key': 'YQ==' }),
      secret('release', 'helm.sh/release.v1', { release: 'YQ==' }),
    );
    story = await follow(api.kubeconfig, { clock: hasty });
    await story.first;
  }, 120_000);

  afterAll(async () => {
    await story?.stop();
    await api?.stop();
  }, 60_000);

  const API = { namespace: 'web', name: 'api', portName: '' };
  const has = (name: string): boolean => story.last().set.upstreams.has(`web/${name}`);

  test('gives the first state', () => {
    const { set } = story.last();
    expect([...set.listeners.keys(), ...set.upstreams.keys()]).toEqual(['spooky-system/public', 'web/api']);
    expect(set.cluster?.namespaces.get('web')?.get('team')).toBe('a');
    expect(set.cluster?.services.get('web/api')).toMatchObject({
      type: 'ClusterIP',
      ports: [{ port: 80, targetPort: 8080, protocol: 'TCP' }],
    });
    expect([...set.secrets.keys()]).toEqual(['web/tls']);
    expect(story.source.endpoints.endpoints(API)).toEqual([{ address: '10.0.0.1', port: 8080, draining: false }]);
    expect([...story.counted.keys()].filter((k) => k.startsWith('error') && !k.endsWith('invalid'))).toEqual([]);
    expect(set.cluster?.rejected).toEqual([]);
  });

  test('gives the same by lists alone', async () => {
    const client = await apiOf(api.kubeconfig);
    const once = await readOnce({ api: client, installation: installation(), namespaces: null, secrets: true });
    client.close();
    if (!once.ok) throw new Error(once.error);
    expect(once.value.skipped).toEqual([]);
    expect(once.value.state.set.upstreams).toEqual(story.last().set.upstreams);
    expect(once.value.state.set.cluster?.namespaces).toEqual(story.last().set.cluster?.namespaces);
    expect([...once.value.state.set.secrets.keys()]).toEqual(['web/tls']);
    expect(once.value.endpoints.endpoints(API)).toHaveLength(1);
  });

  test('makes no state of a status, and one of what it says', async () => {
    const before = story.states.length;
    const status = { installations: [{ controllerName: 'spooky.dev/spooky', attached: '1/1' }] };
    const answer = await api.request(
      'PATCH',
      `/apis/${OURS}/namespaces/web/upstreams/api/status?fieldManager=${encodeURIComponent('spooky.dev/spooky')}`,
      { apiVersion: OURS, kind: 'Upstream', metadata: { name: 'api', namespace: 'web' }, status },
      { 'content-type': 'application/apply-patch+yaml' },
    );
    expect(answer.status).toBe(200);
    await until('the status seen', () =>
      JSON.stringify(story.source.seen({ kind: 'Upstream', namespace: 'web', name: 'api' })?.status).includes('1/1'),
    );
    expect([...story.source.held()]).toMatchObject([{ kind: 'Upstream', namespace: 'web', name: 'api' }]);
    await apply(upstream('marker'));
    await until('the marker', () => has('marker'));
    expect(story.states.length - before).toBe(1);
  });

  test('tells endpoints without a state', async () => {
    const before = story.states.length;
    await apply(slice(false));
    await until('no endpoint', () => story.source.endpoints.endpoints(API).length === 0);
    expect(story.source.endpoints.counts(API)).toEqual({ total: 1, ready: 0 });
    expect(story.states.length).toBe(before);
  });

  test('K1: finds grants when their kind is installed, and takes them away', async () => {
    const grants = () => story.last().set.cluster?.grants.length;
    await addKinds(api, [REFERENCE_GRANT]);
    await apply(grant);
    await until('the grant', () => grants() === 1);
    await api.kubectl(['delete', 'referencegrant', '-n', 'web', 'g']);
    await until('its end', () => grants() === 0);
    await apply(grant);
    await until('another one', () => grants() === 1);
    await removeKinds(api, [REFERENCE_GRANT]);
    await until('the end of them all', () => grants() === 0);
  }, 60_000);
});
