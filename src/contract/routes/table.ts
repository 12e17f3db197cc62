/**
 * Routes of one listener, built once and matched without allocating.
 *
 *     host:  exact map | tree of suffixes, longest first | any         each may hold several levels: hostnames as Upstreams have them, best first
 *     path:  exact map | regexes in order of rank | tree of prefixes, longest first
 *
 * What a better host or path holds may still refuse a request by method, header or query: then the walk goes on, so that the best tuple that matches wins.
 */
import type { HostPart, RoutePart } from '../snapshot/parts.ts';
import { FieldTest, PatternCache, headersMatch, queryMatches } from './conditions.ts';
import { explainWalk, type Explanation, type RequestFacts } from './explain.ts';
import { compareRoutes, prefixOf } from './rank.ts';
import type { Pattern } from './regex.ts';
import { Trie, type TrieNode } from './trie.ts';

/** A route ready to be tried. */
export class TableRoute<T> {
  readonly value: T;
  readonly part: RoutePart;
  readonly methods: readonly string[] | null;
  readonly headers: readonly FieldTest[] | null;
  readonly query: readonly FieldTest[] | null;
  readonly pattern: Pattern | null;

  constructor(value: T, part: RoutePart, patterns: PatternCache) {
    const m = part.match;
    this.value = value;
    this.part = part;
    this.methods = m.methods.length === 0 ? null : m.methods;
    this.headers = m.headers.length === 0 ? null : m.headers.map((h) => new FieldTest(h, patterns));
    this.query = m.query.length === 0 ? null : m.query.map((q) => new FieldTest(q, patterns));
    this.pattern = m.path?.type === 'Regex' ? patterns.get(m.path.value) : null;
  }

  /** Everything but the path. */
  accepts(query: string, method: string, names: readonly string[], values: readonly string[]): boolean {
    if (this.methods !== null && !this.methods.includes(method)) return false;
    if (this.headers !== null && !headersMatch(this.headers, names, values)) return false;
    return this.query === null || queryMatches(this.query, query);
  }
}

/** The routes that share a hostname as Upstreams have it. */
class Level<T> {
  /** By rank. */
  readonly routes: readonly TableRoute<T>[];
  private readonly exact: ReadonlyMap<string, readonly TableRoute<T>[]> | null;
  private readonly regexes: readonly TableRoute<T>[] | null;
  private readonly prefixes: Trie<TableRoute<T>[]> | null;

  constructor(routes: readonly TableRoute<T>[]) {
    const exact = new Map<string, TableRoute<T>[]>();
    const prefixes = new Map<string, TableRoute<T>[]>();
    const regexes: TableRoute<T>[] = [];
    for (const route of routes) {
      const path = route.part.match.path;
      if (path?.type === 'Regex') regexes.push(route);
      else if (path?.type === 'Exact') push(exact, path.value, route);
      else push(prefixes, path === null ? '' : prefixOf(path.value), route);
    }
    this.routes = routes;
    this.exact = exact.size === 0 ? null : exact;
    this.regexes = regexes.length === 0 ? null : regexes;
    this.prefixes = prefixes.size === 0 ? null : new Trie(prefixes, false);
  }

  match(path: string, query: string, method: string, names: readonly string[], values: readonly string[]): TableRoute<T> | null {
    if (this.exact !== null) {
      const list = this.exact.get(path);
      const found = list === undefined ? null : firstOf(list, query, method, names, values);
      if (found !== null) return found;
    }
    if (this.regexes !== null) {
      const list = this.regexes;
      for (let i = 0; i < list.length; i++) {
        const route = list[i] as TableRoute<T>;
        if (route.accepts(query, method, names, values) && (route.pattern as Pattern).matches(path)) return route;
      }
    }
    if (this.prefixes === null) return null;
    for (let node: TrieNode<TableRoute<T>[]> | null = this.prefixes.deepest(path); node !== null; node = node.parent) {
      if (node.value === null || !endsSegment(path, node.depth)) continue;
      const found = firstOf(node.value, query, method, names, values);
      if (found !== null) return found;
    }
    return null;
  }
}

/** Whether a prefix of this length ends where a segment of the path does. The empty one covers everything, `*` too. */
const endsSegment = (path: string, depth: number): boolean => depth === 0 || depth === path.length || path.charCodeAt(depth) === 0x2f;

function firstOf<T>(
  list: readonly TableRoute<T>[],
  query: string,
  method: string,
  names: readonly string[],
  values: readonly string[],
): TableRoute<T> | null {
  for (let i = 0; i < list.length; i++) {
    const route = list[i] as TableRoute<T>;
    if (route.accepts(query, method, names, values)) return route;
  }
  return null;
}

function push<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

export class RouteTable<T> {
  private readonly exact: ReadonlyMap<string, readonly Level<T>[]>;
  private readonly wildcards: Trie<readonly Level<T>[]> | null;
  private readonly any: readonly Level<T>[] | null;

  constructor(byHost: ReadonlyMap<string, readonly Level<T>[]>) {
    const exact = new Map<string, readonly Level<T>[]>();
    const wildcards = new Map<string, readonly Level<T>[]>();
    for (const [hostname, levels] of byHost) {
      if (hostname.startsWith('*.')) wildcards.set(hostname.slice(1), levels);
      else if (hostname !== '*') exact.set(hostname, levels);
    }
    this.exact = exact;
    this.wildcards = wildcards.size === 0 ? null : new Trie(wildcards, true);
    this.any = byHost.get('*') ?? null;
  }

  /** `host` as normaliseAuthority gives it, `path` and `query` as normaliseTarget does; header names in lower case. */
  match(host: string, path: string, query: string, method: string, names: readonly string[], values: readonly string[]): T | null {
    const found = this.find(host, path, query, method, names, values);
    return found === null ? null : found.value;
  }

  /** The same walk over everything that the host may reach, with why each route lost. Not for the request path. */
  explain(request: RequestFacts): Explanation<T> {
    const candidates: TableRoute<T>[] = [];
    for (const levels of this.hostLevels(request.host)) for (const level of levels) candidates.push(...level.routes);
    const winner = this.find(request.host, request.path, request.query, request.method, request.names, request.values);
    return explainWalk(candidates, winner, request);
  }

  private find(
    host: string,
    path: string,
    query: string,
    method: string,
    names: readonly string[],
    values: readonly string[],
  ): TableRoute<T> | null {
    const exact = this.exact.get(host);
    if (exact !== undefined) {
      const found = firstLevel(exact, path, query, method, names, values);
      if (found !== null) return found;
    }
    if (this.wildcards !== null) {
      for (let node: TrieNode<readonly Level<T>[]> | null = this.wildcards.deepest(host); node !== null; node = node.parent) {
        // A wildcard stands for at least one label: its suffix never is the whole name.
        if (node.value === null || node.depth >= host.length) continue;
        const found = firstLevel(node.value, path, query, method, names, values);
        if (found !== null) return found;
      }
    }
    return this.any === null ? null : firstLevel(this.any, path, query, method, names, values);
  }

  private hostLevels(host: string): (readonly Level<T>[])[] {
    const found: (readonly Level<T>[])[] = [];
    const exact = this.exact.get(host);
    if (exact !== undefined) found.push(exact);
    for (let node = this.wildcards?.deepest(host) ?? null; node !== null; node = node.parent) {
      if (node.value !== null && node.depth < host.length) found.push(node.value);
    }
    if (this.any !== null) found.push(this.any);
    return found;
  }
}

function firstLevel<T>(
  levels: readonly Level<T>[],
  path: string,
  query: string,
  method: string,
  names: readonly string[],
  values: readonly string[],
): TableRoute<T> | null {
  for (let i = 0; i < levels.length; i++) {
    const found = (levels[i] as Level<T>).match(path, query, method, names, values);
    if (found !== null) return found;
  }
  return null;
}

/** Throws when a regular expression does not compile: compile refuses those, and a route that cannot be tried must not be passed over. */
export function buildTable<T>(hosts: readonly HostPart[], attach: (route: RoutePart, host: HostPart) => T): RouteTable<T> {
  const patterns = new PatternCache();
  const byHost = new Map<string, TableRoute<T>[]>();
  for (const host of hosts)
    for (const route of host.routes) push(byHost, host.hostname, new TableRoute(attach(route, host), route, patterns));
  const levels = new Map<string, readonly Level<T>[]>();
  for (const [hostname, routes] of byHost) {
    routes.sort((a, b) => compareRoutes(a.part, b.part));
    const byWritten = new Map<string, TableRoute<T>[]>();
    for (const route of routes) push(byWritten, route.part.hostname, route);
    levels.set(
      hostname,
      Array.from(byWritten.values(), (list) => new Level(list)),
    );
  }
  return new RouteTable(levels);
}
