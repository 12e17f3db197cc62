/** A cluster in memory, as far as statuses go: versions, apply by manager, a watch that may lag, answers that may fail. */
import type { Compiled, Condition, GroupSource, ObjectStatus } from '../../../src/control/compile/index.ts';
import type { EventNote, ObjectRef, SeenObject, StatusClient, WriteAnswer } from '../../../src/control/status/client.ts';
import { CONDITION_REASONS } from '../../../src/control/compile/index.ts';
import type { GroupId, GroupPart, PartHash } from '../../../src/contract/snapshot/index.ts';
import { createLog, type Log } from '../../../src/lib/log.ts';
import { ManualClock } from '../../../src/lib/clock.ts';

export const CONTROLLER = 'spooky.dev/spooky';

type Kind = ObjectRef['kind'];
interface Stored {
  uid: string;
  version: number;
  generation: number;
  status: Record<string, unknown>;
}

export interface Write {
  readonly key: string;
  /** When it was sent, and answered. */
  readonly at: number;
  endedAt: number;
  readonly document: unknown;
  outcome: WriteAnswer['outcome'];
}

const keyOf = (o: { readonly kind: Kind; readonly namespace: string; readonly name: string }): string =>
  `${o.kind} ${o.namespace}/${o.name}`;

type Item = Record<string, unknown>;
const items = (status: Record<string, unknown>, list: string): Item[] => (status[list] ?? []) as Item[];

export class FakeCluster implements StatusClient {
  readonly clock: ManualClock;
  readonly writes: Write[] = [];
  readonly events: (EventNote & { name: string; at: number; count: number })[] = [];
  readonly objects = new Map<string, Stored>();
  /** What the watch shows; the same as `objects` unless it lags. */
  private shown = new Map<string, SeenObject>();
  lagging = false;
  /** Milliseconds until an answer. */
  latency: () => number = () => 5;
  /** What the server makes of the next write; null: what is right. */
  verdict: () => { outcome: 'failed' | 'conflict'; retryAfterMs?: number; lands?: boolean } | null = () => null;
  eventFails = false;
  heldRefs: ObjectRef[] | null = null;
  private version = 100;

  constructor(clock = new ManualClock()) {
    this.clock = clock;
  }

  // What tests do.

  put(kind: Kind, name: string, change: Partial<Stored> = {}): ObjectRef {
    const [namespace = '', short = ''] = name.split('/');
    const ref = { kind, namespace, name: short, uid: change.uid ?? `uid-${name}` };
    const known = this.objects.get(keyOf(ref));
    this.objects.set(keyOf(ref), { generation: 1, status: {}, ...known, ...change, uid: ref.uid, version: ++this.version });
    this.show(keyOf(ref));
    return ref;
  }

  remove(kind: Kind, name: string): void {
    this.objects.delete(`${kind} ${name}`);
    if (!this.lagging) this.shown.delete(`${kind} ${name}`);
  }

  /** The watch has caught up. */
  catchUp(): void {
    this.lagging = false;
    this.shown = new Map();
    for (const key of this.objects.keys()) this.show(key);
  }

  status(kind: Kind, name: string): Record<string, unknown> {
    return this.objects.get(`${kind} ${name}`)?.status ?? {};
  }

  condition(kind: Kind, name: string, type: string): Item | undefined {
    const status = this.status(kind, name);
    const own = kind === 'Listener' ? status : items(status, 'installations').find((e) => e['controllerName'] === CONTROLLER);
    return own === undefined ? undefined : items(own, 'conditions').find((c) => c['type'] === type);
  }

  /** Lets `ms` pass with everything that is asynchronous. */
  async advance(ms: number, step = 10): Promise<void> {
    for (let left = ms; left > 0; left -= step) {
      this.clock.advance(Math.min(step, left));
      await settle();
    }
  }

  // What the writer does.

  seen(ref: Pick<ObjectRef, 'kind' | 'namespace' | 'name'>): SeenObject | null {
    return this.shown.get(keyOf(ref)) ?? null;
  }

  held(): Iterable<ObjectRef> {
    return this.heldRefs ?? [];
  }

  applyStatus(ref: ObjectRef, resourceVersion: string, status: unknown): Promise<WriteAnswer> {
    const write: Write = { key: keyOf(ref), at: this.clock.now(), endedAt: Infinity, document: structuredClone(status), outcome: 'failed' };
    this.writes.push(write);
    const verdict = this.verdict();
    if (verdict === null || verdict.lands === true) write.outcome = this.apply(ref, resourceVersion, write.document as Item);
    if (verdict !== null) write.outcome = verdict.outcome;
    return new Promise((resolve) =>
      this.clock.after(this.latency(), () => {
        write.endedAt = this.clock.now();
        const message = write.outcome === 'written' ? '' : 'no';
        resolve({ outcome: write.outcome, message, retryAfterMs: verdict?.retryAfterMs ?? null });
      }),
    );
  }

  createEvent(event: EventNote, at: number): Promise<{ ok: boolean; name: string; message: string }> {
    if (this.eventFails) return Promise.resolve({ ok: false, name: '', message: 'no' });
    const name = `e${this.events.length}`;
    this.events.push({ ...event, name, at, count: 1 });
    return Promise.resolve({ ok: true, name, message: '' });
  }

  repeatEvent(_namespace: string, name: string, count: number, at: number): Promise<{ ok: boolean; message: string }> {
    const event = this.events.find((e) => e.name === name);
    if (event === undefined || this.eventFails) return Promise.resolve({ ok: false, message: 'not_found' });
    event.count = count;
    event.at = at;
    return Promise.resolve({ ok: true, message: '' });
  }

  private show(key: string): void {
    const o = this.objects.get(key);
    if (this.lagging || o === undefined) return;
    this.shown.set(key, {
      uid: o.uid,
      resourceVersion: String(o.version),
      generation: o.generation,
      status: structuredClone(o.status),
    });
  }

  /** Server-side apply, forced: our items replace ours, those of others stay. */
  private apply(ref: ObjectRef, resourceVersion: string, document: Item): WriteAnswer['outcome'] {
    const o = this.objects.get(keyOf(ref));
    if (o === undefined) return 'gone';
    if (String(o.version) !== resourceVersion) return 'conflict';
    const list = ref.kind === 'Listener' ? 'conditions' : 'installations';
    const isOurs = (item: Item): boolean =>
      ref.kind === 'Listener' ? Object.hasOwn(CONDITION_REASONS, String(item['type'])) : item['controllerName'] === CONTROLLER;
    const next = { ...document, [list]: [...items(o.status, list).filter((i) => !isOurs(i)), ...items(document, list)] };
    if (JSON.stringify(next) === JSON.stringify(o.status)) return 'written';
    o.status = next;
    o.version = ++this.version;
    this.show(keyOf(ref));
    return 'written';
  }
}

export const settle = async (): Promise<void> => {
  for (let i = 0; i < 12; i++) await Promise.resolve();
};

export function logOf(): { log: Log; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const write = (line: string): void => {
    lines.push(JSON.parse(line) as Record<string, unknown>);
  };
  return { log: createLog({ level: 'trace', format: 'json', write, wall: () => 0 }), lines };
}

// Verdicts as compile gives them.

const good = (type: Condition['type']): Condition =>
  ({ type, status: type === 'Conflicted' ? 'False' : 'True', reason: CONDITION_REASONS[type][0], message: '' }) as Condition;

export const LISTENER_TYPES = ['Accepted', 'ResolvedRefs', 'Programmed', 'Published'] as const;
export const UPSTREAM_TYPES = ['Accepted', 'ResolvedRefs', 'Programmed', 'Conflicted'] as const;

export function conditions(types: readonly Condition['type'][], bad: readonly Condition[] = []): Condition[] {
  return types.map((type) => bad.find((c) => c.type === type) ?? good(type));
}

export function listenerStatus(name = 'sys/public', change: Partial<ObjectStatus> & { bad?: readonly Condition[] } = {}): ObjectStatus {
  const [namespace = '', short = ''] = name.split('/');
  const { bad = [], ...rest } = change;
  return {
    kind: 'Listener',
    namespace,
    name: short,
    uid: `uid-${name}`,
    generation: 1,
    conditions: conditions(LISTENER_TYPES, bad),
    attachedUpstreams: 0,
    addresses: [{ type: 'IPAddress', value: '203.0.113.7', port: 443 }],
    ...rest,
  };
}

export function upstreamStatus(name = 'web/api', change: Partial<ObjectStatus> & { bad?: readonly Condition[] } = {}): ObjectStatus {
  const [namespace = '', short = ''] = name.split('/');
  const { bad = [], ...rest } = change;
  return {
    kind: 'Upstream',
    namespace,
    name: short,
    uid: `uid-${name}`,
    generation: 1,
    conditions: conditions(UPSTREAM_TYPES, bad),
    attached: { taken: 1, asked: 1 },
    listeners: [{ namespace: 'sys', name: 'public', conditions: conditions(UPSTREAM_TYPES, bad) }],
    groups: [],
    ...rest,
  };
}

export const BAD = {
  refs: { type: 'ResolvedRefs', status: 'False', reason: 'InvalidBackend', message: 'there is no Service web/x' },
  invalid: { type: 'Accepted', status: 'False', reason: 'Invalid', message: 'spec.port: must be less' },
  pending: { type: 'Programmed', status: 'False', reason: 'Pending', message: 'it is not accepted' },
  unpublished: { type: 'Published', status: 'False', reason: 'PortNotPublished', message: 'port 8443' },
  conflict: { type: 'Conflicted', status: 'True', reason: 'Conflict', message: 'an older Upstream serves a' },
} as const satisfies Record<string, Condition>;

/** `groups`: by id, a Service `namespace/name` or a number of addresses. */
export function compiledOf(statuses: readonly ObjectStatus[], groups: Readonly<Record<string, string | number>> = {}): Compiled {
  const sources = Object.entries(groups).map(([id, of]): [GroupId, GroupSource] => {
    const [namespace = '', name = ''] = String(of).split('/');
    const group = { kind: 'group', id } as unknown as GroupPart;
    const address = { host: '192.0.2.1', port: 80, weight: 1, label: 'a' };
    const addresses = typeof of === 'number' ? Array.from({ length: of }, () => address) : [];
    const service = typeof of === 'number' ? null : { namespace, name, portName: 'http' };
    return [id as GroupId, { group, part: id as unknown as PartHash, upstream: { namespace: '', name: '' }, addresses, service }];
  });
  return {
    listeners: [],
    parts: new Map(),
    encoded: new Map(),
    groups: new Map(sources),
    statuses,
    problems: [],
    bearable: new Set(),
    settled: new Set(),
  };
}
