/** Backends of a story's own, beside those of the quick start. */
import { apply, IMAGE, OWN, rolledOut } from './cluster.ts';
import { HOST } from './load.ts';

interface Options {
  readonly replicas?: number;
  /** On this node alone. */
  readonly node?: string;
  readonly listen?: string;
}

/** Demo backends that listen on port 7001, without Services; spread over the nodes. Returns when they are ready. */
export async function demoPods(name: string, { replicas = 1, node, listen = '0.0.0.0:7001' }: Options = {}): Promise<void> {
  const container = {
    name: 'demo',
    image: IMAGE,
    args: ['demo', '--listen', listen],
    readinessProbe: { tcpSocket: { port: 7001 }, periodSeconds: 1 },
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
  };
  const labelSelector = { matchLabels: { app: name } };
  const spec = {
    securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: 'RuntimeDefault' } },
    ...(node === undefined ? {} : { nodeSelector: { 'kubernetes.io/hostname': node } }),
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway', labelSelector }],
    containers: [container],
  };
  const template = { metadata: { labels: { app: name } }, spec };
  await apply([
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { namespace: 'demo', name },
      spec: { replicas, selector: labelSelector, template },
    },
  ]);
  await rolledOut('deployment', name, 'demo');
}

/** A Service for pods of that label, and its Upstream for NAME.demo.example.com. */
export const published = (name: string, app: string, more: { readonly service?: object; readonly upstream?: object } = {}): object[] => [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace: 'demo', name },
    spec: { selector: { app }, ports: [{ name: 'http', port: 80, targetPort: 7001, appProtocol: 'kubernetes.io/h2c' }], ...more.service },
  },
  {
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Upstream',
    metadata: { namespace: 'demo', name },
    spec: {
      listeners: [{ name: 'public', namespace: OWN }],
      hostnames: [`${name}.${HOST}`],
      backends: [{ service: { name, port: 'http' } }],
      ...more.upstream,
    },
  },
];
