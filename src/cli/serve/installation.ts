/** Who this process is among those of a cluster: out of flags and of what the pod's environment says. */
import { isIP } from 'node:net';
import type { ClusterValues, Installation } from '../../contract/resources/index.ts';
import type { ServeSettings } from '../../settings.ts';

type Env = Readonly<Record<string, string | undefined>>;

export interface Pod {
  readonly name: string;
  readonly namespace: string;
  /** '' when not known. */
  readonly uid: string;
  /** '' when not known. */
  readonly zone: string;
  /** The pod's own and its node's. */
  readonly addresses: readonly string[];
}

/** `namespace` and `name`: what to go by outside of a pod. */
export const podOf = (env: Env, namespace: string, name: string): Pod => ({
  name: text(env['POD_NAME']) ?? name,
  namespace: text(env['POD_NAMESPACE']) ?? namespace,
  uid: text(env['POD_UID']) ?? '',
  zone: text(env['POD_ZONE']) ?? '',
  addresses: [env['POD_IPS'], env['HOST_IPS']].flatMap((list) => (list ?? '').split(',')).filter((address) => isIP(address) !== 0),
});

const text = (value: string | undefined): string | null => (value === undefined || value === '' ? null : value);

/** The own namespace is always among those of a list; null stays all. */
const withOwn = (namespaces: readonly string[] | null, own: string): ReadonlySet<string> | null =>
  namespaces === null ? null : new Set([own, ...namespaces]);

export const installationOf = (settings: ServeSettings, cluster: ClusterValues, namespace: string): Installation => ({
  className: cluster.class,
  namespace,
  listenerNamespaces: withOwn(cluster.listenerNamespaces, namespace),
  secretNamespaces: withOwn(cluster.secretNamespaces, namespace),
  ports: cluster.ports === null ? null : new Set(cluster.ports),
  reservedPorts: new Set([settings.metrics, settings.admin].flatMap((address) => (address === null ? [] : [address.port]))),
  publishService: cluster.publishService,
  publishAddresses: cluster.publishAddresses,
  publishNodeAddresses: cluster.publishNodeAddresses,
  allowAddressBackends: cluster.allowAddressBackends,
});

/** As a network of one address. */
export const networkOf = (address: string): string => `${address}/${isIP(address) === 6 ? 128 : 32}`;
