/** The chart's values, in the order in which people meet them. */
import {
  choice,
  duration,
  flag,
  group,
  integer,
  leaf,
  list,
  nameOrNone,
  names,
  object,
  objects,
  resources,
  strings,
  text,
  type Value,
} from './value.ts';

/** Where the image comes from: the samples name it too. */
export const IMAGE = 'localhost/spooky';

const PORT = { type: 'integer', minimum: 1, maximum: 65535 };

const ports = list(
  'The ports on which Listeners may be. `targetPort` is what the process binds, so it is `spec.port` of a Listener; `port` is what the Service (or, with hostPort, the node) has in front of it; `nodePort` (0: the cluster chooses) is where nodes answer with the exposures nodePort and loadBalancer. All are UDP.',
  {
    type: 'object',
    properties: {
      name: {
        type: 'string',
        pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$',
        maxLength: 15,
        description: 'Names the port in the Service and in the pod.',
      },
      port: { ...PORT, description: 'What clients of the Service use.' },
      targetPort: { ...PORT, description: 'What a Listener has as spec.port.' },
      nodePort: {
        type: 'integer',
        minimum: 0,
        maximum: 65535,
        description: 'What clients of a node use; 0 or absent: the cluster chooses.',
      },
    },
    required: ['name', 'port', 'targetPort'],
    additionalProperties: false,
  },
  [{ name: 'https', port: 443, targetPort: 8443, nodePort: 30443 }],
);

const exposure = group('How clients outside the cluster reach the pods.', {
  type: choice(
    "nodePort: a UDP port of every node, by a Service. loadBalancer: a Service that a cloud, MetalLB or the like gives an address. hostPort: `port` of every node, by the CNI's portmap. hostNetwork: the process binds `targetPort` on the node itself.",
    ['nodePort', 'loadBalancer', 'hostPort', 'hostNetwork'],
    'nodePort',
  ),
  externalTrafficPolicy: choice(
    "Of the Service. Local keeps the clients' addresses, and never sends a datagram to another node.",
    ['Local', 'Cluster'],
    'Local',
  ),
  annotations: strings("Annotations of the Service: what a cloud's load balancer is told."),
  labels: strings('Further labels of the Service.'),
  ipFamilyPolicy: choice(
    'Of the Service; PreferDualStack is both families where the cluster has them.',
    ['PreferDualStack', 'SingleStack', 'RequireDualStack'],
    'PreferDualStack',
  ),
  ipFamilies: list("Families of the Service, the first one first; empty: the cluster's.", { enum: ['IPv4', 'IPv6'] }),
  externalIPs: list('Addresses that reach nodes and that the Service answers on.', { type: 'string' }),
  loadBalancer: group('Only with the type loadBalancer.', {
    class: text('The `loadBalancerClass`.'),
    sourceRanges: list('Networks whose clients the load balancer lets in; empty: all.', { type: 'string' }),
    allocateNodePorts: flag('Whether the Service has node ports as well; some load balancers do without.', true),
    healthCheckNodePort: integer('The port on which nodes say whether they have a ready pod; 0: the cluster chooses.', 0, 0, 65535),
  }),
  hostNetwork: group('Only with the type hostNetwork.', {
    lowPorts: choice(
      'Whether `targetPort` may be under 1024. none: no. node: yes, the nodes allow it to everybody (`net.ipv4.ip_unprivileged_port_start`). root: yes, the process runs as user 0 with NET_BIND_SERVICE and no other capability.',
      ['none', 'node', 'root'],
      'none',
    ),
  }),
});

const monitor = (help: string, fallback: boolean | 'auto') => ({
  enabled: choice(help, ['auto', true, false], fallback),
  labels: strings('Further labels, by which a Prometheus chooses what it scrapes.'),
  interval: text("How often; empty: Prometheus's own interval.", '', { pattern: '^([0-9]+(ms|s|m|h))*$' }),
  relabelings: objects('Relabelling before the scrape.'),
  metricRelabelings: objects('Relabelling of what was scraped.'),
});

const metrics = group('/metrics, /healthz, /readyz and /drainz.', {
  port: integer('The TCP port. With hostNetwork it is one of the node.', 9901, 1024, 65535),
  address: text('The address to bind. With hostNetwork it may be 127.0.0.1, which probes then use.', '::', { pattern: '^[0-9a-fA-F.:]+$' }),
  detail: choice('How fine the rows are.', ['listener', 'upstream', 'endpoint'], 'upstream'),
  annotations: flag('Whether pods carry prometheus.io/scrape, /port and /path.', false),
  service: group('A headless Service of the metrics port.', {
    enabled: flag('Whether there is one.', true),
    annotations: strings('Its annotations.'),
  }),
  podMonitor: group(
    'For the Prometheus operator.',
    monitor(
      'auto: when the cluster has the kind PodMonitor as the chart is rendered, and there is no ServiceMonitor of the chart.',
      'auto',
    ),
  ),
  serviceMonitor: group(
    'For the Prometheus operator, instead of the PodMonitor.',
    monitor('auto: when the cluster has the kind ServiceMonitor as the chart is rendered.', false),
  ),
});

const probe = (help: string, periodSeconds: number, failureThreshold: number, timeoutSeconds: number) =>
  group(help, {
    periodSeconds: integer('How often.', periodSeconds, 1, 3600),
    failureThreshold: integer('How many failures count.', failureThreshold, 1, 3600),
    timeoutSeconds: integer('How long an answer may take.', timeoutSeconds, 1, 3600),
  });

const intOrPercent = (help: string) =>
  leaf(help, '', {
    anyOf: [
      { type: 'integer', minimum: 0 },
      { type: 'string', pattern: '^([0-9]+%?)?$' },
    ],
  });

const controller = group('Where statuses are written.', {
  mode: choice(
    'daemonset: by one of the pods, which is the leader. deployment: by a Deployment of its own under a ServiceAccount of its own, so that pods with traffic have no right to write anything.',
    ['daemonset', 'deployment'],
    'daemonset',
  ),
  replicas: integer('Pods of the Deployment; one of them is the leader.', 2, 1, 10),
  resources: resources('Of a pod of the Deployment.', { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '256Mi' } }),
  podDisruptionBudget: flag('Whether the Deployment has a PodDisruptionBudget, with maxUnavailable 1.', true),
  nodeSelector: leaf(
    'Of the Deployment.',
    { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' },
    { type: 'object', additionalProperties: { type: 'string' } },
  ),
  tolerations: objects('Of the Deployment.'),
  affinity: object('Of the Deployment; empty: its pods prefer different nodes.'),
  topologySpreadConstraints: objects('Of the Deployment; one without a `labelSelector` counts its pods.'),
});

export const VALUES: Readonly<Record<string, Value>> = {
  nameOverride: text("Instead of the chart's name in names and labels.", '', { maxLength: 40 }),
  fullnameOverride: text("Instead of the release's name in names of objects.", '', { maxLength: 50 }),
  image: group('Of the pods, and of the pod that `helm test` starts.', {
    repository: text('Registry and name.', IMAGE, { minLength: 1 }),
    tag: text("Empty: the chart's appVersion."),
    digest: text('Instead of a tag.', '', { pattern: '^(sha256:[0-9a-f]{64})?$' }),
    pullPolicy: choice('When the image is pulled.', ['IfNotPresent', 'Always', 'Never'], 'IfNotPresent'),
  }),
  imagePullSecrets: list("Secrets with the registry's credentials.", {
    type: 'object',
    properties: { name: { type: 'string' } },
    required: ['name'],
    additionalProperties: false,
  }),
  className: text('Listeners with this `spec.className` are served. Two installations in one cluster have different classes.', 'spooky', {
    pattern: '^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$',
    maxLength: 63,
  }),
  crds: group('The kinds Listener and Upstream.', {
    enabled: flag(
      'Whether the chart brings them: upgraded with it, kept by an uninstall. False for a second installation in the cluster.',
      true,
    ),
  }),
  exposure,
  ports,
  publishAddresses: list('Addresses and names to put into the status of Listeners, instead of those of the Service.', {
    type: 'string',
    minLength: 1,
  }),
  publishNodeAddresses: flag(
    'Whether the addresses of nodes go into the status of Listeners where the Service has none. Lets the pods read Nodes.',
    false,
  ),
  watchNamespaces: names(
    "Namespaces whose objects are read, beside the release's own; empty: all. Rights are then given in these only; Namespaces alone are still read everywhere, for their labels.",
  ),
  listenerNamespaces: names("Namespaces whose Listeners count, beside the release's own; `all` for every one."),
  secrets: group('Whose Secrets and ConfigMaps may be read: certificates, and what verifies backends.', {
    mode: choice(
      'namespaces: by a Role in each of the namespaces. cluster: by one ClusterRole, in all of them. Whoever takes such a pod over then has every Secret of the cluster.',
      ['namespaces', 'cluster'],
      'namespaces',
    ),
    namespaces: names("Namespaces beside the release's own. They must exist."),
  }),
  allowAddressBackends: flag('Whether Upstreams may name addresses instead of Services.', false),
  endpointDeny: list('Networks that no backend may be in, beside loopback, link-local and metadata addresses.', {
    type: 'string',
    minLength: 1,
  }),
  topology: group('Where a pod learns its zone, for Services with `trafficDistribution`.', {
    source: choice(
      'pod: from its own label, which clusters set since 1.35. node: from its Node, which lets the pods read Nodes.',
      ['pod', 'node'],
      'pod',
    ),
  }),
  controller,
  resources: resources(
    'Of a pod. The whole cores of the CPU request become --workers, at least one, or those of the CPU limit where there is one; the memory limit becomes --max-connections and the heap of each process.',
    { requests: { cpu: '500m', memory: '512Mi' }, limits: { memory: '512Mi' } },
  ),
  workers: integer(
    'Processes with traffic in a pod; 0: as many as the CPU request has whole cores, or with a CPU limit --workers auto.',
    0,
    0,
    256,
  ),
  maxConnections: integer(
    'Connections of a Listener and node, where the Listener has no limit; 0: what the memory limit has room for.',
    0,
    0,
    10_000_000,
  ),
  nodeOptions: text('More for NODE_OPTIONS, beside the size of the heap.'),
  drain: group('What happens as a pod ends. Its grace period is the sum and 5 s.', {
    delay: duration('How long everything is still accepted, until load balancers have noticed.', '10s'),
    timeout: duration('How long open requests may take to finish, once no new ones are accepted.', '60s'),
  }),
  key: group(
    'The key that connection ids, tokens, resets and session tickets derive from. With one key a client whose pod has gone resumes at another one.',
    {
      generate: flag(
        'Whether the chart makes one at the first installation and keeps it through upgrades. A rendering without a cluster (`helm template`) makes none: every pod then has a key of its own until it ends.',
        true,
      ),
      existingSecret: nameOrNone('A Secret that has it, instead.'),
      secretKey: text("The key's name in that Secret: 32 bytes or more, from a random source.", 'key', { minLength: 1 }),
    },
  ),
  admin: group("The read-only admin API, on the pod's loopback address: `kubectl port-forward` reaches it.", {
    enabled: flag('Whether it is on.', true),
    port: integer("Its TCP port. With hostNetwork it is one of the node's loopback address.", 9902, 1024, 65535),
    tokenSecret: group('A Secret with a bearer token that is asked for.', {
      name: nameOrNone('Its name; empty: no token.'),
      key: text("The token's name in it.", 'token', { minLength: 1 }),
    }),
  }),
  metrics,
  log: group("Logs go to the container's output.", {
    level: choice(
      'What is logged; "off" in quotes, since YAML takes the bare word for false.',
      ['trace', 'debug', 'info', 'warn', 'error', 'off'],
      'info',
    ),
    format: choice('How lines look.', ['json', 'plain'], 'json'),
    access: choice('Which requests are logged; "off" in quotes.', ['off', 'errors', 'all'], 'errors'),
  }),
  engine: choice('The QUIC engine; native refuses to start where it cannot run.', ['native', 'auto', 'matrixai'], 'native'),
  udp: group('Buffers to ask for, per socket; nodes cap them by net.core.rmem_max and wmem_max.', {
    receiveBuffer: text('For what arrives.', '8Mi', { pattern: '^[0-9]+(Ki|Mi|Gi)?$' }),
    sendBuffer: text('For what leaves.', '8Mi', { pattern: '^[0-9]+(Ki|Mi|Gi)?$' }),
  }),
  extraArgs: list('Further flags of `spooky serve`.', { type: 'string', minLength: 1 }),
  extraEnv: objects('Further environment variables.'),
  extraEnvFrom: objects('ConfigMaps and Secrets to take environment variables from.'),
  extraVolumes: objects('Further volumes.'),
  extraVolumeMounts: objects('Where those are mounted.'),
  extraInitContainers: objects('Containers that run before.'),
  extraContainers: objects('Containers that run beside.'),
  commonLabels: strings('Labels of every object and pod.'),
  commonAnnotations: strings('Annotations of every object, but not of pods.'),
  podLabels: strings('Labels of the pods.'),
  podAnnotations: strings('Annotations of the pods.'),
  nodeSelector: leaf(
    'Nodes that get a pod. The native engine is built for these.',
    { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': 'amd64' },
    { type: 'object', additionalProperties: { type: 'string' } },
  ),
  tolerations: objects('Taints that do not matter; `[{operator: Exists}]` for every node.'),
  affinity: object('Further rules about nodes.'),
  priorityClassName: text(
    '`system-cluster-critical`, or `system-node-critical` with hostNetwork, keeps the pods where nodes run short of memory.',
  ),
  runtimeClassName: text('Of the pods.'),
  updateStrategy: group('How pods are replaced.', {
    type: choice('By themselves, or when somebody deletes them.', ['RollingUpdate', 'OnDelete'], 'RollingUpdate'),
    maxSurge: intOrPercent(
      'Pods that may run beside those that they replace. Empty: 1 with nodePort and loadBalancer, unless maxUnavailable is given; 0 with hostPort and hostNetwork, which have no room for two.',
    ),
    maxUnavailable: intOrPercent(
      'Pods that may be missing. Empty: 0 with nodePort and loadBalancer, unless maxSurge is 0; 1 with hostPort and hostNetwork. One of the two is always 0.',
    ),
  }),
  revisionHistoryLimit: integer('How many former versions of the pods are kept for `kubectl rollout undo`.', 10, 0, 100),
  minReadySeconds: integer(
    'How long a new pod must be ready before the next one is replaced. `drain.delay` keeps the old one serving meanwhile; with more than 0 a rollout that follows another one within seconds may wait for minutes (a timer that the controller of DaemonSets loses, seen on 1.36).',
    0,
    0,
    3600,
  ),
  probes: group('On the metrics port.', {
    startup: probe('/healthz, until it answers for the first time.', 1, 60, 2),
    readiness: probe('/readyz.', 2, 2, 2),
    liveness: probe('/healthz.', 10, 6, 5),
  }),
  podSecurityContext: object("Laid over the pod's security context."),
  securityContext: object("Laid over the container's security context."),
  dnsPolicy: choice(
    "Of the pods; empty: ClusterFirstWithHostNet with hostNetwork, else Kubernetes' default.",
    ['', 'ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'],
    '',
  ),
  dnsConfig: object('Of the pods.'),
  hostAliases: objects("Lines of the pods' /etc/hosts."),
  serviceAccount: group('Who the pods are to the API server.', {
    create: flag('Whether the chart makes it.', true),
    name: nameOrNone("Its name; empty: the release's."),
    controllerName: nameOrNone("That of the controller's Deployment; empty: the release's with -controller."),
    annotations: strings('Its annotations.'),
  }),
  rbac: group('Rights.', {
    create: flag('Whether the chart makes the Roles and their bindings.', true),
    aggregate: flag('Whether the roles admin, edit and view of namespaces cover Listeners and Upstreams.', true),
  }),
  networkPolicy: group('What may reach the pods. Not with hostNetwork, where policies do not hold.', {
    enabled: flag('Whether there is one: the published ports from everywhere, the metrics port from `metricsFrom`.', false),
    metricsFrom: objects('Peers that may scrape; empty: everybody in reach.'),
    egress: objects('Rules for what leaves. Empty: everything may; otherwise the API server, DNS and every backend must be in them.'),
  }),
  test: group('The pod of `helm test`.', {
    hostname: text(
      'The name to ask for; empty: the first hostname of each Listener. Needed where a Listener has none and `tls.unmatched` is Reject.',
    ),
    wait: duration('How long a Listener may take to answer.', '30s'),
    annotations: strings('Annotations of the pod.'),
    resources: resources('Of the pod.', { requests: { cpu: '50m', memory: '96Mi' }, limits: { memory: '192Mi' } }),
  }),
};
