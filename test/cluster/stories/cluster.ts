/** The cluster that stories run in: its administrator's programs, nodes, pods and objects. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { eventually, run } from '../../kit/process.ts';
import { temporaryFolder } from '../../kit/spooky.ts';
import { Api, type Ran } from '../api.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
export const CHART = join(ROOT, 'charts/spooky');
export const MANIFESTS = join(ROOT, 'manifests');
export const OWN = 'spooky-system';

/** The folder of the cluster: its logs, processes and switches. */
export const STATE = process.env['CLUSTER_STATE'] ?? '';
if (STATE === '' || process.env['KUBECONFIG'] !== join(STATE, 'kubeconfig'))
  throw new Error('to be run inside a cluster: test/cluster/stories/run FILE');

/** Name and tag of the image that was loaded into every node. */
export const IMAGE = process.env['SPOOKY_IMAGE'] ?? 'localhost/spooky:test';

export interface Node {
  readonly name: string;
  readonly address: string;
  readonly address6: string;
}

export const NODES: readonly Node[] = [1, 2].map((n) => ({
  name: `node${n}`,
  address: `198.18.0.${10 + n}`,
  address6: `2001:2:0:1::${10 + n}`,
}));

/** Where clients are: the address that Spooky must see. */
export const OUTSIDE = '198.18.0.1';

/** The administrator's requests and programs. */
export const api = new Api(STATE, process.env);

const output = ({ code, stdout, stderr }: Ran, said: string): string => {
  if (code !== 0) throw new Error(`${said}: ${stderr.trim()}\n${stdout}`);
  return stdout;
};

export const kubectl = async (args: readonly string[], stdin = '', timeoutMs = 120_000): Promise<string> =>
  output(await api.run('kubectl', args, { stdin, timeoutMs }), `kubectl ${args.join(' ')}`);

/** helm 3 unless told; the namespace is the installation's own. */
export const helm = async (args: readonly string[], which: 'helm' | 'helm4' = 'helm', timeoutMs = 240_000): Promise<string> =>
  output(await api.run(which, ['--namespace', OWN, ...args], { timeoutMs }), `${which} ${args.join(' ')}`);

/** Documents as YAML or as objects. Server-side, so that what is applied twice has no annotation to compare with. */
export const apply = (what: string | readonly object[]): Promise<string> =>
  kubectl(
    ['apply', '--server-side', '--force-conflicts', '-f', '-'],
    typeof what === 'string' ? what : JSON.stringify({ apiVersion: 'v1', kind: 'List', items: what }),
  );

export const getJson = async <T>(args: readonly string[]): Promise<T> => JSON.parse(await kubectl(['get', ...args, '-o', 'json'])) as T;

/** A command within a node: its network, processes and mounts. */
export const onNode = async (node: string, command: readonly string[]): Promise<string> => {
  const pid = readFileSync(join(STATE, node, 'pid'), 'utf8').trim();
  return output(toRan(await run('nsenter', ['--target', pid, '--all', ...command])), `${node}: ${command.join(' ')}`);
};

/** A command outside of the nodes, where clients are. */
export const outside = async (command: readonly string[]): Promise<string> =>
  output(toRan(await run(command[0] ?? '', command.slice(1))), command.join(' '));

const toRan = ({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }): Ran => ({
  code: code ?? 1,
  stdout,
  stderr,
});

// --- the release --------------------------------------------------------------------------------------------------------

/** The values that every installation here has. */
export const imageValues = (): object => {
  const at = IMAGE.lastIndexOf(':');
  return { image: { repository: IMAGE.slice(0, at), tag: IMAGE.slice(at + 1), pullPolicy: 'Never' } };
};

/** A file of values, with those of the image. */
export function valuesFile(values: object = {}): string {
  const file = join(temporaryFolder('spooky-values'), 'values.yaml');
  writeFileSync(file, stringify({ ...imageValues(), ...values }));
  return file;
}

let installed = '';

/**
 * As the documents say it: `helm install spooky`, and the pods are ready. Namespaces forbid what the default does not need. The pods are also
 * available, which takes `minReadySeconds` more: the controller of DaemonSets forgets a rollout that begins before (its queue keeps one time to
 * look again, the earliest; at that time the new pods are not available yet).
 */
export async function install(values: object = {}, options: { helm?: 'helm' | 'helm4'; podSecurity?: string } = {}): Promise<void> {
  await namespace(OWN, { 'pod-security.kubernetes.io/enforce': options.podSecurity ?? 'restricted' });
  installed = new Date().toISOString();
  await helm(['install', 'spooky', CHART, '--wait', '--timeout', '180s', '--values', valuesFile(values)], options.helm);
  await rolledOut('daemonset', 'spooky');
}

export const namespace = (name: string, labels: Readonly<Record<string, string>> = {}): Promise<string> =>
  apply([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }]);

/** Takes the release and whatever stories made away, and waits until it is gone: the next file begins on a clean cluster. */
export async function clean(...namespaces: readonly string[]): Promise<void> {
  await api.run('helm', ['--namespace', OWN, 'uninstall', 'spooky', '--wait', '--ignore-not-found']);
  const all = [OWN, 'demo', ...namespaces];
  await kubectl(['delete', 'namespace', ...all, '--ignore-not-found', '--wait', '--timeout', '150s'], '', 180_000);
}

/** What a controller of load balancers would say: the addresses of our Service. */
export const ingress = (...addresses: readonly object[]): Promise<string> =>
  kubectl(['--namespace', OWN, 'patch', 'service', 'spooky', '--subresource=status', '--type=merge', '-p', JSON.stringify({ status: { loadBalancer: { ingress: addresses } } })]); // prettier-ignore

// --- pods -----------------------------------------------------------------------------------------------------------------

export interface Pod {
  readonly name: string;
  readonly uid: string;
  readonly ip: string;
  readonly node: string;
  readonly ready: boolean;
  readonly going: boolean;
  readonly restarts: number;
}

interface RawPod {
  readonly metadata: { readonly name: string; readonly uid: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly { readonly restartCount: number }[];
  };
}

/** By node, those that are going last. */
export async function pods(selector = 'app.kubernetes.io/name=spooky', where = OWN): Promise<readonly Pod[]> {
  const { items } = await getJson<{ items: readonly RawPod[] }>(['pods', '--namespace', where, '--selector', selector]);
  return items
    .map(({ metadata, spec, status }) => ({
      name: metadata.name,
      uid: metadata.uid,
      ip: status.podIP ?? '',
      node: spec.nodeName ?? '',
      ready: status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false,
      going: metadata.deletionTimestamp !== undefined,
      restarts: (status.containerStatuses ?? []).reduce((sum, c) => sum + c.restartCount, 0),
    }))
    .sort((a, b) => Number(a.going) - Number(b.going) || a.node.localeCompare(b.node));
}

/** The Spooky pods that stay, one on each node and each ready. */
export const ready = (timeoutMs = 60_000): Promise<readonly Pod[]> =>
  eventually(async () => {
    const staying = (await pods()).filter((pod) => !pod.going);
    if (staying.length !== NODES.length || staying.some((pod) => !pod.ready)) throw new Error(JSON.stringify(staying));
    return staying;
  }, timeoutMs, 200); // prettier-ignore

export const rolledOut = (kind: string, name: string, where = OWN, seconds = 240): Promise<string> =>
  kubectl(['--namespace', where, 'rollout', 'status', `${kind}/${name}`, '--timeout', `${seconds}s`], '', (seconds + 10) * 1000);

// --- objects --------------------------------------------------------------------------------------------------------------

/** Every object of the cluster, as `namespace kind/name`; but events, which go by themselves, and addresses of Services, which are random. */
export async function objects(): Promise<Set<string>> {
  const kinds = (await kubectl(['api-resources', '--verbs=list,delete', '-o', 'name']))
    .split('\n')
    .filter((kind) => kind !== '' && !/^(events|ipaddresses)\b/.test(kind));
  const line = '{range .items[*]}{.metadata.namespace} {.kind}/{.metadata.name}{"\\n"}{end}';
  const all = await kubectl(['get', kinds.join(','), '--all-namespaces', '--ignore-not-found', '-o', `jsonpath=${line}`]);
  return new Set(all.split('\n').filter((text) => text !== ''));
}

interface Audited {
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly responseStatus?: { readonly code: number };
  readonly requestReceivedTimestamp: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A server that has just started knows no role yet, not even its own, and refuses everything for a moment. */
const knowsNoRoles = ({ annotations }: Audited): boolean =>
  (annotations?.['authorization.k8s.io/reason'] ?? '').includes('"system:basic-user" not found');

/** What the API server has answered ServiceAccounts of a namespace. */
export const audited = (where = OWN): readonly Audited[] =>
  readFileSync(join(STATE, 'log/audit.log'), 'utf8')
    .split('\n')
    .filter((line) => line.includes(`system:serviceaccount:${where}:`))
    .map((line) => JSON.parse(line) as Audited);

/** What it has refused them since `install`, as `403 verb path`: a release that is taken away loses its rights before its pods. */
export const forbidden = (where = OWN): readonly string[] =>
  audited(where)
    .filter(({ requestReceivedTimestamp }) => requestReceivedTimestamp >= installed)
    .filter((request) => [401, 403].includes(request.responseStatus?.code ?? 0) && !knowsNoRoles(request))
    .map(({ responseStatus, verb, requestURI, user }) => `${responseStatus?.code} ${user.username} ${verb} ${requestURI}`);
