/** `helm upgrade` to other values and `helm rollback`, with clients that live through them, by helm 3 and helm 4. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  apply,
  CHART,
  clean,
  demoCertificate,
  download,
  ENTRANCES,
  eventually,
  getJson,
  forbidden,
  helm,
  install,
  NODES,
  once,
  OWN,
  quickstart,
  ready,
  rolledOut,
  served,
  startLoad,
  tlsSecret,
  valuesFile,
  WHOLE,
} from './kit.ts';
import { listener } from './release.ts';

const MiB = 1024 * 1024;
const SECOND = NODES.map(({ address }) => `${address}:30444`);
const PORTS = [
  { name: 'https', port: 443, targetPort: 8443, nodePort: 30443 },
  { name: 'other', port: 444, targetPort: 8444, nodePort: 30444 },
];

const secondListener = {
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Listener',
  metadata: { namespace: OWN, name: 'other' },
  spec: { port: 8444, tls: { certificateRefs: [{ name: 'demo-tls' }] }, allowedNamespaces: { from: 'All' } },
};
const secondUpstream = {
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: { namespace: 'demo', name: 'other' },
  spec: {
    listeners: [{ name: 'other', namespace: OWN }],
    hostnames: ['demo.example.com'],
    backends: [{ service: { name: 'demo-v2', port: 'http' } }],
  },
};

interface DaemonSet {
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly containers: readonly { readonly args: readonly string[] }[];
      };
    };
  };
}
const daemonSet = async (): Promise<DaemonSet['spec']['template']['spec']> =>
  (await getJson<DaemonSet>(['daemonset', 'spooky', '--namespace', OWN])).spec.template.spec;

describe.each(['helm', 'helm4'] as const)('%s', (which) => {
  beforeAll(async () => {
    await clean();
    await install({}, { helm: which });
    await quickstart();
    await apply([tlsSecret('demo-tls', demoCertificate())]);
    await Promise.all(ENTRANCES.map(served));
  }, 400_000);
  afterAll(() => clean(), 240_000);

  /** One change of the release, under load and with a download at each entrance. */
  async function changed(change: () => Promise<unknown>): Promise<void> {
    const old = await ready();
    const load = await startLoad();
    const downloads = await Promise.all(ENTRANCES.map((address) => download({ address, bytes: 16 * MiB })));
    await change();
    await rolledOut('daemonset', 'spooky', OWN);
    const answers = await Promise.all(downloads.map(({ answer }) => answer));
    expect(answers.map(({ status, size, error, goaways }) => ({ status, size, error, spanned: (goaways ?? []).length > 0 }))).toEqual(
      ENTRANCES.map(() => ({ status: 200, size: 16 * MiB, error: undefined, spanned: true })),
    );
    await load.replaced(6, 120_000);
    await load.more(80);
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun } });
    expect((await ready()).filter(({ uid }) => old.some((pod) => pod.uid === uid))).toEqual([]);
  }

  const upgrade = (values: object): Promise<string> =>
    helm(['upgrade', 'spooky', CHART, '--reset-values', '--wait', '--timeout', '180s', '--values', valuesFile(values)], which);

  test('upgrade to another drain timeout', async () => {
    await changed(() => upgrade({ drain: { delay: '5s', timeout: '40s' } }));
    const spec = await daemonSet();
    expect(spec.containers[0]?.args).toEqual(expect.arrayContaining(['--drain-delay=5s', '--drain-timeout=40s']));
    expect(spec.terminationGracePeriodSeconds).toBe(50);
  }, 400_000);

  test('upgrade to one port more, on which a Listener was waiting', async () => {
    await apply([secondListener, secondUpstream]);
    await eventually(async () => {
      expect((await listener('other')).verdicts).toMatchObject({ Programmed: expect.stringMatching(/^False /) });
    }, 30_000, 250); // prettier-ignore
    await changed(() => upgrade({ drain: { delay: '5s', timeout: '40s' }, ports: PORTS }));
    await Promise.all(SECOND.map(served));
    await eventually(async () => {
      expect(await listener('other')).toMatchObject({ verdicts: { Programmed: 'True Programmed' } });
    }, 30_000, 250); // prettier-ignore
  }, 400_000);

  test('rollback to the first: the second port is gone, the first one has not been missed', async () => {
    await changed(() => helm(['rollback', 'spooky', '1', '--wait', '--timeout', '180s'], which));
    const spec = await daemonSet();
    expect(spec.containers[0]?.args).toEqual(expect.arrayContaining(['--drain-delay=10s', '--drain-timeout=60s']));
    expect(spec.terminationGracePeriodSeconds).toBe(75);
    await expect(once('/', SECOND[0], { timeoutMs: 1500 })).rejects.toThrow();
    await eventually(async () => {
      expect((await listener('other')).verdicts).toMatchObject({ Programmed: expect.stringMatching(/^False /) });
    }, 30_000, 250); // prettier-ignore
  }, 400_000);

  test('in all of this the API server has refused the pods nothing', () => {
    expect(forbidden()).toEqual([]);
  });
});
