/** kube-proxy in its other mode: node ports, and a restart that a download spans. */
import { describe, expect, test } from '@jest/globals';
import { NODES, onNode, OUTSIDE, ready } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { withQuickstart } from './demo.ts';
import { whoami } from './kit.ts';
import { restartUnderLoad } from './restart.ts';

const CLUSTER = 'iptables';
inCluster(CLUSTER);

describe('iptables', () => {
  withQuickstart();

  test('the node ports are rules of iptables', async () => {
    for (const { name } of NODES)
      expect(await onNode(name, ['iptables-save', '-t', 'nat'])).toMatch(/^-A KUBE-NODEPORTS -p udp .*--dport 30443 /m);
  });

  test('both nodes answer by both families, and backends learn the address of the client', async () => {
    const at = NODES.flatMap(({ address, address6 }) => [`${address}:30443`, `[${address6}]:30443`]);
    const seen = await Promise.all(at.map((address) => whoami(address)));
    expect(seen.map(({ headers }) => headers['x-forwarded-for'])).toEqual([OUTSIDE, '2001:2:0:1::1', OUTSIDE, '2001:2:0:1::1']);
  }, 30_000);

  test('a restart under load: no request fails, and downloads that span it finish', async () => {
    const old = await restartUnderLoad();
    for (const { uid } of await ready()) expect(old.map((pod) => pod.uid)).not.toContain(uid);
  }, 480_000);
});
