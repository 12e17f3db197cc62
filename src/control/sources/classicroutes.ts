/**
 * Where classic precedence and ours part. Theirs asks for the longest path first, then for the host; ours for the host first. And their
 * prefixes are compared as text, ours by segments: `/api` was `/apix` too.
 */
export interface ClassicRoute {
  /** The pool's name. */
  readonly name: string;
  /** Exact or `*.suffix`, lower case; null: any. */
  readonly host: string | null;
  /** '' for any. */
  readonly prefix: string;
  readonly method: string | null;
}

export interface RouteDifference {
  /** Who served the request, and who does now. */
  readonly before: ClassicRoute;
  readonly now: ClassicRoute;
  /** `GET a.example.com/api` */
  readonly example: string;
}

const MAX_DIFFERENCES = 1000;

const hostRank = (host: string | null): number => (host === null ? 0 : host.startsWith('*.') ? 1 : 2);

/** Exact over wildcard over none, longer wildcards first: the same in both. */
const compareHosts = (a: ClassicRoute, b: ClassicRoute): number =>
  hostRank(b.host) - hostRank(a.host) || (hostRank(a.host) === 1 ? (b.host as string).length - (a.host as string).length : 0);

const compareMethods = (a: ClassicRoute, b: ClassicRoute): number => Number(b.method !== null) - Number(a.method !== null);
const compareNames = (a: ClassicRoute, b: ClassicRoute): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);

const theirs = (a: ClassicRoute, b: ClassicRoute): number =>
  b.prefix.length - a.prefix.length || compareHosts(a, b) || compareMethods(a, b) || compareNames(a, b);

const trimmed = (prefix: string): string => (prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);

const ours = (a: ClassicRoute, b: ClassicRoute): number =>
  compareHosts(a, b) || trimmed(b.prefix).length - trimmed(a.prefix).length || compareMethods(a, b) || compareNames(a, b);

const covers = (prefix: string, path: string): boolean => {
  const p = trimmed(prefix);
  return path.startsWith(p) && (path.length === p.length || path[p.length] === '/');
};

/** A host that both serve, or null. */
function sharedHost(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return concrete(a ?? b);
  if (a === b) return concrete(a);
  const [wide, narrow] = a.startsWith('*.') && (!b.startsWith('*.') || b.endsWith(a.slice(1))) ? [a, b] : [b, a];
  return wide.startsWith('*.') && narrow.length > wide.length - 1 && narrow.endsWith(wide.slice(1)) ? concrete(narrow) : null;
}

const concrete = (host: string | null): string => (host === null ? '' : host.startsWith('*.') ? `x${host.slice(1)}` : host);

/** Paths by which two prefixes are told apart: the longer one, and what follows the shorter or longer one without a slash. */
const candidates = (a: string, b: string): string[] => {
  const longer = a.length >= b.length ? a : b;
  const path = longer === '' ? '/' : longer;
  return path.endsWith('/') ? [path] : [path, `${path}x`];
};

/** Each pair of routes of which one serves, by our rules, a request that the other served by theirs. */
export function routeDifferences(routes: readonly ClassicRoute[]): RouteDifference[] {
  const found: RouteDifference[] = [];
  for (let i = 0; i < routes.length; i++)
    for (let j = i + 1; j < routes.length && found.length < MAX_DIFFERENCES; j++) {
      const difference = differenceOf(routes[i] as ClassicRoute, routes[j] as ClassicRoute);
      if (difference !== null) found.push(difference);
    }
  return found;
}

function differenceOf(a: ClassicRoute, b: ClassicRoute): RouteDifference | null {
  if (!a.prefix.startsWith(b.prefix) && !b.prefix.startsWith(a.prefix)) return null;
  if (a.method !== null && b.method !== null && a.method !== b.method) return null;
  const host = sharedHost(a.host, b.host);
  if (host === null) return null;
  const before = theirs(a, b) <= 0 ? a : b;
  for (const path of candidates(a.prefix, b.prefix)) {
    const matching = [a, b].filter((r) => covers(r.prefix, path)).sort(ours);
    const now = matching[0];
    if (now !== undefined && now !== before) return { before, now, example: `${a.method ?? b.method ?? 'GET'} ${host}${path}` };
  }
  return null;
}
