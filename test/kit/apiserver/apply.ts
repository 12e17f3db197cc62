/**
 * Server-side apply: merges by the schema's lists and maps, keeps who owns what, refuses to take what another manager has set to something
 * else, and takes away what the manager does not apply any more.
 */
import {
  atomicMap,
  difference,
  fieldsOf,
  has,
  isLeaf,
  itemKey,
  listForm,
  type ListForm,
  memberSchema,
  minus,
  shared,
  union,
} from './fields.ts';
import {
  apiVersionOf,
  clone,
  isPlain,
  type FieldSet,
  type Kind,
  type KubeObject,
  type ManagedEntry,
  type Plain,
  type Schema,
  same,
} from './model.ts';
import { Refusal } from './status.ts';

export interface Manager {
  readonly name: string;
  readonly operation: 'Apply' | 'Update';
  readonly subresource: string;
  readonly time: string;
}

/** Of metadata only these have owners. */
const OWNED_METADATA = ['labels', 'annotations', 'finalizers', 'ownerReferences'];

const METADATA: Schema = {
  type: 'object',
  properties: {
    finalizers: { type: 'array', 'x-kubernetes-list-type': 'set' },
    ownerReferences: { type: 'array', 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['uid'] },
  },
};

export const schemaOf = (kind: Kind): Schema => ({
  ...kind.schema,
  type: 'object',
  properties: { ...kind.schema?.properties, metadata: METADATA },
});

/** The part of an object that managers own. */
export function ownable(object: Plain): Plain {
  const { apiVersion: _v, kind: _k, metadata, ...rest } = object;
  const owned: Plain = {};
  for (const name of OWNED_METADATA) if (isPlain(metadata) && metadata[name] !== undefined) owned[name] = metadata[name];
  return Object.keys(owned).length === 0 ? rest : { ...rest, metadata: owned };
}

const isOurs = (entry: ManagedEntry, m: Manager): boolean =>
  entry.manager === m.name && entry.operation === m.operation && (entry.subresource ?? '') === m.subresource;

/** What is there from the beginning: members of Go structs. */
const bare = (kind: Kind): Plain => (kind.custom ? { metadata: {} } : { metadata: {}, spec: {}, status: {} });

/** Appliers first, then by time and name: an order that a write without effect does not move. */
const ordered = (entries: readonly ManagedEntry[]): ManagedEntry[] => {
  const rank = (e: ManagedEntry): string => [e.operation, e.time, e.manager, e.apiVersion, e.subresource ?? ''].join('\n');
  return entries.toSorted((a, b) => (rank(a) < rank(b) ? -1 : 1));
};

/** Of an object that nobody has applied and nobody was written down for, everything belongs to those before. */
function tracked(kind: Kind, live: KubeObject, manager: Manager): readonly ManagedEntry[] {
  const entries = live.metadata.managedFields ?? [];
  if (entries.length > 0 || live.metadata.uid === undefined) return entries;
  const { set } = difference(bare(kind), { ...bare(kind), ...ownable(live) }, schemaOf(kind));
  return isLeaf(set) ? [] : [entryOf(kind, { ...manager, name: 'before-first-apply', operation: 'Update', subresource: '' }, set)];
}

/** After a write that was no apply: what it changed is the writer's now. */
export function afterUpdate(kind: Kind, before: KubeObject | null, after: KubeObject, manager: Manager): ManagedEntry[] {
  // Who is not written down from the beginning is not written down before somebody applies.
  if (before !== null && (before.metadata.managedFields ?? []).length === 0) return [];
  const old = before === null ? {} : ownable(before);
  const { set, gone } = difference({ ...bare(kind), ...old }, { ...bare(kind), ...ownable(after) }, schemaOf(kind));
  const entries: ManagedEntry[] = [];
  let found = false;
  for (const entry of after.metadata.managedFields ?? []) {
    if (!isOurs(entry, manager)) {
      entries.push({ ...entry, fieldsV1: minus(minus(entry.fieldsV1, set), gone) });
      continue;
    }
    found = true;
    const fields = union(minus(entry.fieldsV1, gone), set);
    entries.push({ ...entry, fieldsV1: fields, time: same(fields, entry.fieldsV1) ? entry.time : manager.time });
  }
  if (!found) entries.push(entryOf(kind, manager, set));
  return ordered(entries.filter((entry) => !isLeaf(entry.fieldsV1)));
}

function entryOf(kind: Kind, manager: Manager, fields: FieldSet): ManagedEntry {
  return {
    manager: manager.name,
    operation: manager.operation,
    apiVersion: apiVersionOf(kind),
    time: manager.time,
    fieldsType: 'FieldsV1',
    fieldsV1: fields,
    ...(manager.subresource === '' ? {} : { subresource: manager.subresource }),
  };
}

/** The live object with `applied` merged in; `live` is bare for a new one. */
export function applied(kind: Kind, live: KubeObject, config: Plain, manager: Manager, force: boolean): KubeObject {
  const schema = schemaOf(kind);
  const wanted = ownable(config);
  const fields = fieldsOf(wanted, schema);
  const entries = tracked(kind, live, manager);
  const own = entries.find((entry) => isOurs(entry, manager));
  const others = entries.filter((entry) => entry !== own);
  const merged = merge(live, wanted, schema) as KubeObject;
  if (own !== undefined) prune(merged, minus(own.fieldsV1, fields), { others, kept: fields }, [], schema);

  const { set, gone } = difference({ ...bare(kind), ...ownable(live) }, { ...bare(kind), ...ownable(merged) }, schema);
  const clashes: Clash[] = others.flatMap((entry) => shared(entry.fieldsV1, set).map((path) => ({ path, entry })));
  if (clashes.length > 0 && !force) throw applyConflict(clashes);
  const left = others
    .map((entry) => ({ ...entry, fieldsV1: minus(minus(entry.fieldsV1, set), gone) }))
    .filter((entry) => !isLeaf(entry.fieldsV1));
  const quiet = own !== undefined && isLeaf(set) && isLeaf(gone);
  const entry = { ...entryOf(kind, manager, fields), ...(quiet ? { time: own.time } : {}) };
  const managedFields = ordered(isLeaf(fields) ? left : [...left, entry]);
  return { ...merged, metadata: { ...merged.metadata, managedFields } };
}

interface Clash {
  readonly path: string[];
  readonly entry: ManagedEntry;
}

function applyConflict(conflicts: readonly Clash[]): Refusal {
  const causes = conflicts.map(({ path, entry }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${whose(entry)}`,
    field: path.map(pathText).join(''),
  }));
  const n = conflicts.length;
  return new Refusal(
    409,
    'Conflict',
    `Apply failed with ${n} conflict${n === 1 ? '' : 's'}: ${causes.map((c) => `${c.message}: ${c.field}`).join(', ')}`,
    { causes },
  );
}

const whose = ({ manager, subresource, operation, apiVersion }: ManagedEntry): string =>
  JSON.stringify(manager) +
  (subresource === undefined ? '' : ` with subresource ${JSON.stringify(subresource)}`) +
  (operation === 'Update' ? ` using ${apiVersion}` : '');

function pathText(step: string): string {
  if (step.startsWith('f:')) return `.${step.slice(2)}`;
  if (!step.startsWith('k:')) return `[=${step.slice(2)}]`;
  const pairs = Object.entries(JSON.parse(step.slice(2)) as Plain);
  return `[${pairs.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
}

function merge(live: unknown, wanted: unknown, schema: Schema | undefined): unknown {
  if (isPlain(wanted) && isPlain(live) && !atomicMap(schema)) {
    const out: Plain = { ...live };
    for (const [name, value] of Object.entries(wanted)) out[name] = merge(live[name], value, memberSchema(schema, name));
    return out;
  }
  const form = listForm(schema);
  if (!Array.isArray(wanted) || !Array.isArray(live) || form.form === 'atomic') return clone(wanted);
  return mergeItems(live, wanted, form, schema?.items);
}

/** In the order of what is applied as far as both have an item, and every other one of the live list where it was. */
function mergeItems(live: readonly unknown[], wanted: readonly unknown[], form: ListForm, items: Schema | undefined): unknown[] {
  const key = (item: unknown): string => itemKey(item, form, items);
  const [liveKeys, wantedKeys] = [live.map(key), wanted.map(key)];
  const before = new Map(live.map((item, i) => [liveKeys[i] as string, item]));
  const asked = new Set(wantedKeys);
  const merged = new Set<string>();
  const shared = wantedKeys.filter((k) => before.has(k));
  const out: unknown[] = [];
  const take = (k: string, item: unknown): void => {
    merged.add(k);
    if (shared[0] === k) shared.shift();
    out.push(before.has(k) ? merge(before.get(k), item, items) : clone(item));
  };
  let [l, w] = [0, 0];
  while (l < live.length || w < wanted.length) {
    const [here, there] = [liveKeys[l], wantedKeys[w]];
    if (here !== undefined && there !== undefined) {
      if (here === there) {
        take(there, wanted[w++]);
        l++;
        continue;
      }
      // Both have it, but another one comes first.
      if (asked.has(here) && shared[0] !== undefined && shared[0] !== here) {
        l++;
        continue;
      }
    }
    if (here !== undefined && !asked.has(here)) {
      out.push(live[l++]);
      continue;
    }
    if (here !== undefined && merged.has(here)) l++;
    if (there !== undefined) take(there, wanted[w++]);
  }
  return out;
}

/**
 * Takes away what `gone` names, with all that is below it, unless somebody owns it or something below it. Of a map or list that stays, but of
 * which nothing is left, null is left, which most types then refuse.
 */
function prune(value: unknown, gone: FieldSet, pruning: Pruning, path: readonly string[], schema: Schema | undefined): void {
  for (const [step, inner] of Object.entries(gone)) {
    if (step === '.') continue;
    const at = [...path, step];
    const owned = pruning.others.some((entry) => has(entry.fieldsV1, at));
    if (step.startsWith('f:')) pruneMember(value, step.slice(2), inner, pruning, at, schema, owned);
    else pruneItem(value, step, inner, pruning, at, schema, owned);
  }
}

interface Pruning {
  readonly others: readonly ManagedEntry[];
  /** What the manager applies now. */
  readonly kept: FieldSet;
}

function pruneMember(
  value: unknown,
  name: string,
  inner: FieldSet,
  pruning: Pruning,
  at: readonly string[],
  schema: Schema | undefined,
  owned: boolean,
): void {
  if (!isPlain(value) || !(name in value)) return;
  // Metadata has a name, always.
  if (!owned && !has(pruning.kept, at) && !(at.length === 1 && name === 'metadata')) {
    delete value[name];
    return;
  }
  if (isLeaf(inner)) return;
  const copy = clone(value[name]);
  prune(copy, inner, pruning, at, memberSchema(schema, name));
  value[name] = isEmpty(copy) ? null : copy;
}

function pruneItem(
  value: unknown,
  step: string,
  inner: FieldSet,
  pruning: Pruning,
  at: readonly string[],
  schema: Schema | undefined,
  owned: boolean,
): void {
  if (!Array.isArray(value)) return;
  const form = listForm(schema);
  const index = value.findIndex((item) => itemKey(item, form, schema?.items) === step);
  if (index < 0) return;
  if (!owned && (isLeaf(inner) || '.' in inner)) value.splice(index, 1);
  else prune(value[index], inner, pruning, at, schema?.items);
}

const isEmpty = (value: unknown): boolean =>
  Array.isArray(value) ? value.length === 0 : isPlain(value) && Object.keys(value).length === 0;
