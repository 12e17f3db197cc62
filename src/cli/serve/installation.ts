/** Who this process is among those of a cluster: out of flags and of what the pod's environment says. */
import { isIP } from 'node:net';
import type { networkInterfaces } from 'node:os';
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
  /** Whether the environment says which the node's are. */
  readonly knowsNode: boolean;
}

/** `namespace` and `name`: what to go by outside of a pod. `interfaces`: addresses that are ours whatever the environment says. */
export function podOf(env: Env, namespace: string, name: string, interfaces: readonly string[]): Pod {
  const node = addressesIn(env['HOST_IPS']);
  return {
    name: text(env['POD_NAME']) ?? name,
    namespace: text(env['POD_NAMESPACE']) ?? namespace,
    uid: text(env['POD_UID']) ?? '',
    zone: text(env['POD_ZONE']) ?? '',
    addresses: [...new Set([...addressesIn(env['POD_IPS']), ...node, ...interfaces])],
    knowsNode: node.length > 0,
  };
}

const addressesIn = (list = ''): string[] =>
  list
    .split(',')
    .map((address) => address.trim())
    .filter((address) => isIP(address) !== 0);

/** With `hostNetwork` these are the node's, of which the API knows one or two. */
export const interfaceAddresses = (interfaces: ReturnType<typeof networkInterfaces>): string[] =>
  Object.values(interfaces).flatMap((list = []) => list.map(({ address }) => address.replace(/%.*$/, '')));

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
