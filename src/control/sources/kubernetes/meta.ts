/** What every object has, read without trust: total functions, and nothing that an author made is kept beyond its limit. */
import { matchesPattern, objectKey, type ObjectKey, type ObjectMeta } from '../../../contract/resources/index.ts';

export type Fields = Readonly<Record<string, unknown>>;

export const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);

/** A member that is a map; an empty one where it is not. */
export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : NOTHING);
const NOTHING: Fields = {};

/** The items of a list that are maps, at most `max` of them. */
export function mapsOf(value: unknown, max: number): Fields[] {
  if (!Array.isArray(value)) return [];
  return (value as unknown[]).slice(0, max).filter(isFields);
}

/** Text of at most `max` characters; '' where it is none. */
export const textOf = (value: unknown, max: number): string => (typeof value === 'string' && value.length <= max ? value : '');

export const NAME_LENGTH = 253;
export const LABEL_LENGTH = 63;

export const isName = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= NAME_LENGTH && matchesPattern('objectName', value);

/** The names of some kinds may hold more than those of ours: Secrets and Services are stricter or the same, none has a slash. */
export const isNamespace = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= LABEL_LENGTH && matchesPattern('namespace', value);

export const isPort = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 65535;

/** An object's name and life, of a kind that has namespaces or, with '', of one that has none. */
export interface Identity {
  readonly key: ObjectKey;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

const UID_LENGTH = 128;

/** null: no name, a name that no server gives, or no uid. */
export function identityOf(raw: unknown, namespaced: boolean): Identity | null {
  const meta = fieldsOf(fieldsOf(raw)['metadata']);
  const { name, namespace, uid } = meta;
  if (!isName(name) || typeof uid !== 'string' || uid === '' || uid.length > UID_LENGTH) return null;
  if (!namespaced) return { key: name, namespace: '', name, uid };
  return isNamespace(namespace) ? { key: objectKey(namespace, name), namespace, name, uid } : null;
}

const NO_LABELS: ReadonlyMap<string, string> = new Map();

const countOf = (value: unknown): number => (Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0);

/** Labels are left out: nothing asks for those of an object. */
export function metaOf(raw: unknown, { namespace, name, uid }: Identity): ObjectMeta {
  const meta = fieldsOf(fieldsOf(raw)['metadata']);
  const created = createdAt(meta['creationTimestamp']);
  return { namespace, name, uid, generation: countOf(meta['generation']), created, labels: NO_LABELS, origin: null };
}

/** Milliseconds since the epoch; 0 when unknown. */
function createdAt(value: unknown): number {
  const ms =
    typeof value === 'string' && /^\d{4}-\d{2}-\d{2}T[\d:.]{8,16}(?:Z|[+-]\d{2}:\d{2})$/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isFinite(ms) && ms > 0 ? ms : 0;
}

export const resourceVersionOf = (raw: unknown): string => textOf(fieldsOf(fieldsOf(raw)['metadata'])['resourceVersion'], 64);

/** Deleted, and held back by somebody's finalizer. */
export const isEnding = (raw: unknown): boolean => typeof fieldsOf(fieldsOf(raw)['metadata'])['deletionTimestamp'] === 'string';
