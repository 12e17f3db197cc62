/** Host names: one normalisation, one wildcard rule. ASCII by code unit, so that no letter of another script folds into one of ours. */
export interface Authority {
  /** Lower case, without a trailing dot; IPv6 literals keep their brackets. */
  readonly host: string;
  /** -1 when absent. */
  readonly port: number;
}

const COLON = 0x3a;

/** Per octet: the character that a name holds (letters in lower case), or 0. */
const NAME_OCTET = nameOctets();

function nameOctets(): Uint8Array {
  const table = new Uint8Array(128);
  for (const c of 'abcdefghijklmnopqrstuvwxyz0123456789-_.') table[c.charCodeAt(0)] = c.charCodeAt(0);
  for (let c = 0x41; c <= 0x5a; c++) table[c] = c + 0x20;
  return table;
}

/**
 * `:authority` or Host as it came, or null for what is refused: userinfo, an empty or over-long name or label, characters that no host name has
 * (escapes and other scripts among them: internationalised names travel as A-labels), and any port that is not 1-65535 in plain digits.
 */
export function normaliseAuthority(raw: string): Authority | null {
  if (raw.charCodeAt(0) === 0x5b) return bracketed(raw);
  const colon = raw.indexOf(':');
  const host = normaliseHost(colon < 0 ? raw : raw.slice(0, colon));
  if (host === null) return null;
  const port = colon < 0 ? -1 : portAt(raw, colon + 1);
  return port === 0 ? null : { host, port };
}

/** A bare host name in lower case without its trailing dot, or null. */
export function normaliseHost(raw: string): string | null {
  let end = raw.length;
  if (end > 1 && raw.charCodeAt(end - 1) === 0x2e) end--;
  if (end === 0 || end > 253) return null;
  let clean = end === raw.length;
  let label = 0;
  for (let i = 0; i < end; i++) {
    const c = raw.charCodeAt(i);
    const folded = c < 128 ? (NAME_OCTET[c] as number) : 0;
    if (folded === 0) return null;
    if (folded !== c) clean = false;
    if (folded !== 0x2e) {
      if (++label > 63) return null;
    } else if (label === 0) return null;
    else label = 0;
  }
  if (label === 0) return null;
  return clean ? raw : lowerAscii(raw.slice(0, end));
}

/** `[v6]` and `[v6]:port`. */
function bracketed(raw: string): Authority | null {
  const close = raw.indexOf(']');
  if (close < 3 || close > 46) return null;
  let colons = 0;
  for (let i = 1; i < close; i++) {
    const c = raw.charCodeAt(i) | 0x20;
    if (raw.charCodeAt(i) === COLON) colons++;
    else if (!(raw.charCodeAt(i) === 0x2e || (c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x66))) return null;
  }
  if (colons < 2) return null;
  const host = lowerAscii(raw.slice(0, close + 1));
  if (close + 1 === raw.length) return { host, port: -1 };
  if (raw.charCodeAt(close + 1) !== COLON) return null;
  const port = portAt(raw, close + 2);
  return port === 0 ? null : { host, port };
}

/** 1-65535 without leading zeros, else 0. */
function portAt(raw: string, at: number): number {
  if (raw.length - at > 5) return 0;
  let port = 0;
  for (let i = at; i < raw.length; i++) {
    const digit = raw.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9 || (digit === 0 && i === at)) return 0;
    port = port * 10 + digit;
  }
  return port > 65535 ? 0 : port;
}

/** Folds A-Z only. */
export function lowerAscii(s: string): string {
  let at = 0;
  for (; at < s.length; at++) {
    const c = s.charCodeAt(at);
    if (c >= 0x41 && c <= 0x5a) break;
  }
  if (at === s.length) return s;
  let out = s.slice(0, at);
  for (; at < s.length; at++) {
    const c = s.charCodeAt(at);
    out += c >= 0x41 && c <= 0x5a ? String.fromCharCode(c + 0x20) : (s[at] as string);
  }
  return out;
}

/** A hostname of a Listener or Upstream: exact, `*.suffix` or `*`; lower case, no trailing dot. Null when it is none of these. */
export function normalisePattern(raw: string): string | null {
  if (raw === '*') return raw;
  if (!raw.startsWith('*.')) return normaliseHost(raw);
  const suffix = normaliseHost(raw.slice(2));
  return suffix === null ? null : `*.${suffix}`;
}

export type PatternLevel = 'exact' | 'wildcard' | 'any';

export const patternLevel = (pattern: string): PatternLevel => (pattern === '*' ? 'any' : pattern.startsWith('*.') ? 'wildcard' : 'exact');

/** A wildcard stands for one or more labels, so not for the bare domain. Both arguments are normalised. */
export function hostMatches(pattern: string, host: string): boolean {
  if (pattern === '*') return true;
  if (!pattern.startsWith('*.')) return pattern === host;
  return host.length > pattern.length - 1 && host.endsWith(pattern.slice(1));
}

/** Whether every name of `inner` is one of `outer`'s. */
export function covers(outer: string, inner: string): boolean {
  if (outer === '*' || outer === inner) return true;
  if (inner === '*' || !outer.startsWith('*.')) return false;
  return inner.startsWith('*.') ? inner.endsWith(outer.slice(1)) : hostMatches(outer, inner);
}

/** What both patterns name, or null. Wildcards nest or are apart, so the answer is one of the two. */
export function intersectHostnames(a: string, b: string): string | null {
  if (covers(a, b)) return b;
  return covers(b, a) ? a : null;
}
