/** Step 1: which Listeners are served, on what, and for which names. */
import { canonicalAddress } from '../../contract/tls.ts';
import { covers, normalisePattern } from '../../contract/routes/host.ts';
import type { Cluster } from './cluster.ts';
import { byAge, ListenerDraft, type Draft } from './draft.ts';
import { publish, published } from './publishing.ts';

export function listeners(draft: Draft): void {
  const { cluster } = draft;
  const ours = [...draft.set.listeners].filter(([key]) => cluster === null || !cluster.isForeign(key));
  draft.listeners = ours.map(([, r]) => new ListenerDraft(r)).sort((a, b) => byAge(a.resource, b.resource));
  for (const listener of draft.listeners) {
    if (cluster !== null) place(draft, cluster, listener);
    readNames(draft, listener);
    if (cluster === null) {
      listener.publication = published(listener.resource.spec);
      refuseSelector(draft, listener);
    }
  }
  const serving: ListenerDraft[] = [];
  for (const listener of draft.listeners) {
    if (listener.refused !== null) continue;
    const holder = serving.find((other) => collide(listener, other));
    if (holder === undefined) serving.push(listener);
    else {
      const where = draft.options.standalone ? ` (Listener ${holder.name.namespace}/${holder.name.name})` : '';
      const message = `port ${listener.resource.spec.port} of the same address is taken by an older Listener${where}`;
      draft.refuse(listener, 'spec.port', { reason: 'PortConflict', message }, 'settled');
    }
  }
  draft.sameListeners = draft.kept.takeListeners(draft);
}

function readNames(draft: Draft, listener: ListenerDraft): void {
  const { spec } = listener.resource;
  listener.addresses = [...new Set((spec.addresses ?? []).map(canonicalAddress))];
  const names = new Set<string>();
  spec.hostnames?.forEach((raw, i) => {
    const name = normalisePattern(raw);
    if (name === null)
      draft.refuse(listener, `spec.hostnames[${i}]`, { reason: 'Invalid', message: `${JSON.stringify(raw)} is not a host name` });
    else names.add(name);
  });
  const all = [...names];
  listener.hostnames = all.filter((name) => !all.some((other) => other !== name && covers(other, name)));
}

/** Only where the installation says, and only on ports of its own. */
function place(draft: Draft, cluster: Cluster, listener: ListenerDraft): void {
  const { namespace } = listener.name;
  listener.counts = cluster.listensTo(namespace);
  if (!listener.counts) {
    draft.refuse(listener, '', {
      reason: 'NotAllowed',
      message: `Listeners of namespace ${namespace} do not count: add ${namespace} to the chart's value listenerNamespaces (--listener-namespaces)`,
    });
  }
  listener.publication = publish(cluster, listener.resource.spec);
  if (listener.publication.refused && listener.publication.fault !== null)
    draft.refuse(listener, 'spec.port', { reason: 'NotAllowed', message: listener.publication.fault });
}

function refuseSelector(draft: Draft, listener: ListenerDraft): void {
  if (listener.resource.spec.allowedNamespaces.from !== 'Selector') return;
  draft.refuse(listener, 'spec.allowedNamespaces.from', {
    reason: 'Invalid',
    message: 'Selector needs the labels of namespaces, which files do not have; use Same or All',
  });
}

const V4_ANY = '0.0.0.0';
const V6_ANY = '::';

function collide(a: ListenerDraft, b: ListenerDraft): boolean {
  // Port 0 is whichever is free.
  if (a.resource.spec.port !== b.resource.spec.port || a.resource.spec.port === 0) return false;
  if (a.addresses.length === 0 || b.addresses.length === 0) return true;
  return a.addresses.some((x) => b.addresses.some((y) => sameAddress(x, y)));
}

function sameAddress(a: string, b: string): boolean {
  if (a === b) return true;
  if (a.includes(':') !== b.includes(':')) return false;
  const any = a.includes(':') ? V6_ANY : V4_ANY;
  return a === any || b === any;
}
