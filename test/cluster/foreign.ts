/** Kinds of other projects, as far as our tests need them: a server that knows their names and keeps whatever they hold. */
import type { Api } from './api.ts';

interface Foreign {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
}

export const REFERENCE_GRANT: Foreign = {
  group: 'gateway.networking.k8s.io',
  version: 'v1beta1',
  kind: 'ReferenceGrant',
  plural: 'referencegrants',
};
export const MONITORS: readonly Foreign[] = [
  { group: 'monitoring.coreos.com', version: 'v1', kind: 'PodMonitor', plural: 'podmonitors' },
  { group: 'monitoring.coreos.com', version: 'v1', kind: 'ServiceMonitor', plural: 'servicemonitors' },
];
export const CERT_MANAGER: readonly Foreign[] = [
  { group: 'cert-manager.io', version: 'v1', kind: 'Issuer', plural: 'issuers' },
  { group: 'cert-manager.io', version: 'v1', kind: 'Certificate', plural: 'certificates' },
];

const definition = ({ group, version, kind, plural }: Foreign) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: {
    name: `${plural}.${group}`,
    // The server wants it of groups below k8s.io.
    annotations: { 'api-approved.kubernetes.io': 'unapproved, for tests' },
  },
  spec: {
    group,
    names: { kind, plural, singular: kind.toLowerCase(), listKind: `${kind}List` },
    scope: 'Namespaced',
    versions: [
      {
        name: version,
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
});

/** Returns when they are served. */
export async function addKinds(api: Api, kinds: readonly Foreign[]): Promise<void> {
  const documents = kinds.map(definition);
  await api.kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify({ apiVersion: 'v1', kind: 'List', items: documents }));
  await api.kubectl(['wait', '--for', 'condition=Established', '--timeout=30s', ...documents.map((d) => `crd/${d.metadata.name}`)]);
}

export const removeKinds = async (api: Api, kinds: readonly Foreign[]): Promise<void> => {
  await api.kubectl(['delete', '--wait=false', ...kinds.map(({ group, plural }) => `crd/${plural}.${group}`)]);
};
