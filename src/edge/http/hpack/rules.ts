/**
 * What a field is, found out once when its bytes are read and remembered in the table, so that a field that comes by
 * index costs nothing. The rules are those of RFC 9113 s8.2, and for values those of RFC 9114 s10.3 as well: what comes from a backend leaves over HTTP/3.
 */
export const FieldNote = {
  /** Not a lower-case token. */
  BAD_NAME: 1,
  /** Holds a control character other than TAB, or starts or ends with SP or TAB. */
  BAD_VALUE: 2,
  /** `:name`; whether it is a known one is the message's business. */
  PSEUDO: 4,
  /** Specific to a connection (s8.2.2), `te` apart. */
  CONNECTION: 8,
  TE: 16,
  CONTENT_LENGTH: 32,
  /** A pseudo-field behind a regular one; of a block, never of a field. */
  LATE_PSEUDO: 64,
  /** More than one content-length; of a block. */
  MORE_LENGTHS: 128,
} as const;

/** tchar of RFC 9110 s5.6.2 without upper case. */
const TOKEN = new Uint8Array(256);
for (const c of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") TOKEN[c.charCodeAt(0)] = 1;

export function noteName(name: string): number {
  if (name.length === 0) return FieldNote.BAD_NAME;
  const pseudo = name.charCodeAt(0) === 0x3a;
  for (let i = pseudo ? 1 : 0; i < name.length; i++) if (TOKEN[name.charCodeAt(i)] !== 1) return FieldNote.BAD_NAME;
  if (pseudo) return FieldNote.PSEUDO;
  switch (name.length) {
    case 2:
      return name === 'te' ? FieldNote.TE : 0;
    case 7:
      return name === 'upgrade' ? FieldNote.CONNECTION : 0;
    case 10:
      return name === 'connection' || name === 'keep-alive' ? FieldNote.CONNECTION : 0;
    case 14:
      return name === 'content-length' ? FieldNote.CONTENT_LENGTH : 0;
    case 16:
      return name === 'proxy-connection' ? FieldNote.CONNECTION : 0;
    case 17:
      return name === 'transfer-encoding' ? FieldNote.CONNECTION : 0;
    default:
      return 0;
  }
}

export function noteValue(value: string): number {
  const n = value.length;
  if (n === 0) return 0;
  if (isBlank(value.charCodeAt(0)) || isBlank(value.charCodeAt(n - 1))) return FieldNote.BAD_VALUE;
  for (let i = 0; i < n; i++) {
    const c = value.charCodeAt(i);
    if ((c < 0x20 && c !== 0x09) || c === 0x7f) return FieldNote.BAD_VALUE;
  }
  return 0;
}

const isBlank = (c: number): boolean => c === 0x20 || c === 0x09;
