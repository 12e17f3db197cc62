/** From what was written to a trusted value: every fault at once, each with its path and what would be right. */
import type { z } from 'zod';
import { closest } from '../../lib/closest.ts';
import { show, type FieldInfo } from './fields.ts';
import { listenerSpec, type Listener } from './listener.ts';
import { matchesPattern } from './names.ts';
import { shapeOf, type Shape } from './shape.ts';
import { listenerStatus, upstreamStatus } from './status.ts';
import { upstreamSpec, type Upstream } from './upstream.ts';

export interface Fault {
  readonly severity: 'error' | 'warning';
  /** `spec.backends[0].weight` */
  readonly path: string;
  readonly message: string;
}

export interface ValidateOptions {
  /** In a file, not in a cluster. */
  readonly standalone: boolean;
  /** Unknown fields of an object from a cluster were pruned or come from a newer CRD; those of a file are mistakes. */
  readonly unknown: 'refuse' | 'ignore';
}

export interface Validated<T> {
  /** null when there are faults of severity error. */
  readonly value: T | null;
  readonly faults: readonly Fault[];
}

export type PathStep = string | number;

const PLAIN = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** `spec.backends[0].weight`; a key of other characters in brackets and quotes. */
export function pathText(steps: readonly PathStep[]): string {
  let text = '';
  for (const step of steps) {
    if (typeof step === 'number') text += `[${step}]`;
    else if (!PLAIN.test(step)) text += `[${show(step)}]`;
    else text += text === '' ? step : `.${step}`;
  }
  return text;
}

const MAX_FAULTS = 1000;

/** `(did you mean x?)` where a known word is close, else the known ones. */
export function suggestion(word: string, known: readonly string[]): string {
  const meant = closest(word, known);
  if (meant !== null) return ` (did you mean ${meant}?)`;
  return known.length === 0 || known.length > 30 ? '' : `; known here: ${known.join(', ')}`;
}

class Walker {
  readonly faults: Fault[] = [];
  private readonly options: ValidateOptions;

  constructor(options: ValidateOptions) {
    this.options = options;
  }

  /** Reports fields that the schema does not have, and keys that a map cannot have: zod drops them in silence. */
  walk(value: unknown, shape: Shape, path: readonly PathStep[]): void {
    if (this.faults.length >= MAX_FAULTS) return;
    if (Array.isArray(value)) {
      if (shape.kind === 'list') value.forEach((item: unknown, i) => this.walk(item, shape.item, [...path, i]));
    } else if (typeof value === 'object' && value !== null) {
      if (shape.kind === 'object') this.fields(value, shape, path);
      else if (shape.kind === 'map') this.names(value, shape.info, path);
    }
  }

  private names(value: object, { names }: FieldInfo, path: readonly PathStep[]): void {
    if (names === null) return;
    const { pattern, max, what } = names;
    for (const name of Object.keys(value))
      if (name.length > max || !matchesPattern(pattern, name)) this.add([...path, name], `must be ${what}, not ${show(name)}`);
  }

  private fields(value: object, shape: Shape & { kind: 'object' }, path: readonly PathStep[]): void {
    const entries = Object.entries(value) as [string, unknown][];
    for (const [name, inner] of entries) {
      const member = shape.members.get(name);
      if (member !== undefined && (this.options.standalone || !member.standalone)) this.walk(inner, member.shape, [...path, name]);
      else this.foreign(name, shape, [...path, name]);
    }
    if (this.options.standalone) return;
    for (const [name, member] of shape.members)
      if (member.clusterRequired && !Object.hasOwn(value, name)) this.add([...path, name], `is required`);
  }

  /** The same for one member that was written without a value. */
  member(steps: readonly PathStep[], root: Shape): void {
    let shape = root;
    for (const [i, step] of steps.entries()) {
      if (shape.kind === 'list' || shape.kind === 'map') shape = shape.item;
      else if (shape.kind === 'leaf') return;
      else {
        const member = shape.members.get(String(step));
        if (member === undefined || (member.standalone && !this.options.standalone)) {
          // What is in an unknown field is not judged beside it.
          if (i === steps.length - 1) this.foreign(String(step), shape, ['spec', ...steps]);
          return;
        }
        shape = member.shape;
      }
    }
  }

  private foreign(name: string, shape: Shape & { kind: 'object' }, path: readonly PathStep[]): void {
    const later = shape.info.later.get(name);
    if (later === undefined) {
      if (this.options.unknown === 'ignore') return;
      const known = [...shape.members].filter(([, m]) => this.options.standalone || !m.standalone).map(([n]) => n);
      this.add(path, `is unknown${suggestion(name, known)}`);
    } else if (later === 'access' || this.options.unknown === 'refuse') this.add(path, `${name} is not supported yet`);
  }

  private add(path: readonly PathStep[], message: string): void {
    if (this.faults.length < MAX_FAULTS) this.faults.push({ severity: 'error', path: pathText(path), message });
  }
}

interface Found {
  readonly path: readonly PathStep[];
  readonly message: string;
}

interface Kind<S extends z.ZodType> {
  readonly schema: S;
  readonly shape: Shape;
  /** What only a file may say. */
  readonly together: (value: z.output<S>) => readonly Found[];
  /** What only a cluster has. */
  readonly alone: (value: z.output<S>) => readonly Found[];
}

const LISTENER: Kind<typeof listenerSpec> = {
  schema: listenerSpec,
  shape: shapeOf(listenerSpec),
  together: (l) => (l.port === 0 ? [{ path: ['port'], message: 'must be a whole number, 1 to 65535, not 0' }] : []),
  alone: (l) =>
    l.allowedNamespaces.from === 'Selector'
      ? [{ path: ['allowedNamespaces', 'from'], message: 'must be Same or All: namespaces have no labels outside a cluster' }]
      : [],
};

const UPSTREAM: Kind<typeof upstreamSpec> = {
  schema: upstreamSpec,
  shape: shapeOf(upstreamSpec),
  together: () => [],
  alone: (u) =>
    u.backends.flatMap((b, i) =>
      b.service === undefined
        ? []
        : [{ path: ['backends', i, 'service'], message: 'must be addresses: there are no Services outside a cluster' }],
    ),
};

function validate<S extends z.ZodType>(kind: Kind<S>, input: unknown, options: ValidateOptions): Validated<z.output<S>> {
  const walker = new Walker(options);
  walker.walk(input, kind.shape, ['spec']);
  const faults = walker.faults;
  const parsed = kind.schema.safeParse(input);
  const extra = parsed.success ? [] : parsed.error.issues;
  for (const issue of extra) {
    if (faults.length >= MAX_FAULTS) break;
    faults.push({ severity: 'error', path: pathText(['spec', ...(issue.path as PathStep[])]), message: issue.message });
  }
  // On a value with other faults too: what it says of Services is read from what could be read.
  faults.push(...found(options.standalone ? kind.alone : kind.together, parsed.success ? parsed.data : input));
  return { value: parsed.success && faults.length === 0 ? parsed.data : null, faults };
}

function found<T>(judge: (value: T) => readonly Found[], value: unknown): Fault[] {
  try {
    return judge(value as T).map((f) => ({ severity: 'error', path: pathText(['spec', ...f.path]), message: f.message }));
  } catch {
    return [];
  }
}

export const validateListener = (input: unknown, options: ValidateOptions): Validated<Listener> => validate(LISTENER, input, options);
export const validateUpstream = (input: unknown, options: ValidateOptions): Validated<Upstream> => validate(UPSTREAM, input, options);

/** The fault of a member of a spec that was written without a value; null where the schema has it. `steps` begin below `spec`. */
export function validateEmpty(kind: 'Listener' | 'Upstream', steps: readonly PathStep[], options: ValidateOptions): Fault | null {
  const walker = new Walker(options);
  walker.member(steps, kind === 'Listener' ? LISTENER.shape : UPSTREAM.shape);
  return walker.faults[0] ?? null;
}

/** What the CRDs and the reference page are made of. */
export const SHAPES = {
  Listener: { spec: LISTENER.shape, status: shapeOf(listenerStatus) },
  Upstream: { spec: UPSTREAM.shape, status: shapeOf(upstreamStatus) },
} as const;
