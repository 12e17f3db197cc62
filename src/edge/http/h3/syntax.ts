/** Characters and small grammars of RFC 9110 and RFC 3986, one table look-up per byte; text is latin-1. */
const TOKEN = 1;
/** A token character that is no upper-case letter (RFC 9114 s4.2). */
const NAME = 2;
const VALUE = 4;
const AUTHORITY = 8;
const PATH = 16;
const DIGIT = 32;
const SCHEME = 64;

const CLASS = new Uint8Array(256);

function mark(characters: string, flags: number): void {
  for (let i = 0; i < characters.length; i++) CLASS[characters.charCodeAt(i)] = (CLASS[characters.charCodeAt(i)] as number) | flags;
}

mark("!#$%&'*+-.^_`|~", TOKEN | NAME);
mark('abcdefghijklmnopqrstuvwxyz', TOKEN | NAME | AUTHORITY | SCHEME);
mark('ABCDEFGHIJKLMNOPQRSTUVWXYZ', TOKEN | AUTHORITY | SCHEME);
mark('0123456789', TOKEN | NAME | AUTHORITY | DIGIT | SCHEME);
mark("-._~!$&'()*+,;=%", AUTHORITY);
mark('+-.', SCHEME);
for (let c = 0x20; c < 0x100; c++) if (c !== 0x7f) mark(String.fromCharCode(c), c === 0x20 || c === 0x23 ? VALUE : VALUE | PATH);
mark('\t', VALUE);

function all(text: string, start: number, end: number, flag: number): boolean {
  for (let i = start; i < end; i++) if (((CLASS[text.charCodeAt(i)] as number) & flag) === 0) return false;
  return true;
}

export function isToken(text: string): boolean {
  return text.length > 0 && all(text, 0, text.length, TOKEN);
}

/** RFC 9114 s4.2 with RFC 9110 s5.1: a token without upper-case letters. */
export function isFieldName(name: string): boolean {
  return name.length > 0 && all(name, 0, name.length, NAME);
}

/** RFC 9110 s5.5, as RFC 9114 s10.3 demands: no control characters but tabs, no blank at either end. */
export function isFieldValue(value: string): boolean {
  const n = value.length;
  if (n === 0) return true;
  return !isBlank(value.charCodeAt(0)) && !isBlank(value.charCodeAt(n - 1)) && all(value, 0, n, VALUE);
}

function isBlank(c: number): boolean {
  return c === 0x20 || c === 0x09;
}

/** RFC 3986 s3.1. */
export function isScheme(text: string): boolean {
  const first = text.charCodeAt(0) | 0x20;
  return text.length > 0 && first >= 0x61 && first <= 0x7a && all(text, 0, text.length, SCHEME);
}

/** What may stand in `:path`: no controls, no space and no fragment. What its escapes mean is not looked at. */
export function isPath(text: string): boolean {
  return text.charCodeAt(0) === 0x2f && all(text, 1, text.length, PATH);
}

/** The one that was found right last: connections mostly ask for one name. */
let lastAuthority = 'a';

/** host [":" port] of RFC 3986 s3.2 without userinfo (RFC 9114 s4.3.1); the port may be empty. */
export function isAuthority(text: string): boolean {
  if (text === lastAuthority) return true;
  if (!checkAuthority(text)) return false;
  lastAuthority = text;
  return true;
}

function checkAuthority(text: string): boolean {
  let hostEnd = text.lastIndexOf(':');
  if (text.charCodeAt(0) === 0x5b) {
    const close = text.indexOf(']');
    if (close < 2 || !isBracketed(text, close)) return false;
    if (close + 1 === text.length) return true;
    if (text.charCodeAt(close + 1) !== 0x3a) return false;
    hostEnd = close + 1;
  } else {
    if (hostEnd < 0) hostEnd = text.length;
    if (hostEnd === 0 || !all(text, 0, hostEnd, AUTHORITY)) return false;
  }
  return isPort(text, hostEnd + 1);
}

/** Inside brackets: hexadecimal digits, colons and the dots of an embedded IPv4 address. */
function isBracketed(text: string, close: number): boolean {
  for (let i = 1; i < close; i++) {
    const c = text.charCodeAt(i);
    const lower = c | 0x20;
    if (!((c >= 0x30 && c <= 0x3a) || c === 0x2e || (lower >= 0x61 && lower <= 0x66))) return false;
  }
  return true;
}

function isPort(text: string, start: number): boolean {
  if (start >= text.length) return true;
  return text.length - start <= 5 && all(text, start, text.length, DIGIT) && Number(text.slice(start)) <= 65535;
}

/** 1*DIGIT up to 2^53-1 (RFC 9110 s8.6); -1 for everything else, lists and signs among it. */
export function readContentLength(text: string): number {
  const n = text.length;
  if (n === 0 || n > 16 || !all(text, 0, n, DIGIT)) return -1;
  const value = Number(text);
  return value <= Number.MAX_SAFE_INTEGER ? value : -1;
}

/** ASCII case folding alone: no other character has a case here. */
export function asciiLower(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x41 && c <= 0x5a) return fold(text);
  }
  return text;
}

function fold(text: string): string {
  return text.replace(/[A-Z]/g, (c) => String.fromCharCode(c.charCodeAt(0) + 32));
}
