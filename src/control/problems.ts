/** What is wrong with a state, and whether it may be served all the same. */
import { objectKey, type Problem } from '../contract/resources/index.ts';
import type { Compiled } from './compile/index.ts';
import { untimelyCertificates } from './validity.ts';
import type { SourceState } from './sources/source.ts';

/** `wall`: the time to judge certificates by; null in a cluster, where conditions and events say it of each object. */
export const problemsOf = (state: SourceState, compiled: Compiled, wall: number | null): readonly Problem[] => [
  ...state.problems,
  ...state.settingsProblems,
  ...ownProblems(state, compiled),
  ...(wall === null ? [] : untimelyCertificates(state.set, compiled, wall)),
];

/**
 * Without what only follows from a Listener that could not be read, or may have been in a document that could not: that is told by itself, and
 * whom it would take is not known. Thousands of Upstreams may have no other.
 */
export function ownProblems({ problems, set }: SourceState, compiled: Compiled): readonly Problem[] {
  const unread = new Set(problems.filter((p) => p.severity === 'error').map((p) => p.object));
  const any = unread.has('');
  if (!any && !Array.from(unread).some((object) => object.startsWith('Listener '))) return compiled.problems;
  const alone = new Set<string>();
  for (const { kind, namespace, name, conditions } of compiled.statuses) {
    const reason = conditions.find((c) => c.type === 'Accepted')?.reason;
    if (kind === 'Upstream' && (reason === 'NotAllowed' || reason === 'NoMatchingHostname')) alone.add(objectKey(namespace, name));
  }
  return compiled.problems.filter(({ object, path }) => {
    const key = object.startsWith('Upstream ') ? object.slice('Upstream '.length) : '';
    if (!alone.has(key)) return true;
    const { meta, spec } = set.upstreams.get(key) ?? {};
    const isAt = (place: string): boolean => path === (meta?.origin?.spell?.(place) ?? place);
    const named = spec?.listeners;
    if (named === undefined) return !isAt('spec.listeners') && !isAt('spec.hostnames');
    const ref = named.find((_, i) => isAt(`spec.listeners[${i}]`));
    return ref === undefined || !(any || unread.has(`Listener ${objectKey(ref.namespace, ref.name)}`));
  });
}

/**
 * Whether a state may not be served: any error does that, but for conflicts, which the older object wins, and for a group's reference that
 * does not resolve when there is no better state to stay with, or that does not resolve in the serving state either.
 */
export function blocks(problems: readonly Problem[], compiled: Compiled, serving: Compiled | null): boolean {
  const borne = new Set(Array.from(serving?.bearable ?? [], identity));
  const isBorne = (p: Problem): boolean =>
    compiled.settled.has(p) || (compiled.bearable.has(p) && (serving === null || borne.has(identity(p))));
  return problems.some((p) => p.severity === 'error' && !isBorne(p));
}

/** Of the same mistake in another state. */
export const identity = (p: Problem): string => JSON.stringify([p.object, p.path, p.message]);
