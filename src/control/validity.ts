/** Certificates that are not valid now, as problems at the places that refer to them: for who has no conditions to read. */
import { objectKey, type ObjectKey, type Origin, type Problem, type ResourceSet } from '../contract/resources/index.ts';
import type { CertificateDates, Compiled, ObjectStatus } from './compile/index.ts';

/** Served all the same, since nothing would be better without them: warnings. */
export function untimelyCertificates(set: ResourceSet, compiled: Compiled, wall: number): Problem[] {
  return compiled.statuses.flatMap(({ kind, namespace, name, certificates = [] }) => {
    return certificates.flatMap((c) => {
      const why = faultOf(c, wall);
      return why === null ? [] : [problemOf(set, kind, objectKey(namespace, name), c.source, why)];
    });
  });
}

function faultOf({ notBefore, notAfter }: CertificateDates, wall: number): string | null {
  if (notAfter <= wall) return `has expired (${iso(notAfter)}): whoever verifies it refuses it`;
  return notBefore > wall ? `is not valid before ${iso(notBefore)}: until then, whoever verifies it refuses it` : null;
}

const iso = (ms: number): string => new Date(ms).toISOString();

function problemOf(set: ResourceSet, kind: ObjectStatus['kind'], key: ObjectKey, source: string, why: string): Problem {
  const { refs, origin } = refsOf(set, kind, key);
  const path = refs.find((r) => r.source === source)?.path ?? 'spec';
  return {
    severity: 'warning',
    file: origin?.file ?? '',
    ...(origin?.locate(path) ?? { line: 0, column: 0 }),
    object: `${kind} ${key}`,
    path: origin?.spell?.(path) ?? path,
    message: `${source}: the certificate ${why}`,
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
