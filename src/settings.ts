/** Flags, environment, Settings document and defaults become one readonly object, once. The table of settings is the contract's. */
import { SETTINGS, type SettingName, type SettingsDocument, type SettingValues } from './contract/resources/settings.ts';
import { err, ok, type Result } from './lib/result.ts';

export type ServeSettings = Readonly<SettingValues>;

export interface LaterFlag {
  readonly flag: string;
  readonly env: string;
  /** '' for a switch. */
  readonly value: string;
  readonly help: string;
  readonly cluster: boolean;
}

const later = (flag: string, value: string, help: string, cluster = true): LaterFlag => ({
  flag,
  env: `SPOOKY_${flag.slice(2).replaceAll('-', '_').toUpperCase()}`,
  value,
  help,
  cluster,
});

/** What later steps bring: known by name, refused by name. */
export const LATER_FLAGS: readonly LaterFlag[] = [
  later('--kubernetes', '', 'Serve what the objects of a cluster say.', false),
  later('--takeover', 'SOCKET', 'Take the sockets over from a running process.', false),
  later('--kubeconfig', 'FILE', 'The credentials of the cluster.'),
  later('--context', 'NAME', 'The context of the kubeconfig.'),
  later('--class', 'NAME', 'The class of Listeners to serve.'),
  later('--namespaces', 'A,B', 'Namespaces to watch.'),
  later('--listener-namespaces', 'A,B', 'Namespaces whose Listeners count.'),
  later('--secret-namespaces', 'A,B|all', 'Namespaces whose Secrets are read.'),
  later('--ports', 'A,B', 'The ports that are published.'),
  later('--publish-service', 'NS/NAME', 'The Service whose addresses are published.'),
  later('--publish-addresses', 'A,B', 'The addresses to publish.'),
  later('--publish-node-addresses', '', 'Publish the addresses of nodes.'),
  later('--allow-address-backends', '', 'Allow `addresses` in Upstreams.'),
];

export interface SettingProblem {
  /** `--log-level` or `SPOOKY_LOG_LEVEL`. */
  readonly source: string;
  readonly message: string;
}

export interface SettingSources {
  /** By flag: `--log-level`. */
  readonly flags: ReadonlyMap<string, string>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Parsed already, with problems of its own. */
  readonly document: SettingsDocument | null;
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);

/** What no value can tell by itself. */
const together = (s: ServeSettings): SettingProblem[] => {
  const problems: SettingProblem[] = [];
  const { admin, metrics } = s;
  if (admin !== null && s.adminTokenFile === null && !isLoopback(admin.host)) {
    problems.push({ source: '--admin', message: `without --admin-token-file the admin API binds loopback only, not ${admin.host}` });
  }
  if (admin !== null && metrics !== null && admin.port !== 0 && admin.port === metrics.port && admin.host === metrics.host) {
    problems.push({ source: '--admin', message: 'must be another address than --metrics' });
  }
  return problems;
};

const refuseLater = (sources: SettingSources): SettingProblem[] =>
  LATER_FLAGS.flatMap((f) => {
    const source = sources.flags.has(f.flag) ? f.flag : sources.env[f.env] === undefined ? null : f.env;
    if (source === null) return [];
    return [{ source, message: f.cluster ? 'needs --kubernetes, which is not supported yet' : 'not supported yet' }];
  });

/** Flag before environment before document before default; every problem of every source at once. */
export const readServeSettings = (sources: SettingSources): Result<ServeSettings, readonly SettingProblem[]> => {
  const problems = refuseLater(sources);
  const values = new Map<string, unknown>();
  for (const setting of SETTINGS) {
    const flag = sources.flags.get(setting.flag);
    const env = sources.env[setting.env];
    const text = flag ?? env;
    if (text === undefined) {
      const written = sources.document?.[setting.name];
      // null is a value: what is off.
      values.set(setting.name, written === undefined ? setting.default : written);
      continue;
    }
    const parsed = setting.parse(text);
    if (parsed.ok) values.set(setting.name, parsed.value);
    else problems.push({ source: flag === undefined ? setting.env : setting.flag, message: parsed.error });
  }
  const settings = Object.freeze(Object.fromEntries(values)) as unknown as ServeSettings;
  if (problems.length === 0) problems.push(...together(settings));
  return problems.length > 0 ? err(problems) : ok(settings);
};

/** What a running process takes over when its document changes; the rest waits for a restart. */
export const LIVE_SETTINGS: ReadonlySet<SettingName> = new Set<SettingName>(['logLevel', 'drainDelay', 'drainTimeout']);

export const changedSettings = (a: ServeSettings, b: ServeSettings): SettingName[] =>
  SETTINGS.map((s) => s.name).filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));

/** `auto` is 1 until connections keep their worker when a client's address changes. */
export const workerCount = (s: ServeSettings): number => (s.workers === 'auto' ? 1 : s.workers);
