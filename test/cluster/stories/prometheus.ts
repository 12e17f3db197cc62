/** Prometheus beside the cluster, with the configuration of the manifests, and the jobs that annotations and a PodMonitor stand for. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments, stringify } from 'yaml';
import { Child, freeTcpPort } from '../../kit/process.ts';
import { temporaryFolder } from '../../kit/spooky.ts';
import { api, getJson, MANIFESTS, OWN } from './cluster.ts';

export const prometheusMissing = (): string | null =>
  spawnSync('prometheus', ['--version']).status === 0 ? null : 'test/cluster/build prometheus';

export interface Job {
  job_name: string;
  kubernetes_sd_configs: { role: string; namespaces?: object; kubeconfig_file?: string }[];
  relabel_configs: object[];
}

interface Configuration {
  global: { scrape_interval: string; evaluation_interval?: string };
  rule_files: string[];
  scrape_configs: Job[];
}

/** What the ConfigMap of manifests/prometheus.yaml holds. */
export function sampleFiles(): { configuration: Configuration; rules: string } {
  for (const document of parseAllDocuments(readFileSync(join(MANIFESTS, 'prometheus.yaml'), 'utf8'))) {
    const { kind, data } = document.toJS() as { kind: string; data?: Record<string, string> };
    if (kind !== 'ConfigMap' || data === undefined) continue;
    const [configuration] = parseAllDocuments(data['prometheus.yml'] ?? '');
    return { configuration: configuration?.toJS() as Configuration, rules: data['rules.yml'] ?? '' };
  }
  throw new Error('the sample has no ConfigMap');
}

const source = (label: string): string => `__meta_kubernetes_pod_${label.replaceAll(/[^a-zA-Z0-9_]/g, '_')}`;

/** What many a Prometheus has: pods that say prometheus.io/scrape. */
export const byAnnotations: Job = {
  job_name: 'annotations',
  kubernetes_sd_configs: [{ role: 'pod' }],
  relabel_configs: [
    { source_labels: [source('annotation_prometheus.io/scrape')], regex: 'true', action: 'keep' },
    { source_labels: [source('annotation_prometheus.io/path')], regex: '(.+)', target_label: '__metrics_path__' },
    {
      source_labels: ['__meta_kubernetes_pod_ip', source('annotation_prometheus.io/port')],
      regex: '([^:]+);(\\d+)',
      replacement: '$1:$2',
      target_label: '__address__',
    },
    // Once a pod, and not once for each of its ports.
    { source_labels: [source('container_port_name')], regex: 'metrics', action: 'keep' },
  ],
};

interface PodMonitor {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
    readonly podMetricsEndpoints: readonly { readonly port: string; readonly path: string }[];
  };
}

/** What the operator makes of a PodMonitor: pods of its namespace with these labels, and of them this port. Its job has a name of its own here. */
export async function byPodMonitor(name: string): Promise<Job> {
  const { spec } = await getJson<PodMonitor>(['podmonitor', name, '--namespace', OWN]);
  const [endpoint] = spec.podMetricsEndpoints;
  if (endpoint === undefined || spec.podMetricsEndpoints.length !== 1) throw new Error('not one endpoint');
  const labels = Object.entries(spec.selector.matchLabels).map(([key, value]) => ({
    source_labels: [source(`label_${key}`)],
    regex: value.replaceAll('.', '\\.'),
    action: 'keep',
  }));
  return {
    job_name: 'podmonitor',
    kubernetes_sd_configs: [{ role: 'pod', namespaces: { names: [OWN] } }],
    relabel_configs: [
      ...labels,
      { source_labels: [source('container_port_name')], regex: endpoint.port, action: 'keep' },
      { target_label: '__metrics_path__', replacement: endpoint.path },
    ],
  };
}

const kubeconfig = (token: string): string =>
  stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: api.url, 'certificate-authority-data': Buffer.from(api.ca).toString('base64') } }],
    users: [{ name: 'u', user: { token } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  });

export interface Rule {
  readonly name: string;
  readonly health: string;
  readonly state: string;
  readonly lastError?: string;
  readonly lastEvaluation: string;
  readonly alerts: readonly {
    readonly state: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  }[];
}

export interface Target {
  readonly health: string;
  readonly lastError: string;
  readonly scrapePool: string;
  readonly labels: Readonly<Record<string, string>>;
}

export class Prometheus {
  readonly child: Child;
  readonly #address: string;

  constructor(child: Child, address: string) {
    this.child = child;
    this.#address = address;
  }

  async #get<T>(path: string): Promise<T> {
    const response = await fetch(`http://${this.#address}${path}`, { signal: AbortSignal.timeout(10_000) });
    const { status, data, error } = (await response.json()) as { status: string; data: T; error?: string };
    if (status !== 'success') throw new Error(`${path}: ${error}`);
    return data;
  }

  /** The rows of an instant query, by their labels. */
  async query(text: string): Promise<readonly { readonly metric: Readonly<Record<string, string>>; readonly value: number }[]> {
    type Row = { metric: Record<string, string>; value: [number, string] };
    const { result } = await this.#get<{ result: readonly Row[] }>(`/api/v1/query?query=${encodeURIComponent(text)}`);
    return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async targets(): Promise<readonly Target[]> {
    return (await this.#get<{ activeTargets: readonly Target[] }>('/api/v1/targets?state=active')).activeTargets;
  }

  async rules(): Promise<readonly Rule[]> {
    return (await this.#get<{ groups: readonly { rules: readonly Rule[] }[] }>('/api/v1/rules')).groups.flatMap(({ rules }) => rules);
  }
}

/** With a token of the sample's ServiceAccount, scraping and evaluating each second. */
export async function startPrometheus(jobs: readonly Job[], rules: Readonly<Record<string, string>> = {}): Promise<Prometheus> {
  const address = `127.0.0.1:${await freeTcpPort()}`;
  const dir = temporaryFolder('spooky-prometheus');
  writeFileSync(join(dir, 'kubeconfig'), kubeconfig(await api.token('monitoring/prometheus')));
  for (const [name, text] of Object.entries(rules)) writeFileSync(join(dir, name), text);
  const scrape = jobs.map((job) => ({
    ...job,
    kubernetes_sd_configs: job.kubernetes_sd_configs.map((sd) => ({ ...sd, kubeconfig_file: join(dir, 'kubeconfig') })),
  }));
  const { configuration } = sampleFiles();
  const all = {
    ...configuration,
    global: { ...configuration.global, scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: Object.keys(rules).map((name) => join(dir, name)),
    scrape_configs: scrape,
  };
  writeFileSync(join(dir, 'prometheus.yml'), stringify(all));
  const child = new Child('prometheus', [
    `--config.file=${join(dir, 'prometheus.yml')}`,
    `--storage.tsdb.path=${join(dir, 'data')}`,
    `--web.listen-address=${address}`,
  ]);
  await child.waitFor('stderr', (line) => (line.includes('Server is ready to receive web requests') ? true : undefined), 60_000);
  return new Prometheus(child, address);
}
