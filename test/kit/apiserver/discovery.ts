/** What clients find out first: groups, versions, resources. */
import { apiVersionOf, type Kind, type Plain } from './model.ts';
import type { Kinds } from './kinds.ts';

export const VERSION: Plain = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.3',
  gitTreeState: 'clean',
  goVersion: 'go1.26',
  compiler: 'gc',
  platform: 'linux/amd64',
};

const verbs = (kind: Kind): string[] =>
  ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'].filter(() => kind.plural !== '');

function group(name: string, kinds: readonly Kind[]): Plain {
  const versions = [...new Set(kinds.filter((kind) => kind.group === name).map((kind) => kind.version))].sort(
    (a, b) => a.length - b.length || (a < b ? -1 : 1),
  );
  const entries = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  return { name, versions: entries, preferredVersion: entries[0] };
}

function resources(groupVersion: string, kinds: readonly Kind[]): Plain | null {
  const here = kinds.filter((kind) => apiVersionOf(kind) === groupVersion);
  if (here.length === 0) return null;
  const list = here.flatMap((kind) => [
    {
      name: kind.plural,
      singularName: kind.kind.toLowerCase(),
      namespaced: kind.namespaced,
      kind: kind.kind,
      verbs: verbs(kind),
      ...(kind.shortNames.length === 0 ? {} : { shortNames: kind.shortNames }),
    },
    ...kind.subresources.map((sub) => ({
      name: `${kind.plural}/${sub}`,
      singularName: '',
      namespaced: kind.namespaced,
      kind: kind.kind,
      verbs: sub === 'token' ? ['create'] : ['get', 'patch', 'update'],
    })),
  ]);
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources: list };
}

/** The answer for a path of discovery; null when nothing is there. */
export function discover(path: readonly string[], kinds: Kinds): Plain | null {
  const all = kinds.all();
  const [root, name, version, ...rest] = path;
  if (rest.length > 0) return null;
  if (root === 'version') return VERSION;
  if (root === 'api') {
    if (version !== undefined) return null;
    return name === undefined ? { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] } : resources(name, all);
  }
  if (root !== 'apis') return null;
  const names = [...new Set(all.map((kind) => kind.group))].filter((g) => g !== '');
  if (name === undefined) return { kind: 'APIGroupList', apiVersion: 'v1', groups: names.map((g) => group(g, all)) };
  if (!names.includes(name)) return null;
  return version === undefined ? { kind: 'APIGroup', apiVersion: 'v1', ...group(name, all) } : resources(`${name}/${version}`, all);
}
