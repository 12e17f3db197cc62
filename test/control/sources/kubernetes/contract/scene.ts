/** What a case has: a namespace of its own on a server, and short words for requests and answers. */
import { randomBytes } from 'node:crypto';
import { GROUP } from './widget.ts';
import type { Answer, Asking, Json, WatchEvent, Watching, Wire } from './wire.ts';

const ROOTS: Readonly<Record<string, string>> = {
  widgets: `/apis/${GROUP}/v1`,
  gadgets: `/apis/${GROUP}/v1`,
  listeners: '/apis/spooky.dev/v1alpha1',
  endpointslices: '/apis/discovery.k8s.io/v1',
  leases: '/apis/coordination.k8s.io/v1',
  events: '/apis/events.k8s.io/v1',
  roles: '/apis/rbac.authorization.k8s.io/v1',
  rolebindings: '/apis/rbac.authorization.k8s.io/v1',
  clusterroles: '/apis/rbac.authorization.k8s.io/v1',
  clusterrolebindings: '/apis/rbac.authorization.k8s.io/v1',
  customresourcedefinitions: '/apis/apiextensions.k8s.io/v1',
};

const KINDS: Readonly<Record<string, string>> = {
  widgets: 'Widget',
  gadgets: 'Gadget',
  listeners: 'Listener',
  endpointslices: 'EndpointSlice',
  leases: 'Lease',
  events: 'Event',
  roles: 'Role',
  rolebindings: 'RoleBinding',
  clusterroles: 'ClusterRole',
  clusterrolebindings: 'ClusterRoleBinding',
  customresourcedefinitions: 'CustomResourceDefinition',
  configmaps: 'ConfigMap',
  secrets: 'Secret',
  services: 'Service',
  serviceaccounts: 'ServiceAccount',
  namespaces: 'Namespace',
};

const CLUSTER = new Set(['namespaces', 'clusterroles', 'clusterrolebindings', 'customresourcedefinitions']);

export const MERGE = 'application/merge-patch+json';
export const JSON_PATCH = 'application/json-patch+json';
export const APPLY = 'application/apply-patch+yaml';
export const STRATEGIC = 'application/strategic-merge-patch+json';
export const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
export const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

export interface ApplyOptions {
  readonly manager?: string;
  readonly force?: boolean;
  readonly sub?: string;
}

export class Scene {
  readonly wire: Wire;
  /** Names of things without a namespace begin so. */
  readonly ns = `c-${randomBytes(5).toString('hex')}`;

  constructor(wire: Wire) {
    this.wire = wire;
  }

  async begin(): Promise<void> {
    await this.wire.ask('POST', '/api/v1/namespaces', { body: { apiVersion: 'v1', kind: 'Namespace', metadata: { name: this.ns } } });
  }

  path(plural: string, name = '', sub = ''): string {
    const namespace = CLUSTER.has(plural) ? '' : `/namespaces/${this.ns}`;
    return `${ROOTS[plural] ?? '/api/v1'}${namespace}/${plural}${name === '' ? '' : `/${name}`}${sub === '' ? '' : `/${sub}`}`;
  }

  /** Over all namespaces. */
  everywhere(plural: string): string {
    return `${ROOTS[plural] ?? '/api/v1'}/${plural}`;
  }

  /** An object with its type and name. */
  object(plural: string, name: string, more: Json = {}): Json {
    const root = ROOTS[plural];
    const { metadata, ...rest } = more as { metadata?: object };
    return {
      apiVersion: root === undefined ? 'v1' : root.replace('/apis/', ''),
      kind: KINDS[plural],
      metadata: { ...(name === '' ? {} : { name }), ...metadata },
      ...rest,
    };
  }

  post(plural: string, name: string, more: Json = {}, query = ''): Promise<Answer> {
    return this.wire.ask('POST', this.path(plural) + query, { body: this.object(plural, name, more) });
  }

  put(plural: string, object: Json, sub = '', query = ''): Promise<Answer> {
    return this.wire.ask('PUT', this.path(plural, object.metadata.name as string, sub) + query, { body: object });
  }

  get(plural: string, name: string, asking: Asking = {}): Promise<Answer> {
    return this.wire.ask('GET', this.path(plural, name), asking);
  }

  list(plural: string, query = '', asking: Asking = {}): Promise<Answer> {
    return this.wire.ask('GET', `${this.path(plural)}?${query}`, asking);
  }

  delete(plural: string, name: string, body?: Json, query = ''): Promise<Answer> {
    return this.wire.ask('DELETE', this.path(plural, name) + query, body === undefined ? {} : { body });
  }

  patch(plural: string, name: string, type: string, body: Json, sub = '', query = ''): Promise<Answer> {
    return this.wire.ask('PATCH', this.path(plural, name, sub) + query, { type, body });
  }

  apply(plural: string, name: string, more: Json, { manager = 'm1', force = false, sub = '' }: ApplyOptions = {}): Promise<Answer> {
    return this.patch(plural, name, APPLY, this.object(plural, name, more), sub, `?fieldManager=${manager}&force=${force}`);
  }

  /** From the version that a list has now, unless the query has one. */
  async watch(plural: string, query = '', asking: Asking = {}): Promise<Watching> {
    const from = /resourceVersion=|sendInitialEvents=/.test(query) ? '' : `&resourceVersion=${await this.version(plural)}`;
    return this.wire.watch(`${this.path(plural)}?watch=true${from}${query === '' ? '' : `&${query}`}`, asking).open();
  }

  async version(plural: string): Promise<string> {
    const { body } = await this.list(plural);
    return body.metadata.resourceVersion as string;
  }

  /** `201`, `409 AlreadyExists`. */
  brief(answer: Answer): string {
    return [answer.status, answer.status >= 400 ? answer.body.reason : ''].filter((part) => part !== '' && part !== undefined).join(' ');
  }

  /** The same with what the server says, without what differs from run to run. */
  full(answer: Answer): string {
    return this.mask(`${this.brief(answer)}: ${typeof answer.body === 'string' ? answer.body : (answer.body.message as string)}`);
  }

  mask(text: string): string {
    return text
      .replaceAll(this.ns, 'NS')
      .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'UID')
      .replaceAll(/\b\d{3,}\b(?= \()|\(\d+\)/g, 'N');
  }

  /** `ADDED a`, with the generation or whatever `more` picks behind it. */
  told(events: readonly WatchEvent[], more: (object: Json) => unknown = () => undefined): string[] {
    return events.map(({ type, object }) => {
      const extra = more(object);
      const name = type === 'ERROR' ? `${String(object.code)} ${String(object.reason)}` : (object.metadata.name as string | undefined);
      return [type, name, ...(extra === undefined ? [] : [JSON.stringify(extra)])].filter((part) => part !== undefined).join(' ');
    });
  }

  names(answer: Answer): string[] {
    return (answer.body.items as Json[]).map((item) => item.metadata.name as string);
  }
}

export interface Case {
  readonly name: string;
  /** What was seen, in a form that is the same in every run. */
  readonly run: (s: Scene) => Promise<unknown>;
  readonly gives: unknown;
}
