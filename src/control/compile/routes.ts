/** Step 6: which Listeners take which Upstream, and with which of its hostnames. */
import { objectKey } from '../../contract/resources/index.ts';
import { intersectHostnames } from '../../contract/routes/host.ts';
import { Attachment, type AcceptedFault, type Draft, type ListenerDraft, type UpstreamDraft } from './draft.ts';
import { admits } from './namespaces.ts';

export function routes(draft: Draft): void {
  const byKey = new Map(draft.listeners.map((l) => [objectKey(l.name.namespace, l.name.name), l]));
  const counting = draft.listeners.filter((l) => l.counts);
  draft.forFresh((upstream) => {
    const { listeners } = upstream.resource.spec;
    if (listeners === undefined) attachEverywhere(draft, upstream, counting);
    else
      listeners.forEach((ref, i) => {
        const key = objectKey(ref.namespace, ref.name);
        if (draft.cluster !== null) {
          const foreign = draft.cluster.isForeign(key);
          draft.reads?.add('foreign', key, foreign);
          if (foreign) return;
        }
        const attachment = attach(draft, upstream, ref, byKey.get(key) ?? null);
        upstream.attachments.push(attachment);
        if (attachment.refused !== null)
          draft.report(
            'error',
            upstream,
            attachment.refused.reason === 'NoMatchingHostname' ? 'spec.hostnames' : `spec.listeners[${i}]`,
            attachment.refused.message,
          );
      });
  });
}

/**
 * Without `listeners`: every one that admits the namespace and has one of the names. Those that have none, or are not served themselves, are not
 * asked unless there is no other: nobody named them, so their faults are not this Upstream's.
 */
function attachEverywhere(draft: Draft, upstream: UpstreamDraft, counting: readonly ListenerDraft[]): void {
  const admitting = counting.filter((l) => admits(draft, l, upstream.name.namespace));
  const all = admitting.map((listener) => attach(draft, upstream, listener.name, listener));
  const taken = all.filter((a) => a.refused === null);
  const served = taken.filter((a) => a.listener?.refused === null);
  upstream.attachments.push(...(served.length > 0 ? served : taken.length > 0 ? taken : all));
  if (taken.length > 0) return;
  const fault: AcceptedFault =
    all.length > 0
      ? { reason: 'NoMatchingHostname', message: noHostname }
      : { reason: 'NotAllowed', message: `there is no Listener that admits Upstreams of namespace ${upstream.name.namespace}` };
  draft.refuse(upstream, fault.reason === 'NoMatchingHostname' ? 'spec.hostnames' : 'spec.listeners', fault);
}

const noHostname = 'none of the hostnames is among those of the Listener';

function attach(
  draft: Draft,
  upstream: UpstreamDraft,
  target: { readonly namespace: string; readonly name: string },
  listener: ListenerDraft | null,
): Attachment {
  const name = { namespace: target.namespace, name: target.name };
  // What does not exist and what does not admit looks the same: names of other namespaces are not for guessing.
  if (listener === null || !admits(draft, listener, upstream.name.namespace)) {
    const message = `there is no Listener ${name.namespace}/${name.name} that admits Upstreams of namespace ${upstream.name.namespace}`;
    return new Attachment(upstream, name, null).refuse({ reason: 'NotAllowed', message });
  }
  const attachment = new Attachment(upstream, name, listener);
  attachment.hosts = hostsOf(draft, upstream, listener);
  return attachment.hosts.length > 0 ? attachment : attachment.refuse({ reason: 'NoMatchingHostname', message: noHostname });
}

/** Listeners that leave them all alike share one list. */
function hostsOf(draft: Draft, { facts }: UpstreamDraft, { name, hostnames: allowed }: ListenerDraft): Attachment['hosts'] {
  const made = (): Attachment['hosts'] =>
    facts.hostnames.map((hostname) => ({ hostname, effective: narrowed(hostname, allowed) })).filter((h) => h.effective.length > 0);
  const whose = allowed.length === 0 ? 'hosts' : `hosts ${objectKey(name.namespace, name.name)}`;
  return draft.memo.slot(facts, whose, allowed, made);
}

/** What a listener leaves of a hostname. Its own names are apart from each other, so the results are too. */
function narrowed(hostname: string, allowed: readonly string[]): readonly string[] {
  if (allowed.length === 0) return [hostname];
  const left: string[] = [];
  for (const name of allowed) {
    const both = intersectHostnames(hostname, name);
    if (both !== null && !left.includes(both)) left.push(both);
  }
  return left;
}
