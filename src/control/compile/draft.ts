/** What the steps of one compile work on: local, and thrown away with it. */
import type { Listener, ObjectMeta, Problem, RejectedObject, Resource, ResourceSet, Upstream } from '../../contract/resources/index.ts';
import type { CertificatePart, ListenerPart, ObjectName, PartHash, RouteMatch, UpstreamPart } from '../../contract/snapshot/index.ts';
import { clusterOf, type Cluster } from './cluster.ts';
import type { CertificateDates, CompileOptions, GroupSource } from './compiled.ts';
import { Memo } from './memo.ts';
import type { Publication } from './publishing.ts';
import type { ConditionReasons } from './reasons.ts';

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
  readonly resource: Resource<Listener>;
  readonly name: ObjectName;
  /** Canonical; empty: every address of both families. */
  addresses: readonly string[] = [];
  /** Canonical, none inside another; empty: anything. */
  hostnames: readonly string[] = [];
  /** Its namespace is one of those whose Listeners count; others are told so, and nobody else notices them. */
  counts = true;
  publication: Publication | null = null;
  refused: AcceptedFault | null = null;
  readonly refFaults: RefFault[] = [];
  /** In the order of the references. */
  certificates: readonly (LoadedCertificate | null)[] = [];
  tls: ListenerPart['tls'] | null = null;
  policies: Pick<ListenerPart, 'quic' | 'limits'> | null = null;
  /** What its selector said of a namespace. */
  readonly admitted = new Map<string, boolean>();
  /** Oldest Upstream first. */
  readonly attachments: Attachment[] = [];

  constructor(resource: Resource<Listener>) {
    this.resource = resource;
    this.name = { namespace: resource.meta.namespace, name: resource.meta.name };
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
  refused: AcceptedFault | null = null;
  readonly refFaults: RefFault[] = [];
  /** What ResolvedRefs says although it is true. */
  readonly notes: string[] = [];
  certificates: readonly (LoadedCertificate | null)[] = [];
  groups: UpstreamPart['groups'] = [];
  sources: readonly GroupSource[] = [];
  /** Of the certificates that its groups show. */
  readonly shown = new Map<PartHash, CertificateDates>();
  part: UpstreamPart | null = null;
  readonly attachments: Attachment[] = [];

  constructor(resource: Resource<Upstream>, facts: UpstreamFacts) {
    this.resource = resource;
    this.name = { namespace: resource.meta.namespace, name: resource.meta.name };
    this.facts = facts;
  }
}

/** A route of an Upstream on a listener: a hostname as written, what the listener leaves of it, and one match. */
export interface Pair {
  readonly hostname: string;
  readonly effective: readonly string[];
  /** Index into `facts.matches`. */
  readonly match: number;
}

export interface Lost {
  readonly text: string;
  readonly match: number;
  readonly holder: Attachment;
}

/** An Upstream on one listener that it asked for. */
export class Attachment {
  /** Null: the reference names no Listener. */
  readonly listener: ListenerDraft | null;
  readonly target: ObjectName;
  readonly upstream: UpstreamDraft;
  refused: AcceptedFault | null = null;
  hosts: readonly { readonly hostname: string; readonly effective: readonly string[] }[] = [];
  kept: readonly Pair[] = [];
  /** What an older Upstream has. */
  readonly lost: Lost[] = [];
  /** Names of its certificates that the Listener or an older Upstream has. */
  readonly lostNames: string[] = [];

  constructor(upstream: UpstreamDraft, target: ObjectName, listener: ListenerDraft | null) {
    this.upstream = upstream;
    this.target = target;
    this.listener = listener;
  }

  refuse(fault: AcceptedFault): this {
    this.refused = fault;
    return this;
  }

  get serves(): boolean {
    return this.refused === null && this.upstream.refused === null && this.listener !== null && this.listener.refused === null;
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
  readonly problems: Problem[] = [];
  readonly bearable = new Set<Problem>();
  readonly settled = new Set<Problem>();
  /** Those that groups show to backends. */
  readonly clientCertificates = new Map<PartHash, CertificatePart>();
  /** Oldest first, as the upstreams. */
  listeners: ListenerDraft[] = [];
  upstreams: UpstreamDraft[] = [];
  rejected: readonly Rejected[] = [];

  constructor(set: ResourceSet, options: CompileOptions) {
    this.set = set;
    this.options = options;
    this.memo = options.memo ?? new Memo();
    this.cluster = clusterOf(set, options, this.memo);
  }

  report(severity: Problem['severity'], of: ListenerDraft | UpstreamDraft, path: string, message: string): Problem {
    return this.add(severity, of instanceof ListenerDraft ? 'Listener' : 'Upstream', of.resource.meta, path, message);
  }

  add(severity: Problem['severity'], kind: Rejected['kind'], meta: ObjectMeta, path: string, message: string): Problem {
    const place = meta.origin?.locate(path) ?? { line: 0, column: 0 };
    const problem: Problem = {
      severity,
      file: meta.origin?.file ?? '',
      line: place.line,
      column: place.column,
      object: `${kind} ${meta.namespace}/${meta.name}`,
      path: meta.origin?.spell?.(path) ?? path,
      message,
    };
    this.problems.push(problem);
    return problem;
  }

  /** A reference of `of` at `path` does not hold. */
  unresolved(of: ListenerDraft | UpstreamDraft, path: string, fault: RefFault): void {
    of.refFaults.push({ reason: fault.reason, message: `${path}: ${fault.message}` });
    this.report('error', of, path, fault.message);
  }

  /** A reference of one backend group does not hold: its share answers 500, and nothing else changes. */
  unresolvedGroup(of: UpstreamDraft, path: string, fault: RefFault): void {
    of.refFaults.push({ reason: fault.reason, message: `${path}: ${fault.message}` });
    this.bearable.add(this.report('error', of, path, fault.message));
  }

  /** The object is out of service as a whole. The first fault gives the condition, every one a problem. */
  refuse(of: ListenerDraft | UpstreamDraft, path: string, fault: AcceptedFault): Problem {
    of.refused ??= { reason: fault.reason, message: path === '' ? fault.message : `${path}: ${fault.message}` };
    return this.report('error', of, path, fault.message);
  }
}

const text = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Who was there first: by age where it is known, then by namespace and name, each for itself. */
export const byAge = (a: { readonly meta: ObjectMeta }, b: { readonly meta: ObjectMeta }): number =>
  a.meta.created - b.meta.created || text(a.meta.namespace, b.meta.namespace) || text(a.meta.name, b.meta.name);

export const byName = (a: ObjectName, b: ObjectName): number => text(a.namespace, b.namespace) || text(a.name, b.name);
