/** Step 10: the parts that the root reaches, and no others. */
import { compareRoutes } from '../../contract/routes/rank.ts';
import type { GroupId, HostPart, ListenerPart, Part, PartHash, RoutePart } from '../../contract/snapshot/index.ts';
import type { Compiled, GroupSource } from './compiled.ts';
import { byName, type Attachment, type Draft, type ListenerDraft, type Pair, type UpstreamDraft } from './draft.ts';

type Assembled = Pick<Compiled, 'listeners' | 'parts' | 'encoded' | 'groups'>;

class Assembly implements Assembled {
  readonly listeners: PartHash[] = [];
  readonly parts = new Map<PartHash, Part>();
  readonly encoded = new Map<PartHash, Uint8Array>();
  readonly groups = new Map<GroupId, GroupSource>();
  readonly targets = new Map<UpstreamDraft, PartHash>();
  private readonly draft: Draft;

  constructor(draft: Draft) {
    this.draft = draft;
  }

  add(part: Part): PartHash {
    const { hash, bytes } = this.draft.memo.encode(part);
    this.parts.set(hash, part);
    this.encoded.set(hash, bytes);
    return hash;
  }
}

export function assemble(draft: Draft): Assembled {
  const assembly = new Assembly(draft);
  const served = draft.listeners.filter((l) => l.refused === null).sort((a, b) => byName(a.name, b.name));
  for (const listener of served) assembly.listeners.push(assembly.add(listenerPart(draft, assembly, listener)));
  return assembly;
}

function listenerPart(draft: Draft, assembly: Assembly, listener: ListenerDraft): ListenerPart {
  const { spec } = listener.resource;
  const { tls, policies, publication } = listener;
  if (tls === null || policies === null || publication === null) throw new Error('assemble runs last');
  for (const certificate of [...listener.certificates, ...listener.attachments.flatMap((a) => a.upstream.certificates)]) {
    if (certificate !== null && tls.entries.some((e) => e.certificates.includes(certificate.hash))) assembly.add(certificate.part);
  }
  return {
    kind: 'listener',
    ...listener.name,
    addresses: listener.addresses,
    port: spec.port,
    advertisedPort: publication.advertisedPort,
    hostnames: listener.hostnames,
    tls,
    ...policies,
    escapedSlashes: spec.path.escapedSlashes,
    trust: spec.forwarded.trust,
    proxyStatusDetails: spec.proxyStatusDetails,
    hosts: hostParts(draft, assembly, listener),
  };
}

function hostParts(draft: Draft, assembly: Assembly, listener: ListenerDraft): PartHash[] {
  const byHost = new Map<string, RoutePart[]>();
  for (const attachment of listener.attachments) {
    if (!attachment.serves) continue;
    const target = targetOf(draft, assembly, attachment);
    for (const pair of attachment.kept) {
      const route = routePart(draft, attachment.upstream, pair, target);
      for (const hostname of pair.effective) {
        const routes = byHost.get(hostname);
        if (routes === undefined) byHost.set(hostname, [route]);
        else routes.push(route);
      }
    }
  }
  return Array.from(byHost.keys())
    .sort()
    .map((hostname) => {
      const routes = byHost.get(hostname) as RoutePart[];
      // Of most Listeners the same, and encoded once for all of them.
      const part = draft.memo.slot(routes[0] as RoutePart, `host ${hostname}`, routes, (): HostPart => ({
        kind: 'host',
        hostname,
        routes: [...routes].sort(compareRoutes),
      }));
      return assembly.add(part);
    });
}

function routePart(draft: Draft, upstream: UpstreamDraft, pair: Pair, target: PartHash): RoutePart {
  const { facts, name, resource } = upstream;
  const { index, match } = facts.matches[pair.match] as (typeof facts.matches)[number];
  const { created } = resource.meta;
  return draft.memo.slot(facts, `route ${pair.match} ${pair.hostname}`, [target, created], () => ({
    upstream: name,
    hostname: pair.hostname,
    matchIndex: index,
    created,
    match,
    target,
  }));
}

/** The Upstream's own parts, once. */
function targetOf(draft: Draft, assembly: Assembly, attachment: Attachment): PartHash {
  const { upstream } = attachment;
  const known = assembly.targets.get(upstream);
  if (known !== undefined) return known;
  if (upstream.part === null) throw new Error('assemble runs after policies');
  for (const source of upstream.sources) {
    assembly.add(source.group);
    assembly.groups.set(source.group.id, source);
    const client = source.group.tls?.client ?? null;
    const certificate = client === null ? undefined : draft.clientCertificates.get(client);
    if (certificate !== undefined) assembly.add(certificate);
  }
  const hash = assembly.add(upstream.part);
  assembly.targets.set(upstream, hash);
  return hash;
}
