/** Why a request goes where it goes: the same conditions and the same comparator as the table, in words. */
import type { RoutePart } from '../snapshot/parts.ts';
import { headerMatches, parameterMatches } from './conditions.ts';
import { prefixOf, whyAfter } from './rank.ts';
import type { TableRoute } from './table.ts';

export interface RequestFacts {
  readonly host: string;
  readonly path: string;
  readonly query: string;
  readonly method: string;
  readonly names: readonly string[];
  readonly values: readonly string[];
}

export interface ExplainedRoute<T> {
  readonly value: T;
  readonly route: RoutePart;
  readonly outcome: 'chosen' | 'beaten' | 'refused';
  /** '' for the chosen one. */
  readonly why: string;
}

export interface Explanation<T> {
  readonly chosen: ExplainedRoute<T> | null;
  /** Every other route whose hostname matches, in the order in which they are tried. */
  readonly others: readonly ExplainedRoute<T>[];
}

/** `candidates` are all routes of the hosts that match, in order. */
export function explainWalk<T>(candidates: readonly TableRoute<T>[], winner: TableRoute<T> | null, request: RequestFacts): Explanation<T> {
  const others: ExplainedRoute<T>[] = [];
  for (const candidate of candidates) {
    if (candidate === winner) continue;
    const refused = whyRefused(candidate, request);
    const { value, part: route } = candidate;
    if (refused !== null) others.push({ value, route, outcome: 'refused', why: refused });
    else others.push({ value, route, outcome: 'beaten', why: winner === null ? '' : whyAfter(winner.part, route) });
  }
  return { chosen: winner === null ? null : { value: winner.value, route: winner.part, outcome: 'chosen', why: '' }, others };
}

function whyRefused(candidate: TableRoute<unknown>, request: RequestFacts): string | null {
  return (
    pathRefusal(candidate, request.path) ??
    (candidate.methods === null || candidate.methods.includes(request.method)
      ? null
      : `the method is ${request.method}, not ${candidate.methods.join(' or ')}`) ??
    headerRefusal(candidate, request) ??
    queryRefusal(candidate, request)
  );
}

function pathRefusal(candidate: TableRoute<unknown>, path: string): string | null {
  const want = candidate.part.match.path;
  if (want === null) return null;
  if (want.type === 'Exact') return want.value === path ? null : `the path is not ${want.value}`;
  if (want.type === 'Regex') return candidate.pattern?.matches(path) === true ? null : `the path does not match ${want.value}`;
  const prefix = prefixOf(want.value);
  return prefix === '' || path === prefix || path.startsWith(`${prefix}/`) ? null : `the path is not under ${want.value}`;
}

function headerRefusal(candidate: TableRoute<unknown>, request: RequestFacts): string | null {
  for (const test of candidate.headers ?? []) {
    if (headerMatches(test, request.names, request.values)) continue;
    return request.names.includes(test.name) ? `header ${test.name} has another value` : `there is no header ${test.name}`;
  }
  return null;
}

function queryRefusal(candidate: TableRoute<unknown>, request: RequestFacts): string | null {
  for (const test of candidate.query ?? [])
    if (!parameterMatches(test, request.query)) return `the query parameter ${test.name} is absent or has another value`;
  return null;
}
