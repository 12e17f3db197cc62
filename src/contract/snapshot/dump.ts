/** A snapshot for people: a tree by name instead of by hash, without keys. What `/admin/config` and golden files show. */
import type { CertificatePart, GroupPart, HostPart, ListenerPart, Part, PartHash, Snapshot, UpstreamPart } from './parts.ts';

export interface CertificateDump {
  readonly source: string;
  readonly names: readonly string[];
  readonly keyType: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly fingerprint: string;
}

/** What is known of a certificate; written out member by member, so that a new one is shown only when somebody says so. */
export const dumpCertificate = (c: CertificatePart): CertificateDump => ({
  source: c.source,
  names: c.names,
  keyType: c.keyType,
  notBefore: new Date(c.notBefore).toISOString(),
  notAfter: new Date(c.notAfter).toISOString(),
  fingerprint: c.fingerprint,
});

export function dumpSnapshot(snapshot: Snapshot): unknown {
  const listeners = snapshot.root.listeners.map((hash) => partOf(snapshot, hash) as ListenerPart);
  const upstreams: UpstreamPart[] = [];
  const certificates: CertificatePart[] = [];
  for (const part of snapshot.parts.values()) {
    if (part.kind === 'upstream') upstreams.push(part);
    else if (part.kind === 'certificate') certificates.push(part);
  }
  upstreams.sort((a, b) => order(a.namespace, b.namespace) || order(a.name, b.name));
  certificates.sort((a, b) => order(a.source, b.source) || order(a.fingerprint, b.fingerprint));
  return {
    version: snapshot.root.version,
    listeners: listeners.map((l) => dumpListener(snapshot, l)),
    upstreams: upstreams.map((u) => ({ ...u, groups: u.groups.map((g) => ({ ...g, group: dumpGroup(snapshot, g.group) })) })),
    certificates: certificates.map(dumpCertificate),
  };
}

function dumpListener(snapshot: Snapshot, listener: ListenerPart): unknown {
  const entries = listener.tls.entries.map((e) => ({
    names: e.names,
    certificates: e.certificates.map((h) => certificateName(snapshot, h)),
  }));
  const hosts = listener.hosts.map((hash) => {
    const host = partOf(snapshot, hash) as HostPart;
    return {
      hostname: host.hostname,
      routes: host.routes.map(({ upstream, hostname, matchIndex, created, match }) => ({ upstream, hostname, matchIndex, created, match })),
    };
  });
  return { ...listener, tls: { ...listener.tls, entries }, hosts };
}

function dumpGroup(snapshot: Snapshot, hash: PartHash | null): unknown {
  if (hash === null) return null;
  const { id, protocol, tls, healthCheck } = partOf(snapshot, hash) as GroupPart;
  return {
    id,
    protocol,
    healthCheck,
    tls: tls === null ? null : { ...tls, client: tls.client === null ? null : certificateName(snapshot, tls.client) },
  };
}

const certificateName = (snapshot: Snapshot, hash: PartHash): string => (partOf(snapshot, hash) as CertificatePart).fingerprint;

function partOf(snapshot: Snapshot, hash: PartHash): Part {
  const part = snapshot.parts.get(hash);
  if (part === undefined) throw new Error(`the snapshot lacks part ${hash}`);
  return part;
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
