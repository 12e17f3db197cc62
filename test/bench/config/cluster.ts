/** The same configuration as objects of a cluster, behind an API server in this process: endpoints come by EndpointSlices, as operators have them. */
import { createSocket } from 'node:dgram';
import { makeCertificate } from '../../kit/x509.ts';
import { startApiServer, type FakeApiServer, type Plain } from '../../kit/apiserver/index.ts';
import { endpointOf, type Edits, type Shape } from './documents.ts';

const NAMESPACE = 'spooky-system';
const NAMESPACES = 50;

/** A Listener of a cluster has to name one. */
const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });

const namespaceOf = (n: number): string => `team-${n % NAMESPACES}`;
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const meta = (kind: string, n: number, more: Plain = {}): Plain => ({ name: `${kind}-${n}`, namespace: namespaceOf(n), ...more });

const upstream = (n: number, hosts: number, edits: Edits): Plain => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata: meta('upstream', n),
  spec: {
    listeners: [{ name: 'public', namespace: NAMESPACE }],
    hostnames: [`host-${n % hosts}.example`],
    matches: [{ path: { type: 'Prefix', value: `/service-${n}${edits.route === 0 ? '' : `/v${edits.route}`}` } }],
    backends: [{ service: { name: `service-${n}`, port: 80 } }],
  },
});

const service = (n: number): Plain => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: meta('service', n),
  spec: { type: 'ClusterIP', ipFamilies: ['IPv4'], ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8000 }] },
});

const slice = (n: number, endpoints: number, edits: Edits): Plain => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: meta('slice', n, { labels: { 'kubernetes.io/service-name': `service-${n}` } }),
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8000, protocol: 'TCP' }],
  endpoints: Array.from({ length: endpoints }, (_, i) => ({
    addresses: [(endpointOf(n, i, edits.endpoint).split(':') as [string])[0]],
    conditions: { ready: true, serving: true, terminating: false },
  })),
});

export class Cluster {
  readonly arguments: readonly string[];
  readonly server: FakeApiServer;
  private readonly shape: Shape;
  private readonly edits: Edits[];

  private constructor(server: FakeApiServer, shape: Shape) {
    this.server = server;
    this.shape = shape;
    this.edits = Array.from({ length: shape.upstreams }, () => ({ route: 0, endpoint: 0 }));
    // Alone with its conditions to write, main would be busy for minutes at first: that is another bench.
    this.arguments = ['--kubernetes', '--kubeconfig', server.kubeconfig(server.token, NAMESPACE), '--role', 'edge'];
  }

  static async start(shape: Shape): Promise<Cluster> {
    const server = await startApiServer({ window: 1_000_000 });
    const cluster = new Cluster(server, shape);
    await cluster.fill();
    return cluster;
  }

  /** Another path of one Upstream; returns what writes it. */
  route(n: number): () => void {
    const edits = this.edits[n] as Edits;
    edits.route++;
    const object = upstream(n, this.shape.hosts, edits);
    return () => void this.server.put(object);
  }

  /** Another address in one EndpointSlice. */
  endpoint(n: number): () => void {
    const edits = this.edits[n] as Edits;
    edits.endpoint++;
    const object = slice(n, this.shape.endpoints, edits);
    return () => void this.server.put(object);
  }

  stop(): Promise<void> {
    return this.server.stop();
  }

  private async fill(): Promise<void> {
    const { server, shape } = this;
    server.namespace(NAMESPACE);
    for (let i = 0; i < NAMESPACES; i++) server.namespace(namespaceOf(i));
    const { cert, key } = makeCertificate({ subject: 'tls', names: ['DNS:*.example'] });
    server.create({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'tls', namespace: NAMESPACE },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(cert), 'tls.key': base64(key) },
    });
    server.create({
      apiVersion: 'spooky.dev/v1alpha1',
      kind: 'Listener',
      metadata: { name: 'public', namespace: NAMESPACE },
      spec: {
        addresses: ['127.0.0.1'],
        port: await freePort(),
        tls: { certificateRefs: [{ name: 'tls' }] },
        allowedNamespaces: { from: 'All' },
      },
    });
    for (const [n, edits] of this.edits.entries()) {
      server.create(upstream(n, shape.hosts, edits));
      server.create(service(n));
      server.create(slice(n, shape.endpoints, edits));
    }
  }
}
