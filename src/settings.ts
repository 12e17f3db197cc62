/** Flags, environment and the Settings document become one readonly object, once. The table below is all there is to know about each. */
import { hostname } from 'node:os';
import { isCidr } from './contract/resources/names.ts';
import { formatDuration, formatSize, readDuration, readHostPort, readSize, type HostPort } from './contract/resources/units.ts';
import { parseLevel, type Level } from './lib/level.ts';
import { err, ok, type Result } from './lib/result.ts';

type Parsed<T> = Result<T, string>;

export interface Setting<T> {
  /** How the value is written in help; '' for a switch. */
  readonly value: string;
  /** Text that `parse` takes; null: absent, with `absent` saying what that means. */
  readonly fallback: string | null;
  readonly absent: string;
  readonly help: string;
  readonly parse: (text: string) => Parsed<T>;
  /** May stand in a Settings document. */
  readonly document: boolean;
  /** Named so that it is refused by name. */
  readonly later: 'standalone' | 'cluster' | null;
}

const define = <T>(value: string, fallback: string, help: string, parse: (text: string) => Parsed<T>): Setting<T> => ({
  value,
  fallback,
  absent: '',
  help,
  parse,
  document: true,
  later: null,
});
const optional = <T>(value: string, absent: string, help: string, parse: (text: string) => Parsed<T>): Setting<T | null> => ({
  value,
  fallback: null,
  absent,
  help,
  parse,
  document: true,
  later: null,
});
const later = (scope: 'standalone' | 'cluster', value: string, help: string): Setting<string | null> => ({
  ...optional<string>(value, 'none', help, text),
  document: false,
  later: scope,
});

function text(value: string): Parsed<string> {
  return value === '' ? err('must not be empty') : ok(value);
}

const oneOf =
  <const T extends string>(...names: readonly T[]) =>
  (value: string): Parsed<T> => {
    const found = names.find((name) => name === value);
    return found === undefined ? err(`must be one of ${names.join(', ')}`) : ok(found);
  };

const integer =
  (least: number, most: number) =>
  (value: string): Parsed<number> => {
    const n = /^[0-9]{1,15}$/.test(value) ? Number(value) : -1;
    return n >= least && n <= most ? ok(n) : err(`must be a whole number from ${least} to ${most}`);
  };

const duration =
  (most: number) =>
  (value: string): Parsed<number> => {
    const ms = readDuration(value);
    return ms !== null && ms <= most ? ok(ms) : err(`must be a duration like 250ms, 30s or 5m, at most ${formatDuration(most)}`);
  };

const size =
  (least: number, most: number) =>
  (value: string): Parsed<number> => {
    const bytes = readSize(value);
    return bytes !== null && bytes >= least && bytes <= most
      ? ok(bytes)
      : err(`must be a size like 64Ki or 8Mi, ${formatSize(least)} to ${formatSize(most)}`);
  };

/** An address to listen on; null: off. */
const address = (value: string): Parsed<HostPort | null> => {
  if (value === 'off') return ok(null);
  const found = readHostPort(value.startsWith(':') ? `0.0.0.0${value}` : value);
  return found === null ? err('must be an address like 127.0.0.1:9901 or [::1]:9901, or off') : ok(found);
};

const level = (value: string): Parsed<Level> => {
  const found = parseLevel(value);
  return found === null
    ? err('must be trace, debug, info, warn, error or off (or whisper, haunt, spooky, scream, poltergeist, silence)')
    : ok(found);
};

const workers = (value: string): Parsed<number> =>
  value === 'auto' ? ok(1) : integer(1, 64)(value).ok ? ok(Number(value)) : err('must be 1 to 64, or auto');

const cidrs = (value: string): Parsed<readonly string[]> => {
  const list = value === '' ? [] : value.split(',').map((item) => item.trim());
  const wrong = list.find((item) => !isCidr(item));
  return wrong === undefined ? ok(list) : err(`${wrong} is not a CIDR like 10.0.0.0/8`);
};

export const SETTINGS = {
  workers: define(
    'N|auto',
    '1',
    'Worker processes. auto is 1 for now: connections do not yet keep their worker when a client’s address changes.',
    workers,
  ),
  metrics: define('ADDR|off', '127.0.0.1:9901', 'Where probes and metrics are served: /healthz, /readyz, /drainz, /metrics.', address),
  admin: define('ADDR|off', '127.0.0.1:9902', 'Where the admin API is served. Loopback only, unless there is a token file.', address),
  adminTokenFile: optional('FILE', 'no token: loopback only', 'The bearer token of the admin API.', text),
  logLevel: define('L', 'info', 'trace, debug, info, warn, error, off; or whisper, haunt, spooky, scream, poltergeist, silence.', level),
  logFormat: optional('json|plain', 'plain on a terminal, else json', 'The form of log lines.', oneOf('json', 'plain')),
  accessLog: define('off|errors|all', 'errors', 'Which requests get a line on standard output.', oneOf('off', 'errors', 'all')),
  metricsDetail: define('listener|upstream|endpoint', 'upstream', 'How fine metrics are.', oneOf('listener', 'upstream', 'endpoint')),
  engine: define('auto|native|matrixai', 'auto', 'The QUIC engine.', oneOf('auto', 'native', 'matrixai')),
  drainDelay: define('DURATION', '0s', 'After TERM, everything is still accepted for this long.', duration(3_600_000)),
  drainTimeout: define('DURATION', '30s', 'How long open requests may take to finish, from the first GOAWAY on.', duration(3_600_000)),
  keyFile: optional(
    'FILE',
    'made in memory',
    'The key that connection ids, tokens, resets and tickets derive from: 32 bytes or more.',
    text,
  ),
  nodeName: optional('NAME', 'the host name', 'Tells the nodes of one installation apart in connection ids.', text),
  maxConnections: define('N', '20000', 'Client connections of a listener that sets no limit of its own.', integer(1, 10_000_000)),
  udpReceiveBuffer: define('SIZE', '8Mi', 'Asked of the kernel for each UDP socket.', size(4096, 1024 ** 3)),
  udpSendBuffer: define('SIZE', '8Mi', 'Asked of the kernel for each UDP socket.', size(4096, 1024 ** 3)),
  logFile: optional('FILE', 'standard error', 'Where log lines go; opened again on HUP.', text),
  endpointDeny: define('CIDR,...', '', 'Addresses that no backend may have, beside link-local, multicast and metadata services.', cidrs),
} as const;

/** Flags that later steps bring: known by name, refused by name. */
export const LATER = {
  takeover: later('standalone', 'SOCKET', 'Take sockets over from a running process.'),
  kubernetes: later('cluster', '', 'Serve what a cluster’s objects say.'),
  kubeconfig: later('cluster', 'FILE', 'Credentials of the cluster.'),
  context: later('cluster', 'NAME', 'Context of the kubeconfig.'),
  class: later('cluster', 'NAME', 'Class of Listeners to serve.'),
  namespaces: later('cluster', 'A,B', 'Namespaces to watch.'),
  listenerNamespaces: later('cluster', 'A,B', 'Namespaces whose Listeners count.'),
  secretNamespaces: later('cluster', 'A,B|all', 'Namespaces whose Secrets are read.'),
  ports: later('cluster', 'A,B', 'Ports that are published.'),
  publishService: later('cluster', 'NS/NAME', 'Service whose addresses are published.'),
  publishAddresses: later('cluster', 'A,B', 'Addresses to publish.'),
  publishNodeAddresses: later('cluster', '', 'Publish the nodes’ addresses.'),
  allowAddressBackends: later('cluster', '', 'Allow `addresses` in Upstreams.'),
} as const;

export type SettingName = keyof typeof SETTINGS;
export type ServeSettings = { readonly [K in SettingName]: (typeof SETTINGS)[K] extends Setting<infer T> ? T : never };

export const SETTING_NAMES = Object.keys(SETTINGS) as readonly SettingName[];

/** `logLevel` is `--log-level` and `SPOOKY_LOG_LEVEL`. */
export const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
export const envOf = (name: string): string => `SPOOKY_${name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()}`;

export interface SettingProblem {
  /** `--log-level`, `SPOOKY_LOG_LEVEL` or `spec.logLevel`. */
  readonly source: string;
  readonly message: string;
  /** Where it was written: what was typed is a usage error, a document is configuration. */
  readonly from: 'flag' | 'env' | 'document' | 'default';
}

export interface SettingSources {
  /** By flag, `--log-level`. */
  readonly flags: ReadonlyMap<string, string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `spec` of a Settings document. */
  readonly document: Readonly<Record<string, unknown>> | null;
}

interface Written {
  readonly text: string | null;
  readonly source: string;
  readonly from: SettingProblem['from'];
}

const documentText = (value: unknown): string => (Array.isArray(value) ? value.join(',') : value === null ? 'off' : String(value));

const find = (name: string, setting: Setting<unknown>, sources: SettingSources): Written => {
  const flag = sources.flags.get(flagOf(name));
  if (flag !== undefined) return { text: flag, source: flagOf(name), from: 'flag' };
  const env = sources.env[envOf(name)];
  if (env !== undefined) return { text: env, source: envOf(name), from: 'env' };
  if (setting.document && sources.document !== null && Object.hasOwn(sources.document, name) && sources.document[name] !== undefined) {
    return { text: documentText(sources.document[name]), source: `spec.${name}`, from: 'document' };
  }
  return { text: setting.fallback, source: flagOf(name), from: 'default' };
};

const loopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);

/** What no single value can tell. */
const together = (s: Partial<Record<SettingName, unknown>>): SettingProblem[] => {
  const admin = s.admin as HostPort | null | undefined;
  const metrics = s.metrics as HostPort | null | undefined;
  const problems: SettingProblem[] = [];
  if (admin && s.adminTokenFile === null && !loopback(admin.host)) {
    problems.push({
      source: '--admin',
      message: `without --admin-token-file the admin API binds loopback addresses only, not ${admin.host}`,
      from: 'flag',
    });
  }
  if (admin && metrics && admin.port !== 0 && admin.port === metrics.port && admin.host === metrics.host) {
    problems.push({ source: '--admin', message: 'must not be the same address as --metrics', from: 'flag' });
  }
  return problems;
};

/** Every problem of every source at once. */
export const readSettings = (sources: SettingSources): Result<ServeSettings, readonly SettingProblem[]> => {
  const problems: SettingProblem[] = [];
  const values: Partial<Record<SettingName, unknown>> = {};
  for (const name of SETTING_NAMES) {
    const setting = SETTINGS[name] as Setting<unknown>;
    const written = find(name, setting, sources);
    const parsed = written.text === null ? ok(null) : setting.parse(written.text);
    if (parsed.ok) values[name] = parsed.value;
    else problems.push({ source: written.source, message: parsed.error, from: written.from });
  }
  for (const [name, setting] of Object.entries(LATER)) {
    const written = find(name, setting, { ...sources, document: null });
    if (written.text === null || written.from === 'default') continue;
    const what =
      setting.later === 'cluster' && name !== 'kubernetes' ? 'needs --kubernetes, which is not supported yet' : 'not supported yet';
    problems.push({ source: written.source, message: what, from: written.from });
  }
  if (problems.length === 0) problems.push(...together(values));
  return problems.length > 0 ? err(problems) : ok(Object.freeze(values) as ServeSettings);
};

/** Settings that a running process takes over when its document changes. */
export const LIVE_SETTINGS: ReadonlySet<SettingName> = new Set<SettingName>(['logLevel', 'drainDelay', 'drainTimeout']);

/** The names whose values differ. */
export const changedSettings = (a: ServeSettings, b: ServeSettings): SettingName[] =>
  SETTING_NAMES.filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));

export const nodeName = (s: ServeSettings): string => s.nodeName ?? hostname();
