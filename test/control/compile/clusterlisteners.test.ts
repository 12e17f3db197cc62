import { describe, expect, test } from '@jest/globals';
import type { Installation, Service, ServicePort } from '../../../src/contract/resources/index.ts';
import type { PublishedAddress } from '../../../src/control/compile/index.ts';
import { selects } from '../../../src/control/compile/namespaces.ts';
import {
  condition,
  grant,
  has,
  leaf,
  listener,
  listenerPart,
  metaOf,
  partsOf,
  port,
  problems,
  run,
  secret,
  service,
  statusOf,
  upstream,
  verdict,
} from './world.ts';

const PUBLIC = ['Listener', 'edge/public'] as const;
const udp = (over: Partial<ServicePort> = {}): ServicePort =>
  port({ name: 'http3', port: 443, protocol: 'UDP', targetPort: 8443, nodePort: 30443, ...over });
const published = (ports: readonly ServicePort[], over: Partial<Service> = {}): Service => service('spooky', 'edge', ports, over);
const own = { namespace: 'edge', name: 'spooky' };

test('a Listener and an Upstream: everything good, with who was judged', () => {
  const c = run([listener(), upstream()]);
  expect(problems(c)).toEqual([]);
  expect(statusOf(c, ...PUBLIC)).toEqual({
    kind: 'Listener',
    namespace: 'edge',
    name: 'public',
    uid: 'uid of edge/public',
    generation: 3,
    conditions: [
      { type: 'Accepted', status: 'True', reason: 'Valid', message: '' },
      { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '' },
      { type: 'Programmed', status: 'True', reason: 'Programmed', message: '' },
      { type: 'Published', status: 'True', reason: 'Published', message: '' },
    ],
    attachedUpstreams: 1,
    certificates: [{ source: 'edge/site', notBefore: Date.UTC(2023, 0, 1), notAfter: Date.UTC(2044, 0, 1) }],
    addresses: [],
  });
  expect(statusOf(c, 'Upstream', 'web/api')).toMatchObject({
    uid: 'uid of web/api',
    generation: 3,
    groups: ['["web","api","default"]'],
    certificates: [],
    attached: { taken: 1, asked: 1 },
  });
  expect(statusOf(c, 'Upstream', 'web/api').conditions.map((x) => [x.type, x.status])).toEqual([
    ['Accepted', 'True'],
    ['ResolvedRefs', 'True'],
    ['Programmed', 'True'],
    ['Conflicted', 'False'],
  ]);
});

describe('namespaces whose Listeners count', () => {
  const site = secret('site', 'web', leaf('*.example'));
  const there = listener({}, 'mine', 'web');

  test.each<[string, Installation['listenerNamespaces'], boolean]>([
    ['the own one alone', new Set(), false],
    ['another beside it', new Set(['shop']), false],
    ['this one beside it', new Set(['web']), true],
    ['all', null, true],
  ])('%s', (_title, listenerNamespaces, counts) => {
    const c = run([site, there], {}, { listenerNamespaces });
    expect(c.listeners).toHaveLength(counts ? 1 : 0);
    expect(verdict(c, 'Listener', 'web/mine', 'Accepted')).toBe(
      counts
        ? 'True/Valid'
        : "False/NotAllowed: Listeners of namespace web do not count: add web to the chart's value listenerNamespaces (--listener-namespaces)",
    );
    expect(verdict(c, 'Listener', 'web/mine', 'Programmed')).toBe(counts ? 'True/Programmed' : 'False/Pending: it is not accepted');
  });

  test('one that does not count takes no port and no Upstream from those that do, however old it is', () => {
    const old = listener({}, 'mine', 'web', '2020-01-01T00:00:00Z');
    const c = run([site, old, listener({}, 'public', 'edge', '2024-01-01T00:00:00Z'), upstream()]);
    expect(c.listeners).toHaveLength(1);
    expect(verdict(c, ...PUBLIC, 'Accepted')).toBe('True/Valid');
    expect(statusOf(c, 'Upstream', 'web/api').listeners?.map((l) => l.name)).toEqual(['public']);
    expect(statusOf(c, 'Listener', 'web/mine')).toMatchObject({ attachedUpstreams: 0, addresses: [] });
  });

  test('an Upstream that names one is told', () => {
    const c = run([site, there, upstream({ listeners: [{ name: 'mine', namespace: 'web' }] })]);
    expect(verdict(c, 'Upstream', 'web/api', 'Programmed')).toBe('False/Pending: the Listener is not served: NotAllowed');
  });

  test('an Upstream that names none has none', () => {
    const c = run([site, there, upstream()]);
    expect(verdict(c, 'Upstream', 'web/api', 'Accepted')).toBe(
      'False/NotAllowed: spec.listeners: there is no Listener that admits Upstreams of namespace web',
    );
  });
});

describe('classes', () => {
  test('Listeners of another class are not there, and Upstreams that name only them are theirs', () => {
    const theirs = { listeners: [{ name: 'other', namespace: 'edge' }] };
    const both = {
      listeners: [
        { name: 'other', namespace: 'edge' },
        { name: 'public', namespace: 'edge' },
      ],
    };
    const documents = [listener(), upstream(theirs, 'theirs'), upstream({ ...both, hostnames: ['b.example'] }, 'both')];
    const byName = run(documents, { foreign: ['edge/other'] });
    const bySpec = run([...documents, listener({ className: 'other' }, 'other')]);
    for (const c of [byName, bySpec]) {
      expect(problems(c)).toEqual([]);
      expect(has(c, 'Listener', 'edge/other')).toBe(false);
      expect(has(c, 'Upstream', 'web/theirs')).toBe(false);
      expect(statusOf(c, 'Upstream', 'web/both')).toMatchObject({
        attached: { taken: 1, asked: 1 },
        listeners: [{ namespace: 'edge', name: 'public' }],
      });
      expect(partsOf(c, 'upstream').map((u) => u.name)).toEqual(['both']);
    }
  });

  test('a Listener that nobody has is told, since nobody else would', () => {
    const c = run([listener(), upstream({ listeners: [{ name: 'none', namespace: 'edge' }] })]);
    expect(verdict(c, 'Upstream', 'web/api', 'Accepted')).toBe(
      'False/NotAllowed: there is no Listener edge/none that admits Upstreams of namespace web',
    );
  });

  test('an older Listener of another class holds no port', () => {
    const c = run([listener({ className: 'other' }, 'other', 'edge', '2020-01-01T00:00:00Z'), listener()]);
    expect(verdict(c, ...PUBLIC, 'Accepted')).toBe('True/Valid');
  });
});

test('an Upstream on more Listeners than a status holds names the first, and counts all', () => {
  const many = Array.from({ length: 70 }, (_, i) => listener({ port: 9000 + i }, `l${i + 100}`));
  const status = statusOf(run([...many, upstream()]), 'Upstream', 'web/api');
  expect(status.attached).toEqual({ taken: 70, asked: 70 });
  expect(status.listeners?.map((l) => l.name)).toEqual(Array.from({ length: 64 }, (_, i) => `l${i + 100}`));
});

describe('ports', () => {
  const add = (number: number, client = number): string =>
    `add to the chart's values, beside the ports that are there, ports: [{name: http3-${number}, port: ${client}, targetPort: ${number}}]`;

  test.each<[string, object, Partial<Installation>, string, string]>([
    ['any, without a list', {}, {}, 'True/Valid', 'True/Published'],
    ['one of the list', {}, { ports: new Set([8443]) }, 'True/Valid', 'True/Published'],
    [
      'none of the list',
      {},
      { ports: new Set([443]) },
      `False/NotAllowed: spec.port: port 8443 is not among the installation's ports: ${add(8443)}`,
      `False/PortNotPublished: port 8443 is not among the installation's ports: ${add(8443)}`,
    ],
    [
      'none of the list, and another one for clients',
      { advertisedPort: 443 },
      { ports: new Set([443]) },
      `False/NotAllowed: spec.port: port 8443 is not among the installation's ports: ${add(8443, 443)}`,
      `False/PortNotPublished: port 8443 is not among the installation's ports: ${add(8443, 443)}`,
    ],
    [
      'a reserved one',
      { port: 9901 },
      { ports: new Set([9901]) },
      "False/NotAllowed: spec.port: port 9901 is the installation's own, for metrics or administration: take another",
      "False/PortNotPublished: port 9901 is the installation's own, for metrics or administration: take another",
    ],
  ])('%s', (_title, spec, over, accepted, publishedAs) => {
    const c = run([listener(spec)], {}, over);
    expect(verdict(c, ...PUBLIC, 'Accepted')).toBe(accepted);
    expect(verdict(c, ...PUBLIC, 'Published')).toBe(publishedAs);
    expect(c.listeners).toHaveLength(accepted === 'True/Valid' ? 1 : 0);
  });

  test('two on one port: the older serves, and the younger is told nothing about it', () => {
    const c = run([listener({}, 'a', 'edge', '2024-02-01T00:00:00Z'), listener({}, 'z', 'edge', '2024-01-01T00:00:00Z')]);
    expect(verdict(c, 'Listener', 'edge/a', 'Accepted')).toBe(
      'False/PortConflict: spec.port: port 8443 of the same address is taken by an older Listener',
    );
    expect(verdict(c, 'Listener', 'edge/z', 'Accepted')).toBe('True/Valid');
  });
});

describe('the Service that publishes', () => {
  test.each<[string, object, Service, number]>([
    ['LoadBalancer: its port', {}, published([udp()], { type: 'LoadBalancer' }), 443],
    ['NodePort: the port of nodes', {}, published([udp()], { type: 'NodePort' }), 30_443],
    ['NodePort that has none yet', {}, published([udp({ nodePort: 0 })], { type: 'NodePort' }), 443],
    ['ClusterIP: its port', {}, published([udp({ nodePort: 0 })]), 443],
    ['what the Listener says', { advertisedPort: 4433 }, published([udp()], { type: 'NodePort' }), 4433],
    [
      'the first UDP port to the same target',
      {},
      published([udp({ protocol: 'TCP', port: 1 }), udp({ port: 444, targetPort: 8444 }), udp({ port: 445 }), udp({ port: 446 })]),
      445,
    ],
  ])('%s', (_title, spec, publishing, advertised) => {
    const c = run([listener(spec)], { services: [publishing] }, { publishService: own });
    expect(listenerPart(c)).toMatchObject({ port: 8443, advertisedPort: advertised });
    expect(verdict(c, ...PUBLIC, 'Published')).toBe('True/Published');
  });

  test.each<[string, readonly Service[], string]>([
    [
      'maps another port',
      [published([udp({ targetPort: 8444 })])],
      "False/PortNotPublished: Service edge/spooky maps no UDP port to 8443: add to the chart's values, beside the ports that are there, ports: [{name: http3-8443, port: 8443, targetPort: 8443}]",
    ],
    [
      'maps TCP',
      [published([udp({ protocol: 'TCP' })])],
      "False/PortNotPublished: Service edge/spooky maps no UDP port to 8443: add to the chart's values, beside the ports that are there, ports: [{name: http3-8443, port: 8443, targetPort: 8443}]",
    ],
    ['is not there', [], 'False/PortNotPublished: there is no Service edge/spooky, which --publish-service names'],
  ])('%s: it is served, and not published', (_title, services, text) => {
    const c = run([listener()], { services }, { publishService: own, publishAddresses: ['203.0.113.1'] });
    expect(verdict(c, ...PUBLIC, 'Published')).toBe(text);
    expect(verdict(c, ...PUBLIC, 'Accepted')).toBe('True/Valid');
    expect(verdict(c, ...PUBLIC, 'Programmed')).toBe('True/Programmed');
    expect(statusOf(c, ...PUBLIC).addresses).toEqual([]);
    expect(listenerPart(c).advertisedPort).toBe(8443);
  });
});

describe('addresses', () => {
  const ip = (value: string, at: number): PublishedAddress => ({ type: 'IPAddress', value, port: at });
  const balanced = published([udp()], { type: 'LoadBalancer', addresses: ['203.0.113.7', 'lb.example.net', '2001:db8::7', '203.0.113.7'] });
  const nodes = { nodeAddresses: ['192.0.2.2', '192.0.2.1'] };

  test.each<[string, object, Service | null, Partial<Installation>, readonly PublishedAddress[]]>([
    [
      'of the load balancer',
      {},
      balanced,
      {},
      [ip('203.0.113.7', 443), { type: 'Hostname', value: 'lb.example.net', port: 443 }, ip('2001:db8::7', 443)],
    ],
    ['given by hand instead', {}, balanced, { publishAddresses: ['198.51.100.1'] }, [ip('198.51.100.1', 443)]],
    [
      'given by hand, of nodes',
      {},
      published([udp()], { type: 'NodePort' }),
      { publishAddresses: ['198.51.100.1'] },
      [ip('198.51.100.1', 30_443)],
    ],
    ['of no node, unless they are asked for', {}, published([udp()], { type: 'NodePort' }), {}, []],
    [
      'of nodes, by their port',
      {},
      published([udp()], { type: 'NodePort' }),
      { publishNodeAddresses: true },
      [ip('192.0.2.1', 30_443), ip('192.0.2.2', 30_443)],
    ],
    [
      'of the Service before those of nodes, by its own port',
      {},
      published([udp()], { type: 'NodePort', addresses: ['203.0.113.9'] }),
      { publishNodeAddresses: true },
      [ip('203.0.113.9', 443)],
    ],
    [
      'of nodes without a Service, by the port that is bound',
      {},
      null,
      { publishNodeAddresses: true },
      [ip('192.0.2.1', 8443), ip('192.0.2.2', 8443)],
    ],
    [
      'with the port that the Listener says',
      { advertisedPort: 4433 },
      balanced,
      { publishAddresses: ['198.51.100.1'] },
      [ip('198.51.100.1', 4433)],
    ],
  ])('%s', (_title, spec, publishing, over, expected) => {
    const services = publishing === null ? [] : [publishing];
    const c = run([listener(spec)], { services, ...nodes }, { publishService: publishing === null ? null : own, ...over });
    expect(statusOf(c, ...PUBLIC).addresses).toEqual(expected);
  });

  test('no more than a status holds', () => {
    const nodeAddresses = Array.from({ length: 500 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
    const c = run([listener()], { nodeAddresses }, { publishNodeAddresses: true });
    expect(statusOf(c, ...PUBLIC).addresses).toHaveLength(256);
  });

  test('none for a Listener that is not accepted', () => {
    const c = run([listener({}, 'first'), listener()], {}, { publishAddresses: ['198.51.100.1'] });
    expect(condition(c, ...PUBLIC, 'Accepted').reason).toBe('PortConflict');
    expect(statusOf(c, 'Listener', 'edge/first').addresses).toHaveLength(1);
    expect(statusOf(c, ...PUBLIC).addresses).toEqual([]);
  });
});

describe('namespaces by their labels', () => {
  const from = (selector: object): object => ({ allowedNamespaces: { from: 'Selector', selector } });
  const namespaces = new Map([
    [
      'web',
      new Map([
        ['team', 'web'],
        ['tier', 'front'],
      ]),
    ],
    ['shop', new Map([['team', 'shop']])],
  ]);
  const labels = (record: Record<string, string>): Map<string, string> => new Map(Object.entries(record));

  test.each<[string, Parameters<typeof selects>[0], Record<string, string>, boolean]>([
    ['nothing selects everything', {}, {}, true],
    ['a label', { matchLabels: { a: '1' } }, { a: '1', b: '2' }, true],
    ['another value', { matchLabels: { a: '1' } }, { a: '2' }, false],
    ['no such label', { matchLabels: { a: '' } }, {}, false],
    ['all labels', { matchLabels: { a: '1', b: '2' } }, { a: '1' }, false],
    ['In', { matchExpressions: [{ key: 'a', operator: 'In', values: ['1', '2'] }] }, { a: '2' }, true],
    ['not In', { matchExpressions: [{ key: 'a', operator: 'In', values: ['1'] }] }, { a: '2' }, false],
    ['In without the label', { matchExpressions: [{ key: 'a', operator: 'In', values: ['1'] }] }, {}, false],
    ['NotIn', { matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['1'] }] }, { a: '2' }, true],
    ['not NotIn', { matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['1'] }] }, { a: '1' }, false],
    ['NotIn without the label', { matchExpressions: [{ key: 'a', operator: 'NotIn', values: ['1'] }] }, {}, true],
    ['Exists', { matchExpressions: [{ key: 'a', operator: 'Exists' }] }, { a: '' }, true],
    ['not Exists', { matchExpressions: [{ key: 'a', operator: 'Exists' }] }, { b: '' }, false],
    ['DoesNotExist', { matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] }, { b: '' }, true],
    ['not DoesNotExist', { matchExpressions: [{ key: 'a', operator: 'DoesNotExist' }] }, { a: '' }, false],
    ['all conditions', { matchLabels: { a: '1' }, matchExpressions: [{ key: 'b', operator: 'Exists' }] }, { a: '1' }, false],
    ['a key of Object.prototype', { matchExpressions: [{ key: 'constructor', operator: 'Exists' }] }, {}, false],
  ])('%s', (_title, selector, has_, selected) => {
    expect(selects(selector, labels(has_))).toBe(selected);
  });

  test('Upstreams of selected namespaces are taken, others are told what those without a Listener are told', () => {
    const c = run(
      [
        listener(from({ matchLabels: { team: 'web' } })),
        upstream(),
        upstream({}, 'api', 'shop'),
        upstream({ listeners: [{ name: 'public', namespace: 'edge' }] }, 'asks', 'shop'),
      ],
      { namespaces, services: [service(), service('api', 'shop')] },
    );
    expect(statusOf(c, ...PUBLIC).attachedUpstreams).toBe(1);
    expect(partsOf(c, 'upstream').map((u) => u.namespace)).toEqual(['web']);
    expect(verdict(c, 'Upstream', 'shop/api', 'Accepted')).toBe(
      'False/NotAllowed: spec.listeners: there is no Listener that admits Upstreams of namespace shop',
    );
    expect(verdict(c, 'Upstream', 'shop/asks', 'Accepted')).toBe(
      'False/NotAllowed: there is no Listener edge/public that admits Upstreams of namespace shop',
    );
  });

  test('a namespace that is not known is not selected, not even by a selector of everything', () => {
    const c = run([listener(from({})), upstream(), upstream({}, 'api', 'gone')], { namespaces });
    expect(partsOf(c, 'upstream').map((u) => u.namespace)).toEqual(['web']);
    expect(condition(c, 'Upstream', 'gone/api', 'Accepted').reason).toBe('NotAllowed');
  });

  test('a label that goes takes the Upstream away', () => {
    const documents = [listener(from({ matchLabels: { team: 'web' } })), upstream()];
    expect(run(documents, { namespaces }).groups.size).toBe(1);
    expect(run(documents, { namespaces: new Map([['web', new Map()]]) }).groups.size).toBe(0);
  });
});

describe('objects that the schema refuses', () => {
  const faults = (n: number) =>
    Array.from({ length: n }, (_, i) => ({ severity: 'error' as const, path: `spec.hostnames[${i}]`, message: 'must be a host name' }));
  const warning = { severity: 'warning' as const, path: 'spec.x', message: 'is odd' };

  test('are told the first faults and their number, and are otherwise absent', () => {
    const c = run([listener(), upstream()], {
      rejected: [
        { kind: 'Upstream', meta: metaOf('web', 'bad'), faults: [warning, ...faults(7)] },
        { kind: 'Listener', meta: metaOf('edge', 'worse', { generation: 9 }), faults: faults(1) },
      ],
    });
    expect(statusOf(c, 'Upstream', 'web/bad')).toEqual({
      kind: 'Upstream',
      namespace: 'web',
      name: 'bad',
      uid: 'uid of web/bad',
      generation: 1,
      conditions: [
        {
          type: 'Accepted',
          status: 'False',
          reason: 'Invalid',
          message:
            '7 faults: spec.hostnames[0]: must be a host name; spec.hostnames[1]: must be a host name; spec.hostnames[2]: must be a host name; spec.hostnames[3]: must be a host name; spec.hostnames[4]: must be a host name; and 2 more',
        },
        { type: 'Programmed', status: 'False', reason: 'Pending', message: 'it is not accepted' },
      ],
    });
    expect(statusOf(c, 'Listener', 'edge/worse')).toMatchObject({ generation: 9, attachedUpstreams: 0, addresses: [] });
    expect(verdict(c, 'Listener', 'edge/worse', 'Accepted')).toBe('False/Invalid: 1 fault: spec.hostnames[0]: must be a host name');
    expect(c.statuses.map((s) => `${s.kind} ${s.name}`)).toEqual(['Listener public', 'Listener worse', 'Upstream api', 'Upstream bad']);
    expect(problems(c)).toHaveLength(6);
    expect(partsOf(c, 'upstream').map((u) => u.name)).toEqual(['api']);
  });

  test('a message stays below a kilobyte', () => {
    const long = { severity: 'error' as const, path: 'spec.x', message: 'ä'.repeat(900) };
    const c = run([listener()], { rejected: [{ kind: 'Upstream', meta: metaOf('web', 'bad'), faults: [long, long] }] });
    expect(Buffer.byteLength(condition(c, 'Upstream', 'web/bad', 'Accepted').message)).toBeLessThanOrEqual(1024);
  });

  test('a refused Listener takes no Upstreams, and one that names it is told what a missing one is told', () => {
    const c = run([upstream({ listeners: [{ name: 'worse', namespace: 'edge' }] })], {
      rejected: [{ kind: 'Listener', meta: metaOf('edge', 'worse'), faults: faults(1) }],
    });
    expect(verdict(c, 'Upstream', 'web/api', 'Accepted')).toBe(
      'False/NotAllowed: there is no Listener edge/worse that admits Upstreams of namespace web',
    );
  });

  test('of both kinds under one name, in whatever order they come', () => {
    const both = (['Upstream', 'Listener'] as const).map((kind) => ({ kind, meta: metaOf('edge', 'same'), faults: faults(1) }));
    for (const rejected of [both, [...both].reverse()])
      expect(problems(run([], { rejected }))).toEqual([
        'error Listener edge/same spec.hostnames[0]: must be a host name',
        'error Upstream edge/same spec.hostnames[0]: must be a host name',
      ]);
  });

  test('one that can be read after all has one status', () => {
    const c = run([listener(), upstream()], { rejected: [{ kind: 'Upstream', meta: metaOf('web', 'api'), faults: faults(1) }] });
    expect(c.statuses.filter((s) => s.name === 'api')).toHaveLength(1);
    expect(condition(c, 'Upstream', 'web/api', 'Accepted').reason).toBe('Valid');
  });
});

test('a grant opens nothing for a Listener in a namespace that does not count', () => {
  const c = run([listener({}, 'mine', 'web')], { grants: [grant('edge', 'Listener', 'web', 'Secret')] });
  expect(c.listeners).toEqual([]);
  expect(c.parts.size).toBe(0);
});
