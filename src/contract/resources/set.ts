/** Everything that users wrote, indexed and readonly: the input of compile. */
import type { Listener } from './listener.ts';
import type { Upstream } from './upstream.ts';
import type { ConfigMap, SecretObject } from './objects.ts';
import type { ClusterObjects } from './cluster.ts';

/** Where an object was written, for messages. */
export interface Origin {
  readonly file: string;
  /** The position of a field path like `spec.backends[0].weight`, or of the nearest ancestor that is written out. 1-based. */
  locate(path: string): { readonly line: number; readonly column: number };
  /** The same field as the file spells it, where that is another way. */
  spell?(path: string): string;
}

export interface ObjectMeta {
  readonly namespace: string;
  readonly name: string;
  /** '' standalone. */
  readonly uid: string;
  readonly generation: number;
  /** Milliseconds since the epoch; 0 when unknown. */
  readonly created: number;
  readonly labels: ReadonlyMap<string, string>;
  readonly origin: Origin | null;
}

export interface Resource<Spec> {
  readonly meta: ObjectMeta;
  readonly spec: Spec;
}

export type ObjectKey = string;

/** `namespace/name`; neither may contain a slash, so keys cannot collide. */
export const objectKey = (namespace: string, name: string): ObjectKey => `${namespace}/${name}`;

/** A file that a document refers to, read by the source: compile does no I/O. */
export type FileContent = { readonly ok: true; readonly bytes: Uint8Array } | { readonly ok: false; readonly problem: string };

export interface ResourceSet {
  readonly listeners: ReadonlyMap<ObjectKey, Resource<Listener>>;
  readonly upstreams: ReadonlyMap<ObjectKey, Resource<Upstream>>;
  readonly secrets: ReadonlyMap<ObjectKey, SecretObject>;
  readonly configMaps: ReadonlyMap<ObjectKey, ConfigMap>;
  /** By absolute path, as the loader rewrote them in `files` members. */
  readonly files: ReadonlyMap<string, FileContent>;
  /** null standalone. */
  readonly cluster: ClusterObjects | null;
}

/** A fault in a document or object, with everything that a reader needs to mend it. */
export interface Problem {
  readonly severity: 'error' | 'warning';
  readonly file: string;
  /** 0 when the place is not known (an object from a cluster). */
  readonly line: number;
  readonly column: number;
  /** `Upstream default/api: spec.backends[0].weight`, or '' for a file that does not parse. */
  readonly object: string;
  readonly path: string;
  /** What is wrong and what would be right. */
  readonly message: string;
}

export const emptySet = (): ResourceSet => ({
  listeners: new Map(),
  upstreams: new Map(),
  secrets: new Map(),
  configMaps: new Map(),
  files: new Map(),
  cluster: null,
});
