/** Steps 9 and 11: routes laid down, and then the parts that the root reaches, and no others. */
import type { ListenerPart, PartHash, RoutePart } from '../../contract/snapshot/index.ts';
import type { Compiled } from './compiled.ts';
import { byName, type Attachment, type Draft, type ListenerDraft, type UpstreamDraft } from './draft.ts';
import type { Changes } from './kept.ts';

interface Assembled extends Pick<Compiled, 'listeners' | 'parts' | 'encoded' | 'groups'> {
  readonly changes: Changes;
}

/** Of whoever is new, or has gained or lost something. */
export function places(draft: Draft): void {
  const { gone, fresh, concerned, groups } = draft;
  // What both the old and the new need stays as it is: the old lets go last.
  draft.left = [...gone, ...concerned].map((upstream) => upstream.uses);
  const served = namesOf([...gone, ...concerned]);
  for (const upstream of gone) for (const { group } of upstream.sources) groups.set(group.id, undefined);
  for (const upstream of [...fresh, ...concerned]) useUpstream(draft, upstream);
  draft.renamed = served !== namesOf([...fresh, ...concerned]);
  for (const upstream of gone) for (const attachment of upstream.attachments) place(draft, attachment, false);
  for (const upstream of [...fresh, ...concerned]) for (const attachment of upstream.attachments) place(draft, attachment, true);
}

export function assemble(draft: Draft): Assembled {
  const { kept, groups } = draft;
  const { book } = kept;
  const served = draft.listeners.filter((l) => l.refused === null).sort((a, b) => byName(a.name, b.name));
  const listeners = served.map((listener) => useListener(draft, listener));
  for (const listener of draft.listeners) if (listener.refused !== null) letGo(draft, listener);
  for (const uses of draft.left) book.release(uses);
  const names = draft.renamed || !draft.sameListeners;
  const { added, removed } = book.settle();
  kept.groups = kept.groups.with(groups);
  const changes = { since: kept.mark, mark: {}, added, removed, groups: [...groups.keys()], names };
  return { listeners, parts: book.parts, encoded: book.encoded, groups: kept.groups, changes };
}

/** Of those that serve. */
const namesOf = (upstreams: readonly UpstreamDraft[]): string =>
  upstreams
    .filter((upstream) => upstream.target !== null)
    .map(({ name }) => `${name.namespace}/${name.name}`)
    .sort()
    .join();

function useUpstream({ kept: { book }, memo, groups }: Draft, upstream: UpstreamDraft): void {
  if (upstream.part === null) throw new Error('assemble runs after policies');
  const serves = upstream.attachments.some((a) => a.serves);
  upstream.uses = [];
  upstream.target = null;
  for (const source of upstream.sources) groups.set(source.group.id, serves ? source : undefined);
  if (!serves) return;
  for (const { group } of upstream.sources) {
    upstream.uses.push(book.use(memo, group));
    const client = group.tls?.client ?? null;
    const certificate = client === null ? undefined : upstream.clients.get(client);
    if (certificate !== undefined) upstream.uses.push(book.use(memo, certificate));
  }
  upstream.target = book.use(memo, upstream.part);
  upstream.uses.push(upstream.target);
}

const NO_ROUTES: ReadonlyMap<string, readonly RoutePart[]> = new Map();

function place(draft: Draft, attachment: Attachment, there: boolean): void {
  attachment.listener?.claims.place(attachment, there && attachment.serves ? routesOf(draft, attachment) : NO_ROUTES);
}

/** By hostname of the listener. */
function routesOf(draft: Draft, { upstream, hosts, losses }: Attachment): ReadonlyMap<string, readonly RoutePart[]> {
  const byHost = new Map<string, RoutePart[]>();
  for (const { hostname, effective } of hosts) {
    const lost = losses?.get(hostname);
    upstream.facts.matches.forEach((_, match) => {
      if (lost?.has(match)) return;
      const route = routePart(draft, upstream, hostname, match);
      for (const name of effective) {
        const routes = byHost.get(name);
        if (routes === undefined) byHost.set(name, [route]);
        else routes.push(route);
      }
    });
  }
  return byHost;
}

function routePart(draft: Draft, { facts, name, resource, target }: UpstreamDraft, hostname: string, at: number): RoutePart {
  const { index, match } = facts.matches[at] as (typeof facts.matches)[number];
  const { created } = resource.meta;
  if (target === null) throw new Error('routes follow their Upstream');
  return draft.memo.slot(facts, `route ${at} ${hostname}`, [target, created], () => ({
    upstream: name,
    hostname,
    matchIndex: index,
    created,
    match,
    target,
  }));
}

function useListener(draft: Draft, listener: ListenerDraft): PartHash {
  const { spec } = listener.resource;
  const { tls, policies, publication } = listener;
  const { memo, kept } = draft;
  if (tls === null || policies === null || publication === null) throw new Error('assemble runs last');
  const hosts = listener.claims.parts(memo, kept.book);
  const { addresses, hostnames, name } = listener;
  const { advertisedPort } = publication;
  const deps = [hosts, tls.entries, tls.fallback, advertisedPort, ...addresses, null, ...hostnames];
  const part = memo.slot(spec, `listener ${name.namespace}/${name.name}`, deps, (): ListenerPart => ({
    kind: 'listener',
    ...name,
    addresses,
    port: spec.port,
    advertisedPort,
    hostnames,
    tls,
    ...policies,
    escapedSlashes: spec.path.escapedSlashes,
    trust: spec.forwarded.trust,
    proxyStatusDetails: spec.proxyStatusDetails,
    hosts,
  }));
  const before = listener.uses;
  const hash = kept.book.use(memo, part);
  listener.uses = [hash];
  const shown = new Set(tls.entries.flatMap((e) => e.certificates));
  for (const certificate of [...listener.certificates, ...listener.bringers.flatMap((a) => a.upstream.certificates)])
    if (certificate !== null && shown.delete(certificate.hash)) listener.uses.push(kept.book.use(memo, certificate.part));
  kept.book.release(before);
  return hash;
}

function letGo({ kept: { book } }: Draft, listener: ListenerDraft): void {
  book.release(listener.uses);
  listener.uses = [];
}
