import type { Fields } from '../http/fields.ts';

/** This installation's name in `via`, and the entries that it adds: RFC 9110 s7.6.3. */
export class Via {
  readonly pseudonym: string;
  /** The protocol is the one that the message was received by. */
  readonly request: string;
  readonly response: string;

  constructor(pseudonym: string) {
    this.pseudonym = pseudonym;
    this.request = `3 ${pseudonym}`;
    this.response = `2 ${pseudonym}`;
  }

  /** Whether the message has passed this installation already. */
  seenIn(fields: Fields): boolean {
    for (let i = fields.names.indexOf('via'); i >= 0; i = fields.names.indexOf('via', i + 1)) {
      if (names(fields.values[i] as string, this.pseudonym)) return true;
    }
    return false;
  }

  /** Appends to the last `via`, so that its order stays the order of the hops. */
  append(fields: Fields, entry: string): void {
    const at = fields.lastOf('via');
    if (at < 0) fields.add('via', entry);
    else fields.values[at] = fields.values[at] === '' ? entry : `${fields.values[at]}, ${entry}`;
  }
}

/** The pseudonym as a word of its own: within a comment it costs its sender a 508 and nobody else anything. */
function names(value: string, pseudonym: string): boolean {
  for (let at = value.indexOf(pseudonym); at >= 0; at = value.indexOf(pseudonym, at + 1)) {
    if (isEdge(value.charCodeAt(at - 1)) && isEdge(value.charCodeAt(at + pseudonym.length))) return true;
  }
  return false;
}

/** Space, tab, comma, or the end of the value (charCodeAt gives NaN). */
function isEdge(c: number): boolean {
  return c === 32 || c === 9 || c === 44 || Number.isNaN(c);
}
