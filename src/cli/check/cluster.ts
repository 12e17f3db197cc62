/** Documents for a cluster, judged as its API server and our controller would, as far as they tell. */
import { emptyCluster, objectKey, type ClusterObjects, type Problem, type ResourceSet } from '../../contract/resources/index.ts';
import { compile, type Compiled } from '../../control/compile/index.ts';
import { untimelyCertificates } from '../../control/validity.ts';
import { readGrant, readNamespace, readService } from '../../control/sources/kubernetes/core.ts';
import { GRANT_GROUP } from '../../control/sources/kubernetes/kinds.ts';
import { DEFAULT_CLASS } from '../../control/sources/kubernetes/objects.ts';
import { fieldsOf, isName, isNamespace, type Identity } from '../../control/sources/kubernetes/meta.ts';
import type { OtherObject } from '../../control/sources/manifests.ts';
import { systemClock } from '../../lib/clock.ts';
import { complete, grantText, openInstallation, type Sees } from '../cluster/partial.ts';
import type { Reference } from '../cluster/references.ts';

/** What is not among the documents may be in the cluster. */
const NOTHING: Sees = () => false;

export function judgeCluster(set: ResourceSet, others: readonly OtherObject[]): Problem[] {
  const whole: ResourceSet = { ...set, cluster: clusterOf(others) };
  const classes = new Set(Array.from(set.listeners.values(), (l) => l.spec.className));
  // Each installation for itself: Listeners of two classes do not meet.
  return [...(classes.size === 0 ? [DEFAULT_CLASS] : classes)].flatMap((className) => judge(whole, className));
}

function judge(set: ResourceSet, className: string): Problem[] {
  const completed = complete(set, NOTHING, className);
  const compiled = compile(completed.set, { standalone: false, installation: openInstallation(className, 'default') });
  const uncertain = unattached(set, compiled);
  return [
    ...compiled.problems.filter((p) => !completed.hides(p)).map((p) => (uncertain(p) ? asWarning(p) : p)),
    ...completed.ungranted.map(ungrantedProblem),
    ...untimelyCertificates(completed.set, compiled, systemClock.wall()),
  ];
}

/** Whether a problem is that no Listener takes an Upstream that names none: there may be others. */
function unattached(set: ResourceSet, { statuses }: Compiled): (p: Problem) => boolean {
  const alone = new Map<string, 'spec.listeners' | 'spec.hostnames'>();
  for (const { kind, namespace, name, conditions } of statuses) {
    const reason = conditions.find((c) => c.type === 'Accepted')?.reason;
    const path = reason === 'NotAllowed' ? 'spec.listeners' : reason === 'NoMatchingHostname' ? 'spec.hostnames' : null;
    const named = set.upstreams.get(objectKey(namespace, name))?.spec.listeners !== undefined;
    if (kind === 'Upstream' && path !== null && !named) alone.set(`Upstream ${namespace}/${name}`, path);
  }
  return (p) => {
    const path = alone.get(p.object);
    return path !== undefined && (p.path === path || p.path.endsWith(`.${path}`));
  };
}

const asWarning = (p: Problem): Problem => ({
  ...p,
  severity: 'warning',
  message: `${p.message}, among these documents: name the Listener, or let one take it`,
});

function ungrantedProblem(reference: Reference): Problem {
  const { from, kind, namespace, name, path } = reference;
  const { origin } = from.meta;
  return {
    severity: 'warning',
    file: origin?.file ?? '',
    ...(origin?.locate(path) ?? { line: 0, column: 0 }),
    object: `${from.kind} ${from.meta.namespace}/${from.meta.name}`,
    path: origin?.spell?.(path) ?? path,
    message: `${kind} ${namespace}/${name} is in another namespace: it needs ${grantText(reference)}, and none of these documents is that`,
  };
}

function clusterOf(others: readonly OtherObject[]): ClusterObjects {
  const services = new Map<string, NonNullable<ReturnType<ClusterObjects['services']['get']>>>();
  const namespaces = new Map<string, ReadonlyMap<string, string>>();
  const grants: ClusterObjects['grants'][number][] = [];
  for (const { apiVersion, kind, value, doubtful } of others) {
    // What we may read in another way than a cluster does counts as out of sight.
    if (doubtful) continue;
    if (apiVersion === 'v1' && kind === 'Service') {
      const id = identity(value, true);
      const read = id === null ? 'malformed' : readService(value, id);
      if (id !== null && read !== 'malformed') services.set(id.key, read.service);
    } else if (apiVersion === 'v1' && kind === 'Namespace') {
      const id = identity(value, false);
      const read = id === null ? 'malformed' : readNamespace(value, id);
      // Every server adds this one.
      if (id !== null && read !== 'malformed') namespaces.set(id.name, new Map([...read.labels, ['kubernetes.io/metadata.name', id.name]]));
    } else if (apiVersion.startsWith(`${GRANT_GROUP}/`) && kind === 'ReferenceGrant') {
      const id = identity(value, true);
      if (id !== null) grants.push(readGrant(value, id).grant);
    }
  }
  return { ...emptyCluster(), services, namespaces, grants };
}

function identity(value: unknown, namespaced: boolean): Identity | null {
  const { name, namespace = 'default' } = fieldsOf(fieldsOf(value)['metadata']);
  if (!isName(name)) return null;
  if (!namespaced) return { key: name, namespace: '', name, uid: '' };
  return isNamespace(namespace) ? { key: objectKey(namespace, name), namespace, name, uid: '' } : null;
}
