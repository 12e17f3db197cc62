/**
 * The vocabulary of the schemas: each builder makes one zod schema and notes beside it, in `INFO`, what the CRD, the reference page
 * and messages say of it. A rule over several fields is written once, as a function and as CEL.
 */
import { z } from 'zod';
import { formatDuration, formatSize, readDuration, readSize, DURATION_LENGTH } from './units.ts';
import { matchesPattern, PATTERNS, type PatternName } from './names.ts';

export interface Rule {
  /** '' where the list type or the structure of the CRD says it already. */
  readonly cel: string;
  readonly message: string;
  /** The field that the message is about, relative to the rule's own. */
  readonly at: readonly string[];
  /** Total over anything: true where the value is malformed in a way that another message tells. */
  readonly holds: (value: unknown) => boolean;
}

/** What a JSON schema says of a leaf, in OpenAPI's words. */
export interface LeafFacts {
  readonly type?: 'string' | 'integer' | 'boolean';
  readonly intOrString?: true;
  readonly format?: 'int32' | 'int64';
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly enum?: readonly string[];
}

/** Why a member of a later step is refused: `access` ones stand in the CRD so that they cannot be dropped in silence. */
export type Later = 'access' | 'plain';

export interface MapNames {
  readonly pattern: PatternName;
  readonly max: number;
  readonly what: string;
}

export interface FieldInfo {
  readonly help: string;
  readonly leaf: LeafFacts | null;
  /** For people: `1s to 1h`. */
  readonly range: string;
  /** For people: `duration`, `size`, ... */
  readonly format: string;
  readonly rules: readonly Rule[];
  readonly later: ReadonlyMap<string, Later>;
  /** Bounds of a list or map. */
  readonly bounds: readonly [number, number] | null;
  /** What makes an item of a list-map unique. */
  readonly keys: readonly string[];
  /** What the keys of a map are; null for what is none. */
  readonly names: MapNames | null;
  /** Not in a cluster. */
  readonly standalone: boolean;
  /** Has a default in files only: a cluster's author must write it. */
  readonly clusterRequired: boolean;
}

export const INFO = new WeakMap<object, FieldInfo>();

const NONE: FieldInfo = {
  help: '',
  leaf: null,
  range: '',
  format: '',
  rules: [],
  later: new Map(),
  bounds: null,
  keys: [],
  names: null,
  standalone: false,
  clusterRequired: false,
};

const note = <S extends z.ZodType>(schema: S, info: Partial<FieldInfo>): S => {
  INFO.set(schema, { ...NONE, ...info });
  return schema;
};

/** A user's value in a message: short, one line, never more than 60 characters. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'a map';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

const wrongType = (what: string) => (issue: { input?: unknown }) =>
  issue.input === undefined ? `is required: ${what}` : `must be ${what}, not ${show(issue.input)}${unquoted(what, issue.input)}`;

const unquoted = (what: string, input: unknown): string =>
  what === 'a string' && (typeof input === 'number' || typeof input === 'boolean') ? ' (put it in quotes)' : '';

/** Adds rules to a schema; they see the value even when other fields of it are malformed, so that every problem shows at once. */
export function withRules<S extends z.ZodType>(schema: S, rules: readonly Rule[]): S {
  if (rules.length === 0) return schema;
  const checked = schema.check(
    ...rules.map((r) =>
      z.refine((value: unknown) => value === undefined || value === null || r.holds(value), {
        message: r.message,
        path: [...r.at],
        when: () => true,
      }),
    ),
  ) as S;
  return note(checked, { ...INFO.get(schema), rules });
}

/** `holds` may count on its argument's outer shape; whatever it throws on is malformed, which another message tells. */
export function rule<T>(message: string, cel: string, holds: (value: T) => boolean, at: readonly string[] = []): Rule {
  return {
    cel,
    message,
    at,
    holds(value) {
      try {
        return holds(value as T);
      } catch {
        return true;
      }
    },
  };
}

/** Checks of one value, each a message or null. */
const judged = <S extends z.ZodType>(schema: S, problem: (value: z.output<S>) => string | null): S =>
  schema.check((ctx) => {
    const message = problem(ctx.value);
    if (message !== null) ctx.issues.push({ code: 'custom', message, input: ctx.value, path: [] });
  }) as S;

const celString = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const celMatches = (pattern: PatternName): string => `self.matches(${celString(PATTERNS[pattern])})`;

export interface TextOptions {
  readonly max: number;
  readonly min?: number;
  readonly what?: string;
  readonly pattern?: PatternName;
  /** Further checks, beyond the pattern. */
  readonly rules?: readonly Rule[];
  readonly format?: string;
}

export function text(help: string, o: TextOptions): z.ZodString {
  const min = o.min ?? 1;
  const what = o.what ?? 'a string';
  const rules: Rule[] = [];
  if (o.pattern !== undefined) {
    const pattern = o.pattern;
    rules.push(rule<string>(`must be ${what}`, celMatches(pattern), (v) => matchesPattern(pattern, v)));
  }
  rules.push(...(o.rules ?? []));
  const schema = judged(z.string({ error: wrongType(what) }), (v) => {
    if (v.length < min) return `must not be empty: ${what}`;
    if (v.length > o.max) return `must have at most ${o.max} characters, has ${v.length}`;
    const broken = rules.find((r) => !r.holds(v));
    return broken === undefined ? null : `${broken.message}, not ${show(v)}`;
  });
  const range = min > 0 ? `1 to ${o.max} characters` : `at most ${o.max} characters`;
  return note(schema, { help, rules, range, format: o.format ?? '', leaf: { type: 'string', minLength: min, maxLength: o.max } });
}

export interface IntegerOptions {
  readonly min: number;
  readonly max: number;
  /** How far below `min` a file may go. */
  readonly standaloneMin?: number;
}

export function integer(help: string, o: IntegerOptions): z.ZodNumber {
  const range = o.max === Number.MAX_SAFE_INTEGER ? `from ${o.min}` : `${o.min} to ${o.max}`;
  const low = o.standaloneMin ?? o.min;
  const what = `a whole number, ${range}`;
  const schema = judged(z.number({ error: wrongType(what) }), (v) =>
    Number.isSafeInteger(v) && v >= low && v <= o.max ? null : `must be ${what}, not ${show(v)}`,
  );
  const small = o.max <= 0x7fffffff;
  const leaf: LeafFacts = {
    type: 'integer',
    format: small ? 'int32' : 'int64',
    minimum: o.min,
    ...(o.max === Number.MAX_SAFE_INTEGER ? {} : { maximum: o.max }),
  };
  return note(schema, { help, range, leaf });
}

export function flag(help: string): z.ZodBoolean {
  return note(z.boolean({ error: wrongType('true or false') }), { help, range: 'true or false', leaf: { type: 'boolean' } });
}

/** One word out of several; words of later steps are refused as such. */
export function oneOf<const W extends readonly [string, ...string[]]>(help: string, words: W, later: readonly string[] = []) {
  const list = words.length === 1 ? words[0] : `${words.slice(0, -1).join(', ')} or ${words[words.length - 1]}`;
  const schema = z.enum(words, {
    error(issue) {
      if (issue.input === undefined) return `is required: ${list}`;
      if (typeof issue.input === 'string' && later.includes(issue.input)) return `${show(issue.input)} is not supported yet; use ${list}`;
      const same =
        typeof issue.input === 'string' ? words.find((w) => w.toLowerCase() === (issue.input as string).toLowerCase()) : undefined;
      return `must be ${list}, not ${show(issue.input)}${same === undefined ? '' : ` (did you mean ${same}?)`}`;
    },
  });
  return note(schema, { help, range: words.join(' | '), leaf: { type: 'string', enum: words } });
}

export interface DurationOptions {
  readonly min: string;
  readonly max: string;
  /** `0s` is allowed beside the range. */
  readonly zero?: true;
  /** Words allowed beside a duration. */
  readonly words?: readonly string[];
}

export function duration(help: string, o: DurationOptions): z.ZodString {
  const low = readDuration(o.min) as number;
  const high = readDuration(o.max) as number;
  const words = o.words ?? [];
  const range = `${o.zero ? '0s or ' : ''}${formatDuration(low)} to ${formatDuration(high)}`;
  const what = `${words.length > 0 ? `${words.join(', ')} or ` : ''}a duration like 250ms, 30s or 5m, ${range}`;
  const inside = `duration(self) >= duration('${o.min}') && duration(self) <= duration('${o.max}')`;
  const ranged = o.zero ? `(duration(self) == duration('0s') || ${inside})` : inside;
  const formed = `self.matches('^([0-9]{1,5}(h|ms|m|s)){1,4}$') && ${ranged}`;
  const cel = words.length > 0 ? `self in [${words.map((w) => `'${w}'`).join(', ')}] || (${formed})` : formed;
  const holds = (v: string): boolean => {
    if (words.includes(v)) return true;
    const ms = readDuration(v);
    return ms !== null && ((ms >= low && ms <= high) || (o.zero === true && ms === 0));
  };
  const rules = [rule<string>(`must be ${what}`, cel, holds)];
  const schema = judged(z.string({ error: wrongType(what) }), (v) => (holds(v) ? null : `must be ${what}, not ${show(v)}`));
  return note(schema, {
    help,
    rules,
    range: `${words.length > 0 ? `${words.join(' | ')} | ` : ''}${range}`,
    format: 'duration',
    leaf: { type: 'string', minLength: 1, maxLength: DURATION_LENGTH },
  });
}

const intOrString = (what: string) => z.union([z.number(), z.string()], { error: wrongType(what) });
export type IntOrString = number | string;

export interface IntOrStringOptions {
  readonly what: string;
  readonly range: string;
  readonly format: string;
  /** CEL over `self`, an int or a string; both sides total. '' where `facts` say it. */
  readonly cel: string;
  /**
   * What the structure of the CRD says: of the number `minimum` and `maximum`, of the text the rest. Within lists that is all there can be:
   * to a server before 1.34 the text may be as long as a request, and a rule that reads it exceeds the budget of the whole CRD.
   */
  readonly facts?: Pick<LeafFacts, 'minimum' | 'maximum' | 'maxLength' | 'pattern'>;
  readonly holds: (value: IntOrString) => boolean;
}

export function numberOrText(help: string, o: IntOrStringOptions) {
  const schema = judged(intOrString(o.what), (v) => (o.holds(v) ? null : `must be ${o.what}, not ${show(v)}`));
  const rules = [rule<IntOrString>(`must be ${o.what}`, o.cel, o.holds)];
  return note(schema, { help, rules, range: o.range, format: o.format, leaf: { intOrString: true, ...o.facts } });
}

export function size(help: string, o: { min: number; max: number }) {
  const range = `${formatSize(o.min)} to ${formatSize(o.max)}`;
  const bounds = (of: string): string =>
    `${of}.compareTo(quantity('${formatSize(o.min)}')) >= 0 && ${of}.compareTo(quantity('${formatSize(o.max)}')) <= 0`;
  return numberOrText(help, {
    what: `a size like 64Ki, 16Mi or 65536, ${range}`,
    range,
    format: 'size',
    cel: `type(self) == int ? self >= ${o.min} && self <= ${o.max} : self.size() <= 18 && self.matches('^[0-9]{1,15}(Ki|Mi|Gi|Ti)?$') && ${bounds('quantity(self)')}`,
    holds(v) {
      const bytes = typeof v === 'number' && !Number.isSafeInteger(v) ? null : readSize(v);
      return bytes !== null && bytes >= o.min && bytes <= o.max;
    },
  });
}

export interface ListOptions {
  readonly min?: number;
  readonly max: number;
  readonly keys?: readonly string[];
  readonly rules?: readonly Rule[];
  /** Items must differ (a set written as a list). */
  readonly distinct?: true;
}

/** For servers: here `distinct` names the twins. */
const NO_TWINS = rule<unknown>('must not have the same item twice', 'self.all(a, self.exists_one(b, b == a))', () => true);

export function list<I extends z.ZodType>(help: string, item: I, o: ListOptions): z.ZodArray<I> {
  const min = o.min ?? 0;
  const schema = judged(z.array(item, { error: wrongType('a list') }), (v) => {
    if (v.length < min) return `must have at least ${min === 1 ? 'one item' : `${min} items`}`;
    return v.length > o.max ? `must have at most ${o.max} items, has ${v.length}` : null;
  });
  const rules = [...(o.rules ?? []), ...(o.distinct ? [NO_TWINS] : [])];
  const noted = note(schema, {
    help,
    rules,
    bounds: [min, o.max],
    keys: o.keys ?? [],
    range: `${min > 0 ? `${min} to ` : 'at most '}${o.max} items`,
  });
  const unique = o.keys ?? (o.distinct ? [] : null);
  const checked = withRules(noted, rules);
  return unique === null ? checked : keepInfo(checked, distinct(checked, unique));
}

const keepInfo = <S extends z.ZodType>(from: S, to: S): S => note(to, INFO.get(from) ?? NONE);

const distinct = <S extends z.ZodType>(schema: S, keys: readonly string[]): S =>
  schema.check(
    z.superRefine(
      (value: unknown, ctx) => {
        if (!Array.isArray(value)) return;
        const seen = new Map<string, number>();
        value.forEach((item: unknown, i) => {
          const key = JSON.stringify(keys.length === 0 ? item : keys.map((k) => (item as Record<string, unknown> | null)?.[k] ?? null));
          const first = seen.get(key);
          if (first === undefined) seen.set(key, i);
          else
            ctx.addIssue({
              code: 'custom',
              path: [i],
              message: `is the same as item ${first}${keys.length > 0 ? ` (${keys.join(', ')})` : ''}`,
            });
        });
      },
      { when: () => true },
    ),
  ) as S;

export interface ObjectOptions {
  readonly rules?: readonly Rule[];
  readonly later?: Readonly<Record<string, Later>>;
}

export function object<S extends z.core.$ZodLooseShape>(help: string, shape: S, o: ObjectOptions = {}) {
  const schema = note(z.object(shape, { error: wrongType('a map of fields') }), { help, later: new Map(Object.entries(o.later ?? {})) });
  return withRules(schema, o.rules ?? []);
}

/** Keys are judged as they were written, by the walker: zod loses `__proto__`. */
export function textMap(help: string, names: MapNames, value: z.ZodString, max: number) {
  const schema = judged(z.record(z.string(), value, { error: wrongType('a map of strings') }), (v) =>
    Object.keys(v).length > max ? `must have at most ${max} entries` : null,
  );
  return note(schema, { help, names, bounds: [0, max], range: `at most ${max} entries` });
}

export const standaloneOnly = <S extends z.ZodType>(schema: S): S => note(schema, { ...NONE, ...INFO.get(schema), standalone: true });
export const requiredInCluster = <S extends z.ZodType>(schema: S): S =>
  note(schema, { ...NONE, ...INFO.get(schema), clusterRequired: true });
