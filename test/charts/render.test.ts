/** What the chart renders for each file of values, by every helm that is here. */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { parse, parseAllDocuments } from 'yaml';
import { parseArguments } from '../../src/cli/command.ts';
import { serve } from '../../src/cli/serve.ts';
import { readServeSettings } from '../../src/settings.ts';
import { findHelm, installManifest, KUBE_VERSION } from '../../scripts/helm.ts';
import { rights, type Manifest } from './manifest.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CHART = join(ROOT, 'charts/spooky');
const VALUES = join(import.meta.dirname, 'values');
const NAMES = readdirSync(VALUES).map((f) => f.replace('.yaml', ''));

const helms = ['helm', 'helm4'].flatMap((name) => {
  const path = findHelm(name);
  return path === null ? [] : [[name, path] as const];
});

type Json = Readonly<Record<string, unknown>>;
const at = (value: unknown, ...steps: (string | number)[]): unknown => steps.reduce<unknown>((v, step) => (v as Json | undefined)?.[step], value);

const args = (name: string, more: readonly string[]): string[] => [
  'template',
  'spooky',
  CHART,
  '--namespace=spooky-system',
  `--kube-version=${KUBE_VERSION}`,
  `--values=${join(VALUES, `${name}.yaml`)}`,
  ...more,
];

const read = (text: string): Manifest[] => parseAllDocuments(text).flatMap((d) => (d.contents === null ? [] : [d.toJS() as Manifest]));

/** Where workers find each other. */
const RUNTIME = {
  volume: { name: 'runtime', emptyDir: { medium: 'Memory', sizeLimit: '64Mi' } },
  mount: { name: 'runtime', mountPath: '/run/spooky' },
};

const NOTICE = 'helm is not here: test/cluster/build tools';
if (helms.length === 0) {
  process.stderr.write(`test/charts/render: ${NOTICE}\n`);
  test.skip(NOTICE, () => {});
}

const suite = (helm: string): void => {
  const rendered = new Map<string, Manifest[]>();
  const render = (name: string, ...more: string[]): Manifest[] => {
    const key = [name, ...more].join(' ');
    const known = rendered.get(key) ?? read(execFileSync(helm, args(name, more), { encoding: 'utf8' }));
    rendered.set(key, known);
    return known;
  };
  const refusal = (...set: string[]): string => {
    const ran = spawnSync(helm, args('default', set.flatMap((s) => ['--set', s])), { encoding: 'utf8' });
    expect(ran.status).toBe(1);
    return ran.stderr;
  };
  const one = (documents: readonly Manifest[], kind: string, name: string): Manifest => {
    const found = documents.filter((d) => d.kind === kind && d.metadata.name === name);
    expect([kind, name, found.length]).toEqual([kind, name, 1]);
    return found[0] as Manifest;
  };
  const podOf = (documents: readonly Manifest[], kind = 'DaemonSet', name = 'spooky'): Json => at(one(documents, kind, name).spec, 'template', 'spec') as Json;
  const containerOf = (pod: Json): Json => (pod['containers'] as Json[])[0] as Json;
  const flagsOf = (pod: Json): string[] => containerOf(pod)['args'] as string[];
  const environmentOf = (pod: Json): Map<string, unknown> =>
    new Map((containerOf(pod)['env'] as Json[]).map((e) => [e['name'] as string, e['value'] ?? at(e, 'valueFrom', 'fieldRef', 'fieldPath')]));

  test('the defaults are manifests/install.yaml', () => {
    expect(installManifest(helm, ROOT) === readFileSync(join(ROOT, 'manifests/install.yaml'), 'utf8')).toBe(true);
  });

  test('lint has nothing to say', () => {
    for (const name of NAMES) execFileSync(helm, ['lint', '--strict', '--quiet', '--values', join(VALUES, `${name}.yaml`), CHART], { stdio: 'pipe' });
  });

  test.each(NAMES)('%s: every object says its namespace or has none, and carries the labels', (name) => {
    const documents = render(name);
    const wide = new Set(['ClusterRole', 'ClusterRoleBinding', 'CustomResourceDefinition']);
    expect(documents.length).toBeGreaterThan(10);
    for (const d of documents) {
      const ours = d.kind === 'CustomResourceDefinition' || d.metadata.labels?.['app.kubernetes.io/instance'] === 'spooky';
      expect([d.kind, d.metadata.name, d.metadata.namespace !== undefined, ours]).toEqual([d.kind, d.metadata.name, !wide.has(d.kind), true]);
    }
    const ids = documents.map((d) => `${d.kind} ${d.metadata.namespace}/${d.metadata.name}`);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('a label that several values have is there once: the nearest one, and never instead of what the chart chooses by', () => {
    const set = [
      'commonLabels.team=all',
      'commonLabels.app\\.kubernetes\\.io/component=all',
      'podLabels.team=pods',
      'podLabels.app\\.kubernetes\\.io/name=other',
      'exposure.labels.team=service',
      'metrics.podMonitor.enabled=true',
      'metrics.podMonitor.labels.team=monitor',
      'controller.mode=deployment',
    ];
    const text = execFileSync(helm, args('default', set.flatMap((s) => ['--set', s])), { encoding: 'utf8' });
    expect(parseAllDocuments(text).flatMap((d) => d.errors.map((e) => e.message))).toEqual([]);
    const documents = read(text);
    expect(one(documents, 'Service', 'spooky').metadata.labels).toMatchObject({ team: 'service', 'app.kubernetes.io/component': 'edge' });
    expect(one(documents, 'PodMonitor', 'spooky').metadata.labels).toMatchObject({ team: 'monitor' });
    expect(one(documents, 'ClusterRole', 'spooky-reader').metadata.labels).toMatchObject({ team: 'all' });
    for (const [kind, name, component] of [['DaemonSet', 'spooky', 'edge'], ['Deployment', 'spooky-controller', 'controller']] as const) {
      const { metadata, spec } = one(documents, kind, name);
      expect(metadata.labels).toMatchObject({ team: 'all', 'app.kubernetes.io/component': component });
      expect(at(spec, 'template', 'metadata', 'labels')).toMatchObject({ ...(at(spec, 'selector', 'matchLabels') as Json), team: 'pods' });
    }
  });

  test.each(NAMES)('%s: serve understands its flags', (name) => {
    const pods = render(name).filter((d) => d.kind === 'DaemonSet' || d.kind === 'Deployment');
    for (const d of pods) {
      const flags = flagsOf(at(d.spec, 'template', 'spec') as Json).map((f) => f.replace('$(NODE_NAME)', 'node1'));
      expect(flags[0]).toBe('serve');
      const given = parseArguments(flags.slice(1), serve.options);
      if (!given.ok) throw new Error(given.error);
      const settings = readServeSettings({
        flags: new Map(serve.options.flatMap((o) => (given.value.has(o.flag) ? [[o.flag, given.value.value(o.flag) ?? ''] as const] : []))),
        env: {},
        document: null,
      });
      expect([d.kind, settings.ok ? [] : settings.error]).toEqual([d.kind, []]);
      if (settings.ok) expect(settings.value.cluster?.role).toBe(d.kind === 'Deployment' ? 'controller' : name === 'split' ? 'edge' : 'all');
    }
  });

  test.each(NAMES.filter((name) => name !== 'hostport' && name !== 'hostnetwork'))('%s: its pods fit the level restricted', (name) => {
    const pods = render(name).flatMap((d) => (d.kind === 'Pod' ? [d.spec as Json] : d.kind === 'DaemonSet' || d.kind === 'Deployment' ? [at(d.spec, 'template', 'spec') as Json] : []));
    expect(pods.length).toBeGreaterThan(1);
    for (const pod of pods) {
      expect(pod['securityContext']).toMatchObject({ runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } });
      expect([pod['hostNetwork'], pod['hostPID'], pod['hostIPC']]).toEqual([undefined, undefined, undefined]);
      for (const c of pod['containers'] as Json[]) {
        expect(c['securityContext']).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } });
        expect(at(c, 'securityContext', 'capabilities', 'add')).toBeUndefined();
        for (const port of (c['ports'] ?? []) as Json[]) expect(port['hostPort']).toBeUndefined();
      }
    }
  });

  test('default: a DaemonSet behind a UDP NodePort', () => {
    const documents = render('default');
    expect(at(one(documents, 'Service', 'spooky').spec)).toEqual({
      type: 'NodePort',
      externalTrafficPolicy: 'Local',
      ipFamilyPolicy: 'PreferDualStack',
      selector: { 'app.kubernetes.io/name': 'spooky', 'app.kubernetes.io/instance': 'spooky', 'app.kubernetes.io/component': 'edge' },
      ports: [{ name: 'https', protocol: 'UDP', port: 443, targetPort: 8443, nodePort: 30443 }],
    });
    const { spec } = one(documents, 'DaemonSet', 'spooky');
    expect([at(spec, 'updateStrategy'), at(spec, 'minReadySeconds')]).toEqual([{ type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } }, 0]);
    const pod = podOf(documents);
    expect(pod).toMatchObject({ terminationGracePeriodSeconds: 75, serviceAccountName: 'spooky', nodeSelector: { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' } });
    expect(flagsOf(pod)).toEqual([
      'serve',
      '--kubernetes',
      '--class=spooky',
      '--secret-namespaces=spooky-system',
      '--ports=8443',
      '--publish-service=spooky-system/spooky',
      '--metrics-detail=upstream',
      '--admin=127.0.0.1:9902',
      '--log-level=info',
      '--log-format=json',
      '--metrics=[::]:9901',
      '--node-name=$(NODE_NAME)',
      '--engine=native',
      '--workers=1',
      '--runtime-dir=/run/spooky',
      '--max-connections=2330',
      '--udp-receive-buffer=8Mi',
      '--udp-send-buffer=8Mi',
      '--drain-delay=10s',
      '--drain-timeout=60s',
      '--access-log=errors',
    ]);
    expect([...environmentOf(pod)]).toEqual([
      ['POD_NAME', 'metadata.name'],
      ['POD_NAMESPACE', 'metadata.namespace'],
      ['POD_UID', 'metadata.uid'],
      ['POD_IPS', 'status.podIPs'],
      ['HOST_IPS', 'status.hostIPs'],
      ['NODE_NAME', 'spec.nodeName'],
      ['POD_ZONE', "metadata.labels['topology.kubernetes.io/zone']"],
      ['NODE_OPTIONS', '--max-old-space-size=153'],
    ]);
    const probe = (path: string, periodSeconds: number, failureThreshold: number, timeoutSeconds: number) => ({ httpGet: { path, port: 'metrics' }, periodSeconds, failureThreshold, timeoutSeconds });
    expect(containerOf(pod)).toMatchObject({
      image: `localhost/spooky:0.5.0`,
      imagePullPolicy: 'IfNotPresent',
      ports: [
        { name: 'https', containerPort: 8443, protocol: 'UDP' },
        { name: 'metrics', containerPort: 9901, protocol: 'TCP' },
      ],
      startupProbe: probe('/healthz', 1, 60, 2),
      readinessProbe: probe('/readyz', 2, 2, 2),
      livenessProbe: probe('/healthz', 10, 6, 5),
    });
    expect([pod['volumes'], containerOf(pod)['volumeMounts']]).toEqual([[RUNTIME.volume], [RUNTIME.mount]]);
    expect(one(documents, 'Service', 'spooky-metrics').spec).toMatchObject({ clusterIP: 'None', ports: [{ name: 'metrics', port: 9901, targetPort: 'metrics', protocol: 'TCP' }] });
  });

  test.each<[string, readonly string[], string, string | undefined]>([
    ['no limit: whole cores of the request', ['resources.requests.cpu=2900m'], '--workers=2', '--max-old-space-size=102'],
    ['less than one core', ['resources.requests.cpu=100m'], '--workers=1', '--max-old-space-size=153'],
    ['a limit: what the process makes of it, and memory for as many', ['resources.limits.cpu=1500m'], '--workers=auto', '--max-old-space-size=102'],
    ['a limit in cores', ['resources.limits.cpu=2'], '--workers=auto', '--max-old-space-size=102'],
    ['a small limit', ['resources.limits.cpu=200m'], '--workers=auto', '--max-old-space-size=153'],
    ['no limits', ['resources.limits=null'], '--workers=1', undefined],
    ['no resources at all', ['resources=null', 'controller.mode=deployment', 'controller.resources=null'], '--workers=1', undefined],
    ['a number has the last word', ['resources.limits.cpu=4', 'workers=1'], '--workers=1', '--max-old-space-size=153'],
  ])('workers: %s', (_, values, workers, heap) => {
    const pod = podOf(render('default', ...values.flatMap((v) => ['--set', v])));
    expect(flagsOf(pod).filter((f) => f.startsWith('--workers'))).toEqual([workers]);
    expect(environmentOf(pod).get('NODE_OPTIONS')).toBe(heap);
  });

  test('loadBalancer: its fields, workers and memory from the resources, a drain of odd length', () => {
    const documents = render('loadbalancer');
    const service = one(documents, 'Service', 'spooky');
    expect(service.metadata).toMatchObject({ annotations: { 'example.com/kind': 'udp' }, labels: { team: 'edge' } });
    expect(service.spec).toMatchObject({
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      allocateLoadBalancerNodePorts: false,
      loadBalancerClass: 'example.com/lb',
      loadBalancerSourceRanges: ['192.0.2.0/24'],
      healthCheckNodePort: 32000,
      ports: [
        { name: 'https', protocol: 'UDP', port: 443, targetPort: 8443 },
        { name: 'alt', protocol: 'UDP', port: 8443, targetPort: 9443 },
      ],
    });
    expect((at(service.spec, 'ports') as Json[]).map((p) => p['nodePort'])).toEqual([undefined, undefined]);
    const pod = podOf(documents);
    // 2048 - 128 - 2 * 80 = 1760 Mi; 1760 * 0.768 = 1351 tens of connections.
    expect(flagsOf(pod)).toEqual(expect.arrayContaining(['--workers=2', '--max-connections=13510', '--ports=8443,9443', '--drain-delay=1500ms', '--drain-timeout=1m30s']));
    expect(environmentOf(pod).get('NODE_OPTIONS')).toBe('--max-old-space-size=409');
    // 91.5 s, rounded up, and 5.
    expect(pod['terminationGracePeriodSeconds']).toBe(97);
    expect(at(one(documents, 'DaemonSet', 'spooky').spec, 'template', 'metadata', 'annotations')).toEqual({
      'prometheus.io/scrape': 'true',
      'prometheus.io/port': '9901',
      'prometheus.io/path': '/metrics',
    });
  });

  test('hostPort: no room for two pods, a Service inside', () => {
    const documents = render('hostport');
    expect(one(documents, 'Service', 'spooky').spec).toMatchObject({ type: 'ClusterIP', ports: [{ name: 'https', protocol: 'UDP', port: 443, targetPort: 8443 }] });
    const { spec } = one(documents, 'DaemonSet', 'spooky');
    expect(at(spec, 'updateStrategy', 'rollingUpdate')).toEqual({ maxSurge: 0, maxUnavailable: '10%' });
    const pod = podOf(documents);
    expect(pod).toMatchObject({ priorityClassName: 'system-cluster-critical', tolerations: [{ operator: 'Exists' }] });
    expect(at(containerOf(pod), 'ports', 0)).toEqual({ name: 'https', containerPort: 8443, hostPort: 443, protocol: 'UDP' });
    expect(flagsOf(pod)).toEqual(expect.arrayContaining(['--publish-service=spooky-system/spooky', '--publish-node-addresses']));
    expect(rights(documents, 'spooky')).toContain('* core/nodes: list,watch');
  });

  test('hostNetwork: the node’s port 443 by user 0 with one capability', () => {
    const documents = render('hostnetwork');
    const pod = podOf(documents);
    expect(pod).toMatchObject({ hostNetwork: true, dnsPolicy: 'ClusterFirstWithHostNet', securityContext: { runAsNonRoot: false, runAsUser: 0, seccompProfile: { type: 'RuntimeDefault' } } });
    const container = containerOf(pod);
    expect(container['securityContext']).toEqual({
      allowPrivilegeEscalation: false,
      privileged: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_BIND_SERVICE'] },
    });
    expect(container['ports']).toEqual([
      { name: 'https', containerPort: 443, hostPort: 443, protocol: 'UDP' },
      { name: 'metrics', containerPort: 9901, hostPort: 9901, protocol: 'TCP' },
    ]);
    expect(at(container, 'readinessProbe', 'httpGet')).toEqual({ path: '/readyz', port: 'metrics', host: '127.0.0.1' });
    expect(flagsOf(pod)).toEqual(expect.arrayContaining(['--metrics=127.0.0.1:9901', '--admin=off', '--topology=node', '--ports=443', '--key-file=/etc/spooky/key/key']));
    expect(pod['volumes']).toEqual([RUNTIME.volume, { name: 'key', secret: { secretName: 'shared', defaultMode: 0o440, items: [{ key: 'quic', path: 'key' }] } }]);
    expect(container['volumeMounts']).toEqual([RUNTIME.mount, { name: 'key', mountPath: '/etc/spooky/key', readOnly: true }]);
    expect(at(one(documents, 'DaemonSet', 'spooky').spec, 'updateStrategy', 'rollingUpdate')).toEqual({ maxSurge: 0, maxUnavailable: 1 });
    expect(one(documents, 'Service', 'spooky').spec).toMatchObject({ type: 'ClusterIP', ports: [{ port: 443, targetPort: 443 }] });
    expect(rights(documents, 'spooky')).toContain('* core/nodes: list,watch');
    // Its test runs as everybody else's.
    expect(one(documents, 'Pod', 'spooky-test').spec).toMatchObject({ securityContext: { runAsNonRoot: true, runAsUser: 65532 } });
  });

  test('lists and maps whose lines a file of values has commented out are empty', () => {
    const empty = (value: unknown): boolean => typeof value === 'object' && value !== null && Object.keys(value).length === 0;
    const without = (value: unknown): unknown =>
      empty(value) ? null : typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, without(v)])) : value;
    const values = without(parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')));
    expect(values).toMatchObject({ commonLabels: null, secrets: { namespaces: null }, exposure: { labels: null } });
    const text = execFileSync(helm, [...args('default', []), '--values=-'], { encoding: 'utf8', input: JSON.stringify(values) });
    expect(read(text)).toEqual(render('default'));
  });

  test('to the split and back, pods that wait for their turn keep their account and what they may read', () => {
    const [before, after] = [render('default'), render('default', '--set=controller.mode=deployment')];
    const account = podOf(before)['serviceAccountName'] as string;
    expect(podOf(after)['serviceAccountName']).toBe(account);
    one(after, 'ServiceAccount', account);
    const read = (documents: readonly Manifest[]): string[] => rights(documents, account).filter((right) => /: (?:get|list,watch)$/.test(right));
    expect(read(before).length).toBeGreaterThan(6);
    expect(read(after)).toEqual(read(before));
  });

  test('the split: pods with traffic write nothing', () => {
    const documents = render('split');
    const reads = [
      '* apiextensions.k8s.io/customresourcedefinitions[listeners.spooky.dev,upstreams.spooky.dev]: get',
      '* core/namespaces: list,watch',
      '* core/services: list,watch',
      '* discovery.k8s.io/endpointslices: list,watch',
      '* gateway.networking.k8s.io/referencegrants: list,watch',
      '* spooky.dev/listeners: list,watch',
      '* spooky.dev/upstreams: list,watch',
      'spooky-system core/configmaps: list,watch',
      'spooky-system core/secrets: list,watch',
    ];
    const writes = [
      '* events.k8s.io/events: create,patch',
      '* spooky.dev/listeners/status: patch',
      '* spooky.dev/upstreams/status: patch',
      'spooky-system coordination.k8s.io/leases: create',
      'spooky-system coordination.k8s.io/leases[spooky-leader]: get,update',
    ];
    expect(rights(documents, 'spooky')).toEqual(reads);
    expect(rights(documents, 'spooky-controller')).toEqual([...reads, ...writes].sort());
    expect(podOf(documents)['serviceAccountName']).toBe('spooky');
    expect(flagsOf(podOf(documents))).toContain('--role=edge');
    const controller = podOf(documents, 'Deployment', 'spooky-controller');
    expect(controller['serviceAccountName']).toBe('spooky-controller');
    expect(controller).toMatchObject({ dnsPolicy: 'Default', topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'topology.kubernetes.io/zone', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: { matchLabels: { 'app.kubernetes.io/name': 'spooky', 'app.kubernetes.io/instance': 'spooky', 'app.kubernetes.io/component': 'controller' } } }] });
    expect(flagsOf(controller)).toEqual(expect.arrayContaining(['--role=controller', '--metrics=[::]:9901', '--secret-namespaces=spooky-system']));
    expect(flagsOf(controller).some((f) => f.startsWith('--workers') || f.startsWith('--key-file'))).toBe(false);
    expect(one(documents, 'PodDisruptionBudget', 'spooky-controller').spec).toMatchObject({ maxUnavailable: 1 });
    expect(documents.some((d) => d.metadata.name === 'spooky-edit' || d.metadata.name === 'spooky-view')).toBe(false);
    // Selectors must not take the other's pods.
    expect(at(one(documents, 'Service', 'spooky').spec, 'selector', 'app.kubernetes.io/component')).toBe('edge');
    expect(at(one(documents, 'DaemonSet', 'spooky').spec, 'selector', 'matchLabels', 'app.kubernetes.io/component')).toBe('edge');
    const scrape = { ports: [{ protocol: 'TCP', port: 9901 }], from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } } }] };
    expect(one(documents, 'NetworkPolicy', 'spooky').spec).toMatchObject({ policyTypes: ['Ingress'], ingress: [{ ports: [{ protocol: 'UDP', port: 8443 }] }, scrape] });
    expect(one(documents, 'NetworkPolicy', 'spooky-controller').spec).toMatchObject({ policyTypes: ['Ingress'], ingress: [scrape] });
  });

  test('tenants: rights in the namespaces that are watched, Secrets where they are opted in, a Lease by class', () => {
    const documents = render('tenants');
    const inEach = (rule: string): string[] => ['shop', 'spooky-system', 'web'].map((n) => `${n} ${rule}`);
    expect(rights(documents, 'spooky')).toEqual(
      [
        '* apiextensions.k8s.io/customresourcedefinitions[listeners.spooky.dev,upstreams.spooky.dev]: get',
        '* core/namespaces: list,watch',
        ...inEach('core/services: list,watch'),
        ...inEach('discovery.k8s.io/endpointslices: list,watch'),
        ...inEach('gateway.networking.k8s.io/referencegrants: list,watch'),
        ...inEach('spooky.dev/listeners: list,watch'),
        ...inEach('spooky.dev/upstreams: list,watch'),
        ...inEach('spooky.dev/listeners/status: patch'),
        ...inEach('spooky.dev/upstreams/status: patch'),
        ...inEach('events.k8s.io/events: create,patch'),
        ...['spooky-system', 'shop'].flatMap((n) => [`${n} core/configmaps: list,watch`, `${n} core/secrets: list,watch`]),
        'spooky-system coordination.k8s.io/leases: create',
        'spooky-system coordination.k8s.io/leases[team-one-2b8e16e7-leader]: get,update',
      ].sort(),
    );
    expect(flagsOf(podOf(documents))).toEqual(
      expect.arrayContaining([
        '--class=Team.One',
        '--namespaces=spooky-system,web,shop',
        '--listener-namespaces=spooky-system,web',
        '--secret-namespaces=spooky-system,shop',
        '--publish-addresses=192.0.2.1,edge.example.com',
        '--allow-address-backends',
        '--endpoint-deny=10.0.0.0/8',
      ]),
    );
    expect(documents.some((d) => d.kind === 'CustomResourceDefinition')).toBe(false);
    expect(rights(documents, 'spooky-test')).toEqual([
      'spooky-system core/services[spooky]: get',
      'spooky-system discovery.k8s.io/endpointslices: list',
      'spooky-system spooky.dev/listeners: list',
      'web spooky.dev/listeners: list',
    ]);
  });

  test('everything else that can be said', () => {
    const documents = render('everything');
    const set = one(documents, 'DaemonSet', 'front');
    expect(set.metadata).toMatchObject({ labels: { 'app.kubernetes.io/name': 'edge', cost: 'edge' }, annotations: { 'example.com/owner': 'platform' } });
    expect([at(set.spec, 'updateStrategy'), at(set.spec, 'revisionHistoryLimit')]).toEqual([{ type: 'OnDelete' }, 3]);
    expect(at(set.spec, 'template', 'metadata')).toMatchObject({ labels: { cost: 'edge', tier: 'front' }, annotations: { 'example.com/note': 'here' } });
    const pod = podOf(documents, 'DaemonSet', 'front');
    expect(pod).toMatchObject({
      imagePullSecrets: [{ name: 'registry' }],
      nodeSelector: { 'node-role.kubernetes.io/edge': '' },
      dnsPolicy: 'Default',
      dnsConfig: { options: [{ name: 'ndots', value: '2' }] },
      hostAliases: [{ ip: '10.0.0.1', hostnames: ['registry'] }],
      initContainers: [{ name: 'before', image: 'busybox' }],
      containers: [{ name: 'spooky' }, { name: 'beside', image: 'busybox' }],
      securityContext: { fsGroup: 1000, runAsUser: 65532 },
    });
    const container = containerOf(pod);
    const image = `registry.example.com/spooky@sha256:${'0123456789abcdef'.repeat(4)}`;
    expect(container).toMatchObject({ image, imagePullPolicy: 'Always', securityContext: { runAsGroup: 1000, readOnlyRootFilesystem: true }, envFrom: [{ configMapRef: { name: 'more', optional: true } }] });
    expect(flagsOf(pod)).toEqual(
      expect.arrayContaining([
        '--secret-namespaces=all',
        '--listener-namespaces=all',
        '--workers=3',
        '--max-connections=500',
        '--admin-token-file=/etc/spooky/admin/token',
        '--log-level=debug',
        '--log-format=plain',
        '--access-log=off',
        '--engine=auto',
        '--udp-receive-buffer=4Mi',
        '--udp-send-buffer=2Mi',
        '--log-file=/logs/spooky.log',
      ]),
    );
    // 1500M are 1430 Mi.
    expect(environmentOf(pod).get('NODE_OPTIONS')).toBe('--max-old-space-size=214 --stack-trace-limit=20');
    expect(environmentOf(pod).get('TZ')).toBe('UTC');
    expect((pod['volumes'] as Json[]).map((v) => v['name'])).toEqual(['runtime', 'admin-token', 'logs']);
    expect((container['volumeMounts'] as Json[]).map((v) => v['mountPath'])).toEqual(['/run/spooky', '/etc/spooky/admin', '/logs']);
    expect(one(documents, 'Service', 'front').spec).toMatchObject({ externalTrafficPolicy: 'Cluster', ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6'], externalIPs: ['192.0.2.9'] });
    expect(one(documents, 'NetworkPolicy', 'front').spec).toMatchObject({ policyTypes: ['Ingress', 'Egress'], egress: [{}] });
    expect(one(documents, 'ServiceAccount', 'front').metadata.annotations).toEqual({ 'example.com/role': 'edge', 'example.com/owner': 'platform' });
    expect(rights(documents, 'front')).toEqual(expect.arrayContaining(['* core/configmaps: list,watch', '* core/secrets: list,watch']));
    const probe = one(documents, 'Pod', 'front-test');
    expect(probe.metadata.annotations).toMatchObject({ 'helm.sh/hook': 'test', 'example.com/test': 'yes' });
    expect(containerOf(probe.spec as Json)).toMatchObject({
      image,
      imagePullPolicy: 'Always',
      args: ['probe', '--kubernetes', '--service=spooky-system/front', '--class=spooky', '--namespaces=all', '--wait=30s', '--hostname=www.example.com'],
    });
    expect(rights(documents, 'front-test')).toContain('* spooky.dev/listeners: list');
  });

  test('an uninstall takes the Lease that the pods made', () => {
    const lease = one(render('tenants'), 'Lease', 'team-one-2b8e16e7-leader');
    expect(lease.metadata).toMatchObject({
      namespace: 'spooky-system',
      annotations: { 'helm.sh/hook': 'post-delete', 'helm.sh/hook-delete-policy': 'before-hook-creation,hook-succeeded,hook-failed' },
    });
    // An earlier deletion would be undone by pods that still may.
    expect(render('tenants').filter((d) => /delete/.test(d.metadata.annotations?.['helm.sh/hook'] ?? '')).length).toBe(1);
  });

  test('aggregated roles: editors write, viewers read, nobody writes a status', () => {
    const documents = render('default');
    const verbs = (name: string) => [one(documents, 'ClusterRole', name).rules, Object.keys(one(documents, 'ClusterRole', name).metadata.labels ?? {}).filter((l) => l.includes('aggregate'))];
    const both = { apiGroups: ['spooky.dev'], resources: ['listeners', 'upstreams'] };
    const to = (role: string): string => `rbac.authorization.k8s.io/aggregate-to-${role}`;
    expect(verbs('spooky-edit')).toEqual([[{ ...both, verbs: ['create', 'delete', 'deletecollection', 'patch', 'update'] }], [to('admin'), to('edit')]]);
    expect(verbs('spooky-view')).toEqual([[{ ...both, verbs: ['get', 'list', 'watch'] }], [to('admin'), to('edit'), to('view')]]);
  });

  test('monitors: for the one Prometheus that is meant', () => {
    const documents = render('monitors');
    expect(one(documents, 'PodMonitor', 'spooky')).toMatchObject({ metadata: { labels: { release: 'prometheus' } }, spec: { podMetricsEndpoints: [{ port: 'metrics', path: '/metrics', interval: '15s' }] } });
    expect(one(documents, 'ServiceMonitor', 'spooky').spec).toMatchObject({ selector: { matchLabels: { 'app.kubernetes.io/component': 'metrics' } }, endpoints: [{ port: 'metrics', path: '/metrics' }] });
  });

  test('monitors: their job is called as the alerts call it', () => {
    const documents = render('monitors');
    const alert = readFileSync(join(ROOT, 'docs/operate/metrics.md'), 'utf8').match(/up\{job="(\w+)"\}/)?.[1];
    const jobOf = (kind: string, labels: unknown) => at(labels, String((one(documents, kind, 'spooky').spec as Json)['jobLabel']));
    expect(jobOf('PodMonitor', at(one(documents, 'DaemonSet', 'spooky').spec, 'template', 'metadata', 'labels'))).toBe(alert);
    expect(jobOf('ServiceMonitor', one(documents, 'Service', 'spooky-metrics').metadata.labels)).toBe(alert);
  });

  test('monitors come by themselves where their kind is installed', () => {
    const kinds = (...more: string[]) => render('default', ...more).map((d) => d.kind).filter((k) => k.endsWith('Monitor'));
    expect(kinds()).toEqual([]);
    expect(kinds('--api-versions', 'monitoring.coreos.com/v1/PodMonitor', '--api-versions', 'monitoring.coreos.com/v1/ServiceMonitor')).toEqual(['PodMonitor']);
    expect(kinds('--set', 'metrics.podMonitor.enabled=false,metrics.serviceMonitor.enabled=auto', '--api-versions', 'monitoring.coreos.com/v1/ServiceMonitor')).toEqual(['ServiceMonitor']);
    // The operator brings both kinds: a pod that is scraped twice is counted twice.
    const both = ['--api-versions', 'monitoring.coreos.com/v1/PodMonitor', '--api-versions', 'monitoring.coreos.com/v1/ServiceMonitor'];
    for (const enabled of ['true', 'auto']) expect(kinds('--set', `metrics.serviceMonitor.enabled=${enabled}`, ...both)).toEqual(['ServiceMonitor']);
    expect(kinds('--set', 'metrics.serviceMonitor.enabled=auto,metrics.service.enabled=false', ...both)).toEqual(['PodMonitor']);
    expect(refusal('metrics.serviceMonitor.enabled=true', 'metrics.service.enabled=false')).toContain('metrics.serviceMonitor.enabled: needs metrics.service.enabled');
  });

  test.each<[string, unknown, unknown]>([
    ['updateStrategy.maxUnavailable=1', 0, 1],
    ['updateStrategy.maxUnavailable=10%', 0, '10%'],
    ['updateStrategy.maxUnavailable=0', 1, 0],
    ['updateStrategy.maxSurge=0', 0, 1],
    ['updateStrategy.maxSurge=50%', '50%', 0],
    ['updateStrategy.maxSurge=0,updateStrategy.maxUnavailable=2', 0, 2],
    ['exposure.type=hostPort,updateStrategy.maxSurge=0', 0, 1],
    ['exposure.type=hostPort,updateStrategy.maxUnavailable=3', 0, 3],
  ])('%s: the other one follows, since one of the two must be 0', (set, maxSurge, maxUnavailable) => {
    const { spec } = one(render('default', '--set', set), 'DaemonSet', 'spooky');
    expect(at(spec, 'updateStrategy', 'rollingUpdate')).toEqual({ maxSurge, maxUnavailable });
  });

  test('without a cluster every rendering is the same: no key is made', () => {
    const [first, second] = [1, 2].map(() => execFileSync(helm, args('default', []), { encoding: 'utf8' }));
    expect(first).toBe(second);
    expect(first).not.toContain('kind: Secret\n');
  });

  test('an older cluster is refused', () => {
    const ran = spawnSync(helm, [...args('default', []), '--kube-version', '1.32.9'], { encoding: 'utf8' });
    expect([ran.status, ran.stderr]).toEqual([1, expect.stringContaining('chart requires kubeVersion: >=1.33.0-0')]);
  });

  test.each<[string, string[], RegExp]>([
    ['an unknown value', ['replicas=3'], /additional properties 'replicas' not allowed/],
    ['an exposure that is none', ['exposure.type=ingress'], /exposure[./]type.*must be one of.*nodePort/],
    ['text for a number', ['workers=two'], /workers.*got string, want integer/],
    ['a low port', ['ports[0].name=a,ports[0].port=443,ports[0].targetPort=443'], /ports\[0\]\.targetPort: 443: a process without privileges binds 1024 and above/],
    ['a low port of the node, not asked for', ['exposure.type=hostNetwork,ports[0].name=a,ports[0].port=443,ports[0].targetPort=443'], /ports\[0\]\.targetPort: 443: ports under 1024 need exposure\.hostNetwork\.lowPorts/],
    ['the metrics port', ['ports[0].name=a,ports[0].port=443,ports[0].targetPort=9901'], /ports\[0\]\.targetPort: 9901 is metrics\.port/],
    ['the admin port', ['ports[0].name=a,ports[0].port=443,ports[0].targetPort=9902'], /ports\[0\]\.targetPort: 9902 is admin\.port/],
    ['two ports of one name', ['ports[0].name=a,ports[0].port=443,ports[0].targetPort=8443,ports[1].name=a,ports[1].port=444,ports[1].targetPort=8444'], /ports\[1\]\.name: a is there twice/],
    ['a surge without room', ['exposure.type=hostPort,updateStrategy.maxSurge=1'], /updateStrategy\.maxSurge: with exposure\.type hostPort a node has no room for two pods/],
    ['a surge beside missing pods', ['updateStrategy.maxSurge=1,updateStrategy.maxUnavailable=1'], /updateStrategy: maxSurge and maxUnavailable exclude each other: one of them must be 0/],
    ['neither a surge nor a missing pod', ['updateStrategy.maxSurge=0,updateStrategy.maxUnavailable=0%'], /updateStrategy: maxSurge and maxUnavailable are both 0: one of them must be 1 or more/],
    ['no missing pod where there is no room', ['exposure.type=hostNetwork,updateStrategy.maxUnavailable=0'], /updateStrategy\.maxUnavailable: with exposure\.type hostNetwork a pod goes before its successor comes: 1 or more/],
    ['a policy that cannot hold', ['exposure.type=hostNetwork,networkPolicy.enabled=true'], /networkPolicy\.enabled: policies do not hold/],
    ['Listeners that are not watched', ['watchNamespaces={web},listenerNamespaces={shop}'], /listenerNamespaces: shop is not among watchNamespaces/],
    ['Secrets that are not watched', ['watchNamespaces={web},secrets.namespaces={web,certs}'], /secrets\.namespaces: certs is not among watchNamespaces/],
    ['too little memory', ['resources.limits.memory=200Mi'], /resources\.limits\.memory: 200Mi is too little for 1 worker\(s\), which need 256Mi at least/],
    ['a group whose lines are all commented out', ['drain=null'], /missing property 'drain'/],
    ['a group in a group', ['exposure.hostNetwork=null'], /'.exposure': missing property 'hostNetwork'/],
    ['a choice taken away', ['exposure.type=null'], /'.exposure': missing property 'type'/],
    ['metrics that no probe reaches', ['metrics.address=127.0.0.1'], /metrics\.address: probes reach a loopback address with exposure\.type hostNetwork alone/],
  ])('%s is refused by name', (_title, set, message) => {
    expect(refusal(...set)).toMatch(message);
  });
};
for (const [name, helm] of helms) describe(name, () => suite(helm));
