/** The way of a user: install, the quick start, traffic on every node, a new version of the pods under load, `helm test`, uninstall. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { TOOLS } from '../../kit/peers.ts';
import {
  clean,
  eventually,
  ENTRANCES,
  forbidden,
  getJson,
  helm,
  HOST,
  install,
  kubectl,
  namespace,
  NODE_PORT,
  NODES,
  objects,
  OUTSIDE,
  outside,
  OWN,
  pods,
  quickstart,
  ready,
  whoami,
} from './kit.ts';
import { restartUnderLoad } from './restart.ts';

describe('the first story', () => {
  let before: Set<string>;

  beforeAll(async () => {
    await clean();
    await namespace(OWN);
    before = await eventually(async () => {
      const all = await objects();
      // A kubelet makes its lease some time after its node is ready.
      const leases = NODES.map(({ name }) => `kube-node-lease Lease/${name}`);
      const wanted = [`${OWN} ServiceAccount/default`, `${OWN} ConfigMap/kube-root-ca.crt`, ...leases];
      const missing = wanted.filter((object) => !all.has(object));
      if (missing.length > 0) throw new Error(`not settled: ${missing.join(', ')}`);
      return all;
    }, 60_000);
  }, 240_000);
  afterAll(() => clean(), 240_000);

  test('helm install spooky, without values of note: a ready pod on every node', async () => {
    await install();
    const found = await pods();
    expect(found.map(({ node, ready: is, restarts }) => ({ node, is, restarts }))).toEqual(
      NODES.map(({ name }) => ({ node: name, is: true, restarts: 0 })),
    );
  }, 240_000);

  test('the quick start: both nodes answer, and backends learn the address of the client', async () => {
    await quickstart();
    const seen = await Promise.all(ENTRANCES.map((address) => whoami(address)));
    expect(seen.map(({ headers }) => headers['x-forwarded-for'])).toEqual([OUTSIDE, OUTSIDE]);
    // The one that saw the request is a pod of the first version.
    for (const { host } of seen) expect(host).toMatch(/^demo-v1-/);
  }, 120_000);

  test.each(NODES.map(({ name, address }) => [name, address] as const))(
    'curl --http3-only, as the notes say it, at %s',
    async (_, address) => {
      const at = ['--resolve', `${HOST}:${NODE_PORT}:${address}`, `https://${HOST}:${NODE_PORT}/`];
      const said = await outside([join(TOOLS, 'sid'), 'run', 'curl', '--silent', '--show-error', '--include', '--http3-only', '--insecure', '--max-time', '20', ...at]); // prettier-ignore
      expect(said).toMatch(/^HTTP\/3 200/);
      expect(said).toContain('Boo!');
    },
    30_000,
  );

  test('the objects say that they are served, and where', async () => {
    type Read = {
      status?: { conditions?: { type: string; status: string }[]; installations?: { conditions: { type: string; status: string }[] }[] };
    };
    const good = ['Accepted', 'ResolvedRefs', 'Programmed'];
    const truths = (list: readonly { type: string; status: string }[] = []): string[] =>
      list.filter(({ type, status }) => good.includes(type) && status === 'True').map(({ type }) => type);
    await eventually(async () => {
      const listener = await getJson<Read>(['listener', 'public', '--namespace', OWN]);
      const upstream = await getJson<Read>(['upstream', 'demo', '--namespace', 'demo']);
      expect(new Set(truths(listener.status?.conditions))).toEqual(new Set(good));
      expect(new Set(truths(upstream.status?.installations?.[0]?.conditions))).toEqual(new Set(good));
    }, 20_000);
  }, 30_000);

  test('kubectl rollout restart under load: no request fails, and downloads that span it finish', async () => {
    const old = await restartUnderLoad();
    // The old pods have nothing left to wait for.
    await eventually(async () => {
      const left = (await pods()).filter(({ uid }) => old.some((pod) => pod.uid === uid));
      if (left.length > 0) throw new Error(JSON.stringify(left));
    }, 90_000);
    expect((await ready()).map(({ restarts }) => restarts)).toEqual([0, 0]);
  }, 480_000);

  test('helm test', async () => {
    const said = await helm(['test', 'spooky', '--timeout', '90s']);
    expect(said).toMatch(/Phase:\s+Succeeded/);
  }, 120_000);

  test('in all of this the API server has refused the pods nothing', () => {
    expect(forbidden()).toEqual([]);
  });

  test('helm uninstall leaves the kinds and what users made of them, and nothing else', async () => {
    await helm(['uninstall', 'spooky', '--wait']);
    const kept = [
      ' APIService/v1alpha1.spooky.dev',
      ' CustomResourceDefinition/listeners.spooky.dev',
      ' CustomResourceDefinition/upstreams.spooky.dev',
      ' Namespace/demo',
      `${OWN} Listener/public`,
      `${OWN} Secret/demo-tls`,
    ];
    // Pods go once they have drained, and with them what was derived from them.
    await eventually(async () => {
      const now = [...(await objects())].filter((object) => !object.startsWith('demo '));
      expect(now.filter((object) => !before.has(object) && !kept.includes(object))).toEqual([]);
      expect(kept.filter((object) => !now.includes(object))).toEqual([]);
      expect([...before].filter((object) => !now.includes(object))).toEqual([]);
    }, 120_000, 1000); // prettier-ignore
    await expect(kubectl(['--namespace', 'demo', 'get', 'upstream', 'demo'])).resolves.toContain('demo');
  }, 240_000);
});
