/** The objects of all documents, put together: each name once. */
import {
  objectKey,
  type ConfigMap,
  type Listener,
  type ObjectMeta,
  type Problem,
  type Resource,
  type SecretObject,
  type SettingsDocument,
  type Upstream,
} from '../../contract/resources/index.ts';
import { LayeredMap } from '../../lib/layered.ts';
import type { Interpreted, Loaded } from './documents.ts';
import type { Target } from './manifests.ts';
import type { SourceState } from './source.ts';
import type { NamedObject } from './suspects.ts';

export class Assembly {
  private readonly listeners = new Map<string, Resource<Listener>>();
  private readonly upstreams = new Map<string, Resource<Upstream>>();
  private readonly secrets = new Map<string, SecretObject>();
  private readonly configMaps = new Map<string, ConfigMap>();
  private settings: { document: SettingsDocument; place: string } | null = null;
  /** Where the name of a refused object was written first. */
  private readonly refused = new Map<string, ObjectMeta>();
  private readonly problems: Problem[];
  private readonly settingsProblems: Problem[] = [];
  private readonly target: Target;

  constructor(problems: Problem[], target: Target) {
    this.problems = problems;
    this.target = target;
  }

  add(piece: Interpreted): void {
    this.problems.push(...piece.problems);
    this.settingsProblems.push(...piece.settingsProblems);
    for (const { kind, meta } of piece.refused) this.refuse(kind, meta);
    for (const loaded of piece.loaded) this.place(loaded);
  }

  private place(loaded: Loaded): void {
    switch (loaded.kind) {
      case 'Listener':
        this.unique(loaded.kind, this.listeners, loaded.object);
        break;
      case 'Upstream':
        this.unique(loaded.kind, this.upstreams, loaded.object);
        break;
      case 'Secret':
        this.unique(loaded.kind, this.secrets, loaded.object);
        break;
      case 'ConfigMap':
        this.unique(loaded.kind, this.configMaps, loaded.object);
        break;
      case 'Settings':
        this.onlySettings(loaded.settings, loaded.origin.file, loaded.origin.locate(''));
    }
  }

  private unique<O extends { readonly meta: ObjectMeta }>(kind: string, into: Map<string, O>, object: O): void {
    const key = keyOf(object.meta);
    const first = into.get(key)?.meta ?? this.refused.get(`${kind} ${key}`);
    if (first !== undefined) this.again(`${kind} ${key}`, first, object.meta);
    // Of two that are applied to a cluster the later one stays.
    if (first === undefined || this.target === 'cluster') into.set(key, object);
  }

  private refuse(kind: string, meta: ObjectMeta): void {
    const name = `${kind} ${keyOf(meta)}`;
    const first = this.refused.get(name) ?? this.placed(kind)?.get(keyOf(meta))?.meta;
    if (first === undefined) this.refused.set(name, meta);
    else this.again(name, first, meta);
  }

  /** Whether such an object was written, if only to be refused. */
  has({ kind, namespace, name }: NamedObject): boolean {
    const key = objectKey(namespace, name);
    return this.placed(kind)?.has(key) === true || this.refused.has(`${kind} ${key}`);
  }

  private placed(kind: string): ReadonlyMap<string, { readonly meta: ObjectMeta }> | null {
    switch (kind) {
      case 'Listener':
        return this.listeners;
      case 'Upstream':
        return this.upstreams;
      case 'Secret':
        return this.secrets;
      case 'ConfigMap':
        return this.configMaps;
      default:
        return null;
    }
  }

  private again(object: string, first: ObjectMeta, meta: ObjectMeta): void {
    const there = first.origin?.locate('metadata.name');
    const here = meta.origin?.locate('metadata.name') ?? { line: 0, column: 0 };
    const where = `first in ${first.origin?.file ?? '?'}:${there?.line ?? 0}`;
    const told =
      this.target === 'files'
        ? ({ severity: 'error', message: `is written twice: ${where}` } as const)
        : ({ severity: 'warning', message: `is written twice: ${where}; this one is judged, as the one that is applied last` } as const);
    const path = meta.origin?.spell?.('metadata.name') ?? 'metadata.name';
    this.problems.push({ ...told, file: meta.origin?.file ?? '', ...here, object, path });
  }

  private onlySettings(document: SettingsDocument, file: string, at: { line: number; column: number }): void {
    if (this.settings === null) this.settings = { document, place: `${file}:${at.line}` };
    else {
      const message = `there is one document of settings already: ${this.settings.place}`;
      this.settingsProblems.push({ severity: 'error', file, ...at, object: 'Settings', path: '', message });
    }
  }

  state(): SourceState {
    return {
      set: {
        listeners: sorted(this.listeners),
        upstreams: sorted(this.upstreams),
        secrets: sorted(this.secrets),
        configMaps: sorted(this.configMaps),
        files: new Map(),
        cluster: null,
      },
      problems: this.problems,
      settings: this.settings?.document ?? null,
      settingsProblems: inOrder(this.settingsProblems),
    };
  }
}

/** What pieces came to. */
export interface Assembled {
  readonly pieces: readonly Interpreted[];
  readonly state: SourceState;
}

/** More than these are put together anew. */
const FEW = 100;

/**
 * The state of other pieces, where all that has changed are a few objects that were there before under the same names, and where nobody has anything to say of
 * the others; null where there is more to it.
 */
export function replaced(before: Assembled | null, pieces: readonly Interpreted[]): SourceState | null {
  if (before === null || before.pieces.length !== pieces.length) return null;
  if (before.state.problems.length + before.state.settingsProblems.length > 0) return null;
  const changed: Change[] = [];
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i] as Interpreted;
    const old = before.pieces[i] as Interpreted;
    if (piece === old) continue;
    const change = changed.length < FEW ? changeOf(old, piece) : null;
    if (change === null) return null;
    changed.push(change);
  }
  const { set, settings } = before.state;
  const { listeners, upstreams, secrets, configMaps } = set;
  const objects = new Map<string, Map<string, unknown>>();
  for (const { kind, key, object } of changed) {
    let some = objects.get(kind);
    if (some === undefined) objects.set(kind, (some = new Map<string, unknown>()));
    some.set(key, object);
  }
  const of = <V>(kind: Change['kind'], map: ReadonlyMap<string, V>): ReadonlyMap<string, V> => {
    const some = objects.get(kind) as ReadonlyMap<string, V> | undefined;
    return some === undefined ? map : LayeredMap.of(map).with(some);
  };
  return {
    set: {
      listeners: of('Listener', listeners),
      upstreams: of('Upstream', upstreams),
      secrets: of('Secret', secrets),
      configMaps: of('ConfigMap', configMaps),
      files: set.files,
      cluster: null,
    },
    problems: [],
    settings,
    settingsProblems: [],
  };
}

interface Change {
  readonly kind: 'Listener' | 'Upstream' | 'Secret' | 'ConfigMap';
  readonly key: string;
  readonly object: { readonly meta: ObjectMeta };
}

function changeOf(old: Interpreted, piece: Interpreted): Change | null {
  const [a, b] = [lone(old), lone(piece)];
  return a !== null && b !== null && a.kind === b.kind && a.key === b.key ? b : null;
}

/** A document that is one object, and nothing else that anybody would have to look at. */
function lone({ loaded, problems, settingsProblems, refused, suspects, others, classic }: Interpreted): Change | null {
  const [one] = loaded;
  if (one === undefined || loaded.length > 1 || one.kind === 'Settings' || classic !== null) return null;
  if (problems.length + settingsProblems.length + refused.length + suspects.length + others.length > 0) return null;
  return { kind: one.kind, key: keyOf(one.object.meta), object: one.object };
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Of thousands of objects the names are put together once. */
const keys = new WeakMap<ObjectMeta, string>();

function keyOf(meta: ObjectMeta): string {
  let key = keys.get(meta);
  if (key === undefined) keys.set(meta, (key = objectKey(meta.namespace, meta.name)));
  return key;
}

const sorted = <V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> => new Map([...map].sort(([a], [b]) => byText(a, b)));

export const inOrder = (problems: readonly Problem[]): Problem[] =>
  [...problems].sort((a, b) => byText(a.file, b.file) || a.line - b.line || a.column - b.column || byText(a.path, b.path));
