/** Files -> one state: find them, read them, tell documents from classic configuration, put the objects together. Never throws for what stands in a file. */
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  objectKey,
  type ConfigMap,
  type FileContent,
  type Listener,
  type ObjectMeta,
  type Problem,
  type Resource,
  type SecretObject,
  type SettingsDocument,
  type Upstream,
} from '../../contract/resources/index.ts';
import { checkClassicCertificates, interpretClassic, isClassic } from './classic.ts';
import { interpret, type Interpreted, type Loaded, type SourceFile } from './documents.ts';
import type { OtherObject, Target } from './manifests.ts';
import { decodeText, failureText, lookAt, MAX_CONFIG_BYTES, readBounded, readCredential, type Look } from './read.ts';
import type { SourceState } from './source.ts';
import { judgeAll, type NamedObject } from './suspects.ts';
import { parseChunk, placeOf, splitDocuments, type Chunk } from './yaml.ts';

const MAX_DIRECTORY_FILES = 10_000;
const CONFIG_FILE = /\.(?:ya?ml|json)$/i;
/** How long reading may hold the event loop before it lets others run. */
const SLICE_MS = 15;

/** A file changed so short a time ago may change again without looking different: clocks of file systems are coarse. */
const FRESH_MS = 2000;

interface Known {
  readonly signature: string;
  /** It had been quiet for long enough for its signature to be trusted. */
  readonly quiet: boolean;
}

interface KnownConfig extends Known {
  readonly digest: string;
  readonly documents: ReadonlyMap<string, { readonly line: number; readonly read: Interpreted }>;
  readonly pieces: readonly Interpreted[];
}

interface KnownCredential extends Known {
  readonly digest: string;
  readonly content: FileContent;
}

/** What was read before: files that look the same are not read again, and a change to one document does not parse the others again. */
export interface LoadCache {
  readonly configs: Map<string, KnownConfig>;
  readonly credentials: Map<string, KnownCredential>;
  /** Of Upstreams, by name. */
  order: readonly string[];
}

export const createLoadCache = (): LoadCache => ({ configs: new Map(), credentials: new Map(), order: [] });

export interface LoadOptions {
  /** Absolute: relative paths on the command line, and in classic files, start here. */
  readonly cwd: string;
  readonly cache?: LoadCache;
  /** Files that look the same are read, too. */
  readonly all?: boolean;
  /** Absent: files. */
  readonly target?: Target;
}

export interface LoadResult {
  readonly state: SourceState;
  /** Every path that the state depends on, absolute: files and directories, those that are missing too. With how it looked before it was read. */
  readonly inputs: ReadonlyMap<string, Input>;
  /** Of all that was read: equal digests are equal states. */
  readonly digest: string;
  /** Of a cluster, and none of ours. */
  readonly others: readonly OtherObject[];
  /** Something of it can be meant for a cluster alone. */
  readonly forCluster: boolean;
}

export interface Input {
  readonly signature: string;
  readonly kind: 'file' | 'directory' | 'missing';
  /** For a directory: whether only its configuration files matter. */
  readonly config: boolean;
}

export async function loadPaths(paths: readonly string[], options: LoadOptions): Promise<LoadResult> {
  const loader = new Loader(options);
  for (const path of paths) await loader.path(path);
  return loader.finish();
}

/** Whether an entry of a directory is configuration: not what editors and mounts put beside it. */
export const isConfigName = (name: string): boolean => CONFIG_FILE.test(name) && !name.startsWith('.') && !name.startsWith('#');

class Loader {
  private readonly options: LoadOptions;
  private readonly inputs = new Map<string, Input>();
  private readonly hash = createHash('sha256');
  private readonly pieces: Interpreted[] = [];
  private readonly problems: Problem[] = [];
  private readonly seen = new Set<string>();
  private since = performance.now();

  constructor(options: LoadOptions) {
    this.options = options;
  }

  async path(path: string): Promise<void> {
    const absolute = resolve(this.options.cwd, path);
    const look = await this.look(absolute, true);
    const { kind } = look;
    if (!kind.ok) this.unreadable(path, kind.error);
    else if (kind.value === 'file') await this.file(path, absolute, look);
    else await this.directory(path, absolute);
  }

  /** Before anything is read: what changes meanwhile looks different the next time. */
  private async look(path: string, config: boolean): Promise<Look> {
    const look = await lookAt(path);
    this.inputs.set(path, { signature: look.signature, kind: look.kind.ok ? look.kind.value : 'missing', config });
    return look;
  }

  private isAsBefore(known: Known, look: Look): boolean {
    return this.options.all !== true && known.quiet && known.signature === look.signature;
  }

  private unreadable(file: string, message: string): void {
    this.hash.update(JSON.stringify([file, message]));
    this.problems.push({ severity: 'error', file, line: 0, column: 0, object: '', path: '', message });
  }

  private async directory(path: string, absolute: string): Promise<void> {
    let names: string[];
    try {
      names = (await readdir(absolute)).filter(isConfigName).sort();
    } catch (e) {
      this.unreadable(path, failureText(e));
      return;
    }
    if (names.length > MAX_DIRECTORY_FILES) {
      this.unreadable(path, `has more than ${MAX_DIRECTORY_FILES} files`);
      return;
    }
    for (const name of names) {
      const file = join(absolute, name);
      const look = await this.look(file, true);
      const { kind } = look;
      if (!kind.ok) this.unreadable(join(path, name), kind.error);
      else if (kind.value === 'file') await this.file(join(path, name), file, look);
    }
  }

  private async file(name: string, absolute: string, look: Look): Promise<void> {
    if (this.seen.has(absolute)) return;
    this.seen.add(absolute);
    const known = this.options.cache?.configs.get(absolute);
    if (known !== undefined && this.isAsBefore(known, look)) {
      this.hash.update(known.digest);
      for (const piece of known.pieces) this.pieces.push(piece);
      return;
    }
    const bytes = await readBounded(absolute, MAX_CONFIG_BYTES);
    if (!bytes.ok) {
      this.unreadable(name, bytes.error);
      return;
    }
    const text = decodeText(bytes.value);
    const digest = JSON.stringify([absolute, createHash('sha256').update(bytes.value).digest('base64')]);
    this.hash.update(digest);
    if (text === null) this.unreadable(name, 'cannot be read: not UTF-8 text');
    // Nothing at all is what an editor leaves between truncating and writing: never a state to serve.
    else if (text.trim() === '') this.unreadable(name, 'is empty: it should hold at least one document');
    else {
      const read = await this.text({ name, directory: dirname(absolute) }, text, known);
      for (const piece of read.pieces) this.pieces.push(piece);
      this.options.cache?.configs.set(absolute, { signature: look.signature, quiet: isQuiet(look), digest, ...read });
    }
  }

  private async text(file: SourceFile, text: string, before: KnownConfig | undefined): Promise<Pick<KnownConfig, 'documents' | 'pieces'>> {
    const documents = new Map<string, { line: number; read: Interpreted }>();
    const pieces: Interpreted[] = [];
    for (const chunk of splitDocuments(text)) {
      if (performance.now() - this.since > SLICE_MS) await this.breathe();
      const known = documents.has(chunk.text) ? undefined : before?.documents.get(chunk.text);
      const reusable =
        known !== undefined && (known.line === chunk.line || known.read.problems.length + known.read.settingsProblems.length === 0);
      const read = reusable ? moved(known.read, chunk) : await this.interpret(file, chunk);
      documents.set(chunk.text, { line: chunk.line, read });
      pieces.push(read);
    }
    return { documents, pieces };
  }

  /** Certificates, keys and bundles: thousands of them are read again only where they look different. */
  private async credential(path: string): Promise<FileContent> {
    const look = await this.look(path, false);
    const known = this.options.cache?.credentials.get(path);
    if (known !== undefined && this.isAsBefore(known, look)) {
      this.hash.update(known.digest);
      return known.content;
    }
    const read = await readCredential(path);
    const text = read.ok ? createHash('sha256').update(read.bytes).digest('base64') : read.problem;
    const digest = JSON.stringify([path, read.ok, text]);
    this.hash.update(digest);
    const content = known?.digest === digest ? known.content : read;
    // A directory looks the same when a file in it is written anew.
    const quiet = look.kind.ok && look.kind.value === 'file' && isQuiet(look);
    this.options.cache?.credentials.set(path, { signature: look.signature, quiet, digest, content });
    return content;
  }

  private async breathe(): Promise<void> {
    await new Promise<void>((done) => {
      setImmediate(done);
    });
    this.since = performance.now();
  }

  private interpret(file: SourceFile, chunk: Chunk): Interpreted | Promise<Interpreted> {
    const documents = parseChunk(chunk);
    const first = documents[0];
    if (first === undefined || !isClassic(first)) return interpret(file, chunk, documents, this.options.target);
    if (this.options.target !== 'cluster') return interpretClassic(file, this.options.cwd, chunk, first);
    const problem = { severity: 'error', file: file.name, ...placeOf(chunk, first.offset), object: '', path: '' } as const;
    return { ...interpret(file, chunk, []), problems: [{ ...problem, message: 'is a classic configuration, which no cluster takes' }] };
  }

  async finish(): Promise<LoadResult> {
    const assembly = new Assembly(this.problems, this.options.target ?? 'files');
    for (const piece of this.pieces) assembly.add(piece);
    const files = new Map<string, FileContent>();
    const paths = new Set<string>();
    for (const piece of this.pieces) for (const path of piece.files) paths.add(path);
    for (const path of paths) files.set(path, await this.credential(path));
    this.problems.push(
      ...judgeAll(
        this.pieces.flatMap((p) => p.suspects),
        files,
        (object) => assembly.has(object),
      ),
    );
    for (const piece of this.pieces) if (piece.classic) this.problems.push(...checkClassicCertificates(piece.classic, files));
    const cache = this.options.cache;
    if (cache) {
      for (const file of cache.configs.keys()) if (!this.seen.has(file)) cache.configs.delete(file);
      for (const path of cache.credentials.keys()) if (!paths.has(path)) cache.credentials.delete(path);
    }
    const state = assembly.state(files, cache?.order ?? []);
    if (cache) cache.order = [...state.set.upstreams.keys()];
    return {
      state,
      inputs: this.inputs,
      digest: this.hash.digest('base64'),
      others: this.pieces.flatMap((p) => p.others),
      forCluster: this.pieces.some((p) => p.forCluster),
    };
  }
}

const isQuiet = ({ changed }: Look): boolean => Date.now() - changed > FRESH_MS;

function moved(read: Interpreted, chunk: Chunk): Interpreted {
  for (const origin of read.origins) origin.moved(chunk);
  return read;
}

class Assembly {
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

  /** `order`: of Upstreams, in the load before. */
  state(files: ReadonlyMap<string, FileContent>, order: readonly string[]): SourceState {
    return {
      set: {
        listeners: sorted(this.listeners, []),
        upstreams: sorted(this.upstreams, order),
        secrets: sorted(this.secrets, []),
        configMaps: sorted(this.configMaps, []),
        files,
        cluster: null,
      },
      problems: inOrder(this.problems),
      settings: this.settings?.document ?? null,
      settingsProblems: inOrder(this.settingsProblems),
    };
  }
}

const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Of thousands of objects the names are put together once. */
const keys = new WeakMap<ObjectMeta, string>();

function keyOf(meta: ObjectMeta): string {
  let key = keys.get(meta);
  if (key === undefined) keys.set(meta, (key = objectKey(meta.namespace, meta.name)));
  return key;
}

/** `before`: the order of the load before, which most likely is the order of this one. */
function sorted<V>(map: ReadonlyMap<string, V>, before: readonly string[]): ReadonlyMap<string, V> {
  if (before.length !== map.size || !before.every((key) => map.has(key))) return new Map([...map].sort(([a], [b]) => byText(a, b)));
  return new Map(before.map((key) => [key, map.get(key) as V]));
}

const inOrder = (problems: readonly Problem[]): Problem[] =>
  [...problems].sort((a, b) => byText(a.file, b.file) || a.line - b.line || a.column - b.column || byText(a.path, b.path));
