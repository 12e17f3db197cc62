/** What a namespace must allow for each exposure, and what the pods can do without. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { api, CHART, clean, getJson, helm, install, kubectl, namespace, onNode, OWN, ready, rolledOut, valuesFile } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart, served } from './demo.ts';
import { ENTRANCES, eventually, whoami } from './kit.ts';
import { Balancer, BALANCED } from './network.ts';
import { helmTest, podSecurity, SWIFT, upgrade } from './release.ts';

inCluster('usual');

interface Warned {
  readonly reason: string;
  readonly message: string;
}

/** What the cluster says of pods that it does not make. */
const refused = async (): Promise<string> => {
  const { items } = await getJson<{ items: Warned[] }>(['events', '--namespace', OWN, '--field-selector', 'reason=FailedCreate']);
  return items.map(({ message }) => message).join('\n');
};

/** What a pod of these values breaks of that level, as the API server says it for a whole namespace. */
const violations = async (values: object, level: string): Promise<string> => {
  const name = `try-${level}`;
  await namespace(name, { 'pod-security.kubernetes.io/enforce': 'privileged', 'pod-security.kubernetes.io/warn': level });
  const rendered = await helm(['template', 'spooky', CHART, '--skip-tests', '--set', 'crds.enabled=false', '--values', valuesFile(values), '--show-only', 'templates/daemonset.yaml']); // prettier-ignore
  const { code, stdout, stderr } = await api.run('kubectl', ['apply', '--dry-run=server', '--namespace', name, '-f', '-'], {
    stdin: rendered.replaceAll(`namespace: ${OWN}`, `namespace: ${name}`),
  });
  if (code !== 0) throw new Error(stdout + stderr);
  return stderr;
};

describe('Pod Security', () => {
  const balancer = new Balancer();

  beforeAll(() => clean('try-restricted', 'try-baseline'), 240_000);
  afterAll(async () => {
    await balancer.close();
    await clean('try-restricted', 'try-baseline');
  }, 240_000);

  test.each([
    ['nodePort', 'restricted', {}],
    ['loadBalancer', 'restricted', {}],
    ['the split', 'restricted', { controller: { mode: 'deployment' } }],
  ])(
    '%s breaks nothing of %s',
    async (type, level, more) => {
      const exposure = type === 'the split' ? {} : { exposure: { type } };
      expect(await violations({ ...exposure, ...more }, level)).toBe('');
    },
    60_000,
  );

  test.each([
    ['hostPort', 'restricted', 'hostPort (container "spooky" uses hostPort 443)'],
    ['hostPort', 'baseline', 'hostPort (container "spooky" uses hostPort 443)'],
    ['hostNetwork', 'restricted', 'host namespaces (hostNetwork=true)'],
    ['hostNetwork', 'baseline', 'host namespaces (hostNetwork=true)'],
  ])(
    '%s is more than %s allows',
    async (type, level, what) => {
      const said = await violations({ exposure: { type } }, level);
      expect(said).toContain(`would violate PodSecurity "${level}:latest": `);
      expect(said).toContain(what);
    },
    60_000,
  );

  test('hostNetwork on a low port as user 0 is privileged by its host namespace and its user alone', async () => {
    const ports = [{ name: 'https', port: 443, targetPort: 443 }];
    const said = await violations({ exposure: { type: 'hostNetwork', hostNetwork: { lowPorts: 'root' } }, ports }, 'restricted');
    const broken = /"restricted:latest": ([\s\S]*)/.exec(said)?.[1] ?? '';
    expect(broken).toContain('host namespaces');
    expect(broken).toContain('runAsNonRoot != true');
    expect(broken).not.toMatch(/seccomp|allowPrivilegeEscalation|unrestricted capabilities/);
  }, 60_000);

  test('a namespace that enforces restricted takes nodePort and loadBalancer, and traffic flows', async () => {
    await install(SWIFT, { podSecurity: 'restricted' });
    await quickstart();
    await helmTest();
    await Promise.all([upgrade({ ...SWIFT, exposure: { type: 'loadBalancer' } }), balancer.publish()]);
    await balancer.route();
    await served(`${BALANCED}:443`);
    const { metadata } = await getJson<{ metadata: { labels: Record<string, string> } }>(['namespace', OWN]);
    expect(metadata.labels['pod-security.kubernetes.io/enforce']).toBe('restricted');
    expect(await refused()).toBe('');
  }, 400_000);

  test('the process has no capability, cannot get one, and cannot write', async () => {
    const [pod] = await ready();
    const said = await onNode(pod?.node ?? '', [
      'sh',
      '-c',
      'for p in $(pgrep -f "[/]bin/spooky serve|[/]dist/worker.js"); do cat /proc/$p/status; done',
    ]);
    const lines = (name: string): Set<string> =>
      new Set([...said.matchAll(new RegExp(`^${name}:\\s+(.*)$`, 'gm'))].map(([, value = '']) => value));
    expect(lines('CapEff')).toEqual(new Set(['0000000000000000']));
    expect(lines('CapBnd')).toEqual(new Set(['0000000000000000']));
    expect(lines('NoNewPrivs')).toEqual(new Set(['1']));
    expect(lines('Seccomp')).toEqual(new Set(['2']));
    expect(lines('Uid')).toEqual(new Set(['65532\t65532\t65532\t65532']));
    const mounts = await onNode(pod?.node ?? '', ['sh', '-c', 'cat /proc/$(pgrep -of "[/]bin/spooky serve")/mounts']);
    expect(mounts).toMatch(/^\S+ \/ overlay ro,/m);
  }, 30_000);

  test('restricted refuses hostPort in so many words; the level that the documents name takes it', async () => {
    await helm(['upgrade', 'spooky', CHART, '--reset-values', '--values', valuesFile({ ...SWIFT, exposure: { type: 'hostPort' } })]);
    await eventually(async () => expect(await refused()).toContain('violates PodSecurity "restricted:latest": hostPort'), 60_000, 500);
    await podSecurity('privileged');
    await rolledOut('daemonset', 'spooky');
    await ready();
    await eventually(() => whoami('198.18.0.11:443'), 30_000);
  }, 300_000);

  test('network policies are taken, and traffic flows', async () => {
    await podSecurity('restricted');
    const metricsFrom = [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }];
    await upgrade({ ...SWIFT, networkPolicy: { enabled: true, metricsFrom, egress: [{}] } });
    await Promise.all(ENTRANCES.map(served));
    type Policy = {
      spec: {
        policyTypes: string[];
        ingress: { ports: { port: number; protocol: string }[]; from?: unknown }[];
        podSelector: { matchLabels: Record<string, string> };
      };
    };
    const { spec } = await getJson<Policy>(['networkpolicy', 'spooky', '--namespace', OWN]);
    expect(spec.policyTypes).toEqual(['Ingress', 'Egress']);
    expect(spec.ingress).toEqual([
      { ports: [{ port: 8443, protocol: 'UDP' }] },
      { ports: [{ port: 9901, protocol: 'TCP' }], from: metricsFrom },
    ]);
    const selector = Object.entries(spec.podSelector.matchLabels).map(([key, value]) => `${key}=${value}`).join(','); // prettier-ignore
    const chosen = await kubectl(['--namespace', OWN, 'get', 'pods', '--selector', selector, '-o', 'name']);
    expect(chosen.trim().split('\n').sort()).toEqual((await ready()).map(({ name }) => `pod/${name}`).sort());
    const nothing = helm([
      'upgrade',
      'spooky',
      CHART,
      '--reset-values',
      '--values',
      valuesFile({ exposure: { type: 'hostNetwork' }, networkPolicy: { enabled: true } }),
    ]);
    await expect(nothing).rejects.toThrow('networkPolicy.enabled: policies do not hold for pods of exposure.type hostNetwork');
  }, 300_000);
});
