/** What holds for every combination of objects in a cluster: no exception, no way around a permission, no dependence on order or memory. */
import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { Grant, Installation, RejectedObject, ResourceSet, Service, ServicePort } from '../../../src/contract/resources/index.ts';
import { dumpSnapshot, type CertificatePart } from '../../../src/contract/snapshot/index.ts';
import { compile, CONDITION_REASONS, Memo, type Compiled } from '../../../src/control/compile/index.ts';
import type { Document } from '../../kit/documents.ts';
import { resourcesOf } from '../../kit/resources.ts';
import { makeCertificate } from '../../kit/x509.ts';
import {
  compiled,
  grant,
  groupsOf,
  installation,
  leaf,
  listener,
  metaOf,
  partsOf,
  port,
  run,
  secret,
  service,
  setOf,
  statusOf,
  upstream,
} from './world.ts';
import { cost } from '../../kit/cost.ts';

const NAMESPACES = ['edge', 'web', 'shop', 'a', 'a-b'];
const someNamespace = fc.constantFrom(...NAMESPACES);
const someName = fc.constantFrom('a', 'b', 'b-c', 'c');
const some = <T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const created = some(undefined, '2024-01-01T00:00:00Z', '2024-02-01T00:00:00Z');
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

const someSelector = fc.record({
  from: some('Selector'),
  selector: some({}, { matchLabels: { team: 'web' } }, { matchExpressions: [{ key: 'team', operator: 'NotIn', values: ['web'] }] }),
});

const someListener = fc
  .tuple(
    someName,
    someNamespace,
    created,
    fc.record({
      className: some('spooky', 'spooky', 'other'),
      port: some(8443, 8443, 8444, 9901),
      advertisedPort: optional(some(443)),
      hostnames: optional(some(['*.example'], ['api.example'])),
      allowedNamespaces: fc.oneof(someSelector, some({ from: 'All' }, { from: 'Same' })),
      tls: fc.record({
        certificateRefs: fc.array(fc.record({ name: someName, namespace: optional(someNamespace) }, { requiredKeys: ['name'] }), {
          maxLength: 3,
        }),
        allowUpstreamCertificates: some(true),
      }),
    }),
  )
  .map(([name, namespace, at, spec]) => listener(defined(spec), name, namespace, at));

const someTls = fc.record({
  serverName: optional(some('x.internal')),
  caRef: optional(fc.record({ kind: some('ConfigMap', 'Secret'), name: someName })),
  clientCertificateRef: optional(fc.record({ name: someName })),
});

const someBackend = (name: string) =>
  fc
    .record({
      name: some(name),
      service: fc.record({ name: someName, namespace: optional(someNamespace), port: some<number | string>('http', 'grpc', 80, 9000, 53) }),
      addresses: optional(some([{ address: '192.0.2.1:1' }])),
      weight: some(0, 1, 9),
      protocol: optional(some('Auto', 'H2C', 'H2')),
      tls: optional(someTls),
    })
    .map(({ addresses, service: ref, tls, ...rest }) => ({
      ...rest,
      ...(addresses === undefined ? { service: ref } : { addresses }),
      ...(rest.protocol === 'H2C' ? {} : { tls }),
    }));

const someUpstream = fc
  .tuple(
    someName,
    someNamespace,
    created,
    fc.record({
      listeners: optional(
        fc.uniqueArray(fc.record({ name: someName, namespace: someNamespace }), {
          minLength: 1,
          maxLength: 3,
          selector: (l) => `${l.namespace}/${l.name}`,
        }),
      ),
      hostnames: some(['api.example'], ['*.example', 'api.example'], ['*'], ['other.test']),
      certificateRefs: optional(fc.uniqueArray(fc.record({ name: someName }), { minLength: 1, maxLength: 2, selector: (r) => r.name })),
      protocol: some('Auto', 'H2C', 'H2'),
      backends: fc.oneof(
        someBackend('one').map((b) => [b]),
        fc.tuple(someBackend('one'), someBackend('two')),
      ),
    }),
  )
  .map(([name, namespace, at, spec]) => upstream(defined(spec), name, namespace, at));

/** Members that are undefined are as good as absent to a schema, and not to YAML. */
const defined = (value: object): object => JSON.parse(JSON.stringify(value)) as object;

const PEMS = [leaf('*.example'), leaf('api.example'), { cert: leaf('x.test').cert, key: leaf('y.test').key }, { cert: 'x', key: 'y' }];
const someSecret = fc
  .tuple(someName, someNamespace, some(...PEMS), some('kubernetes.io/tls', 'Opaque', '', 'other'))
  .map(([name, namespace, pem, type]) => secret(name, namespace, pem, type));

const someConfigMap = fc
  .tuple(someName, someNamespace, some({ 'ca.crt': leaf('ca.test').cert }, { 'ca.crt': '' }, {}))
  .map(([name, namespace, data]): Document => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data }));

/** What API servers refuse is here as well. */
const wild = fc.oneof(fc.string({ maxLength: 8 }), some('', '/', 'constructor', '__proto__', 'a/b', '"', '\n', '\u0000', 'ß'));

const somePort: fc.Arbitrary<ServicePort> = fc.record({
  name: fc.oneof(some('http', 'grpc', ''), wild),
  port: some(80, 9000, 53, -1, 0, 70_000),
  protocol: some('TCP', 'UDP', 'SCTP'),
  targetPort: fc.oneof(some<number | string>(8443, 8444, 'http3'), wild),
  nodePort: some(0, 30_443),
  appProtocol: fc.oneof(some('', 'https', 'kubernetes.io/h2c', 'kubernetes.io/ws'), wild),
});

const someService = fc
  .tuple(
    someName,
    someNamespace,
    fc.array(somePort, { maxLength: 4 }),
    some<Service['type']>('ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'),
    fc.array(fc.oneof(some('192.0.2.1', 'lb.example', '::1'), wild), { maxLength: 3 }),
  )
  .map(([name, namespace, ports, type, addresses]) => service(name, namespace, ports, { type, addresses }));

const kind = fc.oneof(some('Listener', 'Upstream', 'Secret', 'Service'), wild);
const someGrant: fc.Arbitrary<Grant> = fc.record({
  namespace: someNamespace,
  from: fc.array(fc.record({ kind, namespace: fc.oneof(someNamespace, wild) }), { maxLength: 3 }),
  to: fc.array(fc.record({ group: fc.oneof(some('', 'apps'), wild), kind, name: fc.oneof(some('', 'a', 'b'), wild) }), { maxLength: 3 }),
});

const someRejected: fc.Arbitrary<RejectedObject> = fc
  .tuple(
    some<RejectedObject['kind']>('Listener', 'Upstream'),
    someName,
    someNamespace,
    fc.array(fc.record({ severity: some<'error' | 'warning'>('error', 'warning'), path: wild, message: fc.string({ maxLength: 400 }) }), {
      maxLength: 8,
    }),
  )
  .map(([of, name, namespace, faults]) => ({ kind: of, meta: metaOf(namespace, name), faults }));

const someSet = fc.option(fc.uniqueArray(someNamespace).map((list) => new Set(list)));
const someInstallation: fc.Arbitrary<Installation> = fc
  .record({
    listenerNamespaces: someSet,
    secretNamespaces: someSet,
    ports: fc.option(some(new Set([8443]), new Set([8443, 8444]))),
    publishService: fc.option(fc.record({ namespace: someNamespace, name: someName })),
    publishAddresses: some<readonly string[]>([], ['198.51.100.1', 'x.example']),
    publishNodeAddresses: fc.boolean(),
    allowAddressBackends: fc.boolean(),
  })
  .map((over) => installation(over));

const unique = <T>(arbitrary: fc.Arbitrary<T>, key: (value: T) => string, maxLength: number) =>
  fc.uniqueArray(arbitrary, { maxLength, selector: key });
const named = (d: Document): string => JSON.stringify([d.metadata.namespace, d.metadata.name]);
const ofMeta = ({ meta }: Pick<Service, 'meta'>): string => JSON.stringify([meta.namespace, meta.name]);

const someWorld = fc
  .record({
    listeners: unique(someListener, named, 4),
    upstreams: unique(someUpstream, named, 6),
    secrets: unique(someSecret, named, 6),
    configMaps: unique(someConfigMap, named, 3),
    services: unique(someService, ofMeta, 6),
    grants: fc.array(someGrant, { maxLength: 5 }),
    rejected: unique(someRejected, (r) => r.kind + ofMeta(r), 2),
    foreign: fc.uniqueArray(
      fc.tuple(someNamespace, someName).map((parts) => parts.join('/')),
      { maxLength: 2 },
    ),
    nodeAddresses: fc.uniqueArray(some('192.0.2.9', '192.0.2.10', '2001:db8::9'), { maxLength: 3 }),
    labelled: fc.uniqueArray(someNamespace),
    installation: someInstallation,
  })
  .map(({ listeners, upstreams, secrets, configMaps, labelled, installation: of, ...rest }) => {
    const namespaces = new Map(labelled.map((name): [string, ReadonlyMap<string, string>] => [name, new Map([['team', name]])]));
    return { set: setOf([...listeners, ...upstreams, ...secrets, ...configMaps], { ...rest, namespaces }), installation: of };
  });

const plain = (c: Compiled): unknown => ({
  dump: dumpSnapshot({ root: { version: 1, listeners: c.listeners }, parts: c.parts }),
  statuses: c.statuses,
  problems: c.problems,
  groups: new Map(c.groups),
  encoded: new Map([...c.encoded].map(([h, b]) => [h, Buffer.from(b).toString('latin1')])),
});

/** The same objects in another order. */
function turned(set: ResourceSet): ResourceSet {
  const map = <V>(m: ReadonlyMap<string, V>): ReadonlyMap<string, V> => new Map([...m].reverse());
  const cluster = set.cluster as NonNullable<ResourceSet['cluster']>;
  return {
    ...set,
    listeners: map(set.listeners),
    upstreams: map(set.upstreams),
    secrets: map(set.secrets),
    configMaps: map(set.configMaps),
    cluster: {
      services: map(cluster.services),
      namespaces: map(cluster.namespaces),
      grants: [...cluster.grants].reverse(),
      rejected: [...cluster.rejected].reverse(),
      foreignListeners: new Set([...cluster.foreignListeners].reverse()),
      nodeAddresses: [...cluster.nodeAddresses].reverse(),
    },
  };
}

/** By the letter of the rule, without an index. */
const granted = (set: ResourceSet, fromKind: string, from: string, toKind: string, namespace: string, name: string): boolean =>
  from === namespace ||
  (set.cluster?.grants ?? []).some(
    (g) =>
      g.namespace === namespace &&
      g.from.some((f) => f.kind === fromKind && f.namespace === from) &&
      g.to.some((t) => t.group === '' && t.kind === toKind && (t.name === '' || t.name === name)),
  );

describe('every combination of objects', () => {
  test('compiles, to the same whatever the order and whatever was compiled before', () => {
    const memo = new Memo();
    fc.assert(
      fc.property(someWorld, ({ set, installation: of }) => {
        const alone = plain(compiled(set, of));
        expect(plain(compiled(set, of, memo))).toEqual(alone);
        expect(plain(compiled(turned(set), of, memo))).toEqual(alone);
      }),
      { numRuns: 400 },
    );
  });

  test('has conditions out of the closed table, short ones, and one status for each object of ours', () => {
    fc.assert(
      fc.property(someWorld, ({ set, installation: of }) => {
        const c = compiled(set, of);
        const keys = c.statuses.map((s) => JSON.stringify([s.kind, s.namespace, s.name]));
        expect(new Set(keys).size).toBe(keys.length);
        for (const s of c.statuses) {
          for (const x of [...s.conditions, ...(s.listeners ?? []).flatMap((l) => l.conditions)]) {
            expect(CONDITION_REASONS[x.type]).toContain(x.reason);
            expect(x.status === (x.type === 'Conflicted' ? 'False' : 'True')).toBe(x.reason === CONDITION_REASONS[x.type][0]);
            expect(Buffer.byteLength(x.message)).toBeLessThanOrEqual(1024);
          }
          const spec = set.listeners.get(`${s.namespace}/${s.name}`)?.spec;
          if (s.kind === 'Listener' && spec !== undefined) expect(spec.className).toBe('spooky');
        }
      }),
      { numRuns: 400 },
    );
  });

  test('K1, K5, K6: nothing that is not permitted is served', () => {
    fc.assert(
      fc.property(someWorld, ({ set, installation: of }) => {
        const c = compiled(set, of);
        for (const { service: to, upstream: from, addresses, group } of c.groups.values()) {
          if (to === null) expect(of.allowAddressBackends).toBe(true);
          else {
            expect(addresses).toEqual([]);
            expect(granted(set, 'Upstream', from.namespace, 'Service', to.namespace, to.name)).toBe(true);
            expect(set.cluster?.services.get(`${to.namespace}/${to.name}`)?.type).not.toBe('ExternalName');
          }
          const spec = set.upstreams.get(`${from.namespace}/${from.name}`)?.spec;
          const own = spec?.backends.find((b) => b.name === group.name);
          const tls = own?.tls ?? spec?.tls;
          // What asks for TLS gets it, unless it asks for clear text itself.
          if (tls !== undefined && (own?.protocol ?? spec?.protocol) !== 'H2C') expect(group.tls).not.toBeNull();
          if (group.tls !== null && to !== null && tls?.serverName === undefined)
            expect(group.tls.serverName).toBe(`${to.name}.${to.namespace}.svc`);
        }
        for (const part of partsOf(c, 'listener')) {
          expect(part.namespace === of.namespace || (of.listenerNamespaces?.has(part.namespace) ?? true)).toBe(true);
          expect(of.reservedPorts.has(part.port)).toBe(false);
          expect(of.ports?.has(part.port) ?? true).toBe(true);
          for (const hash of part.tls.entries.flatMap((e) => e.certificates)) {
            const [namespace = '', name = ''] = (c.parts.get(hash) as CertificatePart).source.split('/');
            expect(namespace === of.namespace || (of.secretNamespaces?.has(namespace) ?? true)).toBe(true);
            const brought = [...set.upstreams.values()].some(
              (u) => u.meta.namespace === namespace && (u.spec.certificateRefs ?? []).some((r) => r.name === name),
            );
            expect(brought || granted(set, 'Listener', part.namespace, 'Secret', namespace, name)).toBe(true);
          }
        }
      }),
      { numRuns: 400 },
    );
  });

  test('what other namespaces have and do not grant changes nothing that an author can read', () => {
    fc.assert(
      fc.property(someWorld, fc.array(someService, { maxLength: 3 }), ({ set, installation: of }, more) => {
        const cluster = set.cluster as NonNullable<ResourceSet['cluster']>;
        // Services of namespaces that grant nothing and have no Upstreams: there or not, nobody may notice.
        const silent = (namespace: string): boolean =>
          namespace !== of.publishService?.namespace &&
          !cluster.grants.some((g) => g.namespace === namespace) &&
          ![...set.upstreams.values()].some((u) => u.meta.namespace === namespace);
        const services = new Map(cluster.services);
        for (const s of more) if (silent(s.meta.namespace)) services.set(`${s.meta.namespace}/${s.meta.name}`, s);
        for (const key of cluster.services.keys())
          if (silent(key.split('/')[0] as string) && !more.some((s) => `${s.meta.namespace}/${s.meta.name}` === key)) services.delete(key);
        expect(plain(compiled({ ...set, cluster: { ...cluster, services } }, of))).toEqual(plain(compiled(set, of)));
      }),
      { numRuns: 300 },
    );
  });
});

describe('changes one after the other', () => {
  const bySelector = { from: 'Selector', selector: { matchLabels: { team: 'web' } } };
  const tls = { certificateRefs: [{ name: 'site' }, { name: 'more', namespace: 'web' }], allowUpstreamCertificates: true };
  const LISTENERS = [
    listener({ tls }),
    listener({ port: 8444, allowedNamespaces: bySelector, hostnames: ['api.example'] }, 'picky'),
    listener({ port: 8445, className: 'other' }, 'theirs'),
  ];
  const to = (name: string, namespace: string): object => ({ service: { name, namespace, port: 'http' } });
  const refs = { certificateRefs: [{ name: 'more' }], tls: { caRef: { kind: 'ConfigMap', name: 'ca' } } };
  const UPSTREAMS = [
    upstream(),
    upstream({ hostnames: ['*.example', 'api.example'], backends: [{ ...to('shared', 'edge') }] }, 'granted'),
    upstream({ ...refs, matches: [{ path: { type: 'Prefix', value: '/a' } }], protocol: 'H2' }, 'sure'),
    upstream(
      {
        listeners: [
          { namespace: 'edge', name: 'theirs' },
          { namespace: 'edge', name: 'public' },
        ],
      },
      'both',
    ),
  ];
  const DOCUMENTS = [...LISTENERS, ...UPSTREAMS, secret('more', 'web', leaf('api.example'))];
  const CA: Document = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'ca', namespace: 'web' },
    data: { 'ca.crt': leaf('ca').cert },
  };
  const GRANTS = [grant('edge', 'Upstream', 'web', 'Service', 'shared'), grant('web', 'Listener', 'edge', 'Secret')];
  const SERVICES = ['', 'https', 'grpc', 'unknown'].map((appProtocol) => [
    service('api', 'web', [port({ appProtocol })]),
    service('shared', 'edge', [port({ appProtocol })]),
  ]);
  const someOf = <T>(list: readonly T[]): fc.Arbitrary<T[]> => fc.subarray([...list], { minLength: 0 });
  /** What one kind is from now on; what stays of it is the same objects, as sources have it. */
  const someStep = fc.oneof(
    someOf(DOCUMENTS).map((documents) => ({ documents })),
    some(DOCUMENTS, [...DOCUMENTS, CA]).map((documents) => ({ documents })),
    fc.tuple(...[0, 1].map((i) => some(undefined, ...SERVICES.map((s) => s[i])))).map((services) => ({ services })),
    someOf(GRANTS).map((grants) => ({ grants })),
    some<readonly (readonly [string, string])[]>([], [['team', 'web']], [['team', 'shop']]).map((labels) => ({ labels })),
    some<readonly string[]>([], ['edge/theirs'], ['edge/public']).map((foreign) => ({ foreign })),
  );

  test('come to the same as a compile from scratch', () => {
    const whole = setOf([...DOCUMENTS, CA]);
    const only = <V>(map: ReadonlyMap<string, V>, kind: string, documents: readonly Document[]): ReadonlyMap<string, V> => {
      const keys = new Set(documents.filter((d) => d.kind === kind).map((d) => `${d.metadata.namespace}/${d.metadata.name}`));
      return new Map([...map].filter(([key]) => keys.has(key) || key === 'edge/site'));
    };
    const comparable = (c: Compiled): unknown => ({ ...(plain(c) as object), problems: c.problems.map((p) => JSON.stringify(p)).sort() });
    fc.assert(
      fc.property(fc.array(someStep, { minLength: 1, maxLength: 10 }), (steps) => {
        const memo = new Memo();
        let set = { ...whole, cluster: { ...(whole.cluster as NonNullable<ResourceSet['cluster']>), grants: GRANTS } };
        compiled(set, {}, memo);
        for (const step of steps) {
          if ('documents' in step) {
            const { documents } = step;
            const [listeners, upstreams] = [only(whole.listeners, 'Listener', documents), only(whole.upstreams, 'Upstream', documents)];
            const [secrets, configMaps] = [only(whole.secrets, 'Secret', documents), only(whole.configMaps, 'ConfigMap', documents)];
            set = { ...set, listeners, upstreams, secrets, configMaps };
          } else if ('services' in step) {
            const services = new Map(
              step.services.flatMap((s) => (s === undefined ? [] : [[`${s.meta.namespace}/${s.meta.name}`, s] as const])),
            );
            set = { ...set, cluster: { ...set.cluster, services } };
          } else if ('grants' in step) set = { ...set, cluster: { ...set.cluster, grants: step.grants } };
          else if ('labels' in step) set = { ...set, cluster: { ...set.cluster, namespaces: new Map([['web', new Map(step.labels)]]) } };
          else set = { ...set, cluster: { ...set.cluster, foreignListeners: new Set(step.foreign) } };
          expect(comparable(compiled(set, {}, memo))).toEqual(comparable(compiled(set)));
        }
      }),
      { numRuns: 100 },
    );
  });
});

test('K2: objects whose joined names are alike stay apart', () => {
  const services = [service('c', 'a-b'), service('b-c', 'a'), service('c', 'a', [port({ name: 'other' })])];
  const to = (name: string, namespace?: string): object => ({
    backends: [{ service: { name, port: 'http', ...(namespace === undefined ? {} : { namespace }) } }],
  });
  const c = run(
    [
      listener(),
      upstream({ ...to('c'), hostnames: ['1.example'] }, 'c', 'a-b'),
      upstream({ ...to('b-c'), hostnames: ['2.example'] }, 'b-c', 'a'),
      upstream({ ...to('c', 'a-b'), hostnames: ['3.example'] }, 'x', 'a'),
    ],
    // Opens `a/b-c` to Upstreams of a-b, which is not `a-b/c` to those of a.
    { services, grants: [grant('a', 'Upstream', 'a-b', 'Service', 'b-c')] },
  );
  expect([...c.groups.values()].map((g) => [g.upstream, g.service])).toEqual([
    [
      { namespace: 'a', name: 'b-c' },
      { namespace: 'a', name: 'b-c', portName: 'http' },
    ],
    [
      { namespace: 'a-b', name: 'c' },
      { namespace: 'a-b', name: 'c', portName: 'http' },
    ],
  ]);
  expect(groupsOf(c, 'x')).toEqual([null]);
});

test('K8: what is wrong with one object changes nothing for the others', () => {
  const healthy = [listener(), upstream(), upstream({ hostnames: ['b.example'] }, 'b')];
  const hosts = (...hostnames: string[]): object => ({ hostnames });
  const broken = [
    listener({ port: 9901 }, 'reserved'),
    listener({}, 'mine', 'web', '2020-01-01T00:00:00Z'),
    listener({}, 'second', 'edge', '2030-01-01T00:00:00Z'),
    listener({ port: 8444, tls: { certificateRefs: [{ name: 'gone' }] } }, 'bare'),
    upstream({ ...hosts('z1.example'), backends: [{ service: { name: 'gone', port: 1 } }] }, 'z1'),
    upstream({ ...hosts('z2.example'), backends: [{ service: { name: 'api', namespace: 'shop', port: 1 } }] }, 'z2'),
    upstream({ ...hosts('z3.example'), backends: [{ addresses: [{ address: '192.0.2.1:1' }] }] }, 'z3'),
    upstream({ ...hosts('z4.example'), certificateRefs: [{ name: 'gone' }] }, 'z4'),
    upstream({ ...hosts('z5.example'), listeners: [{ name: 'gone', namespace: 'edge' }] }, 'z5'),
    upstream({}, 'z6', 'web', '2030-01-01T00:00:00Z'),
  ].map((d) =>
    d.metadata.namespace === 'web' && d.kind === 'Upstream'
      ? { ...d, metadata: { ...d.metadata, creationTimestamp: '2030-01-01T00:00:00Z' } }
      : d,
  );
  const rejected: RejectedObject[] = [
    { kind: 'Upstream', meta: metaOf('web', 'z7'), faults: [{ severity: 'error', path: 'spec', message: 'is required' }] },
  ];
  const rest = { services: [service(), service('api', 'shop')] };
  const before = run(healthy, rest);
  const after = run([...healthy, ...broken], { ...rest, rejected });
  expect(before.problems).toEqual([]);
  for (const status of before.statuses) {
    if (status.kind === 'Listener') expect(statusOf(after, 'Listener', 'edge/public')).toEqual({ ...status, attachedUpstreams: 6 });
    else {
      const { listeners: _, attached: __, ...own } = status;
      expect(statusOf(after, 'Upstream', `${status.namespace}/${status.name}`)).toMatchObject(own);
    }
  }
  for (const part of [...partsOf(before, 'upstream'), ...partsOf(before, 'group'), ...partsOf(before, 'certificate')])
    expect([...after.parts.values()]).toContainEqual(part);
});

describe('K8: one namespace that asks for too much', () => {
  const times = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i));

  test('thousands of grants, each as long as it may be', () => {
    const from = times(16, (i) => ({ kind: 'Upstream', namespace: `n${i}` }));
    const grants = times(2000, (g): Grant => ({
      namespace: 'shop',
      from,
      to: times(16, (t) => ({ group: '', kind: 'Service', name: `s${g}-${t}` })),
    }));
    const documents = times(2000, (i) =>
      upstream(
        { hostnames: [`h${i}.example`], backends: [{ service: { name: `s${i}-3`, namespace: 'shop', port: 'http' } }] },
        `u${i}`,
        `n${i % 16}`,
      ),
    );
    const set = setOf([listener(), ...documents], { services: times(2000, (i) => service(`s${i}-3`, 'shop')), grants });
    const memo = new Memo();
    expect(cost(() => expect(compiled(set, {}, memo).groups.size).toBe(2000))).toBeLessThan(5000);
    // Once made, the index is there for the next compile.
    expect(cost(() => compiled(set, {}, memo))).toBeLessThan(1000);
  });

  test('thousands of Listeners where none counts cost the Upstreams of others nothing', () => {
    const uninvited = times(3000, (i) => listener({ port: 1 + i }, `l${i}`, 'web', '2020-01-01T00:00:00Z'));
    const documents = times(2000, (i) => upstream({ hostnames: [`h${i}.example`] }, `u${i}`));
    const set = setOf([listener(), ...uninvited, ...documents]);
    expect(cost(() => expect(compiled(set).listeners).toHaveLength(1))).toBeLessThan(5000);
  });

  test('hundreds of Listeners that serve: what they have alike is made once', () => {
    const many = times(200, (i) => listener({ port: 10_000 + i }, `l${i}`, 'web'));
    const documents = times(1000, (i) => upstream({ hostnames: [`h${i}.example`] }, `u${i}`));
    const set = setOf([...many, ...documents], { services: times(1000, (i) => service(`s${i}`, 'web')) });
    expect(cost(() => expect(compiled(set, { listenerNamespaces: null }).listeners).toHaveLength(200))).toBeLessThan(3500);
  });

  test('certificates of very many names on very many hostnames cost nobody else anything', () => {
    const large = times(4, (n) => makeCertificate({ names: times(500, (i) => `DNS:n${n}-${i}.example`) }));
    const secrets = times(64, (n) => secret(`big${n}`, 'web', large[n % 4] as (typeof large)[number]));
    const documents = times(40, (i) =>
      upstream(
        {
          hostnames: [...times(62, (h) => `n0-${h}.u${i}.example`), '*.example', `n0-${i}.example`],
          certificateRefs: times(64, (c) => ({ name: `big${c}` })),
        },
        `u${i}`,
      ),
    );
    const open = listener({ tls: { certificateRefs: [{ name: 'site' }], allowUpstreamCertificates: true } });
    const set = setOf([open, ...secrets, ...documents], { services: [service()] });
    const memo = new Memo();
    const c = compiled(set, {}, memo);
    expect(c.problems.map((p) => p.message)).toContain('only 1000 names of its certificates are shown by one Listener');
    const one = [...set.upstreams][0] as [string, NonNullable<ReturnType<ResourceSet['upstreams']['get']>>];
    const next = { ...one[1], spec: { ...one[1].spec, matches: [{ path: { type: 'Prefix' as const, value: '/x' } }] } };
    expect(cost(() => compiled({ ...set, upstreams: new Map(set.upstreams).set(one[0], next) }, {}, memo))).toBeLessThan(400);
  });

  test('a Service with very many ports, and a text of the fault that stays short', () => {
    const ports = times(50_000, (i) => port({ name: `p${i}`, port: (i % 65_535) + 1 }));
    const c = run([listener(), upstream({ backends: [{ service: { name: 'api', port: 'none' } }] })], {
      services: [service('api', 'web', ports)],
    });
    const message = statusOf(c, 'Upstream', 'web/api').conditions[1]?.message ?? '';
    expect(message).toMatch(/ and 49984 more$/);
    expect(Buffer.byteLength(message)).toBeLessThan(400);
  });
});

describe('10,000 Upstreams on 10,000 Services', () => {
  const COUNT = 10_000;
  const documents = (backend: (i: number) => object): Document[] =>
    Array.from({ length: COUNT }, (_, i) => {
      const spec = { hostnames: [`h${i % 2000}.example`], matches: [{ path: { value: `/p${i}` } }], backends: [backend(i)] };
      return upstream(spec, `u${i}`, `n${(i + (i % 2)) % 100}`);
    });
  // Every other one is of the next namespace.
  const toServices = documents((i) => ({ service: { name: `s${i}`, namespace: `n${i % 100}`, port: 'http' } }));
  const services = Array.from({ length: COUNT }, (_, i) => service(`s${i}`, `n${i % 100}`));
  const grants = Array.from({ length: 100 }, (_, i) => grant(`n${i}`, 'Upstream', `n${(i + 1) % 100}`, 'Service'));
  const memo = new Memo();
  const set = setOf([listener(), ...toServices], { services, grants });
  const cluster = set.cluster as NonNullable<ResourceSet['cluster']>;
  const first = compiled(set, {}, memo);

  const again = (next: ResourceSet): { fresh: string[]; c: Compiled } => {
    const c = compiled(next, {}, memo);
    return {
      fresh: [...c.parts]
        .filter(([hash]) => !first.parts.has(hash))
        .map(([, part]) => part.kind)
        .sort(),
      c,
    };
  };

  /** With one Upstream's path changed. */
  const changed = (from: ResourceSet, path: string): ResourceSet => {
    const [key, old] = [...from.upstreams][5000] as [string, NonNullable<ReturnType<ResourceSet['upstreams']['get']>>];
    return {
      ...from,
      upstreams: new Map(from.upstreams).set(key, { ...old, spec: { ...old.spec, matches: [{ path: { type: 'Prefix', value: path } }] } }),
    };
  };

  test('all of them serve', () => {
    expect(first.problems).toEqual([]);
    expect(first.groups.size).toBe(COUNT);
  });

  test('one Upstream changes', () => {
    expect(again(changed(set, '/changed')).fresh).toEqual(['host', 'listener']);
  });

  test('statuses of the others stay the same objects, and say the same', () => {
    const next = changed(set, '/elsewhere');
    const [key, edited] = [...next.upstreams][5000] as [string, NonNullable<ReturnType<ResourceSet['upstreams']['get']>>];
    const { meta } = edited;
    const { c } = again({ ...next, upstreams: new Map(next.upstreams).set(key, { ...edited, meta: { ...meta, generation: 7 } }) });
    const known = new Set(first.statuses);
    expect(c.statuses.filter((s) => !known.has(s)).map((s) => [s.kind, s.generation])).toEqual([
      ['Listener', 3],
      ['Upstream', 7],
    ]);
    expect(c.statuses.map((s) => (s.generation === 7 ? { ...s, generation: meta.generation } : s))).toEqual(first.statuses);
  });

  test('one Service changes: its own group, and what refers to it', () => {
    const next = new Map(cluster.services).set('n7/s7', service('s7', 'n7', [port({ appProtocol: 'https' })]));
    expect(again({ ...set, cluster: { ...cluster, services: next } }).fresh).toEqual(['group', 'host', 'listener', 'upstream']);
  });

  test('one grant goes: the groups that it opened, and no others', () => {
    const { c } = again({ ...set, cluster: { ...cluster, grants: grants.filter((g) => g.namespace !== 'n1') } });
    expect(first.groups.size - c.groups.size).toBe(COUNT / 100);
    expect(c.problems).toHaveLength(COUNT / 100);
    expect(new Set(c.problems.map((p) => p.message.slice(0, 24)))).toEqual(new Set(['there is no Service n1/s']));
  });

  test('a change costs about what it costs standalone', () => {
    const alone = resourcesOf([
      listener(),
      secret('site', 'edge', leaf('*.example')),
      ...documents((i) => ({ addresses: [{ address: `192.0.2.1:${i + 1}` }] })),
    ]);
    const memoAlone = new Memo();
    let [here, there] = [Infinity, Infinity];
    for (let i = 0; i < 5; i++) {
      const [a, b] = [changed(alone, `/x${i}`), changed(set, `/x${i}`)];
      there = Math.min(
        there,
        cost(() => compile(a, { standalone: true, memo: memoAlone })),
      );
      here = Math.min(
        here,
        cost(() => compiled(b, {}, memo)),
      );
    }
    // CPU time of one thread: other work on the machine makes it vary, not grow without bound.
    expect(here).toBeLessThan(2 * there + 50);
  });
});
