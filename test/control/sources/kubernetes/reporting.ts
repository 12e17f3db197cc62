/** Pods that report to an API server, the fake or a real one, each with a name, a source and as many rights as the chart gives for it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import type { ObjectStatus } from '../../../../src/control/compile/index.ts';
import { Leader, leaseName } from '../../../../src/control/leader.ts';
import type { ApiAnswer, ApiRequest, KubeApi } from '../../../../src/control/sources/kubernetes/api.ts';
import { createClient } from '../../../../src/control/sources/kubernetes/client.ts';
import { loadCredentials, type Credentials } from '../../../../src/control/sources/kubernetes/credentials.ts';
import { createLeaseClient } from '../../../../src/control/sources/kubernetes/leases.ts';
import { createKubernetesSource, type KubernetesSource } from '../../../../src/control/sources/kubernetes/source.ts';
import { createStatusClient } from '../../../../src/control/sources/kubernetes/statusclient.ts';
import { field, listField } from '../../../../src/control/status/conditions.ts';
import { Reporter } from '../../../../src/control/status/reporter.ts';
import type { StatusClient } from '../../../../src/control/status/client.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { createLog } from '../../../../src/lib/log.ts';
import { startApiServer } from '../../../kit/apiserver/index.ts';
import { installation } from './story.ts';

export interface Server {
  readonly admin: KubeApi;
  /** Who may do these things and nothing else. */
  limited(rules: readonly Rule[]): Promise<KubeApi>;
  stop(): Promise<void>;
}

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

const quiet = createLog({ level: 'off', format: 'json', write: () => undefined, wall: () => 0 });

async function apiFrom(kubeconfig: string): Promise<KubeApi> {
  const credentials = await loadCredentials({ kubeconfig, context: null, env: {} });
  if (!credentials.ok) throw new Error(credentials.error);
  return createClient({ credentials: credentials.value, clock: systemClock, log: quiet, userAgent: 'spooky/test' });
}

export async function fakeServer(): Promise<Server> {
  const fake = await startApiServer();
  const opened: KubeApi[] = [];
  const open = async (token: string): Promise<KubeApi> => {
    const api = await apiFrom(fake.kubeconfig(token));
    opened.push(api);
    return api;
  };
  return {
    admin: await open(fake.token),
    limited: (rules) => open(fake.rules(rules)),
    stop: async () => {
      for (const api of opened) api.close();
      await fake.stop();
    },
  };
}

const CRDS = resolve(import.meta.dirname, '../../../../crds');

/** Of which we are the administrator. */
export async function realServer(kubeconfig: string): Promise<Server> {
  const admin = await apiFrom(kubeconfig);
  const opened = [admin];
  for (const file of readdirSync(CRDS)) {
    const body = parse(readFileSync(join(CRDS, file), 'utf8')) as unknown;
    await admin.request({ method: 'POST', path: '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', body });
  }
  for (const plural of ['listeners', 'upstreams']) {
    await until(async () => (await admin.request({ method: 'GET', path: `/apis/spooky.dev/v1alpha1/${plural}` })).ok);
  }
  return {
    admin,
    limited: async (rules) => {
      const impersonated = `tester-${Math.random().toString(36).slice(2)}`;
      const rbac = '/apis/rbac.authorization.k8s.io/v1';
      const metadata = { name: impersonated };
      await must(admin.request({ method: 'POST', path: `${rbac}/clusterroles`, body: { metadata, rules } }));
      const subjects = [{ kind: 'ServiceAccount', namespace: 'default', name: impersonated }];
      const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: impersonated };
      await must(admin.request({ method: 'POST', path: `${rbac}/clusterrolebindings`, body: { metadata, subjects, roleRef } }));
      const accounts = '/api/v1/namespaces/default/serviceaccounts';
      await must(admin.request({ method: 'POST', path: accounts, body: { metadata } }));
      const spec = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
      const issued = await must(admin.request({ method: 'POST', path: `${accounts}/${impersonated}/token`, body: spec }));
      const token = String(field(field(issued, 'status'), 'token'));
      const credentials = await loadCredentials({ kubeconfig, context: null, env: {} });
      if (!credentials.ok) throw new Error(credentials.error);
      const { value } = credentials;
      const api = createClient({ credentials: withToken(value, token), clock: systemClock, log: quiet, userAgent: 'spooky/test' });
      opened.push(api);
      return api;
    },
    stop: async () => {
      for (const api of opened) api.close();
    },
  };
}

const withToken = (credentials: Credentials, token: string): Credentials => ({
  inCluster: credentials.inCluster,
  namespace: credentials.namespace,
  access: async () => {
    const access = await credentials.access();
    return { ...access, headers: { authorization: `Bearer ${token}` } };
  },
  renew: () => credentials.renew(),
});

export async function must(answer: Promise<ApiAnswer>): Promise<unknown> {
  const got = await answer;
  if (!got.ok) throw new Error(`${got.error.kind} ${got.error.message}`);
  return got.body;
}

/** Waits for a condition, at most twenty seconds. */
export async function until(isTrue: () => boolean | Promise<boolean>, what = 'the condition', ms = 20_000): Promise<void> {
  const end = performance.now() + ms;
  while (!(await isTrue())) {
    if (performance.now() > end) throw new Error(`${what} did not come true within ${ms} ms`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export interface Call extends ApiRequest {
  readonly outcome: ApiAnswer;
}

/** The same API, with a list of what was asked. */
export function recorded(api: KubeApi): KubeApi & { readonly calls: Call[] } {
  const calls: Call[] = [];
  return {
    calls,
    async request(request) {
      const outcome = await api.request(request);
      calls.push({ ...request, outcome });
      return outcome;
    },
    stream: (path, options) => api.stream(path, options),
    close: () => undefined,
  };
}

export const rulesOf = (className: string): Rule[] => [
  { apiGroups: ['spooky.dev'], resources: ['listeners/status', 'upstreams/status'], verbs: ['patch'] },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create', 'patch'] },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create'] },
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['get', 'update'], resourceNames: [leaseName(className)] },
];

/** Short enough for a test, long enough for a busy machine. */
export const TIMES = { leaseDurationMs: 4000, renewDeadlineMs: 3000, retryPeriodMs: 400 };

export class Pod {
  readonly calls: Call[];
  readonly leader: Leader;
  readonly reporter: Reporter;
  readonly results: string[] = [];
  readonly source: KubernetesSource;

  private constructor(
    name: string,
    namespace: string,
    className: string,
    api: ReturnType<typeof recorded>,
    source: KubernetesSource,
    seen?: Seen,
  ) {
    this.calls = api.calls;
    this.source = source;
    const random = (): number => 0.5;
    const client = createStatusClient({
      api,
      className,
      instance: name,
      seen: (ref) => (seen === undefined ? source.seen(ref) : seen(source, ref)),
      held: () => [...source.held()].filter((ref) => ref.namespace === namespace),
    });
    this.leader = new Leader({
      clock: systemClock,
      random,
      log: quiet,
      client: createLeaseClient({ api, clock: systemClock, namespace, name: leaseName(className), timeoutMs: 1500 }),
      identity: name,
      onChange: (leading) => {
        if (leading) this.reporter.becameLeader();
      },
      times: TIMES,
    });
    this.reporter = new Reporter({
      clock: systemClock,
      random,
      log: quiet,
      client,
      leader: () => this.leader.isLeader(),
      className,
      endpoints: null,
      onWrite: (kind, result) => this.results.push(`${kind} ${result}`),
      onEvent: (result) => this.results.push(`event ${result}`),
      limits: { perSecond: 1000, burst: 1000, concurrency: 4 },
    });
  }

  /** One that watches, with as many rights as a controller has for what it writes. */
  static async start(server: Server, o: { name: string; namespace: string; className: string; seen?: Seen }): Promise<Pod> {
    const source = createKubernetesSource({
      api: server.admin,
      installation: installation({ className: o.className, namespace: o.namespace }),
      namespaces: [o.namespace],
      nodes: false,
      zone: null,
      nodeName: '',
      clock: systemClock,
      log: quiet,
      random: Math.random,
      hooks: { list: none, reconnect: none, event: none, error: none, heard: none, synced: none, objects: none, gone: none },
    });
    await source.start(none);
    const api = recorded(await server.limited(rulesOf(o.className)));
    return new Pod(o.name, o.namespace, o.className, api, source, o.seen);
  }

  lead(): Promise<void> {
    this.leader.start();
    return until(() => this.leader.isLeader(), 'leading');
  }

  writes(): Call[] {
    return this.calls.filter((c) => c.path.includes('/status?'));
  }

  /** Without a word to the server: as a process that is killed. */
  async vanish(): Promise<void> {
    await this.reporter.stop();
    await this.source.stop();
  }

  async stop(): Promise<void> {
    await this.reporter.stop();
    await this.leader.stop();
    await this.source.stop();
  }
}

/** What a pod sees, given its own source. */
export type Seen = (source: KubernetesSource, ...args: Parameters<StatusClient['seen']>) => ReturnType<StatusClient['seen']>;
const none = (): void => {};

/** A namespace of its own, so that a server can be shared. */
export async function freshNamespace(server: Server): Promise<string> {
  const name = `report-${Math.random().toString(36).slice(2, 10)}`;
  await must(
    server.admin.request({ method: 'POST', path: '/api/v1/namespaces', body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } } }),
  );
  return name;
}

const SPECS = {
  Listener: (className: string) => ({ className, port: 8443, tls: { certificateRefs: [{ name: 'tls' }] } }),
  Upstream: () => ({ hostnames: ['example.org'], backends: [{ service: { name: 'api', port: 80 } }] }),
};

const pluralOf = (kind: ObjectStatus['kind']): string => (kind === 'Listener' ? 'listeners' : 'upstreams');
const pathOf = (kind: ObjectStatus['kind'], namespace: string): string =>
  `/apis/spooky.dev/v1alpha1/namespaces/${namespace}/${pluralOf(kind)}`;

/** The object on the server, and what it is by. */
export async function createObject(
  server: Server,
  kind: ObjectStatus['kind'],
  namespace: string,
  name: string,
  className = 'spooky',
): Promise<{ uid: string; generation: number }> {
  const body = { apiVersion: 'spooky.dev/v1alpha1', kind, metadata: { namespace, name }, spec: SPECS[kind](className) };
  const made = await must(server.admin.request({ method: 'POST', path: pathOf(kind, namespace), body }));
  return { uid: String(field(field(made, 'metadata'), 'uid')), generation: Number(field(field(made, 'metadata'), 'generation')) };
}

export const getObject = (server: Server, kind: ObjectStatus['kind'], namespace: string, name: string): Promise<unknown> =>
  must(server.admin.request({ method: 'GET', path: `${pathOf(kind, namespace)}/${name}` }));

/** As another manager would. */
export const applyAs = (
  server: Server,
  manager: string,
  kind: ObjectStatus['kind'],
  namespace: string,
  name: string,
  status: unknown,
): Promise<unknown> =>
  must(
    server.admin.request({
      method: 'PATCH',
      path: `${pathOf(kind, namespace)}/${name}/status?fieldManager=${encodeURIComponent(manager)}&force=true`,
      body: { apiVersion: 'spooky.dev/v1alpha1', kind, metadata: { namespace, name }, status },
      contentType: 'application/apply-patch+yaml',
    }),
  );

export const eventsOf = async (server: Server, namespace: string): Promise<readonly unknown[]> =>
  listField(await must(server.admin.request({ method: 'GET', path: `/apis/events.k8s.io/v1/namespaces/${namespace}/events` })), 'items');
