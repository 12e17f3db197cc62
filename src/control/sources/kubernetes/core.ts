/** Objects of Kubernetes and of the Gateway API, as little of them as compile needs. Total but for nesting without end. */
import {
  isAddress,
  matchesPattern,
  type ConfigMap,
  type Grant,
  type SecretObject,
  type Service,
  type ServicePort,
} from '../../../contract/resources/index.ts';
import { canonicalAddress } from '../../../contract/tls.ts';
import { Secret } from '../../../lib/secret.ts';
import { OUR_GROUP } from './kinds.ts';
import { fieldsOf, isEnding, isFields, isName, isNamespace, isPort, LABEL_LENGTH, mapsOf, metaOf, textOf, type Identity } from './meta.ts';

export const MAX_PORTS = 1000;
/** As many as a status may have. */
export const MAX_ADDRESSES = 256;
export const MAX_LABELS = 1024;
export const MAX_GRANT_ITEMS = 64;

export interface ServiceObject extends Identity {
  readonly service: Service;
  /** `ipFamilies[0]`; '' when it is not said. */
  readonly family: 'IPv4' | 'IPv6' | '';
}

const TYPES = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'] as const;
const PROTOCOLS = ['TCP', 'UDP', 'SCTP'] as const;
const oneOf = <T extends string>(words: readonly T[], value: unknown, absent: T): T | null =>
  value === undefined || value === null ? absent : (words.find((w) => w === value) ?? null);

export function readService(raw: unknown, identity: Identity): ServiceObject | 'malformed' {
  const spec = fieldsOf(fieldsOf(raw)['spec']);
  const type = oneOf(TYPES, spec['type'], 'ClusterIP');
  if (type === null) return 'malformed';
  // A copy: a list that has grown has room to spare.
  const ports = mapsOf(spec['ports'], MAX_PORTS)
    .flatMap((p) => portOf(p) ?? [])
    .slice();
  const families: unknown = spec['ipFamilies'];
  const first: unknown = Array.isArray(families) ? families[0] : undefined;
  return {
    ...identity,
    // A Service has no generation.
    service: { meta: metaOf(raw, identity), type, ports, addresses: addressesOf(raw) },
    family: first === 'IPv4' || first === 'IPv6' ? first : '',
  };
}

function portOf(raw: Readonly<Record<string, unknown>>): ServicePort | null {
  const { port, nodePort, name } = raw;
  const protocol = oneOf(PROTOCOLS, raw['protocol'], 'TCP');
  if (!isPort(port) || protocol === null) return null;
  const target = raw['targetPort'];
  const targetPort = isPort(target) || isPortName(target) ? target : port;
  return {
    name: isPortName(name) ? name : '',
    port,
    protocol,
    targetPort,
    nodePort: isPort(nodePort) ? nodePort : 0,
    appProtocol: textOf(raw['appProtocol'], 253),
  };
}

export const isPortName = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= LABEL_LENGTH && matchesPattern('portName', value);

const isHost = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 253 && matchesPattern('exactHostname', value);

/** A literal in its one form; null when it is none. */
export const addressOf = (value: unknown): string | null => {
  if (typeof value !== 'string' || value.length > 45 || !isAddress(value)) return null;
  return value.includes(':') ? canonicalAddress(value) : value;
};

/** Of the load balancer first: those are what the cluster promises. */
function addressesOf(raw: unknown): string[] {
  const { spec, status } = fieldsOf(raw);
  const found = new Set<string>();
  for (const { ip, hostname } of mapsOf(fieldsOf(fieldsOf(status)['loadBalancer'])['ingress'], MAX_ADDRESSES)) {
    const address = addressOf(ip);
    if (address !== null) found.add(address);
    else if (isHost(hostname)) found.add(hostname);
  }
  const external: unknown = fieldsOf(spec)['externalIPs'];
  for (const ip of Array.isArray(external) ? external.slice(0, MAX_ADDRESSES) : []) {
    const address = addressOf(ip);
    if (address !== null) found.add(address);
  }
  return [...found].slice(0, MAX_ADDRESSES);
}

export interface SecretEntry extends Identity {
  readonly secret: SecretObject;
}

/** The only ones that anything is read from: others are not kept. */
const SECRET_KEYS = ['tls.crt', 'tls.key', 'ca.crt'] as const;
const BUNDLE_KEY = 'ca.crt';

export function readSecret(raw: unknown, identity: Identity): SecretEntry {
  const { type, data } = fieldsOf(raw);
  const kept = new Map<string, Secret>();
  for (const key of SECRET_KEYS) {
    const text = fieldsOf(data)[key];
    const bytes = typeof text === 'string' ? decodeBase64(text) : null;
    if (bytes !== null) kept.set(key, new Secret(bytes));
  }
  return { ...identity, secret: { meta: metaOf(raw, identity), type: textOf(type, 253) || 'Opaque', data: kept } };
}

/** Strict, unlike `Buffer.from`. A copy of its own: a slice of the pool would hold the others. */
function decodeBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return new Uint8Array(Buffer.from(text, 'base64'));
}

export interface ConfigMapEntry extends Identity {
  readonly configMap: ConfigMap;
}

export function readConfigMap(raw: unknown, identity: Identity): ConfigMapEntry {
  const bundle = fieldsOf(fieldsOf(raw)['data'])[BUNDLE_KEY];
  const data = new Map(typeof bundle === 'string' ? [[BUNDLE_KEY, bundle] as const] : []);
  return { ...identity, configMap: { meta: metaOf(raw, identity), data } };
}

export interface NamespaceEntry extends Identity {
  readonly labels: ReadonlyMap<string, string>;
}

/** A namespace with only some of them could be chosen where it should not be. */
export function readNamespace(raw: unknown, identity: Identity): NamespaceEntry | 'malformed' {
  const written = fieldsOf(fieldsOf(raw)['metadata'])['labels'];
  const entries = Object.entries(fieldsOf(written));
  if (!isNamespace(identity.name) || (written !== undefined && written !== null && !isFields(written)) || entries.length > MAX_LABELS)
    return 'malformed';
  const labels = new Map<string, string>();
  for (const [key, value] of entries) {
    if (typeof value !== 'string' || value.length > LABEL_LENGTH || key.length > 317) return 'malformed';
    labels.set(key, value);
  }
  return { ...identity, labels };
}

export interface NodeEntry extends Identity {
  readonly ready: boolean;
  /** Those that are reachable from outside, or, without any, the inner ones. */
  readonly addresses: readonly string[];
  /** '' without one. */
  readonly zone: string;
}

export const ZONE_LABEL = 'topology.kubernetes.io/zone';

export function readNode(raw: unknown, identity: Identity): NodeEntry {
  const { metadata, status } = fieldsOf(raw);
  const ready = mapsOf(fieldsOf(status)['conditions'], 64).some((c) => c['type'] === 'Ready' && c['status'] === 'True');
  const addresses = mapsOf(fieldsOf(status)['addresses'], 64);
  const of = (type: string): string[] => addresses.flatMap((a) => (a['type'] === type ? (addressOf(a['address']) ?? []) : []));
  const outer = of('ExternalIP');
  const zone = textOf(fieldsOf(fieldsOf(metadata)['labels'])[ZONE_LABEL], LABEL_LENGTH);
  return { ...identity, ready: ready && !isEnding(raw), addresses: outer.length > 0 ? outer : of('InternalIP'), zone };
}

export interface GrantEntry extends Identity {
  readonly grant: Grant;
}

/** Closed: what cannot be read opens nothing, and a grant that is being deleted neither. */
export function readGrant(raw: unknown, identity: Identity): GrantEntry {
  const spec = isEnding(raw) ? {} : fieldsOf(fieldsOf(raw)['spec']);
  const from = mapsOf(spec['from'], MAX_GRANT_ITEMS).flatMap(({ group, kind, namespace }) =>
    group === OUR_GROUP && isKind(kind) && isNamespace(namespace) ? [{ kind, namespace }] : [],
  );
  const to = mapsOf(spec['to'], MAX_GRANT_ITEMS).flatMap(({ group, kind, name }) => {
    const named = name === undefined || name === null || name === '' ? '' : isName(name) ? name : null;
    return (group === '' || isGroup(group)) && isKind(kind) && named !== null ? [{ group, kind, name: named }] : [];
  });
  return { ...identity, grant: { namespace: identity.namespace, from, to } };
}

const isKind = (value: unknown): value is string => typeof value === 'string' && /^[A-Za-z][A-Za-z0-9-]{0,62}$/.test(value);
const isGroup = isName;
