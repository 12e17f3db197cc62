/** The flags of commands that ask a cluster: by the names, and with the values, that `serve` has for them. */
import { CLUSTER_SETTINGS, type ClusterValues } from '../../contract/resources/index.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { Arguments, CommandOption } from '../command.ts';

type Names = 'kubeconfig' | 'context' | 'class' | 'namespaces' | 'listenerNamespaces';
export type ClusterFlags = Pick<ClusterValues, 'kubeconfig' | 'context' | 'class' | 'namespaces' | 'listenerNamespaces'>;

const setting = (name: Names): (typeof CLUSTER_SETTINGS)[number] => {
  const found = CLUSTER_SETTINGS.find((s) => s.name === name);
  if (found === undefined) throw new Error(`there is no setting ${name}`);
  return found;
};

/** As `serve --help` has it, but for what is meant here. */
export function clusterOption(name: Names, help: string, text = setting(name).defaultText): CommandOption {
  const { flag, value } = setting(name);
  return { flag, value, help, default: text };
}

/** `absent` where the flag is not given. */
export function readFlag<N extends Names>(given: Arguments, name: N, absent: ClusterValues[N]): Result<ClusterValues[N], string> {
  const { flag, parse } = setting(name);
  const text = given.value(flag);
  if (text === null) return ok(absent);
  const read = parse(text) as Result<ClusterValues[N], string>;
  return read.ok ? read : err(`${flag} ${read.error}`);
}

/** Those that every such command has. */
export function readClusterFlags(given: Arguments): Result<ClusterFlags, string> {
  const kubeconfig = readFlag(given, 'kubeconfig', null);
  const context = readFlag(given, 'context', null);
  const className = readFlag(given, 'class', 'spooky');
  const namespaces = readFlag(given, 'namespaces', null);
  const listenerNamespaces = readFlag(given, 'listenerNamespaces', null);
  if (!kubeconfig.ok) return kubeconfig;
  if (!context.ok) return context;
  if (!className.ok) return className;
  if (!namespaces.ok) return namespaces;
  if (!listenerNamespaces.ok) return listenerNamespaces;
  return ok({
    kubeconfig: kubeconfig.value,
    context: context.value,
    class: className.value,
    namespaces: namespaces.value,
    listenerNamespaces: listenerNamespaces.value,
  });
}

/** Of a command that only asks. */
export const CLUSTER_OPTIONS: readonly CommandOption[] = [
  clusterOption('kubeconfig', 'The credentials of the cluster.'),
  clusterOption('context', 'The context of the kubeconfig.'),
  clusterOption('class', 'The class of Listeners that is meant.'),
  clusterOption('namespaces', 'Namespaces to read.', 'all'),
  clusterOption('listenerNamespaces', 'Namespaces whose Listeners count.', 'all'),
];
