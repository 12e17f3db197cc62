/**
 * The clusters that stories are told in. A story that needs another one than the usual says so in one line, `const CLUSTER = 'NAME';`, and gives
 * it to `inCluster`; `all` beside this reads the line, and brings up what is told here. Values are the settings of test/cluster/up.
 */
export const CLUSTERS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  usual: {},
  /** kube-proxy's other mode. */
  iptables: { PROXY_MODE: 'iptables' },
  /**
   * After an outage of the API server that is longer than this, kube-controller-manager takes every node for dead and its pods for unready, until
   * kubelets have been heard again: 50 s by default.
   */
  patient: { CONTROLLER_MANAGER_FLAGS: '--node-monitor-grace-period=180s' },
  /** A node that is silent is NotReady after 8 s instead of 50 s. */
  hasty: {
    CONTROLLER_MANAGER_FLAGS: '--node-monitor-grace-period=8s --node-monitor-period=1s',
    KUBELET_CONFIG: 'nodeLeaseDurationSeconds: 4\nnodeStatusUpdateFrequency: 1s',
  },
};

/** Refuses to tell a story in a cluster that it is not for. */
export function inCluster(name: string): void {
  const settings = Object.entries(CLUSTERS[name] ?? {});
  const wrong = settings.filter(([key, value]) => process.env[key] !== value);
  if (CLUSTERS[name] === undefined || wrong.length > 0) throw new Error(`to be run in the cluster ${name}: test/cluster/stories/all FILE`);
}
