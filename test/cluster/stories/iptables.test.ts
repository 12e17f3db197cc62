/** kube-proxy in its other mode: node ports, and a restart that a download spans. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { clean, install, kubectl, NODES, onNode, OUTSIDE, OWN, ready, rolledOut } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart } from './demo.ts';
import { download, ENTRANCES, startLoad, whoami, WHOLE } from './kit.ts';

const CLUSTER = 'iptables';
inCluster(CLUSTER);

const MiB = 1024 * 1024;

describe('iptables', () => {
  beforeAll(async () => {
    await clean();
    await install();
    await quickstart();
  }, 400_000);
  afterAll(() => clean(), 240_000);

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
    const old = await ready();
    const load = await startLoad();
    const downloads = await Promise.all(ENTRANCES.map((address) => download({ address, bytes: 32 * MiB })));
    await kubectl(['--namespace', OWN, 'rollout', 'restart', 'daemonset/spooky']);
    await rolledOut('daemonset', 'spooky', OWN);
    const answers = await Promise.all(downloads.map(({ answer }) => answer));
    expect(answers.map(({ status, size, error, goaways }) => ({ status, size, error, spanned: (goaways ?? []).length > 0 }))).toEqual(
      ENTRANCES.map(() => ({ status: 200, size: 32 * MiB, error: undefined, spanned: true })),
    );
    await load.replaced(6, 120_000);
    await load.more(100);
    const counts = await load.stop();
    expect(counts).toMatchObject(WHOLE);
    expect(counts.statuses).toEqual({ 200: counts.begun });
    for (const { uid } of await ready()) expect(old.map((pod) => pod.uid)).not.toContain(uid);
  }, 480_000);
});
