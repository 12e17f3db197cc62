/** Says what became of a state: standalone, in the log and in the read model. */
import { dumpSnapshot } from '../contract/snapshot/index.ts';
import type { ListenerPart, Part, PartHash, Snapshot } from '../contract/snapshot/index.ts';
import type { Problem } from '../contract/resources/index.ts';
import type { BoundListener, LoadProblem } from '../contract/channel.ts';
import { formatHostPort } from '../contract/resources/units.ts';
import type { Log } from '../lib/log.ts';
import type { Compiled, ObjectStatus } from './compile/index.ts';
import type { WorkerLoad } from './publish.ts';

/** `file:line:column: Upstream default/api: spec.backends[0].weight: must be ...`, as `spooky check` prints it. */
export const problemLine = (p: Problem): string => {
  const place = p.line > 0 ? `${p.file}:${p.line}:${p.column}` : p.file;
  return [place, p.object, p.path, p.message].filter((s) => s !== '').join(': ');
};

const MAX_LOGGED = 100;

export const logProblems = (log: Log, problems: readonly Problem[]): void => {
  for (const p of problems.slice(0, MAX_LOGGED)) {
    log.at(p.severity === 'error' ? 'error' : 'warn', 'configuration problem', { problem: problemLine(p) });
  }
  if (problems.length > MAX_LOGGED) log.warn('more configuration problems', { count: problems.length - MAX_LOGGED });
};

export const APPLY_RESULTS = ['applied', 'invalid', 'failed'] as const;
export type ApplyResult = (typeof APPLY_RESULTS)[number];

export interface ApplyRecord {
  readonly result: ApplyResult;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly problems: readonly Problem[];
  /** '' unless it failed. */
  readonly why: string;
}

/** What the admin API shows of the state that serves and of the last attempt to change it. */
export class ReadModel {
  compiled: Compiled | null = null;
  version = 0;
  appliedAt = 0;
  last: ApplyRecord | null = null;
  private readonly loads = new Map<number, WorkerLoad>();

  applied(compiled: Compiled, version: number, at: number, problems: readonly Problem[]): void {
    this.compiled = compiled;
    this.version = version;
    this.appliedAt = at;
    this.last = { result: 'applied', at, problems, why: '' };
  }

  /** Answers what this worker has not said when it loaded last. */
  loaded(load: WorkerLoad): readonly LoadProblem[] {
    const known = new Set(this.loads.get(load.workerId)?.problems.map((p) => JSON.stringify(p)));
    this.loads.set(load.workerId, load);
    return load.problems.filter((p) => !known.has(JSON.stringify(p)));
  }

  lost(workerId: number): void {
    this.loads.delete(workerId);
  }

  listenerParts(): ListenerPart[] {
    return this.compiled === null ? [] : listenerPartsOf(this.compiled);
  }

  /** `namespace/name` of what serves. */
  names(kind: 'listener' | 'upstream'): Set<string> {
    const names = new Set<string>();
    for (const part of this.compiled?.parts.values() ?? []) if (part.kind === kind) names.add(`${part.namespace}/${part.name}`);
    return names;
  }

  /** Of the worker with the lowest number that has bound it: with port 0 standing for itself nowhere, all have the same. */
  bound(): readonly BoundListener[] {
    const first = [...this.loads.values()].sort((a, b) => a.workerId - b.workerId)[0];
    return first?.bound ?? [];
  }

  addresses(): { readonly listener: string; readonly addresses: readonly string[] }[] {
    return this.bound().map((b) => ({ listener: `${b.namespace}/${b.name}`, addresses: b.addresses.map(formatHostPort) }));
  }

  loadProblems(): (LoadProblem & { readonly workerId: number })[] {
    return [...this.loads.values()].flatMap((load) => load.problems.map((p) => ({ workerId: load.workerId, ...p })));
  }

  /** There is something to be bound, and no worker has. */
  bindsNothing(): boolean {
    return this.loads.size > 0 && [...this.loads.values()].every((load) => load.bound.length === 0 && load.problems.length > 0);
  }

  snapshot(): unknown {
    return this.compiled === null ? {} : dumpSnapshot(snapshotOf(this.version, this.compiled.listeners, this.compiled.parts));
  }

  statuses(kind: ObjectStatus['kind']): readonly ObjectStatus[] {
    return this.compiled?.statuses.filter((s) => s.kind === kind) ?? [];
  }
}

export const listenerPartsOf = (compiled: Compiled): ListenerPart[] =>
  compiled.listeners.flatMap((hash) => {
    const part = compiled.parts.get(hash);
    return part?.kind === 'listener' ? [part] : [];
  });

const snapshotOf = (version: number, listeners: readonly PartHash[], parts: ReadonlyMap<PartHash, Part>): Snapshot => ({
  root: { version, listeners },
  parts,
});
