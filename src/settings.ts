/** Flags, environment, Settings document and defaults become one readonly object, once. The table of settings is the contract's. */
import { CLUSTER_SETTINGS, type ClusterValues } from './contract/resources/clustersettings.ts';
import { SETTINGS, type SettingName, type SettingOf, type SettingsDocument, type SettingValues } from './contract/resources/settings.ts';
import { err, ok, type Result } from './lib/result.ts';

export interface ServeSettings extends Readonly<SettingValues> {
  /** null: files. */
  readonly cluster: ClusterValues | null;
}

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
  if (s.takeover !== null && s.cluster !== null) {
    problems.push({
      source: '--takeover',
      message: 'not with --kubernetes: a pod has its own processes and sockets, and a rollout replaces it as a whole',
    });
  }
  return problems;
};

type Given = { readonly source: string; readonly text: string } | null;

const given = (s: { readonly flag: string; readonly env: string }, sources: SettingSources): Given => {
  const flag = sources.flags.get(s.flag);
  if (flag !== undefined) return { source: s.flag, text: flag };
  const env = sources.env[s.env];
  return env === undefined ? null : { source: s.env, text: env };
};

function readTable<V>(
  table: readonly SettingOf<V>[],
  sources: SettingSources,
  document: Readonly<Record<string, unknown>>,
  problems: SettingProblem[],
): V {
  const values = new Map<string, unknown>();
  for (const setting of table) {
    const found = given(setting, sources);
    if (found === null) {
      const written = document[setting.name];
      // null is a value: what is off.
      values.set(setting.name, written === undefined ? setting.default : written);
      continue;
    }
    const parsed = setting.parse(found.text);
    if (parsed.ok) values.set(setting.name, parsed.value);
    else problems.push({ source: found.source, message: parsed.error });
  }
  return Object.freeze(Object.fromEntries(values)) as V;
}

/** A flag of clusters without --kubernetes is a mistake; in the environment it may be meant for others. */
const strayFlags = (sources: SettingSources): SettingProblem[] =>
  CLUSTER_SETTINGS.filter((s) => s.name !== 'kubernetes' && sources.flags.has(s.flag)).map((s) => ({
    source: s.flag,
    message: 'needs --kubernetes',
  }));

/** Flag before environment before document before default; every problem of every source at once. */
export const readServeSettings = (sources: SettingSources): Result<ServeSettings, readonly SettingProblem[]> => {
  const problems: SettingProblem[] = [];
  const values = readTable(SETTINGS as readonly SettingOf<SettingValues>[], sources, sources.document ?? {}, problems);
  const cluster = readTable(CLUSTER_SETTINGS, sources, {}, problems);
  if (!cluster.kubernetes) problems.push(...strayFlags(sources));
  const settings: ServeSettings = Object.freeze({ ...values, cluster: cluster.kubernetes ? cluster : null });
  if (problems.length === 0) problems.push(...together(settings));
  return problems.length > 0 ? err(problems) : ok(settings);
};

/** What a running process takes over when its document changes; the rest waits for a restart. */
export const LIVE_SETTINGS: ReadonlySet<SettingName> = new Set<SettingName>(['logLevel', 'drainDelay', 'drainTimeout']);

export const changedSettings = (a: ServeSettings, b: ServeSettings): SettingName[] =>
  SETTINGS.map((s) => s.name).filter((name) => JSON.stringify(a[name]) !== JSON.stringify(b[name]));
