/** Files -> one state: find them, read them, tell documents from classic configuration, put the objects together. Never throws for what stands in a file. */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { FileContent, Origin, Problem } from '../../contract/resources/index.ts';
import { Assembly, inOrder, replaced, type Assembled } from './assembly.ts';
import { checkClassicCertificates, interpretClassic, isClassic } from './classic.ts';
import { interpret, type Interpreted, type SourceFile } from './documents.ts';
import type { OtherObject, Target } from './manifests.ts';
import { decodeText, failureText, LARGE, lookAt, MAX_CONFIG_BYTES, readBounded, readCredential, type Look } from './read.ts';
import type { SourceState } from './source.ts';
import { judgeAll } from './suspects.ts';
import { unchanged, type Stretch } from './unchanged.ts';
import { parseChunk, placeOf, splitDocuments, type Chunk } from './yaml.ts';

const MAX_DIRECTORY_FILES = 10_000;
/** Files of a directory that are looked at together. */
const LOOKS = 32;
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

interface KnownConfig extends Known, KnownText {
  readonly digest: string;
}

interface KnownText {
  readonly bytes: Buffer;
  readonly documents: readonly KnownDocument[];
}

interface KnownDocument extends Stretch {
  readonly text: string;
  readonly read: Interpreted;
}

interface KnownCredential extends Known {
  readonly digest: string;
  readonly content: FileContent;
}

/** What was read before: files that look the same are not read again, and a change to one document does not parse the others again. */
export interface LoadCache {
  readonly configs: Map<string, KnownConfig>;
  readonly credentials: Map<string, KnownCredential>;
  assembled: Assembled | null;
  /** To read the next large file into: one for each would make the collector come all the time. */
  spare: Buffer;
}

export const createLoadCache = (): LoadCache => ({ configs: new Map(), credentials: new Map(), assembled: null, spare: Buffer.alloc(0) });

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
  /** Of the first document of settings. */
  readonly settingsOrigin: Origin | null;
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
    return this.noted(path, await lookAt(path), config);
  }

  private noted(path: string, look: Look, config: boolean): Look {
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
    for (let at = 0; at < names.length; at += LOOKS) {
      const some = names.slice(at, at + LOOKS);
      const looks = await Promise.all(some.map((name) => lookAt(join(absolute, name))));
      for (const [i, name] of some.entries()) {
        const file = join(absolute, name);
        const look = this.noted(file, looks[i] as Look, true);
        const { kind } = look;
        if (!kind.ok) this.unreadable(join(path, name), kind.error);
        else if (kind.value === 'file') await this.file(join(path, name), file, look);
      }
    }
  }

  private async file(name: string, absolute: string, look: Look): Promise<void> {
    if (this.seen.has(absolute)) return;
    this.seen.add(absolute);
    const read = this.options.cache?.configs.get(absolute);
    const known = read !== undefined && stillStands(read) ? read : undefined;
    if (known !== undefined && this.isAsBefore(known, look)) {
      this.hash.update(known.digest);
      this.take(known);
      return;
    }
    const { cache } = this.options;
    const bytes = await readBounded(absolute, MAX_CONFIG_BYTES, cache?.spare);
    if (!bytes.ok) {
      this.unreadable(name, bytes.error);
      return;
    }
    const digest = JSON.stringify([absolute, createHash('sha256').update(bytes.value).digest('base64')]);
    this.hash.update(digest);
    // What changed a moment ago is read with each change of others: new buffers would live until V8 has marked the whole heap.
    if (known?.digest === digest) return this.again(absolute, known, look, bytes.value);
    const documents = await this.documents({ name, directory: dirname(absolute) }, bytes.value, known ?? null);
    if (documents === null) return;
    for (const { read } of documents) this.pieces.push(read);
    if (cache === undefined) return;
    cache.configs.set(absolute, { signature: look.signature, quiet: isQuiet(look), digest, bytes: bytes.value, documents });
    cache.spare = spareOf(read?.bytes, cache.spare, bytes.value);
  }

  private take({ documents }: KnownConfig): void {
    documents.forEach(({ read }) => this.pieces.push(read));
  }

  /** Read, and nothing else than before. */
  private again(absolute: string, known: KnownConfig, look: Look, bytes: Buffer): void {
    this.take(known);
    const { cache } = this.options;
    if (cache === undefined) return;
    cache.configs.set(absolute, { ...known, signature: look.signature, quiet: isQuiet(look) });
    cache.spare = spareOf(bytes, cache.spare, known.bytes);
  }

  /** null: it has been told what is wrong. Of a file that was read before, only what stands between the same beginning and the same end is looked at. */
  private async documents(file: SourceFile, bytes: Buffer, before: KnownText | null): Promise<readonly KnownDocument[] | null> {
    const old = before?.documents ?? [];
    const same = unchanged(before?.bytes ?? null, old, bytes);
    const text = decodeText(bytes.subarray(same.from, same.to));
    if (text === null) this.unreadable(file.name, 'cannot be read: not UTF-8 text');
    // Nothing at all is what an editor leaves between truncating and writing: never a state to serve.
    else if (text.trim() === '' && same.first + same.last === 0)
      this.unreadable(file.name, 'is empty: it should hold at least one document');
    else {
      const documents = old.slice(0, same.first);
      const left = old.slice(same.first, old.length - same.last);
      const reads = new Map(left.map((d) => [d.text, d.read]));
      const chunks = splitDocuments(text);
      // Those that moved are read again where they have something to say, which names a line. One in the place of one has not moved.
      const moves = chunks.length > 1 || left.length > 1;
      const line = linesOf(documents, 1);
      for (const chunk of chunks) {
        const read = await this.document(file, { ...chunk, line: line + chunk.line - 1 }, reads.get(chunk.text), moves);
        reads.delete(chunk.text);
        documents.push({ text: chunk.text, size: Buffer.byteLength(chunk.text), lines: newlinesOf(chunk.text), read });
      }
      await this.rest(file, old.slice(old.length - same.last), documents, linesOf(left, line));
      return documents;
    }
    return null;
  }

  /** Those at the end, which began at this line before. */
  private async rest(file: SourceFile, rest: readonly KnownDocument[], documents: KnownDocument[], began: number): Promise<void> {
    let line = linesOf(documents, 1);
    const moves = line !== began;
    for (const known of rest) {
      const { text, lines, read } = known;
      documents.push(moves ? { ...known, read: await this.document(file, { text, line }, read, true) } : known);
      line += lines;
    }
  }

  private async document(file: SourceFile, chunk: Chunk, known: Interpreted | undefined, moves: boolean): Promise<Interpreted> {
    if (performance.now() - this.since > SLICE_MS) await this.breathe();
    const silent = known !== undefined && known.problems.length + known.settingsProblems.length === 0;
    return known !== undefined && (silent || !moves) ? moved(known, chunk) : this.interpret(file, chunk);
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

  /** Where a file could have been, too: it may come, or go. */
  private async followed(looked: ReadonlyMap<string, boolean>): Promise<void> {
    this.hash.update(JSON.stringify([...looked]));
    for (const path of looked.keys()) if (!this.inputs.has(path)) await this.look(path, false);
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
    const { cache } = this.options;
    const files = new Map<string, FileContent>();
    const paths = new Set<string>();
    this.pieces.forEach(({ files }) => files.forEach((path) => paths.add(path)));
    for (const path of paths) files.set(path, await this.credential(path));
    for (const { classic } of this.pieces) if (classic !== null) await this.followed(classic.looked);
    const read = this.problems.length === 0 ? replaced(cache?.assembled ?? null, this.pieces) : null;
    const state = { ...(read ?? this.assemble(files)) };
    this.pieces.forEach(({ classic }) => {
      if (classic !== null) this.problems.push(...checkClassicCertificates(classic.names, files));
    });
    if (cache) {
      for (const file of cache.configs.keys()) if (!this.seen.has(file)) cache.configs.delete(file);
      for (const path of cache.credentials.keys()) if (!paths.has(path)) cache.credentials.delete(path);
    }
    const result = { ...state, set: { ...state.set, files }, problems: inOrder(this.problems) };
    if (cache) cache.assembled = { pieces: this.pieces, state: result };
    return {
      state: result,
      inputs: this.inputs,
      digest: this.hash.digest('base64'),
      others: this.pieces.flatMap((p) => p.others),
      settingsOrigin: this.settingsOrigin(),
      forCluster: this.pieces.some((p) => p.forCluster),
    };
  }

  private settingsOrigin(): Origin | null {
    for (const { loaded } of this.pieces) for (const one of loaded) if (one.kind === 'Settings') return one.origin;
    return null;
  }

  private assemble(files: ReadonlyMap<string, FileContent>): SourceState {
    const assembly = new Assembly(this.problems, this.options.target ?? 'files');
    for (const piece of this.pieces) assembly.add(piece);
    const suspects = this.pieces.flatMap((p) => p.suspects);
    this.problems.push(...judgeAll(suspects, files, (object) => assembly.has(object)));
    return assembly.state();
  }
}

const isQuiet = ({ changed }: Look): boolean => Date.now() - changed > FRESH_MS;

/** Whether the files that a translation looked for are where they were. */
const stillStands = ({ documents }: KnownText): boolean =>
  documents.every(
    ({ read }) => read.classic === null || Array.from(read.classic.looked).every(([path, there]) => existsSync(path) === there),
  );

function moved(read: Interpreted, chunk: Chunk): Interpreted {
  for (const origin of read.origins) origin.moved(chunk);
  return read;
}

const newlinesOf = (text: string): number => {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
};

const linesOf = (documents: readonly Stretch[], first: number): number => documents.reduce((line, d) => line + d.lines, first);

/** What nobody looks into any more, when it is large enough to be worth keeping. */
const spareOf = (gone: Buffer | undefined, spare: Buffer, used: Buffer): Buffer => {
  const left = spare.buffer === used.buffer ? Buffer.alloc(0) : spare;
  return gone !== undefined && gone.length >= LARGE && gone.buffer.byteLength > left.length ? Buffer.from(gone.buffer) : left;
};
