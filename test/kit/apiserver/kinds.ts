/** The kinds that are there without a CustomResourceDefinition. */
import { TYPED } from './typed.ts';
import { apiVersionOf, type Kind } from './model.ts';

type Some = Pick<Kind, 'group' | 'version' | 'plural' | 'kind'> & Partial<Kind>;

const kind = (some: Some): Kind => ({
  namespaced: true,
  subresources: [],
  generation: false,
  labelsGenerate: false,
  selectable: [],
  custom: false,
  createOnUpdate: false,
  unconditionalUpdate: true,
  statusOnDelete: true,
  labelName: false,
  shortNames: [],
  members: ['spec', 'status'],
  schema: null,
  defaults: null,
  validate: null,
  ...TYPED[some.kind],
  ...some,
});

const core = (plural: string, name: string, more: Partial<Kind> = {}): Kind =>
  kind({ group: '', version: 'v1', plural, kind: name, ...more });
const rbac = (plural: string, name: string, namespaced: boolean): Kind =>
  kind({ group: 'rbac.authorization.k8s.io', version: 'v1', plural, kind: name, namespaced });

export const NAMESPACES = core('namespaces', 'Namespace', {
  namespaced: false,
  subresources: ['status', 'finalize'],
  selectable: ['status.phase'],
  labelName: true,
  shortNames: ['ns'],
  statusOnDelete: false,
});

export const SERVICE_ACCOUNTS = core('serviceaccounts', 'ServiceAccount', { subresources: ['token'], statusOnDelete: false });

export const CUSTOM_RESOURCES = kind({
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
  subresources: ['status'],
  generation: true,
  unconditionalUpdate: false,
  shortNames: ['crd', 'crds'],
});

export const ROLES = rbac('roles', 'Role', true);
export const ROLE_BINDINGS = rbac('rolebindings', 'RoleBinding', true);
export const CLUSTER_ROLES = rbac('clusterroles', 'ClusterRole', false);
export const CLUSTER_ROLE_BINDINGS = rbac('clusterrolebindings', 'ClusterRoleBinding', false);

export const BUILT_IN: readonly Kind[] = [
  NAMESPACES,
  SERVICE_ACCOUNTS,
  core('services', 'Service', {
    subresources: ['status'],
    selectable: ['spec.clusterIP', 'spec.type'],
    createOnUpdate: true,
    labelName: true,
    shortNames: ['svc'],
    statusOnDelete: false,
  }),
  core('secrets', 'Secret', { selectable: ['type'] }),
  core('configmaps', 'ConfigMap', { shortNames: ['cm'] }),
  core('nodes', 'Node', { namespaced: false, subresources: ['status'], selectable: ['spec.unschedulable'], shortNames: ['no'] }),
  core('pods', 'Pod', {
    subresources: ['status'],
    generation: true,
    selectable: ['spec.nodeName', 'status.phase', 'status.podIP'],
    shortNames: ['po'],
    statusOnDelete: false,
  }),
  kind({
    group: 'discovery.k8s.io',
    version: 'v1',
    plural: 'endpointslices',
    kind: 'EndpointSlice',
    generation: true,
    labelsGenerate: true,
  }),
  kind({
    group: 'coordination.k8s.io',
    version: 'v1',
    plural: 'leases',
    kind: 'Lease',
    createOnUpdate: true,
    unconditionalUpdate: false,
  }),
  kind({ group: 'events.k8s.io', version: 'v1', plural: 'events', kind: 'Event', createOnUpdate: true, shortNames: ['ev'] }),
  ROLES,
  ROLE_BINDINGS,
  CLUSTER_ROLES,
  CLUSTER_ROLE_BINDINGS,
  CUSTOM_RESOURCES,
];

/** What is served now: the built-in kinds, and those that definitions add and take away. */
export class Kinds {
  #kinds = new Map<string, Kind>();

  constructor(kinds: readonly Kind[]) {
    for (const kind of kinds) this.add(kind);
  }

  add(kind: Kind): void {
    this.#kinds.set(`${apiVersionOf(kind)}/${kind.plural}`, kind);
  }

  drop(kind: Pick<Kind, 'group' | 'version' | 'plural'>): void {
    this.#kinds.delete(`${apiVersionOf(kind)}/${kind.plural}`);
  }

  /** By the path's parts. */
  find(group: string, version: string, plural: string): Kind | undefined {
    return this.#kinds.get(`${apiVersionOf({ group, version })}/${plural}`);
  }

  /** By a body's. */
  byKind(apiVersion: string, name: string): Kind | undefined {
    return this.all().find((kind) => apiVersionOf(kind) === apiVersion && kind.kind === name);
  }

  /** By `upstreams`, `Upstream`, `upstreams.spooky.dev`: for tests. */
  named(name: string): Kind {
    const found = this.all().find((kind) => kind.plural === name || kind.kind === name || `${kind.plural}.${kind.group}` === name);
    if (found === undefined) throw new Error(`the API server has no kind ${name}`);
    return found;
  }

  has(group: string, version?: string): boolean {
    return this.all().some((kind) => kind.group === group && (version === undefined || kind.version === version));
  }

  all(): Kind[] {
    return [...this.#kinds.values()];
  }
}
