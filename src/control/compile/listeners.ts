/** Step 1: which Listeners are served, on what, and for which names. */
import { canonicalAddress } from '../../contract/tls.ts';
import { covers, normalisePattern } from '../../contract/routes/host.ts';
import { byAge, ListenerDraft, type Draft } from './draft.ts';

export function listeners(draft: Draft): void {
  draft.listeners = Array.from(draft.set.listeners.values(), (r) => new ListenerDraft(r)).sort((a, b) => byAge(a.resource, b.resource));
  for (const listener of draft.listeners) {
    readNames(draft, listener);
    refuseSelector(draft, listener);
  }
  const serving: ListenerDraft[] = [];
  for (const listener of draft.listeners) {
    if (listener.refused !== null) continue;
    const holder = serving.find((other) => collide(listener, other));
    if (holder === undefined) serving.push(listener);
    else {
      const where = draft.options.standalone ? ` (Listener ${holder.name.namespace}/${holder.name.name})` : '';
      const problem = draft.refuse(listener, 'spec.port', {
        reason: 'PortConflict',
        message: `port ${listener.resource.spec.port} of the same address is taken by an older Listener${where}`,
      });
      draft.settled.add(problem);
    }
  }
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

function refuseSelector(draft: Draft, listener: ListenerDraft): void {
  if (listener.resource.spec.allowedNamespaces.from !== 'Selector') return;
  const why = draft.options.standalone
    ? 'Selector needs the labels of namespaces, which files do not have; use Same or All'
    : 'Selector is not supported yet; use Same or All';
  draft.refuse(listener, 'spec.allowedNamespaces.from', { reason: 'Invalid', message: why });
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
