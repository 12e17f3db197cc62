/** Random writes of every kind that the source follows, and a few objects that nobody touches. */
import type { Plain } from '../../../../kit/apiserver/index.ts';
import type { Write } from './target.ts';

const NAMESPACES = ['one', 'two', 'three'];
const OURS = 'spooky.dev/v1alpha1';

const at = (apiVersion: string, kind: string, namespace: string | null, name: string, rest: Plain, labels: Plain = {}): Plain => ({
  apiVersion,
  kind,
  metadata: { name, labels, annotations: { note: 'für alle' }, ...(namespace === null ? {} : { namespace }) },
  ...rest,
});

const upstream = (namespace: string, name: string, n: number): Plain =>
  at(OURS, 'Upstream', namespace, name, {
    spec: { hostnames: [`${name}-${n}.example.com`], backends: [{ service: { name: `s${n % 10}`, port: 80 } }] },
  });

const listener = (namespace: string, name: string, n: number): Plain =>
  at(OURS, 'Listener', namespace, name, { spec: { port: 1024 + n, tls: { certificateRefs: [{ name: 'tls' }] } } });

const service = (namespace: string, name: string, n: number): Plain =>
  at('v1', 'Service', namespace, name, { spec: { ports: [{ name: 'web', port: 80, targetPort: 8000 + n }], selector: { app: 'web' } } });

const slice = (namespace: string, name: string, of: string, addresses: readonly string[]): Plain =>
  at(
    'discovery.k8s.io/v1',
    'EndpointSlice',
    namespace,
    name,
    {
      addressType: 'IPv4',
      ports: [{ name: 'web', port: 8000, protocol: 'TCP' }],
      endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    },
    { 'kubernetes.io/service-name': of },
  );

const secret = (namespace: string, name: string, n: number): Plain =>
  at('v1', 'Secret', namespace, name, {
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': Buffer.from(`c${n}`).toString('base64'), 'tls.key': Buffer.from(`k${n}`).toString('base64') },
  });

const configMap = (namespace: string, name: string, n: number): Plain =>
  at('v1', 'ConfigMap', namespace, name, { data: { 'ca.crt': `für ${n}` } });

const grant = (namespace: string, name: string, n: number): Plain =>
  at('gateway.networking.k8s.io/v1', 'ReferenceGrant', namespace, name, {
    spec: { from: [{ group: 'spooky.dev', kind: 'Upstream', namespace: `n${n % 5}` }], to: [{ group: '', kind: 'Service' }] },
  });

/** What every state must have, from the first to the last. */
export const STEADY = { namespace: 'steady', name: 'steady', addresses: ['198.18.0.1', '198.18.0.2'] };

export const OUR_NAMESPACES: readonly string[] = [...NAMESPACES, STEADY.namespace, 'spooky-system'];

export function beginning(): Plain[] {
  const { namespace, name, addresses } = STEADY;
  const all = [
    at('v1', 'Namespace', null, namespace, {}),
    at('v1', 'Namespace', null, 'spooky-system', {}),
    ...NAMESPACES.map((ns) => at('v1', 'Namespace', null, ns, {})),
    upstream(namespace, name, 0),
    service(namespace, name, 0),
    slice(namespace, 'steady-1', name, addresses.slice(0, 1)),
    slice(namespace, 'steady-2', name, addresses.slice(1)),
    secret(namespace, name, 0),
  ];
  for (let i = 0; i < 400; i++) all.push(upstream('two', `base-${i}`, i));
  return all;
}

/** How often each kind of write comes, in parts. */
export function nextWrite(random: () => number): Write {
  const under = (n: number): number => Math.floor(random() * n);
  const namespace = NAMESPACES[under(NAMESPACES.length)] as string;
  const n = under(100);
  const some = (prefix: string, count: number): string => `${prefix}${under(count)}`;
  const kinds: readonly (readonly [parts: number, plural: string, name: string, object: (name: string) => Plain])[] = [
    [10, 'endpointslices', some('e', 20), (name) => slice(namespace, name, `s${under(10)}`, [`198.18.1.${n}`, `198.18.2.${under(100)}`])],
    [6, 'upstreams', some('u', 30), (name) => upstream(namespace, name, n)],
    [3, 'services', some('s', 10), (name) => service(namespace, name, n)],
    [2, 'configmaps', some('m', 10), (name) => configMap(namespace, name, n)],
    [2, 'secrets', some('t', 10), (name) => secret(namespace, name, n)],
    [1, 'listeners', some('l', 4), (name) => listener(namespace, name, n)],
    [1, 'referencegrants', some('g', 4), (name) => grant(namespace, name, n)],
  ];
  if (random() < 0.02) return { what: 'put', object: at('v1', 'Namespace', null, namespace, {}, { team: `t${n}` }) };
  let left = under(kinds.reduce((sum, [parts]) => sum + parts, 0));
  const [, plural, name, object] = kinds.find(([parts]) => (left -= parts) < 0) as (typeof kinds)[number];
  const dice = random();
  if (dice < 0.3) return { what: 'remove', plural, namespace, name };
  if (dice < 0.5 && plural === 'upstreams') {
    return {
      what: 'status',
      plural,
      namespace,
      name,
      status: { installations: [{ controllerName: 'spooky.dev/spooky', endpoints: { total: n, ready: n } }] },
    };
  }
  return { what: 'put', object: object(name) };
}
