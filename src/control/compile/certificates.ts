/** Step 4: every certificate that Listeners and Upstreams bring, read and judged. What is broken is left out: nothing stands in for it. */
import { createHash } from 'node:crypto';
import { objectKey, type FileContent, type SecretObject } from '../../contract/resources/index.ts';
import type { CertificatePart } from '../../contract/snapshot/index.ts';
import { faultyFile, inspectCertificate, type CertificateFacts } from '../../contract/tls.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { CertificateDates } from './compiled.ts';
import type { Draft, ListenerDraft, LoadedCertificate, RefFault, UpstreamDraft } from './draft.ts';
import type { Referrer } from './grants.ts';

type Files = { readonly cert: string; readonly key: string };
type Purpose = 'server' | 'client';

/** Whose reference it is: what decides about other namespaces. */
interface Owner {
  readonly kind: Referrer;
  readonly namespace: string;
}

interface Ref {
  readonly name?: string | undefined;
  /** Absent: the owner's. */
  readonly namespace?: string | undefined;
  readonly files?: Files | undefined;
}

export function certificates(draft: Draft): void {
  for (const listener of draft.listeners) listenerCertificates(draft, listener);
  draft.forFresh((upstream) => {
    const refs = upstream.resource.spec.certificateRefs ?? [];
    if (refs.length > 0)
      upstream.certificates = refs.map((ref, i) => {
        const loaded = certificateOf(draft, { kind: 'Upstream', namespace: upstream.name.namespace }, { name: ref.name }, 'server');
        return settle(draft, upstream, `spec.certificateRefs[${i}]`, loaded);
      });
  });
}

function listenerCertificates(draft: Draft, listener: ListenerDraft): void {
  const refs = listener.resource.spec.tls.certificateRefs ?? [];
  listener.certificates = refs.map((ref, i) => {
    const path = `spec.tls.certificateRefs[${i}]`;
    const owner: Owner = { kind: 'Listener', namespace: listener.name.namespace };
    const loaded = settle(draft, listener, path, certificateOf(draft, owner, ref, 'server'));
    if (loaded !== null && loaded.part.names.length === 0 && i > 0) {
      draft.report('warning', listener, path, 'the certificate has no subject alternative name, so no client can ask for it');
    }
    return loaded;
  });
}

function settle(
  draft: Draft,
  of: ListenerDraft | UpstreamDraft,
  path: string,
  loaded: Result<LoadedCertificate, RefFault>,
): LoadedCertificate | null {
  if (loaded.ok) return loaded.value;
  draft.unresolved(of, path, loaded.error);
  return null;
}

/** A Secret by name, or two files. */
export function certificateOf(draft: Draft, owner: Owner, ref: Ref, purpose: Purpose): Result<LoadedCertificate, RefFault> {
  const pair = ref.files === undefined ? fromSecret(draft, owner, ref) : fromFiles(draft, ref.files);
  if (!pair.ok) return pair;
  const { cert, key, source, secret } = pair.value;
  const judge = (): Result<CertificateFacts, string> => inspected(draft, cert, key, purpose);
  const facts = secret === null ? judge() : draft.memo.slot(secret, `certificate ${purpose}`, [], judge);
  if (!facts.ok) return invalid(`${ref.files === undefined ? source : faultyFile(ref.files, key, facts.error)}: ${facts.error}`);
  const part = draft.memo.slot(facts.value, source, [], (): CertificatePart => ({ kind: 'certificate', source, ...facts.value }));
  return ok({ part, hash: draft.memo.encode(part).hash });
}

const invalid = (message: string): Result<never, RefFault> => err({ reason: 'InvalidCertificate', message });

export const datesOf = ({ part: { source, notBefore, notAfter } }: LoadedCertificate): CertificateDates => ({
  source,
  notBefore,
  notAfter,
});

/** Judging costs a tenth of a millisecond, which thousands of certificates make felt. */
function inspected(draft: Draft, cert: Uint8Array, key: Uint8Array, purpose: Purpose): Result<CertificateFacts, string> {
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64url');
  return draft.memo.keep(`certificate ${purpose} ${digest(cert)} ${digest(key)}`, [], () => inspectCertificate(cert, key, purpose));
}

interface PemPair {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
  readonly source: string;
  /** What a verdict can be kept by; null for files. */
  readonly secret: SecretObject | null;
}

function fromSecret(draft: Draft, owner: Owner, ref: Ref): Result<PemPair, RefFault> {
  const namespace = ref.namespace ?? owner.namespace;
  const name = ref.name ?? '';
  const source = `${namespace}/${name}`;
  const found = secretOf(draft, owner, namespace, name);
  if (!found.ok) return found;
  const secret = found.value;
  if (secret === undefined) return invalid(`there is no Secret ${source}`);
  const type = secret.type || 'Opaque';
  // Tools that cannot choose the type write Opaque.
  if (type !== 'kubernetes.io/tls' && (draft.cluster === null || type !== 'Opaque'))
    return invalid(`Secret ${source} has type ${type}, not kubernetes.io/tls`);
  const [cert, key] = [secret.data.get('tls.crt'), secret.data.get('tls.key')];
  if (cert === undefined || key === undefined) return invalid(`Secret ${source} lacks ${cert === undefined ? 'tls.crt' : 'tls.key'}`);
  return ok({ cert: cert.reveal(), key: key.reveal(), source, secret });
}

function secretOf(
  draft: Draft,
  { kind, namespace: from }: Owner,
  namespace: string,
  name: string,
): Result<SecretObject | undefined, RefFault> {
  const key = objectKey(namespace, name);
  const found = draft.set.secrets.get(key);
  draft.reads?.add('secret', key, found);
  const { cluster } = draft;
  if (cluster === null) return ok(found);
  const readable = cluster.readable('Secret', namespace);
  return readable.ok ? cluster.follow(kind, from, { kind: 'Secret', namespace, name }, found) : readable;
}

function fromFiles(draft: Draft, files: Files): Result<PemPair, RefFault> {
  const cert = fileContent(draft, files.cert);
  if (!cert.ok) return invalid(cert.error);
  const key = fileContent(draft, files.key);
  return key.ok ? ok({ cert: cert.value, key: key.value, source: files.cert, secret: null }) : invalid(key.error);
}

export function fileContent(draft: Draft, path: string): Result<Uint8Array, string> {
  const file: FileContent | undefined = draft.set.files.get(path);
  draft.reads?.add('file', path, file);
  if (file === undefined) return err(`${path} was not read`);
  return file.ok ? ok(file.bytes) : err(`${path}: ${file.problem}`);
}
