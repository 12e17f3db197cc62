/** Parts and snapshots for tests, with every member filled in. */
import { encodePart, groupId, hashPart } from '../../src/contract/snapshot/wire.ts';
import type {
  CertificatePart,
  GroupPart,
  HostPart,
  ListenerPart,
  Part,
  PartHash,
  RoutePart,
  Snapshot,
  UpstreamPart,
} from '../../src/contract/snapshot/parts.ts';
import { Secret } from '../../src/lib/secret.ts';

export const certificatePart = (o: Partial<CertificatePart> = {}): CertificatePart => ({
  kind: 'certificate',
  source: 'default/site-tls',
  cert: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
  key: new Secret(Buffer.from('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n')),
  keyType: 'ecdsa',
  names: ['site.example'],
  notBefore: Date.UTC(2024, 0, 1),
  notAfter: Date.UTC(2044, 0, 1),
  fingerprint: 'ab'.repeat(32),
  ...o,
});

export const listenerPart = (o: Partial<ListenerPart> = {}): ListenerPart => ({
  kind: 'listener',
  namespace: 'default',
  name: 'public',
  addresses: ['127.0.0.1'],
  port: 0,
  advertisedPort: 443,
  hostnames: [],
  tls: { entries: [], fallback: null, unmatched: 'Default' },
  quic: {
    idleTimeoutMs: 30_000,
    keepAliveMs: -1,
    handshakeTimeoutMs: 10_000,
    maxStreams: 128,
    streamWindow: 1024 ** 2,
    congestionControl: 'Cubic',
    retry: 'Auto',
  },
  limits: {
    connections: null,
    connectionsPerAddress: 1000,
    handshakesPerSecond: 2000,
    headerBytes: 64 * 1024,
    headerCount: 128,
    requestBody: 0,
    headerTimeoutMs: 10_000,
    bodyIdleTimeoutMs: 30_000,
    responseStallMs: 60_000,
    noRequestTimeoutMs: 300_000,
    requestsPerConnection: 100_000,
    pending: 1024,
  },
  escapedSlashes: 'Reject',
  trust: [],
  proxyStatusDetails: false,
  hosts: [],
  ...o,
});

export const groupPart = (o: Partial<GroupPart> = {}): GroupPart => ({
  kind: 'group',
  id: groupId('default', 'site', o.name ?? 'default'),
  upstream: { namespace: 'default', name: 'site' },
  name: 'default',
  protocol: 'H2C',
  tls: null,
  healthCheck: null,
  ...o,
});

export const upstreamPart = (groups: UpstreamPart['groups'], o: Partial<UpstreamPart> = {}): UpstreamPart => ({
  kind: 'upstream',
  namespace: 'default',
  name: 'site',
  balancing: { type: 'RoundRobin' },
  timeouts: { connectMs: 1000, responseMs: 30_000, idleMs: 300_000, requestMs: 0 },
  groups,
  ...o,
});

export const routePart = (target: PartHash, o: Partial<RoutePart> = {}): RoutePart => ({
  upstream: { namespace: 'default', name: 'site' },
  hostname: '*',
  matchIndex: -1,
  created: 0,
  match: { path: null, methods: [], headers: [], query: [] },
  target,
  ...o,
});

export const hostPart = (hostname: string, routes: readonly RoutePart[]): HostPart => ({ kind: 'host', hostname, routes });

/** Collects parts by their hashes: `add` gives the hash for whoever refers to the part. */
export class SnapshotBuilder {
  readonly parts = new Map<PartHash, Part>();

  add(part: Part): PartHash {
    const hash = hashPart(encodePart(part));
    this.parts.set(hash, part);
    return hash;
  }

  build(listeners: readonly PartHash[], version = 1): Snapshot {
    return { root: { version, listeners }, parts: this.parts };
  }
}
