/** Step 8: of two Upstreams that want the same (listener, hostname, match) the older has it; the younger keeps its other pairs and is told. */
import type { RouteMatch } from '../../contract/snapshot/index.ts';
import type { Attachment, Draft, ListenerDraft, Pair, UpstreamDraft } from './draft.ts';

/** Problems told one by one per Upstream. */
const TOLD = 10;

export function conflicts(draft: Draft): void {
  for (const listener of draft.listeners) if (listener.refused === null) settle(draft, listener);
  for (const upstream of draft.upstreams) tell(draft, upstream);
}

function settle(draft: Draft, listener: ListenerDraft): void {
  // By hostname, which has no space, and match.
  const holders = new Map<string, Attachment>();
  for (const attachment of listener.attachments) {
    if (!attachment.serves) continue;
    const { facts } = attachment.upstream;
    const all = draft.memo.slot(attachment.hosts, 'pairs', [facts], () => pairsOf(attachment));
    const kept = all.filter((pair) => {
      const { identity, match } = facts.matches[pair.match] as (typeof facts.matches)[number];
      const key = `${pair.hostname} ${identity}`;
      const holder = holders.get(key);
      if (holder === undefined) holders.set(key, attachment);
      else attachment.lost.push({ text: `${pair.hostname} ${describe(match)}`, match: pair.match, holder });
      return holder === undefined;
    });
    attachment.kept = kept.length === all.length ? all : kept;
    if (attachment.kept.length === 0)
      attachment.refuse({ reason: 'Conflicted', message: 'an older Upstream has every one of its hostnames and matches' });
  }
}

const pairsOf = ({ hosts, upstream }: Attachment): readonly Pair[] =>
  hosts.flatMap((host) => upstream.facts.matches.map((_, match) => ({ ...host, match })));

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
