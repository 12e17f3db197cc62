/**
 * Routes of one listener, matched without allocating. A table is never changed: a `TableBuilder` makes the next one out of it, for what the change costs.
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
  readonly hostname: string;
  /** Whoever made it may still change it. */
  readonly owner: object;
  count = 0;
  /** null where there is none: most have prefixes alone, and a look-up is to touch no more than it needs. */
  private exact: Map<string, readonly TableRoute<T>[]> | null;
  private regexes: TableRoute<T>[] | null;
  private readonly prefixes: Trie<readonly TableRoute<T>[]>;

  constructor(hostname: string, owner: object, before: Level<T> | null) {
    this.hostname = hostname;
    this.owner = owner;
    this.count = before?.count ?? 0;
    this.exact = before === null || before.exact === null ? null : new Map(before.exact);
    this.regexes = before?.regexes?.slice() ?? null;
    this.prefixes = before?.prefixes.copy() ?? new Trie(false);
  }

  add(route: TableRoute<T>): void {
    this.count++;
    const path = route.part.match.path;
    if (path?.type === 'Regex') insert((this.regexes ??= []), route);
    else if (path?.type === 'Exact') {
      this.exact ??= new Map();
      this.exact.set(path.value, beside(this.exact.get(path.value), route));
    } else {
      const key = path === null ? '' : prefixOf(path.value);
      this.prefixes.set(key, beside(this.prefixes.get(key), route), this.owner);
    }
  }

  remove(route: TableRoute<T>): void {
    this.count--;
    const path = route.part.match.path;
    if (path?.type === 'Regex') this.regexes = without(this.regexes, route);
    else if (path?.type === 'Exact') {
      const left = without(this.exact?.get(path.value), route);
      if (left !== null) this.exact?.set(path.value, left);
      else if (this.exact?.delete(path.value) === true && this.exact.size === 0) this.exact = null;
    } else {
      const key = path === null ? '' : prefixOf(path.value);
      this.prefixes.set(key, without(this.prefixes.get(key), route), this.owner);
    }
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
    const { prefixes } = this;
    for (let i = prefixes.walk(path) - 1; i >= 0; i--) {
      const node = prefixes.at(i);
      if (!endsSegment(path, node.depth)) continue;
      const found = firstOf(node.value as readonly TableRoute<T>[], query, method, names, values);
      if (found !== null) return found;
    }
    return null;
  }

  /** All of them, by rank. Not for the request path. */
  routes(): readonly TableRoute<T>[] {
    const found = [...(this.exact?.values() ?? [])].flat();
    for (const route of this.regexes ?? []) found.push(route);
    collect(this.prefixes.root, found);
    return found.sort((a, b) => compareRoutes(a.part, b.part));
  }
}

/** By rank: the best first. */
function insert<T>(routes: TableRoute<T>[], route: TableRoute<T>): void {
  let [low, high] = [0, routes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareRoutes((routes[middle] as TableRoute<T>).part, route.part) <= 0) low = middle + 1;
    else high = middle;
  }
  routes.splice(low, 0, route);
}

function beside<T>(others: readonly TableRoute<T>[] | null | undefined, route: TableRoute<T>): readonly TableRoute<T>[] {
  const all = [...(others ?? [])];
  insert(all, route);
  return all;
}

/** The others; null when there are none. */
function without<T>(routes: readonly TableRoute<T>[] | null | undefined, route: TableRoute<T>): TableRoute<T>[] | null {
  const left = (routes ?? []).filter((r) => r !== route);
  return left.length === 0 ? null : left;
}

function collect<T>(node: TrieNode<readonly TableRoute<T>[]>, into: TableRoute<T>[]): void {
  for (const route of node.value ?? []) into.push(route);
  for (const child of node.children?.values() ?? []) collect(child, into);
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

type Levels<T> = readonly Level<T>[];

export class RouteTable<T> {
  readonly exact: ReadonlyMap<string, Levels<T>>;
  readonly wildcards: Trie<Levels<T>>;
  readonly any: Levels<T> | null;

  constructor(exact: ReadonlyMap<string, Levels<T>>, wildcards: Trie<Levels<T>>, any: Levels<T> | null) {
    this.exact = exact;
    this.wildcards = wildcards;
    this.any = any;
  }

  static empty<T>(): RouteTable<T> {
    return new RouteTable<T>(new Map(), new Trie(true), null);
  }

  /** `host` as normaliseAuthority gives it, `path` and `query` as normaliseTarget does; header names in lower case. */
  match(host: string, path: string, query: string, method: string, names: readonly string[], values: readonly string[]): T | null {
    const found = this.find(host, path, query, method, names, values);
    return found === null ? null : found.value;
  }

  /** The same walk over everything that the host may reach, with why each route lost. Not for the request path. */
  explain(request: RequestFacts): Explanation<T> {
    const candidates: TableRoute<T>[] = [];
    for (const levels of this.hostLevels(request.host)) for (const level of levels) candidates.push(...level.routes());
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
    const { wildcards } = this;
    for (let i = wildcards.walk(host) - 1; i >= 0; i--) {
      const node = wildcards.at(i);
      // A wildcard stands for at least one label: its suffix never is the whole name.
      if (node.depth >= host.length) continue;
      const found = firstLevel(node.value as Levels<T>, path, query, method, names, values);
      if (found !== null) return found;
    }
    return this.any === null ? null : firstLevel(this.any, path, query, method, names, values);
  }

  private hostLevels(host: string): Levels<T>[] {
    const found: Levels<T>[] = [];
    const exact = this.exact.get(host);
    if (exact !== undefined) found.push(exact);
    for (let i = this.wildcards.walk(host) - 1; i >= 0; i--) {
      const node = this.wildcards.at(i);
      if (node.depth < host.length) found.push(node.value as Levels<T>);
    }
    if (this.any !== null) found.push(this.any);
    return found;
  }
}

function firstLevel<T>(
  levels: Levels<T>,
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

/** Hostnames as written, best first: exact before wildcards, longer before shorter, any last. */
function byHostname<T>(a: Level<T>, b: Level<T>): number {
  const level = (h: string): number => (h === '*' ? 2 : h.startsWith('*.') ? 1 : 0);
  return (
    level(a.hostname) - level(b.hostname) ||
    b.hostname.length - a.hostname.length ||
    (a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0)
  );
}

/** Makes one table out of another, a route at a time: whoever has thousands to add can let others run in between. */
export class TableBuilder<T> {
  private readonly exact: Map<string, Levels<T>>;
  private readonly wildcards: Trie<Levels<T>>;
  private any: Levels<T> | null;
  private readonly owner = {};

  constructor(before: RouteTable<T>) {
    this.exact = new Map(before.exact);
    this.wildcards = before.wildcards.copy();
    this.any = before.any;
  }

  add(hostname: string, route: TableRoute<T>): void {
    this.change(hostname, route.part.hostname, (level) => level.add(route));
  }

  /** One that was added under this hostname, here or in the table before. */
  remove(hostname: string, route: TableRoute<T>): void {
    this.change(hostname, route.part.hostname, (level) => level.remove(route));
  }

  /** Nothing may be added afterwards. */
  finish(): RouteTable<T> {
    return new RouteTable<T>(this.exact, this.wildcards, this.any);
  }

  private change(hostname: string, written: string, edit: (level: Level<T>) => void): void {
    const levels = this.levels(hostname);
    const known = levels.find((level) => level.hostname === written) ?? null;
    const mine = known?.owner === this.owner ? known : new Level<T>(written, this.owner, known);
    edit(mine);
    if (mine === known && mine.count > 0) return;
    const others = levels.filter((level) => level !== known);
    this.put(hostname, mine.count === 0 ? others : [...others, mine].sort(byHostname));
  }

  private levels(hostname: string): Levels<T> {
    if (hostname === '*') return this.any ?? [];
    return (hostname.startsWith('*.') ? this.wildcards.get(hostname.slice(1)) : this.exact.get(hostname)) ?? [];
  }

  private put(hostname: string, levels: Levels<T>): void {
    const some = levels.length === 0 ? null : levels;
    if (hostname === '*') this.any = some;
    else if (hostname.startsWith('*.')) this.wildcards.set(hostname.slice(1), some, this.owner);
    else if (some === null) this.exact.delete(hostname);
    else this.exact.set(hostname, some);
  }
}

/** Throws when a regular expression does not compile: compile refuses those, and a route that cannot be tried must not be passed over. */
export function buildTable<T>(hosts: readonly HostPart[], attach: (route: RoutePart, host: HostPart) => T): RouteTable<T> {
  const patterns = new PatternCache();
  const builder = new TableBuilder<T>(RouteTable.empty());
  for (const host of hosts)
    for (const route of host.routes) builder.add(host.hostname, new TableRoute(attach(route, host), route, patterns));
  return builder.finish();
}
