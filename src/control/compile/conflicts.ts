/** Step 8: of two Upstreams that want the same (listener, hostname, match) the older has it; the younger keeps its other pairs and is told. */
import type { RouteMatch } from '../../contract/snapshot/index.ts';
import type { Attachment, Draft, ListenerDraft, Pair, UpstreamDraft } from './draft.ts';

/** Problems told one by one per Upstream. */
const TOLD = 10;

export function conflicts(draft: Draft): void {
  for (const listener of draft.listeners) if (listener.refused === null) settle(listener);
  for (const upstream of draft.upstreams) tell(draft, upstream);
}

function settle(listener: ListenerDraft): void {
  const holders = new Map<string, Map<string, Attachment>>();
  for (const attachment of listener.attachments) {
    if (!attachment.serves) continue;
    const { matches } = attachment.upstream.facts;
    const kept: Pair[] = [];
    for (const { hostname, effective } of attachment.hosts) {
      let byMatch = holders.get(hostname);
      if (byMatch === undefined) holders.set(hostname, (byMatch = new Map()));
      for (let match = 0; match < matches.length; match++) {
        const { identity } = matches[match] as (typeof matches)[number];
        const holder = byMatch.get(identity);
        if (holder === undefined) {
          byMatch.set(identity, attachment);
          kept.push({ hostname, effective, match });
        } else attachment.lost.push({ text: `${hostname} ${describe((matches[match] as (typeof matches)[number]).match)}`, match, holder });
      }
    }
    attachment.kept = kept;
    if (kept.length === 0)
      attachment.refuse({ reason: 'Conflicted', message: 'an older Upstream has every one of its hostnames and matches' });
  }
}

function tell(draft: Draft, upstream: UpstreamDraft): void {
  const lost = new Map<string, Attachment['lost'][number]>();
  for (const attachment of upstream.attachments) for (const pair of attachment.lost) lost.set(pair.text, pair);
  if (lost.size === 0) return;
  // An Upstream that serves nothing any more was surely not meant so; one that overlaps may have been.
  const severity = upstream.attachments.some((a) => a.refused?.reason === 'Conflicted') ? 'error' : 'warning';
  let told = 0;
  for (const { text, match, holder } of lost.values()) {
    if (told++ === TOLD) break;
    const winner = draft.options.standalone ? winnerOf(upstream, holder.upstream) : 'an older Upstream';
    const index = (upstream.facts.matches[match] as UpstreamDraft['facts']['matches'][number]).index;
    const path = index < 0 ? 'spec.hostnames' : `spec.matches[${index}]`;
    draft.settled.add(draft.report(severity, upstream, path, `${text} is served by ${winner}`));
  }
  if (lost.size > TOLD)
    draft.settled.add(draft.report(severity, upstream, 'spec.matches', `and ${lost.size - TOLD} more pairs of hostname and match`));
}

/** How the holder came first, for those who may know who it is. */
const winnerOf = (upstream: UpstreamDraft, holder: UpstreamDraft): string =>
  `Upstream ${holder.name.namespace}/${holder.name.name}, which ${holder.resource.meta.created < upstream.resource.meta.created ? 'is older' : 'comes first by namespace and name'}`;

/** A match in one line, for people. */
export function describe(match: RouteMatch): string {
  const parts: string[] = [];
  if (match.path === null) parts.push('every path');
  else parts.push(match.path.type === 'Prefix' ? match.path.value : `${match.path.type} ${match.path.value}`);
  if (match.methods.length > 0) parts.push(match.methods.join('|'));
  for (const h of match.headers)
    parts.push(`header ${h.name}${h.type === 'Present' ? '' : h.type === 'Regex' ? `~${h.value}` : `=${h.value}`}`);
  for (const q of match.query)
    parts.push(`query ${q.name}${q.type === 'Present' ? '' : q.type === 'Regex' ? `~${q.value}` : `=${q.value}`}`);
  return parts.join(', ');
}
