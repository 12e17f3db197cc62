/** A cluster for compile, in a line or two: documents as users write them, and what else a cluster has. */
import type {
  ClusterObjects,
  Grant,
  Installation,
  ObjectMeta,
  Resource,
  ResourceSet,
  Service,
  ServicePort,
} from '../../../src/contract/resources/index.ts';
import { emptyCluster, objectKey } from '../../../src/contract/resources/index.ts';
import type { GroupPart, ListenerPart, Part, UpstreamPart } from '../../../src/contract/snapshot/index.ts';
import {
  compile,
  type Compiled,
  type Condition,
  type ConditionType,
  type Memo,
  type ObjectStatus,
} from '../../../src/control/compile/index.ts';
import type { Document } from '../../kit/documents.ts';
import { resourcesOf } from '../../kit/resources.ts';
import { makeCertificate, type Issued } from '../../kit/x509.ts';

export const installation = (over: Partial<Installation> = {}): Installation => ({
  className: 'spooky',
  namespace: 'edge',
  listenerNamespaces: new Set(),
  secretNamespaces: null,
  ports: null,
  reservedPorts: new Set([9901, 9902]),
  publishService: null,
  publishAddresses: [],
  publishNodeAddresses: false,
  allowAddressBackends: false,
  ...over,
});

const leaves = new Map<string, Issued>();

/** Made once. */
export function leaf(...names: string[]): Issued {
  const key = names.join();
  let made = leaves.get(key);
  if (made === undefined) leaves.set(key, (made = makeCertificate({ names })));
  return made;
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');

export const secret = (name: string, namespace: string, pem: { cert: string; key: string }, type = 'kubernetes.io/tls'): Document => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace },
  type,
  data: { 'tls.crt': base64(pem.cert), 'tls.key': base64(pem.key) },
});

const document = (kind: string, name: string, namespace: string, spec: object, created?: string): Document => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind,
  metadata: { name, namespace, ...(created === undefined ? {} : { creationTimestamp: created }) },
  spec: { ...spec },
});

/** `edge/public` on 8443 with the certificate of Secret `edge/site`, which takes everybody's Upstreams. */
export const listener = (spec: object = {}, name = 'public', namespace = 'edge', created?: string): Document =>
  document(
    'Listener',
    name,
    namespace,
    { port: 8443, tls: { certificateRefs: [{ name: 'site' }] }, allowedNamespaces: { from: 'All' }, ...spec },
    created,
  );

/** `web/api` for `api.example`, which goes to port http of Service `web/api`. */
export const upstream = (spec: object = {}, name = 'api', namespace = 'web', created?: string): Document =>
  document(
    'Upstream',
    name,
    namespace,
    { hostnames: ['api.example'], backends: [{ service: { name: 'api', port: 'http' } }], ...spec },
    created,
  );

export const port = (over: Partial<ServicePort> = {}): ServicePort => ({
  name: 'http',
  port: 80,
  protocol: 'TCP',
  targetPort: 8080,
  nodePort: 0,
  appProtocol: '',
  ...over,
});

export const metaOf = (namespace: string, name: string, over: Partial<ObjectMeta> = {}): ObjectMeta => ({
  namespace,
  name,
  uid: `uid of ${namespace}/${name}`,
  generation: 1,
  created: 0,
  labels: new Map(),
  origin: null,
  ...over,
});

export const service = (
  name = 'api',
  namespace = 'web',
  ports: readonly ServicePort[] = [port()],
  over: Partial<Service> = {},
): Service => ({
  meta: metaOf(namespace, name),
  type: 'ClusterIP',
  ports,
  addresses: [],
  ...over,
});

/** What a namespace opens: `grant('certs', 'Listener', 'edge', 'Secret')`. */
export const grant = (namespace: string, fromKind: string, from: string, toKind: string, name = '', group = ''): Grant => ({
  namespace,
  from: [{ kind: fromKind, namespace: from }],
  to: [{ group, kind: toKind, name }],
});

export interface Rest extends Partial<Omit<ClusterObjects, 'services' | 'foreignListeners'>> {
  readonly services?: readonly Service[];
  readonly foreign?: readonly string[];
}

const site = (): Document => secret('site', 'edge', leaf('*.example'));

const inCluster = <R extends Pick<Resource<unknown>, 'meta'>>(map: ReadonlyMap<string, R>): ReadonlyMap<string, R> =>
  new Map([...map].map(([key, r]): [string, R] => [key, { ...r, meta: { ...r.meta, uid: `uid of ${key}`, generation: 3, origin: null } }]));

export function setOf(documents: readonly Document[], { services, foreign, ...rest }: Rest = {}): ResourceSet {
  const plain = resourcesOf([site(), ...documents]);
  const cluster: ClusterObjects = {
    ...emptyCluster(),
    ...rest,
    services: new Map((services ?? [service()]).map((s) => [objectKey(s.meta.namespace, s.meta.name), s])),
    foreignListeners: new Set(foreign ?? []),
  };
  return { ...plain, listeners: inCluster(plain.listeners), upstreams: inCluster(plain.upstreams), cluster };
}

export const compiled = (set: ResourceSet, over: Partial<Installation> = {}, memo?: Memo): Compiled =>
  compile(set, { standalone: false, installation: installation(over), ...(memo === undefined ? {} : { memo }) });

export const run = (documents: readonly Document[], rest: Rest = {}, over: Partial<Installation> = {}): Compiled =>
  compiled(setOf(documents, rest), over);

export function statusOf(c: Compiled, kind: ObjectStatus['kind'], key: string): ObjectStatus {
  const found = c.statuses.find((s) => s.kind === kind && `${s.namespace}/${s.name}` === key);
  if (found === undefined) throw new Error(`no status of ${kind} ${key}`);
  return found;
}

export const has = (c: Compiled, kind: ObjectStatus['kind'], key: string): boolean =>
  c.statuses.some((s) => s.kind === kind && `${s.namespace}/${s.name}` === key);

export function condition(c: Compiled, kind: ObjectStatus['kind'], key: string, type: ConditionType): Condition {
  const found = statusOf(c, kind, key).conditions.find((x) => x.type === type);
  if (found === undefined) throw new Error(`no ${type} of ${kind} ${key}`);
  return found;
}

/** `False/NotAllowed: why` */
export function verdict(c: Compiled, kind: ObjectStatus['kind'], key: string, type: ConditionType): string {
  const { status, reason, message } = condition(c, kind, key, type);
  return `${status}/${reason}${message === '' ? '' : `: ${message}`}`;
}

export const partsOf = <K extends Part['kind']>(c: Compiled, kind: K): Extract<Part, { kind: K }>[] =>
  [...c.parts.values()].filter((p): p is Extract<Part, { kind: K }> => p.kind === kind);

export const listenerPart = (c: Compiled, index = 0): ListenerPart => c.parts.get(c.listeners[index] as never) as ListenerPart;

/** The groups of an Upstream that serves; null: its share answers 500. */
export function groupsOf(c: Compiled, name = 'api'): (GroupPart | null)[] {
  const part = partsOf(c, 'upstream').find((u) => u.name === name) as UpstreamPart;
  return part.groups.map((g) => (g.group === null ? null : (c.parts.get(g.group) as GroupPart)));
}

export const problems = (c: Compiled): string[] => c.problems.map((p) => `${p.severity} ${p.object} ${p.path}: ${p.message}`);
