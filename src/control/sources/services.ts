/** Endpoints of Services: what a cluster's EndpointSlices say, in the form that the endpoints' lane takes. */
import type { GroupService } from '../compile/index.ts';

export interface ServiceEndpoint {
  /** An IP literal, canonical. */
  readonly address: string;
  readonly port: number;
  /** It serves, but is about to end: used only while no other does. */
  readonly draining: boolean;
}

export interface ServiceEndpoints {
  /**
   * Those that may be used now, without doubles, in a stable order: the ready ones, or, when none is ready, those that still serve while they
   * end; of the preferred family; of our zone where the hints say so.
   */
  endpoints(service: GroupService): readonly ServiceEndpoint[];
  /** All that the slices have and those that are ready, for the status. */
  counts(service: GroupService): { readonly total: number; readonly ready: number };
  /** Calls back with the Services (`namespace/name`) whose endpoints changed, gathered over at most 20 ms; returns the end of it. */
  onChange(listener: (services: ReadonlySet<string>) => void): () => void;
}
