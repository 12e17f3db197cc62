/**
 * What users wrote, as what workers serve: pure, in an ordered list of steps on a local draft.
 * A fault concerns its own object: it is left out or answers 500, gets a condition and a problem, and its neighbours notice nothing.
 */
import type { ResourceSet } from '../../contract/resources/index.ts';
import { assemble } from './assemble.ts';
import { backends } from './backends.ts';
import { certificates } from './certificates.ts';
import type { Compiled, CompileOptions } from './compiled.ts';
import { conflicts } from './conflicts.ts';
import { Draft } from './draft.ts';
import { listeners } from './listeners.ts';
import { names } from './names.ts';
import { policies } from './policies.ts';
import { rejected } from './rejected.ts';
import { routes } from './routes.ts';
import { statuses } from './statuses.ts';
import { upstreams } from './upstreams.ts';

const STEPS: readonly ((draft: Draft) => void)[] = [
  // Ages and port conflicts first: who is served decides all that follows.
  listeners,
  upstreams,
  rejected,
  // References before whoever refers: groups show client certificates, listeners and Upstreams their own.
  certificates,
  backends,
  // Attachments need both kinds; conflicts need attachments; names of certificates need to know who lost.
  routes,
  policies,
  conflicts,
  names,
];

export function compile(set: ResourceSet, options: CompileOptions): Compiled {
  const draft = new Draft(set, options);
  draft.memo.turn();
  for (const step of STEPS) step(draft);
  const assembled = assemble(draft);
  return {
    listeners: assembled.listeners,
    parts: assembled.parts,
    encoded: assembled.encoded,
    groups: assembled.groups,
    statuses: statuses(draft),
    problems: draft.problems,
    bearable: draft.bearable,
    settled: draft.settled,
  };
}

export { describe as describeMatch } from './conflicts.ts';
export { clip } from './messages.ts';
export { Memo } from './memo.ts';
export { CONDITION_REASONS, type ConditionReasons } from './reasons.ts';
export type {
  Compiled,
  CompileOptions,
  Condition,
  ConditionType,
  GroupAddress,
  GroupService,
  GroupSource,
  ObjectStatus,
  PublishedAddress,
} from './compiled.ts';
