/** The settings of `serve --kubernetes`: flags and environment alone, since a cluster has no document for them. */
import { err, ok } from '../../lib/result.ts';
import { isAddress, matchesPattern } from './names.ts';
import { commaList, file, settingsOf, words, type Parse, type SettingOf } from './settings.ts';

export interface ClusterValues {
  readonly kubernetes: boolean;
  readonly kubeconfig: string | null;
  readonly context: string | null;
  readonly class: string;
  /** null: all. */
  readonly namespaces: readonly string[] | null;
  /** Beside the own one; null: all. */
  readonly listenerNamespaces: readonly string[] | null;
  /** Beside the own one; null: all. */
  readonly secretNamespaces: readonly string[] | null;
  /** null: any. */
  readonly ports: readonly number[] | null;
  readonly publishService: { readonly namespace: string; readonly name: string } | null;
  readonly publishAddresses: readonly string[];
  readonly publishNodeAddresses: boolean;
  readonly allowAddressBackends: boolean;
  readonly role: 'all' | 'edge' | 'controller';
  /** Where our zone is known from: the pod's environment, or its node's labels. */
  readonly topology: 'pod' | 'node';
}

/** A switch has no value on the command line; in the environment it has. */
const onOff: Parse<boolean> = (text) => {
  if (text === '' || text === 'true' || text === '1') return ok(true);
  if (text === 'false' || text === '0') return ok(false);
  return err(`must be true or false, not ${JSON.stringify(text)}`);
};

const className: Parse<string> = (text) =>
  text.length <= 63 && matchesPattern('label', text)
    ? ok(text)
    : err(`must be a name of letters, digits, "-", "_" and ".", not ${JSON.stringify(text)}`);

const isNamespace = (text: string): boolean => text.length <= 63 && matchesPattern('namespace', text);

/** `all` is null. */
const namespaces: Parse<readonly string[] | null> = (text) => {
  if (text === 'all') return ok(null);
  const list = commaList(text);
  const bad = list.find((name) => !isNamespace(name));
  if (bad !== undefined) return err(`must be all, or namespaces with commas between them, not ${JSON.stringify(bad)}`);
  return list.length === 0 ? err('must be all, or at least one namespace') : ok([...new Set(list)]);
};

const ports: Parse<readonly number[] | null> = (text) => {
  const list = commaList(text);
  const bad = list.find((s) => !/^[1-9][0-9]{0,4}$/.test(s) || Number(s) > 65535);
  if (bad !== undefined) return err(`must be ports from 1 to 65535 with commas between them, not ${JSON.stringify(bad)}`);
  return list.length === 0 ? err('must be at least one port') : ok([...new Set(list.map(Number))]);
};

const serviceName: Parse<ClusterValues['publishService']> = (text) => {
  const [namespace = '', name = '', ...rest] = text.split('/');
  return rest.length === 0 && isNamespace(namespace) && name.length <= 253 && matchesPattern('objectName', name)
    ? ok({ namespace, name })
    : err(`must be NAMESPACE/NAME of a Service, not ${JSON.stringify(text)}`);
};

const addresses: Parse<readonly string[]> = (text) => {
  const list = commaList(text);
  const bad = list.find((s) => !isAddress(s) && !(s.length <= 253 && matchesPattern('exactHostname', s)));
  if (bad !== undefined) return err(`must be addresses or host names with commas between them, not ${JSON.stringify(bad)}`);
  return ok([...new Set(list)]);
};

const contextName: Parse<string | null> = (text) => (text === '' ? err('must be the name of a context') : ok(text));

const setting = settingsOf<ClusterValues>();

export const CLUSTER_SETTINGS: readonly SettingOf<ClusterValues>[] = [
  setting('kubernetes', '', 'Serve what the objects of a cluster say, instead of files.', onOff, 'off', false),
  setting('kubeconfig', 'FILE', 'The credentials of the cluster.', file, "the pod's, else KUBECONFIG, else ~/.kube/config", null),
  setting('context', 'NAME', 'The context of the kubeconfig.', contextName, 'its current one', null),
  setting('class', 'NAME', 'The class of Listeners to serve.', className, 'spooky'),
  setting('namespaces', 'A,B|all', 'Namespaces to watch, beside the own one.', namespaces, 'all', null),
  setting('listenerNamespaces', 'A,B|all', 'Namespaces whose Listeners count, beside the own one.', namespaces, 'the own one', []),
  setting(
    'secretNamespaces',
    'A,B|all',
    'Namespaces whose Secrets and ConfigMaps are read, beside the own one.',
    namespaces,
    'the own one',
    [],
  ),
  setting('ports', 'A,B', 'The ports that a Listener may have: those that are published.', ports, 'any', null),
  setting('publishService', 'NS/NAME', 'The Service whose ports and addresses clients use.', serviceName, 'none', null),
  setting('publishAddresses', 'A,B', "The addresses to publish, instead of the Service's.", addresses, 'none', []),
  setting('publishNodeAddresses', '', 'Publish the addresses of nodes.', onOff, 'off', false),
  setting('allowAddressBackends', '', 'Allow `addresses` in Upstreams.', onOff, 'off', false),
  setting(
    'role',
    'all|edge|controller',
    'edge: serves, and writes nothing to the cluster; controller: writes statuses, and serves nothing.',
    words('all', 'edge', 'controller'),
    'all',
  ),
  setting('topology', 'pod|node', 'Where the own zone is known from: POD_ZONE, or the labels of the node.', words('pod', 'node'), 'pod'),
] as readonly SettingOf<ClusterValues>[];
