/** What serves traffic does not need what it was told by: the API server away for a minute, kubelets restarted. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import {
  apply,
  clean,
  ENTRANCES,
  eventually,
  forbidden,
  install,
  kubectl,
  NODES,
  once,
  onNode,
  outside,
  pods,
  quickstart,
  ready,
  startLoad,
  STATE,
  WHOLE,
  type Pod,
} from './kit.ts';
import { inCluster } from './clusters.ts';
import { leader, told } from './release.ts';

const CLUSTER = 'patient';
inCluster(CLUSTER);

const OUTAGE_MS = 60_000;
/** Within which a change must be served once the API server is there again. */
const CONVERGENCE_MS = 5000;
const OFF = join(STATE, 'kube-apiserver.off');

const upstream = (host: string): object => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: { namespace: 'demo', name: host.split('.')[0] },
  spec: {
    listeners: [{ name: 'public', namespace: 'spooky-system' }],
    hostnames: [host],
    backends: [{ service: { name: 'demo-v2', port: 'http' } }],
  },
});

/** Everybody who asks for that name at that entrance is answered. */
const answered = (host: string, address: string): Promise<void> =>
  eventually(
    async () => {
      const { status, text } = await once('/whoami', address, { name: host, timeoutMs: 1000 });
      if (status !== 200) throw new Error(`${host} at ${address}: ${status} ${text}`);
    },
    30_000,
    20,
  );

const isReady = async (pod: Pod): Promise<number> =>
  (await fetch(`http://${pod.ip}:9901/readyz`, { signal: AbortSignal.timeout(5000) })).status;

const same = (list: readonly Pod[]): readonly unknown[] => list.map(({ uid, restarts, node }) => ({ uid, restarts, node }));

describe('the control plane away, under load', () => {
  beforeAll(async () => {
    await clean();
    await install();
    await quickstart();
  }, 400_000);
  afterEach(() => rmSync(OFF, { force: true }));
  afterAll(async () => {
    await eventually(() => kubectl(['get', '--raw', '/readyz']), 60_000, 250);
    await clean();
  }, 300_000);

  test('kube-apiserver killed, and down for a minute: nobody notices; changes after its return are served within 5 s', async () => {
    const before = await ready();
    const load = await startLoad();
    const pid = readFileSync(join(STATE, 'kube-apiserver.pid'), 'utf8').trim();
    writeFileSync(OFF, '');
    await outside(['kill', '-9', pid]);
    const downSince = Date.now();
    const answersAtDown = load.counts().ok;
    while (Date.now() - downSince < OUTAGE_MS) {
      expect(await Promise.all(before.map(isReady))).toEqual([200, 200]);
      await load.more(40);
    }
    expect(existsSync(OFF)).toBe(true);
    await expect(kubectl(['get', '--raw', '/readyz', '--request-timeout', '2s'])).rejects.toThrow('refused');
    // New clients, too.
    expect((await Promise.all(ENTRANCES.map((address) => once('/', address)))).map(({ status }) => status)).toEqual([200, 200]);
    expect(load.counts().ok - answersAtDown).toBeGreaterThan(1000);

    rmSync(OFF);
    await eventually(() => kubectl(['get', '--raw', '/readyz']), 60_000, 100);
    await apply([upstream('after.demo.example.com')]);
    const changed = Date.now();
    await Promise.all(ENTRANCES.map((address) => answered('after.demo.example.com', address)));
    expect(Date.now() - changed).toBeLessThan(CONVERGENCE_MS);

    // Endpoints as well, and somebody writes statuses again.
    await eventually(async () => {
      expect((await told('upstream', 'after', 'demo')).verdicts).toMatchObject({ Accepted: 'True Valid', Programmed: 'True Programmed' });
    }, 60_000, 250); // prettier-ignore
    await load.more(80);
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun }, replaced: 0 });
    const after = await ready(120_000);
    expect(same(after)).toEqual(same(before));
    expect(after.map(({ name }) => name)).toContain(await leader());
  }, 400_000);

  test.each(NODES.map(({ name }) => [name]))(
    'the kubelet of %s restarted: the same pods, the same connections',
    async (node) => {
      const before = await ready();
      const load = await startLoad();
      const pid = readFileSync(join(STATE, node, 'kubelet.pid'), 'utf8').trim();
      await onNode(node, ['kill', '-9', pid]);
      await eventually(async () => {
      const now = readFileSync(join(STATE, node, 'kubelet.pid'), 'utf8').trim();
      if (now === pid) throw new Error('not restarted yet');
      // It speaks with the API server again.
      await kubectl(['get', '--raw', `/api/v1/nodes/${node}/proxy/healthz`]);
    }, 60_000, 250); // prettier-ignore
      await load.more(400);
      const counts = await load.stop();
      expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun }, replaced: 0 });
      expect(same(await ready())).toEqual(same(before));
      expect((await pods()).length).toBe(before.length);
    },
    200_000,
  );

  test('in all of this the API server has refused the pods nothing', () => {
    expect(forbidden()).toEqual([]);
  });
});
