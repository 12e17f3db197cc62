/**
 * Every way from clients to the pods, each by `helm upgrade` from the one before. Between nodePort and loadBalancer nothing is lost: the pods stay,
 * and a Service of type LoadBalancer has its node ports still. To and from hostPort and hostNetwork it cannot be so: clients use another port
 * of the nodes, and a node has no room for two pods.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  apply,
  clean,
  getJson,
  helm,
  ingress,
  install,
  kubectl,
  NODES,
  outside,
  OUTSIDE,
  OWN,
  pods,
  valuesFile,
  CHART,
} from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart, served } from './demo.ts';
import { client, ENTRANCES, eventually, startLoad, whoami, WHOLE } from './kit.ts';
import { Balancer, BALANCED, clientAddress } from './network.ts';
import { helmTest, listener, podSecurity, SWIFT, upgrade } from './release.ts';

inCluster('usual');

const GOOD = { Accepted: 'True Valid', ResolvedRefs: 'True ResolvedRefs', Programmed: 'True Programmed', Published: 'True Published' };
const OTHER_CLIENT = '198.18.0.200';
const CLIENT6 = '2001:2:0:1::1';

const both = (port: number): readonly string[] => NODES.flatMap(({ address, address6 }) => [`${address}:${port}`, `[${address6}]:${port}`]);
const nodeAddresses = (port: number): readonly string[] =>
  NODES.flatMap(({ address, address6 }) => [`${address}:${port}`, `${address6}:${port}`]).sort();

/** The status says this, soon. */
const says = (addresses: readonly string[]): Promise<void> =>
  eventually(async () => {
    const { verdicts, addresses: there } = await listener();
    expect({ verdicts, addresses: there }).toEqual({ verdicts: GOOD, addresses });
  }, 20_000);

/** What backends hear about clients at every entrance of this port: their own addresses, and the port that they use. */
async function kept(port: number): Promise<void> {
  const seen = await eventually(() => Promise.all(both(port).map((address) => whoami(address))), 30_000);
  expect(seen.map(({ headers }) => [headers['x-forwarded-for'], headers['x-forwarded-port']])).toEqual(
    both(port).map((address) => [address.startsWith('[') ? CLIENT6 : OUTSIDE, String(port)]),
  );
  const other = await Promise.all(NODES.map(({ address }) => whoami(`${address}:${port}`, { local: OTHER_CLIENT })));
  expect(other.map(({ headers }) => headers['x-forwarded-for'])).toEqual([OTHER_CLIENT, OTHER_CLIENT]);
}

/** Nobody answers at these. */
const silent = async (addresses: readonly string[]): Promise<void> => {
  for (const address of addresses) await expect(client(address, { timeoutMs: 1500 })).rejects.toThrow();
};

describe('exposure', () => {
  const balancer = new Balancer();
  const undo: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    await clean();
    undo.push((await clientAddress(OTHER_CLIENT)).close, () => balancer.close());
    await install({ ...SWIFT, publishNodeAddresses: true });
    await quickstart();
  }, 400_000);
  afterAll(async () => {
    for (const close of undo) await close();
    await clean();
  }, 240_000);

  test('nodePort: on every node, by both families, with the address of the client', async () => {
    await kept(30443);
    await says(nodeAddresses(30443));
    await helmTest();
  }, 120_000);

  test('to loadBalancer under load: nothing is lost, and the pods stay', async () => {
    const before = await pods();
    const load = await startLoad();
    // helm waits for an address, which comes from whoever balances.
    await Promise.all([upgrade({ ...SWIFT, publishNodeAddresses: true, exposure: { type: 'loadBalancer' } }), balancer.publish()]);
    await load.more(100);
    const counts = await load.stop();
    expect(counts).toMatchObject(WHOLE);
    expect(counts.statuses).toEqual({ 200: counts.begun });
    expect((await pods()).map(({ uid }) => uid)).toEqual(before.map(({ uid }) => uid));
  }, 240_000);

  test('loadBalancer: flows to one address come to both nodes, with the address of the client', async () => {
    await balancer.route();
    await says([`${BALANCED}:443`]);
    await served(`${BALANCED}:443`);
    const nodes = new Set<string>();
    for (let i = 0; i < 60 && nodes.size < 2; i++) {
      const { peer, headers } = await whoami(`${BALANCED}:443`);
      expect(headers).toMatchObject({ 'x-forwarded-for': OUTSIDE, 'x-forwarded-port': '443' });
      nodes.add(peer.slice(0, peer.lastIndexOf(':')));
    }
    expect([...nodes].sort()).toEqual((await pods()).map(({ ip }) => ip).sort());
    await helmTest();
  }, 120_000);

  test('loadBalancer: nodes say at healthCheckNodePort whether they have a ready pod', async () => {
    const { spec } = await getJson<{ spec: { healthCheckNodePort: number } }>(['service', 'spooky', '--namespace', OWN]);
    for (const { address } of NODES) {
      const response = await fetch(`http://${address}:${spec.healthCheckNodePort}/`);
      expect([response.status, await response.json()]).toEqual([200, expect.objectContaining({ localEndpoints: 1 })]);
    }
  }, 20_000);

  test('the status follows the address of the Service', async () => {
    await ingress({ ip: '198.18.0.241' }, { hostname: 'edge.example.com' });
    await says(['198.18.0.241:443', 'edge.example.com:443']);
  }, 30_000);

  test('back to nodePort under load: nothing is lost', async () => {
    const load = await startLoad();
    await upgrade({ ...SWIFT, publishNodeAddresses: true });
    await load.more(100);
    const counts = await load.stop();
    expect(counts).toMatchObject(WHOLE);
    expect(counts.statuses).toEqual({ 200: counts.begun });
    await says(nodeAddresses(30443));
  }, 240_000);

  test('hostPort: port 443 of every node', async () => {
    await podSecurity('privileged');
    await upgrade({ ...SWIFT, publishNodeAddresses: true, exposure: { type: 'hostPort' } });
    await kept(443);
    await says(nodeAddresses(443));
    await silent(ENTRANCES);
    await helmTest();
  }, 240_000);

  test('hostNetwork: what the process binds is what clients use', async () => {
    await upgrade({ ...SWIFT, publishNodeAddresses: true, exposure: { type: 'hostNetwork' } });
    await kept(8443);
    await says(nodeAddresses(8443));
    await silent(NODES.map(({ address }) => `${address}:443`));
    await helmTest();
  }, 240_000);

  const low = (lowPorts: string): object => ({
    ...SWIFT,
    publishNodeAddresses: true,
    exposure: { type: 'hostNetwork', hostNetwork: { lowPorts } },
    ports: [{ name: 'https', port: 443, targetPort: 443 }],
  });

  test('hostNetwork: a port under 1024 is refused unless the values say how', async () => {
    const refused = helm(['upgrade', 'spooky', CHART, '--reset-values', '--values', valuesFile(low('none'))]);
    await expect(refused).rejects.toThrow('ports[0].targetPort: 443: ports under 1024 need exposure.hostNetwork.lowPorts');
  }, 60_000);

  test('hostNetwork on 443, as user 0 with the one capability', async () => {
    await upgrade(low('root'));
    await kubectl(['--namespace', OWN, 'patch', 'listener', 'public', '--type=merge', '-p', '{"spec":{"port":443}}']);
    await kept(443);
    await says(nodeAddresses(443));
    const line =
      'jsonpath={range .items[*]}{.spec.securityContext.runAsUser} {.spec.containers[0].securityContext.capabilities}{"\\n"}{end}';
    const said = await kubectl(['--namespace', OWN, 'get', 'pods', '--selector', 'app.kubernetes.io/component=edge', '-o', line]);
    expect(new Set(said.trim().split('\n'))).toEqual(new Set(['0 {"add":["NET_BIND_SERVICE"],"drop":["ALL"]}']));
    await helmTest();
  }, 240_000);

  test('hostNetwork on 443, where the nodes allow it to everybody', async () => {
    const allow = (from: number): Promise<unknown> =>
      Promise.all(
        NODES.map(({ name }) => outside(['ip', 'netns', 'exec', name, 'sysctl', '-qw', `net.ipv4.ip_unprivileged_port_start=${from}`])),
      );
    undo.push(() => allow(1024));
    await allow(443);
    await upgrade(low('node'));
    await kept(443);
    const line =
      'jsonpath={range .items[*]}{.spec.securityContext.runAsUser} {.spec.containers[0].securityContext.capabilities}{"\\n"}{end}';
    const said = await kubectl(['--namespace', OWN, 'get', 'pods', '--selector', 'app.kubernetes.io/component=edge', '-o', line]);
    expect(new Set(said.trim().split('\n'))).toEqual(new Set(['65532 {"drop":["ALL"]}']));
  }, 240_000);

  test('a Listener on a port that the values lack says what to add, and then is served', async () => {
    await kubectl(['--namespace', OWN, 'patch', 'listener', 'public', '--type=merge', '-p', '{"spec":{"port":8443}}']);
    const spec = { port: 9443, tls: { certificateRefs: [{ name: 'demo-tls' }] }, allowedNamespaces: { from: 'All' } };
    await apply([{ apiVersion: 'spooky.dev/v1alpha1', kind: 'Listener', metadata: { namespace: OWN, name: 'other' }, spec }]);
    await upgrade(SWIFT);
    const { messages } = await eventually(async () => {
      const now = await listener('other');
      expect(now.verdicts).toMatchObject({
        Accepted: 'False NotAllowed',
        Published: 'False PortNotPublished',
        Programmed: 'False Pending',
      });
      return now;
    }, 20_000);
    const line = /ports: (\[\{name: (\S+), port: (\d+), targetPort: (\d+)\}\])/.exec(messages['Published'] ?? '');
    expect(line?.[1]).toBe('[{name: http3-9443, port: 9443, targetPort: 9443}]');
    const [, , name, port, targetPort] = line ?? [];
    const added = { name, port: Number(port), targetPort: Number(targetPort), nodePort: 30444 };
    await upgrade({ ...SWIFT, ports: [{ name: 'https', port: 443, targetPort: 8443, nodePort: 30443 }, added] });
    await eventually(async () => expect((await listener('other')).verdicts).toEqual(GOOD), 20_000);
    // The Upstreams of the quick start name the Listener public alone: nothing is routed here, which is an answer nevertheless.
    const seen = await eventually(() => Promise.all(NODES.map(({ address }) => client(`${address}:30444`))), 20_000);
    expect(seen.map(({ certificate }) => certificate)).toEqual([
      expect.stringMatching(/^[0-9a-f]{64}$/),
      expect.stringMatching(/^[0-9a-f]{64}$/),
    ]);
    await Promise.all(seen.map((connection) => connection.close()));
    await Promise.all(ENTRANCES.map(served));
  }, 300_000);
});
