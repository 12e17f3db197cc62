/**
 * The settings of `serve`: one table that the flags, the environment, the `Settings` document, `--help` and the reference all come from.
 * Every value has one text form; a document may also write numbers and lists as YAML has them.
 */
import { err, ok, type Result } from '../../lib/result.ts';
import { GHOST_LEVELS, LEVELS, parseLevel, type Level } from '../../lib/level.ts';
import { isAddress, isCidr, matchesPattern } from './names.ts';
import { formatSize, readDuration, readHostPort, readSize, type HostPort } from './units.ts';

export type LogLevel = Level;

/** Values as the program uses them: durations in milliseconds, sizes in bytes, `off` as null. */
export interface SettingValues {
  readonly workers: number | 'auto';
  /** Bytes; null: no limit. */
  readonly workerMemory: number | 'auto' | null;
  readonly metrics: HostPort | null;
  readonly admin: HostPort | null;
  readonly adminTokenFile: string | null;
  readonly logLevel: LogLevel;
  /** null: plain on a terminal, else json. */
  readonly logFormat: 'json' | 'plain' | null;
  readonly accessLog: 'off' | 'errors' | 'all';
  readonly metricsDetail: 'listener' | 'upstream' | 'endpoint';
  readonly engine: 'auto' | 'native' | 'matrixai';
  readonly drainDelay: number;
  readonly drainTimeout: number;
  readonly keyFile: string | null;
  /** null: the machine's. */
  readonly nodeName: string | null;
  readonly maxConnections: number;
  readonly udpReceiveBuffer: number;
  readonly udpSendBuffer: number;
  readonly logFile: string | null;
  readonly endpointDeny: readonly string[];
  /** null: the user's runtime folder, or the one for temporary files. */
  readonly runtimeDir: string | null;
  readonly takeover: string | null;
}

export type SettingName = keyof SettingValues;
/** What a `Settings` document says; the rest comes from flags, environment and defaults. */
export type SettingsDocument = { readonly [N in SettingName]?: SettingValues[N] };

/** One setting of a table of values `V`. */
export interface SettingOf<V, N extends keyof V & string = keyof V & string> {
  readonly name: N;
  /** `--log-level` */
  readonly flag: string;
  /** `SPOOKY_LOG_LEVEL` */
  readonly env: string;
  /** The placeholder in `--help`; '' for a switch. */
  readonly value: string;
  readonly default: V[N];
  /** The default as `--help` shows it. */
  readonly defaultText: string;
  readonly help: string;
  /** From text to value, or what would be right. */
  readonly parse: (text: string) => Result<V[N], string>;
}

export type Setting<N extends SettingName = SettingName> = SettingOf<SettingValues, N>;

const kebab = (name: string): string => name.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

export type Parse<V> = (text: string) => Result<V, string>;

/** The maker of settings of one table. */
export const settingsOf =
  <V>() =>
  <N extends keyof V & string>(
    name: N,
    value: string,
    help: string,
    parse: Parse<V[N]>,
    defaultText: string,
    initial?: V[N],
  ): SettingOf<V, N> => {
    const flag = `--${kebab(name)}`;
    let given = initial;
    if (given === undefined) {
      const parsed = parse(defaultText);
      if (!parsed.ok) throw new TypeError(`default of ${name}: ${parsed.error}`);
      given = parsed.value;
    }
    return {
      name,
      flag,
      env: `SPOOKY_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`,
      value,
      default: given,
      defaultText,
      help,
      parse,
    };
  };

export const words =
  <const W extends readonly string[]>(...list: W): Parse<W[number]> =>
  (text) =>
    list.includes(text)
      ? ok(text)
      : err(`must be ${list.slice(0, -1).join(', ')} or ${list[list.length - 1]}, not ${JSON.stringify(text)}`);

const level: Parse<LogLevel> = (text) => {
  const found = parseLevel(text);
  return found === null ? err(`must be ${[...LEVELS, ...GHOST_LEVELS].join(', ')}, not ${JSON.stringify(text)}`) : ok(found);
};

const between =
  (low: string, high: string): Parse<number> =>
  (text) => {
    const ms = readDuration(text);
    return ms !== null && ms >= (readDuration(low) as number) && ms <= (readDuration(high) as number)
      ? ok(ms)
      : err(`must be a duration like 30s, ${low} to ${high}, not ${JSON.stringify(text)}`);
  };

const whole = (text: string, low: number, high: number): number | null => {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return null;
  const n = Number(text);
  return n >= low && n <= high ? n : null;
};

const count =
  (low: number, high: number): Parse<number> =>
  (text) => {
    const n = whole(text, low, high);
    return n === null ? err(`must be a whole number from ${low} to ${high}, not ${JSON.stringify(text)}`) : ok(n);
  };

const workers: Parse<number | 'auto'> = (text) => {
  if (text === 'auto') return ok(text);
  const n = whole(text, 1, 256);
  return n === null ? err(`must be auto or a whole number from 1 to 256, not ${JSON.stringify(text)}`) : ok(n);
};

const MI = 1024 ** 2;

const workerMemory: Parse<number | 'auto' | null> = (text) => {
  if (text === 'auto') return ok(text);
  if (text === 'off') return ok(null);
  const n = readSize(text);
  return n !== null && n >= 32 * MI && n <= 1024 ** 4
    ? ok(n)
    : err(`must be auto, off or a size like 512Mi, 32Mi to 1Ti, not ${JSON.stringify(text)}`);
};

const bytes =
  (low: number, high: number): Parse<number> =>
  (text) => {
    const n = readSize(text);
    return n !== null && n >= low && n <= high
      ? ok(n)
      : err(`must be a size like 8Mi, ${formatSize(low)} to ${formatSize(high)}, not ${JSON.stringify(text)}`);
  };

/** `a,b` as a list, without empty items. */
export const commaList = (text: string): string[] => text.split(',').flatMap((s) => (s.trim() === '' ? [] : [s.trim()]));

/** `127.0.0.1:9901`; a bare `:9901` is every address, as most people write it. */
export const listenAddress: Parse<HostPort> = (text) => {
  const found = readHostPort(text.startsWith(':') ? `[::]${text}` : text);
  if (found !== null && (isAddress(found.host) || found.host === 'localhost')) return ok(found);
  return err(`must be an address and a port like 127.0.0.1:9901 or [::1]:9901, not ${JSON.stringify(text)}`);
};

const listenOrOff: Parse<HostPort | null> = (text) => {
  if (text === 'off') return ok(null);
  const found = listenAddress(text);
  return found.ok ? found : err(found.error.replace('must be', 'must be off or'));
};

export const file: Parse<string | null> = (text) => (text === '' || text.includes('\0') ? err('must be a path of a file') : ok(text));

const folder: Parse<string | null> = (text) =>
  text.startsWith('/') && !text.includes('\0') ? ok(text) : err(`must be an absolute path of a folder, not ${JSON.stringify(text)}`);

/** What fits into the address of a Unix socket, with its NUL. */
const MAX_SOCKET_PATH = 107;

const socketPath: Parse<string | null> = (text) => {
  if (!text.startsWith('/') || text.includes('\0')) return err(`must be an absolute path of a socket, not ${JSON.stringify(text)}`);
  return Buffer.byteLength(text) <= MAX_SOCKET_PATH ? ok(text) : err(`must have at most ${MAX_SOCKET_PATH} bytes`);
};

const nodeName: Parse<string | null> = (text) =>
  text.length <= 253 && matchesPattern('label', text)
    ? ok(text)
    : err(`must be a name of letters, digits, "-", "_" and ".", not ${JSON.stringify(text)}`);

const networks: Parse<readonly string[]> = (text) => {
  const list = commaList(text);
  const bad = list.find((s) => !isCidr(s) && !isAddress(s));
  if (bad !== undefined) return err(`must be networks like 10.0.0.0/8, with commas between them, not ${JSON.stringify(bad)}`);
  return ok(list.map((s) => (isCidr(s) ? s : `${s}/${s.includes(':') ? 128 : 32}`)));
};

const setting = settingsOf<SettingValues>();

export const SETTINGS: readonly Setting[] = [
  setting(
    'workers',
    'N|auto',
    'Processes that serve; auto: one per core that this process may use, by its affinity mask and the CPU quota of its control groups, rounded to the nearest whole number.',
    workers,
    'auto',
  ),
  setting(
    'workerMemory',
    'auto|off|SIZE',
    'Resident memory from which on a worker is drained and replaced, one at a time; from a quarter above it is killed. auto: 80 % of the memory limit of the control groups, or of the machine, without 128Mi for the main process, shared among the workers; at least 128Mi.',
    workerMemory,
    'auto',
  ),
  setting('metrics', 'ADDR|off', 'Where /metrics, /healthz, /readyz and /drainz are served.', listenOrOff, '127.0.0.1:9901'),
  setting('admin', 'ADDR|off', 'Where the admin API is served; beyond loopback only with a token.', listenOrOff, '127.0.0.1:9902'),
  setting('adminTokenFile', 'FILE', 'The bearer token of the admin API.', file, 'none', null),
  setting(
    'logLevel',
    'LEVEL',
    'trace, debug, info, warn, error or off (whisper, haunt, spooky, scream, poltergeist, silence).',
    level,
    'info',
  ),
  setting('logFormat', 'json|plain', 'How log lines look.', words('json', 'plain'), 'plain on a terminal, else json', null),
  setting('accessLog', 'off|errors|all', 'Which requests are logged.', words('off', 'errors', 'all'), 'errors'),
  setting(
    'metricsDetail',
    'listener|upstream|endpoint',
    'How fine the rows of metrics are.',
    words('listener', 'upstream', 'endpoint'),
    'upstream',
  ),
  setting(
    'engine',
    'auto|native|matrixai',
    'The QUIC engine; auto: native where it works, else matrixai with a warning.',
    words('auto', 'native', 'matrixai'),
    'auto',
  ),
  setting('drainDelay', 'DURATION', 'How long everything is still accepted after TERM.', between('0s', '1h'), '0s'),
  setting('drainTimeout', 'DURATION', 'How long open requests may take to finish once a drain has begun.', between('0s', '24h'), '30s'),
  setting('keyFile', 'FILE', 'The key that connection ids, tokens, resets and tickets derive from.', file, 'made in memory', null),
  setting('nodeName', 'NAME', 'The name of this node.', nodeName, "the machine's", null),
  setting(
    'maxConnections',
    'N',
    'Connections of one listener that has no limit of its own, over all workers of this node.',
    count(1, 10_000_000),
    '20000',
  ),
  setting('udpReceiveBuffer', 'SIZE', 'The receive buffer to ask for, per UDP socket.', bytes(4096, 1024 * MI), '8Mi'),
  setting('udpSendBuffer', 'SIZE', 'The send buffer to ask for, per UDP socket.', bytes(4096, 1024 * MI), '8Mi'),
  setting('logFile', 'FILE', 'Where log lines go instead of stderr.', file, 'stderr', null),
  setting('endpointDeny', 'CIDR,...', 'Networks that no backend may be in.', networks, 'none', []),
  setting('runtimeDir', 'DIR', 'Where workers keep a folder of sockets to each other.', folder, '/tmp, else $XDG_RUNTIME_DIR', null),
  setting(
    'takeover',
    'SOCKET',
    'Take over from the process that listens at this socket, if any, and listen there for the next one.',
    socketPath,
    'none',
    null,
  ),
] as readonly Setting[];

export const settingByName: ReadonlyMap<string, Setting> = new Map(SETTINGS.map((s) => [s.name, s]));

/** A value of a document as the text that a flag would have. */
function textOf(value: unknown): string | null {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  if (Array.isArray(value) && value.every((v) => typeof v === 'string' && !v.includes(','))) return value.join(',');
  return null;
}

export interface SettingsFault {
  readonly name: string;
  readonly message: string;
}

/** The members of a `Settings` document's spec; unknown names are the caller's to report. */
export function readSettings(spec: Readonly<Record<string, unknown>>): { settings: SettingsDocument; faults: SettingsFault[] } {
  const faults: SettingsFault[] = [];
  const settings: Record<string, unknown> = {};
  for (const s of SETTINGS) {
    const value = Object.hasOwn(spec, s.name) ? spec[s.name] : undefined;
    if (value === undefined) continue;
    const text = textOf(value);
    if (text === null) {
      faults.push({ name: s.name, message: `must be written as text like ${s.value}` });
      continue;
    }
    const parsed = s.parse(text);
    if (parsed.ok) settings[s.name] = parsed.value;
    else faults.push({ name: s.name, message: parsed.error });
  }
  return { settings, faults };
}
