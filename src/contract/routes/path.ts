/**
 * The request target, brought into the one form that is both matched and forwarded (RFC 3986 s6.2.2):
 * unreserved characters decoded, other escapes in upper case, dot segments removed. Empty segments stay: `//` means what the backend makes of it.
 */
export interface Target {
  readonly path: string;
  /** Without the question mark; as it came. */
  readonly query: string;
  /** `/a?` and `/a` are different targets. */
  readonly hasQuery: boolean;
}

/** Why a target is refused with 400. */
export type TargetError = 'malformed' | 'escaped_separator' | 'nul';

const PERCENT = 0x25;
const DOT = 0x2e;
const SLASH = 0x2f;
const BACKSLASH = 0x5c;
const HEX = '0123456789ABCDEF';

/** Per octet: 1 an unreserved character, 2 may stand in a path as it is, 0 may not. */
const KIND = octetKinds();

function octetKinds(): Uint8Array {
  const kinds = new Uint8Array(256);
  kinds.fill(2, 0x21, 0x7f);
  for (const c of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~') kinds[c.charCodeAt(0)] = 1;
  kinds[0x23] = 0;
  return kinds;
}

/** `raw` is `:path` as it came, one character per octet. */
export function normaliseTarget(raw: string, escapedSlashes: 'Reject' | 'Keep'): Target | TargetError {
  if (raw === '*') return { path: raw, query: '', hasQuery: false };
  if (raw.charCodeAt(0) !== SLASH) return 'malformed';
  let clean = true;
  let i = 1;
  for (; i < raw.length; i++) {
    const c = raw.charCodeAt(i);
    if (c === 0x3f) break;
    if (c === PERCENT || c === BACKSLASH || c > 0x7e) clean = false;
    else if (KIND[c] === 0) return 'malformed';
    // A dot matters only where a segment begins.
    else if (c === DOT && raw.charCodeAt(i - 1) === SLASH) clean = false;
  }
  const hasQuery = i < raw.length;
  if (hasQuery && !queryIsClean(raw, i + 1)) return 'malformed';
  const query = hasQuery ? raw.slice(i + 1) : '';
  const path = hasQuery ? raw.slice(0, i) : raw;
  if (clean) return { path, query, hasQuery };
  const rebuilt = normalisePath(path, escapedSlashes);
  return rebuilt.ok ? { path: rebuilt.path, query, hasQuery } : rebuilt.error;
}

/** A query is forwarded as it came, so only what no request line may hold is refused: controls, space and `#`. */
function queryIsClean(raw: string, from: number): boolean {
  for (let i = from; i < raw.length; i++) {
    const c = raw.charCodeAt(i);
    if (c < 0x21 || c === 0x7f || c === 0x23) return false;
  }
  return true;
}

type Rebuilt = { readonly ok: true; readonly path: string } | { readonly ok: false; readonly error: TargetError };

const refused = (error: TargetError): Rebuilt => ({ ok: false, error });

function normalisePath(path: string, escapedSlashes: 'Reject' | 'Keep'): Rebuilt {
  let out = '';
  for (let i = 0; i < path.length; i++) {
    const c = path.charCodeAt(i);
    if (c === PERCENT) {
      const octet = escapedOctet(path, i);
      if (octet < 0) return refused('malformed');
      if (octet === 0) return refused('nul');
      if (octet === SLASH || octet === BACKSLASH) {
        if (escapedSlashes === 'Reject') return refused('escaped_separator');
        out += escape(octet);
      } else if (KIND[octet] === 1) out += String.fromCharCode(octet);
      else out += escape(octet);
      i += 2;
    } else if (c === BACKSLASH) {
      // Not a URI character, and a separator to many a backend: the same as its escape.
      if (escapedSlashes === 'Reject') return refused('escaped_separator');
      out += escape(c);
    } else if (c > 0xff) return refused('malformed');
    else if (KIND[c] === 0) {
      if (c < 0x80) return refused('malformed');
      out += escape(c);
    } else out += String.fromCharCode(c);
  }
  if (hasOverlong(out)) return refused('malformed');
  return { ok: true, path: removeDotSegments(out) };
}

const escape = (octet: number): string => `%${HEX[octet >> 4]}${HEX[octet & 15]}`;

/** The octet escaped at `at`, or -1. */
function escapedOctet(s: string, at: number): number {
  if (at + 2 >= s.length) return -1;
  const high = hexDigit(s.charCodeAt(at + 1));
  const low = hexDigit(s.charCodeAt(at + 2));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

export function hexDigit(c: number): number {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  if (c >= 0x41 && c <= 0x46) return c - 0x37;
  return c >= 0x61 && c <= 0x66 ? c - 0x57 : -1;
}

/**
 * Overlong UTF-8 (RFC 3629 s3) hides `/`, `.` and NUL from everyone but a lenient decoder: C0 and C1 never begin a character, E0 is not followed
 * by 80-9F nor F0 by 80-8F. Other octets that are not UTF-8 pass: paths in older encodings exist.
 */
function hasOverlong(escaped: string): boolean {
  for (let i = escaped.indexOf('%'); i >= 0; i = escaped.indexOf('%', i + 1)) {
    const lead = escapedOctet(escaped, i);
    if (lead !== 0xc0 && lead !== 0xc1 && lead !== 0xe0 && lead !== 0xf0) continue;
    if (escaped.charCodeAt(i + 3) !== PERCENT) continue;
    const next = escapedOctet(escaped, i + 3);
    const end = lead === 0xe0 ? 0x9f : lead === 0xf0 ? 0x8f : 0xbf;
    if (next >= 0x80 && next <= end) return true;
  }
  return false;
}

/** RFC 3986 s5.2.4 for a path that begins with a slash. */
function removeDotSegments(path: string): string {
  if (!path.includes('/.')) return path;
  const kept: string[] = [];
  const segments = path.slice(1).split('/');
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i] as string;
    if (segment !== '.' && segment !== '..') {
      kept.push(segment);
      continue;
    }
    if (segment === '..') kept.pop();
    // `/a/.` and `/a/b/..` both end as `/a/`.
    if (i === segments.length - 1) kept.push('');
  }
  return `/${kept.join('/')}`;
}

/** The path of a route in the form in which requests are matched, or null when no request can have it. Takes ordinary text: UTF-8 is escaped. */
export function canonicalPath(text: string): string | null {
  const target = normaliseTarget(Buffer.from(text, 'utf8').toString('latin1'), 'Keep');
  return typeof target === 'string' || target.hasQuery ? null : target.path;
}
