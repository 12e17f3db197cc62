/** What a reflector needs, and whom it tells. */
import type { Clock } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import type { ApiErrorKind, KubeApi, ResourceKind } from './api.ts';
import type { Outage } from './backoff.ts';
import type { EventType, RawObject } from './held.ts';

/** What holds the objects. It may throw: that is logged and counted, and costs the object at hand. */
export interface ReflectorHandler<T> {
  /**
   * What is kept of an object. Called as it arrives, also while a list is still coming in: the raw one is garbage at once, so that a list takes
   * as little memory as what is kept of it. Nothing may change by it: an unfinished list is dropped.
   */
  project(object: RawObject): T;
  /** A complete list: everything else is gone. */
  replaced(objects: readonly T[]): void;
  /**
   * One change after that. `ADDED` under the name of another object (another uid) means that the other one is gone; `DELETED` has the object as it
   * was last.
   */
  changed(type: EventType, object: T): void;
  /** The server does not have this kind: once, until it is there again. What is held stays, unless the handler drops it. */
  missing?(): void;
}

export type WatchErrorReason = Exclude<ApiErrorKind, 'aborted' | 'conflict' | 'invalid'>;

/** Counts; must not throw. */
export interface ReflectorHooks {
  /** A complete list is in. */
  list(kind: string): void;
  /** A watch is opened again. */
  reconnect(kind: string): void;
  /** An event came, bookmarks included. */
  event(kind: string): void;
  error(kind: string, reason: WatchErrorReason): void;
  /** The server has said something. */
  heard(kind: string): void;
  synced(kind: string, yes: boolean): void;
}

export interface ReflectorOptions<T> {
  readonly api: KubeApi;
  readonly kind: ResourceKind;
  /** Null: all. */
  readonly namespace: string | null;
  /** More of the query, escaped: `fieldSelector=...`. */
  readonly query?: string;
  /** METADATA_ONLY, where that is enough. */
  readonly accept?: string;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
  readonly handler: ReflectorHandler<T>;
  readonly hooks: ReflectorHooks;
  /** The kind may be missing for good: no problem then. */
  readonly optional: boolean;
  /** Shared by the reflectors of one server. */
  readonly outage?: Outage;
}

export interface ReflectorState {
  /** A complete list is in; it stays so while the server is away. */
  readonly synced: boolean;
  /** `Upstreams cannot be listed: forbidden: ...`; null when all is well. */
  readonly problem: string | null;
  /** Milliseconds since the epoch; 0: never. */
  readonly lastHeardAt: number;
}

/** The metadata of objects alone. */
export const METADATA_ONLY = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
