import { describe, expect, test } from '@jest/globals';
import type { Service } from '../../../src/contract/resources/index.ts';
import type { BackendTlsPart } from '../../../src/contract/snapshot/index.ts';
import {
  compiled,
  grant,
  groupsOf,
  leaf,
  listener,
  partsOf,
  port,
  problems,
  run,
  secret,
  service,
  setOf,
  statusOf,
  upstream,
  verdict,
} from './world.ts';

const API = ['Upstream', 'web/api'] as const;
const to = (ref: object, over: object = {}): object => ({ backends: [{ service: { name: 'api', port: 'http', ...ref }, ...over }] });
const tlsFor = (serverName: string, over: Partial<BackendTlsPart> = {}): BackendTlsPart => ({
  verify: true,
  serverName,
  sni: true,
  ca: null,
  client: null,
  ...over,
});

describe('the port of a Service', () => {
  const ports = [
    port(),
    port({ name: 'grpc', port: 9000 }),
    port({ name: 'dns', port: 53, protocol: 'UDP' }),
    port({ name: '8080', port: 81 }),
  ];

  test.each<[string, number | string, string]>([
    ['by name', 'grpc', 'grpc'],
    ['by number', 9000, 'grpc'],
    ['by number, not the target', 80, 'http'],
    ['by a name of digits', '8080', '8080'],
  ])('%s', (_title, wanted, portName) => {
    const c = run([listener(), upstream(to({ port: wanted }))], { services: [service('api', 'web', ports)] });
    expect(problems(c)).toEqual([]);
    expect([...c.groups.values()].map((g) => [g.service, g.addresses])).toEqual([[{ namespace: 'web', name: 'api', portName }, []]]);
    expect(groupsOf(c)).toMatchObject([{ protocol: 'H2C', tls: null, healthCheck: null, name: 'default' }]);
  });

  test('a single port without a name', () => {
    const c = run([listener(), upstream(to({ port: 80 }))], { services: [service('api', 'web', [port({ name: '' })])] });
    expect([...c.groups.values()][0]?.service).toEqual({ namespace: 'web', name: 'api', portName: '' });
  });

  test('TCP and UDP under one number: it is the one of TCP', () => {
    const both = [port({ name: 'u', port: 443, protocol: 'UDP' }), port({ name: 't', port: 443 })];
    const c = run([listener(), upstream(to({ port: 443 }))], { services: [service('api', 'web', both)] });
    expect([...c.groups.values()][0]?.service?.portName).toBe('t');
  });

  const knows = 'it has http (80), grpc (9000), 8080 (81)';
  test.each<[string, number | string, readonly ReturnType<typeof port>[], string]>([
    ['no such name', 'web', ports, `Service web/api has no TCP port "web"; ${knows}`],
    ['no such number', 8080, ports, `Service web/api has no TCP port 8080; ${knows}`],
    ['a number in quotes', '80', ports, `Service web/api has no TCP port "80"; ${knows}`],
    ['UDP by name', 'dns', ports, `Service web/api has no TCP port "dns"; ${knows}`],
    ['UDP alone', 53, [port({ name: '', port: 53, protocol: 'UDP' })], 'Service web/api has no TCP port 53; it has none of TCP'],
    ['no ports at all', 80, [], 'Service web/api has no TCP port 80; it has no ports'],
    [
      'very many',
      1,
      Array.from({ length: 20 }, (_, i) => port({ name: '', port: 100 + i })),
      'Service web/api has no TCP port 1; it has 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115 and 4 more',
    ],
  ])('%s: the group answers 500', (_title, wanted, has, message) => {
    const c = run([listener(), upstream(to({ port: wanted }))], { services: [service('api', 'web', has)] });
    expect(groupsOf(c)).toEqual([null]);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(`False/InvalidBackend: spec.backends[0].service.port: ${message}`);
    expect(verdict(c, ...API, 'Accepted')).toBe('True/Valid');
    expect(verdict(c, ...API, 'Programmed')).toBe('True/Programmed');
    expect(statusOf(c, ...API).groups).toEqual([]);
    expect(c.groups.size).toBe(0);
    expect(c.problems.filter((p) => p.severity === 'error').every((p) => c.bearable.has(p))).toBe(true);
  });
});

describe('the Service', () => {
  test.each<[string, readonly Service[], string]>([
    ['is not there', [], 'there is no Service web/api'],
    [
      'K5: is an ExternalName',
      [service('api', 'web', [port()], { type: 'ExternalName' })],
      'Service web/api is of type ExternalName, which is not followed: it can name any host; use a Service with endpoints of its own',
    ],
  ])('%s', (_title, services, message) => {
    const c = run([listener(), upstream()], { services });
    expect(groupsOf(c)).toEqual([null]);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(`False/InvalidBackend: spec.backends[0].service: ${message}`);
  });

  test('K5: an ExternalName has no ports either that would help it', () => {
    const c = run([listener(), upstream(to({ port: 80 }))], { services: [service('api', 'web', [port()], { type: 'ExternalName' })] });
    expect(c.groups.size).toBe(0);
  });

  test.each(['ClusterIP', 'NodePort', 'LoadBalancer'] as const)('of type %s is a backend', (type) => {
    expect(run([listener(), upstream()], { services: [service('api', 'web', [port()], { type })] }).groups.size).toBe(1);
  });

  test('one group that does not hold leaves the others their share', () => {
    const backends = [
      { name: 'old', weight: 90, service: { name: 'api', port: 'http' } },
      { name: 'new', weight: 10, service: { name: 'gone', port: 'http' } },
    ];
    const c = run([listener(), upstream({ backends })]);
    expect(partsOf(c, 'upstream')[0]?.groups.map((g) => [g.name, g.weight, g.group === null])).toEqual([
      ['old', 90, false],
      ['new', 10, true],
    ]);
    expect(statusOf(c, ...API).groups).toEqual(['["web","api","old"]']);
  });

  test('deleted and made again under its name', () => {
    const documents = [listener(), upstream()];
    const before = run(documents);
    expect(groupsOf(run(documents, { services: [] }))).toEqual([null]);
    const after = run(documents, { services: [service('api', 'web', [port({ port: 8080, nodePort: 1 })])] });
    expect([...after.parts.keys()]).toEqual([...before.parts.keys()]);
  });
});

describe('Auto goes by appProtocol', () => {
  const spoken = (appProtocol: string, spec: object = {}, over: object = {}) =>
    run([listener(), upstream({ ...to({}, over), ...spec })], { services: [service('api', 'web', [port({ appProtocol })])] });

  test.each(['', 'kubernetes.io/h2c', 'grpc', 'http2', 'GRPC'])('%j is H2C', (appProtocol) => {
    const c = spoken(appProtocol);
    expect(problems(c)).toEqual([]);
    expect(groupsOf(c)).toMatchObject([{ protocol: 'H2C', tls: null }]);
  });

  test.each(['https', 'HTTPS'])('%j is H2, by the name of the Service', (appProtocol) => {
    const c = spoken(appProtocol);
    expect(problems(c)).toEqual([]);
    expect(groupsOf(c)).toMatchObject([{ protocol: 'H2', tls: tlsFor('api.web.svc') }]);
  });

  test.each(['http', 'kubernetes.io/ws', 'kubernetes.io/wss', 'kubernetes.io/https', 'tcp', 'constructor', 'a"b'])(
    '%j is none that is known',
    (appProtocol) => {
      const c = spoken(appProtocol);
      expect(groupsOf(c)).toEqual([null]);
      expect(verdict(c, ...API, 'ResolvedRefs')).toBe(
        `False/InvalidBackend: spec.backends[0].service.port: appProtocol ${JSON.stringify(appProtocol)} of port http (80) of Service web/api ` +
          'is none that protocol Auto knows (kubernetes.io/h2c, grpc, http2, https): set protocol of the backend to H2C or H2',
      );
    },
  );

  test.each<[string, string, object, object, object]>([
    ['H2C is asked for', 'https', { protocol: 'H2C' }, {}, { protocol: 'H2C', tls: null }],
    ['H2 is asked for', 'kubernetes.io/h2c', { protocol: 'H2' }, {}, { protocol: 'H2', tls: tlsFor('api.web.svc') }],
    ['H2 of the group', 'http', {}, { protocol: 'H2' }, { protocol: 'H2', tls: tlsFor('api.web.svc') }],
    ['tls where the port says nothing', '', { tls: { sni: false } }, {}, { protocol: 'H2', tls: tlsFor('api.web.svc', { sni: false }) }],
    ['tls of the group where the port says nothing', '', {}, { tls: {} }, { protocol: 'H2', tls: tlsFor('api.web.svc') }],
    ['a name of its own', 'https', { tls: { serverName: 'Api.internal.' } }, {}, { protocol: 'H2', tls: tlsFor('api.internal') }],
    [
      'H2C of a group beside tls of the Upstream',
      'https',
      { protocol: 'H2', tls: {} },
      { protocol: 'H2C' },
      { protocol: 'H2C', tls: null },
    ],
  ])('%s', (_title, appProtocol, spec, over, expected) => {
    const c = spoken(appProtocol, spec, over);
    expect(problems(c)).toEqual([]);
    expect(groupsOf(c)).toMatchObject([expected]);
  });

  test.each<[string, object, object]>([
    ['of the Upstream', { tls: {} }, {}],
    ['of the group', {}, { tls: {} }],
  ])('K6: tls %s is not dropped for a port of clear text', (_title, spec, over) => {
    const c = spoken('kubernetes.io/h2c', spec, over);
    expect(groupsOf(c)).toEqual([null]);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(
      'False/InvalidBackend: spec.backends[0].service.port: tls is given, but appProtocol "kubernetes.io/h2c" of port http (80) of Service web/api ' +
        'is clear text: set protocol of the backend to H2C or H2',
    );
  });

  test('the name is of the Service that is meant, wherever it is', () => {
    const c = run([listener(), upstream(to({ namespace: 'shop' }, { protocol: 'H2' }))], {
      services: [service('api', 'shop')],
      grants: [grant('shop', 'Upstream', 'web', 'Service')],
    });
    expect(groupsOf(c)).toMatchObject([{ tls: tlsFor('api.shop.svc') }]);
  });
});

describe('K1: Services of other namespaces', () => {
  const documents = [listener(), upstream(to({ namespace: 'shop' }))];
  const services = [service('api', 'shop')];
  const hidden =
    'False/RefNotPermitted: spec.backends[0].service: there is no Service shop/api that namespace web may use: it must exist, and a ReferenceGrant ' +
    'in shop must allow it (from: group spooky.dev, kind Upstream, namespace web; to: group "", kind Service)';

  test.each<[string, readonly ReturnType<typeof grant>[], boolean]>([
    ['none', [], false],
    ['every Service', [grant('shop', 'Upstream', 'web', 'Service')], true],
    ['this one', [grant('shop', 'Upstream', 'web', 'Service', 'api')], true],
    ['another one', [grant('shop', 'Upstream', 'web', 'Service', 'other')], false],
    ['to another namespace', [grant('shop', 'Upstream', 'other', 'Service')], false],
    ['from another kind', [grant('shop', 'Listener', 'web', 'Service')], false],
    ['of another kind', [grant('shop', 'Upstream', 'web', 'Secret')], false],
    ['of another group', [grant('shop', 'Upstream', 'web', 'Service', '', 'apps')], false],
    ['in the namespace of the Upstream', [grant('web', 'Upstream', 'web', 'Service')], false],
    ['in a third namespace', [grant('other', 'Upstream', 'web', 'Service')], false],
    [
      'another one and this one',
      [grant('shop', 'Upstream', 'web', 'Service', 'other'), grant('shop', 'Upstream', 'web', 'Service', 'api')],
      true,
    ],
    [
      'one of several kinds',
      [
        {
          namespace: 'shop',
          from: [
            { kind: 'Listener', namespace: 'web' },
            { kind: 'Upstream', namespace: 'web' },
          ],
          to: [
            { group: '', kind: 'Secret', name: '' },
            { group: '', kind: 'Service', name: 'api' },
          ],
        },
      ],
      true,
    ],
    [
      'kinds that do not go together',
      [
        { namespace: 'shop', from: [{ kind: 'Upstream', namespace: 'web' }], to: [{ group: '', kind: 'Secret', name: '' }] },
        { namespace: 'shop', from: [{ kind: 'Listener', namespace: 'web' }], to: [{ group: '', kind: 'Service', name: '' }] },
      ],
      false,
    ],
  ])('a grant of %s', (_title, grants, held) => {
    const c = run(documents, { services, grants });
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(held ? 'True/ResolvedRefs' : hidden);
    expect(groupsOf(c).map((g) => g !== null)).toEqual([held]);
  });

  test('a missing Service, and a missing Service that is granted, look like one that is not granted', () => {
    const grants = [grant('shop', 'Upstream', 'web', 'Service')];
    for (const rest of [{ services }, { services: [] }, { services: [], grants }])
      expect(verdict(run(documents, rest), ...API, 'ResolvedRefs')).toBe(hidden);
  });

  test('what is wrong with one is told to those who may use it, and to nobody else', () => {
    const wrong = [listener(), upstream(to({ namespace: 'shop', port: 'secret-port' }))];
    const grants = [grant('shop', 'Upstream', 'web', 'Service')];
    expect(verdict(run(wrong, { services, grants }), ...API, 'ResolvedRefs')).toBe(
      'False/InvalidBackend: spec.backends[0].service.port: Service shop/api has no TCP port "secret-port"; it has http (80)',
    );
    expect(verdict(run(wrong, { services }), ...API, 'ResolvedRefs')).toBe(hidden);
  });

  test('a grant that goes takes the traffic with it', () => {
    const grants = [grant('shop', 'Upstream', 'web', 'Service')];
    const before = run(documents, { services, grants });
    const after = run(documents, { services });
    expect(before.groups.size).toBe(1);
    expect(after.groups.size).toBe(0);
    // The route stays, and answers 500.
    expect(partsOf(after, 'host')).toHaveLength(1);
    expect(groupsOf(after)).toEqual([null]);
    expect(partsOf(after, 'group')).toEqual([]);
  });

  test('the own namespace written out needs none', () => {
    expect(run([listener(), upstream(to({ namespace: 'web' }))]).groups.size).toBe(1);
  });
});

describe('addresses in a cluster', () => {
  const outside = upstream({ backends: [{ addresses: [{ address: '192.0.2.10:7001' }] }] });

  test('answer 500 unless they are allowed', () => {
    const c = run([listener(), outside]);
    expect(groupsOf(c)).toEqual([null]);
    expect(c.groups.size).toBe(0);
    expect(verdict(c, ...API, 'ResolvedRefs')).toBe(
      "False/InvalidBackend: spec.backends[0].addresses: addresses are not allowed here: name a Service, or set the chart's value allowAddressBackends (--allow-address-backends)",
    );
  });

  test('serve where they are', () => {
    const c = run([listener(), outside], {}, { allowAddressBackends: true });
    expect(problems(c)).toEqual([]);
    expect([...c.groups.values()]).toMatchObject([{ addresses: [{ host: '192.0.2.10', port: 7001 }], service: null }]);
  });
});

test('health checks of a Service are as written', () => {
  const c = run([listener(), upstream({ healthCheck: { http: { path: '/ok' } } })]);
  expect(groupsOf(c)).toMatchObject([{ healthCheck: { path: '/ok', hostname: null } }]);
});

test('the dates of client certificates are told, each once', () => {
  const edge = secret('edge', 'web', leaf('edge.internal'));
  const backends = ['a', 'b'].map((name) => ({ name, service: { name: 'api', port: 'http' } }));
  const spec = { protocol: 'H2', tls: { clientCertificateRef: { name: 'edge' } }, backends };
  const c = compiled(setOf([listener(), edge, upstream(spec)]));
  expect(problems(c)).toEqual([]);
  expect(statusOf(c, ...API).certificates).toEqual([
    { source: 'web/edge', notBefore: Date.UTC(2023, 0, 1), notAfter: Date.UTC(2044, 0, 1) },
  ]);
});
