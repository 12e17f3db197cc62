import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { ResourceSet } from '../../../src/contract/resources/index.ts';
import { buildTable, type RouteTable } from '../../../src/contract/routes/table.ts';
import { dumpSnapshot, type HostPart, type ListenerPart, type Part, type UpstreamPart } from '../../../src/contract/snapshot/index.ts';
import { compile, CONDITION_REASONS, Memo, type Compiled, type Condition, type ConditionType } from '../../../src/control/compile/index.ts';
import { gateway, type Document, type Gateway } from '../../kit/documents.ts';
import { resourcesOf } from '../../kit/resources.ts';
import { makeCertificate } from '../../kit/x509.ts';

const site = makeCertificate({ names: ['*.example', 'site.example'] });
const base = (spec = {}): Gateway => gateway(spec).certificate(site);
const compiled = (from: Gateway | readonly Document[]): Compiled => compile(resourcesOf(from), { standalone: true });
const partsOf = <K extends Part['kind']>(c: Compiled, kind: K): Extract<Part, { kind: K }>[] =>
  [...c.parts.values()].filter((p): p is Extract<Part, { kind: K }> => p.kind === kind);

function table(c: Compiled, listener = 0): RouteTable<string> {
  const part = c.parts.get(c.listeners[listener] as never) as ListenerPart;
  return buildTable(
    part.hosts.map((h) => c.parts.get(h) as HostPart),
    (route) => `${route.upstream.namespace}/${route.upstream.name}[${route.matchIndex}]`,
  );
}

const get = (c: Compiled, host: string, path: string): string | null => table(c).match(host, path, '', 'GET', [], []);

function condition(c: Compiled, kind: string, name: string, type: ConditionType, namespace = 'default'): Condition {
  const status = c.statuses.find((s) => s.kind === kind && s.name === name && s.namespace === namespace);
  const found = status?.conditions.find((x) => x.type === type);
  if (found === undefined) throw new Error(`no ${type} of ${kind} ${namespace}/${name}`);
  return found;
}

/** `severity object path: message` of each problem. */
const problems = (c: Compiled): string[] => c.problems.map((p) => `${p.severity} ${p.object} ${p.path}: ${p.message}`);

describe('a whole configuration', () => {
  const c = compiled(
    base({ hostnames: ['*.example'], limits: { requestBody: '1Mi', connections: 7 }, quic: { keepAlive: '5s', idleTimeout: '1m' } })
      .host('site.example', 'other.test')
      .route('/api/', { methods: ['GET'] })
      .with({
        loadBalancing: { type: 'ConsistentHash', consistentHash: { key: { type: 'Header', header: { name: 'x-user' } } } },
        timeouts: { request: '2m' },
      })
      .split({ name: 'old', address: '127.0.0.1:1', weight: 9 }, { name: 'new', address: ['127.0.0.1:2', 'Db.Example.net:3'] }),
  );

  test('parts, by content', () => {
    expect(problems(c)).toEqual([]);
    expect([...c.parts.keys()].sort()).toEqual([...c.encoded.keys()].sort());
    expect(partsOf(c, 'listener')).toMatchObject([
      {
        namespace: 'default',
        name: 'public',
        addresses: ['127.0.0.1'],
        port: 8443,
        advertisedPort: 8443,
        hostnames: ['*.example'],
        quic: {
          idleTimeoutMs: 60_000,
          keepAliveMs: 5000,
          handshakeTimeoutMs: 10_000,
          maxStreams: 128,
          streamWindow: 1024 ** 2,
          congestionControl: 'Cubic',
          retry: 'Auto',
        },
        limits: {
          connections: 7,
          connectionsPerAddress: 1000,
          handshakesPerSecond: 2000,
          headerBytes: 65_536,
          headerCount: 128,
          requestBody: 1024 ** 2,
          headerTimeoutMs: 10_000,
          bodyIdleTimeoutMs: 30_000,
          responseStallMs: 60_000,
          noRequestTimeoutMs: 300_000,
          requestsPerConnection: 100_000,
          pending: 1024,
        },
        escapedSlashes: 'Reject',
        trust: [],
        proxyStatusDetails: false,
      },
    ]);
    expect(partsOf(c, 'upstream')).toMatchObject([
      {
        balancing: { type: 'ConsistentHash', key: { type: 'Header', name: 'x-user' } },
        timeouts: { connectMs: 1000, responseMs: 30_000, idleMs: 300_000, requestMs: 120_000 },
        groups: [
          { name: 'old', weight: 9 },
          { name: 'new', weight: 1 },
        ],
      },
    ]);
    expect(partsOf(c, 'host')).toMatchObject([
      {
        hostname: 'site.example',
        routes: [{ hostname: 'site.example', matchIndex: 0, match: { path: { type: 'Prefix', value: '/api/' }, methods: ['GET'] } }],
      },
    ]);
  });

  test('sources of endpoints', () => {
    expect([...c.groups.keys()]).toEqual(['["default","r1","old"]', '["default","r1","new"]']);
    expect([...c.groups.values()].map((g) => g.addresses)).toEqual([
      [{ host: '127.0.0.1', port: 1, weight: 100, label: '127.0.0.1:1' }],
      [
        { host: '127.0.0.1', port: 2, weight: 100, label: '127.0.0.1:2' },
        { host: 'db.example.net', port: 3, weight: 100, label: 'Db.Example.net:3' },
      ],
    ]);
  });

  test('conditions', () => {
    for (const status of c.statuses) {
      for (const x of status.conditions)
        expect([x.status, x.reason, x.message]).toEqual([x.type === 'Conflicted' ? 'False' : 'True', CONDITION_REASONS[x.type][0], '']);
    }
    expect(c.statuses).toMatchObject([
      { kind: 'Listener', name: 'public', attachedUpstreams: 1 },
      { kind: 'Upstream', name: 'r1', attached: { taken: 1, asked: 1 }, listeners: [{ namespace: 'default', name: 'public' }] },
    ]);
  });
});

describe('listeners', () => {
  const second = (spec: object): Document => ({
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Listener',
    metadata: { name: 'second' },
    spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls-1' }] }, ...spec },
  });

  test.each<[string, object, boolean]>([
    ['the same address', { addresses: ['127.0.0.1'] }, true],
    ['every address', {}, true],
    ['every IPv4 address', { addresses: ['0.0.0.0'] }, true],
    ['every IPv6 address', { addresses: ['::'] }, false],
    ['another address', { addresses: ['127.0.0.2'] }, false],
    ['another port', { port: 9443 }, false],
  ])('two on %s', (_title, spec, conflict) => {
    const c = compiled(base().add(second(spec)));
    expect(c.listeners).toHaveLength(conflict ? 1 : 2);
    expect(problems(c)).toEqual(
      conflict
        ? ['error Listener default/second spec.port: port 8443 of the same address is taken by an older Listener (Listener default/public)']
        : [],
    );
    expect(condition(c, 'Listener', 'second', 'Accepted').reason).toBe(conflict ? 'PortConflict' : 'Valid');
    expect(condition(c, 'Listener', 'second', 'Programmed').reason).toBe(conflict ? 'Pending' : 'Programmed');
    expect(condition(c, 'Listener', 'public', 'Accepted').reason).toBe('Valid');
  });

  test('one IPv6 address in two spellings', () => {
    const c = compiled(base({ addresses: ['::1'] }).add(second({ addresses: ['0:0:0:0:0:0:0:1'] })));
    expect(condition(c, 'Listener', 'second', 'Accepted').reason).toBe('PortConflict');
  });

  test('the older serves, whatever the names', () => {
    const old = { ...second({}), metadata: { name: 'second', creationTimestamp: '2024-01-01T00:00:00Z' } };
    const documents = base()
      .documents()
      .map((d): Document => (d.kind === 'Listener' ? { ...d, metadata: { ...d.metadata, creationTimestamp: '2024-01-02T00:00:00Z' } } : d));
    const c = compiled([...documents, old]);
    expect(condition(c, 'Listener', 'public', 'Accepted').reason).toBe('PortConflict');
    expect(condition(c, 'Listener', 'second', 'Accepted').reason).toBe('Valid');
  });

  test('a selector of namespaces needs a cluster', () => {
    const c = compiled(base({ allowedNamespaces: { from: 'Selector', selector: { matchLabels: { a: 'b' } } } }));
    expect(problems(c)).toEqual([
      'error Listener default/public spec.allowedNamespaces.from: Selector needs the labels of namespaces, which files do not have; use Same or All',
    ]);
    expect(c.listeners).toEqual([]);
  });

  test('hostnames inside each other are one', () => {
    const c = compiled(
      base({ hostnames: ['A.example.', '*.example', 'b.example'] })
        .host('*')
        .route()
        .to('127.0.0.1:1'),
    );
    expect(partsOf(c, 'listener')[0]?.hostnames).toEqual(['*.example']);
    expect(partsOf(c, 'host').map((h) => [h.hostname, h.routes.length])).toEqual([['*.example', 1]]);
  });
});

describe('attachment', () => {
  const other = (name: string, namespace: string, spec: object = {}): Document => ({
    apiVersion: 'spooky.dev/v1alpha1',
    kind: 'Upstream',
    metadata: { name, namespace },
    spec: { hostnames: ['*'], backends: [{ addresses: [{ address: '127.0.0.1:1' }] }], ...spec },
  });

  test('hostnames that the listener does not have', () => {
    const c = compiled(
      base({ hostnames: ['*.example'] })
        .host('a.test', '*.test')
        .route()
        .to('127.0.0.1:1'),
    );
    expect(condition(c, 'Upstream', 'r1', 'Accepted')).toMatchObject({ status: 'False', reason: 'NoMatchingHostname' });
    expect(problems(c)).toEqual(['error Upstream default/r1 spec.hostnames: none of the hostnames is among those of the Listener']);
    expect(c.parts.size).toBe(2);
  });

  test('without a listener named, those that have none of the names are not asked', () => {
    const c = compiled([
      ...base({ hostnames: ['*.test'] })
        .host('site.example')
        .route()
        .to('127.0.0.1:1')
        .documents(),
      { apiVersion: '', kind: 'Listener', metadata: { name: 'wide' }, spec: { port: 1, tls: { certificateRefs: [{ name: 'tls-1' }] } } },
    ]);
    expect(c.statuses.find((s) => s.kind === 'Upstream')).toMatchObject({
      attached: { taken: 1, asked: 1 },
      listeners: [{ name: 'wide' }],
    });
    expect(c.problems.filter((p) => p.severity === 'error')).toEqual([]);
  });

  test('other namespaces only where they are admitted; a missing listener looks the same', () => {
    const same = base({ allowedNamespaces: { from: 'Same' } });
    const c = compiled(
      same
        .add(other('here', 'default'))
        .add(other('there', 'web'))
        .add(other('asks', 'web', { listeners: [{ name: 'public', namespace: 'default' }] }))
        .add(other('misses', 'web', { listeners: [{ name: 'none', namespace: 'default' }] })),
    );
    expect(get(c, 'h', '/')).toBe('default/here[-1]');
    expect(partsOf(c, 'upstream').map((u) => u.name)).toEqual(['here']);
    expect(problems(c)).toEqual([
      'error Upstream web/asks spec.listeners[0]: there is no Listener default/public that admits Upstreams of namespace web',
      'error Upstream web/misses spec.listeners[0]: there is no Listener default/none that admits Upstreams of namespace web',
      'error Upstream web/there spec.listeners: there is no Listener that admits Upstreams of namespace web',
    ]);
    for (const name of ['asks', 'misses', 'there']) {
      expect(condition(c, 'Upstream', name, 'Accepted', 'web')).toMatchObject({ status: 'False', reason: 'NotAllowed' });
      expect(condition(c, 'Upstream', name, 'Programmed', 'web')).toMatchObject({ status: 'False', reason: 'Pending' });
    }
  });

  test('an Upstream of a listener that is not served is accepted and pending', () => {
    const c = compiled(
      base()
        .add({
          apiVersion: '',
          kind: 'Listener',
          metadata: { name: 'younger' },
          spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls-1' }] } },
        })
        .add(other('a', 'default', { listeners: [{ name: 'younger', namespace: 'default' }] })),
    );
    expect(condition(c, 'Upstream', 'a', 'Accepted').status).toBe('True');
    expect(condition(c, 'Upstream', 'a', 'Programmed')).toMatchObject({
      status: 'False',
      reason: 'Pending',
      message: 'the Listener is not served: PortConflict',
    });
  });

  test('K2: objects whose joined names are alike stay apart', () => {
    const c = compiled(
      base()
        .add(other('c', 'a-b', { matches: [{ path: { value: '/1' } }] }))
        .add(other('b-c', 'a', { matches: [{ path: { value: '/2' } }] })),
    );
    expect(get(c, 'h', '/1')).toBe('a-b/c[0]');
    expect(get(c, 'h', '/2')).toBe('a/b-c[0]');
    expect(c.groups.size).toBe(2);
  });

  test('a listener that has few names does not make a wildcard the equal of an exact name', () => {
    const c = compiled(
      base({ hostnames: ['site.example'] })
        .host('*.example')
        .route('/v1')
        .to('127.0.0.1:1')
        .host('site.example')
        .route('/')
        .to('127.0.0.1:2'),
    );
    expect(get(c, 'site.example', '/v1')).toBe('default/r2[0]');
    expect(get(c, 'a.example', '/v1')).toBeNull();
  });
});

describe('conflicts', () => {
  test('the older keeps the pair, the younger its others', () => {
    const c = compiled(
      base()
        .host('a.example', 'b.example')
        .route('/x', { methods: ['PUT', 'GET'] })
        .named('young', 'default', '2024-02-01T00:00:00Z')
        .to('127.0.0.1:1')
        .host('a.example')
        .route('/x/', { methods: ['GET', 'PUT'] })
        .named('zzz-old', 'default', '2024-01-01T00:00:00Z')
        .to('127.0.0.1:2'),
    );
    expect(get(c, 'a.example', '/x')).toBe('default/zzz-old[0]');
    expect(get(c, 'b.example', '/x')).toBe('default/young[0]');
    expect(condition(c, 'Upstream', 'young', 'Conflicted')).toEqual({
      type: 'Conflicted',
      status: 'True',
      reason: 'Conflict',
      message: 'an older Upstream serves a.example /x, PUT|GET',
    });
    expect(condition(c, 'Upstream', 'young', 'Accepted').status).toBe('True');
    expect(condition(c, 'Upstream', 'zzz-old', 'Conflicted').status).toBe('False');
    expect(problems(c)).toEqual([
      'warning Upstream default/young spec.matches[0]: a.example /x, PUT|GET is served by Upstream default/zzz-old, which is older',
    ]);
  });

  test('an Upstream that loses every pair is not accepted', () => {
    const c = compiled(base().route('/').to('127.0.0.1:1').route('').to('127.0.0.1:2'));
    expect(get(c, 'h', '/')).toBe('default/r1[0]');
    expect(condition(c, 'Upstream', 'r2', 'Accepted')).toMatchObject({ status: 'False', reason: 'Conflicted' });
    expect(condition(c, 'Upstream', 'r2', 'Programmed').status).toBe('False');
    expect(problems(c)).toEqual([
      'error Upstream default/r2 spec.hostnames: * every path is served by Upstream default/r1, which comes first by namespace and name',
    ]);
    expect(partsOf(c, 'upstream').map((u) => u.name)).toEqual(['r1']);
  });

  test('the same match twice in one Upstream is a slip, not a conflict', () => {
    const c = compiled(
      base()
        .route()
        .with({ matches: [{ path: { value: '/a' } }, { path: { value: '/a/' } }] })
        .to('127.0.0.1:1'),
    );
    expect(problems(c)).toEqual(['warning Upstream default/r1 spec.matches[1]: is the same as spec.matches[0]']);
    expect(condition(c, 'Upstream', 'r1', 'Conflicted').status).toBe('False');
  });

  test('what no request can match is served and warned about', () => {
    const path = { type: 'Regex' as const, value: '/caf(é|e)' };
    const headers = ['host', 'upgrade', 'x-tenant'].map((name) => ({ name, type: 'Present' as const }));
    const c = compiled(
      base()
        .route()
        .with({ matches: [{ path, headers }] })
        .to('127.0.0.1:1'),
    );
    expect(problems(c)).toEqual([
      'warning Upstream default/r1 spec.matches[0].path.value: characters beyond ASCII match nothing: paths are matched in ASCII, é as %C3%A9',
      'warning Upstream default/r1 spec.matches[0].headers[0].name: host never matches: which hosts are meant is said by spec.hostnames',
      'warning Upstream default/r1 spec.matches[0].headers[1].name: upgrade never matches: requests over HTTP/3 may not have it',
    ]);
    expect(condition(c, 'Upstream', 'r1', 'Conflicted').status).toBe('False');
  });

  test('a condition names no other Upstream and stays below a kilobyte', () => {
    const matches = Array.from({ length: 64 }, (_, i) => ({ path: { value: `/${'p'.repeat(60)}${i}` } }));
    const c = compiled(
      base().route().with({ matches }).named('a-winner').to('127.0.0.1:1').route().with({ matches }).named('b-loser').to('127.0.0.1:2'),
    );
    const { message } = condition(c, 'Upstream', 'b-loser', 'Conflicted');
    expect(Buffer.byteLength(message)).toBeLessThanOrEqual(1024);
    expect(message).toMatch(/^an older Upstream serves .*; and [0-9]+ more$/);
    expect(message).not.toContain('a-winner');
    expect(c.problems).toHaveLength(11);
    expect(c.problems.at(-1)?.message).toBe('and 54 more pairs of hostname and match');
  });

  test('an Upstream that is refused takes nothing from others', () => {
    const c = compiled(
      base()
        .route('~(')
        .named('a')
        .to('127.0.0.1:1')
        .route('/')
        .named('b')
        .to('127.0.0.1:2')
        .route('/')
        .named('c')
        .with({ matches: [{ path: { value: '/' } }, { path: { type: 'Regex', value: ')' } }] })
        .to('127.0.0.1:3'),
    );
    expect(get(c, 'h', '/')).toBe('default/b[0]');
    expect(condition(c, 'Upstream', 'a', 'Accepted')).toMatchObject({ status: 'False', reason: 'Invalid' });
    expect(condition(c, 'Upstream', 'b', 'Accepted').status).toBe('True');
    expect(problems(c)).toEqual([
      'error Upstream default/a spec.matches[0].path.value: not a regular expression: missing closing ): `(`',
      'error Upstream default/c spec.matches[1].path.value: not a regular expression: unexpected ): `)`',
    ]);
  });
});

describe('matches', () => {
  test('expressions of headers and query are judged too, each at its place', () => {
    const c = compiled(
      base()
        .route('', {
          headers: [{ name: 'x-a', type: 'Regex', value: '(?=a)' }],
          query: [
            { name: 'q', value: 'ok' },
            { name: 'r', type: 'Regex', value: '[' },
          ],
        })
        .to('127.0.0.1:1'),
    );
    expect(c.problems.map((p) => [p.path, p.line])).toEqual([
      ['spec.matches[0].headers[0].value', 'spec.matches[0].headers[0].value'.length + 1],
      ['spec.matches[0].query[1].value', 'spec.matches[0].query[1].value'.length + 1],
    ]);
    expect(c.problems[0]).toMatchObject({ file: 'Upstream-r1.yaml', object: 'Upstream default/r1', severity: 'error', column: 1 });
  });

  test('K3: values that look like expressions of some configuration are text', () => {
    const value = '`") } route_to(evil) {{.}} \n; #';
    const c = compiled(
      base()
        .route('', { query: [{ name: 'q`"', value }] })
        .to('127.0.0.1:1'),
    );
    expect(table(c).match('h', '/', `q%60%22=${encodeURIComponent(value)}`, 'GET', [], [])).toBe('default/r1[0]');
    expect(get(c, 'h', '/')).toBeNull();
  });

  test('paths take the form of requests', () => {
    const c = compiled(base().route('=/caf%c3%a9/%61').to('127.0.0.1:1'));
    expect(get(c, 'h', '/caf%C3%A9/a')).toBe('default/r1[0]');
  });
});

test('K8: what is wrong with one object changes nothing for the others', () => {
  const healthy = (): Gateway =>
    base().host('a.example').route('/a').named('a').to('127.0.0.1:1').host('b.example').route('/b').named('b').to('127.0.0.1:2');
  const upstream = (name: string, spec: object): Document => ({
    apiVersion: '',
    kind: 'Upstream',
    metadata: { name },
    spec: { hostnames: ['z.example'], backends: [{ addresses: [{ address: '127.0.0.1:9' }] }], ...spec },
  });
  const broken = [
    upstream('z1', { matches: [{ path: { type: 'Regex', value: '(' } }] }),
    upstream('z2', { hostnames: ['a.example'], matches: [{ path: { value: '/a' } }] }),
    upstream('z3', { listeners: [{ name: 'nowhere', namespace: 'default' }] }),
    upstream('z4', { protocol: 'H2', tls: { caRef: { name: 'missing' } }, matches: [{ path: { value: '/z4' } }] }),
    upstream('z5', { certificateRefs: [{ name: 'missing' }], matches: [{ path: { value: '/z5' } }] }),
    upstream('z6', { backends: [{ addresses: [{ address: '127.0.0.1:9' }, { address: '127.0.0.1:9' }] }] }),
    {
      apiVersion: '',
      kind: 'Listener',
      metadata: { name: 'z7' },
      spec: { port: 9, tls: { certificateRefs: [{ name: 'missing' }] }, hostnames: ['nothing.test'] },
    },
    { apiVersion: '', kind: 'Listener', metadata: { name: 'z8' }, spec: { port: 8443, tls: { certificateRefs: [{ name: 'tls-1' }] } } },
  ];
  const before = compiled(healthy());
  const after = compiled([...healthy().documents(), ...broken]);
  expect(problems(before)).toEqual([]);
  const objects = new Set(after.problems.filter((p) => p.severity === 'error').map((p) => p.object));
  expect([...objects].sort()).toEqual([
    'Listener default/z7',
    'Listener default/z8',
    ...[1, 2, 3, 4, 5, 6].map((n) => `Upstream default/z${n}`),
  ]);
  for (const kind of ['upstream', 'group', 'certificate'] as const) {
    for (const part of partsOf(before, kind)) expect([...after.parts.values()]).toContainEqual(part);
  }
  for (const part of partsOf(before, 'host')) expect(partsOf(after, 'host')).toContainEqual(part);
  expect(after.statuses.filter((s) => ['a', 'b'].includes(s.name))).toEqual(before.statuses.filter((s) => ['a', 'b'].includes(s.name)));
  expect(get(after, 'a.example', '/a')).toBe('default/a[0]');
});

describe('memo', () => {
  const someName = fc.constantFrom('a', 'b', 'c');
  const someUpstream = fc.record({
    name: someName,
    namespace: fc.constantFrom('default', 'web'),
    created: fc.constantFrom(undefined, '2024-01-01T00:00:00Z'),
    host: fc.constantFrom('a.example', '*.example', '*', 'x.test'),
    path: fc.constantFrom('', '/', '/a', '=/a', '~/a.*', '~('),
    port: fc.integer({ min: 1, max: 3 }),
  });
  const someGateway = fc.array(someUpstream, { maxLength: 6 }).map((list) => {
    let g = base({ hostnames: ['*.example', 'x.test'] });
    for (const u of list) g = g.host(u.host).route(u.path).named(u.name, u.namespace, u.created).to(`127.0.0.1:${u.port}`);
    return g.documents();
  });
  const plain = (c: Compiled): unknown => ({
    dump: dumpSnapshot({ root: { version: 1, listeners: c.listeners }, parts: c.parts }),
    statuses: c.statuses,
    problems: c.problems,
    groups: new Map(c.groups),
    encoded: new Map([...c.encoded].map(([h, b]) => [h, Buffer.from(b).toString('latin1')])),
  });

  test('it never changes an outcome, nor does the order of objects', () => {
    const memo = new Memo();
    fc.assert(
      fc.property(someGateway, fc.boolean(), (documents, again) => {
        const set = resourcesOf(documents);
        const alone = plain(compile(set, { standalone: true }));
        expect(plain(compile(set, { standalone: true, memo }))).toEqual(alone);
        if (again) expect(plain(compile(resourcesOf(documents), { standalone: true, memo }))).toEqual(alone);
        const turned: ResourceSet = { ...set, upstreams: new Map([...set.upstreams].reverse()) };
        expect(plain(compile(turned, { standalone: true, memo }))).toEqual(alone);
      }),
      { numRuns: 300 },
    );
  });

  test('what has not changed is the same object, also when it was read anew', () => {
    const memo = new Memo();
    const documents = (port: number): Document[] =>
      base().host('a.example').route('/a').to('127.0.0.1:1').host('b.example').route('/b').to(`127.0.0.1:${port}`).documents();
    const first = compile(resourcesOf(documents(2)), { standalone: true, memo });
    const second = compile(resourcesOf(documents(2)), { standalone: true, memo });
    for (const [hash, part] of second.parts) if (part.kind !== 'listener') expect(first.parts.get(hash)).toBe(part);
    const third = compile(resourcesOf(documents(3)), { standalone: true, memo });
    const kept = [...third.parts].filter(([hash, part]) => first.parts.get(hash) === part).map(([, part]) => part.kind);
    // Addresses are in no part: nothing has to be sent, although the second Upstream was compiled anew.
    expect([...third.parts.keys()]).toEqual([...first.parts.keys()]);
    expect(kept.sort()).toEqual(['certificate', 'group', 'group', 'host', 'host', 'listener', 'upstream', 'upstream']);
  });

  test('a change of one route touches its own parts and no others', () => {
    const memo = new Memo();
    const make = (path: string): Compiled =>
      compile(resourcesOf(base().host('a.example').route('/a').to('127.0.0.1:1').host('b.example').route(path).to('127.0.0.1:2')), {
        standalone: true,
        memo,
      });
    const [first, second] = [make('/b'), make('/c')];
    const fresh = [...second.parts].filter(([hash]) => !first.parts.has(hash)).map(([, part]) => part.kind);
    expect(fresh.sort()).toEqual(['host', 'listener']);
  });
});

test('the target of a route is the Upstream that the route names', () => {
  const c = compiled(base().route('/a').to('127.0.0.1:1').route('/b').to('127.0.0.1:2'));
  for (const host of partsOf(c, 'host'))
    for (const r of host.routes) expect((c.parts.get(r.target) as UpstreamPart).name).toBe(r.upstream.name);
});
