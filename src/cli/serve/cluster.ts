/** Serving what the objects of a cluster say, and telling them what became of them. */
import { hostname, networkInterfaces } from 'node:os';
import type { ClusterValues, Installation } from '../../contract/resources/index.ts';
import type { Families } from '../../control/admin/families.ts';
import { compile, Memo } from '../../control/compile/index.ts';
import { Leader, leaseName } from '../../control/leader.ts';
import type { KubeApi } from '../../control/sources/kubernetes/api.ts';
import { createClient } from '../../control/sources/kubernetes/client.ts';
import { loadCredentials, type Credentials } from '../../control/sources/kubernetes/credentials.ts';
import { createLeaseClient } from '../../control/sources/kubernetes/leases.ts';
import { createKubernetesSource, type KubernetesSource, type SourceHooks } from '../../control/sources/kubernetes/source.ts';
import { createStatusClient } from '../../control/sources/kubernetes/statusclient.ts';
import { Reporter } from '../../control/status/reporter.ts';
import type { Log } from '../../lib/log.ts';
import { ok, type Result } from '../../lib/result.ts';
import type { ServeSettings } from '../../settings.ts';
import type { CommandIo } from '../command.ts';
import { packageVersion } from '../package.ts';
import { installationOf, interfaceAddresses, networkOf, podOf, type Pod } from './installation.ts';
import type { Feed, Mode, Tools } from './mode.ts';
import { checkSchemas } from './schemas.ts';

interface Place {
  readonly cluster: ClusterValues;
  readonly credentials: Credentials;
  readonly installation: Installation;
  readonly pod: Pod;
  readonly nodeName: string;
}

export const clusterMode = async (settings: ServeSettings, cluster: ClusterValues, io: CommandIo): Promise<Result<Mode, string>> => {
  // What credentials have to say later goes where everything goes, which is known when the mode is opened.
  let log: Log | null = null;
  const credentials = await loadCredentials({
    kubeconfig: cluster.kubeconfig,
    context: cluster.context,
    env: io.env,
    log: { warn: (message, fields) => log?.warn(message, fields) },
  });
  if (!credentials.ok) return credentials;
  const { inCluster, namespace } = credentials.value;
  const pod = podOf(io.env, namespace, hostname(), inCluster ? interfaceAddresses(networkInterfaces()) : []);
  const place: Place = {
    cluster,
    credentials: credentials.value,
    installation: installationOf(settings, cluster, pod.namespace),
    pod,
    nodeName: settings.nodeName ?? '',
  };
  return ok({
    name: `class ${cluster.class}`,
    perObject: true,
    serves: cluster.role !== 'controller',
    // A restarted container has its pod's connections to reset; another pod beside it on the node, in a rollout, has its own.
    nodeId: pod.uid === '' ? null : pod.uid,
    deny: pod.addresses.map(networkOf),
    allowLoopback: false,
    early: () => Promise.resolve(null),
    open: (tools) => {
      log = tools.log;
      return new ClusterFeed(place, tools);
    },
    close: () => Promise.resolve(),
  });
};

class ClusterFeed implements Feed {
  private readonly place: Place;
  private readonly tools: Tools;
  private readonly api: KubeApi;
  private readonly source: KubernetesSource;
  private readonly memo = new Memo();
  /** null with `--role edge`. */
  private readonly voice: Voice | null;

  constructor(place: Place, tools: Tools) {
    const { cluster, credentials, installation, pod, nodeName } = place;
    const { clock, log, families } = tools;
    this.place = place;
    this.tools = tools;
    this.api = createClient({ credentials, clock, log, userAgent: `spooky/${packageVersion()} (${pod.namespace}/${pod.name})` });
    this.source = createKubernetesSource({
      api: this.api,
      installation,
      namespaces: cluster.namespaces,
      nodes: cluster.topology === 'node' || cluster.publishNodeAddresses,
      zone: cluster.topology === 'node' || pod.zone === '' ? null : pod.zone,
      nodeName,
      clock,
      log,
      random: Math.random,
      hooks: hooksOf(families, () => clock.wall()),
    });
    this.voice = cluster.role === 'edge' ? null : new Voice(place, tools, this.api, this.source);
  }

  get endpoints(): KubernetesSource['endpoints'] {
    return this.source.endpoints;
  }

  start(onChange: Parameters<Feed['start']>[0]): ReturnType<Feed['start']> {
    const { cluster, credentials, installation, pod } = this.place;
    if (credentials.inCluster && !pod.knowsNode)
      this.tools.log.warn("HOST_IPS has no address: backends may have this node's, unless --endpoint-deny names them", { pod: pod.name });
    this.tools.log.info('watching the cluster', { class: cluster.class, namespace: installation.namespace, role: cluster.role });
    checkSchemas(this.api, this.tools.log).catch((e: unknown) => this.tools.defect('schemas', e));
    return this.source.start(onChange);
  }

  compile(set: Parameters<Feed['compile']>[0]): ReturnType<Feed['compile']> {
    return compile(set, { standalone: false, installation: this.place.installation, memo: this.memo });
  }

  pending(): readonly string[] {
    return this.source.pending();
  }

  report(report: Parameters<Feed['report']>[0]): void {
    this.voice?.reporter.applied(report.compiled, { acknowledged: report.acknowledged, bindProblems: report.bindProblems });
  }

  serving(): void {
    this.voice?.leader.start();
  }

  async drain(): Promise<void> {
    await this.voice?.stop();
  }

  reread(): void {
    this.source.reread();
  }

  async stop(): Promise<void> {
    await this.voice?.stop();
    await this.source.stop();
    this.api.close();
  }
}

/** What a process says about objects while it is the one that may. */
class Voice {
  readonly leader: Leader;
  readonly reporter: Reporter;
  private readonly unfollow: readonly (() => void)[];

  constructor({ installation, pod }: Place, { clock, log, families }: Tools, api: KubeApi, source: KubernetesSource) {
    const { className, namespace } = installation;
    families.set('leader', [], 0);
    this.leader = new Leader({
      clock,
      log,
      random: Math.random,
      client: createLeaseClient({ api, clock, namespace, name: leaseName(className) }),
      identity: pod.uid === '' ? `${pod.name}_${process.pid}` : `${pod.name}_${pod.uid}`,
      onChange: (leading) => {
        families.set('leader', [], leading ? 1 : 0);
        if (leading) this.reporter.becameLeader();
      },
    });
    this.reporter = new Reporter({
      clock,
      log,
      random: Math.random,
      client: createStatusClient({ api, className, instance: pod.name, seen: (ref) => source.seen(ref), held: () => source.held() }),
      leader: () => this.leader.isLeader(),
      className,
      endpoints: source.endpoints,
      onWrite: (kind, result) => families.add('kubernetes_status_writes_total', [kind, result]),
      onEvent: (result) => families.add('kubernetes_events_total', [result]),
    });
    this.unfollow = [
      source.endpoints.onChange((services) => this.reporter.endpointsChanged(services)),
      source.onSeen((ref) => this.reporter.seenAgain(ref)),
    ];
  }

  async stop(): Promise<void> {
    for (const end of this.unfollow) end();
    await this.reporter.stop();
    await this.leader.stop();
  }
}

const hooksOf = (families: Families, wall: () => number): SourceHooks => ({
  list: (kind) => families.add('kubernetes_watch_lists_total', [kind]),
  reconnect: (kind) => families.add('kubernetes_watch_reconnects_total', [kind]),
  event: (kind) => families.add('kubernetes_watch_events_total', [kind]),
  error: (kind, reason) => families.add('kubernetes_watch_errors_total', [kind, reason]),
  heard: (kind) => families.set('kubernetes_watch_last_event_timestamp_seconds', [kind], wall() / 1000),
  synced: (kind, yes) => families.set('kubernetes_watch_synced', [kind], yes ? 1 : 0),
  objects: (kind, count) => families.set('kubernetes_watch_objects', [kind], count),
  gone: (kind) => {
    for (const metric of ['kubernetes_watch_synced', 'kubernetes_watch_objects', 'kubernetes_watch_last_event_timestamp_seconds'] as const)
      families.remove(metric, [kind]);
  },
});
