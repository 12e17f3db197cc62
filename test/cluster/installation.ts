/**
 * An installation without nodes: what the chart renders is applied, and the processes that its pods would be run here, with their arguments and
 * environment, and with tokens of their ServiceAccounts.
 */
import { expect } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { Fields } from '../../src/edge/http/fields.ts';
import { fetchOnce, type H3Response } from '../../src/edge/http/h3/client.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Manifest } from '../charts/manifest.ts';
import { ENGINE } from '../kit/engine.ts';
import { ROOT } from '../kit/peers.ts';
import { Child, eventually, parseLine } from '../kit/process.ts';
import { BIN, Spooky, temporaryFolder } from '../kit/spooky.ts';
import { makeCertificate } from '../kit/x509.ts';
import type { Answer, Api } from './api.ts';

const CHART = resolve(ROOT, 'charts/spooky');
export const OWN = 'spooky-system';

/** Servers can listen on addresses that EndpointSlices take only in a network of their own. */
export const isolationMissing = (): string | null =>
  process.env['SPOOKY_ISOLATED'] === undefined ? 'to be run by test/cluster/isolated (make e2e-apiserver does)' : null;

interface PodSpec {
  readonly serviceAccountName: string;
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly env: readonly {
      readonly name: string;
      readonly value?: string;
      readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } };
    }[];
  }[];
}

export interface PodOptions {
  readonly name?: string;
  readonly node?: string;
  /** Of the DaemonSet, or of the controller's Deployment. */
  readonly of?: 'DaemonSet' | 'Deployment';
  readonly args?: readonly string[];
  readonly zone?: string;
  /** Where its metrics are, for those who ask before it is ready; a free port, which the ready line says. */
  readonly metrics?: string;
  /** Instead of the server's own address. */
  readonly server?: string;
}

export class Installation {
  readonly api: Api;
  readonly documents: readonly Manifest[];
  #started = 0;

  constructor(api: Api, documents: readonly Manifest[]) {
    this.api = api;
    this.documents = documents;
  }

  podSpec(of: 'DaemonSet' | 'Deployment'): PodSpec {
    const found = this.documents.find(({ kind }) => kind === of) as unknown as { spec: { template: { spec: PodSpec } } } | undefined;
    if (found === undefined) throw new Error(`the chart renders no ${of}`);
    return found.spec.template.spec;
  }

  /** A pod's process, once it is ready. */
  async start(options: PodOptions = {}): Promise<Spooky> {
    const { child, dir } = await this.launch(options);
    const ready = await child.waitFor('stderr', (line) => {
      const json = parseLine(line);
      return json?.['msg'] === 'ready' ? json : undefined;
    });
    return new Spooky(dir, child, ready);
  }

  async launch(options: PodOptions = {}): Promise<{ child: Child; dir: string }> {
    this.#started += 1;
    const name = options.name ?? `spooky-${this.#started}`;
    const node = options.node ?? 'node1';
    const { serviceAccountName, containers } = this.podSpec(options.of ?? 'DaemonSet');
    const fields: Readonly<Record<string, string>> = {
      'metadata.name': name,
      'metadata.namespace': OWN,
      'metadata.uid': `00000000-0000-4000-8000-${String(this.#started).padStart(12, '0')}`,
      'status.podIPs': '198.18.65.2',
      'status.hostIPs': '198.18.0.11',
      'spec.nodeName': node,
      "metadata.labels['topology.kubernetes.io/zone']": options.zone ?? '',
    };
    const { args, env } = containers[0] as PodSpec['containers'][number];
    const dir = temporaryFolder('spooky-pod');
    const given = { NODE_NAME: node } as Record<string, string>;
    for (const { name: key, value, valueFrom } of env) {
      const from = valueFrom?.fieldRef?.fieldPath;
      if (from !== undefined && fields[from] === undefined) throw new Error(`${key} is from ${from}, which is not known here`);
      given[key] = value ?? fields[from ?? ''] ?? '';
    }
    const token = await this.api.token(`${OWN}/${serviceAccountName}`);
    writeFileSync(join(dir, 'kubeconfig'), kubeconfig(this.api, token, options.server ?? this.api.url));
    const all = [
      ...args.map((arg) => here(arg, node, dir, options.metrics ?? '127.0.0.1:0')),
      '--kubeconfig',
      join(dir, 'kubeconfig'),
      ...(options.args ?? []),
    ];
    return { child: new Child(BIN, all, { cwd: dir, env: given }), dir };
  }
}

/** An argument of the chart, with what is of a pod alone replaced: ports that others may have, files of volumes. */
function here(arg: string, node: string, dir: string, metrics: string): string {
  if (arg.startsWith('--runtime-dir=')) return `--runtime-dir=${dir}`;
  if (arg.startsWith('--metrics=')) return `--metrics=${metrics}`;
  if (arg.startsWith('--admin=')) return '--admin=127.0.0.1:0';
  if (arg.startsWith('--log-format=')) return '--log-format=json';
  return arg.replaceAll('$(NODE_NAME)', node);
}

const kubeconfig = (api: Api, token: string, server: string): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': Buffer.from(api.ca).toString('base64') } }],
    users: [{ name: 'u', user: { token } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: OWN } }],
    'current-context': 'x',
  });

/** Applies what the chart renders with these values: all but the pods of `helm test`. */
export async function install(api: Api, values: object = {}): Promise<Installation> {
  const file = join(temporaryFolder('spooky-values'), 'values.yaml');
  writeFileSync(file, stringify(values));
  const { code, stdout, stderr } = await api.run('helm', ['template', 'spooky', CHART, '--namespace', OWN, '--kube-version', '1.36', '--skip-tests', '--values', file]); // prettier-ignore
  if (code !== 0) throw new Error(`helm template: ${stderr}`);
  await api.namespace(OWN, { 'pod-security.kubernetes.io/enforce': 'restricted' });
  await api.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], stdout);
  const documents = parseAllDocuments(stdout).flatMap((d) => (d.contents === null ? [] : [d.toJS() as Manifest]));
  return new Installation(api, documents);
}

// --- what users and other controllers write -----------------------------------------------------------------------------

const authority = makeCertificate({ subject: 'installation test CA', ca: true });

export const tlsSecret = (namespace: string, name: string, hosts: readonly string[]): object => {
  const leaf = makeCertificate({ names: hosts.map((host) => `DNS:${host}`), issuer: authority });
  const data = { 'tls.crt': Buffer.from(leaf.chain).toString('base64'), 'tls.key': Buffer.from(leaf.key).toString('base64') };
  return { apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, type: 'kubernetes.io/tls', data };
};

export const listener = (spec: object = {}, name = 'public', namespace = OWN): object => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Listener',
  metadata: { namespace, name },
  spec: { port: 8443, tls: { certificateRefs: [{ name: 'edge-tls' }] }, allowedNamespaces: { from: 'All' }, ...spec },
});

/** What every story begins with: a Listener for example.com and its certificate. */
export const entrance = (): object[] => [tlsSecret(OWN, 'edge-tls', ['*.example.com']), listener()];

export const upstream = (namespace: string, name: string, host: string, service: object, more: object = {}): object => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: { namespace, name },
  spec: { hostnames: [host], backends: [{ service }], ...more },
});

/** A Service with one slice, as kube-controller-manager would have written it. */
export const service = (namespace: string, name: string, addresses: readonly string[], port = 7001): object[] => [
  { apiVersion: 'v1', kind: 'Service', metadata: { namespace, name }, spec: { selector: { app: name }, ports: [{ name: 'http', port }] } },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ name: 'http', port, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true, serving: true, terminating: false } })),
  },
];

export const grant = (namespace: string, from: string, kind: 'Service' | 'Secret' = 'Service'): object => ({
  apiVersion: 'gateway.networking.k8s.io/v1beta1',
  kind: 'ReferenceGrant',
  metadata: { namespace, name: `from-${from}` },
  spec: { from: [{ group: 'spooky.dev', kind: 'Upstream', namespace: from }], to: [{ group: '', kind }] },
});

export const apply = (api: Api, ...documents: readonly object[]): Promise<string> =>
  api.kubectl(
    ['apply', '--server-side', '--force-conflicts', '-f', '-'],
    JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents }),
  );

// --- what is read back ----------------------------------------------------------------------------------------------------

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration: number;
  readonly lastTransitionTime: string;
}

export interface InstallationStatus {
  readonly controllerName: string;
  readonly attached?: string;
  readonly endpoints?: { readonly total: number; readonly ready: number };
  readonly conditions?: readonly Condition[];
}

export interface Read {
  readonly metadata: { readonly generation: number; readonly resourceVersion: string; readonly uid: string };
  readonly status?: {
    readonly addresses?: readonly { readonly value: string; readonly port?: number }[];
    readonly attachedUpstreams?: number;
    readonly conditions?: readonly Condition[];
    readonly installations?: readonly InstallationStatus[];
  };
}

export const objectPath = (plural: 'listeners' | 'upstreams', namespace: string, name: string): string =>
  `/apis/spooky.dev/v1alpha1/namespaces/${namespace}/${plural}/${name}`;

export async function read(api: Api, plural: 'listeners' | 'upstreams', namespace: string, name: string): Promise<Read> {
  const { status, body }: Answer = await api.request('GET', objectPath(plural, namespace, name));
  if (status !== 200) throw new Error(`${plural} ${namespace}/${name}: ${status}`);
  return body as Read;
}

/** `Accepted=True Valid` and so on, by type, of what was judged at the present generation; '' of what was not. */
export function verdicts({ metadata, status }: Read, controller = 'spooky.dev/spooky'): Record<string, string> {
  const conditions = status?.conditions ?? status?.installations?.find((i) => i.controllerName === controller)?.conditions ?? [];
  return Object.fromEntries(conditions.map((c) => [c.type, c.observedGeneration === metadata.generation ? `${c.status} ${c.reason}` : '']));
}

/** The conditions are these, soon. */
export const judged = (
  api: Api,
  plural: 'listeners' | 'upstreams',
  namespace: string,
  name: string,
  wanted: Record<string, string>,
): Promise<void> =>
  eventually(async () => {
    expect(verdicts(await read(api, plural, namespace, name))).toMatchObject(wanted);
  }, 20_000);

/** One request over HTTP/3 to the listener on this machine; certificates are not looked at. */
export const ask = (host: string, path: string, port = 8443, timeoutMs = 5000): Promise<H3Response> =>
  fetchOnce(
    ENGINE,
    { host: '127.0.0.1', port, local: null, sni: host, alpn: ['h3'], ca: null, insecure: true, handshakeMs: timeoutMs, idleMs: 30_000 },
    { method: 'GET', scheme: 'https', authority: host, path, fields: new Fields(), body: null },
    systemClock,
    timeoutMs,
  );

/** `spooky demo` on an address that a slice can name. */
export async function demo(address: string, port = 7001): Promise<Child> {
  const child = new Child(BIN, ['demo', '--listen', `${address}:${port}`]);
  const told = (line: string): true | undefined => (line.includes(`${address}:${port}`) ? true : undefined);
  await Promise.any([child.waitFor('stdout', told), child.waitFor('stderr', told)]);
  return child;
}
