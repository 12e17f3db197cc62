/** Step 5: the groups of every Upstream. A group whose references do not hold keeps its share of the traffic, and answers 500. */
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
import { certificateOf, datesOf, fileContent } from './certificates.ts';
import type { GroupAddress, GroupSource } from './compiled.ts';
import type { Draft, RefFault, UpstreamDraft } from './draft.ts';
import { knownProtocols, protocolOf, targetOf, type ServiceTarget } from './services.ts';

export function backends(draft: Draft): void {
  draft.forFresh((upstream) => {
    const groups: UpstreamPart['groups'][number][] = [];
    const sources: GroupSource[] = [];
    upstream.resource.spec.backends.forEach((backend, i) => {
      const source = groupOf(draft, upstream, backend, i);
      if (source !== null) sources.push(source);
      groups.push({ name: backend.name, weight: backend.weight, group: source === null ? null : source.part });
    });
    upstream.groups = groups;
    upstream.sources = sources;
    if (groups.every((g) => g.weight === 0)) draft.report('warning', upstream, 'spec.backends', 'every weight is 0: all requests get 503');
  });
}

function groupOf(draft: Draft, upstream: UpstreamDraft, backend: UpstreamBackend, index: number): GroupSource | null {
  const { spec } = upstream.resource;
  const path = `spec.backends[${index}]`;
  const target = backend.addresses === undefined ? serviceOf(draft, upstream, backend, path) : null;
  if (target === undefined || (target === null && refuseAddresses(draft, upstream, path))) return null;
  const tls = tlsOf(draft, upstream, backend, path, target);
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
  return { group, part: draft.memo.encode(group).hash, upstream: upstream.name, addresses, service: target?.service ?? null };
}

/** Undefined: the reference does not hold. */
function serviceOf(draft: Draft, upstream: UpstreamDraft, backend: UpstreamBackend, path: string): ServiceTarget | undefined {
  const { cluster } = draft;
  if (cluster === null || backend.service === undefined) {
    draft.unresolved(upstream, `${path}.service`, { reason: 'InvalidBackend', message: 'service needs a cluster; give addresses instead' });
    return undefined;
  }
  const key = objectKey(backend.service.namespace ?? upstream.name.namespace, backend.service.name);
  draft.reads?.add('service', key, cluster.objects.services.get(key));
  const found = targetOf(cluster, upstream.name.namespace, backend.service);
  if (found.ok) return found.value;
  draft.unresolvedGroup(upstream, `${path}.service${found.error.at}`, found.error.fault);
  return undefined;
}

/** Addresses reach what the cluster's network reaches, past every Service: whoever runs the cluster decides. */
function refuseAddresses(draft: Draft, upstream: UpstreamDraft, path: string): boolean {
  if (draft.cluster === null || draft.cluster.installation.allowAddressBackends) return false;
  draft.unresolvedGroup(upstream, `${path}.addresses`, {
    reason: 'InvalidBackend',
    message: "addresses are not allowed here: name a Service, or set the chart's value allowAddressBackends (--allow-address-backends)",
  });
  return true;
}

/** Null: clear text. Undefined: a reference does not hold. `protocol` and `tls` of the group replace the Upstream's, each as a whole. */
function tlsOf(
  draft: Draft,
  upstream: UpstreamDraft,
  backend: UpstreamBackend,
  path: string,
  target: ServiceTarget | null,
): BackendTlsPart | null | undefined {
  const { spec } = upstream.resource;
  const own = backend.tls !== undefined;
  const tls = backend.tls ?? spec.tls;
  const protocol = protocolFor(backend.protocol ?? spec.protocol, tls !== undefined, target);
  if (!protocol.ok) {
    draft.unresolvedGroup(upstream, `${path}.service.port`, { reason: 'InvalidBackend', message: protocol.error });
    return undefined;
  }
  if (protocol.value === 'H2C') {
    // Its own `tls` beside an H2C of the Upstream: the schema sees each level alone.
    if (own)
      draft.refuse(upstream, `${path}.tls`, {
        reason: 'Invalid',
        message: 'tls is given, but spec.protocol is H2C, which is clear text; set protocol: H2 beside it',
      });
    return null;
  }
  const at = own ? `${path}.tls` : 'spec.tls';
  const resolved = resolveTls(draft, upstream, tls, at, target);
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

/** Auto goes by the Service's port; where that says nothing, and for addresses, it is TLS where TLS is configured: nothing leaves in clear text by an oversight. */
function protocolFor(asked: UpstreamBackend['protocol'], hasTls: boolean, target: ServiceTarget | null): Result<'H2C' | 'H2', string> {
  if (asked === 'H2C' || asked === 'H2') return ok(asked);
  if (target === null || target.appProtocol === '') return ok(hasTls ? 'H2' : 'H2C');
  const { appProtocol, text } = target;
  const said = `appProtocol ${JSON.stringify(appProtocol)} of ${text}`;
  const known = protocolOf(appProtocol);
  if (known === undefined)
    return err(`${said} is none that protocol Auto knows (${knownProtocols()}): set protocol of the backend to H2C or H2`);
  if (known === 'H2C' && hasTls) return err(`tls is given, but ${said} is clear text: set protocol of the backend to H2C or H2`);
  return ok(known);
}

function noteUnverified(draft: Draft, upstream: UpstreamDraft, at: string): void {
  const note = `${at}.verify is None: whoever answers is believed`;
  if (upstream.notes.includes(note)) return;
  upstream.notes.push(note);
  draft.report('warning', upstream, `${at}.verify`, 'certificates of backends are not checked: whoever answers is believed');
}

type Resolved = Result<BackendTlsPart, { readonly path: string; readonly fault: RefFault }>;

function resolveTls(
  draft: Draft,
  upstream: UpstreamDraft,
  tls: BackendTls | undefined,
  at: string,
  target: ServiceTarget | null,
): Resolved {
  const { namespace } = upstream.name;
  const ca = tls?.caRef === undefined ? ok(null) : bundleOf(draft, namespace, tls.caRef);
  if (!ca.ok) return err({ path: `${at}.caRef`, fault: ca.error });
  const client =
    tls?.clientCertificateRef === undefined
      ? null
      : certificateOf(draft, { kind: 'Upstream', namespace }, tls.clientCertificateRef, 'client');
  if (client !== null && !client.ok) return err({ path: `${at}.clientCertificateRef`, fault: client.error });
  if (client !== null) {
    upstream.clients.set(client.value.hash, client.value.part);
    upstream.shown.set(client.value.hash, datesOf(client.value));
  }
  return ok({
    verify: tls?.verify !== 'None',
    serverName: tls?.serverName === undefined ? nameOf(target) : bareHost(tls.serverName),
    sni: tls?.sni ?? true,
    ca: ca.value,
    client: client === null ? null : client.value.hash,
  });
}

/** What a Service is called inside the cluster; an address has its own host. */
const nameOf = (target: ServiceTarget | null): string | null =>
  target === null ? null : `${target.service.name}.${target.service.namespace}.svc`;

type CaRef = NonNullable<BackendTls['caRef']>;

function bundleOf(draft: Draft, namespace: string, ref: CaRef): Result<string, RefFault> {
  const found = bundleBytes(draft, namespace, ref);
  if (!found.ok) return found;
  const { source, holder, bytes } = found.value;
  const bundle = draft.memo.slot(holder, 'bundle', [], () => {
    const read = bytes();
    return draft.memo.keep(`bundle ${source}`, [Buffer.from(read).toString('latin1')], () => inspectBundle(read));
  });
  return bundle.ok ? bundle : invalid(`${source}: ${bundle.error}`);
}

const invalid = (message: string): Result<never, RefFault> => err({ reason: 'InvalidCertificate', message });

interface Bundle {
  readonly source: string;
  /** What a verdict can be kept by. */
  readonly holder: object;
  readonly bytes: () => Uint8Array;
}

function bundleBytes(draft: Draft, namespace: string, ref: CaRef): Result<Bundle, RefFault> {
  if (ref.files !== undefined) {
    const content = fileContent(draft, ref.files.ca);
    return content.ok ? ok({ source: ref.files.ca, holder: content.value, bytes: () => content.value }) : invalid(content.error);
  }
  const readable = draft.cluster?.readable(ref.kind, namespace);
  if (readable?.ok === false) return readable;
  const key = objectKey(namespace, ref.name ?? '');
  const source = `${ref.kind} ${key}`;
  const found = ref.kind === 'Secret' ? draft.set.secrets.get(key) : draft.set.configMaps.get(key);
  draft.reads?.add(ref.kind === 'Secret' ? 'secret' : 'configMap', key, found);
  if (found === undefined) return invalid(`there is no ${source}`);
  const value = found.data.get('ca.crt');
  if (value === undefined) return invalid(`${source} lacks ca.crt`);
  return ok({ source, holder: found, bytes: () => (typeof value === 'string' ? Buffer.from(value) : value.reveal()) });
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
