/** The state of a cluster now, by lists alone: for a command that answers once, with the rights of whoever runs it. */
import type { Installation } from '../../../contract/resources/index.ts';
import type { Clock } from '../../../lib/clock.ts';
import { err, ok, type Result } from '../../../lib/result.ts';
import type { ServiceEndpoints } from '../services.ts';
import type { SourceState } from '../source.ts';
import type { StatusClient } from '../../status/client.ts';
import { collectionPath, type ApiError, type ApiErrorKind, type KubeApi, type ResourceKind } from './api.ts';
import { apiError } from './answers.ts';
import { findGrants } from './grants.ts';
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  grantsOf,
  LISTENERS,
  NAMESPACES,
  NODES,
  SECRETS,
  SECRET_QUERY,
  SERVICES,
  UPSTREAMS,
} from './kinds.ts';
import { fieldsOf, textOf, type Identity } from './meta.ts';
import { fewer, PAGE } from './pages.ts';
import { scopesOf, secretScopes } from './scopes.ts';
import type { Read, Table } from './table.ts';
import { View } from './view.ts';

export interface OnceOptions {
  readonly api: KubeApi;
  readonly installation: Installation;
  /** What is read, beside the installation's own namespace; null: every namespace. */
  readonly namespaces: readonly string[] | null;
  /** Whether Secrets are asked for: many who may read routes may not read those. */
  readonly secrets: boolean;
  /** With Listeners and Upstreams alone there is an answer, too: whoever asks knows what is missing. */
  readonly lenient?: boolean;
}

/** A kind that may not be read, in a namespace or, with null, in all. */
export interface Unread {
  readonly kind: string;
  readonly namespace: string | null;
  /** `Secrets cannot be listed: forbidden: ...` */
  readonly why: string;
}

export interface Once {
  readonly state: SourceState;
  readonly endpoints: ServiceEndpoints;
  /** What could not be read: `Secrets cannot be listed: forbidden: ...`. */
  readonly skipped: readonly string[];
  /** The same, for programs. */
  readonly unread: readonly Unread[];
  /** Of each Listener, what its status says. */
  readonly seen: StatusClient['seen'];
  /** Objects that no server should have, by kind and name. */
  readonly leftOut: readonly string[];
}

/** For a list the server wants the name of the list. */
const METADATA_OF_LISTS = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const MAX_PAGES = 2000;
const MAX_LEFT_OUT = 100;
/** Without a server, or without being known to it, nothing is answered. */
const FATAL: ReadonlySet<ApiErrorKind> = new Set(['connection', 'timeout', 'unauthorized', 'aborted']);

/** Nothing is ever due. */
const STILL: Clock = { now: () => 0, wall: () => 0, after: () => () => undefined };

/** Without Listeners, Upstreams, Services, EndpointSlices and Namespaces there is no answer, unless it may be `lenient`; the rest may be forbidden. */
export async function readOnce(o: OnceOptions): Promise<Result<Once, string>> {
  const leftOut: string[] = [];
  const unread: Unread[] = [];
  const view = new View({
    installation: o.installation,
    clock: STILL,
    zone: null,
    nodeName: '',
    onChange: () => undefined,
    onError: () => undefined,
    onSeen: () => undefined,
    onLeftOut: (kind, why, name) => leftOut.length < MAX_LEFT_OUT && leftOut.push(`${kind} ${name}: ${why.replaceAll('_', ' ')}`),
  });
  for (const task of await tasksOf(view, o, unread)) {
    const error = await list(o.api, task);
    if (error === null) continue;
    const why = `${task.kind.kind}s${task.scope === null ? '' : ` of namespace ${task.scope}`} cannot be listed: ${error.kind.replaceAll('_', ' ')}: ${error.message}`;
    if (task.must || FATAL.has(error.kind)) return err(why);
    unread.push({ kind: task.kind.kind, namespace: task.scope, why });
  }
  const state: SourceState = { set: view.set(), problems: [], settings: null, settingsProblems: [] };
  return ok({ state, endpoints: view.slices, skipped: unread.map((u) => u.why), unread, seen: view.seen, leftOut });
}

interface Task {
  readonly kind: ResourceKind;
  readonly table: Table<Identity>;
  readonly scope: string | null;
  readonly must: boolean;
  readonly query?: string;
  readonly accept?: string;
}

async function tasksOf(view: View, o: OnceOptions, unread: Unread[]): Promise<Task[]> {
  const scopes = scopesOf(o.namespaces, o.installation.namespace);
  const tasks: Task[] = [];
  const add = <E extends Identity>(
    kind: ResourceKind,
    table: Table<E>,
    scope: string | null,
    must: boolean,
    asked: Partial<Task> = {},
  ): void => {
    tasks.push({ ...asked, kind, table: table as unknown as Table<Identity>, scope, must });
  };
  const needed = o.lenient !== true;
  add(NAMESPACES, view.namespaces, null, needed, { accept: METADATA_OF_LISTS });
  if (o.installation.publishNodeAddresses) add(NODES, view.nodes, null, false);
  for (const scope of scopes) {
    add(LISTENERS, view.listeners, scope, true);
    add(UPSTREAMS, view.upstreams, scope, true);
    add(SERVICES, view.services, scope, needed);
    add(ENDPOINT_SLICES, view.endpointSlices, scope, needed);
  }
  for (const scope of secretScopes(scopes, o.installation.secretNamespaces)) {
    if (o.secrets) add(SECRETS, view.secrets, scope, false, { query: SECRET_QUERY });
    add(CONFIG_MAPS, view.configMaps, scope, false);
  }
  const grants = await findGrants(o.api);
  if (grants.is === 'found') for (const scope of scopes) add(grantsOf(grants.version), view.grants, scope, false);
  else if (grants.is === 'unknown')
    unread.push({ kind: 'ReferenceGrant', namespace: null, why: `it is not known whether there are ReferenceGrants: ${grants.why}` });
  return tasks;
}

async function list(api: KubeApi, task: Task): Promise<ApiError | null> {
  let items: Read<Identity>[] = [];
  let limit = PAGE;
  let next = '';
  for (let n = 0; n < MAX_PAGES; n++) {
    const query = [limit > 0 && `limit=${limit}`, next !== '' && `continue=${encodeURIComponent(next)}`, task.query]
      .filter(Boolean)
      .join('&');
    const path = `${collectionPath(task.kind, task.scope)}${query === '' ? '' : `?${query}`}`;
    const answer = await api.request({ method: 'GET', path, ...(task.accept === undefined ? {} : { accept: task.accept }) });
    if (!answer.ok) {
      const less: number | null = answer.error.kind === 'too_large' ? fewer(limit) : null;
      if (less !== null) {
        limit = less;
        continue;
      }
      if (answer.error.kind !== 'gone' || next === '') return answer.error;
      // What the token stands for has been compacted: all at once cannot expire.
      [items, limit, next] = [[], 0, ''];
      continue;
    }
    const { metadata, items: page } = fieldsOf(answer.body);
    if (!Array.isArray(page)) return apiError('malformed', 'the answer is not a list', answer.status);
    for (const item of page as unknown[]) items.push(task.table.project(item, task.scope));
    next = textOf(fieldsOf(metadata)['continue'], 64 * 1024);
    if (next !== '') continue;
    task.table.replaced(items, task.scope);
    return null;
  }
  return apiError('too_large', `a list of more than ${MAX_PAGES} pages`);
}
