/**
 * Field lines that clients repeat, decoded and checked once: `user-agent`, `accept`, `sec-ch-ua` and their like, by the bytes of
 * the line. Of a worker, not of a connection, so only fields of this list are in it: none that identifies or authenticates
 * anybody, and nothing marked never-indexed. A line is taken in when it comes a second time; a slot holds one line.
 */
const NAMES = new Set<string>([
  ':authority',
  'accept',
  'accept-charset',
  'accept-encoding',
  'accept-language',
  'cache-control',
  'content-encoding',
  'content-type',
  'dnt',
  'grpc-accept-encoding',
  'grpc-encoding',
  'origin',
  'pragma',
  'priority',
  'purpose',
  'sec-ch-ua',
  'sec-ch-ua-arch',
  'sec-ch-ua-bitness',
  'sec-ch-ua-mobile',
  'sec-ch-ua-model',
  'sec-ch-ua-platform',
  'sec-ch-ua-platform-version',
  'sec-fetch-dest',
  'sec-fetch-mode',
  'sec-fetch-site',
  'sec-fetch-user',
  'sec-gpc',
  'te',
  'upgrade-insecure-requests',
  'user-agent',
  'x-requested-with',
]);

export interface KnownLine {
  readonly line: Uint8Array;
  readonly name: string;
  readonly value: string;
  /** What the sink said of it. */
  readonly tag: number;
}

const SLOTS = 1024;
/** What a fingerprint looks at, and what a slot is worth. */
export const MIN_LINE = 4;
export const MAX_LINE = 256;

const lines: (KnownLine | null)[] = Array.from({ length: SLOTS }, () => null);
/** Of the last line that was not in its slot. */
const prints = new Int32Array(SLOTS);

/** Of the length and a few bytes: what a line's name and value hardly share with another's. */
function fingerprint(buf: Uint8Array, at: number, end: number): number {
  const length = end - at;
  let h = length;
  h = Math.imul(h ^ (buf[at] as number), 0x01000193);
  h = Math.imul(h ^ (buf[at + 2] as number), 0x01000193);
  h = Math.imul(h ^ (buf[at + (length >> 1)] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 4] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 3] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 2] as number), 0x01000193);
  h = Math.imul(h ^ (buf[end - 1] as number), 0x01000193);
  return h ^ (h >>> 15);
}

export function recall(buf: Uint8Array, at: number, end: number): KnownLine | null {
  const known = lines[fingerprint(buf, at, end) & (SLOTS - 1)] as KnownLine | null;
  if (known === null) return null;
  const { line } = known;
  if (line.length !== end - at) return null;
  for (let i = 0; i < line.length; i++) if (line[i] !== buf[at + i]) return null;
  return known;
}

/** A line that was decoded and found in order. */
export function memorize(buf: Uint8Array, at: number, end: number, name: string, value: string, tag: number): void {
  if (!NAMES.has(name)) return;
  const print = fingerprint(buf, at, end);
  const slot = print & (SLOTS - 1);
  if (prints[slot] === print) lines[slot] = { line: Uint8Array.prototype.slice.call(buf, at, end), name, value, tag };
  else prints[slot] = print;
}
