/** What a cluster adds: who counts, what may be read, who may refer to what. Standalone there is none. */
import {
  emptyCluster,
  objectKey,
  type ClusterObjects,
  type Installation,
  type ObjectKey,
  type ResourceSet,
  type Service,
} from '../../contract/resources/index.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { CompileOptions } from './compiled.ts';
import type { RefFault } from './draft.ts';
import { Grants, type Referrer } from './grants.ts';
import type { Memo } from './memo.ts';

export class Cluster {
  readonly objects: ClusterObjects;
  readonly installation: Installation;
  private readonly set: ResourceSet;
  private readonly grants: Grants;

  constructor(set: ResourceSet, installation: Installation, memo: Memo) {
    this.set = set;
    this.objects = set.cluster ?? emptyCluster();
    this.installation = installation;
    const { grants } = this.objects;
    this.grants = memo.slot(grants, 'index', [], () => new Grants(grants));
  }

  /** Whether Listeners of the namespace count. */
  listensTo(namespace: string): boolean {
    const { installation } = this;
    return namespace === installation.namespace || (installation.listenerNamespaces?.has(namespace) ?? true);
  }

  /** A Listener of another class: its Upstreams are somebody else's. */
  isForeign(key: ObjectKey): boolean {
    const own = this.set.listeners.get(key);
    return own === undefined ? this.objects.foreignListeners.has(key) : own.spec.className !== this.installation.className;
  }

  /** Whether Secrets and ConfigMaps of the namespace are read at all: what the installation's values say, and no object. */
  readable(kind: 'Secret' | 'ConfigMap', namespace: string): Result<null, RefFault> {
    const { installation } = this;
    if (namespace === installation.namespace || (installation.secretNamespaces?.has(namespace) ?? true)) return ok(null);
    return err({
      reason: 'RefNotPermitted',
      message: `${kind}s of namespace ${namespace} are not read: add ${namespace} to the chart's value secrets.namespaces (--secret-namespaces)`,
    });
  }

  service(namespace: string, name: string): Service | undefined {
    return this.objects.services.get(objectKey(namespace, name));
  }

  /**
   * The target of a reference. Into another namespace, what does not exist and what is not granted look the same: names there are not for
   * guessing. Undefined: it is missing in the own namespace.
   */
  follow<T>(kind: Referrer, from: string, to: Target, found: T | undefined): Result<T | undefined, RefFault> {
    if (to.namespace === from) return ok(found);
    if (found !== undefined && this.grants.permits(kind, from, to.namespace, to.name)) return ok(found);
    return err({
      reason: 'RefNotPermitted',
      message:
        `there is no ${to.kind} ${to.namespace}/${to.name} that namespace ${from} may use: it must exist, and a ReferenceGrant ` +
        `in ${to.namespace} must allow it (from: group spooky.dev, kind ${kind}, namespace ${from}; to: group "", kind ${to.kind})`,
    });
  }
}

interface Target {
  readonly kind: 'Secret' | 'Service';
  readonly namespace: string;
  readonly name: string;
}

/** Null standalone. */
export function clusterOf(set: ResourceSet, options: CompileOptions, memo: Memo): Cluster | null {
  if (options.standalone) return null;
  if (options.installation === undefined || options.installation === null)
    throw new TypeError('compile for a cluster needs an installation');
  return new Cluster(set, options.installation, memo);
}
