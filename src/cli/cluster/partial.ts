/**
 * Judging objects of a cluster of which only a part is at hand: the documents of one repository, or what somebody may read. What is out of sight
 * must not count as missing, so compile gets stand-ins for it that never have a fault, and what it says of them is taken out again.
 */
import {
  emptyCluster,
  objectKey,
  validateListener,
  type BackendTls,
  type ClusterObjects,
  type Grant,
  type Installation,
  type Listener,
  type ObjectKey,
  type ObjectMeta,
  type Problem,
  type Resource,
  type ResourceSet,
  type Service,
  type ServicePort,
  type Upstream,
} from '../../contract/resources/index.ts';
import { Grants } from '../../control/compile/grants.ts';
import { selects } from '../../control/compile/namespaces.ts';
import { referencesOfListener, referencesOfUpstream, type Reference } from './references.ts';

export type Seen = 'Listener' | 'Service' | 'Secret' | 'ConfigMap' | 'Namespace' | 'ReferenceGrant';

/** Whether an object of the kind that is not at hand in a namespace is missing, and not merely out of sight. */
export type Sees = (kind: Seen, namespace: string) => boolean;

export interface Completed {
  readonly set: ResourceSet;
  /** References into other namespaces that no grant at hand opens, where there may be others. */
  readonly ungranted: readonly Reference[];
  /** Those whose objects are out of sight. */
  readonly unseen: readonly Reference[];
  /** Whether a problem is about what is out of sight. */
  hides(problem: Problem): boolean;
}

/** A set of which everything counts that can. */
export const openInstallation = (className: string, namespace: string): Installation => ({
  className,
  namespace,
  listenerNamespaces: null,
  secretNamespaces: null,
  ports: null,
  reservedPorts: new Set(),
  publishService: null,
  publishAddresses: [],
  publishNodeAddresses: false,
  allowAddressBackends: true,
});

export function complete(set: ResourceSet, sees: Sees, className: string): Completed {
  const cluster = set.cluster ?? emptyCluster();
  const references = [
    ...[...set.listeners.values()].flatMap(referencesOfListener),
    ...[...set.upstreams.values()].flatMap(referencesOfUpstream),
  ];
  const unseen = references.filter((r) => !isAtHand(set, cluster, r) && !sees(r.kind, r.namespace));
  const ungranted = ungrantedOf(cluster.grants, references, sees);
  const labels = labelled(set, cluster, sees);
  const stripped = new Set(unseen.filter((r) => r.path.endsWith('Ref')).map(placeOf));
  const completed: ResourceSet = {
    ...set,
    listeners: new Map([...labels.listeners, ...listenerStandIns(set, cluster, sees, className)]),
    upstreams: stripped.size === 0 ? set.upstreams : mapped(set.upstreams, (u) => withoutRefs(u, stripped)),
    cluster: {
      ...cluster,
      namespaces: labels.namespaces,
      services: new Map([...cluster.services, ...serviceStandIns(set, unseen)]),
      grants: ungranted.length === 0 ? cluster.grants : [...cluster.grants, ...ungranted.map(grantFor)],
    },
  };
  return { set: completed, ungranted, unseen, hides: hiding(set, unseen) };
}

const mapped = <V>(map: ReadonlyMap<ObjectKey, V>, of: (value: V) => V): Map<ObjectKey, V> =>
  new Map(Array.from(map, ([key, value]) => [key, of(value)]));

function isAtHand(set: ResourceSet, cluster: ClusterObjects, { kind, namespace, name }: Reference): boolean {
  const key = objectKey(namespace, name);
  if (kind === 'Service') return cluster.services.has(key);
  return kind === 'Secret' ? set.secrets.has(key) : set.configMaps.has(key);
}

const placeOf = ({ from, path }: Reference): string => `${labelOf(from)} ${from.meta.origin?.spell?.(path) ?? path}`;
const labelOf = ({ kind, meta }: Reference['from']): string => `${kind} ${meta.namespace}/${meta.name}`;

function ungrantedOf(grants: readonly Grant[], references: readonly Reference[], sees: Sees): Reference[] {
  const known = new Grants(grants);
  return references.filter(
    ({ from, kind, namespace, name }) =>
      namespace !== from.meta.namespace &&
      kind !== 'ConfigMap' &&
      !sees('ReferenceGrant', namespace) &&
      !known.permits(from.kind, from.meta.namespace, namespace, name),
  );
}

const grantFor = ({ from, kind, namespace, name }: Reference): Grant => ({
  namespace,
  from: [{ kind: from.kind, namespace: from.meta.namespace }],
  to: [{ group: '', kind, name }],
});

/** What opens a reference, in the words of compile. */
export const grantText = ({ from, kind, namespace }: Reference): string =>
  `a ReferenceGrant in ${namespace} (from: group spooky.dev, kind ${from.kind}, namespace ${from.meta.namespace}; to: group "", kind ${kind})`;

const standInMeta = (namespace: string, name: string): ObjectMeta => ({
  namespace,
  name,
  uid: '',
  generation: 0,
  created: 0,
  labels: new Map(),
  origin: null,
});

/** With each port that somebody asks for, and nothing that says what it speaks. */
function serviceStandIns(set: ResourceSet, unseen: readonly Reference[]): Map<ObjectKey, Service> {
  const ports = new Map<ObjectKey, Map<number | string, ServicePort>>();
  const wanted = new Set(unseen.filter((r) => r.kind === 'Service').map((r) => objectKey(r.namespace, r.name)));
  for (const { meta, spec } of set.upstreams.values()) {
    for (const { service } of spec.backends) {
      if (service === undefined) continue;
      const key = objectKey(service.namespace ?? meta.namespace, service.name);
      if (!wanted.has(key)) continue;
      let there = ports.get(key);
      if (there === undefined) ports.set(key, (there = new Map()));
      // A number that nobody asks for: what a name stands for is not known.
      const [name, port] = typeof service.port === 'string' ? [service.port, 0] : ['', service.port];
      there.set(service.port, { name, port, protocol: 'TCP', targetPort: service.port, nodePort: 0, appProtocol: '' });
    }
  }
  return new Map(
    Array.from(ports, ([key, there]) => {
      const [namespace = '', name = ''] = key.split('/');
      return [key, { meta: standInMeta(namespace, name), type: 'ClusterIP', ports: [...there.values()], addresses: [] }];
    }),
  );
}

/** An authority or certificate that is out of sight changes nothing else of its group. */
function withoutRefs(upstream: Resource<Upstream>, stripped: ReadonlySet<string>): Resource<Upstream> {
  const { meta, spec } = upstream;
  const gone = (path: string): boolean => stripped.has(placeOf({ from: { kind: 'Upstream', meta }, path } as Reference));
  const without = (tls: BackendTls, at: string): BackendTls => {
    const { caRef, clientCertificateRef, ...rest } = tls;
    return {
      ...rest,
      ...(caRef === undefined || gone(`${at}.caRef`) ? {} : { caRef }),
      ...(clientCertificateRef === undefined || gone(`${at}.clientCertificateRef`) ? {} : { clientCertificateRef }),
    };
  };
  return {
    meta,
    spec: {
      ...spec,
      ...(spec.tls === undefined ? {} : { tls: without(spec.tls, 'spec.tls') }),
      backends: spec.backends.map((b, i) => (b.tls === undefined ? b : { ...b, tls: without(b.tls, `spec.backends[${i}].tls`) })),
    },
  };
}

/** A label for each selector, on the namespaces that it selects and on those whose labels are out of sight. */
function labelled(
  set: ResourceSet,
  { namespaces }: ClusterObjects,
  sees: Sees,
): Pick<ClusterObjects, 'namespaces'> & Pick<ResourceSet, 'listeners'> {
  const asking = [...new Set(Array.from(set.upstreams.values(), (u) => u.meta.namespace))];
  if (asking.every((namespace) => namespaces.has(namespace) || sees('Namespace', namespace)))
    return { namespaces, listeners: set.listeners };
  const labels = new Map<string, Map<string, string>>(asking.map((namespace) => [namespace, new Map()]));
  const listeners = new Map<ObjectKey, Resource<Listener>>();
  for (const [key, listener] of set.listeners) {
    const { from, selector } = listener.spec.allowedNamespaces;
    if (from !== 'Selector' || selector === undefined) {
      listeners.set(key, listener);
      continue;
    }
    for (const [namespace, own] of labels) {
      const known = namespaces.get(namespace);
      if (known === undefined ? !sees('Namespace', namespace) : selects(selector, known)) own.set(key, '');
    }
    const allowedNamespaces = { from, selector: { matchLabels: { [key]: '' } } };
    listeners.set(key, { meta: listener.meta, spec: { ...listener.spec, allowedNamespaces } });
  }
  return { namespaces: labels, listeners };
}

const MAX_PORT = 65535;

/** Listeners that Upstreams name, and one for those that name none where there is no Listener at all: they admit everybody. */
function listenerStandIns(
  set: ResourceSet,
  { foreignListeners }: ClusterObjects,
  sees: Sees,
  className: string,
): Map<ObjectKey, Resource<Listener>> {
  const wanted = new Map<ObjectKey, { readonly namespace: string; readonly name: string }>();
  for (const { meta, spec } of set.upstreams.values()) {
    if (spec.listeners === undefined && set.listeners.size === 0 && !sees('Listener', meta.namespace))
      wanted.set('/', { namespace: '', name: '' });
    for (const { namespace, name } of spec.listeners ?? []) {
      const key = objectKey(namespace, name);
      if (!set.listeners.has(key) && !foreignListeners.has(key) && !sees('Listener', namespace)) wanted.set(key, { namespace, name });
    }
  }
  const taken = new Set(Array.from(set.listeners.values(), (l) => l.spec.port));
  const standIns = new Map<ObjectKey, Resource<Listener>>();
  let port = 0;
  for (const [key, { namespace, name }] of wanted) {
    do port++;
    while (taken.has(port));
    if (port > MAX_PORT) break;
    standIns.set(key, { meta: standInMeta(namespace, name), spec: openListener(className, port) });
  }
  return standIns;
}

function openListener(className: string, port: number): Listener {
  const spec = { className, port, tls: { allowUpstreamCertificates: true }, allowedNamespaces: { from: 'All' } };
  const { value } = validateListener(spec, { standalone: false, unknown: 'refuse' });
  if (value === null) throw new Error('the stand-in of a Listener is not valid');
  return value;
}

function hiding(set: ResourceSet, unseen: readonly Reference[]): Completed['hides'] {
  const places = new Set(unseen.map(placeOf));
  const certificates = unseen.filter((r) => /certificateRefs\[\d+\]$/.test(r.path));
  const brought = certificates.some((r) => r.from.kind === 'Upstream');
  // Which names are covered is not known without every certificate.
  const uncertain = new Set(certificates.filter((r) => r.from.kind === 'Listener').map((r) => labelOf(r.from)));
  for (const { meta, spec } of set.listeners.values())
    if (brought && spec.tls.allowUpstreamCertificates) uncertain.add(labelOf({ kind: 'Listener', meta }));
  const listeners = new Set(Array.from(set.listeners.keys(), (key) => `Listener ${key}`));
  return (p) => {
    if (places.has(`${p.object} ${p.path}`)) return true;
    if (!p.object.startsWith('Listener ')) return false;
    return !listeners.has(p.object) || (uncertain.has(p.object) && p.severity === 'warning' && p.path.endsWith('spec.tls.certificateRefs'));
  };
}
