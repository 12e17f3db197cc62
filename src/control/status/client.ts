/** What reporting needs of a cluster. The Kubernetes source implements it; nothing here knows HTTP. */

export interface ObjectRef {
  readonly kind: 'Listener' | 'Upstream';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** An object as the watch has it now. */
export interface SeenObject {
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation: number;
  /** As it is on the server; {} without one. */
  readonly status: unknown;
}

export type WriteOutcome =
  | 'written'
  /** Somebody else wrote in between: the watch brings it, and then it is computed again. */
  | 'conflict'
  /** The object is not there any more. */
  | 'gone'
  /** The server refused or did not answer: again later. */
  | 'failed';

export interface WriteAnswer {
  readonly outcome: WriteOutcome;
  /** What the server said, for the log; '' when written. */
  readonly message: string;
  readonly retryAfterMs: number | null;
}

/** An event of events.k8s.io/v1, without what the client adds (name, times, reporting instance). */
export interface EventNote {
  readonly regarding: ObjectRef;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  /** At most 1 kB. */
  readonly note: string;
}

export interface StatusClient {
  /** The object as the watch has it; null when there is none under this name. */
  seen(ref: Pick<ObjectRef, 'kind' | 'namespace' | 'name'>): SeenObject | null;
  /**
   * Objects of any class that hold something of our manager's, as `managedFields` have it: what a former leader wrote on an object that has
   * left us since. Without it, only what left us under our own eyes is cleaned up.
   */
  held?(): Iterable<ObjectRef>;
  /** Server-side apply under our own manager, with the resource version that was seen. `status` holds our own fields only; {} takes them away. */
  applyStatus(ref: ObjectRef, resourceVersion: string, status: unknown): Promise<WriteAnswer>;
  createEvent(event: EventNote, at: number): Promise<{ readonly ok: boolean; readonly name: string; readonly message: string }>;
  /** The same thing again: `count` times in all, the last one at `at` (milliseconds since the epoch). */
  repeatEvent(namespace: string, name: string, count: number, at: number): Promise<{ readonly ok: boolean; readonly message: string }>;
}

/** A record of coordination.k8s.io/v1, as client-go writes it. */
export interface LeaseRecord {
  readonly holderIdentity: string;
  readonly leaseDurationSeconds: number;
  /** MicroTime: six digits. */
  readonly acquireTime: string;
  readonly renewTime: string;
  readonly leaseTransitions: number;
}

export type LeaseAnswer =
  | { readonly ok: true; readonly record: LeaseRecord; readonly resourceVersion: string }
  | { readonly ok: false; readonly kind: 'missing' | 'conflict' | 'failed'; readonly message: string };

export interface LeaseClient {
  get(): Promise<LeaseAnswer>;
  create(record: LeaseRecord): Promise<LeaseAnswer>;
  update(record: LeaseRecord, resourceVersion: string): Promise<LeaseAnswer>;
}
