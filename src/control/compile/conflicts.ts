/** Step 8: of two Upstreams that want the same (listener, hostname, match) the older has it; the younger keeps its other pairs and is told. */
import type { RouteMatch } from '../../contract/snapshot/index.ts';
import type { Attachment, Draft, Lost, UpstreamDraft } from './draft.ts';
import { Report } from './reports.ts';

/** Problems told one by one per Upstream. */
const TOLD = 10;

export function conflicts(draft: Draft): void {
  for (const upstream of draft.gone) for (const a of upstream.attachments) if (a.claims) a.listener?.claims.leave(a);
  for (const upstream of draft.fresh) for (const a of upstream.attachments) if (a.claims) a.listener?.claims.enter(a);
  const concerned = new Set<Attachment>();
  for (const listener of draft.listeners) listener.claims.settle(concerned);
  for (const attachment of concerned) {
    judge(attachment);
    draft.concerned.add(attachment.upstream);
  }
  for (const upstream of draft.fresh) draft.concerned.delete(upstream);
  draft.upstreams.forEach((upstream) => {
    if (upstream.attachments.some(hasLost)) tell(draft, upstream);
  });
}

const hasLost = ({ losses }: Attachment): boolean => losses !== null;

function judge(attachment: Attachment): void {
  const { losses, hosts, upstream } = attachment;
  let lost = 0;
  for (const matches of losses?.values() ?? []) lost += matches.size;
  attachment.overruled =
    lost > 0 && lost === hosts.length * upstream.facts.matches.length
      ? { reason: 'Conflicted', message: 'an older Upstream has every one of its hostnames and matches' }
      : null;
}

/** In the order in which the Upstream has them. */
export function lostOf({ losses, hosts, upstream }: Attachment): Lost[] {
  if (losses === null) return [];
  const lost: Lost[] = [];
  for (const { hostname } of hosts) {
    const matches = losses.get(hostname);
    if (matches === undefined) continue;
    for (const [match, holder] of matches) {
      const text = `${hostname} ${describe((upstream.facts.matches[match] as UpstreamDraft['facts']['matches'][number]).match)}`;
      lost.push({ text, match, holder });
    }
  }
  return lost;
}

function tell(draft: Draft, upstream: UpstreamDraft): void {
  const lost = new Map<string, Lost>();
  for (const attachment of upstream.attachments) for (const pair of lostOf(attachment)) lost.set(pair.text, pair);
  // An Upstream that serves nothing any more was surely not meant so; one that overlaps may have been.
  const severity = upstream.attachments.some((a) => a.overruled !== null) ? 'error' : 'warning';
  const say = (path: string, message: string): void =>
    void draft.reports.push(new Report(draft.step, severity, 'Upstream', upstream.resource.meta, path, message, 'settled'));
  let told = 0;
  for (const { text, match, holder } of lost.values()) {
    if (told++ === TOLD) break;
    const winner = draft.options.standalone ? winnerOf(upstream, holder.upstream) : 'an older Upstream';
    const index = (upstream.facts.matches[match] as UpstreamDraft['facts']['matches'][number]).index;
    say(index < 0 ? 'spec.hostnames' : `spec.matches[${index}]`, `${text} is served by ${winner}`);
  }
  if (lost.size > TOLD) say('spec.matches', `and ${lost.size - TOLD} more pairs of hostname and match`);
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
