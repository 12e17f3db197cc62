/** What compile gives: the snapshot's parts, where endpoints come from, and a verdict for every object. */
import type { ConditionReasons } from './reasons.ts';
import type { Installation, Problem } from '../../contract/resources/index.ts';
import type { GroupId, GroupPart, ObjectName, Part, PartHash } from '../../contract/snapshot/index.ts';
import type { Memo } from './memo.ts';

export interface CompileOptions {
  /** Files instead of a cluster: no grants, no Services, no namespace labels. */
  readonly standalone: boolean;
  /** What the flags of an installation in a cluster say; null standalone. */
  readonly installation?: Installation | null;
  /** Keeps what an earlier compile made of content that has not changed. Never changes the outcome. */
  readonly memo?: Memo;
}

/** A group and the addresses that the user wrote for it, or the Service that has them: names are resolved, and health is judged, elsewhere. */
export interface GroupSource {
  readonly group: GroupPart;
  readonly part: PartHash;
  readonly upstream: ObjectName;
  readonly addresses: readonly GroupAddress[];
  /** null where there are addresses. */
  readonly service: GroupService | null;
}

export interface GroupService extends ObjectName {
  /** The name of the Service's port, by which its EndpointSlices have it; '' for a single port without one. */
  readonly portName: string;
}

export interface GroupAddress {
  /** A name or IP literal, without brackets. */
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly label: string;
}

export type ConditionType = keyof ConditionReasons;

export type Condition = {
  readonly [T in ConditionType]: {
    readonly type: T;
    readonly status: 'True' | 'False';
    readonly reason: ConditionReasons[T];
    /** At most 1 kB. */
    readonly message: string;
  };
}[ConditionType];

export interface PublishedAddress {
  readonly type: 'IPAddress' | 'Hostname';
  readonly value: string;
  readonly port: number;
}

export interface CertificateDates {
  /** `namespace/name` of the Secret, or a file. */
  readonly source: string;
  /** Milliseconds since the epoch: judged where there is a clock. */
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface ObjectStatus {
  readonly kind: 'Listener' | 'Upstream';
  readonly namespace: string;
  readonly name: string;
  /** '' standalone. */
  readonly uid: string;
  /** The one that was judged. */
  readonly generation: number;
  /** Of an Upstream: the worst of all listeners. */
  readonly conditions: readonly Condition[];
  /** Of a Listener: how many Upstreams it took. */
  readonly attachedUpstreams?: number;
  /** Of a Listener in a cluster: where clients reach it. */
  readonly addresses?: readonly PublishedAddress[];
  /** Of the certificates that its references resolved to: one that is not valid now serves all the same, and is told where there is a clock. */
  readonly certificates?: readonly CertificateDates[];
  /** Of an Upstream: its groups whose references hold, and whose endpoints are counted where they are known. */
  readonly groups?: readonly GroupId[];
  /** Of an Upstream: listeners that took it, and that it asked for. */
  readonly attached?: { readonly taken: number; readonly asked: number };
  /** Of an Upstream. */
  readonly listeners?: readonly { readonly namespace: string; readonly name: string; readonly conditions: readonly Condition[] }[];
}

export interface Compiled {
  /** The root's listeners, by namespace and name. */
  readonly listeners: readonly PartHash[];
  /** Every part that the root reaches. */
  readonly parts: ReadonlyMap<PartHash, Part>;
  readonly encoded: ReadonlyMap<PartHash, Uint8Array>;
  readonly groups: ReadonlyMap<GroupId, GroupSource>;
  readonly statuses: readonly ObjectStatus[];
  /** An error among them: some object is not served as it was written. */
  readonly problems: readonly Problem[];
  /** Those errors that take one backend group out of service: its share answers 500, and everything else is as written. */
  readonly bearable: ReadonlySet<Problem>;
  /** Those errors whose outcome is laid down: of two objects that want the same, the older has it. */
  readonly settled: ReadonlySet<Problem>;
}
