/** `controller.mode: deployment`: a controller without traffic writes what there is to write, and pods with traffic may write nothing. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { api, apply, audited, clean, forbidden, getJson, install, kubectl, OWN, pods, ready, rolledOut } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart } from './demo.ts';
import { ENTRANCES, eventually, startLoad, whoami, WHOLE } from './kit.ts';
import { helmTest, leader, listener, may, SWIFT, told, upgrade } from './release.ts';

inCluster('usual');

const SPLIT = { ...SWIFT, controller: { mode: 'deployment' }, networkPolicy: { enabled: true } };
const CONTROLLER = 'app.kubernetes.io/component=controller';
const EDGE = 'app.kubernetes.io/component=edge';

/** Every verb that changes something. */
const WRITES: readonly (readonly string[])[] = [
  ['patch', 'listeners.spooky.dev', '--subresource=status'],
  ['update', 'listeners.spooky.dev', '--subresource=status'],
  ['patch', 'upstreams.spooky.dev', '--subresource=status'],
  ['patch', 'listeners.spooky.dev'],
  ['create', 'leases.coordination.k8s.io'],
  ['update', 'leases.coordination.k8s.io/spooky-leader'],
  ['create', 'events.events.k8s.io'],
  ['create', 'pods'],
  ['delete', 'secrets'],
];
const ALLOWED = ['patch listeners.spooky.dev --subresource=status', 'patch upstreams.spooky.dev --subresource=status', 'create leases.coordination.k8s.io', 'update leases.coordination.k8s.io/spooky-leader', 'create events.events.k8s.io']; // prettier-ignore

const granted = async (account: string): Promise<readonly string[]> => {
  const all = await Promise.all(WRITES.map(async (what) => ((await may(account, ...what)) ? [what.join(' ')] : [])));
  return all.flat();
};

describe('the split', () => {
  let since = '';

  beforeAll(async () => {
    await clean();
    since = new Date().toISOString();
    await install(SPLIT);
    await quickstart();
  }, 400_000);
  afterAll(() => clean(), 240_000);

  test('a Deployment leads, and a pod with traffic on each node does not', async () => {
    const controllers = await pods(CONTROLLER);
    expect(controllers.map(({ ready: is, node }) => [is, node])).toEqual([
      [true, 'node1'],
      [true, 'node2'],
    ]);
    await eventually(async () => expect(controllers.map(({ name }) => name)).toContain(await leader()));
    expect((await pods(EDGE)).map(({ ready: is, node }) => [is, node])).toEqual([
      [true, 'node1'],
      [true, 'node2'],
    ]);
  }, 30_000);

  test('traffic flows, and helm test passes', async () => {
    const seen = await Promise.all(ENTRANCES.map((address) => whoami(address)));
    for (const { host } of seen) expect(host).toMatch(/^demo-v1-/);
    await helmTest();
  }, 120_000);

  test('pods with traffic have no right to change anything', async () => {
    expect(await granted('spooky')).toEqual([]);
    expect([...(await granted('spooky-controller'))].sort()).toEqual([...ALLOWED].sort());
  }, 60_000);

  test("statuses are the controller's, and nothing was refused to either", async () => {
    await eventually(async () => {
      expect((await listener()).verdicts).toEqual({ Accepted: 'True Valid', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Published: 'True Published' }); // prettier-ignore
      expect((await told('upstream', 'demo', 'demo')).verdicts).toMatchObject({ Accepted: 'True Valid', Programmed: 'True Programmed' });
    }, 20_000);
    const writers = audited()
      .filter(({ requestReceivedTimestamp }) => requestReceivedTimestamp > since)
      .filter(({ verb }) => !['get', 'list', 'watch'].includes(verb))
      .map(({ user }) => user.username);
    expect(new Set(writers)).toEqual(new Set([`system:serviceaccount:${OWN}:spooky-controller`]));
    expect(forbidden()).toEqual([]);
  }, 30_000);

  test('a fault is told by the controller, as an event too', async () => {
    const bad = {
      listeners: [{ name: 'public', namespace: OWN }],
      hostnames: ['bad.demo.example.com'],
      backends: [{ service: { name: 'nothing', port: 1 } }],
    };
    await apply([{ apiVersion: 'spooky.dev/v1alpha1', kind: 'Upstream', metadata: { namespace: 'demo', name: 'bad' }, spec: bad }]);
    await eventually(
      async () => expect((await told('upstream', 'bad', 'demo')).verdicts['ResolvedRefs']).toBe('False InvalidBackend'),
      20_000,
    );
    await kubectl([
      '--namespace',
      'demo',
      'patch',
      'upstream',
      'bad',
      '--type=merge',
      '-p',
      JSON.stringify({ spec: { backends: [{ service: { name: 'demo-v1', port: 'http' } }] } }),
    ]);
    await eventually(
      async () => expect((await told('upstream', 'bad', 'demo')).verdicts['ResolvedRefs']).toBe('True ResolvedRefs'),
      20_000,
    );
    await eventually(async () => {
      const { items } = await getJson<{ items: { reportingController: string; regarding: { name: string } }[] }>([
        'events.events.k8s.io',
        '--namespace',
        'demo',
      ]);
      const ours = items.filter(({ regarding }) => regarding.name === 'bad').map(({ reportingController }) => reportingController);
      expect(new Set(ours)).toEqual(new Set(['spooky.dev/spooky']));
    }, 20_000);
  }, 90_000);

  test('without the leading controller another one takes over, and traffic does not notice', async () => {
    const was = await leader();
    const load = await startLoad();
    await kubectl(['--namespace', OWN, 'delete', 'pod', was, '--grace-period=0', '--force']);
    await eventually(async () => expect(await leader()).not.toBe(was), 60_000, 500);
    await kubectl(['--namespace', OWN, 'patch', 'listener', 'public', '--type=merge', '-p', '{"spec":{"quic":{"idleTimeout":"29s"}}}']);
    await eventually(async () => expect((await listener()).verdicts['Programmed']).toBe('True Programmed'), 20_000);
    await load.more(100);
    expect(await load.stop()).toMatchObject(WHOLE);
  }, 180_000);

  test('policies were made for both', async () => {
    const said = await kubectl(['--namespace', OWN, 'get', 'networkpolicies', '-o', 'name']);
    expect(said.trim().split('\n').sort()).toEqual([
      'networkpolicy.networking.k8s.io/spooky',
      'networkpolicy.networking.k8s.io/spooky-controller',
    ]);
  });

  test('back to one kind of pod under load: nothing is lost', async () => {
    const load = await startLoad();
    await upgrade(SWIFT);
    await load.more(100);
    expect(await load.stop()).toMatchObject(WHOLE);
    await ready();
    expect((await api.run('kubectl', ['--namespace', OWN, 'get', 'deployment', 'spooky-controller'])).stderr).toContain('NotFound');
    await eventually(async () => expect((await pods(EDGE)).map(({ name }) => name)).toContain(await leader()), 60_000, 500);
    await rolledOut('daemonset', 'spooky', OWN, 60);
  }, 240_000);
});
