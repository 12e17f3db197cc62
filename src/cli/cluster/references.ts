/** What Listeners and Upstreams refer to by name, and where they say so. */
import type { BackendTls, Listener, ObjectMeta, Resource, Upstream } from '../../contract/resources/index.ts';

export interface Reference {
  readonly from: { readonly kind: 'Listener' | 'Upstream'; readonly meta: ObjectMeta };
  readonly kind: 'Secret' | 'ConfigMap' | 'Service';
  readonly namespace: string;
  readonly name: string;
  /** `spec.backends[0].service` */
  readonly path: string;
}

export function referencesOfListener({ meta, spec }: Resource<Listener>): Reference[] {
  const from = { kind: 'Listener', meta } as const;
  return (spec.tls.certificateRefs ?? []).flatMap((ref, i) =>
    ref.name === undefined
      ? []
      : [{ from, kind: 'Secret', namespace: ref.namespace ?? meta.namespace, name: ref.name, path: `spec.tls.certificateRefs[${i}]` }],
  );
}

export function referencesOfUpstream({ meta, spec }: Resource<Upstream>): Reference[] {
  const from = { kind: 'Upstream', meta } as const;
  const own = (kind: Reference['kind'], name: string | undefined, path: string): Reference[] =>
    name === undefined ? [] : [{ from, kind, namespace: meta.namespace, name, path }];
  const ofTls = (tls: BackendTls | undefined, at: string): Reference[] => [
    ...own(tls?.caRef?.kind ?? 'ConfigMap', tls?.caRef?.name, `${at}.caRef`),
    ...own('Secret', tls?.clientCertificateRef?.name, `${at}.clientCertificateRef`),
  ];
  return [
    ...(spec.certificateRefs ?? []).flatMap((ref, i) => own('Secret', ref.name, `spec.certificateRefs[${i}]`)),
    ...ofTls(spec.tls, 'spec.tls'),
    ...spec.backends.flatMap((backend, i) => [
      ...(backend.service === undefined
        ? []
        : [
            {
              from,
              kind: 'Service',
              namespace: backend.service.namespace ?? meta.namespace,
              name: backend.service.name,
              path: `spec.backends[${i}].service`,
            } as const,
          ]),
      ...ofTls(backend.tls, `spec.backends[${i}].tls`),
    ]),
  ];
}
