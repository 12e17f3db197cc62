/** One EndpointSlice, read: conditions resolved, what no rule asks for left out. */
import { objectKey, type ObjectKey } from '../../../contract/resources/index.ts';
import { addressOf, isPortName, MAX_PORTS } from './core.ts';
import { fieldsOf, isName, isPort, LABEL_LENGTH, mapsOf, textOf, type Fields, type Identity } from './meta.ts';

export type Family = 'IPv4' | 'IPv6';

export interface SlicePort {
  readonly name: string;
  readonly port: number;
}

export interface SliceEndpoint {
  readonly address: string;
  readonly ready: boolean;
  /** Not ready, but serving while it ends. */
  readonly draining: boolean;
  /** Hints; null without. */
  readonly nodes: readonly string[] | null;
  readonly zones: readonly string[] | null;
}

export interface Slice extends Identity {
  readonly service: ObjectKey;
  /** The uid of the Service that it was made for; '' when it was made by somebody else. */
  readonly owner: string;
  readonly family: Family;
  /** TCP alone. */
  readonly ports: readonly SlicePort[];
  readonly endpoints: readonly SliceEndpoint[];
  /** Endpoints that were left out: beyond the limit, or not to be read. */
  readonly leftOut: number;
}

export const SERVICE_LABEL = 'kubernetes.io/service-name';
/** What a server allows in one slice. */
export const MAX_SLICE_ENDPOINTS = 1000;
const MAX_HINTS = 8;

/** The one list of these names: thousands of endpoints have the same hints. */
export type Intern = (names: readonly string[]) => readonly string[];

/** `ignored`: of no Service, or of addresses without meaning (FQDN, deprecated). */
export function readSlice(raw: unknown, identity: Identity, intern: Intern): Slice | 'ignored' {
  const { metadata, addressType, ports, endpoints } = fieldsOf(raw);
  const service: unknown = fieldsOf(fieldsOf(metadata)['labels'])[SERVICE_LABEL];
  if (!isName(service) || (addressType !== 'IPv4' && addressType !== 'IPv6')) return 'ignored';
  // Both lists may be null.
  const written: readonly unknown[] = Array.isArray(endpoints) ? endpoints : [];
  const kept = mapsOf(written, MAX_SLICE_ENDPOINTS).flatMap((e) => endpointOf(e, addressType, intern) ?? []);
  return {
    ...identity,
    service: objectKey(identity.namespace, service),
    owner: ownerOf(metadata),
    family: addressType,
    // Copies: lists that have grown have room to spare, and these are kept by the ten thousand.
    ports: mapsOf(ports, MAX_PORTS)
      .flatMap((p) => slicePort(p) ?? [])
      .slice(),
    endpoints: kept.slice(),
    leftOut: written.length - kept.length,
  };
}

function ownerOf(metadata: unknown): string {
  const owner = mapsOf(fieldsOf(metadata)['ownerReferences'], 16).find((o) => o['kind'] === 'Service' && o['apiVersion'] === 'v1');
  return textOf(owner?.['uid'], 128);
}

/** A port without a number stands for all of them, which is no place to connect to. */
function slicePort({ name, port, protocol }: Fields): SlicePort | null {
  if (!isPort(port) || (protocol ?? 'TCP') !== 'TCP') return null;
  if (name !== undefined && name !== null && name !== '' && !isPortName(name)) return null;
  return { name: typeof name === 'string' ? name : '', port };
}

/** Of `addresses` only the first has a meaning. A condition that is absent or null: ready, serving, not terminating. */
function endpointOf(raw: Fields, family: Family, intern: Intern): SliceEndpoint | null {
  const { addresses, conditions, hints } = raw;
  const address = addressOf(Array.isArray(addresses) ? (addresses as unknown[])[0] : undefined);
  if (address === null || address.includes(':') !== (family === 'IPv6')) return null;
  const { ready, serving, terminating } = fieldsOf(conditions);
  const isReady = ready !== false;
  const draining = !isReady && terminating === true && serving !== false;
  return {
    address,
    ready: isReady,
    draining,
    nodes: hintsOf(fieldsOf(hints)['forNodes'], intern),
    zones: hintsOf(fieldsOf(hints)['forZones'], intern),
  };
}

function hintsOf(value: unknown, intern: Intern): readonly string[] | null {
  if (!Array.isArray(value) || value.length === 0) return null;
  const names = mapsOf(value, MAX_HINTS).flatMap(({ name }) => textOf(name, LABEL_LENGTH) || []);
  return intern(names);
}

/** Whether two readings of a slice mean the same: the server writes slices for reasons that are none of ours. */
export function sameSlice(a: Slice, b: Slice): boolean {
  return (
    a.service === b.service &&
    a.owner === b.owner &&
    a.family === b.family &&
    sameList(a.ports, b.ports, (p, q) => p.name === q.name && p.port === q.port) &&
    sameList(a.endpoints, b.endpoints, sameEndpoint)
  );
}

const sameEndpoint = (a: SliceEndpoint, b: SliceEndpoint): boolean =>
  a.address === b.address && a.ready === b.ready && a.draining === b.draining && sameHints(a.nodes, b.nodes) && sameHints(a.zones, b.zones);

const sameHints = (a: readonly string[] | null, b: readonly string[] | null): boolean =>
  a === b || (a !== null && b !== null && sameList(a, b, (x, y) => x === y));

const sameList = <T>(a: readonly T[], b: readonly T[], same: (x: T, y: T) => boolean): boolean =>
  a.length === b.length && a.every((x, i) => same(x, b[i] as T));
