/** The few writes of a controller: statuses by server-side apply, and events. */
import { randomBytes } from 'node:crypto';
import { controllerName } from '../../status/conditions.ts';
import type { EventNote, ObjectRef, StatusClient, WriteAnswer, WriteOutcome } from '../../status/client.ts';
import { microTime } from '../../status/times.ts';
import { collectionPath, type ApiError, type KubeApi, type ResourceKind } from './api.ts';
import { LISTENERS, UPSTREAMS } from './kinds.ts';

export interface StatusClientOptions {
  readonly api: KubeApi;
  readonly className: string;
  /** Who reports: the pod. */
  readonly instance: string;
  readonly seen: StatusClient['seen'];
  readonly held?: NonNullable<StatusClient['held']>;
}

const KINDS: Readonly<Record<ObjectRef['kind'], ResourceKind>> = { Listener: LISTENERS, Upstream: UPSTREAMS };
const API_VERSION = `${LISTENERS.group}/${LISTENERS.version}`;
const EVENT: ResourceKind = { kind: 'Event', group: 'events.k8s.io', version: 'v1', plural: 'events' };

/** Limits of events.k8s.io/v1, in bytes. */
const MAX_INSTANCE = 128;
const MAX_NAME = 253;

const OUTCOMES: Readonly<Partial<Record<ApiError['kind'], WriteOutcome>>> = { conflict: 'conflict', not_found: 'gone', gone: 'gone' };

export function createStatusClient(o: StatusClientOptions): StatusClient {
  const manager = controllerName(o.className);
  const query = `?fieldManager=${encodeURIComponent(manager)}&force=true`;
  return {
    seen: o.seen,
    ...(o.held === undefined ? {} : { held: o.held }),

    async applyStatus(ref, resourceVersion, status): Promise<WriteAnswer> {
      const { kind, namespace, name } = ref;
      const path = `${collectionPath(KINDS[kind], segment(namespace))}/${segment(name)}/status${query}`;
      // Without `status` at all nothing stays ours; an empty one would.
      const content = isEmpty(status) ? {} : { status };
      // The version guards against an object that was made anew: a uid is not checked below /status.
      const body = { apiVersion: API_VERSION, kind, metadata: { namespace, name, resourceVersion }, ...content };
      const answer = await o.api.request({ method: 'PATCH', path, body, contentType: 'application/apply-patch+yaml' });
      return answer.ok ? { outcome: 'written', message: '', retryAfterMs: null } : refused(answer.error);
    },

    async createEvent(event, at) {
      const { namespace } = event.regarding;
      const body = eventBody(event, manager, o.instance, at);
      const answer = await o.api.request({ method: 'POST', path: collectionPath(EVENT, segment(namespace)), body });
      return { ok: answer.ok, name: body.metadata.name, message: answer.ok ? '' : answer.error.message };
    },

    async repeatEvent(namespace, name, count, at) {
      const answer = await o.api.request({
        method: 'PATCH',
        path: `${collectionPath(EVENT, segment(namespace))}/${segment(name)}`,
        body: { series: { count, lastObservedTime: microTime(at) } },
        contentType: 'application/merge-patch+json',
      });
      return { ok: answer.ok, message: answer.ok ? '' : answer.error.message };
    },
  };
}

const segment = (name: string): string => encodeURIComponent(name);

const isEmpty = (status: unknown): boolean => typeof status === 'object' && status !== null && Object.keys(status).length === 0;

const refused = (error: ApiError): WriteAnswer => ({
  outcome: OUTCOMES[error.kind] ?? 'failed',
  message: `${error.kind}${error.message === '' ? '' : `: ${error.message}`}`,
  retryAfterMs: error.retryAfterMs,
});

function eventBody({ regarding, type, reason, action, note }: EventNote, manager: string, instance: string, at: number) {
  const { kind, namespace, name, uid } = regarding;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace, name: eventName(name) },
    eventTime: microTime(at),
    reportingController: manager,
    reportingInstance: instance.slice(0, MAX_INSTANCE),
    type,
    reason,
    action,
    regarding: { apiVersion: API_VERSION, kind, namespace, name, ...(uid === '' ? {} : { uid }) },
    note,
  };
}

/** The object's name and 16 hex digits, as client-go has it; still a name when it has to be cut. */
function eventName(name: string): string {
  const suffix = `.${randomBytes(8).toString('hex')}`;
  return name.slice(0, MAX_NAME - suffix.length).replace(/[^a-z0-9]+$/, '') + suffix;
}
