/** The objects of Kubernetes that documents may hold beside our kinds: credentials and bundles, by name. */
import type { Secret } from '../../lib/secret.ts';
import type { ObjectMeta } from './set.ts';

export interface SecretObject {
  readonly meta: ObjectMeta;
  /** `kubernetes.io/tls`, `Opaque`, ... */
  readonly type: string;
  /** Decoded. */
  readonly data: ReadonlyMap<string, Secret>;
}

export interface ConfigMap {
  readonly meta: ObjectMeta;
  readonly data: ReadonlyMap<string, string>;
}
