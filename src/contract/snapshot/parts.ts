/**
 * What workers get: a tree of immutable parts named by the hash of their content.
 *
 *     root -> listener -> host (one per hostname) -> route -> upstream -> group
 *                      -> certificate
 *
 * A change touches the parts on its way to the root and no others. Lists of endpoints are not in the tree: they travel in their own lane.
 */
import type { Brand } from '../../lib/brand.ts';
import type { Secret } from '../../lib/secret.ts';

export type PartHash = Brand<string, 'PartHash'>;
/** JSON of [namespace, upstream, group]: structured, so that no two groups share one. */
export type GroupId = Brand<string, 'GroupId'>;

export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

/** A set of names served with the same certificates: one TLS entry of the engine. */
export interface TlsEntryPart {
  /** SNI names, lower case: exact or `*.suffix`. */
  readonly names: readonly string[];
  /** Certificates: ECDSA first, then RSA. */
  readonly certificates: readonly PartHash[];
}

export interface ListenerPart extends ObjectName {
  readonly kind: 'listener';
  /** Empty: every address of both families. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly advertisedPort: number;
  /** Empty: anything. */
  readonly hostnames: readonly string[];
  readonly tls: {
    readonly entries: readonly TlsEntryPart[];
    /** Index into `entries` for a missing or unmatched name; null rejects the handshake. */
    readonly fallback: number | null;
    readonly unmatched: 'Default' | 'Reject';
  };
  readonly quic: {
    readonly idleTimeoutMs: number;
    /** -1: half the idle time while a request is open; 0: never. */
    readonly keepAliveMs: number;
    readonly handshakeTimeoutMs: number;
    readonly maxStreams: number;
    readonly streamWindow: number;
    readonly congestionControl: 'Reno' | 'Cubic' | 'BBR';
    readonly retry: 'Auto' | 'Always' | 'Never';
  };
  readonly limits: {
    /** null: the installation's --max-connections. Per node, shared out among workers. */
    readonly connections: number | null;
    readonly connectionsPerAddress: number;
    readonly handshakesPerSecond: number;
    readonly headerBytes: number;
    readonly headerCount: number;
    /** 0: unlimited. */
    readonly requestBody: number;
    readonly headerTimeoutMs: number;
    readonly bodyIdleTimeoutMs: number;
    readonly responseStallMs: number;
    readonly noRequestTimeoutMs: number;
    readonly requestsPerConnection: number;
    readonly pending: number;
  };
  readonly escapedSlashes: 'Reject' | 'Keep';
  /** CIDRs whose forwarded fields are kept. */
  readonly trust: readonly string[];
  readonly proxyStatusDetails: boolean;
  readonly hosts: readonly PartHash[];
}

export interface FieldMatch {
  /** Lower case for headers, as given for query. */
  readonly name: string;
  readonly type: 'Exact' | 'Regex' | 'Present';
  /** '' for Present. */
  readonly value: string;
}

export interface RouteMatch {
  readonly path: { readonly type: 'Exact' | 'Prefix' | 'Regex'; readonly value: string } | null;
  /** Empty: any. */
  readonly methods: readonly string[];
  readonly headers: readonly FieldMatch[];
  readonly query: readonly FieldMatch[];
}

export interface RoutePart {
  readonly upstream: ObjectName;
  /**
   * The hostname as the Upstream has it. It decides precedence; the part's own `hostname` is what the listener leaves of it, and a listener that
   * serves few names must not turn a wildcard into an equal of an exact name.
   */
  readonly hostname: string;
  /** The item of `matches`; -1 when there were none. */
  readonly matchIndex: number;
  /** Milliseconds since the epoch; 0 when unknown: all alike then, names decide. */
  readonly created: number;
  readonly match: RouteMatch;
  readonly target: PartHash;
}

/** The routes of one hostname on one listener, best first (routes/rank.ts). */
export interface HostPart {
  readonly kind: 'host';
  /** Exact, `*.suffix`, or `*`. */
  readonly hostname: string;
  readonly routes: readonly RoutePart[];
}

export type HashKey =
  { readonly type: 'Header' | 'Cookie' | 'Query'; readonly name: string } | { readonly type: 'SourceAddress' | 'Path' | 'Authority' };

export type Balancing =
  { readonly type: 'RoundRobin' } | { readonly type: 'Random' } | { readonly type: 'ConsistentHash'; readonly key: HashKey };

export interface UpstreamPart extends ObjectName {
  readonly kind: 'upstream';
  readonly balancing: Balancing;
  readonly timeouts: {
    readonly connectMs: number;
    readonly responseMs: number;
    readonly idleMs: number;
    /** 0: none */ readonly requestMs: number;
  };
  readonly groups: readonly {
    readonly name: string;
    readonly weight: number;
    /** null: a reference of the group cannot be resolved; its share answers 500. */
    readonly group: PartHash | null;
  }[];
}

export interface BackendTlsPart {
  readonly verify: boolean;
  /** null: the address's host. */
  readonly serverName: string | null;
  readonly sni: boolean;
  /** PEM bundle; null: the system's roots. */
  readonly ca: string | null;
  readonly client: PartHash | null;
}

export interface HealthCheckPart {
  readonly path: string;
  /** Inclusive ranges. */
  readonly statuses: readonly (readonly [number, number])[];
  /** null: the endpoint's host and port. */
  readonly hostname: string | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly cooldownMs: number;
  readonly healthyThreshold: number;
  readonly unhealthyThreshold: number;
  readonly initial: 'Healthy' | 'Unhealthy';
}

export interface GroupPart {
  readonly kind: 'group';
  readonly id: GroupId;
  readonly upstream: ObjectName;
  readonly name: string;
  readonly protocol: 'H2C' | 'H2';
  readonly tls: BackendTlsPart | null;
  readonly healthCheck: HealthCheckPart | null;
}

export interface CertificatePart {
  readonly kind: 'certificate';
  /** Where it comes from: `namespace/secret` or the file. For people. */
  readonly source: string;
  /** PEM chain, leaf first. */
  readonly cert: string;
  readonly key: Secret;
  readonly keyType: 'ecdsa' | 'rsa';
  /** DNS and IP SANs, lower case. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch: judged where there is a clock. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SHA-256 of the leaf, hex. */
  readonly fingerprint: string;
}

export type Part = ListenerPart | HostPart | UpstreamPart | GroupPart | CertificatePart;

export interface Root {
  /** Grows with every state that was published. */
  readonly version: number;
  readonly listeners: readonly PartHash[];
}

export interface Snapshot {
  readonly root: Root;
  /** Every part reachable from the root. */
  readonly parts: ReadonlyMap<PartHash, Part>;
}

/** One endpoint in the lane of its own. */
export interface EndpointInfo {
  /** An IP literal. */
  readonly address: string;
  readonly port: number;
  /** The name or literal that the user wrote: TLS identity and Host of health checks. */
  readonly host: string;
  /** The label in metrics: the address's `name`, else `host:port`. */
  readonly label: string;
  readonly weight: number;
  readonly healthy: boolean;
  readonly draining: boolean;
}

export interface EndpointList {
  readonly group: GroupId;
  /** Whose endpoints they are, of the parts that the group has and is to have: other protocols, other ports. Absent: whichever it has. */
  readonly part?: PartHash;
  /** The higher sequence wins. */
  readonly sequence: number;
  readonly list: readonly EndpointInfo[];
}
