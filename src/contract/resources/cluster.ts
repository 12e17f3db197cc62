/** Objects of a cluster that are not ours to define, as far as compile needs them. Lists of endpoints are not among them: they have a lane of their own. */
import type { Fault } from './validate.ts';
import type { ObjectKey, ObjectMeta } from './set.ts';

export interface ServicePort {
  /** '' for the only one. */
  readonly name: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
  /** The target, by number or by the name of a container's port; the same as `port` when absent. */
  readonly targetPort: number | string;
  /** 0: none. */
  readonly nodePort: number;
  /** '' when absent. */
  readonly appProtocol: string;
}

export interface Service {
  readonly meta: ObjectMeta;
  readonly type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  readonly ports: readonly ServicePort[];
  /** Addresses by which clients outside reach it: of its load balancer (IPs and names), then `externalIPs`. */
  readonly addresses: readonly string[];
}

/** `from.group: spooky.dev`; others are left out. */
export interface Grant {
  /** Where it is: what it opens is here. */
  readonly namespace: string;
  readonly from: readonly { readonly kind: string; readonly namespace: string }[];
  /** `name` '' opens every object of the kind. `group` '' is the core group. */
  readonly to: readonly { readonly group: string; readonly kind: string; readonly name: string }[];
}

/** An object of ours that the schema refuses: created before a rule, or by a server without it. */
export interface RejectedObject {
  readonly kind: 'Listener' | 'Upstream';
  readonly meta: ObjectMeta;
  readonly faults: readonly Fault[];
}

export interface ClusterObjects {
  readonly services: ReadonlyMap<ObjectKey, Service>;
  /** Labels by namespace. */
  readonly namespaces: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly grants: readonly Grant[];
  readonly rejected: readonly RejectedObject[];
  /** Listeners of other classes: known by name, so that an Upstream of theirs is left to them. */
  readonly foreignListeners: ReadonlySet<ObjectKey>;
  /** Addresses of nodes that are ready; empty unless they are asked for. */
  readonly nodeAddresses: readonly string[];
}

/** What the flags say of this installation. */
export interface Installation {
  readonly className: string;
  /** Where the process runs, and where its own Listeners are. */
  readonly namespace: string;
  /** Beside the own one; null: all. */
  readonly listenerNamespaces: ReadonlySet<string> | null;
  /** Where Secrets and ConfigMaps are read; null: everywhere. */
  readonly secretNamespaces: ReadonlySet<string> | null;
  /** Ports that a Listener may have; null: any. */
  readonly ports: ReadonlySet<number> | null;
  /** Ports that no Listener may have: those of metrics and of the admin API. */
  readonly reservedPorts: ReadonlySet<number>;
  /** The Service whose ports and addresses clients use. */
  readonly publishService: { readonly namespace: string; readonly name: string } | null;
  /** Instead of the Service's addresses; empty: none were given. */
  readonly publishAddresses: readonly string[];
  readonly publishNodeAddresses: boolean;
  readonly allowAddressBackends: boolean;
}

export const emptyCluster = (): ClusterObjects => ({
  services: new Map(),
  namespaces: new Map(),
  grants: [],
  rejected: [],
  foreignListeners: new Set(),
  nodeAddresses: [],
});
