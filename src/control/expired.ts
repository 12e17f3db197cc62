/** Certificates that have expired, as problems at the places that refer to them: for who has no conditions to read. */
import { objectKey, type ObjectKey, type Origin, type Problem, type ResourceSet } from '../contract/resources/index.ts';
import type { CertificateDates } from './compile/compiled.ts';
import type { Compiled, ObjectStatus } from './compile/index.ts';

/** Served all the same, since nothing would be better without them: warnings. */
export function expiredCertificates(set: ResourceSet, compiled: Compiled, wall: number): Problem[] {
  return compiled.statuses.flatMap(({ kind, namespace, name, certificates = [] }) => {
    const gone = certificates.filter((c) => c.notAfter <= wall);
    return gone.map((c) => expiredProblem(set, kind, objectKey(namespace, name), c));
  });
}

function expiredProblem(set: ResourceSet, kind: ObjectStatus['kind'], key: ObjectKey, { source, notAfter }: CertificateDates): Problem {
  const { refs, origin } = refsOf(set, kind, key);
  const path = refs.find((r) => r.source === source)?.path ?? 'spec';
  return {
    severity: 'warning',
    file: origin?.file ?? '',
    ...(origin?.locate(path) ?? { line: 0, column: 0 }),
    object: `${kind} ${key}`,
    path: origin?.spell?.(path) ?? path,
    message: `${source}: the certificate has expired (${new Date(notAfter).toISOString()}): whoever verifies it refuses it`,
  };
}

interface Ref {
  readonly path: string;
  readonly source: string;
}

interface Written {
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  readonly files?: { readonly cert: string } | undefined;
}

function refsOf(set: ResourceSet, kind: ObjectStatus['kind'], key: ObjectKey): { refs: readonly Ref[]; origin: Origin | null } {
  const listener = kind === 'Listener' ? set.listeners.get(key) : undefined;
  const upstream = kind === 'Upstream' ? set.upstreams.get(key) : undefined;
  const meta = (listener ?? upstream)?.meta;
  const refs: Ref[] = [];
  const note = (path: string, ref: Written | undefined): void => {
    if (ref !== undefined) refs.push({ path, source: ref.files?.cert ?? `${ref.namespace ?? meta?.namespace}/${ref.name}` });
  };
  listener?.spec.tls.certificateRefs?.forEach((ref, i) => note(`spec.tls.certificateRefs[${i}]`, ref));
  upstream?.spec.certificateRefs?.forEach((ref, i) => note(`spec.certificateRefs[${i}]`, ref));
  note('spec.tls.clientCertificateRef', upstream?.spec.tls?.clientCertificateRef);
  upstream?.spec.backends.forEach((b, i) => note(`spec.backends[${i}].tls.clientCertificateRef`, b.tls?.clientCertificateRef));
  return { refs, origin: meta?.origin ?? null };
}
