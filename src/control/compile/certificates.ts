/** Step 2: every certificate that Listeners and Upstreams bring, read and judged. What is broken is left out: nothing stands in for it. */
import { createHash } from 'node:crypto';
import { objectKey, type FileContent } from '../../contract/resources/index.ts';
import type { CertificatePart } from '../../contract/snapshot/index.ts';
import { inspectCertificate, type CertificateFacts } from '../../contract/tls.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { Draft, ListenerDraft, LoadedCertificate, RefFault, UpstreamDraft } from './draft.ts';

type Files = { readonly cert: string; readonly key: string };
type Purpose = 'server' | 'client';

export function certificates(draft: Draft): void {
  for (const listener of draft.listeners) listenerCertificates(draft, listener);
  for (const upstream of draft.upstreams) {
    const refs = upstream.resource.spec.certificateRefs ?? [];
    upstream.certificates = refs.map((ref, i) => {
      const loaded = certificateOf(draft, upstream.name.namespace, { ...ref, files: undefined }, 'server');
      return settle(draft, upstream, `spec.certificateRefs[${i}]`, loaded);
    });
  }
}

function listenerCertificates(draft: Draft, listener: ListenerDraft): void {
  const refs = listener.resource.spec.tls.certificateRefs ?? [];
  listener.certificates = refs.map((ref, i) => {
    const path = `spec.tls.certificateRefs[${i}]`;
    const loaded = settle(draft, listener, path, certificateOf(draft, ref.namespace ?? listener.name.namespace, ref, 'server'));
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

/** A Secret of type kubernetes.io/tls by name, or two files. */
export function certificateOf(
  draft: Draft,
  namespace: string,
  ref: { readonly name?: string | undefined; readonly files?: Files | undefined },
  purpose: Purpose,
): Result<LoadedCertificate, RefFault> {
  const pair = ref.files === undefined ? fromSecret(draft, namespace, ref.name ?? '') : fromFiles(draft, ref.files);
  if (!pair.ok) return err({ reason: 'InvalidCertificate', message: pair.error });
  const { cert, key, source } = pair.value;
  const facts = inspected(draft, cert, key, purpose);
  if (!facts.ok) return err({ reason: 'InvalidCertificate', message: `${source}: ${facts.error}` });
  const part = draft.memo.slot(facts.value, source, [], (): CertificatePart => ({ kind: 'certificate', source, ...facts.value }));
  return ok({ part, hash: draft.memo.encode(part).hash });
}

/** Judging costs a tenth of a millisecond, which thousands of certificates make felt. */
function inspected(draft: Draft, cert: Uint8Array, key: Uint8Array, purpose: Purpose): Result<CertificateFacts, string> {
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64url');
  return draft.memo.keep(`certificate ${purpose} ${digest(cert)} ${digest(key)}`, [], () => inspectCertificate(cert, key, purpose));
}

interface PemPair {
  readonly cert: Uint8Array;
  readonly key: Uint8Array;
  readonly source: string;
}

function fromSecret(draft: Draft, namespace: string, name: string): Result<PemPair, string> {
  const source = `${namespace}/${name}`;
  const secret = draft.set.secrets.get(objectKey(namespace, name));
  if (secret === undefined) return err(`there is no Secret ${source}`);
  if (secret.type !== 'kubernetes.io/tls') return err(`Secret ${source} has type ${secret.type || 'Opaque'}, not kubernetes.io/tls`);
  const [cert, key] = [secret.data.get('tls.crt'), secret.data.get('tls.key')];
  if (cert === undefined || key === undefined) return err(`Secret ${source} lacks ${cert === undefined ? 'tls.crt' : 'tls.key'}`);
  return ok({ cert: cert.reveal(), key: key.reveal(), source });
}

function fromFiles(draft: Draft, files: Files): Result<PemPair, string> {
  const cert = fileContent(draft, files.cert);
  if (!cert.ok) return cert;
  const key = fileContent(draft, files.key);
  return key.ok ? ok({ cert: cert.value, key: key.value, source: files.cert }) : key;
}

export function fileContent(draft: Draft, path: string): Result<Uint8Array, string> {
  const file: FileContent | undefined = draft.set.files.get(path);
  if (file === undefined) return err(`${path} was not read`);
  return file.ok ? ok(file.bytes) : err(`${path}: ${file.problem}`);
}
