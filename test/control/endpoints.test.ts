import { describe, expect, test } from '@jest/globals';
import type { EndpointList, GroupId, GroupPart, PartHash } from '../../src/contract/snapshot/parts.ts';
import type { GroupSource } from '../../src/control/compile/index.ts';
import { EndpointLane, MAX_ENDPOINTS } from '../../src/control/endpoints.ts';
import type { ServiceEndpoint } from '../../src/control/sources/services.ts';
import { ALWAYS_DENIED, DenyList, LOOPBACK } from '../../src/lib/deny.ts';

const source = (id: string, ...hosts: string[]): GroupSource => ({
  group: {
    kind: 'group',
    id: id as GroupId,
    upstream: { namespace: 'default', name: id },
    name: 'default',
    protocol: 'H2C',
    tls: null,
    healthCheck: null,
  } as GroupPart,
  part: `part of ${id}` as PartHash,
  upstream: { namespace: 'default', name: id },
  addresses: hosts.map((host) => ({ host, port: 80, weight: 100, label: `${host}:80` })),
  service: null,
});
const sources = (...list: GroupSource[]): ReadonlyMap<GroupId, GroupSource> => new Map(list.map((s) => [s.group.id, s]));

const setUp = () => {
  const zone = new Map<string, readonly string[]>();
  const sick = new Set<string>();
  const sent: EndpointList[] = [];
  const services = new Map<string, readonly ServiceEndpoint[]>();
  const asked = { resolve: 0, service: 0, healthy: 0 };
  const changed: GroupId[][] = [];
  const lane = new EndpointLane({
    deny: new DenyList(ALWAYS_DENIED),
    resolve: (host) => (asked.resolve++, zone.get(host) ?? (/^[\d.:a-f]+$/.test(host) ? [host] : [])),
    service: ({ namespace, name, portName }) => (asked.service++, services.get(`${namespace}/${name}:${portName}`) ?? []),
    healthy: (_, endpoint) => (asked.healthy++, !sick.has(endpoint.address)),
    onLists: (lists) => sent.push(...lists),
    onGroups: (ids) => changed.push([...ids]),
  });
  const take = () => sent.splice(0).map((l) => ({ group: l.group, sequence: l.sequence, addresses: l.list.map((e) => e.address) }));
  return { zone, sick, sent, services, lane, take, asked, changed };
};

test('lists say address, name, label, weight and verdict of every endpoint', () => {
  const { zone, lane, sent } = setUp();
  zone.set('db.test', ['192.0.2.1', '192.0.2.2']);
  lane.apply(sources(source('g', 'db.test')));
  expect(sent).toEqual([
    {
      group: 'g',
      part: 'part of g',
      sequence: 1,
      list: ['192.0.2.1', '192.0.2.2'].map((address) => ({
        address,
        port: 80,
        host: 'db.test',
        label: 'db.test:80',
        weight: 100,
        healthy: true,
        draining: false,
      })),
    },
  ]);
});

test('only what changed is sent, with a higher number each time', () => {
  const { zone, sick, lane, take } = setUp();
  zone.set('a.test', ['192.0.2.1']);
  lane.apply(sources(source('g', 'a.test'), source('h', '192.0.2.9')));
  expect(take().map((l) => [l.group, l.sequence])).toEqual([
    ['g', 1],
    ['h', 2],
  ]);
  lane.apply(sources(source('g', 'a.test'), source('h', '192.0.2.9')));
  expect(take()).toEqual([]);
  zone.set('a.test', ['192.0.2.5']);
  lane.hostChanged('a.test');
  lane.hostChanged('unknown.test');
  expect(take()).toEqual([{ group: 'g', sequence: 3, addresses: ['192.0.2.5'] }]);
  sick.add('192.0.2.9');
  lane.healthChanged(['h' as GroupId, 'gone' as GroupId]);
  expect(take()).toEqual([{ group: 'h', sequence: 4, addresses: ['192.0.2.9'] }]);
  expect(lane.list('h' as GroupId)[0]?.healthy).toBe(false);
});

test('a list names the part that it is for, and is sent again when that is another one, be it the one before', () => {
  const { lane, sent } = setUp();
  const first = source('g', '192.0.2.1');
  const next = { ...first, group: { ...first.group, protocol: 'H2' as const }, part: 'the next' as PartHash };
  for (const state of [first, next, next, first]) lane.apply(sources(state));
  expect(sent.map((l) => [l.sequence, l.part])).toEqual([
    [1, 'part of g'],
    [2, 'the next'],
    [3, 'part of g'],
  ]);
});

test('a group that comes back is sent anew, with a number of its own', () => {
  const { lane, take } = setUp();
  lane.apply(sources(source('g', '192.0.2.1')));
  lane.apply(sources());
  lane.apply(sources(source('g', '192.0.2.1')));
  expect(take().map((l) => l.sequence)).toEqual([1, 2]);
});

describe('a change costs what it changes, whatever the number of groups', () => {
  const many = (): GroupSource[] =>
    Array.from({ length: 100 }, (_, i) => ({
      ...source(`g${i}`),
      addresses: i % 2 === 0 ? source('', `h${i}.test`).addresses : [],
      service: i % 2 === 0 ? null : { namespace: 'web', name: `s${i}`, portName: '' },
    }));

  test('of the state: groups whose parts are the same are not looked at', () => {
    const { lane, asked, changed, take } = setUp();
    const first = many();
    lane.apply(sources(...first));
    expect([asked, changed.length]).toEqual([{ resolve: 50, service: 50, healthy: 0 }, 1]);
    // A source and its Service's name are made anew with each state, parts and addresses are not.
    const next = first.map((s) => ({ ...s, service: s.service === null ? null : { ...s.service } }));
    next[4] = { ...(next[4] as GroupSource), addresses: source('', '192.0.2.1').addresses };
    next[5] = { ...(next[5] as GroupSource), service: { namespace: 'web', name: 'other', portName: '' } };
    next[7] = { ...(next[7] as GroupSource), group: { ...(next[7] as GroupSource).group, protocol: 'H2' } };
    take();
    lane.apply(sources(...next.filter((_, i) => i !== 9)));
    expect(changed.slice(1)).toEqual([['g9', 'g4', 'g5', 'g7']]);
    expect(asked).toEqual({ resolve: 51, service: 52, healthy: 1 });
    expect(take().map((l) => l.group)).toEqual(['g4']);
  });

  test('of endpoints: only their groups are told of, and what was left behind is not', () => {
    const { lane, services, asked, changed, take } = setUp();
    const first = many();
    lane.apply(sources(...first));
    const next = [...first];
    next[5] = { ...(next[5] as GroupSource), service: { namespace: 'web', name: 's7', portName: '' } };
    lane.apply(sources(...next.filter((_, i) => i !== 9)));
    take();
    changed.length = 0;
    Object.assign(asked, { resolve: 0, service: 0, healthy: 0 });
    for (const name of ['s5', 's7', 's9']) services.set(`web/${name}:`, [{ address: '10.0.0.1', port: 80, draining: false }]);
    lane.servicesChanged(['web/s5', 'web/s7', 'web/s9']);
    expect(asked).toEqual({ resolve: 0, service: 2, healthy: 2 });
    expect(changed.map((ids) => ids.toSorted())).toEqual([['g5', 'g7']]);
    expect(
      take()
        .map((l) => l.group)
        .toSorted(),
    ).toEqual(['g5', 'g7']);
  });
});

test('a name without an answer gives an empty list, which is a list', () => {
  const { lane, take } = setUp();
  lane.apply(sources(source('g', 'nowhere.test')));
  expect(take()).toEqual([{ group: 'g', sequence: 1, addresses: [] }]);
});

describe('addresses after resolution', () => {
  test.each([
    '169.254.169.254',
    '::ffff:169.254.169.254',
    'fe80::1',
    '0.0.0.0',
    '::',
    '224.0.0.1',
    '255.255.255.255',
    'ff02::1',
    'fd00:ec2::254',
    '100.100.100.200',
  ])('a name that leads to %s is refused', (address) => {
    const { zone, lane, take } = setUp();
    zone.set('evil.test', [address, '192.0.2.1']);
    lane.apply(sources(source('g', 'evil.test')));
    expect(take()[0]?.addresses).toEqual(['192.0.2.1']);
    expect([...lane.all().values()][0]?.refused).toEqual([`evil.test: ${address} is not allowed as an endpoint`]);
  });

  test('loopback is allowed, unless it is on the list', () => {
    const { lane, take } = setUp();
    lane.apply(sources(source('g', '127.0.0.1', '::1')));
    expect(take()[0]?.addresses).toEqual(['127.0.0.1', '::1']);
    const strict = new DenyList([...ALWAYS_DENIED, ...LOOPBACK]);
    for (const address of ['127.0.0.1', '127.255.0.9', '::1', '::ffff:127.0.0.1']) expect(strict.denies(address)).toBe(true);
    expect(strict.denies('192.0.2.1')).toBe(false);
    expect(strict.denies('not an address')).toBe(true);
    expect(new DenyList(['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']).denies('10.9.9.9')).toBe(true);
    expect(new DenyList(['192.0.2.7']).denies('192.0.2.7')).toBe(true);
    expect(new DenyList(['192.0.2.7']).denies('192.0.2.8')).toBe(false);
  });

  test('the same address under one name counts once; a group has a limit', () => {
    const { zone, lane, sent } = setUp();
    zone.set(
      'many.test',
      Array.from({ length: MAX_ENDPOINTS + 10 }, (_, i) => `10.0.${i >> 8}.${i & 255}`),
    );
    lane.apply(sources(source('g', '192.0.2.1', '192.0.2.1'), source('h', 'many.test')));
    expect(sent.map((l) => l.list.length)).toEqual([1, MAX_ENDPOINTS]);
    const refused = lane.all().get('h' as GroupId)?.refused ?? [];
    expect([refused.length, refused.at(-1)]).toEqual([6, 'and 5 more addresses']);
  });
});

describe('a group of a Service', () => {
  const ofService = (id: string, name: string): GroupSource => ({
    ...source(id),
    service: { namespace: 'web', name, portName: 'http' },
  });
  const at = (address: string, draining = false): ServiceEndpoint => ({ address, port: 8080, draining });

  test('has the endpoints of the port, under the name of the Service', () => {
    const { services, lane, sent } = setUp();
    services.set('web/api:http', [at('10.0.0.1'), at('2001:db8::1', true)]);
    lane.apply(sources(ofService('a', 'api')));
    expect(sent.at(-1)?.list).toEqual([
      { address: '10.0.0.1', port: 8080, host: 'api.web.svc', label: '10.0.0.1:8080', weight: 1, healthy: true, draining: false },
      { address: '2001:db8::1', port: 8080, host: 'api.web.svc', label: '[2001:db8::1]:8080', weight: 1, healthy: true, draining: true },
    ]);
  });

  test('follows its Service and no other, and says nothing when nothing changed', () => {
    const { services, lane, take } = setUp();
    lane.apply(sources(ofService('a', 'api'), ofService('b', 'other')));
    take();
    services.set('web/api:http', [at('10.0.0.1')]);
    services.set('web/other:http', [at('10.0.0.9')]);
    lane.servicesChanged(['web/api', 'web/stranger']);
    expect(take()).toEqual([{ group: 'a', sequence: 3, addresses: ['10.0.0.1'] }]);
    lane.servicesChanged(['web/api']);
    expect(take()).toEqual([]);
  });

  test('never gets an address that is denied, and no more than a list holds', () => {
    const { services, lane, sent } = setUp();
    const many = Array.from({ length: MAX_ENDPOINTS + 5 }, (_, i) => at(`10.0.${i >> 8}.${i & 255}`));
    services.set('web/api:http', [at('169.254.169.254'), ...many]);
    lane.apply(sources(ofService('a', 'api')));
    expect(sent.at(-1)?.list).toHaveLength(MAX_ENDPOINTS);
    expect(sent.at(-1)?.list.map((e) => e.address)).not.toContain('169.254.169.254');
    expect(lane.all().get('a' as GroupId)?.refused).toEqual([
      'Service web/api: 169.254.169.254 is not allowed as an endpoint',
      `Service web/api: only ${MAX_ENDPOINTS} endpoints of one group are used`,
    ]);
  });
});
