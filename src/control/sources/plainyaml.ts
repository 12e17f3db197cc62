/**
 * The YAML that nearly all documents are written in, read twenty times as fast as the whole language: block maps and lists, scalars on one line, short flow
 * collections, printable ASCII. Whatever else there is in a text, above all every mistake, is for the parser of the whole: this one gives up then, and never
 * judges. Where it does not give up, both come to the same.
 */

/** No text of this length has more values than a document may have. */
const MAX_CHARS = 100_000;
const MAX_DEPTH = 32;
/** Longer ones have to be told to be keys (YAML 1.2 s7.4.2). */
const MAX_KEY = 1000;

const OTHER_CHARACTERS = /[^\n -~]/;
/** As long as no colon ends a key and no `#` begins a comment. */
const PLAIN = /^[A-Za-z0-9_/.](?:[A-Za-z0-9_ ./+=@%~,()*?$^;-]|:(?=[A-Za-z0-9_/.]))*$/;
const PLAIN_IN_FLOW = /[A-Za-z0-9_/.](?:[A-Za-z0-9_./+=@%~()*?$^;-]|:(?=[A-Za-z0-9_/.]))*/y;
const DECIMAL = /^(?:0|[1-9][0-9]{0,14})$/;
/** Numbers of any other form, and what only looks like one. */
const NUMBERLIKE = /^(?:\.|[0-9][0-9._]*(?:[eE][-+]?[0-9]*)?$|0[ox])/;
/** Of one version of YAML or another. */
const WORD = /^(?:[Nn]ull|NULL|[Tt]rue|TRUE|[Ff]alse|FALSE|[Yy]|[Yy]es|YES|[Nn]|[Nn]o|NO|[Oo]n|ON|[Oo]ff|OFF)$/;
const LONGEST_WORD = 5;

const SPACE = 0x20;
const QUOTE = 0x22;
const HASH = 0x23;
const APOSTROPHE = 0x27;
const COMMA = 0x2c;
const DASH = 0x2d;
const COLON = 0x3a;
const LIST = 0x5b;
const LIST_END = 0x5d;
const MAP = 0x7b;
const MAP_END = 0x7d;

export interface PlainDocument {
  /** Maps without a prototype. */
  readonly value: unknown;
  /** Where it begins. */
  readonly offset: number;
}

/** null: not plain. */
export function readPlain(text: string): PlainDocument | null {
  if (text.length > MAX_CHARS || OTHER_CHARACTERS.test(text)) return null;
  return new PlainReader(text).read();
}

const isLetter = (c: number): boolean => (c >= 0x61 && c <= 0x7a) || (c >= 0x41 && c <= 0x5a) || c === 0x5f;
/** Letters, digits, `_`, `-`, `.` and `/`. */
const inKey = (c: number): boolean => isLetter(c) || (c >= 0x2d && c <= 0x39);

/** undefined: not plain. */
function scalar(text: string): unknown {
  if (isLetter(text.charCodeAt(0))) {
    if (text.length > LONGEST_WORD || !WORD.test(text)) return text;
    if (text === 'true') return true;
    return text === 'false' ? false : undefined;
  }
  if (DECIMAL.test(text)) return Number(text);
  return NUMBERLIKE.test(text) ? undefined : text;
}

/** Its methods give undefined for what is not plain: no value is. */
class PlainReader {
  private readonly text: string;
  /** Where the next line begins. */
  private next = 0;
  // The line that is looked at, from its first character to its last; an indent of -1 at the end of the text.
  private indent = -1;
  private at = 0;
  private end = 0;

  constructor(text: string) {
    this.text = text;
  }

  read(): PlainDocument | null {
    this.line();
    if (this.text.startsWith('---')) {
      if (this.at !== 0 || this.end !== 3) return null;
      this.line();
    }
    if (this.indent < 0) return null;
    const offset = this.at;
    const value = this.block(this.indent, 0);
    return value === undefined || this.indent >= 0 ? null : { value, offset };
  }

  /** To the next line that has more than a comment. */
  private line(): void {
    const { text } = this;
    while (this.next < text.length) {
      const begin = this.next;
      let at = begin;
      while (text.charCodeAt(at) === SPACE) at++;
      const newline = text.indexOf('\n', at);
      let end = newline < 0 ? text.length : newline;
      this.next = end + 1;
      if (at >= end || text.charCodeAt(at) === HASH) continue;
      while (text.charCodeAt(end - 1) === SPACE) end--;
      this.indent = at - begin;
      this.at = at;
      this.end = end;
      return;
    }
    this.indent = -1;
  }

  private block(indent: number, depth: number): unknown {
    if (depth > MAX_DEPTH) return undefined;
    return this.isItem() ? this.list(indent, depth) : this.map(indent, depth);
  }

  private isItem(): boolean {
    return this.text.charCodeAt(this.at) === DASH && this.text.charCodeAt(this.at + 1) === SPACE && this.at + 1 < this.end;
  }

  /** Where the colon of a key is that begins here; -1 when none does. */
  private key(at: number): number {
    const { text, end } = this;
    if (!isLetter(text.charCodeAt(at))) return -1;
    let i = at + 1;
    while (i < end && inKey(text.charCodeAt(i))) i++;
    if (i - at > MAX_KEY) return -1;
    return i < end && text.charCodeAt(i) === COLON && (i + 1 === end || text.charCodeAt(i + 1) === SPACE) ? i : -1;
  }

  private map(indent: number, depth: number): unknown {
    const object = Object.create(null) as Record<string, unknown>;
    while (this.indent === indent) {
      const colon = this.key(this.at);
      if (colon < 0) return undefined;
      const name = this.text.slice(this.at, colon);
      const value = colon + 1 === this.end ? this.below(indent, depth) : this.inline(this.after(colon + 1), indent, depth);
      // A member without a value, and one that is there twice, are for others.
      if (value === undefined || object[name] !== undefined) return undefined;
      object[name] = value;
    }
    return this.indent > indent ? undefined : object;
  }

  private list(indent: number, depth: number): unknown {
    const items: unknown[] = [];
    while (this.indent === indent && this.isItem()) {
      const at = this.after(this.at + 1);
      const item = this.key(at) < 0 ? this.inline(at, indent, depth) : this.compact(at, depth);
      if (item === undefined) return undefined;
      items.push(item);
    }
    return this.indent > indent ? undefined : items;
  }

  /** A map that begins beside the dash. */
  private compact(at: number, depth: number): unknown {
    if (depth >= MAX_DEPTH) return undefined;
    this.indent += at - this.at;
    this.at = at;
    return this.map(this.indent, depth + 1);
  }

  /** A list may stand as far left as its key. */
  private below(indent: number, depth: number): unknown {
    this.line();
    if (this.indent > indent) return this.block(this.indent, depth + 1);
    return this.indent === indent && this.isItem() ? this.list(indent, depth + 1) : undefined;
  }

  /** To the end of the line: what goes on in the next one is not plain. */
  private inline(at: number, indent: number, depth: number): unknown {
    const value = this.valueOf(at, depth);
    this.line();
    return this.indent > indent ? undefined : value;
  }

  private valueOf(at: number, depth: number): unknown {
    const c = this.text.charCodeAt(at);
    if (c === QUOTE || c === APOSTROPHE || c === LIST || c === MAP) {
      const { end } = this;
      this.at = at;
      const value = this.flow(depth);
      return this.at === end ? value : undefined;
    }
    const text = this.text.slice(at, this.end);
    return PLAIN.test(text) ? scalar(text) : undefined;
  }

  /** What begins here; moves behind it. */
  private flow(depth: number): unknown {
    if (depth > MAX_DEPTH) return undefined;
    switch (this.text.charCodeAt(this.at)) {
      case QUOTE:
        return this.quoted('"');
      case APOSTROPHE:
        return this.quoted("'");
      case LIST:
        return this.flowList(depth + 1);
      case MAP:
        return this.flowMap(depth + 1);
      default:
        return this.flowScalar();
    }
  }

  /** Without escapes. */
  private quoted(quote: string): string | undefined {
    const from = this.at + 1;
    const to = this.text.indexOf(quote, from);
    if (to < 0 || to >= this.end) return undefined;
    this.at = to + 1;
    const text = this.text.slice(from, to);
    // Two apostrophes are one in a text.
    if (this.text[this.at] === quote) return undefined;
    return quote === '"' && text.includes('\\') ? undefined : text;
  }

  private flowScalar(): unknown {
    PLAIN_IN_FLOW.lastIndex = this.at;
    const text = PLAIN_IN_FLOW.exec(this.text)?.[0];
    if (text === undefined) return undefined;
    this.at += text.length;
    return scalar(text);
  }

  private flowList(depth: number): unknown {
    const items: unknown[] = [];
    this.at = this.after(this.at + 1);
    if (this.take(LIST_END)) return items;
    for (;;) {
      const item = this.flow(depth);
      if (item === undefined) return undefined;
      items.push(item);
      if (this.ends(LIST_END)) return items;
      if (!this.goesOn()) return undefined;
    }
  }

  private flowMap(depth: number): unknown {
    const object = Object.create(null) as Record<string, unknown>;
    this.at = this.after(this.at + 1);
    if (this.take(MAP_END)) return object;
    for (;;) {
      const colon = this.key(this.at);
      if (colon < 0) return undefined;
      const name = this.text.slice(this.at, colon);
      this.at = this.after(colon + 1);
      const value = this.flow(depth);
      if (value === undefined || object[name] !== undefined) return undefined;
      object[name] = value;
      if (this.ends(MAP_END)) return object;
      if (!this.goesOn()) return undefined;
    }
  }

  private ends(c: number): boolean {
    this.at = this.after(this.at);
    return this.take(c);
  }

  private goesOn(): boolean {
    if (!this.take(COMMA)) return false;
    this.at = this.after(this.at);
    return true;
  }

  private take(c: number): boolean {
    if (this.text.charCodeAt(this.at) !== c) return false;
    this.at++;
    return true;
  }

  private after(at: number): number {
    let i = at;
    while (this.text.charCodeAt(i) === SPACE) i++;
    return i;
  }
}
