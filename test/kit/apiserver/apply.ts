/**
 * Server-side apply: merges by the schema's lists and maps, keeps who owns what, refuses to take what another manager has set to something
 * else, and takes away what the manager does not apply any more.
 */
import {
  atomicMap,
  changed,
  fieldsOf,
  has,
  isLeaf,
  itemKey,
  listForm,
  memberSchema,
  minus,
  shared,
  union,
  valueAt,
  without,
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

/** After a write that was no apply: what it changed is the writer's now. */
export function afterUpdate(kind: Kind, before: KubeObject | null, after: KubeObject, manager: Manager): ManagedEntry[] {
  const schema = schemaOf(kind);
  const { set, gone } = changed(before === null ? {} : ownable(before), ownable(after), schema);
  const taken = union(set, gone);
  const entries: ManagedEntry[] = [];
  let found = false;
  for (const entry of after.metadata.managedFields ?? []) {
    if (isOurs(entry, manager)) {
      found = true;
      const fields = minus(union(entry.fieldsV1, set), gone);
      const unchanged = same(fields, entry.fieldsV1);
      if (!isLeaf(fields)) entries.push({ ...entry, fieldsV1: fields, time: unchanged ? entry.time : manager.time });
    } else {
      const fields = minus(entry.fieldsV1, taken);
      if (!isLeaf(fields)) entries.push({ ...entry, fieldsV1: fields });
    }
  }
  if (!found && !isLeaf(set)) entries.push(entryOf(kind, manager, set));
  return entries;
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

/** The live object with `applied` merged in; `live` is {} for a new one. */
export function applied(kind: Kind, live: KubeObject, config: Plain, manager: Manager, force: boolean): KubeObject {
  const schema = schemaOf(kind);
  const wanted = ownable(config);
  const fields = fieldsOf(wanted, schema);
  let entries = live.metadata.managedFields ?? [];
  const conflicts: Clash[] = [];
  const merged = merge(live, wanted, schema) as KubeObject;
  for (const entry of entries) {
    if (isOurs(entry, manager)) continue;
    // Only what would become another value is fought over.
    for (const path of shared(fields, entry.fieldsV1)) {
      if (!same(valueAt(merged, path, schema), valueAt(live, path, schema))) conflicts.push({ path, entry });
    }
  }
  if (conflicts.length > 0 && !force) throw applyConflict(conflicts);
  if (conflicts.length > 0)
    entries = entries.map((e) =>
      isOurs(e, manager) ? e : conflicts.reduce((rest, c) => ({ ...rest, fieldsV1: without(rest.fieldsV1, c.path) }), e),
    );

  const own = entries.find((entry) => isOurs(entry, manager));
  const others = entries.filter((entry) => entry !== own && !isLeaf(entry.fieldsV1));
  if (own !== undefined) prune(merged, minus(own.fieldsV1, fields), { others, kept: fields }, [], schema);
  const unchanged = own !== undefined && same(own.fieldsV1, fields);
  const entry = { ...entryOf(kind, manager, fields), ...(unchanged ? { time: own.time } : {}) };
  const managedFields = isLeaf(fields)
    ? others
    : [...others, entry].sort((a, b) => Number(a.operation > b.operation) - Number(a.operation < b.operation));
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
  const items = new Map(live.map((item: unknown) => [itemKey(item, form, schema?.items), item]));
  for (const item of wanted) {
    const key = itemKey(item, form, schema?.items);
    items.set(key, items.has(key) ? merge(items.get(key), item, schema?.items) : clone(item));
  }
  return [...items.values()];
}

/**
 * Takes away what `gone` names, unless somebody else owns it or something below it. A map or list of which nothing is left goes with its last
 * member; where the manager still applies the empty thing itself, null is left of it, which most types then refuse.
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
  if (isLeaf(inner)) {
    if (!owned) delete value[name];
    return;
  }
  const copy = clone(value[name]);
  value[name] = copy;
  prune(copy, inner, pruning, at, memberSchema(schema, name));
  if (owned || !isEmpty(copy)) return;
  if (has(pruning.kept, at) && isPlain(copy)) value[name] = null;
  else delete value[name];
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
