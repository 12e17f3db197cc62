/** What each object is told: conditions out of the closed table. */
import type { ObjectMeta } from '../../contract/resources/index.ts';
import type { CertificateDates, Condition, ConditionType, ObjectStatus } from './compiled.ts';
import { datesOf } from './certificates.ts';
import { lostOf } from './conflicts.ts';
import { clip, clipList } from './messages.ts';
import {
  byName,
  type Attachment,
  type Draft,
  type ListenerDraft,
  type LoadedCertificate,
  type RefFault,
  type Rejected,
  type UpstreamDraft,
} from './draft.ts';

/** What the status of an Upstream holds; one that names none may have more. */
const MAX_LISTENERS = 64;

export function statuses(draft: Draft): ObjectStatus[] {
  const of = (kind: ObjectStatus['kind']): ObjectStatus[] => draft.rejected.filter((r) => r.kind === kind).map(rejectedStatus);
  for (const listener of draft.listeners) listener.taken = 0;
  draft.upstreams.forEach(({ attachments }) => attachments.forEach(count));
  const listeners = draft.listeners.map((listener) => listenerStatus(draft, listener));
  return [...listeners, ...of('Listener')].sort(byName).concat(upstreamStatuses(draft, of('Upstream')));
}

function count(attachment: Attachment): void {
  if (attachment.listener !== null && attachment.serves) attachment.listener.taken++;
}

/** By name. Most are those of the compile before. */
function upstreamStatuses(draft: Draft, refused: readonly ObjectStatus[]): readonly ObjectStatus[] {
  const all = draft.kept.byName.map((upstream) => {
    if (upstream.status === null || draft.concerned.has(upstream)) upstream.status = keptStatus(draft, upstream);
    return upstream.status;
  });
  return refused.length === 0 ? all : [...all, ...refused].sort(byName);
}

/** What cannot be read has no references and no Listeners either: of those nothing is said. */
const rejectedStatus = ({ kind, meta, message }: Rejected): ObjectStatus => ({
  kind,
  ...identity({ resource: { meta } }),
  conditions: [
    accepted({ reason: 'Invalid', message }),
    { type: 'Programmed', status: 'False', reason: 'Pending', message: 'it is not accepted' },
  ],
  ...(kind === 'Listener' ? { attachedUpstreams: 0, addresses: [] } : {}),
});

function listenerStatus(draft: Draft, listener: ListenerDraft): ObjectStatus {
  const programmed: Condition =
    listener.refused !== null
      ? { type: 'Programmed', status: 'False', reason: 'Pending', message: 'it is not accepted' }
      : (listener.tls?.entries.length ?? 0) === 0
        ? { type: 'Programmed', status: 'False', reason: 'Pending', message: 'there is no usable certificate: every handshake is refused' }
        : { type: 'Programmed', status: 'True', reason: 'Programmed', message: '' };
  return {
    kind: 'Listener',
    ...identity(listener),
    conditions: [
      accepted(listener.refused),
      resolved(listener.refFaults, []),
      programmed,
      ...(draft.cluster === null ? [] : [publishedCondition(listener)]),
    ],
    attachedUpstreams: listener.taken,
    certificates: dates(listener.certificates),
    // Clients are sent only where they are served.
    ...(draft.cluster === null ? {} : { addresses: listener.refused === null ? (listener.publication?.addresses ?? []) : [] }),
  };
}

function publishedCondition({ publication }: ListenerDraft): Condition {
  const fault = publication?.fault ?? null;
  return fault === null
    ? { type: 'Published', status: 'True', reason: 'Published', message: '' }
    : { type: 'Published', status: 'False', reason: 'PortNotPublished', message: clip(fault) };
}

/** Each once, however often it is referred to. */
function dates(certificates: readonly (LoadedCertificate | null)[], others: Iterable<CertificateDates> = []): CertificateDates[] {
  const bySource = new Map<string, CertificateDates>();
  for (const certificate of certificates) if (certificate !== null) bySource.set(certificate.part.source, datesOf(certificate));
  for (const other of others) bySource.set(other.source, other);
  return [...bySource.values()];
}

/** Of thousands of Upstreams nearly all have nothing to be told that they were not told before: whoever compares statuses sees the very same. */
function keptStatus(draft: Draft, upstream: UpstreamDraft): ObjectStatus {
  const { attachments, certificates, shown, sources } = upstream;
  const hasFaults = upstream.refused !== null || upstream.refFaults.length > 0 || upstream.notes.length > 0;
  if (hasFaults || !attachments.every((a) => a.serves && a.losses === null)) return upstreamStatus(upstream);
  // Without faults a status says whose it is, of what, and where it serves; nulls keep the lists apart.
  const deps: unknown[] = sources.map((s) => s.group.id);
  deps.push(null, ...certificates.map((c) => c?.hash), null, ...shown.keys(), null, ...attachments.map((a) => a.listener?.resource.meta));
  return draft.memo.slot(upstream.resource.meta, 'status', deps, () => upstreamStatus(upstream));
}

function upstreamStatus(upstream: UpstreamDraft): ObjectStatus {
  const listeners = upstream.attachments.map((a) => ({ ...a.target, conditions: attachmentConditions(upstream, a) })).sort(byName);
  return {
    kind: 'Upstream',
    ...identity(upstream),
    conditions: listeners.length === 0 ? withoutListener(upstream) : worst(listeners.map((l) => l.conditions)),
    certificates: dates(upstream.certificates, upstream.shown.values()),
    groups: upstream.sources.map((s) => s.group.id),
    attached: { taken: upstream.attachments.filter((a) => a.serves).length, asked: upstream.attachments.length },
    listeners: listeners.slice(0, MAX_LISTENERS),
  };
}

const identity = ({
  resource: { meta },
}: {
  readonly resource: { readonly meta: ObjectMeta };
}): Pick<ObjectStatus, 'namespace' | 'name' | 'uid' | 'generation'> => ({
  namespace: meta.namespace,
  name: meta.name,
  uid: meta.uid,
  generation: meta.generation,
});

function attachmentConditions(upstream: UpstreamDraft, a: Attachment): Condition[] {
  const pending =
    a.listener?.refused === undefined || a.listener.refused === null
      ? 'it is not accepted'
      : `the Listener is not served: ${a.listener.refused.reason}`;
  const programmed: Condition = a.serves
    ? { type: 'Programmed', status: 'True', reason: 'Programmed', message: '' }
    : { type: 'Programmed', status: 'False', reason: 'Pending', message: pending };
  const lost = lostOf(a).map((l) => l.text);
  const conflicted: Condition =
    lost.length === 0
      ? { type: 'Conflicted', status: 'False', reason: 'NoConflict', message: '' }
      : { type: 'Conflicted', status: 'True', reason: 'Conflict', message: clipList('an older Upstream serves ', lost) };
  return [accepted(upstream.refused ?? a.refusal), resolved(upstream.refFaults, upstream.notes), programmed, conflicted];
}

function withoutListener(upstream: UpstreamDraft): Condition[] {
  return [
    accepted(upstream.refused ?? { reason: 'NotAllowed', message: 'there is no Listener' }),
    resolved(upstream.refFaults, upstream.notes),
    { type: 'Programmed', status: 'False', reason: 'Pending', message: 'it is not accepted' },
    { type: 'Conflicted', status: 'False', reason: 'NoConflict', message: '' },
  ];
}

const accepted = (fault: ListenerDraft['refused']): Condition =>
  fault === null
    ? { type: 'Accepted', status: 'True', reason: 'Valid', message: '' }
    : { type: 'Accepted', status: 'False', reason: fault.reason, message: clip(fault.message) };

function resolved(faults: readonly RefFault[], notes: readonly string[]): Condition {
  const first = faults[0];
  if (first === undefined) return { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: clipList('', notes) };
  return {
    type: 'ResolvedRefs',
    status: 'False',
    reason: first.reason,
    message: clipList(
      '',
      faults.map((f) => f.message),
    ),
  };
}

/** The good state of each type. */
const GOOD: Readonly<Record<ConditionType, 'True' | 'False'>> = {
  Accepted: 'True',
  ResolvedRefs: 'True',
  Programmed: 'True',
  Published: 'True',
  Conflicted: 'False',
};

function worst(all: readonly (readonly Condition[])[]): Condition[] {
  const [first = [], ...rest] = all;
  return first.map((condition, i) => {
    if (condition.status !== GOOD[condition.type]) return condition;
    const bad = rest.map((list) => list[i] as Condition).find((c) => c.status !== GOOD[c.type]);
    return bad ?? condition;
  });
}
