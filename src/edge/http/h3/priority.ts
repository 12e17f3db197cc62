/**
 * Priorities of RFC 9218: the field value that `priority` and PRIORITY_UPDATE share, a structured dictionary (RFC 8941 s3.2)
 * of which only `u` and `i` mean something. What does not parse counts as absent.
 */
export const DEFAULT_URGENCY = 3;

/** What `readPriority` found. */
export const priority = { urgency: DEFAULT_URGENCY, incremental: false };

export function readPriority(value: string): void {
  priority.urgency = DEFAULT_URGENCY;
  priority.incremental = false;
  if (readDictionary(value)) return;
  priority.urgency = DEFAULT_URGENCY;
  priority.incremental = false;
}

/** Where the scan stands. One value at a time: nothing here calls out. */
let text = '';
let at = 0;

function readDictionary(value: string): boolean {
  text = value;
  at = 0;
  skip(isSpace);
  if (at === text.length) return true;
  for (;;) {
    if (!readMember()) return false;
    skip(isBlank);
    if (at === text.length) return true;
    if (text.charCodeAt(at) !== COMMA) return false;
    at++;
    skip(isBlank);
    // s4.2.2: a trailing comma is an error.
    if (at === text.length) return false;
  }
}

const COMMA = 0x2c;
const EQUALS = 0x3d;
const SEMICOLON = 0x3b;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x28;
const CLOSE = 0x29;

function readMember(): boolean {
  const key = readKey();
  if (key === null) return false;
  if (text.charCodeAt(at) !== EQUALS) {
    if (key === 'i') priority.incremental = true;
    return readParameters();
  }
  at++;
  const start = at;
  if (!readValue()) return false;
  take(key, text.slice(start, at));
  return readParameters();
}

/** Values of another type, or out of range, leave the default (RFC 9218 s4). */
function take(key: string, value: string): void {
  if (key === 'u') priority.urgency = value.length === 1 && value >= '0' && value <= '7' ? Number(value) : DEFAULT_URGENCY;
  else if (key === 'i') priority.incremental = value === '?1';
}

function readKey(): string | null {
  const start = at;
  const first = text.charCodeAt(at);
  if (!isLower(first) && first !== 0x2a) return null;
  skip(isKeyChar);
  return text.slice(start, at);
}

function readParameters(): boolean {
  while (text.charCodeAt(at) === SEMICOLON) {
    at++;
    skip(isSpace);
    if (readKey() === null) return false;
    if (text.charCodeAt(at) === EQUALS) {
      at++;
      if (!readItem()) return false;
    }
  }
  return true;
}

function readValue(): boolean {
  if (text.charCodeAt(at) !== OPEN) return readItem();
  at++;
  while (at < text.length) {
    skip(isSpace);
    if (text.charCodeAt(at) === CLOSE) {
      at++;
      return true;
    }
    if (!readItem() || !readParameters()) return false;
    const c = text.charCodeAt(at);
    if (c !== 0x20 && c !== CLOSE) return false;
  }
  return false;
}

/** A bare item: quoted, or a run of the characters that numbers, tokens, booleans and byte sequences are made of. */
function readItem(): boolean {
  if (text.charCodeAt(at) === QUOTE) return readQuoted();
  const start = at;
  skip(isItemChar);
  return at > start;
}

function readQuoted(): boolean {
  at++;
  while (at < text.length) {
    const c = text.charCodeAt(at++);
    if (c === QUOTE) return true;
    if (c === BACKSLASH) at++;
  }
  return false;
}

function skip(belongs: (c: number) => boolean): void {
  while (at < text.length && belongs(text.charCodeAt(at))) at++;
}

const isSpace = (c: number): boolean => c === 0x20;
const isBlank = (c: number): boolean => c === 0x20 || c === 0x09;
const isLower = (c: number): boolean => c >= 0x61 && c <= 0x7a;
const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
const isKeyChar = (c: number): boolean => isLower(c) || isDigit(c) || c === 0x5f || c === 0x2d || c === 0x2e || c === 0x2a;
const isItemChar = (c: number): boolean =>
  c > 0x20 && c < 0x7f && c !== COMMA && c !== SEMICOLON && c !== OPEN && c !== CLOSE && c !== QUOTE;
