/** What of the chart can be judged without helm: its values, its schema, its README, and what it renders by default. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { chartFiles } from '../../src/cli/generate/chart/index.ts';
import { leaves } from '../../src/cli/generate/chart/value.ts';
import { VALUES } from '../../src/cli/generate/chart/values.ts';
import { CLUSTER_SETTINGS, SETTINGS, validateListener, validateUpstream } from '../../src/contract/resources/index.ts';
import { METRICS } from '../../src/control/admin/metrics.ts';
import { rights, type Manifest } from './manifest.ts';
import { judge, over } from './schema.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CHART = join(ROOT, 'charts/spooky');
const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const documents = (path: string): Manifest[] => parseAllDocuments(text(path)).map((d) => d.toJS() as Manifest);

type Json = Readonly<Record<string, unknown>>;
const schema = JSON.parse(text('charts/spooky/values.schema.json')) as Json;
const values = parse(text('charts/spooky/values.yaml')) as Json;
const paths = [...leaves(VALUES)].map(([path]) => path);
const at = (value: unknown, path: string): unknown => path.split('.').reduce<unknown>((v, step) => (v as Json | undefined)?.[step], value);

describe('values', () => {
  test('the files are what the table says', () => {
    for (const [path, content] of chartFiles()) expect([path, text(path) === content]).toEqual([path, true]);
  });

  test('the defaults fit the schema, and are those of the table', () => {
    expect(judge(values, schema)).toEqual([]);
    for (const [path, leaf] of leaves(VALUES)) expect([path, at(values, path)]).toEqual([path, leaf.default]);
  });

  test('the schema describes every value and knows no other', () => {
    const nodes = (node: Json, path: string): [string, Json][] => [
      [path, node],
      ...Object.entries((node['properties'] ?? {}) as Json).flatMap(([name, inner]) => nodes(inner as Json, `${path}.${name}`)),
    ];
    const all = nodes(schema, '').filter(([path]) => path !== '');
    expect(all.length).toBeGreaterThan(120);
    expect(all.filter(([path, node]) => !path.startsWith('.resources.') && !/resources\./.test(path) && node['description'] === undefined)).toEqual([]);
    for (const path of paths) expect(all.map(([p]) => p)).toContain(`.${path}`);
  });

  test.each<[string, Json, string]>([
    ['an unknown value', { replicas: 3 }, '.replicas: is unknown'],
    ['an unknown value inside', { exposure: { typ: 'nodePort' } }, '.exposure.typ: is unknown'],
    ['a word that is none', { exposure: { type: 'ingress' } }, '.exposure.type: is none of ["nodePort","loadBalancer","hostPort","hostNetwork"]'],
    ['text for a number', { workers: 'two' }, '.workers: is string, not integer'],
    ['a list for a map', { podLabels: ['a'] }, '.podLabels: is array, not object'],
    ['a boolean for a label', { podLabels: { a: true } }, '.podLabels.a: is boolean, not string'],
    ['a bare off', { log: { access: false } }, '.log.access: is none of ["off","errors","all"]'],
    ['a port that is none', { ports: [{ name: 'a', port: 0, targetPort: 8443 }] }, '.ports[0].port: is too small'],
    ['a port without its target', { ports: [{ name: 'a', port: 1 }] }, '.ports[0]: lacks targetPort'],
    ['a duration without a unit', { drain: { delay: '10' } }, '.drain.delay: does not match ^([0-9]{1,5}(h|ms|m|s)){1,4}$'],
    ['a group without lines', { drain: null }, ': lacks drain'],
    ['a choice without a word', { exposure: { type: null } }, '.exposure: lacks type'],
    ['a number taken away', { probes: { startup: { periodSeconds: null } } }, '.probes.startup: lacks periodSeconds'],
    ['memory in words', { resources: { limits: { memory: 'much' } } }, '.resources.limits.memory: does not match ^[0-9]+(\\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$'],
  ])('%s is refused by name', (_title, given, message) => {
    expect(judge(over(values, given), schema)).toEqual([message]);
  });

  test('lists, maps and texts may be without a value', () => {
    const given = { commonLabels: null, nodeSelector: null, resources: null, fullnameOverride: null, exposure: { labels: null }, secrets: { namespaces: null } };
    expect(judge(over(values, given), schema)).toEqual([]);
  });

  test('the README has every value once', () => {
    const readme = text('charts/spooky/README.md');
    for (const path of paths) expect([path, readme.slice(readme.indexOf('## Values')).split(`\n| \`${path}\` | `).length]).toEqual([path, 2]);
  });

  test('templates use every value, and no other', () => {
    const templates = readdirSync(join(CHART, 'templates'), { recursive: true, encoding: 'utf8' })
      .filter((f) => /\.(?:yaml|tpl|txt)$/.test(f))
      .map((f) => readFileSync(join(CHART, 'templates', f), 'utf8'))
      .join('\n')
      .replaceAll('$exposure.', '$values.exposure.');
    const used = new Set([...templates.matchAll(/(?:\.Values|\$values)\.([A-Za-z.]+)/g)].map((m) => m[1] as string));
    expect(used.size).toBeGreaterThan(60);
    expect([...used].filter((path) => at(values, path) === undefined)).toEqual([]);
    // A group that is handed over whole is used with all that is in it.
    used.delete('exposure');
    expect(paths.filter((path) => ![...used].some((u) => path === u || path.startsWith(`${u}.`)))).toEqual([]);
  });

  test('flags in the templates are flags of serve', () => {
    const known = new Set<string>([...SETTINGS, ...CLUSTER_SETTINGS].map((s) => s.flag));
    const flags = [...text('charts/spooky/templates/_pod.tpl').matchAll(/^- (--[a-z-]+)/gm)].map((m) => m[1] as string);
    expect(flags.length).toBeGreaterThan(20);
    expect(flags.filter((flag) => !known.has(flag))).toEqual([]);
  });

  test('the chart is as old as the program', () => {
    const chart = parse(text('charts/spooky/Chart.yaml')) as Json;
    const { version } = JSON.parse(text('package.json')) as { version: string };
    expect([chart['version'], chart['appVersion'], chart['kubeVersion']]).toEqual([version, version, '>=1.33.0-0']);
  });
});

describe('manifests/install.yaml', () => {
  const install = documents('manifests/install.yaml');

  test('K12: rights: what reads, what writes, and nothing else', () => {
    expect(rights(install, 'spooky')).toEqual([
      '* apiextensions.k8s.io/customresourcedefinitions[listeners.spooky.dev,upstreams.spooky.dev]: get',
      '* core/namespaces: list,watch',
      '* core/services: list,watch',
      '* discovery.k8s.io/endpointslices: list,watch',
      '* events.k8s.io/events: create,patch',
      '* gateway.networking.k8s.io/referencegrants: list,watch',
      '* spooky.dev/listeners/status: patch',
      '* spooky.dev/listeners: list,watch',
      '* spooky.dev/upstreams/status: patch',
      '* spooky.dev/upstreams: list,watch',
      'spooky-system coordination.k8s.io/leases: create',
      'spooky-system coordination.k8s.io/leases[spooky-leader]: get,update',
      'spooky-system core/configmaps: list,watch',
      'spooky-system core/secrets: list,watch',
    ]);
  });

  test('its kinds are those of crds/', () => {
    for (const file of ['listeners', 'upstreams']) {
      const [crd] = documents(`crds/${file}.yaml`);
      const ours = install.find((d) => d.kind === 'CustomResourceDefinition' && d.metadata.name === crd?.metadata.name);
      expect(ours?.spec).toEqual(crd?.spec);
      expect(ours?.metadata.annotations).toEqual({ 'helm.sh/resource-policy': 'keep', ...crd?.metadata.annotations });
    }
  });

  test('K11: no custom resource, no Secret, no hook', () => {
    const kinds = new Set(install.map((d) => d.kind));
    expect([...kinds].sort()).toEqual([
      'ClusterRole',
      'ClusterRoleBinding',
      'CustomResourceDefinition',
      'DaemonSet',
      'Namespace',
      'Role',
      'RoleBinding',
      'Service',
      'ServiceAccount',
    ]);
  });
});

describe('samples', () => {
  const SAMPLES = ['quickstart', 'canary', 'headers', 'backend-tls', 'cross-namespace', 'cert-manager', 'prometheus'];
  const all = new Map(SAMPLES.map((name) => [name, documents(`manifests/${name}.yaml`)]));
  const everything = [...all.values()].flat();

  test('each is there, and nothing else is', () => {
    expect(readdirSync(join(ROOT, 'manifests')).sort()).toEqual([...SAMPLES, 'install'].map((n) => `${n}.yaml`).sort());
  });

  test.each(SAMPLES)('%s: our kinds have nothing wrong', (name) => {
    const judged = (all.get(name) ?? [])
      .filter((d) => d.apiVersion.startsWith('spooky.dev/'))
      .map((d) => (d.kind === 'Listener' ? validateListener : validateUpstream)(d.spec, { standalone: false, unknown: 'refuse' }).faults);
    expect(judged.flat()).toEqual([]);
    if (name !== 'prometheus') expect(judged.length).toBeGreaterThan(0);
  });

  test('the Listener is on a port that the chart publishes, with room for every Upstream', () => {
    const ports = (values['ports'] as { targetPort: number }[]).map((p) => p.targetPort);
    const listeners = everything.filter((d) => d.kind === 'Listener');
    expect(listeners.map((d) => [d.metadata.namespace, d.metadata.name, ports.includes(at(d.spec, 'port') as number), at(d.spec, 'allowedNamespaces.from')])).toEqual(
      listeners.map(() => ['spooky-system', 'public', true, 'All']),
    );
  });

  test('every Service that an Upstream names is there, with the port', () => {
    const services = new Set(
      everything
        .filter((d) => d.kind === 'Service')
        .flatMap((d) => (at(d.spec, 'ports') as { name: string }[]).map((p) => `${d.metadata.namespace}/${d.metadata.name}:${p.name}`)),
    );
    const wanted = everything
      .filter((d) => d.kind === 'Upstream')
      .flatMap((d) =>
        (at(d.spec, 'backends') as { service: { name: string; namespace?: string; port: string } }[]).map(
          (b) => `${b.service.namespace ?? d.metadata.namespace}/${b.service.name}:${b.service.port}`,
        ),
      );
    expect(wanted.length).toBeGreaterThan(6);
    expect(wanted.filter((w) => !services.has(w))).toEqual([]);
  });

  test('demo backends are of the chart’s image, and fit the level restricted', () => {
    const image = `${at(values, 'image.repository')}:${(parse(text('charts/spooky/Chart.yaml')) as Json)['appVersion']}`;
    const pods = everything.filter((d) => d.kind === 'Deployment' && d.metadata.namespace === 'demo').map((d) => at(d.spec, 'template.spec') as Json);
    expect(pods.length).toBe(3);
    for (const pod of pods) {
      const [container] = pod['containers'] as Json[];
      expect(container?.['image']).toBe(image);
      expect(pod['securityContext']).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
      expect(container?.['securityContext']).toEqual({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
    }
  });

  test('what Prometheus is told fits the pods and the metrics', () => {
    const told = at((all.get('prometheus') ?? []).find((d) => d.kind === 'ConfigMap'), 'data') as Readonly<Record<string, string>>;
    const [job] = at(parse(told['prometheus.yml'] ?? ''), 'scrape_configs') as Json[];
    const [keep] = at(job, 'relabel_configs') as { regex: string; source_labels: string[] }[];
    const pod = at(documents('manifests/install.yaml').find((d) => d.kind === 'DaemonSet')?.spec, 'template') as Json;
    const [container] = at(pod, 'spec.containers') as { ports: { name: string }[] }[];
    const name = (at(pod, 'metadata.labels') as Json)['app.kubernetes.io/name'];
    expect(keep?.source_labels).toEqual(['__meta_kubernetes_pod_label_app_kubernetes_io_name', '__meta_kubernetes_pod_container_port_name']);
    expect(container?.ports.map((p) => `${name};${p.name}`)).toContain(keep?.regex);
    const metrics = [...(told['rules.yml'] ?? '').matchAll(/\bspooky_([a-z_]+)/g)].map((m) => m[1] as string);
    expect(metrics.length).toBeGreaterThan(3);
    expect(metrics.filter((m) => !Object.hasOwn(METRICS, m))).toEqual([]);
  });

  test('files that comments name exist', () => {
    for (const name of SAMPLES)
      for (const [, file = ''] of text(`manifests/${name}.yaml`).matchAll(/\b((?:manifests|charts)\/[a-z0-9./-]+[a-z])/g))
        expect([name, file, existsSync(join(ROOT, file))]).toEqual([name, file, true]);
  });
});
