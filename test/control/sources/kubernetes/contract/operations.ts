/** Random operations on a few objects, the same ones for every server, and what a server makes of them. */
import { JSON_PATCH, MERGE, type Scene } from './scene.ts';
import type { Answer, Json, WatchEvent } from './wire.ts';

export interface Operation {
  readonly what: (typeof WHATS)[number];
  readonly plural: 'configmaps' | 'widgets';
  readonly name: string;
  /** 0 to 2: what is written. */
  readonly value: number;
  readonly manager: string;
  readonly force: boolean;
}

/** Some more often than others. */
const WHATS = [
  'create',
  'create',
  'create',
  'read',
  'put what was read',
  'put what was read',
  'put what was read, without version',
  'merge',
  'merge',
  'merge',
  'merge with the version that was read',
  'label',
  'label',
  'unlabel',
  'status',
  'status',
  'status of what was read',
  'apply',
  'apply',
  'apply',
  'apply status',
  'apply status',
  'apply nothing',
  'apply no status',
  'hold',
  'let go',
  'guarded by uid',
  'delete',
  'delete',
  'delete what was read',
] as const;

export function operations(count: number, random: () => number): Operation[] {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  return Array.from({ length: count }, () => ({
    what: pick(WHATS),
    plural: pick(['configmaps', 'widgets', 'widgets'] as const),
    name: pick(['a', 'b', 'c']),
    value: Math.floor(random() * 3),
    manager: pick(['m1', 'm2']),
    force: random() < 0.4,
  }));
}

const HOLD = 'contract.spooky.dev/hold';

/** What a value looks like: of parts that merge in different ways. */
const content = (plural: string, value: number): Json =>
  plural === 'configmaps'
    ? { data: [{ x: '1' }, { x: '2', y: '1' }, { z: '3' }][value] }
    : {
        spec: [
          { size: 1, tags: ['a', 'b'], parts: [{ name: 'p', weight: 2 }] },
          { size: 2, labels: { k: 'v' }, parts: [{ name: 'q' }, { name: 'p', owner: 'o' }] },
          { word: 'abc', color: 'blue', plain: ['x'], tags: ['b', 'c'], ref: { kind: 'A', name: 'n' } },
        ][value],
      };

const conditions = (value: number, manager: string): Json => ({
  conditions: [
    { type: ['Accepted', 'Programmed', 'Published'][value], status: 'True', reason: manager },
    { type: manager, status: 'False', reason: String(value) },
  ],
  installations: [{ name: manager, ready: value }],
});

/** One server's side of a run. */
export class Run {
  readonly #s: Scene;
  /** What was read last, by kind and name: also long after it has changed. */
  #read = new Map<string, Json>();

  constructor(scene: Scene) {
    this.#s = scene;
  }

  async do(op: Operation): Promise<string> {
    return this.#s.brief(await this.#answer(op));
  }

  #answer(op: Operation): Promise<Answer> {
    const { plural, name, value, manager, force } = op;
    const s = this.#s;
    const read =
      this.#read.get(`${plural}/${name}`) ?? s.object(plural, name, { ...content(plural, 0), metadata: { resourceVersion: '1' } });
    const merge = (change: Json, sub = ''): Promise<Answer> => s.patch(plural, name, MERGE, change, sub, `?fieldManager=${manager}`);
    const { resourceVersion, uid } = read.metadata as { resourceVersion: string; uid?: string };
    switch (op.what) {
      case 'create':
        return s.post(plural, name, { ...content(plural, value), metadata: { labels: { tier: value === 0 ? 'front' : 'back' } } });
      case 'read':
        return s.get(plural, name).then((answer) => {
          if (answer.status === 200) this.#read.set(`${plural}/${name}`, answer.body);
          return answer;
        });
      case 'put what was read':
        return s.put(plural, { ...read, ...content(plural, value) });
      case 'put what was read, without version': {
        const { resourceVersion: _v, uid: _u, ...metadata } = read.metadata as Json;
        return s.put(plural, { ...read, ...content(plural, value), metadata });
      }
      case 'merge':
        return merge(content(plural, value));
      case 'merge with the version that was read':
        return merge({ ...content(plural, value), metadata: { resourceVersion } });
      case 'label':
        return merge({ metadata: { labels: { tier: value === 0 ? 'front' : 'back' } } });
      case 'unlabel':
        return merge({ metadata: { labels: null } });
      case 'status':
        return merge({ status: conditions(value, manager) }, 'status');
      case 'status of what was read':
        return s.put(plural, { ...read, status: conditions(value, manager) }, 'status');
      case 'apply':
        return s.apply(plural, name, { ...content(plural, value), metadata: { labels: { [manager]: 'yes' } } }, { manager, force });
      case 'apply nothing':
        return s.apply(plural, name, plural === 'widgets' ? { spec: { size: 1 } } : {}, { manager, force });
      case 'apply status':
        return s.apply(plural, name, { status: conditions(value, manager) }, { manager, force, sub: 'status' });
      case 'apply no status':
        return s.apply(plural, name, {}, { manager, force, sub: 'status' });
      case 'hold':
        return merge({ metadata: { finalizers: [HOLD] } });
      case 'let go':
        return merge({ metadata: { finalizers: null } });
      case 'guarded by uid':
        return s.patch(plural, name, JSON_PATCH, [
          { op: 'test', path: '/metadata/uid', value: uid ?? 'none' },
          { op: 'add', path: '/metadata/annotations', value: { guarded: String(value) } },
        ]);
      case 'delete':
        return s.delete(plural, name);
      case 'delete what was read':
        return s.delete(plural, name, { preconditions: { resourceVersion } });
    }
  }
}

/** An object without what no two servers have in common: times, uids (numbered as they come), versions. */
export class Faces {
  #uids = new Map<string, number>();

  of(object: Json): Json {
    const {
      uid,
      resourceVersion: _v,
      creationTimestamp: _c,
      deletionTimestamp,
      managedFields,
      namespace: _n,
      ...metadata
    } = object.metadata as Json;
    if (!this.#uids.has(uid as string)) this.#uids.set(uid as string, this.#uids.size);
    const owners = ((managedFields ?? []) as Json[]).map(
      (e) => `${String(e.manager)} ${String(e.operation)} ${String(e.subresource ?? '')}`,
    );
    const going = deletionTimestamp === undefined ? {} : { going: true };
    const { metadata: _m, apiVersion: _a, kind: _k, ...rest } = object;
    return { ...rest, metadata: { ...metadata, ...going, uid: this.#uids.get(uid as string), owners: owners.toSorted() } };
  }
}

/** Of every object what was told of it, in its order. */
export function stories(events: readonly WatchEvent[], faces: Faces): Record<string, Json[]> {
  const out: Record<string, Json[]> = {};
  for (const { type, object } of events) {
    if (type !== 'BOOKMARK') (out[object.metadata.name as string] ??= []).push([type, faces.of(object)]);
  }
  return out;
}
