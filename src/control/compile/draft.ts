/**
 * What the steps of a compile work on. Drafts of Upstreams whose object and whatever they refer to have not changed are taken over from the
 * compile before, by `kept.ts`: the steps look at the others.
 */
import type { Listener, Problem, RejectedObject, Resource, ResourceSet, Upstream } from '../../contract/resources/index.ts';
import type {
  CertificatePart,
  GroupId,
  ListenerPart,
  ObjectName,
  PartHash,
  RouteMatch,
  UpstreamPart,
} from '../../contract/snapshot/index.ts';
import { hashText } from '../../lib/hash.ts';
import { clusterOf, type Cluster } from './cluster.ts';
import { Claims } from './claims.ts';
import type { CertificateDates, CompileOptions, GroupSource, ObjectStatus } from './compiled.ts';
import type { Kept } from './kept.ts';
import { Memo } from './memo.ts';
import type { Publication } from './publishing.ts';
import { byName } from './order.ts';
import { Reads } from './reads.ts';
import type { ConditionReasons } from './reasons.ts';
import { Report, type Weight } from './reports.ts';

export { byAge, byName } from './order.ts';

/** Why something is not as it was asked for: a condition's reason and its text. */
export interface Fault<R extends string> {
  readonly reason: R;
  readonly message: string;
}

export type AcceptedFault = Fault<Exclude<ConditionReasons['Accepted'], 'Valid'>>;
export type RefFault = Fault<Exclude<ConditionReasons['ResolvedRefs'], 'ResolvedRefs'>>;

/** A certificate that a Listener or Upstream brings; null where the reference is broken. */
export interface LoadedCertificate {
  readonly part: CertificatePart;
  readonly hash: PartHash;
}

export class ListenerDraft {
  resource: Resource<Listener>;
  readonly name: ObjectName;
  /** Canonical; empty: every address of both families. */
  addresses: readonly string[] = [];
  /** Canonical, none inside another; empty: anything. */
  hostnames: readonly string[] = [];
  /** Its namespace is one of those whose Listeners count; others are told so, and nobody else notices them. */
  counts = true;
  publication: Publication | null = null;
  refused: AcceptedFault | null = null;
  refFaults: RefFault[] = [];
  reports: Report[] = [];
  /** In the order of the references. */
  certificates: readonly (LoadedCertificate | null)[] = [];
  tls: ListenerPart['tls'] | null = null;
  policies: Pick<ListenerPart, 'quic' | 'limits'> | null = null;
  /** What its selector said of a namespace. */
  readonly admitted = new Map<string, boolean>();
  /** Who has which hostname and match; outlives the compile. */
  readonly claims = new Claims();
  /** Those that serve. */
  taken = 0;
  /** Oldest Upstream first: of those that bring certificates. */
  bringers: Attachment[] = [];
  /** Its parts of this compile. */
  uses: PartHash[] = [];

  constructor(resource: Resource<Listener>) {
    this.resource = resource;
    this.name = { namespace: resource.meta.namespace, name: resource.meta.name };
  }

  /** Whether it is the same to every Upstream. */
  means(next: ListenerDraft): boolean {
    const [a, b] = [this.resource, next.resource];
    return (
      byName(this.name, next.name) === 0 &&
      a.meta.created === b.meta.created &&
      this.counts === next.counts &&
      this.refused?.reason === next.refused?.reason &&
      JSON.stringify([this.hostnames, a.spec.allowedNamespaces]) === JSON.stringify([next.hostnames, b.spec.allowedNamespaces])
    );
  }

  /** Everything else is the next one's. */
  adopt(next: ListenerDraft): this {
    this.resource = next.resource;
    this.addresses = next.addresses;
    this.publication = next.publication;
    this.refused = next.refused;
    this.refFaults = next.refFaults;
    this.reports = next.reports;
    this.admitted.clear();
    return this;
  }
}

/** What an Upstream's spec says, without anything that it refers to. */
export interface UpstreamFacts {
  /** Canonical, without doubles. */
  readonly hostnames: readonly string[];
  /** At least one; the item's index in the spec, -1 when there were none. */
  readonly matches: readonly { readonly index: number; readonly match: RouteMatch; readonly identity: string }[];
  readonly faults: readonly { readonly path: string; readonly message: string }[];
  readonly warnings: readonly { readonly path: string; readonly message: string }[];
}

export class UpstreamDraft {
  readonly resource: Resource<Upstream>;
  readonly name: ObjectName;
  readonly facts: UpstreamFacts;
  /** Spread evenly, and the same for the same name. */
  readonly number: number;
  refused: AcceptedFault | null = null;
  readonly refFaults: RefFault[] = [];
  /** What ResolvedRefs says although it is true. */
  readonly notes: string[] = [];
  certificates: readonly (LoadedCertificate | null)[] = [];
  groups: UpstreamPart['groups'] = [];
  sources: readonly GroupSource[] = [];
  /** Of the certificates that its groups show. */
  readonly shown = new Map<PartHash, CertificateDates>();
  readonly clients = new Map<PartHash, CertificatePart>();
  part: UpstreamPart | null = null;
  readonly attachments: Attachment[] = [];
  readonly reports: Report[] = [];
  /** What it was made of, besides its object. */
  readonly reads = new Reads();
  /** The parts that it needs where it serves. */
  uses: PartHash[] = [];
  target: PartHash | null = null;
  status: ObjectStatus | null = null;
  /** The last compile in which it was made, or held. */
  heldIn: number;

  constructor(resource: Resource<Upstream>, facts: UpstreamFacts, compile: number) {
    this.resource = resource;
    this.name = { namespace: resource.meta.namespace, name: resource.meta.name };
    this.number = hashText(`${resource.meta.namespace}/${resource.meta.name}`);
    this.facts = facts;
    this.heldIn = compile;
  }
}

export interface Lost {
  readonly text: string;
  readonly match: number;
  readonly holder: Attachment;
}

/** A hostname as the Upstream has it, and what the listener leaves of it. */
export interface AttachedHost {
  readonly hostname: string;
  readonly effective: readonly string[];
}

/** An Upstream on one listener that it asked for. */
export class Attachment {
  /** Null: the reference names no Listener. */
  readonly listener: ListenerDraft | null;
  readonly target: ObjectName;
  readonly upstream: UpstreamDraft;
  refused: AcceptedFault | null = null;
  /** An older Upstream has all that it wants. */
  overruled: AcceptedFault | null = null;
  hosts: readonly AttachedHost[] = [];
  /** By hostname: the matches that an older Upstream has; null when it has all of its own. */
  losses: Map<string, ReadonlyMap<number, Attachment>> | null = null;
  /** Names of its certificates that the Listener or an older Upstream has. */
  lostNames: readonly string[] = [];

  constructor(upstream: UpstreamDraft, target: ObjectName, listener: ListenerDraft | null) {
    this.upstream = upstream;
    this.target = target;
    this.listener = listener;
  }

  refuse(fault: AcceptedFault): this {
    this.refused = fault;
    return this;
  }

  /** Wants to be served, whatever others have. */
  get claims(): boolean {
    return this.refused === null && this.upstream.refused === null && this.listener !== null && this.listener.refused === null;
  }

  get serves(): boolean {
    return this.overruled === null && this.claims;
  }

  get refusal(): AcceptedFault | null {
    return this.refused ?? this.overruled;
  }
}

/** An object that the schema refuses, and why. */
export interface Rejected extends Pick<RejectedObject, 'kind' | 'meta'> {
  readonly message: string;
}

export class Draft {
  readonly set: ResourceSet;
  readonly options: CompileOptions;
  readonly memo: Memo;
  /** null standalone. */
  readonly cluster: Cluster | null;
  /** What the compile before left behind. */
  readonly kept: Kept;
  /** All of them mean the same to Upstreams as in the compile before. */
  sameListeners = false;
  /** Oldest first, as the upstreams. */
  listeners: ListenerDraft[] = [];
  upstreams: readonly UpstreamDraft[] = [];
  /** Those among them that the compile before did not have. */
  fresh: readonly UpstreamDraft[] = [];
  /** Those that it had, and that are no more. */
  gone: readonly UpstreamDraft[] = [];
  /** Of the others: those whom another one's coming or going concerns. */
  readonly concerned = new Set<UpstreamDraft>();
  rejected: readonly Rejected[] = [];
  /** Other groups than in the compile before; undefined: gone. */
  readonly groups = new Map<GroupId, GroupSource | undefined>();
  /** Other Upstreams serve than in the compile before. */
  renamed = false;
  /** Parts that are let go in the end. */
  left: readonly (readonly PartHash[])[] = [];
  /** Of objects that are refused. */
  readonly reports: Report[] = [];
  /** The step that is under way: reports are told in the order of steps. */
  step = 0;
  /** Where what is looked up is written down. */
  reads: Reads | null = null;

  constructor(set: ResourceSet, options: CompileOptions, memo: Memo, kept: Kept) {
    this.set = set;
    this.options = options;
    this.memo = memo;
    this.kept = kept;
    this.cluster = clusterOf(set, options, this.memo);
  }

  /** For each Upstream that is new; what it refers to is remembered with it. */
  forFresh(each: (upstream: UpstreamDraft) => void): void {
    for (const upstream of this.fresh) {
      this.reads = upstream.reads;
      each(upstream);
    }
    this.reads = null;
  }

  report(severity: Problem['severity'], of: ListenerDraft | UpstreamDraft, path: string, message: string, weight: Weight = 'full'): Report {
    const kind = of instanceof ListenerDraft ? 'Listener' : 'Upstream';
    const report = new Report(this.step, severity, kind, of.resource.meta, path, message, weight);
    of.reports.push(report);
    return report;
  }

  /** A reference of `of` at `path` does not hold. */
  unresolved(of: ListenerDraft | UpstreamDraft, path: string, fault: RefFault): void {
    of.refFaults.push({ reason: fault.reason, message: `${path}: ${fault.message}` });
    this.report('error', of, path, fault.message);
  }

  /** A reference of one backend group does not hold: its share answers 500, and nothing else changes. */
  unresolvedGroup(of: UpstreamDraft, path: string, fault: RefFault): void {
    of.refFaults.push({ reason: fault.reason, message: `${path}: ${fault.message}` });
    this.report('error', of, path, fault.message, 'bearable');
  }

  /** The object is out of service as a whole. The first fault gives the condition, every one a problem. */
  refuse(of: ListenerDraft | UpstreamDraft, path: string, fault: AcceptedFault, weight: Weight = 'full'): void {
    of.refused ??= { reason: fault.reason, message: path === '' ? fault.message : `${path}: ${fault.message}` };
    this.report('error', of, path, fault.message, weight);
  }
}
