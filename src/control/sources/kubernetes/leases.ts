/** One Lease of coordination.k8s.io/v1. What others have written on it beside the record is kept. */
import { field, isRecord } from '../../status/conditions.ts';
import type { LeaseAnswer, LeaseClient, LeaseRecord } from '../../status/client.ts';
import type { Clock } from '../../../lib/clock.ts';
import { collectionPath, type ApiAnswer, type ApiError, type ApiRequest, type KubeApi, type ResourceKind } from './api.ts';

export interface LeaseClientOptions {
  readonly api: KubeApi;
  readonly clock: Clock;
  readonly namespace: string;
  readonly name: string;
  readonly timeoutMs?: number;
}

const LEASE: ResourceKind = { kind: 'Lease', group: 'coordination.k8s.io', version: 'v1', plural: 'leases' };

/** Half of the time in which a lease must be renewed: one answer may be lost. */
export const LEASE_TIMEOUT_MS = 5000;

/** Longer than any lease that is meant; a number that cannot be trusted must not keep everybody away for ever. */
const MAX_SECONDS = 86_400;

export function createLeaseClient(o: LeaseClientOptions): LeaseClient {
  const collection = collectionPath(LEASE, encodeURIComponent(o.namespace));
  const path = `${collection}/${encodeURIComponent(o.name)}`;
  const timeoutMs = o.timeoutMs ?? LEASE_TIMEOUT_MS;
  /** As read or written last, for its labels and whatever else is not ours. */
  let metadata: Readonly<Record<string, unknown>> = {};

  async function ask(request: ApiRequest): Promise<LeaseAnswer> {
    const abort = new AbortController();
    const cancel = o.clock.after(timeoutMs, () => abort.abort());
    try {
      return understood(await o.api.request({ ...request, signal: abort.signal }));
    } finally {
      cancel();
    }
  }

  function understood(answer: ApiAnswer): LeaseAnswer {
    if (!answer.ok) return refused(answer.error);
    const meta = field(answer.body, 'metadata');
    const resourceVersion = field(meta, 'resourceVersion');
    if (!isRecord(meta) || typeof resourceVersion !== 'string') return { ok: false, kind: 'failed', message: 'the answer is no Lease' };
    metadata = kept(meta);
    return { ok: true, record: recordOf(field(answer.body, 'spec')), resourceVersion };
  }

  const body = (record: LeaseRecord, more: Readonly<Record<string, unknown>>) => ({
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { ...more, namespace: o.namespace, name: o.name },
    spec: { ...record },
  });

  return {
    get: () => ask({ method: 'GET', path }),
    create: (record) => ask({ method: 'POST', path: collection, body: body(record, {}) }),
    update: (record, resourceVersion) => ask({ method: 'PUT', path, body: body(record, { ...metadata, resourceVersion }) }),
  };
}

const KEPT = ['uid', 'labels', 'annotations', 'ownerReferences', 'finalizers'];

const kept = (meta: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(KEPT.flatMap((name) => (meta[name] === undefined ? [] : [[name, meta[name]]])));

function refused({ kind, message }: ApiError): LeaseAnswer {
  const known = kind === 'not_found' ? 'missing' : kind === 'conflict' ? 'conflict' : 'failed';
  return { ok: false, kind: known, message: `${kind}${message === '' ? '' : `: ${message}`}` };
}

/** Every field may be missing: a Lease can be made by hand. */
function recordOf(spec: unknown): LeaseRecord {
  const text = (name: string): string => {
    const value = field(spec, name);
    return typeof value === 'string' ? value : '';
  };
  const count = (name: string): number => {
    const value = field(spec, name);
    return typeof value === 'number' && value >= 0 ? Math.floor(value) : 0;
  };
  return {
    holderIdentity: text('holderIdentity'),
    leaseDurationSeconds: Math.min(count('leaseDurationSeconds'), MAX_SECONDS),
    acquireTime: text('acquireTime'),
    renewTime: text('renewTime'),
    leaseTransitions: count('leaseTransitions'),
  };
}
