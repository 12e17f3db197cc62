/**
 * Text to plain values, with places. Each document stands alone: text is cut at its `---` lines first (no scalar may contain one at the
 * start of a line, YAML 1.2 s9.1.2), so that a quote left open in one cannot swallow the next. Everything is bounded: depth, nodes, and
 * what aliases expand to.
 */
import { isAlias, isMap, isScalar, isSeq, parseAllDocuments, type Document, type Pair, type ParsedNode } from 'yaml';
import { pathText, show, type Origin, type PathStep } from '../../contract/resources/index.ts';
import { readPlain } from './plainyaml.ts';

export const MAX_DEPTH = 64;
export const MAX_NODES = 200_000;
export const MAX_DOCUMENT_CHARS = 2 * 1024 * 1024;

/** Said, too, where the parser's stack ended, which is far beyond. */
const TOO_DEEP = `is nested more than ${MAX_DEPTH} deep`;

/** A piece of a file that holds one document (several where `...` ends one). */
export interface Chunk {
  readonly text: string;
  /** The line of its first character, 1-based. */
  readonly line: number;
}

export interface YamlFault {
  readonly severity: 'error' | 'warning';
  /** Not for settings and classic files, which are read nowhere else. */
  readonly ambiguous: boolean;
  readonly path: string;
  /** In the chunk. */
  readonly offset: number;
  readonly message: string;
}

export interface EmptyMember {
  readonly steps: readonly PathStep[];
  /** In the chunk. */
  readonly offset: number;
}

export interface YamlDocument {
  /** Maps as objects without a prototype; undefined for an empty document. */
  readonly value: unknown;
  /** The text did not parse: `value` is not to be trusted. */
  readonly broken: boolean;
  readonly faults: readonly YamlFault[];
  /** Members without a value (null): they are not in `value`, as a cluster drops them. */
  readonly empty: readonly EmptyMember[];
  /** Which document of its chunk. */
  readonly index: number;
  readonly offset: number;
}

export function splitDocuments(text: string): Chunk[] {
  const chunks: Chunk[] = [];
  let start = 0;
  let line = 1;
  let startLine = 1;
  for (let at = 0; at < text.length;) {
    const newline = text.indexOf('\n', at);
    const next = newline < 0 ? text.length : newline + 1;
    if (at > start && isMarker(text, at)) {
      chunks.push({ text: text.slice(start, at), line: startLine });
      start = at;
      startLine = line;
    }
    line++;
    at = next;
  }
  if (start < text.length) chunks.push({ text: text.slice(start), line: startLine });
  return chunks;
}

function isMarker(text: string, at: number): boolean {
  if (!text.startsWith('---', at)) return false;
  const after = text[at + 3];
  return after === undefined || after === '\n' || after === ' ' || after === '\t' || after === '\r';
}

const BOOLEANS_OF_1_1 = /^(?:y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF)$/;
const OCTAL_OF_1_1 = /^[-+]?0[0-9_]+$|^[-+]?0o/;
const PLAIN_TAGS = /^tag:yaml\.org,2002:(?:str|int|bool|null|float|map|seq)$/;

/** Parses one chunk; never throws. */
export function parseChunk(chunk: Chunk): YamlDocument[] {
  const plain = readPlain(chunk.text);
  if (plain !== null) return [{ ...plain, broken: false, faults: [], empty: [], index: 0 }];
  return parseAny(chunk);
}

/** The whole language, slowly. */
export function parseAny(chunk: Chunk): YamlDocument[] {
  if (chunk.text.length > MAX_DOCUMENT_CHARS) return [brokenDocument(0, `has more than ${MAX_DOCUMENT_CHARS} characters; split it`)];
  const directive = /^%[A-Z]+ /m.exec(chunk.text);
  if (directive !== null && /^(?:[ \t]*(?:#[^\n]*)?\n)*%/.test(chunk.text))
    return [brokenDocument(directive.index, 'directives like %YAML are not supported: remove the line')];
  try {
    return parse(chunk.text).map((doc, index) => new Reader(doc, index).read());
  } catch (e) {
    // The parser recurses: what is nested deeply enough ends its stack.
    return [brokenDocument(0, e instanceof RangeError ? TOO_DEEP : 'cannot be parsed')];
  }
}

const parse = (text: string): Document.Parsed[] => {
  // uniqueKeys costs the square of the number of keys; the reader has its own check.
  const docs = parseAllDocuments(text, {
    uniqueKeys: false,
    merge: false,
    prettyErrors: false,
    logLevel: 'silent',
    version: '1.2',
    schema: 'core',
  });
  return Array.isArray(docs) ? (docs as Document.Parsed[]) : [];
};

const brokenDocument = (offset: number, message: string): YamlDocument => ({
  value: undefined,
  broken: true,
  faults: [{ severity: 'error', ambiguous: false, path: '', offset, message }],
  empty: [],
  index: 0,
  offset,
});

class TooLarge extends Error {}

class Reader {
  private readonly doc: Document.Parsed;
  private readonly index: number;
  private readonly faults: YamlFault[] = [];
  private readonly empty: EmptyMember[] = [];
  private readonly anchors = new Map<string, ParsedNode>();
  private nodes = 0;

  constructor(doc: Document.Parsed, index: number) {
    this.doc = doc;
    this.index = index;
  }

  read(): YamlDocument {
    const offset = this.doc.contents?.range[0] ?? this.doc.range[0];
    const base = { index: this.index, offset, empty: this.empty };
    const errors = [...this.doc.errors, ...this.doc.warnings];
    // Said of more than one collection; what else is said comes of it.
    const deep = errors.find((e) => e.code === 'RESOURCE_EXHAUSTION');
    if (deep !== undefined) this.fault([], deep.pos[0], TOO_DEEP);
    else for (const e of errors) this.fault([], e.pos[0], e.code === 'TAG_RESOLVE_FAILED' ? 'tags are not supported' : tidy(e.message));
    if (this.faults.length > 0) return { ...base, value: undefined, broken: true, faults: this.faults };
    try {
      const value = this.node(this.doc.contents as ParsedNode | null, [], 0);
      return { ...base, value: value ?? undefined, broken: false, faults: this.faults };
    } catch (e) {
      if (!(e instanceof TooLarge)) throw e;
      return {
        ...base,
        value: undefined,
        broken: true,
        faults: [{ severity: 'error', ambiguous: false, path: '', offset, message: e.message }],
      };
    }
  }

  private fault(
    steps: readonly PathStep[],
    offset: number,
    message: string,
    ambiguous = false,
    severity: 'error' | 'warning' = 'error',
  ): void {
    if (this.faults.length < 1000) this.faults.push({ severity, ambiguous, path: pathText(steps), offset, message });
  }

  private node(node: ParsedNode | null, steps: readonly PathStep[], depth: number): unknown {
    if (++this.nodes > MAX_NODES) throw new TooLarge(`has more than ${MAX_NODES} values, aliases expanded`);
    if (node === null) return null;
    if (depth > MAX_DEPTH) throw new TooLarge(TOO_DEEP);
    if (isAlias(node)) {
      const target = this.anchors.get(node.source);
      if (target === undefined) {
        this.fault(steps, node.range[0], 'is an alias (*) whose anchor is not defined before it: put text in quotes');
        return null;
      }
      return this.node(target, steps, depth + 1);
    }
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
    if (node.tag !== undefined && !PLAIN_TAGS.test(node.tag)) {
      this.fault(steps, node.range[0], `tags are not supported: ${show(node.tag)}`);
      return null;
    }
    if (isMap(node)) return this.map(node.items as Pair<ParsedNode, ParsedNode | null>[], steps, depth);
    if (isSeq(node)) return node.items.map((item, i) => this.node(item as ParsedNode, [...steps, i], depth + 1));
    return isScalar(node) ? this.scalar(node.value, node.type === 'PLAIN' ? (node.source ?? '') : '', node.range[0], steps) : null;
  }

  private scalar(value: unknown, plain: string, offset: number, steps: readonly PathStep[]): unknown {
    if (typeof value === 'string' && BOOLEANS_OF_1_1.test(plain))
      this.fault(
        steps,
        offset,
        `${plain} without quotes is a boolean to the YAML 1.1 that clusters read: put it in quotes, or write true or false`,
        true,
      );
    else if (typeof value === 'number' && OCTAL_OF_1_1.test(plain))
      this.fault(
        steps,
        offset,
        `${plain} is another number to the YAML 1.1 that clusters read: write ${value}, or "${plain}" for text`,
        true,
      );
    if (typeof value === 'number' && !Number.isFinite(value)) return String(value);
    return value;
  }

  private map(items: readonly Pair<ParsedNode, ParsedNode | null>[], steps: readonly PathStep[], depth: number): unknown {
    const object: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
    const seen = new Set<string>();
    for (const item of items) {
      const name = this.key(item.key, steps);
      if (name === null) continue;
      const path = [...steps, name];
      const offset = item.key.range[0];
      if (seen.has(name)) {
        this.fault(path, offset, 'is written twice');
        continue;
      }
      seen.add(name);
      const value = this.node(item.value, path, depth + 1);
      // As a cluster has it: an explicit null is dropped.
      if (value !== null) object[name] = value;
      else this.empty.push({ steps: path, offset });
    }
    return object;
  }

  private key(node: ParsedNode, steps: readonly PathStep[]): string | null {
    const target = isAlias(node) ? this.anchors.get(node.source) : node;
    if (target === undefined || !isScalar(target)) {
      this.fault(steps, node?.range?.[0] ?? 0, 'has a key that is not text');
      return null;
    }
    if (target.anchor !== undefined) this.anchors.set(target.anchor, target as ParsedNode);
    if (target.value === '<<' && target.type === 'PLAIN') {
      this.fault(steps, node.range[0], 'merge keys (<<) are not supported: write the fields out');
      return null;
    }
    // A key like 8080 or true is text in a cluster, where documents become JSON.
    return typeof target.value === 'string' ? target.value : (target.source ?? String(target.value));
  }
}

/** The parser's messages end in a newline and a picture; the first line says it. What some quote behind a colon may be of a Secret: the place shows it. */
const tidy = (message: string): string => {
  const line = (message.split('\n', 1)[0] as string).replace(/(?<=\w): .*$/, '');
  return line.length > 200 ? `${line.slice(0, 197)}...` : line;
};

/** 1-based line and column of an offset of a chunk. */
export function placeOf(chunk: Chunk, offset: number): { line: number; column: number } {
  let line = chunk.line;
  let start = 0;
  for (;;) {
    const newline = chunk.text.indexOf('\n', start);
    if (newline < 0 || newline >= offset) return { line, column: offset - start + 1 };
    line++;
    start = newline + 1;
  }
}

/** Where the fields of one document are. The text is kept and read again when somebody asks: few documents have faults, and a tree costs ten times its text. */
export class DocumentOrigin implements Origin {
  readonly file: string;
  private chunk: Chunk;
  private readonly index: number;
  private offsets: Map<string, number> | null = null;

  constructor(file: string, chunk: Chunk, index: number) {
    this.file = file;
    this.chunk = chunk;
    this.index = index;
  }

  locate(path: string): { line: number; column: number } {
    this.offsets ??= this.measure();
    for (let at = path; at !== ''; at = parentPath(at)) {
      const offset = this.offsets.get(at);
      if (offset !== undefined) return placeOf(this.chunk, offset);
    }
    return placeOf(this.chunk, this.offsets.get('') ?? 0);
  }

  /** The same text on another line: what stood above it has changed. */
  moved(chunk: Chunk): void {
    this.chunk = chunk;
  }

  private measure(): Map<string, number> {
    const offsets = new Map<string, number>();
    try {
      const doc = parse(this.chunk.text)[this.index];
      if (doc?.contents) {
        offsets.set('', doc.contents.range[0]);
        measure(doc.contents as ParsedNode, [], offsets);
      }
    } catch {
      // What does not parse has one place: its beginning.
    }
    return offsets;
  }
}

const parentPath = (path: string): string => path.slice(0, Math.max(0, path.lastIndexOf('.'), path.lastIndexOf('[')));

function measure(node: ParsedNode | null, steps: readonly PathStep[], into: Map<string, number>): void {
  if (node === null || steps.length > MAX_DEPTH || into.size > MAX_NODES) return;
  if (isSeq(node))
    node.items.forEach((item, i) => {
      const path = [...steps, i];
      into.set(pathText(path), (item as ParsedNode).range[0]);
      measure(item as ParsedNode, path, into);
    });
  else if (isMap(node))
    for (const item of node.items as Pair<ParsedNode, ParsedNode | null>[]) {
      if (!isScalar(item.key)) continue;
      const path = [...steps, typeof item.key.value === 'string' ? item.key.value : (item.key.source ?? '')];
      const text = pathText(path);
      if (into.has(text)) continue;
      into.set(text, item.key.range[0]);
      measure(item.value, path, into);
    }
}
