/** Step 10: which certificates a Listener shows for which name. The Listener's own come first, then those of Upstreams, the older before the younger. */
import { isIP } from 'node:net';
import { hostMatches, patternLevel } from '../../contract/routes/host.ts';
import type { ListenerPart, PartHash, TlsEntryPart } from '../../contract/snapshot/index.ts';
import { certificateNameMatches, TlsNames } from '../../contract/tls.ts';
import type { Attachment, Draft, ListenerDraft, LoadedCertificate, UpstreamDraft } from './draft.ts';
import { Report } from './reports.ts';

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
  const bringing = draft.upstreams.filter((upstream) => upstream.certificates.length > 0);
  for (const listener of draft.listeners) listener.bringers.length = 0;
  for (const upstream of bringing)
    for (const attachment of upstream.attachments) {
      attachment.lostNames = [];
      if (attachment.serves) attachment.listener?.bringers.push(attachment);
    }
  for (const listener of draft.listeners) {
    const { entries, fallback, lost, cut } = shownBy(draft, listener);
    listener.tls = { entries, fallback, unmatched: listener.resource.spec.tls.unmatched };
    for (const [attachment, lostNames] of lost) attachment.lostNames = lostNames;
    for (const upstream of cut) warn(draft, upstream, `only ${MAX_SHOWN} names of its certificates are shown by one Listener`);
    if (listener.refused === null) warnUncovered(draft, listener, listener.tls);
  }
  for (const upstream of bringing) {
    const asked = upstream.attachments.filter((a) => a.serves && a.listener !== null);
    if (asked.length > 0 && !asked.some((a) => a.listener?.resource.spec.tls.allowUpstreamCertificates))
      warn(draft, upstream, 'no Listener that takes this Upstream allows certificates of Upstreams (tls.allowUpstreamCertificates)');
    const lost = [...new Set(upstream.attachments.flatMap((a) => a.lostNames))];
    if (lost.length > 0) warn(draft, upstream, `the Listener or an older Upstream has the certificate for ${some(lost)}`);
  }
}

/** Of an Upstream that may have been taken over: what is told of it depends on others. */
const warn = (draft: Draft, { resource }: UpstreamDraft, message: string): void =>
  void draft.reports.push(new Report(draft.step, 'warning', 'Upstream', resource.meta, 'spec.certificateRefs', message, 'full'));

interface ShownBy {
  readonly entries: readonly TlsEntryPart[];
  readonly fallback: number | null;
  /** Names that others have. */
  readonly lost: readonly (readonly [Attachment, readonly string[]])[];
  /** Those with more names than are shown. */
  readonly cut: readonly UpstreamDraft[];
}

/** A thousand certificates are put together when one of them has changed, and not with each change of a route. */
function shownBy(draft: Draft, listener: ListenerDraft): ShownBy {
  const { allowUpstreamCertificates, unmatched } = listener.resource.spec.tls;
  const bringers = allowUpstreamCertificates ? listener.bringers : [];
  const deps: unknown[] = [unmatched, ...listener.certificates.map((c) => c?.part), null];
  for (const attachment of bringers) deps.push(attachment, ...attachment.upstream.certificates.map((c) => c?.part), null);
  return draft.memo.slot(listener, 'shown', deps, () => {
    const claims: Claims = new Map();
    for (const certificate of listener.certificates)
      if (certificate !== null) for (const name of dnsNames(certificate)) claim(claims, listener, shownAs(name, certificate));
    const lost: (readonly [Attachment, readonly string[]])[] = [];
    const cut: UpstreamDraft[] = [];
    for (const attachment of bringers) {
      const names = claimForUpstream(draft, claims, attachment, cut);
      if (names.length > 0) lost.push([attachment, names]);
    }
    const entries = entriesOf(claims);
    return { entries, fallback: fallbackOf(listener, entries), lost, cut };
  });
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

/** For its own hostnames only, as far as this listener has them; returns the names that others have. */
function claimForUpstream(draft: Draft, claims: Claims, attachment: Attachment, cut: UpstreamDraft[]): string[] {
  const { upstream, hosts } = attachment;
  const brought = upstream.certificates.filter((c) => c !== null);
  if (brought.length === 0) return [];
  // Dozens of certificates of a thousand names, compared with dozens of hostnames: once, and not with each change of somebody else's.
  const hashes = brought.map((c) => c.hash);
  const { shown, more } = draft.memo.slot(hosts, 'shown', hashes, () => shownOn(hosts, brought));
  if (more) cut.push(upstream);
  return shown.filter((one) => !claim(claims, upstream, one)).map((one) => one.name);
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

/** By the entries of a listener, which are the very same while nothing changes in them: whether a hostname has a certificate. */
const coverage = new WeakMap<readonly TlsEntryPart[], Coverage>();

class Coverage {
  private readonly table: TlsNames;
  private readonly wildcards: ReadonlySet<string>;
  private known = new Map<string, boolean>();

  constructor(entries: readonly TlsEntryPart[]) {
    this.table = new TlsNames(entries);
    this.wildcards = new Set(entries.flatMap((e) => e.names));
  }

  uncovered(wanted: ReadonlySet<string>): string[] {
    if (this.known.size > 2 * wanted.size + 1000) this.known = new Map();
    return [...wanted].filter((name) => {
      let covered = this.known.get(name);
      if (covered === undefined) this.known.set(name, (covered = this.covers(name)));
      return !covered;
    });
  }

  private covers(name: string): boolean {
    const level = patternLevel(name);
    return level === 'any' || (level === 'exact' ? this.table.find(name) >= 0 : this.wildcards.has(name));
  }
}

function warnUncovered(draft: Draft, listener: ListenerDraft, tls: ListenerPart['tls']): void {
  if (tls.entries.length === 0) return;
  const wanted = new Set(listener.hostnames);
  for (const name of listener.claims.hostnames()) wanted.add(name);
  let known = coverage.get(tls.entries);
  if (known === undefined) coverage.set(tls.entries, (known = new Coverage(tls.entries)));
  const uncovered = known.uncovered(wanted);
  if (uncovered.length === 0) return;
  const get = tls.fallback === null ? 'the handshake is refused' : 'clients get the default certificate, which they will not accept';
  draft.report('warning', listener, 'spec.tls.certificateRefs', `no certificate covers ${some(uncovered.sort())}: ${get}`);
}

function some(list: readonly string[]): string {
  return list.length <= 3 ? list.join(', ') : `${list.slice(0, 3).join(', ')} and ${list.length - 3} more`;
}
