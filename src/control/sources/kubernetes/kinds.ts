/** The kinds that are read, and where the API has them. */
import type { ResourceKind } from './api.ts';

export const OUR_GROUP = 'spooky.dev';

const core = (kind: string, plural: string): ResourceKind => ({ kind, group: '', version: 'v1', plural });
const ours = (kind: string, plural: string): ResourceKind => ({ kind, group: OUR_GROUP, version: 'v1alpha1', plural });

export const LISTENERS = ours('Listener', 'listeners');
export const UPSTREAMS = ours('Upstream', 'upstreams');
export const SERVICES = core('Service', 'services');
export const NAMESPACES = core('Namespace', 'namespaces');
export const SECRETS = core('Secret', 'secrets');
export const CONFIG_MAPS = core('ConfigMap', 'configmaps');
export const NODES = core('Node', 'nodes');
export const ENDPOINT_SLICES: ResourceKind = {
  kind: 'EndpointSlice',
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
};

export const GRANT_GROUP = 'gateway.networking.k8s.io';
/** The newest first: v1 since Gateway API 1.5. */
export const GRANT_VERSIONS = ['v1', 'v1beta1'] as const;
export const grantsOf = (version: string): ResourceKind => ({
  kind: 'ReferenceGrant',
  group: GRANT_GROUP,
  version,
  plural: 'referencegrants',
});

/** Secrets that can be neither a certificate nor a bundle, some of them a megabyte each, are not sent at all. */
export const SECRET_QUERY = `fieldSelector=${encodeURIComponent(
  ['helm.sh/release.v1', 'kubernetes.io/service-account-token', 'kubernetes.io/dockerconfigjson', 'bootstrap.kubernetes.io/token']
    .map((type) => `type!=${type}`)
    .join(','),
)}`;
