/** Everything that is held of a cluster, by kind, and the set that compile takes, of which each part stays the same object while nothing in it changed. */
import {
  objectKey,
  type ClusterObjects,
  type ConfigMap,
  type Grant,
  type Installation,
  type Listener,
  type ObjectKey,
  type RejectedObject,
  type Resource,
  type ResourceSet,
  type SecretObject,
  type Service,
  type Upstream,
} from '../../../contract/resources/index.ts';
import { LayeredMap } from '../../../lib/layered.ts';
import type { ObjectRef, StatusClient } from '../../status/client.ts';
import {
  readConfigMap,
  readGrant,
  readNamespace,
  readNode,
  readSecret,
  readService,
  type ConfigMapEntry,
  type GrantEntry,
  type NamespaceEntry,
  type NodeEntry,
  type SecretEntry,
  type ServiceObject,
} from './core.ts';
import type { Identity } from './meta.ts';
import { keepOurs, readListener, readUpstream, type OurObject } from './objects.ts';
import { readSlice, sameSlice, type Slice } from './slice.ts';
import { Slices, type SlicesOptions } from './slices.ts';
import { Table, type LeftOut, type TableOptions } from './table.ts';
import { nodeAddresses, zoneOf } from './zones.ts';

export interface ViewOptions extends Omit<SlicesOptions, 'onBeyond'> {
  readonly installation: Installation;
  /** null: from the Node, if it is watched. */
  readonly zone: string | null;
  /** The next set is another one. */
  readonly onChange: () => void;
  readonly onLeftOut: (kind: string, why: LeftOut, name: string) => void;
  /** One of our kinds is not as it was, but for its spec: its status, as a rule. */
  readonly onSeen: (ref: ObjectRef) => void;
}

type AnyOurs = OurObject<Listener> | OurObject<Upstream>;

/** Zones and nodes are few, and each list of them is held once. */
const MAX_HINTS = 20_000;

export class View {
  readonly slices: Slices;
  readonly listeners: Table<OurObject<Listener>>;
  readonly upstreams: Table<OurObject<Upstream>>;
  readonly services: Table<ServiceObject>;
  readonly namespaces: Table<NamespaceEntry>;
  readonly secrets: Table<SecretEntry>;
  readonly configMaps: Table<ConfigMapEntry>;
  readonly nodes: Table<NodeEntry>;
  readonly grants: Table<GrantEntry>;
  readonly endpointSlices: Table<Slice>;
  private readonly o: ViewOptions;
  private readonly parts: Parts;

  constructor(o: ViewOptions) {
    this.o = o;
    const { className } = o.installation;
    const ours = { className, controllerName: `spooky.dev/${className}` };
    this.slices = new Slices({ ...o, onBeyond: (slice) => o.onLeftOut('EndpointSlice', 'too_many', slice) });
    this.slices.ownZone(o.zone ?? '');
    this.listeners = this.table<OurObject<Listener>>('Listener', (raw, id, known) => readListener(raw, id, known, ours), keepOurs, {
      onKept: (before, after) => this.seenAgain('Listener', before, after),
    });
    this.upstreams = this.table<OurObject<Upstream>>('Upstream', (raw, id, known) => readUpstream(raw, id, known, ours), keepOurs, {
      onKept: (before, after) => this.seenAgain('Upstream', before, after),
    });
    this.services = this.table<ServiceObject>('Service', readService, keepBy<ServiceObject>(sameText), {
      onChange: (before, after) => this.serviceChanged(before, after),
    });
    this.namespaces = this.table(
      'Namespace',
      readNamespace,
      keepBy((a, b) => sameMap(a.labels, b.labels, (x, y) => x === y)),
    );
    this.secrets = this.table('Secret', readSecret, keepBy(sameSecret));
    this.configMaps = this.table(
      'ConfigMap',
      readConfigMap,
      keepBy((a, b) => sameMap(a.configMap.data, b.configMap.data, (x, y) => x === y)),
    );
    this.nodes = this.table<NodeEntry>('Node', readNode, keepBy<NodeEntry>(sameText), { onChange: () => this.nodeChanged() });
    this.grants = this.table<GrantEntry>('ReferenceGrant', readGrant, keepBy<GrantEntry>(sameText));
    this.endpointSlices = new Table<Slice>({
      namespaced: true,
      read: (raw, id) => readSlice(raw, id, this.intern),
      keep: keepBy(sameSlice),
      onChange: (before, after) => this.slices.changed(before, after),
      onLeftOut: (why, name) => o.onLeftOut('EndpointSlice', why, name),
    });
    this.parts = new Parts(this, o.installation);
  }

  set(): ResourceSet {
    return this.parts.set();
  }

  readonly seen: StatusClient['seen'] = ({ kind, namespace, name }) => this.ours(kind).get(objectKey(namespace, name))?.seen ?? null;

  /** Objects that carry a status of ours. */
  *held(): Generator<ObjectRef> {
    for (const kind of ['Listener', 'Upstream'] as const)
      for (const { namespace, name, uid, held } of this.ours(kind).values()) if (held) yield { kind, namespace, name, uid };
  }

  private ours(kind: 'Listener' | 'Upstream'): ReadonlyMap<ObjectKey, AnyOurs> {
    return kind === 'Listener' ? this.listeners.entries : this.upstreams.entries;
  }

  private table<E extends Identity>(
    kind: PartKind,
    read: (raw: unknown, identity: Identity, known: E | undefined) => E | 'ignored' | 'malformed',
    keep: (before: E, after: E) => E | null,
    also: Partial<Pick<TableOptions<E>, 'onChange' | 'onKept'>> = {},
  ): Table<E> {
    return new Table({
      namespaced: kind !== 'Namespace' && kind !== 'Node',
      read,
      keep,
      onChange: (before, after) => {
        also.onChange?.(before, after);
        this.parts.touch(kind, (after ?? (before as E)).key);
        this.o.onChange();
      },
      ...(also.onKept === undefined ? {} : { onKept: also.onKept }),
      onLeftOut: (why, name) => this.o.onLeftOut(kind, why, name),
    });
  }

  /** A list shows what is known once more: only another version is news. */
  private seenAgain(kind: ObjectRef['kind'], before: AnyOurs, after: AnyOurs): void {
    const { namespace, name, uid, seen } = after;
    if (seen.resourceVersion !== before.seen.resourceVersion) this.o.onSeen({ kind, namespace, name, uid });
  }

  private serviceChanged(before: ServiceObject | undefined, after: ServiceObject | undefined): void {
    const { key } = (after ?? before) as ServiceObject;
    this.slices.service(key, after === undefined ? null : { uid: after.uid, family: after.family });
  }

  private nodeChanged(): void {
    if (this.o.zone === null) this.slices.ownZone(zoneOf(this.nodes.entries, this.o.nodeName));
  }

  private readonly hints = new Map<string, readonly string[]>();

  private readonly intern = (names: readonly string[]): readonly string[] => {
    const text = names.join('\n');
    const known = this.hints.get(text);
    if (known !== undefined) return known;
    const kept = names.slice();
    if (this.hints.size < MAX_HINTS) this.hints.set(text, kept);
    return kept;
  };
}

const keepBy =
  <E>(same: (a: E, b: E) => boolean) =>
  (before: E, after: E): E | null =>
    same(before, after) ? before : null;

const sameText = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

const sameMap = <V>(a: ReadonlyMap<string, V>, b: ReadonlyMap<string, V>, same: (x: V, y: V) => boolean): boolean =>
  a.size === b.size &&
  [...a].every(([key, value]) => {
    const other = b.get(key);
    return other !== undefined && same(value, other);
  });

const sameSecret = (a: SecretEntry, b: SecretEntry): boolean =>
  a.secret.type === b.secret.type && sameMap(a.secret.data, b.secret.data, (x, y) => Buffer.compare(x.reveal(), y.reveal()) === 0);

type PartKind = 'Listener' | 'Upstream' | 'Service' | 'Namespace' | 'Secret' | 'ConfigMap' | 'Node' | 'ReferenceGrant';

interface Ours {
  readonly listeners: ReadonlyMap<ObjectKey, Resource<Listener>>;
  readonly upstreams: ReadonlyMap<ObjectKey, Resource<Upstream>>;
  readonly foreignListeners: ReadonlySet<ObjectKey>;
  readonly rejected: readonly RejectedObject[];
}

/** What a set is made of: a part is made again when one of its kinds has changed. */
class Parts {
  private readonly view: View;
  private readonly installation: Installation;
  private readonly dirty = new Set<PartKind>();
  /** Of the Upstreams. */
  private readonly changed = new Set<ObjectKey>();
  private ours: Ours = { listeners: new Map(), upstreams: new Map(), foreignListeners: new Set(), rejected: [] };
  private services: ReadonlyMap<ObjectKey, Service> = new Map();
  private namespaces: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map();
  private secrets: ReadonlyMap<ObjectKey, SecretObject> = new Map();
  private configMaps: ReadonlyMap<ObjectKey, ConfigMap> = new Map();
  private grants: readonly Grant[] = [];
  private nodeAddresses: readonly string[] = [];

  constructor(view: View, installation: Installation) {
    this.view = view;
    this.installation = installation;
  }

  touch(kind: PartKind, key: ObjectKey): void {
    this.dirty.add(kind);
    if (kind === 'Upstream') this.changed.add(key);
  }

  set(): ResourceSet {
    this.refresh();
    const { listeners, upstreams, rejected, foreignListeners } = this.ours;
    const { services, namespaces, grants, secrets, configMaps } = this;
    const cluster: ClusterObjects = { services, namespaces, grants, rejected, foreignListeners, nodeAddresses: this.nodeAddresses };
    return { listeners, upstreams, secrets, configMaps, files: new Map(), cluster };
  }

  private refresh(): void {
    const { view, dirty } = this;
    if (dirty.has('Listener') || dirty.has('Upstream')) this.ours = this.refreshed() ?? oursOf(view);
    if (dirty.has('Service')) this.services = mapped(view.services.entries, (e) => e.service);
    if (dirty.has('Namespace')) this.namespaces = mapped(view.namespaces.entries, (e) => e.labels);
    if (dirty.has('Secret')) this.secrets = mapped(view.secrets.entries, (e) => e.secret);
    if (dirty.has('ConfigMap')) this.configMaps = mapped(view.configMaps.entries, (e) => e.configMap);
    if (dirty.has('ReferenceGrant')) this.grants = Array.from(view.grants.entries.values(), (e) => e.grant).filter(opensSomething);
    if (dirty.has('Node') && this.installation.publishNodeAddresses) this.nodeAddresses = nodeAddresses(view.nodes.entries);
    dirty.clear();
    this.changed.clear();
  }

  /** Where nothing but a few Upstreams is new, and none of them was refused, or is; null where there is more to it. */
  private refreshed(): Ours | null {
    const { view, ours, changed } = this;
    if (this.dirty.has('Listener') || changed.size > FEW) return null;
    if (ours.rejected.some(({ kind, meta }) => kind === 'Upstream' && changed.has(objectKey(meta.namespace, meta.name)))) return null;
    const valid = new Map<ObjectKey, Resource<Upstream> | undefined>();
    for (const key of changed) {
      const verdict = view.upstreams.entries.get(key)?.verdict;
      if (verdict !== undefined && verdict.is !== 'valid') return null;
      valid.set(key, verdict?.resource);
    }
    return { ...ours, upstreams: LayeredMap.of(ours.upstreams).with(valid) };
  }
}

/** Upstreams that are put into the place of others one by one. */
const FEW = 100;

const mapped = <E, V>(entries: ReadonlyMap<string, E>, value: (entry: E) => V): ReadonlyMap<string, V> => {
  const out = new Map<string, V>();
  for (const [key, entry] of entries) out.set(key, value(entry));
  return out;
};

const opensSomething = ({ from, to }: Grant): boolean => from.length > 0 && to.length > 0;

function oursOf({ listeners, upstreams }: View): Ours {
  const foreignListeners = new Set<ObjectKey>();
  const valid = { listeners: new Map<ObjectKey, Resource<Listener>>(), upstreams: new Map<ObjectKey, Resource<Upstream>>() };
  const rejected: RejectedObject[] = [];
  for (const [key, { verdict }] of listeners.entries) {
    if (verdict.is === 'valid') valid.listeners.set(key, verdict.resource);
    else if (verdict.is === 'foreign') foreignListeners.add(key);
    else rejected.push(verdict.object);
  }
  for (const [key, { verdict }] of upstreams.entries) {
    if (verdict.is === 'valid') valid.upstreams.set(key, verdict.resource);
    // One that names only Listeners of others is theirs to judge.
    else if (verdict.is === 'rejected' && !(verdict.listeners !== null && [...verdict.listeners].every((l) => foreignListeners.has(l))))
      rejected.push(verdict.object);
  }
  return { ...valid, foreignListeners, rejected };
}
