/** Step 9: which certificates a Listener shows for which name. The Listener's own come first, then those of Upstreams, the older before the younger. */
import { isIP } from 'node:net';
import { hostMatches, patternLevel } from '../../contract/routes/host.ts';
import type { ListenerPart, PartHash, TlsEntryPart } from '../../contract/snapshot/index.ts';
import { certificateNameMatches, TlsNames } from '../../contract/tls.ts';
import type { Attachment, Draft, ListenerDraft, LoadedCertificate } from './draft.ts';

/** Who shows a name, and what: an ECDSA and an RSA certificate side by side, the first of each kind. */
interface Claim {
  readonly owner: object;
  ecdsa: PartHash | null;
  rsa: PartHash | null;
}

type Claims = Map<string, Claim>;

/** A name, and what is shown for it. */
interface Shown {
  readonly name: string;
  readonly keyType: 'ecdsa' | 'rsa';
  readonly hash: PartHash;
}

/** Of one Upstream on one Listener: as many as one certificate may have. */
const MAX_SHOWN = 1000;

export function names(draft: Draft): void {
  for (const listener of draft.listeners) {
    const claims: Claims = new Map();
    for (const certificate of listener.certificates)
      if (certificate !== null) for (const name of dnsNames(certificate)) claim(claims, listener, shownAs(name, certificate));
    const allowed = listener.resource.spec.tls.allowUpstreamCertificates;
    for (const attachment of listener.attachments) if (allowed && attachment.serves) claimForUpstream(draft, claims, attachment);
    const entries = entriesOf(claims);
    const fallback = fallbackOf(listener, entries);
    listener.tls = { entries, fallback, unmatched: listener.resource.spec.tls.unmatched };
    if (listener.refused === null) warnUncovered(draft, listener, listener.tls);
  }
  for (const upstream of draft.upstreams) {
    const asked = upstream.attachments.filter((a) => a.serves && a.listener !== null);
    if (
      upstream.certificates.length > 0 &&
      asked.length > 0 &&
      !asked.some((a) => a.listener?.resource.spec.tls.allowUpstreamCertificates)
    ) {
      draft.report(
        'warning',
        upstream,
        'spec.certificateRefs',
        'no Listener that takes this Upstream allows certificates of Upstreams (tls.allowUpstreamCertificates)',
      );
    }
    const lost = [...new Set(upstream.attachments.flatMap((a) => a.lostNames))];
    if (lost.length > 0)
      draft.report('warning', upstream, 'spec.certificateRefs', `the Listener or an older Upstream has the certificate for ${some(lost)}`);
  }
}

const dnsNames = (certificate: LoadedCertificate): string[] => certificate.part.names.filter((n) => isIP(n) === 0);

const shownAs = (name: string, { part, hash }: LoadedCertificate): Shown => ({ name, keyType: part.keyType, hash });

/** False when the name is somebody else's. */
function claim(claims: Claims, owner: object, { name, keyType, hash }: Shown): boolean {
  let known = claims.get(name);
  if (known === undefined) claims.set(name, (known = { owner, ecdsa: null, rsa: null }));
  if (known.owner !== owner) return false;
  known[keyType] ??= hash;
  return true;
}

/** For its own hostnames only, as far as this listener has them. */
function claimForUpstream(draft: Draft, claims: Claims, attachment: Attachment): void {
  const { upstream, hosts } = attachment;
  const brought = upstream.certificates.filter((c) => c !== null);
  if (brought.length === 0) return;
  // Dozens of certificates of a thousand names, compared with dozens of hostnames: once, and not with each change of somebody else's.
  const hashes = brought.map((c) => c.hash);
  const { shown, more } = draft.memo.slot(hosts, 'shown', hashes, () => shownOn(hosts, brought));
  for (const one of shown) if (!claim(claims, upstream, one)) attachment.lostNames.push(one.name);
  if (more)
    draft.report('warning', upstream, 'spec.certificateRefs', `only ${MAX_SHOWN} names of its certificates are shown by one Listener`);
}

function shownOn(
  hosts: Attachment['hosts'],
  certificates: readonly LoadedCertificate[],
): { readonly shown: readonly Shown[]; readonly more: boolean } {
  const hostnames = new Set(hosts.flatMap((h) => h.effective));
  const found = new Map<string, Shown>();
  for (const certificate of certificates) {
    const { keyType } = certificate.part;
    for (const san of dnsNames(certificate)) {
      for (const hostname of hostnames) {
        const name = shownFor(san, hostname);
        if (name === null || found.has(`${name} ${keyType}`)) continue;
        if (found.size === MAX_SHOWN) return { shown: [...found.values()], more: true };
        found.set(`${name} ${keyType}`, shownAs(name, certificate));
      }
    }
  }
  return { shown: [...found.values()], more: false };
}

/** The names that a certificate for `san` proves (a wildcard is one label) and `hostname` has (a wildcard is one or more), as one pattern. */
function shownFor(san: string, hostname: string): string | null {
  switch (patternLevel(hostname)) {
    case 'any':
      return san;
    case 'exact':
      return certificateNameMatches(san, hostname) ? hostname : null;
    case 'wildcard':
      if (patternLevel(san) === 'exact') return hostMatches(hostname, san) ? san : null;
      return san === hostname || hostMatches(hostname, san.slice(2)) ? san : null;
  }
}

function entriesOf(claims: Claims): TlsEntryPart[] {
  const byCertificates = new Map<string, { names: string[]; certificates: PartHash[] }>();
  for (const [name, { ecdsa, rsa }] of claims) {
    const certificates = [ecdsa, rsa].filter((hash) => hash !== null);
    const key = certificates.join(' ');
    const entry = byCertificates.get(key);
    if (entry === undefined) byCertificates.set(key, { names: [name], certificates });
    else entry.names.push(name);
  }
  return Array.from(byCertificates.values(), (e) => ({ names: e.names.sort(), certificates: e.certificates }));
}

/**
 * The first certificate of the Listener, and beside it the first of the other kind that proves all of the same names.
 * A broken one is not replaced by the next: a name that nobody planned for would get a certificate that nobody chose.
 */
function fallbackOf(listener: ListenerDraft, entries: TlsEntryPart[]): ListenerPart['tls']['fallback'] {
  const first = listener.certificates[0] ?? null;
  if (first === null || listener.resource.spec.tls.unmatched === 'Reject') return null;
  const wanted = dnsNames(first);
  const partner =
    listener.certificates.find(
      (c) => c !== null && c.part.keyType !== first.part.keyType && wanted.every((n) => c.part.names.includes(n)),
    ) ?? null;
  const pair = [first, ...(partner === null || wanted.length === 0 ? [] : [partner])].sort((a, b) =>
    a.part.keyType < b.part.keyType ? -1 : 1,
  );
  const certificates = pair.map((c) => c.hash);
  const known = entries.findIndex((e) => e.certificates.join(' ') === certificates.join(' '));
  if (known >= 0) return known;
  entries.push({ names: [], certificates });
  return entries.length - 1;
}

function warnUncovered(draft: Draft, listener: ListenerDraft, tls: ListenerPart['tls']): void {
  if (tls.entries.length === 0) return;
  const table = new TlsNames(tls.entries);
  const wildcards = new Set(tls.entries.flatMap((e) => e.names));
  const wanted = new Set(listener.hostnames);
  for (const a of listener.attachments) if (a.serves) for (const h of a.hosts) for (const name of h.effective) wanted.add(name);
  const uncovered = [...wanted].filter((name) =>
    patternLevel(name) === 'exact' ? table.find(name) < 0 : patternLevel(name) === 'wildcard' && !wildcards.has(name),
  );
  if (uncovered.length === 0) return;
  const get = tls.fallback === null ? 'the handshake is refused' : 'clients get the default certificate, which they will not accept';
  draft.report('warning', listener, 'spec.tls.certificateRefs', `no certificate covers ${some(uncovered.sort())}: ${get}`);
}

function some(list: readonly string[]): string {
  return list.length <= 3 ? list.join(', ') : `${list.slice(0, 3).join(', ')} and ${list.length - 3} more`;
}
