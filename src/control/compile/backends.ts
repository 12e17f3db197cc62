/** Step 3: the groups of every Upstream. A group whose references do not hold keeps its share of the traffic, and answers 500. */
import {
  DEFAULT_HTTP_CHECK,
  formatHostPort,
  objectKey,
  parseDuration,
  parseHostPort,
  parseStatuses,
} from '../../contract/resources/index.ts';
import type { BackendTls, HealthCheck, UpstreamBackend } from '../../contract/resources/index.ts';
import { lowerAscii } from '../../contract/routes/host.ts';
import { groupId, type BackendTlsPart, type GroupPart, type HealthCheckPart, type UpstreamPart } from '../../contract/snapshot/index.ts';
import { inspectBundle } from '../../contract/tls.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import { certificateOf, fileContent } from './certificates.ts';
import type { GroupAddress, GroupSource } from './compiled.ts';
import type { Draft, RefFault, UpstreamDraft } from './draft.ts';

export function backends(draft: Draft): void {
  for (const upstream of draft.upstreams) {
    const groups: UpstreamPart['groups'][number][] = [];
    const sources: GroupSource[] = [];
    upstream.resource.spec.backends.forEach((backend, i) => {
      const source = groupOf(draft, upstream, backend, i);
      if (source !== null) sources.push(source);
      groups.push({ name: backend.name, weight: backend.weight, group: source === null ? null : draft.memo.encode(source.group).hash });
    });
    upstream.groups = groups;
    upstream.sources = sources;
    if (groups.every((g) => g.weight === 0)) draft.report('warning', upstream, 'spec.backends', 'every weight is 0: all requests get 503');
  }
}

function groupOf(draft: Draft, upstream: UpstreamDraft, backend: UpstreamBackend, index: number): GroupSource | null {
  const { spec } = upstream.resource;
  const path = `spec.backends[${index}]`;
  if (backend.addresses === undefined) {
    const why = draft.options.standalone
      ? 'service needs a cluster; give addresses instead'
      : 'service is not supported yet; give addresses instead';
    draft.unresolved(upstream, `${path}.service`, { reason: 'InvalidBackend', message: why });
    return null;
  }
  const tls = tlsOf(draft, upstream, backend, path);
  if (tls === undefined) return null;
  const check = backend.healthCheck ?? spec.healthCheck;
  const group = draft.memo.slot(upstream.facts, path, [tls], (): GroupPart => ({
    kind: 'group',
    id: groupId(upstream.name.namespace, upstream.name.name, backend.name),
    upstream: upstream.name,
    name: backend.name,
    protocol: tls === null ? 'H2C' : 'H2',
    tls,
    healthCheck: check === undefined ? null : healthCheckOf(check),
  }));
  const addresses = draft.memo.slot(upstream.facts, `${path}.addresses`, [], () => addressesOf(backend));
  refuseDoubles(draft, upstream, path, addresses);
  return { group, upstream: upstream.name, addresses, service: null };
}

/** Null: clear text. Undefined: a reference does not hold. `protocol` and `tls` of the group replace the Upstream's, each as a whole. */
function tlsOf(draft: Draft, upstream: UpstreamDraft, backend: UpstreamBackend, path: string): BackendTlsPart | null | undefined {
  const { spec } = upstream.resource;
  const protocol = backend.protocol ?? spec.protocol;
  const own = backend.tls !== undefined;
  const tls = backend.tls ?? spec.tls;
  if (protocol === 'H2C') {
    // Its own `tls` beside an H2C of the Upstream: the schema sees each level alone.
    if (own)
      draft.refuse(upstream, `${path}.tls`, {
        reason: 'Invalid',
        message: 'tls is given, but spec.protocol is H2C, which is clear text; set protocol: H2 beside it',
      });
    return null;
  }
  // Addresses have no appProtocol to go by: TLS where it is configured, so that nothing leaves in clear text by an oversight.
  if (protocol === 'Auto' && tls === undefined) return null;
  const at = own ? `${path}.tls` : 'spec.tls';
  const resolved = resolveTls(draft, upstream, tls, at);
  if (!resolved.ok) {
    // One fault of the Upstream's own `tls` concerns all of its groups, and is told once.
    const told = upstream.refFaults.some((f) => f.message === `${resolved.error.path}: ${resolved.error.fault.message}`);
    if (!told) draft.unresolvedGroup(upstream, resolved.error.path, resolved.error.fault);
    return undefined;
  }
  if (!resolved.value.verify) noteUnverified(draft, upstream, at);
  const { verify, serverName, sni, ca, client } = resolved.value;
  return draft.memo.slot(upstream.facts, `${path} tls`, [verify, serverName, sni, ca, client], () => resolved.value);
}

function noteUnverified(draft: Draft, upstream: UpstreamDraft, at: string): void {
  const note = `${at}.verify is None: whoever answers is believed`;
  if (upstream.notes.includes(note)) return;
  upstream.notes.push(note);
  draft.report('warning', upstream, `${at}.verify`, 'certificates of backends are not checked: whoever answers is believed');
}

type Resolved = Result<BackendTlsPart, { readonly path: string; readonly fault: RefFault }>;

function resolveTls(draft: Draft, upstream: UpstreamDraft, tls: BackendTls | undefined, at: string): Resolved {
  const ca = tls?.caRef === undefined ? ok(null) : bundleOf(draft, upstream.name.namespace, tls.caRef);
  if (!ca.ok) return err({ path: `${at}.caRef`, fault: { reason: 'InvalidCertificate', message: ca.error } });
  const client =
    tls?.clientCertificateRef === undefined ? null : certificateOf(draft, upstream.name.namespace, tls.clientCertificateRef, 'client');
  if (client !== null && !client.ok) return err({ path: `${at}.clientCertificateRef`, fault: client.error });
  if (client !== null) draft.clientCertificates.set(client.value.hash, client.value.part);
  return ok({
    verify: tls?.verify !== 'None',
    serverName: tls?.serverName === undefined ? null : bareHost(tls.serverName),
    sni: tls?.sni ?? true,
    ca: ca.value,
    client: client === null ? null : client.value.hash,
  });
}

function bundleOf(draft: Draft, namespace: string, ref: NonNullable<BackendTls['caRef']>): Result<string, string> {
  const [source, bytes] = bundleBytes(draft, namespace, ref);
  if (!bytes.ok) return bytes;
  const text = Buffer.from(bytes.value).toString('latin1');
  const bundle = draft.memo.keep(`bundle ${source}`, [text], () => inspectBundle(bytes.value));
  return bundle.ok ? bundle : err(`${source}: ${bundle.error}`);
}

function bundleBytes(
  draft: Draft,
  namespace: string,
  ref: NonNullable<BackendTls['caRef']>,
): readonly [string, Result<Uint8Array, string>] {
  if (ref.files !== undefined) return [ref.files.ca, fileContent(draft, ref.files.ca)];
  const key = objectKey(namespace, ref.name ?? '');
  const source = `${ref.kind} ${key}`;
  const found = ref.kind === 'Secret' ? draft.set.secrets.get(key) : draft.set.configMaps.get(key);
  if (found === undefined) return [source, err(`there is no ${source}`)];
  const value = found.data.get('ca.crt');
  if (value === undefined) return [source, err(`${source} lacks ca.crt`)];
  return [source, ok(typeof value === 'string' ? Buffer.from(value) : value.reveal())];
}

const bareHost = (host: string): string => lowerAscii(host.endsWith('.') ? host.slice(0, -1) : host);

function addressesOf(backend: UpstreamBackend): GroupAddress[] {
  return (backend.addresses ?? []).map((a) => {
    const { host, port } = parseHostPort(a.address);
    return { host: bareHost(host), port, weight: a.weight, label: a.name ?? formatHostPort({ host, port }) };
  });
}

/** Too many addresses for a rule of the API server to compare. */
function refuseDoubles(draft: Draft, upstream: UpstreamDraft, path: string, addresses: readonly GroupAddress[]): void {
  const endpoints = new Set<string>();
  const labels = new Set<string>();
  addresses.forEach((a, i) => {
    const endpoint = formatHostPort(a);
    const double = endpoints.has(endpoint) ? `the address ${endpoint}` : labels.has(a.label) ? `the name ${a.label}` : null;
    if (double !== null)
      draft.refuse(upstream, `${path}.addresses[${i}]`, { reason: 'Invalid', message: `${double} is there twice in its group` });
    endpoints.add(endpoint);
    labels.add(a.label);
  });
}

function healthCheckOf(check: HealthCheck): HealthCheckPart {
  const http = check.http ?? DEFAULT_HTTP_CHECK;
  return {
    path: http.path,
    statuses: http.statuses.map(parseStatuses),
    hostname: http.hostname ?? null,
    intervalMs: parseDuration(check.interval),
    timeoutMs: parseDuration(check.timeout),
    cooldownMs: parseDuration(check.cooldown),
    healthyThreshold: check.healthyThreshold,
    unhealthyThreshold: check.unhealthyThreshold,
    initial: check.initial,
  };
}
