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

/** The fields that a value sets: of an empty map or object it is the thing itself, of an empty list nothing. */
export const fieldsOf = (value: unknown, schema: Schema | undefined): FieldSet => setBy(value, schema) ?? {};

function setBy(value: unknown, schema: Schema | undefined): FieldSet | undefined {
  const out: FieldSet = {};
  const put = (step: string, inner: FieldSet | undefined): void => {
    if (inner !== undefined) out[step] = inner;
  };
  if (granularMap(value, schema)) {
    const members = Object.entries(value);
    for (const [name, member] of members) put(`f:${name}`, setBy(member, memberSchema(schema, name)));
    return node(members.length === 0, out);
  }
  if (!granularList(value, schema)) return {};
  const form = listForm(schema);
  for (const item of value) put(itemKey(item, form, schema?.items), form.form === 'map' ? { '.': {}, ...setBy(item, schema?.items) } : {});
  return node(false, out);
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

/** The paths that both have. */
export function shared(a: FieldSet, b: FieldSet, path: readonly string[] = []): string[][] {
  return Object.entries(a).flatMap(([name, inner]) => {
    const other = b[name];
    if (other === undefined || name === '.') return [];
    const at = [...path, name];
    return [...(isMember(inner) && isMember(other) ? [at] : []), ...shared(inner, other, at)];
  });
}

/** The path itself; of a named field also something below it, for that keeps it there. */
export function has(set: FieldSet, path: readonly string[]): boolean {
  let at: FieldSet | undefined = set;
  for (const step of path) {
    at = at[step];
    if (at === undefined) return false;
  }
  return isMember(at) || path.at(-1)?.startsWith('f:') === true;
}

export interface Difference {
  /** New, or with another value. */
  readonly set: FieldSet;
  readonly gone: FieldSet;
}

/** Between two objects, field by field. */
export function difference(before: Plain, after: Plain, schema: Schema | undefined): Difference {
  const set: FieldSet = {};
  const gone: FieldSet = {};
  compareMembers(
    before,
    after,
    (name) => `f:${name}`,
    (name) => memberSchema(schema, name),
    { set, gone },
  );
  return { set, gone };
}

const granularMap = (value: unknown, schema: Schema | undefined): value is Plain => isPlain(value) && !atomicMap(schema);
const granularList = (value: unknown, schema: Schema | undefined): value is unknown[] =>
  Array.isArray(value) && listForm(schema).form !== 'atomic';

function compare(before: unknown, after: unknown, schema: Schema | undefined): { set: FieldSet | undefined; gone: FieldSet | undefined } {
  if (before === undefined) return { set: everything(after, schema), gone: undefined };
  if (after === undefined) return { set: undefined, gone: everything(before, schema) };
  // Null for a map or a list is an empty one.
  if (before === null && after !== null) return compare(Array.isArray(after) ? [] : isPlain(after) ? {} : 0, after, schema);
  if (after === null && before !== null) return compare(before, Array.isArray(before) ? [] : isPlain(before) ? {} : 0, schema);
  const inner: Difference = { set: {}, gone: {} };
  if (granularMap(before, schema) && granularMap(after, schema)) {
    compareMembers(
      before,
      after,
      (name) => `f:${name}`,
      (name) => memberSchema(schema, name),
      inner,
    );
  } else if (granularList(before, schema) && granularList(after, schema)) {
    const form = listForm(schema);
    const byKey = (items: unknown[]): Plain => Object.fromEntries(items.map((item) => [itemKey(item, form, schema?.items), item]));
    compareMembers(
      byKey(before),
      byKey(after),
      (key) => key,
      () => (form.form === 'map' ? schema?.items : undefined),
      inner,
    );
  } else return { set: same(before, after) ? undefined : {}, gone: undefined };
  return { set: node(false, inner.set), gone: node(false, inner.gone) };
}

function compareMembers(
  before: Plain,
  after: Plain,
  step: (name: string) => string,
  schemaOf: (name: string) => Schema | undefined,
  out: Difference,
): void {
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const { set, gone } = compare(before[name], after[name], schemaOf(name));
    if (set !== undefined) out.set[step(name)] = set;
    if (gone !== undefined) out.gone[step(name)] = gone;
  }
}

/** Of something that is new: its parts and the thing itself. */
function everything(value: unknown, schema: Schema | undefined): FieldSet {
  const parts: FieldSet = {};
  if (granularMap(value, schema)) {
    for (const [name, member] of Object.entries(value)) parts[`f:${name}`] = everything(member, memberSchema(schema, name));
  } else if (granularList(value, schema)) {
    const form = listForm(schema);
    for (const item of value) parts[itemKey(item, form, schema?.items)] = form.form === 'map' ? everything(item, schema?.items) : {};
  }
  return node(true, parts) as FieldSet;
}
