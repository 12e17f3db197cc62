/** Reading a classic file: values by path, faults by path, and drafts of the objects that it becomes. */
import { existsSync, statSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { show, type PathStep } from '../../contract/resources/index.ts';

export type Tree = { readonly [key: string]: unknown };

export const isMap = (value: unknown): value is Tree => typeof value === 'object' && value !== null && !Array.isArray(value);

export type Report = (steps: readonly PathStep[], message: string, severity: 'error' | 'warning') => void;

/** Not merely out of reach: who reads it tells that better. */
function isMissing(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (e) {
    return ['ENOENT', 'ENOTDIR'].includes(String((e as { code?: unknown }).code));
  }
}

export class ClassicReading {
  readonly root: Tree;
  readonly report: Report;
  /** Paths that were looked for, and whether they were there: another answer makes another translation. */
  readonly looked = new Map<string, boolean>();
  private readonly directory: string;
  private readonly cwd: string;

  constructor(root: Tree, directory: string, cwd: string, report: Report) {
    this.root = root;
    this.directory = directory;
    this.cwd = cwd;
    this.report = report;
  }

  fault(steps: readonly PathStep[], message: string): void {
    this.report(steps, message, 'error');
  }

  warn(steps: readonly PathStep[], message: string): void {
    this.report(steps, message, 'warning');
  }

  at(steps: readonly PathStep[]): unknown {
    let value: unknown = this.root;
    for (const step of steps) {
      if (typeof step === 'number') value = Array.isArray(value) ? (value as unknown[])[step] : undefined;
      else value = isMap(value) && Object.hasOwn(value, step) ? value[step] : undefined;
    }
    return value;
  }

  /** undefined too where the type is wrong: the check of keys has said so. */
  text(steps: readonly PathStep[]): string | undefined {
    const value = this.at(steps);
    return typeof value === 'string' ? value : undefined;
  }

  int(steps: readonly PathStep[]): number | undefined {
    const value = this.at(steps);
    return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : undefined;
  }

  bool(steps: readonly PathStep[]): boolean | undefined {
    const value = this.at(steps);
    return typeof value === 'boolean' ? value : undefined;
  }

  list(steps: readonly PathStep[]): readonly unknown[] {
    const value = this.at(steps);
    return Array.isArray(value) ? value : [];
  }

  /** Text that must be there. */
  required(steps: readonly PathStep[]): string | undefined {
    const value = this.text(steps);
    if (this.at(steps) === undefined || value === '') this.fault(steps, 'is required');
    return value === '' ? undefined : value;
  }

  /** A path as their program took it, from the working directory; else from the file. */
  file(steps: readonly PathStep[], path: string): string {
    const first = resolve(this.cwd, path);
    if (isAbsolute(path) || this.isThere(first)) return first;
    const second = resolve(this.directory, path);
    if (!this.isThere(second) && isMissing(second)) {
      const tried = first === second ? show(first) : `neither ${show(first)} nor ${show(second)}`;
      this.fault(steps, `names a file that does not exist: ${tried}`);
    }
    return second;
  }

  private isThere(path: string): boolean {
    const there = existsSync(path);
    this.looked.set(path, there);
    return there;
  }
}

/** An object in the making, and for its fields the keys that they come from. */
export class Draft {
  readonly name: string;
  readonly spec: Record<string, unknown> = {};
  private readonly base: readonly PathStep[];
  private readonly sources = new Map<string, readonly PathStep[]>();

  constructor(name: string, base: readonly PathStep[]) {
    this.name = name;
    this.base = base;
  }

  /** Notes that `spec.a.b` comes from these steps. */
  from(path: string, steps: readonly PathStep[]): void {
    this.sources.set(path, steps);
  }

  /** Sets `a.b` below spec, where there is a value, and notes where it comes from. */
  set(path: string, value: unknown, steps: readonly PathStep[]): void {
    if (value === undefined) return;
    const names = path.split('.');
    const last = names.pop() as string;
    let at = this.spec;
    for (const name of names) at = (at[name] ??= {}) as Record<string, unknown>;
    at[last] = value;
    this.from(`spec.${path}`, steps);
  }

  /** The key that a field of ours comes from: by its own path or the nearest above. */
  stepsOf(path: string): readonly PathStep[] {
    for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.'), at.lastIndexOf('[')))) {
      const steps = this.sources.get(at);
      if (steps !== undefined) return steps;
    }
    return this.base;
  }
}
