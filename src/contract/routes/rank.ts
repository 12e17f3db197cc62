/**
 * Precedence: one tuple, one comparator, used by compile, the table and `explain` alike.
 *
 *     host (exact, longest wildcard, any) | path (exact, regex: longer pattern, longest prefix) | methods | headers | query | older | namespace, name | order of `matches`
 */
import type { RouteMatch, RoutePart } from '../snapshot/parts.ts';
import { patternLevel } from './host.ts';

type Ranked = Pick<RoutePart, 'upstream' | 'hostname' | 'matchIndex' | 'created' | 'match'>;

interface Step {
  /** Completes "it loses because ...". */
  readonly why: string;
  /** Negative: `a` comes first. */
  compare(a: Ranked, b: Ranked): number;
}

const HOST_LEVELS = { exact: 0, wildcard: 1, any: 2 } as const;
const PATH_LEVELS = { Exact: 0, Regex: 1, Prefix: 2 } as const;

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** No path, `/` and the empty string are one prefix: everything. */
export const prefixOf = (value: string): string => (value.endsWith('/') ? value.slice(0, -1) : value);

const pathLevel = (m: RouteMatch): number => PATH_LEVELS[m.path?.type ?? 'Prefix'];

/** An exact path excludes every other one, so its length decides nothing. */
function pathLength(m: RouteMatch): number {
  if (m.path === null || m.path.type === 'Exact') return 0;
  return m.path.type === 'Prefix' ? prefixOf(m.path.value).length : m.path.value.length;
}

const STEPS: readonly Step[] = [
  {
    why: 'the other hostname is more specific',
    compare: (a, b) =>
      HOST_LEVELS[patternLevel(a.hostname)] - HOST_LEVELS[patternLevel(b.hostname)] || b.hostname.length - a.hostname.length,
  },
  { why: 'the other kind of path comes first (Exact, Regex, Prefix)', compare: (a, b) => pathLevel(a.match) - pathLevel(b.match) },
  { why: 'the other path is longer', compare: (a, b) => pathLength(b.match) - pathLength(a.match) },
  { why: 'the other match names methods', compare: (a, b) => Number(b.match.methods.length > 0) - Number(a.match.methods.length > 0) },
  { why: 'the other match has more headers', compare: (a, b) => b.match.headers.length - a.match.headers.length },
  { why: 'the other match has more query parameters', compare: (a, b) => b.match.query.length - a.match.query.length },
  { why: 'the other Upstream is older', compare: (a, b) => a.created - b.created },
  {
    why: 'the namespace and name of the other Upstream come first',
    compare: (a, b) => text(a.upstream.namespace, b.upstream.namespace) || text(a.upstream.name, b.upstream.name),
  },
  { why: 'the other match comes first in its Upstream', compare: (a, b) => a.matchIndex - b.matchIndex },
  // One Upstream may name a host that the listener gives it twice; whatever is left is decided by content, never by order of arrival.
  { why: 'the other hostname comes first', compare: (a, b) => text(a.hostname, b.hostname) },
];

/** Negative when `a` takes precedence. Zero only for the same match of the same Upstream on the same hostname. */
export function compareRoutes(a: Ranked, b: Ranked): number {
  for (const step of STEPS) {
    const order = step.compare(a, b);
    if (order !== 0) return order;
  }
  return 0;
}

/** Why `loser` comes after `winner`: the first step that tells them apart. */
export function whyAfter(winner: Ranked, loser: Ranked): string {
  for (const step of STEPS) if (step.compare(winner, loser) < 0) return step.why;
  return 'it is the same match';
}

/**
 * What makes two matches one: the canonical text of a match. Methods and conditions are sets, and prefixes with and without their last slash are alike.
 */
export function matchIdentity(m: RouteMatch): string {
  const path = m.path === null ? ['Prefix', ''] : [m.path.type, m.path.type === 'Prefix' ? prefixOf(m.path.value) : m.path.value];
  const fields = (list: RouteMatch['headers']): string[] => list.map((f) => JSON.stringify([f.name, f.type, f.value])).sort();
  return JSON.stringify([path, [...m.methods].sort(), fields(m.headers), fields(m.query)]);
}
