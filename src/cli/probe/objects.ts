/** What a probe needs of a cluster: Listeners, one Service, and the addresses of its pods. */
import { objectKey, type Service } from '../../contract/resources/index.ts';
import { apiError } from '../../control/sources/kubernetes/answers.ts';
import { collectionPath, type ApiError, type KubeApi } from '../../control/sources/kubernetes/api.ts';
import { addressOf, readService } from '../../control/sources/kubernetes/core.ts';
import { ENDPOINT_SLICES, LISTENERS, SERVICES } from '../../control/sources/kubernetes/kinds.ts';
import { fieldsOf, identityOf, isPort, mapsOf, textOf, type Fields } from '../../control/sources/kubernetes/meta.ts';
import { DEFAULT_CLASS } from '../../control/sources/kubernetes/objects.ts';
import { SERVICE_LABEL } from '../../control/sources/kubernetes/slice.ts';
import { err, ok, type Result } from '../../lib/result.ts';

export interface ProbedListener {
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  readonly hostnames: readonly string[];
  /** null: it is programmed; else why not. */
  readonly unprogrammed: string | null;
}

export interface PublishedService {
  readonly service: Service;
  readonly clusterAddresses: readonly string[];
}

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** Beyond, nobody reads the answer. */
export const MAX_LISTENERS = 1000;
const MAX_PODS = 1000;
const PAGE = 500;

type Answer<T> = Promise<Result<T, ApiError>>;

/** Of a class; `namespaces` null: of all, at once. */
export async function listListeners(api: KubeApi, namespaces: readonly string[] | null, className: string): Answer<ProbedListener[]> {
  const found: ProbedListener[] = [];
  let looked = 0;
  for (const namespace of namespaces ?? [null]) {
    const listed = await list(api, collectionPath(LISTENERS, namespace), MAX_LISTENERS - looked, (raw) => {
      looked++;
      const listener = listenerOf(raw, className);
      if (listener !== null) found.push(listener);
    });
    if (!listed.ok) return listed;
  }
  return ok(found.sort((a, b) => (objectKey(a.namespace, a.name) < objectKey(b.namespace, b.name) ? -1 : 1)));
}

/** `undefined`: there is none. */
export async function getService(api: KubeApi, { namespace, name }: ServiceName): Answer<PublishedService | undefined> {
  const answer = await api.request({ method: 'GET', path: `${collectionPath(SERVICES, namespace)}/${encodeURIComponent(name)}` });
  if (!answer.ok) return answer.error.kind === 'not_found' ? ok(undefined) : err(answer.error);
  const id = identityOf(answer.body, true);
  const read = id === null ? 'malformed' : readService(answer.body, id);
  if (read === 'malformed') return ok(undefined);
  const { clusterIPs, clusterIP } = fieldsOf(fieldsOf(answer.body)['spec']);
  const written: unknown[] = Array.isArray(clusterIPs) ? clusterIPs : [clusterIP];
  return ok({ service: read.service, clusterAddresses: [...new Set(written.slice(0, 2).flatMap((ip) => addressOf(ip) ?? []))] });
}

/** Addresses of the pods that are ready, of both families. */
export async function listPods(api: KubeApi, { namespace, name }: ServiceName): Answer<string[]> {
  const pods = new Set<string>();
  const path = `${collectionPath(ENDPOINT_SLICES, namespace)}?labelSelector=${encodeURIComponent(`${SERVICE_LABEL}=${name}`)}`;
  const listed = await list(api, path, MAX_PODS, (raw) => {
    for (const { addresses, conditions } of mapsOf(raw['endpoints'], MAX_PODS)) {
      const address = Array.isArray(addresses) ? addressOf((addresses as unknown[])[0]) : null;
      if (address !== null && fieldsOf(conditions)['ready'] !== false && pods.size < MAX_PODS) pods.add(address);
    }
  });
  return listed.ok ? ok([...pods].sort()) : listed;
}

/** At most `max` objects, in pages. */
async function list(api: KubeApi, path: string, max: number, each: (raw: Fields) => void): Answer<null> {
  let next = '';
  for (let left = max; left > 0; left -= PAGE) {
    const query = `limit=${Math.min(left, PAGE)}${next === '' ? '' : `&continue=${encodeURIComponent(next)}`}`;
    const answer = await api.request({ method: 'GET', path: `${path}${path.includes('?') ? '&' : '?'}${query}` });
    if (!answer.ok) return err(answer.error);
    const { metadata, items } = fieldsOf(answer.body);
    if (!Array.isArray(items)) return err(apiError('malformed', 'the answer is not a list', answer.status));
    for (const raw of mapsOf(items, PAGE)) each(raw);
    next = textOf(fieldsOf(metadata)['continue'], 64 * 1024);
    if (next === '') break;
  }
  return ok(null);
}

function listenerOf(raw: Fields, className: string): ProbedListener | null {
  const id = identityOf(raw, true);
  const { spec, status } = raw;
  const { port, hostnames, className: own = DEFAULT_CLASS } = fieldsOf(spec);
  if (id === null || own !== className) return null;
  const { namespace, name } = id;
  return {
    namespace,
    name,
    port: isPort(port) ? port : 0,
    hostnames: (Array.isArray(hostnames) ? (hostnames as unknown[]) : []).flatMap((h) => textOf(h, 253) || []),
    unprogrammed: whyUnprogrammed(status),
  };
}

function whyUnprogrammed(status: unknown): string | null {
  const condition = mapsOf(fieldsOf(status)['conditions'], 16).find((c) => c['type'] === 'Programmed');
  if (condition === undefined) return 'nothing has judged it yet: does the controller run, and for its class?';
  if (condition['status'] === 'True') return null;
  const [reason, message] = [textOf(condition['reason'], 256), textOf(condition['message'], 32_768).slice(0, 1024)];
  return `${reason === '' ? 'Unknown' : reason}${message === '' ? '' : `: ${message}`}`;
}
