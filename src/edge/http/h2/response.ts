/** What a response must be (RFC 9113 s8.1 to 8.3, RFC 9110 s8.6 and s15). Anything else is malformed, never repaired. */
import type { Fields } from '../fields.ts';
import type { HpackDecoder } from '../hpack/decoder.ts';
import { FieldNote } from '../hpack/rules.ts';

const BAD_NOTES =
  FieldNote.BAD_NAME | FieldNote.BAD_VALUE | FieldNote.CONNECTION | FieldNote.TE | FieldNote.LATE_PSEUDO | FieldNote.MORE_LENGTHS;

/** What is wrong with the fields themselves, or null. */
function wrongFields(notes: number): string | null {
  if ((notes & BAD_NOTES) === 0) return null;
  if ((notes & FieldNote.BAD_NAME) !== 0) return 'a field name that is not a lower-case token (s8.2.1)';
  if ((notes & FieldNote.BAD_VALUE) !== 0) return 'a field value with control characters or outer white space (s8.2.1, RFC 9114 s10.3)';
  if ((notes & FieldNote.LATE_PSEUDO) !== 0) return 'a pseudo-field behind a regular one (s8.3)';
  if ((notes & FieldNote.MORE_LENGTHS) !== 0) return 'more than one content-length';
  return 'a field that is specific to a connection (s8.2.2)';
}

/** What is wrong with a response's head, or null. */
export function wrongHead(decoder: HpackDecoder, pseudo: Fields): string | null {
  if (pseudo.length !== 1 || pseudo.names[0] !== ':status') return 'pseudo-fields other than one :status (s8.3.2)';
  if (parseStatus(pseudo.values[0] as string) < 0) return ':status not of three digits from 100 to 599 (s8.3.2)';
  return wrongFields(decoder.notes);
}

export const PSEUDO_IN_TRAILERS = 'a pseudo-field in trailers (s8.1)';

/** What is wrong with trailers, or null. */
export function wrongTrailers(decoder: HpackDecoder, pseudo: Fields): string | null {
  return pseudo.length > 0 ? PSEUDO_IN_TRAILERS : wrongFields(decoder.notes);
}

/** 100 to 599, or -1 (RFC 9110 s15). */
export function parseStatus(text: string): number {
  if (text.length !== 3) return -1;
  const a = text.charCodeAt(0) - 48;
  const b = text.charCodeAt(1) - 48;
  const c = text.charCodeAt(2) - 48;
  if (a < 1 || a > 5 || b < 0 || b > 9 || c < 0 || c > 9) return -1;
  return a * 100 + b * 10 + c;
}

/** 1*DIGIT up to 2^53-1, or -1 (RFC 9110 s8.6). */
export function parseContentLength(text: string): number {
  if (text.length === 0 || text.length > 16) return -1;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value <= Number.MAX_SAFE_INTEGER ? value : -1;
}
