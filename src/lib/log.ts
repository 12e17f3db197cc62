/** Log lines: JSON for machines, plain for terminals, with both sets of level names. The only importer of pino. */
import { pino } from 'pino';
import { GHOST_LEVELS, LEVELS, parseLevel, type Level } from './level.ts';

export type LogFormat = 'json' | 'plain';

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  level(): Level;
  setLevel(level: Level): void;
  trace(msg: string, fields?: LogFields): void;
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** At a level that is known only at run time: lines of workers. */
  at(level: string, msg: string, fields?: LogFields): void;
  /** At level info whatever the threshold, unless that is `off`: what scripts wait for. */
  always(msg: string, fields?: LogFields): void;
}

const MAX_VALUE = 2048;
const MAX_ITEMS = 256;
const MAX_DEPTH = 6;
// What JSON leaves as it is and terminals or line readers act upon.
const UNSAFE = /[\u007f-\u009f\u2028\u2029]/g;
const escapeChar = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;

const cleanText = (text: string): string => {
  const cut = text.length > MAX_VALUE ? `${text.slice(0, MAX_VALUE)}...` : text;
  return cut.replace(UNSAFE, escapeChar);
};

/** Strings cut and made safe, errors as their message and stack, no cycles by depth. */
const clean = (value: unknown, depth: number): unknown => {
  if (typeof value === 'string') return cleanText(value);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Error) return { message: cleanText(value.message), stack: cleanText(value.stack ?? '') };
  if (value instanceof Uint8Array) return `[${value.length} bytes]`;
  if (depth >= MAX_DEPTH) return '[deep]';
  if ('toJSON' in value && typeof value.toJSON === 'function') return clean(value.toJSON(), depth + 1);
  if (Array.isArray(value)) return value.slice(0, MAX_ITEMS).map((item) => clean(item, depth + 1));
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(entries.slice(0, MAX_ITEMS).map(([k, v]) => [cleanText(String(k)), clean(v, depth + 1)]));
};

const RESERVED = new Set(['level', 'time', 'msg']);
const cleanFields = (fields: LogFields): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(fields).map(([k, v]) => {
      const name = cleanText(k);
      return [RESERVED.has(name) ? `${name}_` : name, clean(v, 0)];
    }),
  );

const plainValue = (value: unknown): string => {
  if (typeof value !== 'string') return JSON.stringify(value);
  return /^[\w./:@,+-]+$/.test(value) ? value : JSON.stringify(value);
};

const ghostName = (level: string): string => GHOST_LEVELS[(LEVELS as readonly string[]).indexOf(level)] ?? level;

/** `2026-11-21T10:11:12.131Z spooky ready workers=1` */
const plainLine = (json: string): string => {
  const { level, time, msg, ...fields } = JSON.parse(json) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([k, v]) => ` ${plainValue(k)}=${plainValue(v)}`);
  // One line whatever the message holds: its control characters become escapes.
  const text = JSON.stringify(String(msg)).slice(1, -1).replaceAll('\\"', '"').replaceAll('\\\\', '\\');
  return `${String(time)} ${ghostName(String(level)).padEnd(11)} ${text}${rest.join('')}\n`;
};

export interface LogOptions {
  readonly level: Level;
  readonly format: LogFormat;
  /** Takes whole lines. */
  readonly write: (line: string) => void;
  /** Milliseconds since the epoch. */
  readonly wall: () => number;
}

export const createLog = (o: LogOptions): Log => {
  const write = o.format === 'plain' ? (line: string) => o.write(plainLine(line)) : o.write;
  const logger = pino(
    {
      level: 'trace',
      base: null,
      timestamp: () => `,"time":"${new Date(o.wall()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  let threshold: Level = o.level;
  const emit = (level: Exclude<Level, 'off'>, msg: string, fields: LogFields = {}): void => {
    logger[level](cleanFields(fields), cleanText(msg));
  };
  const enabled = (level: Level): boolean => LEVELS.indexOf(level) >= LEVELS.indexOf(threshold);
  const logAt =
    (level: Exclude<Level, 'off'>) =>
    (msg: string, fields?: LogFields): void => {
      if (enabled(level)) emit(level, msg, fields);
    };
  return {
    level: () => threshold,
    setLevel: (level) => {
      threshold = level;
    },
    trace: logAt('trace'),
    debug: logAt('debug'),
    info: logAt('info'),
    warn: logAt('warn'),
    error: logAt('error'),
    at: (name, msg, fields) => {
      const level = parseLevel(name) ?? 'info';
      if (level !== 'off') logAt(level)(msg, fields);
    },
    always: (msg, fields) => {
      if (threshold !== 'off') emit('info', msg, fields);
    },
  };
};
