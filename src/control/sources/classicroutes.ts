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
  /** '' for one that no route names. */
  readonly host: string;
  readonly path: string;
  readonly method: string;
}

const MAX_DIFFERENCES = 1000;
/** Requests that are tried against all routes. */
const MAX_TRIED = 20_000;

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

/** Paths by which two prefixes are told apart: the longer one, without the slash at its end, and with more at its end that is no segment. */
const candidates = (a: string, b: string): string[] => {
  const longer = a.length >= b.length ? a : b;
  const path = longer === '' ? '/' : longer;
  if (!path.endsWith('/')) return [path, `${path}x`];
  return path === '/' ? [path] : [path, trimmed(path)];
};

/** Each pair of routes of which one serves, by our rules, a request that the other served by theirs. */
export function routeDifferences(routes: readonly ClassicRoute[]): RouteDifference[] {
  const found: RouteDifference[] = [];
  const methods = methodsOf(routes);
  let tried = 0;
  for (const [a, b] of pairsOf(routes)) {
    for (const difference of differencesOf(a, b, methods)) {
      if (found.length >= MAX_DIFFERENCES || ++tried > MAX_TRIED) return found;
      if (!isOutcome(difference, routes)) continue;
      found.push(difference);
      break;
    }
  }
  return found;
}

/** Routes of one prefix, by their places in the list. */
interface Bucket {
  readonly all: number[];
  readonly exact: Map<string, number[]>;
  /** Of any host, or of a wildcard. */
  readonly wide: number[];
}

/** Each pair once of which one prefix begins with the other, and whose hosts may meet: ten thousand routes are fifty million pairs. */
function* pairsOf(routes: readonly ClassicRoute[]): Generator<readonly [ClassicRoute, ClassicRoute]> {
  const buckets = bucketsOf(routes);
  const lengths = [...new Set(routes.map((r) => r.prefix.length))].sort((a, b) => a - b);
  for (const [i, route] of routes.entries())
    for (const length of lengths) {
      if (length > route.prefix.length) break;
      const bucket = buckets.get(route.prefix.slice(0, length));
      if (bucket === undefined) continue;
      const lists = isExact(route.host) ? [bucket.exact.get(route.host) ?? [], bucket.wide] : [bucket.all];
      for (const list of lists) for (const j of list) if (length < route.prefix.length || j > i) yield [route, routes[j] as ClassicRoute];
    }
}

const isExact = (host: string | null): host is string => host !== null && !host.startsWith('*.');

function bucketsOf(routes: readonly ClassicRoute[]): Map<string, Bucket> {
  const buckets = new Map<string, Bucket>();
  routes.forEach(({ host, prefix }, i) => {
    let bucket = buckets.get(prefix);
    if (bucket === undefined) buckets.set(prefix, (bucket = { all: [], exact: new Map(), wide: [] }));
    bucket.all.push(i);
    const list = isExact(host) ? (bucket.exact.get(host) ?? []) : bucket.wide;
    list.push(i);
    if (isExact(host)) bucket.exact.set(host, list);
  });
  return buckets;
}

/** Those that tell routes apart, and one that no route names: a third route may have the others. */
function methodsOf(routes: readonly ClassicRoute[]): string[] {
  const named = new Set(routes.flatMap(({ method }) => method ?? []));
  const unnamed = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'].find((method) => !named.has(method)) ?? 'OPTIONS';
  return ['GET', ...[...named, unnamed].filter((method) => method !== 'GET')];
}

function* differencesOf(a: ClassicRoute, b: ClassicRoute, methods: readonly string[]): Generator<RouteDifference> {
  if (a.method !== null && b.method !== null && a.method !== b.method) return;
  const host = sharedHost(a.host, b.host);
  if (host === null) return;
  const only = a.method ?? b.method;
  for (const path of candidates(a.prefix, b.prefix)) {
    const before = [a, b].filter((r) => path.startsWith(r.prefix)).sort(theirs)[0];
    const now = [a, b].filter((r) => covers(r.prefix, path)).sort(ours)[0];
    if (before !== undefined && now !== undefined && now !== before)
      for (const method of only === null ? methods : [only]) yield { before, now, host, path, method };
  }
}

/** Whether no third route serves the request, then or now. */
function isOutcome({ before, now, host, path, method }: RouteDifference, routes: readonly ClassicRoute[]): boolean {
  return routes.every((r) => {
    if ((r.method !== null && r.method !== method) || !servesHost(r.host, host)) return true;
    return (!path.startsWith(r.prefix) || theirs(before, r) <= 0) && (!covers(r.prefix, path) || ours(now, r) <= 0);
  });
}

const servesHost = (pattern: string | null, host: string): boolean =>
  pattern === null || pattern === host || (pattern.startsWith('*.') && host.length > pattern.length - 1 && host.endsWith(pattern.slice(1)));
