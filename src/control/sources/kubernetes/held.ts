/** Which objects a reflector has handed on, by name: enough to tell news from echoes. The objects themselves are the handler's. */
import { asRecord } from './answers.ts';
import { compareVersions, isVersion } from './versions.ts';

/** An object as JSON has it, of which only this is certain. */
export interface RawObject {
  readonly metadata: RawMeta;
  readonly [field: string]: unknown;
}

export interface RawMeta {
  readonly name: string;
  /** Absent for what is in no namespace. */
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly [field: string]: unknown;
}

const MAX_TEXT = 1024;
const isText = (value: unknown): value is string => typeof value === 'string' && value !== '' && value.length <= MAX_TEXT;

/** Null: it has no name, no uid or no version. */
export const asObject = (value: unknown): RawObject | null => {
  const meta = asRecord(asRecord(value)?.['metadata']);
  if (meta === null) return null;
  const { name, namespace, uid, resourceVersion } = meta;
  if (!isText(name) || !isText(uid) || !isVersion(resourceVersion)) return null;
  if (namespace !== undefined && !isText(namespace)) return null;
  return value as RawObject;
};

export type EventType = 'ADDED' | 'MODIFIED' | 'DELETED';

/**
 * `echo`: known already, or older than what a list has shown. `late`: older than what is known of this very object, which a server that keeps
 * the order never sends: something may have been lost.
 */
export type Verdict = EventType | 'echo' | 'late';

interface Known {
  uid: string;
  version: string;
}

const MAX_BURIED = 1024;

/** `namespace/name`: neither part can hold a slash. */
export const keyOf = ({ namespace, name }: RawMeta): string => `${namespace ?? ''}/${name}`;

export class Held {
  private readonly known = new Map<string, Known>();
  /** Uids of what was deleted, with the version of that: an older event must not bring it back. */
  private readonly buried = new Map<string, string>();
  private base = '0';

  get size(): number {
    return this.known.size;
  }

  /** An object of a list that is coming in. */
  add(meta: RawMeta): void {
    this.known.set(keyOf(meta), { uid: meta.uid, version: meta.resourceVersion });
  }

  drop(meta: RawMeta): void {
    this.known.delete(keyOf(meta));
  }

  /** The version of the list: nothing older than that is news. */
  complete(version: string): void {
    this.base = version;
  }

  judge(type: EventType, { metadata }: RawObject): Verdict {
    const { uid, resourceVersion: version } = metadata;
    const key = keyOf(metadata);
    const known = this.known.get(key);
    const verdict = this.compare(type, uid, version, known);
    if (verdict === 'DELETED') this.bury(key, uid, version);
    else if (verdict === 'ADDED' || verdict === 'MODIFIED') this.known.set(key, { uid, version });
    return verdict;
  }

  private compare(type: EventType, uid: string, version: string, known: Known | undefined): Verdict {
    const age = known === undefined ? 1 : compareVersions(version, known.version);
    if (known?.uid === uid) {
      if (age < 0) return 'late';
      if (type === 'DELETED') return 'DELETED';
      return age === 0 ? 'echo' : 'MODIFIED';
    }
    const buried = this.buried.get(uid);
    if (buried !== undefined && compareVersions(version, buried) <= 0) return type === 'DELETED' ? 'echo' : 'late';
    if (compareVersions(version, this.base) <= 0) return 'late';
    // Of an object whose namesake has come since, or that never was here.
    if (type === 'DELETED') return known === undefined || age < 0 ? 'echo' : 'late';
    return age < 0 ? 'late' : 'ADDED';
  }

  private bury(key: string, uid: string, version: string): void {
    this.known.delete(key);
    this.buried.set(uid, version);
    if (this.buried.size <= MAX_BURIED) return;
    const [oldest] = this.buried.keys();
    if (oldest !== undefined) this.buried.delete(oldest);
  }
}
