/** What is wrong with a state, and whether it may be served all the same. */
import type { Problem } from '../contract/resources/index.ts';
import type { Compiled } from './compile/index.ts';
import type { SourceState } from './sources/source.ts';

export const problemsOf = (state: SourceState, compiled: Compiled): readonly Problem[] => [
  ...state.problems,
  ...state.settingsProblems,
  ...compiled.problems,
];

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
