/** Who owns which field: FieldsV1, as a tree of names. */
import { isPlain, type FieldSet, type Plain, type Schema, same } from './model.ts';

/** A list's form: replaced as a whole, or of items that have a name of their own. */
export type ListForm = { readonly form: 'atomic' } | { readonly form: 'set' } | { readonly form: 'map'; readonly keys: readonly string[] };

export function listForm(schema: Schema | undefined): ListForm {
  const form = schema?.['x-kubernetes-list-type'] ?? 'atomic';
  return form === 'map' ? { form, keys: schema?.['x-kubernetes-list-map-keys'] ?? [] } : { form };
}

/** Objects of a type and maps alike. */
export const memberSchema = (schema: Schema | undefined, name: string): Schema | undefined => {
  const more = schema?.additionalProperties;
  return schema?.properties?.[name] ?? (typeof more === 'object' ? more : undefined);
};

export const atomicMap = (schema: Schema | undefined): boolean => schema?.['x-kubernetes-map-type'] === 'atomic';

/** `k:{"name":"a"}`, with the keys in the order of the alphabet. */
export function itemKey(item: unknown, form: ListForm, items: Schema | undefined): string {
  if (form.form !== 'map' || !isPlain(item)) return `v:${JSON.stringify(item)}`;
  const pairs = [...form.keys].sort().map((key) => [key, item[key] ?? items?.properties?.[key]?.default] as const);
  return `k:${JSON.stringify(Object.fromEntries(pairs.filter(([, value]) => value !== undefined)))}`;
}

/** The fields that a value sets. */
export function fieldsOf(value: unknown, schema: Schema | undefined): FieldSet {
  const out: FieldSet = {};
  if (isPlain(value) && !atomicMap(schema)) {
    for (const [name, member] of Object.entries(value)) out[`f:${name}`] = fieldsOf(member, memberSchema(schema, name));
  } else if (Array.isArray(value)) {
    const form = listForm(schema);
    if (form.form === 'atomic') return out;
    for (const item of value) {
      const inner = form.form === 'map' ? fieldsOf(item, schema?.items) : {};
      out[itemKey(item, form, schema?.items)] = form.form === 'map' ? { '.': {}, ...inner } : inner;
    }
  }
  return out;
}

/** A node stands for its own path when it is a leaf or has the dot. */
const isMember = (node: FieldSet | undefined): boolean => node !== undefined && (isLeaf(node) || '.' in node);

/** Children alone, each a path; undefined when nothing is left. */
function node(member: boolean, children: FieldSet): FieldSet | undefined {
  if (isLeaf(children)) return member ? {} : undefined;
  return member ? { '.': {}, ...children } : children;
}

/** Children of both sides, put together by `join`. */
function combine(a: FieldSet, b: FieldSet, join: (x: FieldSet | undefined, y: FieldSet | undefined) => FieldSet | undefined): FieldSet {
  const out: FieldSet = {};
  for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if (name === '.') continue;
    const joined = join(a[name], b[name]);
    if (joined !== undefined) out[name] = joined;
  }
  return out;
}

const unionOf = (x: FieldSet | undefined, y: FieldSet | undefined): FieldSet | undefined =>
  node(isMember(x) || isMember(y), combine(x ?? {}, y ?? {}, unionOf));

const minusOf = (x: FieldSet | undefined, y: FieldSet | undefined): FieldSet | undefined =>
  x === undefined ? undefined : node(isMember(x) && !isMember(y), combine(x, y ?? {}, minusOf));

export const union = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, unionOf);
export const minus = (a: FieldSet, b: FieldSet): FieldSet => combine(a, b, minusOf);

export const isLeaf = (set: FieldSet): boolean => Object.keys(set).length === 0;

/** The paths that both have; those of items themselves are left out, for nobody fights over them. */
export function shared(a: FieldSet, b: FieldSet, path: readonly string[] = []): string[][] {
  return Object.entries(a).flatMap(([name, inner]) => {
    const other = b[name];
    if (other === undefined || name === '.') return [];
    const at = [...path, name];
    return [...(isLeaf(inner) && isMember(other) ? [at] : []), ...shared(inner, other, at)];
  });
}

export function has(set: FieldSet, path: readonly string[]): boolean {
  let at: FieldSet | undefined = set;
  for (const step of path) {
    at = at[step];
    if (at === undefined) return false;
  }
  return true;
}

export function without(set: FieldSet, path: readonly string[]): FieldSet {
  let only: FieldSet = {};
  for (const step of path.toReversed()) only = { [step]: only };
  return minus(set, only);
}

/** The value at a path; undefined where there is none. */
export function valueAt(root: unknown, path: readonly string[], schema: Schema | undefined): unknown {
  let value = root;
  let at = schema;
  for (const step of path) {
    const kind = step.slice(0, 2);
    if (kind === 'f:') {
      if (!isPlain(value)) return undefined;
      const name = step.slice(2);
      value = value[name];
      at = memberSchema(at, name);
    } else {
      if (!Array.isArray(value)) return undefined;
      const form = listForm(at);
      value = value.find((item) => itemKey(item, form, at?.items) === step);
      at = at?.items;
    }
  }
  return value;
}

/** The fields in which two values differ: those of `after` that are new or other, and those of `before` that are gone. */
export function changed(before: unknown, after: unknown, schema: Schema | undefined): { set: FieldSet; gone: FieldSet } {
  const set: FieldSet = {};
  const gone: FieldSet = {};
  if (isPlain(after) && isPlain(before) && !atomicMap(schema)) {
    members(
      before,
      after,
      (name) => `f:${name}`,
      (name) => memberSchema(schema, name),
      set,
      gone,
    );
  } else if (Array.isArray(after) && Array.isArray(before) && listForm(schema).form !== 'atomic') {
    const form = listForm(schema);
    const byKey = (items: unknown[]): Plain => Object.fromEntries(items.map((item) => [itemKey(item, form, schema?.items), item]));
    members(
      byKey(before),
      byKey(after),
      (key) => key,
      () => schema?.items,
      set,
      gone,
    );
  }
  return { set, gone };
}

function members(
  before: Plain,
  after: Plain,
  step: (name: string) => string,
  schemaOf: (name: string) => Schema | undefined,
  set: FieldSet,
  gone: FieldSet,
): void {
  for (const [name, value] of Object.entries(after)) {
    const schema = schemaOf(name);
    const key = step(name);
    if (!(name in before)) {
      set[key] = key.startsWith('k:') ? { '.': {}, ...fieldsOf(value, schema) } : fieldsOf(value, schema);
      continue;
    }
    if (same(before[name], value)) continue;
    const inner = changed(before[name], value, schema);
    if (isLeaf(inner.set) && isLeaf(inner.gone)) set[key] = fieldsOf(value, schema);
    if (!isLeaf(inner.set)) set[key] = inner.set;
    if (!isLeaf(inner.gone)) gone[key] = inner.gone;
  }
  for (const name of Object.keys(before)) if (!(name in after)) gone[step(name)] = {};
}
