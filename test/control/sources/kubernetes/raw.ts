/** Raw objects, as a server would send them. */
export type Raw = Record<string, unknown>;

let versions = 100;

export const meta = (name: string, namespace: string | null = 'default', more: Raw = {}): Raw => ({
  name,
  ...(namespace === null ? {} : { namespace }),
  uid: `uid-${namespace ?? ''}-${name}`,
  resourceVersion: String(++versions),
  generation: 1,
  creationTimestamp: '2026-01-02T03:04:05Z',
  ...more,
});

export const listener = (name: string, spec: Raw = {}, metadata: Raw = meta(name)): Raw => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Listener',
  metadata,
  spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls' }] }, ...spec },
});

export const upstream = (name: string, spec: Raw = {}, metadata: Raw = meta(name)): Raw => ({
  apiVersion: 'spooky.dev/v1alpha1',
  kind: 'Upstream',
  metadata,
  spec: { hostnames: [`${name}.example.com`], backends: [{ service: { name, port: 80 } }], ...spec },
});

export const service = (name: string, spec: Raw = {}, metadata: Raw = meta(name)): Raw => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata,
  spec: { type: 'ClusterIP', ipFamilies: ['IPv4'], ports: [{ port: 80, protocol: 'TCP', targetPort: 8080 }], ...spec },
});

export interface EndpointWords {
  readonly ready?: boolean | null;
  readonly serving?: boolean | null;
  readonly terminating?: boolean | null;
  readonly zones?: readonly string[];
  readonly nodes?: readonly string[];
}

export const endpoint = (address: string, { zones, nodes, ...conditions }: EndpointWords = {}): Raw => ({
  addresses: [address],
  conditions: { ready: true, ...conditions },
  ...(zones === undefined && nodes === undefined
    ? {}
    : {
        hints: {
          ...(zones === undefined ? {} : { forZones: zones.map((name) => ({ name })) }),
          ...(nodes === undefined ? {} : { forNodes: nodes.map((name) => ({ name })) }),
        },
      }),
});

export const slice = (name: string, of: string, endpoints: readonly Raw[] | null, more: Raw = {}, metadata: Raw = {}): Raw => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: meta(name, 'default', { labels: { 'kubernetes.io/service-name': of }, ...metadata }),
  addressType: 'IPv4',
  ports: [{ name: '', port: 8080, protocol: 'TCP' }],
  endpoints,
  ...more,
});
