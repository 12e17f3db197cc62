/** Create, update, patch and delete, each with what the real server checks before it and does around it. */
import { randomUUID } from 'node:crypto';
import { afterUpdate, applied, type Manager } from './apply.ts';
import { admit, checkNames, validate } from './admission.ts';
import { prune } from './schema.ts';
import { jsonPatch, mergePatch } from './patch.ts';
import {
  apiVersionOf,
  clone,
  isPlain,
  keyOf,
  objectKey,
  type Cause,
  type Kind,
  type KubeObject,
  type Meta,
  type Plain,
  same,
} from './model.ts';
import { alreadyExists, badRequest, conflict, deleted, invalid, notFound, Refusal, unsupportedMedia, type StatusBody } from './status.ts';
import type { Store } from './store.ts';

export interface WriteContext {
  readonly store: Store;
  readonly kind: Kind;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly subresource: string;
  readonly manager: string;
  readonly dryRun: boolean;
  readonly strict: boolean;
  readonly now: () => number;
}

export interface Written {
  readonly code: 200 | 201;
  readonly body: KubeObject | StatusBody;
}

const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

const managerOf = (c: WriteContext, operation: 'Apply' | 'Update'): Manager => ({
  name: c.manager,
  operation,
  subresource: c.subresource,
  time: time(c.now()),
});

function live(c: WriteContext): KubeObject {
  const found = c.store.get(c.kind, objectKey(c.namespace, c.name));
  if (found === undefined) throw notFound(c.kind, c.name);
  return found;
}

export function create(c: WriteContext, body: Plain, apply = false): Written {
  const input = admit(c, body);
  if (input.metadata.resourceVersion) throw new Refusal(500, null, 'resourceVersion should not be set on objects to be created');
  const base = input.metadata.generateName;
  if (!input.metadata.name && base)
    input.metadata.name =
      base +
      randomUUID()
        .slice(0, 5)
        .replaceAll(/[^a-z0-9]/g, 'x');
  const metadata: Meta = {
    ...input.metadata,
    uid: randomUUID(),
    creationTimestamp: time(c.now()),
    resourceVersion: '',
    ...(c.kind.generation ? { generation: 1 } : {}),
  };
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  let object: KubeObject = { ...input, metadata };
  if (c.kind.subresources.includes('status')) delete object['status'];
  c.kind.defaults?.(object);
  checkNames(c.kind, object);
  validate(c.kind, object, null, c.strict);
  if (c.store.get(c.kind, keyOf(object)) !== undefined) throw alreadyExists(c.kind, object.metadata.name);
  if (!apply) {
    const managedFields = afterUpdate(c.kind, null, object, managerOf(c, 'Update'));
    object = { ...object, metadata: { ...object.metadata, managedFields } };
  }
  return { code: 201, body: c.dryRun ? object : c.store.put(c.kind, object) };
}

export function update(c: WriteContext, body: Plain): Written {
  const input = admit(c, body);
  const { name, resourceVersion } = input.metadata;
  if (name !== undefined && name !== c.name)
    throw badRequest(`the name of the object (${name}) does not match the name on the URL (${c.name})`);
  const old = c.store.get(c.kind, objectKey(c.namespace, c.name));
  if (old === undefined) {
    if (!c.kind.createOnUpdate || c.subresource !== '') throw notFound(c.kind, c.name);
    return create(c, body);
  }
  if (!resourceVersion && !c.kind.unconditionalUpdate) {
    const message = `Invalid value: ${c.kind.custom ? '0' : '""'}: must be specified for an update`;
    const cause: Cause = { reason: 'FieldValueInvalid', message, field: 'metadata.resourceVersion' };
    throw invalid({ group: c.kind.group, kind: c.kind.plural }, c.name, [cause]);
  }
  checkUid(c, old, input.metadata.uid, true);
  return commit(c, old, input, managerOf(c, 'Update'));
}

/** A whole object is another one then; a patch would change what cannot be changed. */
function checkUid(c: WriteContext, old: KubeObject, uid: string | undefined, whole: boolean): void {
  if (!uid || uid === old.metadata.uid || c.subresource !== '') return;
  if (whole) {
    const key = `/registry/${c.kind.group === '' ? '' : `${c.kind.group}/`}${c.kind.plural}/${keyOf(old)}`;
    const why = `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`;
    throw conflict(c.kind, c.name, `StorageError: invalid object, Code: 4, Key: ${key}, ResourceVersion: 0, AdditionalErrorMsg: ${why}`);
  }
  const message = `Invalid value: ${JSON.stringify(uid)}: field is immutable`;
  throw invalid(c.kind, c.name, [{ reason: 'FieldValueInvalid', message, field: 'metadata.uid' }]);
}

/** Puts `input` in the place of `old`, as far as this (sub)resource may. */
function commit(c: WriteContext, old: KubeObject, input: KubeObject, manager: Manager): Written {
  checkVersion(c, old, input.metadata);
  checkFinalizers(c, old, input);
  const object = combine(c, old, input);
  c.kind.defaults?.(object);
  validate(c.kind, object, old, c.strict);
  if (manager.operation === 'Update') object.metadata.managedFields = afterUpdate(c.kind, old, object, manager);
  if (c.kind.generation && specChanged(c.kind, old, object)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
  object.metadata.resourceVersion = old.metadata.resourceVersion;
  if (same(object, old)) return { code: 200, body: old };
  if (c.dryRun) return { code: 200, body: object };
  if (object.metadata.deletionTimestamp !== undefined && (object.metadata.finalizers ?? []).length === 0) {
    // What else this write changed is never seen.
    c.store.remove(c.kind, keyOf(old));
    return { code: 200, body: object };
  }
  return { code: 200, body: c.store.put(c.kind, object) };
}

function checkFinalizers(c: WriteContext, old: KubeObject, input: KubeObject): void {
  if (old.metadata.deletionTimestamp === undefined || c.subresource !== '') return;
  const added = (input.metadata.finalizers ?? []).filter((finalizer) => !(old.metadata.finalizers ?? []).includes(finalizer));
  if (added.length === 0) return;
  const message = `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => JSON.stringify(f)).join(', ')}}`;
  throw invalid(c.kind, c.name, [{ reason: 'FieldValueForbidden', message, field: 'metadata.finalizers' }]);
}

function checkVersion(c: WriteContext, old: KubeObject, { resourceVersion }: Partial<Meta>): void {
  if (resourceVersion && resourceVersion !== old.metadata.resourceVersion) throw conflict(c.kind, c.name);
}

/** What a caller cannot write stays as it was. */
function combine(c: WriteContext, old: KubeObject, input: KubeObject): KubeObject {
  if (c.subresource === 'status') {
    const { managedFields } = input.metadata;
    const metadata = { ...old.metadata, ...(managedFields === undefined ? {} : { managedFields }) };
    const { status: _status, ...rest } = old;
    return clone({ ...rest, metadata, ...(input['status'] === undefined ? {} : { status: input['status'] }) }) as KubeObject;
  }
  const { uid, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds, generation } = old.metadata;
  const metadata: Meta = { ...input.metadata, name: c.name, uid, creationTimestamp };
  const kept = { deletionTimestamp, deletionGracePeriodSeconds, generation };
  for (const [key, value] of Object.entries(kept)) {
    if (value === undefined) delete (metadata as unknown as Plain)[key];
    else (metadata as unknown as Plain)[key] = value;
  }
  if (metadata.managedFields === undefined && old.metadata.managedFields !== undefined) metadata.managedFields = old.metadata.managedFields;
  const object: KubeObject = { ...input, metadata };
  if (!c.kind.subresources.includes('status')) return clone(object);
  delete object['status'];
  return clone(old['status'] === undefined ? object : { ...object, status: old['status'] });
}

function specChanged(kind: Kind, old: KubeObject, object: KubeObject): boolean {
  const spec = ({ metadata, status: _s, ...rest }: KubeObject): Plain =>
    kind.labelsGenerate ? { ...rest, labels: metadata.labels } : rest;
  return !same(spec(old), spec(object));
}

const PATCHES = ['application/json-patch+json', 'application/merge-patch+json', 'application/apply-patch+yaml'];

export function patch(c: WriteContext, contentType: string, body: unknown, force: boolean): Written {
  if (contentType === 'application/apply-patch+yaml') return apply(c, body, force);
  // Strategic merge patches are for types with Go structs; merging without their keys is what this project's kinds never see.
  const known = [...PATCHES, ...(c.kind.custom ? [] : ['application/strategic-merge-patch+json'])];
  if (!known.includes(contentType)) throw unsupportedMedia(known);
  const old = live(c);
  const patched = contentType === 'application/json-patch+json' ? jsonPatch(old, body) : mergePatch(old, body);
  if (!isPlain(patched)) throw badRequest('the patch does not leave an object');
  const input = admit(c, patched);
  if (input.metadata.name !== c.name)
    throw badRequest(`the name of the object (${input.metadata.name}) does not match the name on the URL (${c.name})`);
  checkUid(c, old, input.metadata.uid, false);
  return commit(c, old, input, managerOf(c, 'Update'));
}

function apply(c: WriteContext, body: unknown, force: boolean): Written {
  if (!isPlain(body)) throw badRequest('error decoding YAML: the body is not an object');
  const metadata = isPlain(body['metadata']) ? body['metadata'] : {};
  if (metadata['managedFields'] !== undefined) throw badRequest('metadata.managedFields must be nil');
  const named = { ...body, metadata: { ...metadata, name: metadata['name'] ?? c.name } };
  if (named.metadata.name !== c.name) {
    throw badRequest(`the name of the object (${String(named.metadata.name)}) does not match the name on the URL (${c.name})`);
  }
  checkDeclared(c.kind, named);
  const config = admit(c, named, 'none');
  const manager = managerOf(c, 'Apply');
  const old = c.store.get(c.kind, objectKey(c.namespace, c.name));
  if (old === undefined) {
    if (c.subresource !== '') throw notFound(c.kind, c.name);
    if (config.metadata.uid)
      throw conflict(
        c.kind,
        c.name,
        `uid mismatch: the provided object specified uid ${config.metadata.uid}, and no existing object was found`,
      );
    const { resourceVersion: _v, ...metadata } = config.metadata;
    const empty = { apiVersion: apiVersionOf(c.kind), kind: c.kind.kind, metadata } as KubeObject;
    return create(c, applied(c.kind, empty, config, manager, force), true);
  }
  checkUid(c, old, config.metadata.uid, false);
  checkVersion(c, old, config.metadata);
  const wanted: Plain = c.subresource === 'status' ? { status: config['status'] ?? {} } : withoutStatus(c.kind, config);
  if (c.subresource === 'status' && config['status'] === undefined) delete wanted['status'];
  return commit(c, old, admit(c, applied(c.kind, clone(old), wanted, manager, force), 'of a merge'), manager);
}

/** An apply names no field that its type does not have. */
function checkDeclared(kind: Kind, body: Plain): void {
  if (!kind.custom || kind.schema === null) return;
  const [unknown] = prune(clone(body), kind.schema);
  if (unknown === undefined) return;
  const metadata = body['metadata'] as Plain;
  const type = `${apiVersionOf(kind)}, Kind=${kind.kind}`;
  const what = `${String(metadata['namespace'] ?? '')}/${String(metadata['name'])}; ${type}`;
  throw new Refusal(500, null, `failed to create typed patch object (${what}): .${unknown}: field not declared in schema`);
}

function withoutStatus(kind: Kind, config: KubeObject): Plain {
  if (!kind.subresources.includes('status')) return config;
  const { status: _status, ...rest } = config;
  return rest;
}

export interface DeleteOptions {
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: string;
  readonly dryRun?: readonly string[];
}

export function remove(c: WriteContext, options: DeleteOptions): Written {
  const old = live(c);
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { group, kind } = c.kind;
  const precondition = (what: string, asked: string, is: string, then: string): Refusal =>
    conflict(
      { group, plural: kind },
      c.name,
      `the ${what} in the precondition (${asked}) does not match the ${what} in record (${is}). ${then}`,
    );
  if (uid !== undefined && uid !== old.metadata.uid) {
    throw precondition('UID', uid, old.metadata.uid, 'The object might have been deleted and then recreated');
  }
  if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
    throw precondition('ResourceVersion', resourceVersion, old.metadata.resourceVersion, 'The object might have been modified');
  }
  const finalizers = [...(old.metadata.finalizers ?? [])];
  if (options.propagationPolicy === 'Foreground' && !finalizers.includes('foregroundDeletion')) finalizers.push('foregroundDeletion');
  const held = finalizers.length > 0 || (c.kind.plural === 'namespaces' && c.kind.group === '');
  if (held) return { code: 200, body: c.dryRun ? old : terminate(c, old, finalizers) };
  const gone = c.dryRun ? old : (c.store.remove(c.kind, keyOf(old)) ?? old);
  return { code: 200, body: c.kind.statusOnDelete ? deleted(c.kind, c.name, old.metadata.uid) : gone };
}

function terminate(c: WriteContext, old: KubeObject, finalizers: string[]): KubeObject {
  if (old.metadata.deletionTimestamp !== undefined && same(finalizers, old.metadata.finalizers ?? [])) return old;
  const metadata: Meta = {
    ...old.metadata,
    deletionTimestamp: old.metadata.deletionTimestamp ?? time(c.now()),
    ...(finalizers.length === 0 ? {} : { finalizers }),
  };
  const namespace = c.kind.plural === 'namespaces' && c.kind.group === '';
  if (!namespace) metadata.deletionGracePeriodSeconds = 0;
  if (c.kind.generation && old.metadata.deletionTimestamp === undefined) metadata.generation = (old.metadata.generation ?? 0) + 1;
  return c.store.put(c.kind, { ...old, metadata, ...(namespace ? { status: { phase: 'Terminating' } } : {}) });
}
