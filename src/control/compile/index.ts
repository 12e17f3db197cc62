/**
 * What users wrote, as what workers serve: pure, in an ordered list of steps on a local draft.
 * A fault concerns its own object: it is left out or answers 500, gets a condition and a problem, and its neighbours notice nothing.
 */
import type { ResourceSet } from '../../contract/resources/index.ts';
import { assemble, places } from './assemble.ts';
import { backends } from './backends.ts';
import { certificates } from './certificates.ts';
import type { Compiled, CompileOptions } from './compiled.ts';
import { conflicts } from './conflicts.ts';
import { Draft } from './draft.ts';
import { noteChanges } from './kept.ts';
import { listeners } from './listeners.ts';
import { Memo } from './memo.ts';
import { names } from './names.ts';
import { policies } from './policies.ts';
import { rejected } from './rejected.ts';
import { tellAll, type Report } from './reports.ts';
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
  // Attachments need both kinds; conflicts need attachments; names of certificates need to know who lost, and what is served.
  routes,
  policies,
  conflicts,
  places,
  names,
];

export function compile(set: ResourceSet, options: CompileOptions): Compiled {
  const memo = options.memo ?? new Memo();
  const kept = memo.take();
  memo.turn(set.upstreams.size + set.secrets.size + set.configMaps.size + set.files.size);
  const draft = new Draft(set, options, memo, kept);
  for (const step of STEPS) {
    draft.step++;
    step(draft);
  }
  const { changes, ...assembled } = assemble(draft);
  const compiled: Compiled = { ...assembled, statuses: statuses(draft), ...tellAll(reportsOf(draft)) };
  noteChanges(compiled, changes);
  kept.listeners = draft.listeners;
  kept.mark = changes.mark;
  memo.leave(kept);
  return compiled;
}

function reportsOf({ listeners, reports, upstreams }: Draft): Report[] {
  const all = listeners.flatMap((listener) => listener.reports);
  all.push(...reports);
  upstreams.forEach((upstream) => {
    if (upstream.reports.length > 0) all.push(...upstream.reports);
  });
  return all;
}

export { describe as describeMatch } from './conflicts.ts';
export { clip } from './messages.ts';
export { changesOf, changesSince, type Changes } from './kept.ts';
export { Memo } from './memo.ts';
export { CONDITION_REASONS, type ConditionReasons } from './reasons.ts';
export type {
  CertificateDates,
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
