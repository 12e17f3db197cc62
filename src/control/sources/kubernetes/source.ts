/** Configuration from a cluster: what its API server lists and watches, as states, and EndpointSlices on a lane of their own. */
import type { Installation } from '../../../contract/resources/index.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import type { ObjectRef, StatusClient } from '../../status/client.ts';
import type { ServiceEndpoints } from '../services.ts';
import type { Source, SourceState } from '../source.ts';
import type { KubeApi, ResourceKind } from './api.ts';
import { Outage } from './backoff.ts';
import { GrantDiscovery } from './grants.ts';
import { CONFIG_MAPS, ENDPOINT_SLICES, LISTENERS, NAMESPACES, NODES, SECRETS, SECRET_QUERY, SERVICES, UPSTREAMS } from './kinds.ts';
import type { Identity } from './meta.ts';
import { secretScopes, scopesOf } from './scopes.ts';
import { METADATA_ONLY, Reflector, type ReflectorHooks } from './reflector.ts';
import type { LeftOut, Read, Table } from './table.ts';
import { View } from './view.ts';

/** Where the metrics of watches are counted; `kind` as in ResourceKind. */
export interface SourceHooks extends ReflectorHooks {
  /** Objects held. */
  objects(kind: string, count: number): void;
  /** The kind is not followed any more. */
  gone(kind: string): void;
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
  /** Those of our kinds that carry a status of ours. */
  held(): Iterable<ObjectRef>;
  /** Calls back with each of our kinds that is not as it was, but for its spec: somebody, or we, wrote its status. Returns the end of it. */
  onSeen(listener: (ref: ObjectRef) => void): () => void;
  /** Why the first state is not there yet; empty when it is. For /readyz. */
  pending(): readonly string[];
}

/** A burst of changes is one state: each costs a copy of what it changed. */
const GATHER_MS = 10;
/** Log lines about objects that are left out, per minute. */
const MAX_LINES = 20;
const MINUTE_MS = 60_000;

export const createKubernetesSource = (options: KubernetesSourceOptions): KubernetesSource => new ClusterSource(options);

/** A reflector and what the start waits for. */
interface Following {
  readonly kind: string;
  readonly reflector: Reflector<Read<Identity>>;
  /** Complete once, or refused where that may be. */
  settled: boolean;
  synced: boolean;
}

interface FollowOptions {
  readonly query?: string;
  readonly accept?: string;
  /** What is refused or unknown to the server holds up nobody: a reference to it is broken, and everything else serves. */
  readonly lenient: boolean;
}

class ClusterSource implements KubernetesSource {
  private readonly o: KubernetesSourceOptions;
  private readonly view: View;
  private readonly scopes: readonly (string | null)[];
  private readonly following = new Set<Following>();
  private readonly grants: GrantDiscovery;
  private grantFollowing: readonly Following[] = [];
  /** Namespaces themselves. */
  private namespaces: Following | null = null;
  private readonly outage = new Outage();
  private lines = 0;
  private linesSince = 0;
  private onFirst: ((state: SourceState) => void) | null = null;
  private onChange: ((state: SourceState) => void) | null = null;
  private complete = false;
  private cancel: (() => void) | null = null;
  private stopped = false;
  private readonly seers = new Set<(ref: ObjectRef) => void>();

  constructor(o: KubernetesSourceOptions) {
    this.o = o;
    this.view = new View({
      ...o,
      onChange: () => this.changed(),
      onLeftOut: (kind, why, name) => this.leftOut(kind, why, name),
      onSeen: (ref) => this.tellSeen(ref),
      onError: (e) => o.log.error('internal error', { where: 'endpoints', error: e }),
    });
    this.scopes = scopesOf(o.namespaces, o.installation.namespace);
    this.grants = new GrantDiscovery({
      ...o,
      onFound: (kind) => this.followGrants(kind),
      onGone: () => this.dropGrants(),
      onSettled: () => this.check(),
    });
  }

  get endpoints(): ServiceEndpoints {
    return this.view.slices;
  }

  get seen(): StatusClient['seen'] {
    return this.view.seen;
  }

  held(): Iterable<ObjectRef> {
    return this.view.held();
  }

  onSeen(listener: (ref: ObjectRef) => void): () => void {
    this.seers.add(listener);
    return () => this.seers.delete(listener);
  }

  start(onChange: (state: SourceState) => void): Promise<SourceState> {
    this.onChange = onChange;
    return new Promise((resolve) => {
      this.onFirst = resolve;
      this.followAll();
    });
  }

  /** The state as it is held, at once; what a new list finds follows. */
  reread(): void {
    if (!this.complete || this.stopped) return;
    this.tell();
    for (const { reflector } of this.following) reflector.relist();
  }

  stop(): Promise<void> {
    this.stopped = true;
    this.onChange = null;
    this.onFirst = null;
    this.cancel?.();
    this.grants.stop();
    for (const { reflector } of this.following) reflector.stop();
    this.view.slices.stop();
    return Promise.resolve();
  }

  pending(): readonly string[] {
    if (this.complete) return [];
    const reasons = [...this.following].flatMap((f) => (f.settled ? [] : (f.reflector.state().problem ?? 'a list is on its way')));
    if (this.grants.problem !== null) reasons.push(this.grants.problem);
    return [...new Set(reasons)];
  }

  private followAll(): void {
    const { view, scopes, o } = this;
    const must = { lenient: false };
    const may = { lenient: true };
    this.namespaces = this.follow(NAMESPACES, view.namespaces, null, { ...must, accept: METADATA_ONLY });
    if (o.nodes) this.followNodes();
    for (const scope of scopes) {
      this.follow(LISTENERS, view.listeners, scope, must);
      this.follow(UPSTREAMS, view.upstreams, scope, must);
      this.follow(SERVICES, view.services, scope, must);
      this.follow(ENDPOINT_SLICES, view.endpointSlices, scope, must);
    }
    for (const scope of secretScopes(scopes, o.installation.secretNamespaces)) {
      this.follow(SECRETS, view.secrets, scope, { ...may, query: SECRET_QUERY });
      this.follow(CONFIG_MAPS, view.configMaps, scope, may);
    }
    this.grants.start();
  }

  /** For our zone alone, one Node is enough. */
  private followNodes(): void {
    const { installation, zone, nodeName } = this.o;
    if (installation.publishNodeAddresses) this.follow(NODES, this.view.nodes, null, { lenient: true });
    else if (zone === null && nodeName !== '')
      this.follow(NODES, this.view.nodes, null, {
        lenient: true,
        query: `fieldSelector=${encodeURIComponent(`metadata.name=${nodeName}`)}`,
      });
  }

  private followGrants(kind: ResourceKind): void {
    for (const f of this.grantFollowing) this.unfollow(f);
    this.grantFollowing = this.scopes.map((scope) => this.follow(kind, this.view.grants, scope, { lenient: true }));
  }

  private dropGrants(): void {
    for (const f of this.grantFollowing) this.unfollow(f);
    this.grantFollowing = [];
    this.view.grants.clear();
    this.o.hooks.gone('ReferenceGrant');
    this.check();
  }

  private unfollow(f: Following): void {
    f.reflector.stop();
    this.following.delete(f);
  }

  private follow<E extends Identity>(kind: ResourceKind, table: Table<E>, scope: string | null, options: FollowOptions): Following {
    const { lenient, ...asked } = options;
    const settle = (): void => {
      following.settled = true;
      this.check();
    };
    const take = (objects: readonly Read<E>[]): void => {
      table.replaced(objects, scope);
      this.o.hooks.objects(kind.kind, table.entries.size);
      settle();
    };
    const reflector = new Reflector<Read<E>>({
      ...this.o,
      ...asked,
      kind,
      namespace: scope,
      outage: this.outage,
      optional: lenient,
      handler: {
        project: (raw) => table.project(raw, scope),
        replaced: take,
        changed: (type, object) => {
          table.changed(type, object);
          this.o.hooks.objects(kind.kind, table.entries.size);
        },
        missing: () => lenient && settle(),
      },
      hooks: this.hooksOf(
        kind.kind,
        () => following,
        (reason) => {
          if (reason === 'forbidden' && this.isGone(scope)) take([]);
          else if (lenient) settle();
        },
      ),
    });
    const following: Following = { kind: kind.kind, reflector: reflector as Reflector<Read<Identity>>, settled: false, synced: false };
    this.following.add(following);
    // From the beginning, so that what never comes can be seen.
    this.o.hooks.synced(kind.kind, false);
    reflector.start();
    return following;
  }

  /** The rights in a namespace go with it, and so does all that was in it: nobody waits for that, and nothing of it is served on. */
  private isGone(scope: string | null): boolean {
    return scope !== null && this.namespaces?.settled === true && !this.view.namespaces.entries.has(scope);
  }

  private hooksOf(kind: string, of: () => Following, onRefused: (reason: 'forbidden' | 'not_found') => void): ReflectorHooks {
    const { hooks } = this.o;
    return {
      list: () => hooks.list(kind),
      reconnect: () => hooks.reconnect(kind),
      event: () => hooks.event(kind),
      error: (_, reason) => {
        hooks.error(kind, reason);
        if (reason === 'forbidden' || reason === 'not_found') onRefused(reason);
      },
      heard: () => hooks.heard(kind),
      synced: (_, yes) => {
        of().synced = yes;
        // Of several watches of one kind the metric speaks for all.
        hooks.synced(
          kind,
          [...this.following].every((f) => f.kind !== kind || f.synced),
        );
      },
    };
  }

  /** The first state goes out when nothing is waited for any more; afterwards nothing is waited for again. */
  private check(): void {
    if (this.complete || this.stopped || this.grants.problem !== null) return;
    for (const { settled } of this.following) if (!settled) return;
    this.complete = true;
    this.onFirst?.(this.state());
    this.onFirst = null;
  }

  private tellSeen(ref: ObjectRef): void {
    for (const listener of this.seers) {
      try {
        listener(ref);
      } catch (e) {
        this.o.log.error('internal error', { where: 'source', error: e });
      }
    }
  }

  private changed(): void {
    if (!this.complete || this.stopped) return;
    this.cancel ??= this.o.clock.after(GATHER_MS, () => this.tell());
  }

  private tell(): void {
    this.cancel?.();
    this.cancel = null;
    try {
      this.onChange?.(this.state());
    } catch (e) {
      this.o.log.error('internal error', { where: 'source', error: e });
    }
  }

  private state(): SourceState {
    return { set: this.view.set(), problems: [], settings: null, settingsProblems: [] };
  }

  private leftOut(kind: string, why: LeftOut, name: string): void {
    const { hooks, clock, log } = this.o;
    hooks.error(kind, why === 'malformed' ? 'malformed' : 'too_large');
    if (clock.now() - this.linesSince >= MINUTE_MS) {
      this.linesSince = clock.now();
      this.lines = 0;
    }
    if (++this.lines <= MAX_LINES) log.warn('object left out', { kind, name, why });
  }
}
