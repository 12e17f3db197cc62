/**
 * The rules of RFC 9114 s4.2 and s4.3 for what a decoded field section says. Each check happens once, here, as the fields
 * arrive; the first broken one stays, by the name under which it is counted.
 */
import { Fields } from '../fields.ts';
import type { RequestHead } from '../message.ts';
import type { FieldSink } from '../qpack/decode.ts';
import { STATIC_NAMES, STATIC_VALUES } from '../qpack/static.ts';
import { DEFAULT_URGENCY, priority, readPriority } from './priority.ts';
import { asciiLower, isAuthority, isFieldName, isFieldValue, isPath, isScheme, isToken, readContentLength } from './syntax.ts';

export class Head implements RequestHead {
  method = '';
  scheme = '';
  authority = '';
  path = '';
  readonly fields = new Fields();
  neverIndexed = false;
  contentLength = -1;
  urgency = DEFAULT_URGENCY;
  incremental = false;
  bytes = 0;
  startedAt: number;

  constructor(startedAt: number) {
    this.startedAt = startedAt;
  }
}

const PLAIN = 0;
const METHOD = 1;
const SCHEME = 2;
const AUTHORITY = 3;
const PATH = 4;
const STATUS = 5;
const PROTOCOL = 6;
const LAST_PSEUDO = PROTOCOL;
const CONTENT_LENGTH = 7;
const COOKIE = 8;
const HOST = 9;
const TE = 10;
const PRIORITY = 11;
const CONNECTION = 12;

const KINDS = new Map<string, number>([
  [':method', METHOD],
  [':scheme', SCHEME],
  [':authority', AUTHORITY],
  [':path', PATH],
  [':status', STATUS],
  [':protocol', PROTOCOL],
  ['content-length', CONTENT_LENGTH],
  ['cookie', COOKIE],
  ['host', HOST],
  ['te', TE],
  ['priority', PRIORITY],
  // s4.2: fields of HTTP/1.1's connections.
  ['connection', CONNECTION],
  ['keep-alive', CONNECTION],
  ['proxy-connection', CONNECTION],
  ['transfer-encoding', CONNECTION],
  ['upgrade', CONNECTION],
]);

const STATIC_KIND = Uint8Array.from(STATIC_NAMES, (name) => KINDS.get(name) ?? PLAIN);

const COLON = 0x3a;
/** Nothing is known of this field that would help when it comes again. */
const AGAIN = -1;

/** A request's header section on its way into a `Head`. */
export class HeadSink implements FieldSink {
  private head = new Head(0);
  private seen = 0;
  private isRegular = false;
  private host: string | null = null;
  private cookieAt = -1;
  /** The rule that was broken first, or ''. */
  rule = '';
  /** Fields dropped because of an underscore in their name. */
  underscores = 0;

  begin(head: Head): void {
    this.head = head;
    this.seen = 0;
    this.isRegular = false;
    this.host = null;
    this.cookieAt = -1;
    this.rule = '';
    this.underscores = 0;
  }

  onStatic(index: number): void {
    const kind = STATIC_KIND[index] as number;
    const value = STATIC_VALUES[index] as string;
    if (kind === PLAIN) {
      this.isRegular = true;
      this.head.fields.add(STATIC_NAMES[index] as string, value);
    } else this.take(kind, STATIC_NAMES[index] as string, value, false);
  }

  onField(name: string, value: string, never: boolean, index: number): number {
    if (!isFieldValue(value)) return this.broken('M4');
    const kind = index >= 0 ? (STATIC_KIND[index] as number) : (KINDS.get(name) ?? PLAIN);
    if (kind !== PLAIN) {
      this.take(kind, name, value, never);
      return kind;
    }
    this.isRegular = true;
    if (index < 0) {
      // s4.3: with a colon in front, a pseudo-field that nobody has defined.
      if (!isFieldName(name)) return this.broken(name.charCodeAt(0) === COLON ? 'M6' : 'M5');
      if (name.includes('_')) {
        // CGI and its heirs cannot tell `_` from `-`: such a name could pass for one that we set.
        this.underscores++;
        return AGAIN;
      }
    }
    this.head.fields.add(name, value, never);
    return kind;
  }

  onChecked(name: string, value: string, kind: number): void {
    if (kind !== PLAIN) this.take(kind, name, value, false);
    else {
      this.isRegular = true;
      this.head.fields.add(name, value);
    }
  }

  private take(kind: number, name: string, value: string, never: boolean): void {
    if (kind <= LAST_PSEUDO) {
      this.pseudo(kind, value, never);
      return;
    }
    this.isRegular = true;
    const { head } = this;
    switch (kind) {
      case COOKIE:
        this.cookie(value, never);
        return;
      case HOST:
        if (this.host !== null) this.broken('M8');
        this.host = value;
        if (never) this.head.neverIndexed = true;
        return;
      case CONNECTION:
        this.broken('M3');
        return;
      case TE:
        if (asciiLower(value) !== 'trailers') this.broken('M3');
        break;
      case CONTENT_LENGTH:
        // RFC 9110 s8.6 lets equal duplicates be merged; none is accepted here.
        if (head.contentLength >= 0) this.broken('M2');
        head.contentLength = readContentLength(value);
        if (head.contentLength < 0) this.broken('M2');
        break;
      case PRIORITY:
        readPriority(value);
        head.urgency = priority.urgency;
        head.incremental = priority.incremental;
        break;
    }
    head.fields.add(name, value, never);
  }

  private pseudo(kind: number, value: string, never: boolean): void {
    // s4.3: each once, before the regular fields, and none of a response's. RFC 9220 s3: `:protocol` needs our setting.
    if (this.isRegular || kind === STATUS || (this.seen & (1 << kind)) !== 0) this.broken('M6');
    if (kind === PROTOCOL) this.broken('M9');
    this.seen |= 1 << kind;
    // What a method or a scheme says is no secret.
    if (never && (kind === AUTHORITY || kind === PATH)) this.head.neverIndexed = true;
    if (kind === METHOD) this.head.method = value;
    else if (kind === SCHEME) this.head.scheme = value;
    else if (kind === AUTHORITY) this.head.authority = value;
    else if (kind === PATH) this.head.path = value;
  }

  /** s4.2.1: crumbs become one field, where the first one stood. */
  private cookie(value: string, never: boolean): void {
    const { fields } = this.head;
    if (this.cookieAt < 0) {
      this.cookieAt = fields.length;
      fields.add('cookie', value, never);
      return;
    }
    if (never) fields.setNever(this.cookieAt);
    // An empty crumb adds nothing: behind its separator the field would end in a blank, as none may (RFC 9113 s8.2.1).
    if (value === '') return;
    const before = fields.values[this.cookieAt] as string;
    fields.values[this.cookieAt] = before === '' ? value : `${before}; ${value}`;
  }

  private broken(rule: string): number {
    if (this.rule === '') this.rule = rule;
    return AGAIN;
  }

  /** The section is complete: what is missing or does not fit together. The broken rule, or ''. */
  finish(): string {
    if (this.rule !== '') return this.rule;
    const { head } = this;
    if (!this.has(METHOD)) return 'M6';
    if (!isToken(head.method)) return 'M7';
    if (head.method === 'CONNECT') return this.finishConnect();
    if (!this.has(SCHEME) || !this.has(PATH)) return 'M6';
    if (!this.finishScheme()) return 'M7';
    if (!isPath(head.path) && !(head.path === '*' && head.method === 'OPTIONS')) return 'M7';
    return this.finishAuthority() ? '' : 'M8';
  }

  /** s4.4: the authority and nothing else. */
  private finishConnect(): string {
    if (this.has(SCHEME) || this.has(PATH) || !this.has(AUTHORITY)) return 'M9';
    return this.finishAuthority() ? '' : 'M8';
  }

  private finishScheme(): boolean {
    const { head } = this;
    if (head.scheme === 'https' || head.scheme === 'http') return true;
    if (!isScheme(head.scheme)) return false;
    head.scheme = asciiLower(head.scheme);
    return true;
  }

  /** s4.3.1: `:authority` or `host`, equal when both are there, neither empty, no userinfo. */
  private finishAuthority(): boolean {
    const { head, host } = this;
    if (!this.has(AUTHORITY)) {
      if (host === null) return head.scheme !== 'http' && head.scheme !== 'https';
      head.authority = host;
    } else if (host !== null && host !== head.authority && asciiLower(host) !== asciiLower(head.authority)) return false;
    return isAuthority(head.authority);
  }

  private has(kind: number): boolean {
    return (this.seen & (1 << kind)) !== 0;
  }
}

/**
 * RFC 9110 s6.5.1: what a trailer section must not bring, since it would reach the backend behind every check of the head:
 * framing, routing, credentials, controls, and what proxies vouch for.
 */
const NO_TRAILERS = new Set<string>([
  'authorization',
  'cache-control',
  'content-encoding',
  'content-length',
  'content-range',
  'content-type',
  'cookie',
  'early-data',
  'expect',
  'forwarded',
  'host',
  'max-forwards',
  'priority',
  'proxy-authenticate',
  'proxy-authorization',
  'range',
  'set-cookie',
  'te',
  'trailer',
  'via',
  'www-authenticate',
  'x-real-ip',
  'x-request-id',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
]);

/** A trailer section on its way into `Fields`. */
export class TrailerSink implements FieldSink {
  private fields = new Fields();
  rule = '';
  underscores = 0;
  forbidden = 0;

  begin(fields: Fields): void {
    this.fields = fields;
    this.rule = '';
    this.underscores = 0;
    this.forbidden = 0;
  }

  onStatic(index: number): void {
    this.onField(STATIC_NAMES[index] as string, STATIC_VALUES[index] as string, false, index);
  }

  onField(name: string, value: string, never: boolean, _index: number): number {
    if (!isFieldValue(value)) return this.broken('M4');
    // s4.3: no pseudo-fields among trailers.
    if (name.charCodeAt(0) === COLON) return this.broken('M6');
    if (!isFieldName(name)) return this.broken('M5');
    if (KINDS.get(name) === CONNECTION) return this.broken('M3');
    if (name.includes('_')) this.underscores++;
    else if (NO_TRAILERS.has(name) || name.startsWith('x-forwarded-')) this.forbidden++;
    else this.fields.add(name, value, never);
    return AGAIN;
  }

  onChecked(name: string, value: string): void {
    this.onField(name, value, false, -1);
  }

  private broken(rule: string): number {
    if (this.rule === '') this.rule = rule;
    return AGAIN;
  }
}
