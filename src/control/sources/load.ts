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
import type { Result } from '../../lib/result.ts';
import { decodeText, failureText, kindOf, MAX_CONFIG_BYTES, readBounded, readCredential, signatureOf } from './read.ts';
import type { SourceState } from './source.ts';
import { judgeAll, type NamedObject } from './suspects.ts';
import { parseChunk, placeOf, splitDocuments, type Chunk } from './yaml.ts';

const MAX_DIRECTORY_FILES = 10_000;
const CONFIG_FILE = /\.(?:ya?ml|json)$/i;
/** How long reading may hold the event loop before it lets others run. */
const SLICE_MS = 15;

/** What was read before, by text: a change to one document does not parse the others again. */
export type LoadCache = Map<string, Map<string, { readonly line: number; readonly read: Interpreted }>>;

export interface LoadOptions {
  /** Absolute: relative paths on the command line, and in classic files, start here. */
  readonly cwd: string;
  readonly cache?: LoadCache;
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
    const kind = await this.look(absolute, true);
    if (!kind.ok) this.unreadable(path, kind.error);
    else if (kind.value === 'file') await this.file(path, absolute);
    else await this.directory(path, absolute);
  }

  /** Before anything is read: what changes meanwhile looks different the next time. */
  private async look(path: string, config: boolean): Promise<Result<'file' | 'directory', string>> {
    const signature = await signatureOf(path);
    const kind = await kindOf(path);
    this.inputs.set(path, { signature, kind: kind.ok ? kind.value : 'missing', config });
    return kind;
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
      const kind = await this.look(file, true);
      if (!kind.ok) this.unreadable(join(path, name), kind.error);
      else if (kind.value === 'file') await this.file(join(path, name), file);
    }
  }

  private async file(name: string, absolute: string): Promise<void> {
    if (this.seen.has(absolute)) return;
    this.seen.add(absolute);
    const bytes = await readBounded(absolute, MAX_CONFIG_BYTES);
    if (!bytes.ok) {
      this.unreadable(name, bytes.error);
      return;
    }
    const text = decodeText(bytes.value);
    this.hash.update(JSON.stringify([absolute, bytes.value.length])).update(bytes.value);
    if (text === null) this.unreadable(name, 'cannot be read: not UTF-8 text');
    // Nothing at all is what an editor leaves between truncating and writing: never a state to serve.
    else if (text.trim() === '') this.unreadable(name, 'is empty: it should hold at least one document');
    else await this.text({ name, directory: dirname(absolute) }, absolute, text);
  }

  private async text(file: SourceFile, absolute: string, text: string): Promise<void> {
    const before = this.options.cache?.get(absolute);
    const kept = new Map<string, { line: number; read: Interpreted }>();
    for (const chunk of splitDocuments(text)) {
      if (performance.now() - this.since > SLICE_MS) await this.breathe();
      const known = kept.has(chunk.text) ? undefined : before?.get(chunk.text);
      const reusable =
        known !== undefined && (known.line === chunk.line || known.read.problems.length + known.read.settingsProblems.length === 0);
      const read = reusable ? moved(known.read, chunk) : await this.interpret(file, chunk);
      kept.set(chunk.text, { line: chunk.line, read });
      this.pieces.push(read);
    }
    this.options.cache?.set(absolute, kept);
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
    for (const path of new Set(this.pieces.flatMap((p) => p.files)).values()) {
      await this.look(path, false);
      const content = await readCredential(path);
      files.set(path, content);
      this.hash.update(JSON.stringify([path, content.ok || content.problem])).update(content.ok ? content.bytes : '');
    }
    this.problems.push(
      ...judgeAll(
        this.pieces.flatMap((p) => p.suspects),
        files,
        (object) => assembly.has(object),
      ),
    );
    for (const piece of this.pieces) if (piece.classic) this.problems.push(...checkClassicCertificates(piece.classic, files));
    const cache = this.options.cache;
    if (cache) for (const file of cache.keys()) if (!this.seen.has(file)) cache.delete(file);
    return {
      state: assembly.state(files),
      inputs: this.inputs,
      digest: this.hash.digest('base64'),
      others: this.pieces.flatMap((p) => p.others),
      forCluster: this.pieces.some((p) => p.forCluster),
    };
  }
}

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
  /** Where each name was written first, of objects that were refused, too. */
  private readonly names = new Map<string, ObjectMeta>();
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
    for (const { kind, meta } of piece.refused) this.isFirst(kind, meta);
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
    // Of two that are applied to a cluster the later one stays.
    if (this.isFirst(kind, object.meta) || this.target === 'cluster') into.set(objectKey(object.meta.namespace, object.meta.name), object);
  }

  /** Whether such an object was written, if only to be refused. */
  has({ kind, namespace, name }: NamedObject): boolean {
    return this.names.has(`${kind} ${objectKey(namespace, name)}`);
  }

  private isFirst(kind: string, meta: ObjectMeta): boolean {
    const key = `${kind} ${objectKey(meta.namespace, meta.name)}`;
    const first = this.names.get(key);
    if (first === undefined) {
      this.names.set(key, meta);
      return true;
    }
    const there = first.origin?.locate('metadata.name');
    const here = meta.origin?.locate('metadata.name') ?? { line: 0, column: 0 };
    const where = `first in ${first.origin?.file ?? '?'}:${there?.line ?? 0}`;
    const told =
      this.target === 'files'
        ? ({ severity: 'error', message: `is written twice: ${where}` } as const)
        : ({ severity: 'warning', message: `is written twice: ${where}; this one is judged, as the one that is applied last` } as const);
    const path = meta.origin?.spell?.('metadata.name') ?? 'metadata.name';
    this.problems.push({ ...told, file: meta.origin?.file ?? '', ...here, object: key, path });
    return false;
  }

  private onlySettings(document: SettingsDocument, file: string, at: { line: number; column: number }): void {
    if (this.settings === null) this.settings = { document, place: `${file}:${at.line}` };
    else {
      const message = `there is one document of settings already: ${this.settings.place}`;
      this.settingsProblems.push({ severity: 'error', file, ...at, object: 'Settings', path: '', message });
    }
  }

  state(files: ReadonlyMap<string, FileContent>): SourceState {
    return {
      set: {
        listeners: sorted(this.listeners),
        upstreams: sorted(this.upstreams),
        secrets: sorted(this.secrets),
        configMaps: sorted(this.configMaps),
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

const sorted = <V>(map: ReadonlyMap<string, V>): ReadonlyMap<string, V> => new Map([...map].sort(([a], [b]) => byText(a, b)));

const inOrder = (problems: readonly Problem[]): Problem[] =>
  [...problems].sort((a, b) => byText(a.file, b.file) || a.line - b.line || a.column - b.column || byText(a.path, b.path));
