/** What a match asks of a request beside its path: methods, headers, query parameters. Nothing here allocates unless a header repeats or a regex needs text. */
import type { FieldMatch } from '../snapshot/parts.ts';
import { hexDigit } from './path.ts';
import { compilePattern, type Pattern } from './regex.ts';

/** A condition on one header or query parameter. Requests hold octets (latin-1), configuration holds text: values are compared as UTF-8 octets. */
export class FieldTest {
  readonly name: string;
  /** What must be equal; null for Regex and Present. */
  readonly value: string | null;
  readonly pattern: Pattern | null;

  constructor(match: FieldMatch, patterns: PatternCache) {
    this.name = octets(match.name);
    this.value = match.type === 'Exact' ? octets(match.value) : null;
    this.pattern = match.type === 'Regex' ? patterns.get(match.value) : null;
  }
}

/** Compiled once per build, however many routes share an expression. */
export class PatternCache {
  private readonly known = new Map<string, Pattern>();

  get size(): number {
    return this.known.size;
  }

  /** Throws for what compile must have refused: a route that cannot be told apart must not be served. */
  get(source: string): Pattern {
    const known = this.known.get(source);
    if (known !== undefined) return known;
    const compiled = compilePattern(source);
    if (!compiled.ok) throw new Error(compiled.error);
    this.known.set(source, compiled.value);
    return compiled.value;
  }
}

const octets = (s: string): string => Buffer.from(s, 'utf8').toString('latin1');

function textOf(latin1: string): string {
  for (let i = 0; i < latin1.length; i++) if (latin1.charCodeAt(i) > 0x7f) return Buffer.from(latin1, 'latin1').toString('utf8');
  return latin1;
}

export function headersMatch(tests: readonly FieldTest[], names: readonly string[], values: readonly string[]): boolean {
  for (let i = 0; i < tests.length; i++) if (!headerMatches(tests[i] as FieldTest, names, values)) return false;
  return true;
}

export function headerMatches(test: FieldTest, names: readonly string[], values: readonly string[]): boolean {
  const first = names.indexOf(test.name);
  if (first < 0) return false;
  if (test.value === null && test.pattern === null) return true;
  const value = names.indexOf(test.name, first + 1) < 0 ? (values[first] as string) : combined(test.name, names, values);
  return test.value !== null ? value === test.value : (test.pattern as Pattern).matches(textOf(value));
}

/** The field's value is all of its lines, in order (RFC 9110 s5.2): no line of a repeated field matches alone. */
function combined(name: string, names: readonly string[], values: readonly string[]): string {
  const lines = values.filter((_, i) => names[i] === name);
  return lines.join(', ');
}

export function queryMatches(tests: readonly FieldTest[], query: string): boolean {
  for (let i = 0; i < tests.length; i++) if (!parameterMatches(tests[i] as FieldTest, query)) return false;
  return true;
}

/** The first parameter of that name counts. Names and values are compared decoded: `%62eta=%31` is `beta=1`, and `+` is a space. */
export function parameterMatches(test: FieldTest, query: string): boolean {
  let start = 0;
  while (start <= query.length) {
    let end = query.indexOf('&', start);
    if (end < 0) end = query.length;
    const equals = equalsIn(query, start, end);
    if (decodesTo(query, start, equals, test.name)) {
      if (test.value === null && test.pattern === null) return true;
      const from = Math.min(equals + 1, end);
      return test.value !== null
        ? decodesTo(query, from, end, test.value)
        : (test.pattern as Pattern).matches(textOf(decoded(query, from, end)));
    }
    start = end + 1;
  }
  return false;
}

/** Never looks behind the parameter: a query of separators alone must not cost the square of its length. */
function equalsIn(query: string, start: number, end: number): number {
  let at = start;
  while (at < end && query.charCodeAt(at) !== 0x3d) at++;
  return at;
}

/** How many characters of the query the octet at `at` takes: 3 when it is escaped. */
const width = (s: string, at: number, end: number): number =>
  s.charCodeAt(at) === 0x25 && at + 2 < end && hexDigit(s.charCodeAt(at + 1)) >= 0 && hexDigit(s.charCodeAt(at + 2)) >= 0 ? 3 : 1;

function octetAt(s: string, at: number, taken: number): number {
  if (taken === 3) return hexDigit(s.charCodeAt(at + 1)) * 16 + hexDigit(s.charCodeAt(at + 2));
  const c = s.charCodeAt(at);
  return c === 0x2b ? 0x20 : c;
}

function decodesTo(s: string, start: number, end: number, want: string): boolean {
  let k = 0;
  for (let at = start; at < end; k++) {
    const taken = width(s, at, end);
    if (k >= want.length || octetAt(s, at, taken) !== want.charCodeAt(k)) return false;
    at += taken;
  }
  return k === want.length;
}

function decoded(s: string, start: number, end: number): string {
  let plain = start;
  while (plain < end && s.charCodeAt(plain) !== 0x25 && s.charCodeAt(plain) !== 0x2b) plain++;
  let out = s.slice(start, plain);
  for (let at = plain; at < end;) {
    const taken = width(s, at, end);
    out += String.fromCharCode(octetAt(s, at, taken));
    at += taken;
  }
  return out;
}
