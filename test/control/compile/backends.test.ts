import { describe, expect, test } from '@jest/globals';
import type { BackendTlsPart, CertificatePart, GroupPart, UpstreamPart } from '../../../src/contract/snapshot/index.ts';
import { compile, type Compiled } from '../../../src/control/compile/index.ts';
import { gateway, type Document, type Gateway } from '../../kit/documents.ts';
import { resourcesOf } from '../../kit/resources.ts';
import { makeAuthority, makeCertificate } from '../../kit/x509.ts';

const site = makeCertificate({ names: ['site.example'] });
const base = (): Gateway => gateway().certificate(site);
const run = (from: Gateway | readonly Document[], files: Record<string, string> = {}): Compiled =>
  compile(resourcesOf(from, files), { standalone: true });
const problems = (c: Compiled): string[] => c.problems.map((p) => `${p.severity} ${p.path}: ${p.message}`);
const addresses = [{ address: '127.0.0.1:1' }];

const upstreamOf = (c: Compiled): UpstreamPart => [...c.parts.values()].find((p) => p.kind === 'upstream') as UpstreamPart;
function groupsOf(c: Compiled): (GroupPart | null)[] {
  return upstreamOf(c).groups.map((g) => (g.group === null ? null : (c.parts.get(g.group) as GroupPart)));
}

const resolved = (c: Compiled) => c.statuses.find((s) => s.kind === 'Upstream')?.conditions.find((x) => x.type === 'ResolvedRefs');
const SYSTEM: BackendTlsPart = { verify: true, serverName: null, sni: true, ca: null, client: null };

describe('protocol and TLS: a group replaces each as a whole', () => {
  test.each<[string, Record<string, unknown>, object, GroupPart['protocol'], BackendTlsPart | null]>([
    ['nothing', {}, {}, 'H2C', null],
    ['H2C', { protocol: 'H2C' }, {}, 'H2C', null],
    ['H2 without tls is verified by the system', { protocol: 'H2' }, {}, 'H2', SYSTEM],
    [
      'H2 with tls',
      { protocol: 'H2', tls: { serverName: 'A.internal.', sni: false } },
      {},
      'H2',
      { ...SYSTEM, serverName: 'a.internal', sni: false },
    ],
    ['Auto with tls is TLS', { tls: { serverName: 'a.internal' } }, {}, 'H2', { ...SYSTEM, serverName: 'a.internal' }],
    ['H2 of the group', {}, { protocol: 'H2' }, 'H2', SYSTEM],
    ['H2C of the group', { protocol: 'H2', tls: { sni: false } }, { protocol: 'H2C' }, 'H2C', null],
    [
      'tls of the group',
      { protocol: 'H2', tls: { serverName: 'a.internal', sni: false } },
      { tls: { serverName: 'b.internal' } },
      'H2',
      { ...SYSTEM, serverName: 'b.internal' },
    ],
  ])('%s', (_title, spec, group, protocol, tls) => {
    const c = run(
      base()
        .route()
        .with(spec)
        .backends([{ addresses, ...group }]),
    );
    expect(problems(c)).toEqual([]);
    expect(groupsOf(c)).toMatchObject([{ protocol, tls }]);
  });

  test('tls of a group beside H2C of its Upstream is refused', () => {
    const c = run(
      base()
        .route()
        .with({ protocol: 'H2C' })
        .backends([{ addresses, tls: { serverName: 'a' } }]),
    );
    expect(problems(c)).toEqual([
      'error spec.backends[0].tls: tls is given, but spec.protocol is H2C, which is clear text; set protocol: H2 beside it',
    ]);
    expect(c.statuses.at(-1)?.conditions[0]).toMatchObject({ type: 'Accepted', status: 'False', reason: 'Invalid' });
    expect(c.groups.size).toBe(0);
  });

  test('verify None is warned about, and a condition says so', () => {
    const c = run(
      base()
        .route()
        .with({ protocol: 'H2', tls: { verify: 'None' } })
        .split({ name: 'a', address: '127.0.0.1:1' }, { name: 'b', address: '127.0.0.1:2' }),
    );
    expect(groupsOf(c)).toMatchObject([{ tls: { verify: false } }, { tls: { verify: false } }]);
    expect(problems(c)).toEqual(['warning spec.tls.verify: certificates of backends are not checked: whoever answers is believed']);
    expect(resolved(c)).toMatchObject({
      status: 'True',
      reason: 'ResolvedRefs',
      message: 'spec.tls.verify is None: whoever answers is believed',
    });
  });
});

describe('references', () => {
  const root = makeAuthority();
  const client = makeCertificate({ names: ['edge.internal'], issuer: root, usages: ['1.3.6.1.5.5.7.3.2'] });

  test('a bundle from a ConfigMap, a Secret or a file comes out clean', () => {
    const bundle = `# our roots\n${root.cert}`;
    const secret: Document = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'ca' },
      type: 'Opaque',
      data: { 'ca.crt': Buffer.from(bundle).toString('base64') },
    };
    const refs = [{ name: 'ca' }, { kind: 'Secret', name: 'ca' }, { files: { ca: '/etc/ca.pem' } }];
    const backends = refs.map((caRef, i) => ({ name: `g${i}`, addresses, protocol: 'H2', tls: { caRef } }));
    const c = run(base().configMap('ca', { 'ca.crt': bundle }).add(secret).route().backends(backends), { '/etc/ca.pem': bundle });
    expect(problems(c)).toEqual([]);
    expect(groupsOf(c).map((g) => g?.tls?.ca)).toEqual([root.cert, root.cert, root.cert]);
  });

  test('a client certificate becomes a part', () => {
    const c = run(
      base()
        .secret('edge', client)
        .route()
        .with({ protocol: 'H2', tls: { clientCertificateRef: { name: 'edge' } } })
        .to('127.0.0.1:1'),
    );
    expect(problems(c)).toEqual([]);
    const hash = groupsOf(c)[0]?.tls?.client;
    expect(c.parts.get(hash as never) as CertificatePart).toMatchObject({
      kind: 'certificate',
      source: 'default/edge',
      names: ['edge.internal'],
    });
    expect(c.encoded.has(hash as never)).toBe(true);
  });

  test.each<[string, object, string, string]>([
    ['no ConfigMap', { caRef: { name: 'gone' } }, 'spec.tls.caRef', 'there is no ConfigMap default/gone'],
    ['no Secret', { caRef: { kind: 'Secret', name: 'gone' } }, 'spec.tls.caRef', 'there is no Secret default/gone'],
    ['no member', { caRef: { name: 'empty' } }, 'spec.tls.caRef', 'ConfigMap default/empty lacks ca.crt'],
    [
      'no certificate',
      { caRef: { name: 'text' } },
      'spec.tls.caRef',
      'ConfigMap default/text: there is no certificate in it (-----BEGIN CERTIFICATE-----)',
    ],
    ['no file', { caRef: { files: { ca: '/none' } } }, 'spec.tls.caRef', '/none was not read'],
    [
      'no client certificate',
      { clientCertificateRef: { name: 'gone' } },
      'spec.tls.clientCertificateRef',
      'there is no Secret default/gone',
    ],
    [
      'one for servers',
      { clientCertificateRef: { name: 'server' } },
      'spec.tls.clientCertificateRef',
      'default/server: the certificate is not meant for a client (extended key usage)',
    ],
  ])('K6: %s: the groups keep their share and answer 500', (_title, tls, path, message) => {
    const server = makeCertificate({ names: ['a.example'], usages: ['1.3.6.1.5.5.7.3.1'] });
    const c = run(
      base()
        .configMap('empty', {})
        .configMap('text', { 'ca.crt': 'hello' })
        .secret('server', server)
        .route()
        .with({ protocol: 'H2', tls })
        .split(
          { name: 'a', address: '127.0.0.1:1', weight: 3 },
          { name: 'b', address: '127.0.0.1:2' },
          { name: 'c', address: '127.0.0.1:3', spec: { protocol: 'H2C' } },
        ),
    );
    expect(problems(c)).toEqual([`error ${path}: ${message}`]);
    expect(upstreamOf(c).groups).toEqual([
      { name: 'a', weight: 3, group: null },
      { name: 'b', weight: 1, group: null },
      { name: 'c', weight: 1, group: expect.any(String) },
    ]);
    expect([...c.groups.keys()]).toEqual(['["default","r1","c"]']);
    expect(resolved(c)).toMatchObject({ status: 'False', reason: 'InvalidCertificate', message: `${path}: ${message}` });
    expect(c.statuses.at(-1)?.conditions[0]).toMatchObject({ type: 'Accepted', status: 'True' });
  });

  test('a service needs a cluster', () => {
    const c = run(
      base()
        .route()
        .backends([{ service: { name: 'api', port: 'http' } }]),
    );
    expect(problems(c)).toEqual(['error spec.backends[0].service: service needs a cluster; give addresses instead']);
    expect(groupsOf(c)).toEqual([null]);
    expect(resolved(c)).toMatchObject({ status: 'False', reason: 'InvalidBackend' });
  });
});

test('addresses: names, literals and labels', () => {
  const c = run(
    base()
      .route()
      .backends([
        {
          addresses: [
            { name: 'a', address: '192.0.2.10:7001', weight: 7 },
            { address: '[2001:DB8::1]:7001' },
            { address: 'DB.example.net.:7001' },
          ],
        },
      ]),
  );
  expect([...c.groups.values()][0]?.addresses).toEqual([
    { host: '192.0.2.10', port: 7001, weight: 7, label: 'a' },
    { host: '2001:db8::1', port: 7001, weight: 100, label: '[2001:DB8::1]:7001' },
    { host: 'db.example.net', port: 7001, weight: 100, label: 'DB.example.net.:7001' },
  ]);
});

test('an address twice in a group is refused, in two groups it is not', () => {
  const twice = run(
    base()
      .route()
      .backends([{ addresses: [{ address: 'a.example:1' }, { address: '127.0.0.1:1' }, { address: 'A.EXAMPLE:1' }] }]),
  );
  expect(problems(twice)).toEqual(['error spec.backends[0].addresses[2]: the address a.example:1 is there twice in its group']);
  const apart = run(base().route().split({ name: 'a', address: '127.0.0.1:1' }, { name: 'b', address: '127.0.0.1:1' }));
  expect(problems(apart)).toEqual([]);
  expect(apart.groups.size).toBe(2);
});

test('weights that are all 0 are warned about', () => {
  const c = run(base().route().split({ name: 'a', address: '127.0.0.1:1', weight: 0 }));
  expect(problems(c)).toEqual(['warning spec.backends: every weight is 0: all requests get 503']);
});

test('health checks: defaults, ranges, and the one of a group replaces the whole', () => {
  const c = run(
    base()
      .route()
      .with({ healthCheck: { type: 'HTTP', interval: '10s', unhealthyThreshold: 5 } })
      .split(
        { name: 'a', address: '127.0.0.1:1' },
        {
          name: 'b',
          address: '127.0.0.1:1',
          spec: {
            healthCheck: {
              http: { path: '/ok', statuses: [204, '300-399'], hostname: 'x.internal' },
              cooldown: '2s',
              initial: 'Unhealthy',
            },
          },
        },
      ),
  );
  expect(groupsOf(c).map((g) => g?.healthCheck)).toEqual([
    {
      path: '/health',
      statuses: [[200, 299]],
      hostname: null,
      intervalMs: 10_000,
      timeoutMs: 1000,
      cooldownMs: 0,
      healthyThreshold: 2,
      unhealthyThreshold: 5,
      initial: 'Healthy',
    },
    {
      path: '/ok',
      statuses: [
        [204, 204],
        [300, 399],
      ],
      hostname: 'x.internal',
      intervalMs: 5000,
      timeoutMs: 1000,
      cooldownMs: 2000,
      healthyThreshold: 2,
      unhealthyThreshold: 3,
      initial: 'Unhealthy',
    },
  ]);
});

test.each<[object, object]>([
  [{}, { type: 'RoundRobin' }],
  [{ type: 'Random' }, { type: 'Random' }],
  [
    { type: 'ConsistentHash', consistentHash: { key: { type: 'Cookie', cookie: { name: 'Sid' } } } },
    { type: 'ConsistentHash', key: { type: 'Cookie', name: 'Sid' } },
  ],
  [
    { type: 'ConsistentHash', consistentHash: { key: { type: 'Query', query: { name: 'q' } } } },
    { type: 'ConsistentHash', key: { type: 'Query', name: 'q' } },
  ],
  [
    { type: 'ConsistentHash', consistentHash: { key: { type: 'Authority' } } },
    { type: 'ConsistentHash', key: { type: 'Authority' } },
  ],
  [
    { type: 'ConsistentHash', consistentHash: { key: { type: 'SourceAddress' } } },
    { type: 'ConsistentHash', key: { type: 'SourceAddress' } },
  ],
])('load balancing %j', (loadBalancing, expected) => {
  const c = run(base().route().with({ loadBalancing }).to('127.0.0.1:1'));
  expect(upstreamOf(c).balancing).toEqual(expected);
});
