/** The text forms of durations, sizes, statuses and addresses, in one place for resources, flags and people. All total: what is malformed gives null. */

const DURATION = /^(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}$/;
const DURATION_PART = /([0-9]{1,5})(h|ms|m|s)/g;
const MS: ReadonlyMap<string, number> = new Map([
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
]);

/** Longest text of a duration (GEP-2257: four parts of at most five digits). */
export const DURATION_LENGTH = 24;

const durationMs = (text: string): number | null => {
  if (text.length > DURATION_LENGTH || !DURATION.test(text)) return null;
  let sum = 0;
  for (const [, digits, unit] of text.matchAll(DURATION_PART)) sum += Number(digits) * (MS.get(unit as string) as number);
  return sum;
};

/** Milliseconds of `250ms`, `30s`, `1h30m`; null when malformed. */
export const readDuration = durationMs;

/** The same for text that a schema has accepted. */
export function parseDuration(text: string): number {
  const ms = durationMs(text);
  if (ms === null) throw new TypeError('not a duration');
  return ms;
}

/** The shortest text of a number of milliseconds. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000}h`;
  if (ms % 60_000 === 0) return `${ms / 60_000}m`;
  if (ms % 1000 === 0 && ms / 1000 < 100_000) return `${ms / 1000}s`;
  if (ms < 100_000) return `${ms}ms`;
  return `${Math.floor(ms / 1000)}s${ms % 1000}ms`;
}

const SIZE = /^([0-9]{1,15})(Ki|Mi|Gi|Ti)?$/;
const FACTOR: ReadonlyMap<string, number> = new Map([
  ['Ki', 1024],
  ['Mi', 1024 ** 2],
  ['Gi', 1024 ** 3],
  ['Ti', 1024 ** 4],
]);

/** Bytes of `64Ki`, `16Mi`, `65536` or a number; null when malformed or not exact. */
export function readSize(value: string | number): number | null {
  const found = SIZE.exec(String(value));
  if (found === null) return null;
  const bytes = Number(found[1]) * (found[2] === undefined ? 1 : (FACTOR.get(found[2]) as number));
  return Number.isSafeInteger(bytes) ? bytes : null;
}

export function parseSize(value: string | number): number {
  const bytes = readSize(value);
  if (bytes === null) throw new TypeError('not a size');
  return bytes;
}

/** The shortest text of a number of bytes. */
export function formatSize(bytes: number): string {
  for (const [unit, factor] of [...FACTOR].reverse()) if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  return String(bytes);
}

const STATUSES = /^([1-5][0-9][0-9])(?:-([1-5][0-9][0-9]))?$/;

/** `200` or `200-299`, inclusive; null when malformed or in the wrong order. */
export function readStatuses(value: string | number): readonly [number, number] | null {
  const found = STATUSES.exec(String(value));
  if (found === null) return null;
  const low = Number(found[1]);
  const high = found[2] === undefined ? low : Number(found[2]);
  return low <= high ? [low, high] : null;
}

export function parseStatuses(value: string | number): readonly [number, number] {
  const range = readStatuses(value);
  if (range === null) throw new TypeError('not a range of statuses');
  return range;
}

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

const PORT = /^[0-9]{1,5}$/;

/** A decimal port, 0 to 65535; -1 when malformed. */
export function readPort(text: string): number {
  if (!PORT.test(text)) return -1;
  const port = Number(text);
  return port <= 65535 ? port : -1;
}

/** `192.0.2.1:7001`, `db.example.net:7001`, `[2001:db8::1]:7001`; null when malformed. The host is not judged further. */
export function readHostPort(text: string): HostPort | null {
  const colon = text.lastIndexOf(':');
  if (colon <= 0) return null;
  const port = readPort(text.slice(colon + 1));
  if (port < 0) return null;
  let host = text.slice(0, colon);
  if (host.startsWith('[')) {
    if (!host.endsWith(']')) return null;
    host = host.slice(1, -1);
    return host.includes(':') ? { host, port } : null;
  }
  return host.includes(':') || host.includes('[') || host.includes(']') ? null : { host, port };
}

export function parseHostPort(text: string): HostPort {
  const address = readHostPort(text);
  if (address === null) throw new TypeError('not an address');
  return address;
}

export const formatHostPort = (a: HostPort): string => (a.host.includes(':') ? `[${a.host}]:${a.port}` : `${a.host}:${a.port}`);
