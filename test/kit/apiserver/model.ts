/** What an API server's objects and kinds are to the fake one. */

export type Plain = { [key: string]: unknown };

export interface Meta {
  name: string;
  namespace?: string;
  generateName?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  managedFields?: ManagedEntry[];
}

export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: Meta;
  [member: string]: unknown;
}

export interface ManagedEntry {
  manager: string;
  operation: 'Apply' | 'Update';
  apiVersion: string;
  time: string;
  fieldsType: 'FieldsV1';
  fieldsV1: FieldSet;
  subresource?: string;
}

/** FieldsV1: `f:NAME`, `k:{KEYS}`, `v:VALUE`, and `.` for the thing itself. */
export interface FieldSet {
  [path: string]: FieldSet;
}

/** Of an OpenAPI schema what the fake reads. */
export interface Schema {
  type?: string;
  nullable?: boolean;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  required?: string[];
  default?: unknown;
  enum?: unknown[];
  pattern?: string;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  maxProperties?: number;
  'x-kubernetes-preserve-unknown-fields'?: boolean;
  'x-kubernetes-int-or-string'?: boolean;
  'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  'x-kubernetes-list-map-keys'?: string[];
  'x-kubernetes-map-type'?: 'atomic' | 'granular';
}

export interface Kind {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly subresources: readonly string[];
  /** Counted in `metadata.generation`: everything but metadata and status. */
  readonly generation: boolean;
  /** Labels count as well. */
  readonly labelsGenerate: boolean;
  /** Fields beside `metadata.name` and `metadata.namespace` that a field selector may name. */
  readonly selectable: readonly string[];
  readonly custom: boolean;
  /** PUT at a name that is not there makes it. */
  readonly createOnUpdate: boolean;
  /** PUT without a resource version wins. */
  readonly unconditionalUpdate: boolean;
  /** A successful DELETE answers with a Status, otherwise with the object. */
  readonly statusOnDelete: boolean;
  /** Names are DNS labels, not subdomains. */
  readonly labelName: boolean;
  readonly shortNames: readonly string[];
  /** Beside apiVersion, kind and metadata; null: any. */
  readonly members: readonly string[] | null;
  /** For types that are known; null: granular maps, atomic lists. */
  readonly schema: Schema | null;
  /** What the type's own code fills in. */
  readonly defaults: ((object: KubeObject) => void) | null;
  /** What the type's own code refuses: field, reason and message of each. */
  readonly validate: ((object: KubeObject, old: KubeObject | null) => Cause[]) | null;
}

export interface Cause {
  readonly reason:
    | 'FieldValueInvalid'
    | 'FieldValueRequired'
    | 'FieldValueForbidden'
    | 'FieldValueNotSupported'
    | 'FieldValueDuplicate'
    | 'FieldValueTypeInvalid'
    | 'FieldValueTooLong'
    | 'FieldValueTooMany';
  readonly message: string;
  readonly field: string;
}

export const kindKey = (kind: Pick<Kind, 'group' | 'plural'>): string => `${kind.group}/${kind.plural}`;
export const apiVersionOf = ({ group, version }: Pick<Kind, 'group' | 'version'>): string =>
  group === '' ? version : `${group}/${version}`;
/** `listeners.spooky.dev`, `services`. */
export const qualified = ({ group, plural }: Pick<Kind, 'group' | 'plural'>): string => (group === '' ? plural : `${plural}.${group}`);
export const objectKey = (namespace: string | undefined, name: string): string => (namespace === undefined ? name : `${namespace}/${name}`);
export const keyOf = (object: KubeObject): string => objectKey(object.metadata.namespace, object.metadata.name);

export const isPlain = (value: unknown): value is Plain => typeof value === 'object' && value !== null && !Array.isArray(value);
/** Of JSON; structuredClone and node:util know objects of another realm than a test's, which are never strictly equal to its own. */
export function clone<T>(value: T): T {
  if (Array.isArray(value)) return value.map(clone) as T;
  if (!isPlain(value)) return value;
  const out: Plain = {};
  for (const key of Object.keys(value)) if (value[key] !== undefined) out[key] = clone(value[key]);
  return out as T;
}

/** What is undefined is not there. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]));
  if (!isPlain(a) || !isPlain(b)) return false;
  for (const key of Object.keys(a)) if (!same(a[key], b[key])) return false;
  return Object.keys(b).every((key) => b[key] === undefined || a[key] !== undefined);
}
