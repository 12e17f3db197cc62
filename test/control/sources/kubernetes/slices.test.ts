import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { identityOf } from '../../../../src/control/sources/kubernetes/meta.ts';
import { readSlice, sameSlice, type Slice } from '../../../../src/control/sources/kubernetes/slice.ts';
import {
  GATHER_MS,
  MAX_SERVICE_ENDPOINTS,
  MAX_SERVICE_SLICES,
  Slices,
  type SlicesOptions,
} from '../../../../src/control/sources/kubernetes/slices.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { endpoint, slice, type EndpointWords, type Raw } from './raw.ts';
import { cost } from '../../../kit/cost.ts';

const read = (raw: Raw): Slice => {
  const identity = identityOf(raw, true);
  const found = identity === null ? 'ignored' : readSlice(raw, identity, (names) => names);
  if (found === 'ignored') throw new Error('ignored');
  return found;
};

const WEB = { namespace: 'default', name: 'web', portName: '' };

function lane(options: Partial<SlicesOptions> = {}) {
  const clock = new ManualClock();
  const beyond: string[] = [];
  const errors: unknown[] = [];
  const slices = new Slices({ clock, nodeName: 'n1', onError: (e) => errors.push(e), onBeyond: (key) => beyond.push(key), ...options });
  const held = new Map<string, Slice>();
  const told: string[][] = [];
  slices.onChange((services) => told.push([...services].sort()));
  return {
    clock,
    slices,
    beyond,
    errors,
    told,
    put(raw: Raw): void {
      const now = read(raw);
      slices.changed(held.get(now.key), now);
      held.set(now.key, now);
    },
    remove(name: string): void {
      slices.changed(held.get(`default/${name}`), undefined);
      held.delete(`default/${name}`);
    },
    addresses: (portName = '') =>
      slices.endpoints({ ...WEB, portName }).map((e) => `${e.address}:${e.port}${e.draining ? ' draining' : ''}`),
    counts: (portName = '') => slices.counts({ ...WEB, portName }),
  };
}

describe('conditions', () => {
  test.each<[string, EndpointWords, string]>([
    ['ready', { ready: true }, 'ready'],
    ['ready is null', { ready: null }, 'ready'],
    ['ready, whatever else is said', { ready: true, serving: false, terminating: false }, 'ready'],
    ['ready while it ends (publishNotReadyAddresses)', { ready: true, serving: true, terminating: true }, 'ready'],
    ['not ready', { ready: false }, 'none'],
    ['not ready and not ending', { ready: false, serving: true, terminating: false }, 'none'],
    ['ending, still serving', { ready: false, serving: true, terminating: true }, 'draining'],
    ['ending, serving is null', { ready: false, serving: null, terminating: true }, 'draining'],
    ['ending, no longer serving', { ready: false, serving: false, terminating: true }, 'none'],
    ['terminating is null', { ready: false, serving: true, terminating: null }, 'none'],
  ])('%s', (_, words, is) => {
    const { put, addresses, counts } = lane();
    put(slice('a', 'web', [endpoint('10.0.0.1', words)]));
    expect(addresses()).toEqual(is === 'none' ? [] : is === 'ready' ? ['10.0.0.1:8080'] : ['10.0.0.1:8080 draining']);
    expect(counts()).toEqual({ total: 1, ready: is === 'ready' ? 1 : 0 });
  });

  test('no conditions at all are those of one that is ready', () => {
    const { put, addresses } = lane();
    put(slice('a', 'web', [{ addresses: ['10.0.0.1'] }, { addresses: ['10.0.0.2'], conditions: null }]));
    expect(addresses()).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
  });

  test('those that end are used only while no other is ready, in any slice', () => {
    const { put, addresses } = lane();
    const ending = { ready: false, serving: true, terminating: true };
    put(slice('a', 'web', [endpoint('10.0.0.1', ending), endpoint('10.0.0.2', { ready: false })]));
    expect(addresses()).toEqual(['10.0.0.1:8080 draining']);
    put(slice('b', 'web', [endpoint('10.0.0.3')]));
    expect(addresses()).toEqual(['10.0.0.3:8080']);
    put(slice('b', 'web', [endpoint('10.0.0.3', ending)]));
    expect(addresses()).toEqual(['10.0.0.1:8080 draining', '10.0.0.3:8080 draining']);
  });
});

describe('ports', () => {
  test('are found by name, and each slice has its own number', () => {
    const { put, addresses } = lane();
    const ports = (http: number) => ({
      ports: [
        { name: 'http', port: http },
        { name: 'metrics', port: 9090, protocol: 'TCP' },
      ],
    });
    put(slice('old', 'web', [endpoint('10.0.0.1')], ports(8080)));
    put(slice('new', 'web', [endpoint('10.0.0.2')], ports(9080)));
    expect(addresses('http')).toEqual(['10.0.0.1:8080', '10.0.0.2:9080']);
    expect(addresses('metrics')).toEqual(['10.0.0.1:9090', '10.0.0.2:9090']);
    expect(addresses('')).toEqual([]);
    expect(addresses('https')).toEqual([]);
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['absent', undefined],
    ['no list', 'all'],
    ['without a number: all of them', [{ name: '', port: null }]],
    ['without a number at all', [{ name: '' }]],
    ['of UDP', [{ name: '', port: 8080, protocol: 'UDP' }]],
    ['beyond the last', [{ name: '', port: 65536 }]],
  ])('%s: nowhere to connect to', (_, ports) => {
    const { put, addresses } = lane();
    put(slice('a', 'web', [endpoint('10.0.0.1')], { ports }));
    expect(addresses()).toEqual([]);
  });

  test('a name that is null is that of a single port', () => {
    const { put, addresses } = lane();
    put(slice('a', 'web', [endpoint('10.0.0.1')], { ports: [{ name: null, port: 80, protocol: null }] }));
    expect(addresses()).toEqual(['10.0.0.1:80']);
  });
});

describe('doubles', () => {
  test('an endpoint in two slices is one', () => {
    const { put, addresses, counts } = lane();
    put(slice('a', 'web', [endpoint('10.0.0.1'), endpoint('10.0.0.1')]));
    put(slice('b', 'web', [endpoint('10.0.0.1'), endpoint('10.0.0.2')]));
    expect(addresses()).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
    expect(counts()).toEqual({ total: 2, ready: 2 });
  });

  test.each([
    ['a', 'b'],
    ['b', 'a'],
  ])('where two slices disagree, ready wins (%s before %s)', (one, two) => {
    const { put, addresses } = lane();
    put(slice(one, 'web', [endpoint('10.0.0.1', { ready: false, serving: true, terminating: true })]));
    put(slice(two, 'web', [endpoint('10.0.0.1')]));
    expect(addresses()).toEqual(['10.0.0.1:8080']);
  });

  test('the same IPv6 address in other words is one', () => {
    const { put, addresses } = lane();
    put(slice('a', 'web', [endpoint('2001:DB8:0:0::1'), endpoint('2001:db8::1')], { addressType: 'IPv6' }));
    expect(addresses()).toEqual(['2001:db8::1:8080']);
  });

  test('the order is the same whatever came first', () => {
    const names = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4', '10.0.0.5'];
    fc.assert(
      fc.property(fc.shuffledSubarray(names, { minLength: 5 }), fc.nat({ max: 4 }), (order, cut) => {
        const { put, addresses } = lane();
        put(
          slice(
            'a',
            'web',
            order.slice(cut).map((a) => endpoint(a)),
          ),
        );
        put(
          slice(
            'b',
            'web',
            order.slice(0, cut).map((a) => endpoint(a)),
          ),
        );
        expect(addresses()).toEqual(names.map((n) => `${n}:8080`));
      }),
      { numRuns: 50 },
    );
  });

  test('asked twice without a change, the list is the same one', () => {
    const { put, slices } = lane();
    put(slice('a', 'web', [endpoint('10.0.0.1')]));
    expect(slices.endpoints(WEB)).toBe(slices.endpoints(WEB));
  });
});

describe('two families', () => {
  const both = (l: ReturnType<typeof lane>, v4: EndpointWords | null, v6: EndpointWords | null): void => {
    if (v4 !== null) l.put(slice('v4', 'web', [endpoint('10.0.0.1', v4)]));
    if (v6 !== null) l.put(slice('v6', 'web', [endpoint('2001:db8::1', v6)], { addressType: 'IPv6' }));
  };
  const ending = { ready: false, serving: true, terminating: true };
  const [V4, V6] = ['10.0.0.1:8080', '2001:db8::1:8080'];

  test.each<[string, 'IPv4' | 'IPv6' | '', EndpointWords | null, EndpointWords | null, readonly string[]]>([
    ['the first of the Service', 'IPv6', {}, {}, [V6]],
    ['the first of the Service, the other way', 'IPv4', {}, {}, [V4]],
    ['not said: IPv4', '', {}, {}, [V4]],
    ['not said, and only IPv6 there', '', null, {}, [V6]],
    ['the first has none', 'IPv6', {}, null, [V4]],
    ['the first has none that is ready', 'IPv6', {}, { ready: false }, [V4]],
    ['the first has only one that ends', 'IPv6', {}, ending, [V4]],
    ['both have only those that end', 'IPv6', ending, ending, [`${V6} draining`]],
  ])('%s', (_, family, v4, v6, expected) => {
    const l = lane();
    l.slices.service('default/web', { uid: 'u', family });
    both(l, v4, v6);
    expect(l.addresses()).toEqual(expected);
    expect(l.counts().total).toBe(1);
  });

  test('another order of families is a change', () => {
    const l = lane();
    both(l, {}, {});
    l.slices.service('default/web', { uid: 'u', family: 'IPv4' });
    l.clock.advance(GATHER_MS);
    l.slices.service('default/web', { uid: 'u', family: 'IPv6' });
    expect(l.addresses()).toEqual([V6]);
    l.clock.advance(GATHER_MS);
    expect(l.told).toEqual([['default/web'], ['default/web']]);
  });

  test.each<[string, Raw]>([
    ['FQDN', { addressType: 'FQDN' }],
    ['unknown', { addressType: 'IPv5' }],
    ['absent', { addressType: undefined }],
  ])('slices of names, or of nothing known (%s), are ignored', (_, more) => {
    const raw = slice('a', 'web', [endpoint('web.example.com')], more);
    const identity = identityOf(raw, true);
    expect(identity !== null && readSlice(raw, identity, (names) => names)).toBe('ignored');
  });

  test('addresses that are none, or of the other family, or after the first, are left out', () => {
    const { put, addresses } = lane();
    const odd = ['web.example.com', '2001:db8::1', '10.0.0.1%eth0', '010.0.0.1', '', 7].map((a) => ({ addresses: [a] }));
    put(slice('a', 'web', [...odd, { addresses: [] }, { addresses: 'x' }, {}, { addresses: ['10.0.0.1', '10.0.0.2'] }]));
    expect(addresses()).toEqual(['10.0.0.1:8080']);
  });
});

describe('hints', () => {
  const near = (zone: string, words: readonly EndpointWords[], nodeName = 'n1') => {
    const l = lane({ nodeName });
    l.slices.ownZone(zone);
    l.put(
      slice(
        'a',
        'web',
        words.map((w, i) => endpoint(`10.0.0.${i + 1}`, w)),
      ),
    );
    return l.addresses().map((a) => Number(a.split(':')[0]?.split('.')[3]));
  };
  const [A, B] = [{ zones: ['a'] }, { zones: ['b'] }];

  test.each<[string, string, readonly EndpointWords[], readonly number[]]>([
    ['our zone alone', 'a', [A, B, A], [1, 3]],
    ['one for two zones', 'b', [{ zones: ['a', 'b'] }, A], [1]],
    ['none for our zone: all', 'c', [A, B], [1, 2]],
    ['our zone is not known: all', '', [A, B], [1, 2]],
    ['one without a hint: all', 'a', [A, B, {}], [1, 2, 3]],
    ['one with an empty list: all', 'a', [A, B, { zones: [] }], [1, 2, 3]],
    ['one that is not ready has no say', 'a', [A, B, { ready: false }], [1]],
    ['in our zone none is ready: all that are', 'a', [{ ...A, ready: false }, B], [2]],
    ['in our zone one ends: others that are ready', 'a', [{ ...A, ready: false, serving: true, terminating: true }, B], [2]],
    [
      'when all end, hints have no say',
      'a',
      [
        { ...A, ready: false, serving: true, terminating: true },
        { ...B, ready: false, serving: true, terminating: true },
      ],
      [1, 2],
    ],
    [
      'our node before our zone',
      'a',
      [
        { zones: ['a'], nodes: ['n1'] },
        { zones: ['a'], nodes: ['n2'] },
      ],
      [1],
    ],
    [
      'no node of ours: our zone',
      'a',
      [
        { zones: ['a'], nodes: ['n3'] },
        { zones: ['b'], nodes: ['n2'] },
      ],
      [1],
    ],
    ['one without a node: our zone', 'b', [{ zones: ['a'], nodes: ['n1'] }, { zones: ['b'] }], [2]],
    ['nodes alone', '', [{ nodes: ['n2'] }, { nodes: ['n1'] }], [2]],
  ])('%s', (_, zone, words, expected) => expect(near(zone, words)).toEqual(expected));

  test('our node is not known', () => expect(near('', [{ nodes: [''] }, { nodes: ['n1'] }], '')).toEqual([1, 2]));

  test('hints do not change what is counted', () => {
    const l = lane();
    l.slices.ownZone('a');
    l.put(slice('a', 'web', [endpoint('10.0.0.1', A), endpoint('10.0.0.2', B)]));
    expect(l.counts()).toEqual({ total: 2, ready: 2 });
  });

  test('our zone becomes known', () => {
    const l = lane();
    l.put(slice('a', 'web', [endpoint('10.0.0.1', A), endpoint('10.0.0.2', B)]));
    l.clock.advance(GATHER_MS);
    l.slices.ownZone('b');
    l.slices.ownZone('b');
    l.clock.advance(GATHER_MS);
    expect(l.addresses()).toEqual(['10.0.0.2:8080']);
    expect(l.told).toEqual([['default/web'], ['default/web']]);
  });
});

describe('a Service that was made anew', () => {
  const owned = (uid: string) => ({ ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name: 'web', uid }] });
  const of = (name: string, uid: string, address: string) => slice(name, 'web', [endpoint(address)], {}, owned(uid));

  test('has its own slices at once, and those of the old one no longer', () => {
    const l = lane();
    l.slices.service('default/web', { uid: 'old', family: 'IPv4' });
    l.put(of('a', 'old', '10.0.0.1'));
    expect(l.addresses()).toEqual(['10.0.0.1:8080']);
    l.slices.service('default/web', { uid: 'new', family: 'IPv4' });
    // Not one of its own yet: there is nothing better.
    expect(l.addresses()).toEqual(['10.0.0.1:8080']);
    l.put(of('b', 'new', '10.0.0.2'));
    expect(l.addresses()).toEqual(['10.0.0.2:8080']);
    l.remove('a');
    expect(l.addresses()).toEqual(['10.0.0.2:8080']);
  });

  test('slices may be seen before it', () => {
    const l = lane();
    l.slices.service('default/web', { uid: 'old', family: 'IPv4' });
    l.put(of('a', 'old', '10.0.0.1'));
    l.put(of('b', 'new', '10.0.0.2'));
    expect(l.addresses()).toEqual(['10.0.0.1:8080']);
    l.slices.service('default/web', null);
    expect(l.addresses()).toEqual(['10.0.0.1:8080', '10.0.0.2:8080']);
    l.slices.service('default/web', { uid: 'new', family: 'IPv4' });
    expect(l.addresses()).toEqual(['10.0.0.2:8080']);
  });

  test('an empty slice of its own says that it has nothing', () => {
    const l = lane();
    l.slices.service('default/web', { uid: 'new', family: 'IPv4' });
    l.put(of('a', 'old', '10.0.0.1'));
    l.put(slice('b', 'web', null, {}, owned('new')));
    expect(l.addresses()).toEqual([]);
  });

  test('slices that nobody owns, or something else does, count always', () => {
    const l = lane();
    l.slices.service('default/web', { uid: 'new', family: 'IPv4' });
    l.put(of('a', 'new', '10.0.0.1'));
    l.put(slice('b', 'web', [endpoint('10.0.0.2')]));
    l.put(slice('c', 'web', [endpoint('10.0.0.3')], {}, { ownerReferences: [{ apiVersion: 'v1', kind: 'Endpoints', uid: 'old' }] }));
    expect(l.addresses()).toEqual(['10.0.0.1:8080', '10.0.0.2:8080', '10.0.0.3:8080']);
  });
});

describe('changes', () => {
  test('are gathered from the first on, and name their Services', () => {
    const l = lane();
    l.put(slice('a', 'web', [endpoint('10.0.0.1')]));
    l.clock.advance(GATHER_MS - 1);
    l.put(slice('b', 'api', [endpoint('10.0.0.1')]));
    expect(l.told).toEqual([]);
    l.clock.advance(1);
    expect(l.told).toEqual([['default/api', 'default/web']]);
    l.clock.advance(1000);
    expect(l.told).toHaveLength(1);
  });

  test('a slice that moves to another Service is a change of both', () => {
    const l = lane();
    l.put(slice('a', 'web', [endpoint('10.0.0.1')]));
    l.clock.advance(GATHER_MS);
    l.put(slice('a', 'api', [endpoint('10.0.0.1')]));
    l.clock.advance(GATHER_MS);
    expect(l.told[1]).toEqual(['default/api', 'default/web']);
    expect(l.addresses()).toEqual([]);
  });

  test('whoever throws does not keep it from the others, and one may leave', () => {
    const l = lane();
    const seen: number[] = [];
    const leave = l.slices.onChange(() => {
      throw new Error('mine');
    });
    l.slices.onChange((services) => seen.push(services.size));
    l.put(slice('a', 'web', null));
    l.clock.advance(GATHER_MS);
    leave();
    l.put(slice('b', 'web', null));
    l.clock.advance(GATHER_MS);
    expect(seen).toEqual([1, 1]);
    expect(l.errors).toHaveLength(1);
  });

  test('nobody is told after the end', () => {
    const l = lane();
    l.put(slice('a', 'web', null));
    l.slices.stop();
    expect(l.clock.pending()).toBe(0);
    expect(l.told).toEqual([]);
  });

  test('a slice that was written for reasons of its own is the same', () => {
    const words = { zones: ['a'], nodes: ['n1'] };
    const one = slice('a', 'web', [endpoint('10.0.0.1', words)]);
    const again = slice(
      'a',
      'web',
      [endpoint('10.0.0.1', words)],
      {},
      { annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': 'now' } },
    );
    expect(sameSlice(read(one), read(again))).toBe(true);
    const others: Raw[] = [
      slice('a', 'api', [endpoint('10.0.0.1', words)]),
      slice('a', 'web', [endpoint('10.0.0.2', words)]),
      slice('a', 'web', [endpoint('10.0.0.1', { ...words, ready: false })]),
      slice('a', 'web', [endpoint('10.0.0.1', { ...words, ready: false, terminating: true })]),
      slice('a', 'web', [endpoint('10.0.0.1', { zones: ['a'] })]),
      slice('a', 'web', [endpoint('10.0.0.1', { ...words, zones: ['b'] })]),
      slice('a', 'web', [endpoint('10.0.0.1', words), endpoint('10.0.0.2', words)]),
      slice('a', 'web', [endpoint('10.0.0.1', words)], { ports: [{ name: 'http', port: 8080 }] }),
      slice('a', 'web', [endpoint('10.0.0.1', words)], {}, { ownerReferences: [{ apiVersion: 'v1', kind: 'Service', uid: 'x' }] }),
    ];
    const all = [one, ...others].map(read);
    for (const [i, a] of all.entries()) for (const [j, b] of all.entries()) expect([i, j, sameSlice(a, b)]).toEqual([i, j, i === j]);
  });
});

describe('limits', () => {
  const many = (n: number, from = 0) =>
    Array.from({ length: n }, (_, i) => endpoint(`10.${(from + i) >> 16}.${((from + i) >> 8) & 255}.${(from + i) & 255}`));

  test('a slice has at most a thousand endpoints', () => {
    const found = read(slice('a', 'web', many(1500)));
    expect([found.endpoints.length, found.leftOut]).toEqual([1000, 500]);
  });

  test('all Services together have a limit, and room that was freed is used', () => {
    const l = lane({ max: 1500 });
    l.put(slice('a', 'web', many(1000)));
    l.put(slice('b', 'web', many(1000, 1000)));
    expect(l.beyond).toEqual(['default/b']);
    expect(l.counts()).toEqual({ total: 1000, ready: 1000 });
    l.remove('a');
    expect(l.counts()).toEqual({ total: 0, ready: 0 });
    l.clock.advance(GATHER_MS);
    expect(l.counts()).toEqual({ total: 1000, ready: 1000 });
    expect(l.told.at(-1)).toEqual(['default/web']);
    l.remove('b');
    l.put(slice('c', 'web', many(1000)));
    expect(l.beyond).toHaveLength(1);
  });

  test('so has one namespace, and the others have theirs', () => {
    const l = lane({ max: 5000, maxOfNamespace: 2000 });
    for (const name of ['a', 'b', 'c']) l.put(slice(name, name, many(1000)));
    expect(l.beyond).toEqual(['default/c']);
    const other = { namespace: 'other', name: 'web', portName: '' };
    const raw = slice('o', 'web', many(1000));
    l.slices.changed(undefined, read({ ...raw, metadata: { ...(raw['metadata'] as Raw), namespace: 'other' } }));
    expect(l.slices.counts(other).total).toBe(1000);
    l.remove('a');
    l.clock.advance(GATHER_MS);
    expect(['b', 'c'].map((name) => l.slices.counts({ ...WEB, name }).total)).toEqual([1000, 1000]);
    l.put(slice('c', 'c', many(1)));
    l.remove('b');
    l.remove('c');
    l.put(slice('d', 'd', many(1000)));
    l.put(slice('e', 'e', many(1000)));
    expect(l.beyond).toHaveLength(1);
  });

  test('one that was taken away while there was no room does not come back', () => {
    const l = lane({ max: 1000 });
    l.put(slice('a', 'web', many(1000)));
    l.put(slice('b', 'api', many(1000)));
    l.remove('b');
    l.remove('a');
    l.clock.advance(GATHER_MS);
    expect(l.slices.counts({ ...WEB, name: 'api' }).total).toBe(0);
    expect(l.counts().total).toBe(0);
  });

  test('so has one Service, and the others have what they have', () => {
    const l = lane();
    for (let i = 0; i < 21; i++) l.put(slice(`s${i + 10}`, 'web', many(1000, i * 1000)));
    l.put(slice('a', 'api', many(1)));
    expect(l.beyond).toEqual(['default/s30']);
    expect(l.counts().total).toBe(MAX_SERVICE_ENDPOINTS);
    expect(l.slices.counts({ ...WEB, name: 'api' }).total).toBe(1);
  });

  test('slices of one Service without end take no time that grows with their square', () => {
    const l = lane();
    const putAndTake = (): void => {
      for (let i = 0; i < 20_000; i++) l.put(slice(`s${i}`, 'web', many(1, i)));
      expect(l.beyond).toHaveLength(20_000 - MAX_SERVICE_SLICES);
      expect(l.counts().total).toBe(MAX_SERVICE_SLICES);
      for (let i = 0; i < 20_000; i++) l.remove(`s${i}`);
    };
    expect(cost(putAndTake)).toBeLessThan(10_000);
    expect(l.counts().total).toBe(0);
    l.put(slice('a', 'web', many(1)));
    expect(l.counts().total).toBe(1);
  });

  test('what is asked for by names that no slice has takes no memory', () => {
    const l = lane();
    for (let i = 0; i < 1000; i++) expect(l.slices.endpoints({ ...WEB, portName: `p${i}` })).toEqual([]);
    expect(l.slices.counts(WEB)).toEqual({ total: 0, ready: 0 });
  });

  test('twenty thousand endpoints of one Service are chosen from in good time', () => {
    const l = lane();
    l.slices.ownZone('a');
    for (let i = 0; i < 20; i++) l.put(slice(`s${i}`, 'web', many(1000, i * 1000)));
    expect(cost(() => expect(l.slices.endpoints(WEB)).toHaveLength(20_000))).toBeLessThan(1000);
  });
});
