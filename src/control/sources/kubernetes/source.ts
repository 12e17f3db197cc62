/** Configuration from a cluster: what its API server lists and watches, as states, and EndpointSlices on a lane of their own. */
import type { Installation } from '../../../contract/resources/index.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import type { StatusClient } from '../../status/client.ts';
import type { ServiceEndpoints } from '../services.ts';
import type { Source } from '../source.ts';
import type { KubeApi } from './api.ts';

/** Where the metrics of watches are counted; `kind` as in ResourceKind. */
export interface SourceHooks {
  list(kind: string): void;
  reconnect(kind: string): void;
  event(kind: string): void;
  error(kind: string, reason: string): void;
  heard(kind: string): void;
  synced(kind: string, yes: boolean): void;
  /** Objects held. */
  objects(kind: string, count: number): void;
}

export interface KubernetesSourceOptions {
  readonly api: KubeApi;
  readonly installation: Installation;
  /** What is watched, beside the installation's own namespace; null: every namespace. */
  readonly namespaces: readonly string[] | null;
  /** Nodes may be asked for: their addresses when the installation publishes them, and our zone when `zone` is null. */
  readonly nodes: boolean;
  readonly zone: string | null;
  /** '' when not known. */
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly hooks: SourceHooks;
}

/** `start` resolves once every kind that must be there is complete, however long that takes; an outage afterwards changes nothing. */
export interface KubernetesSource extends Source {
  readonly endpoints: ServiceEndpoints;
  /** Of our kinds, whatever class and validity. */
  readonly seen: StatusClient['seen'];
  /** Why the first state is not there yet; empty when it is. For /readyz. */
  pending(): readonly string[];
  /** When the API server was last heard of, in milliseconds since the epoch; 0: never. */
  heard(): number;
}

export function createKubernetesSource(options: KubernetesSourceOptions): KubernetesSource {
  throw new Error(`not yet: ${options.installation.className}`);
}
