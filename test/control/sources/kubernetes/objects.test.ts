import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import type { Listener, Upstream } from '../../../../src/contract/resources/index.ts';
import * as core from '../../../../src/control/sources/kubernetes/core.ts';
import { identityOf, metaOf, type Identity } from '../../../../src/control/sources/kubernetes/meta.ts';
import {
  MAX_FAULT_TEXT,
  MAX_FAULTS,
  MAX_STATUS,
  readListener,
  readUpstream,
  type OurObject,
} from '../../../../src/control/sources/kubernetes/objects.ts';
import { MAX_SLICE_ENDPOINTS, readSlice } from '../../../../src/control/sources/kubernetes/slice.ts';
import { Secret } from '../../../../src/lib/secret.ts';
import { endpoint, listener, meta, service, slice, upstream, type Raw } from './raw.ts';
import { leastCost } from '../../../kit/cost.ts';

const OURS = { className: 'spooky', controllerName: 'spooky.dev/spooky' };

const id = (raw: Raw, namespaced = true): Identity => {
  const identity = identityOf(raw, namespaced);
  if (identity === null) throw new Error('no identity');
  return identity;
};
const asListener = (raw: Raw, known?: OurObject<Listener>) => readListener(raw, id(raw), known, OURS);
const asUpstream = (raw: Raw, known?: OurObject<Upstream>) => readUpstream(raw, id(raw), known, OURS);
const withMeta = (metadata: Raw): Raw => ({ metadata });

describe('identity', () => {
  test('is namespace, name and uid', () => {
    expect(identityOf(withMeta(meta('a', 'b')), true)).toEqual({ key: 'b/a', namespace: 'b', name: 'a', uid: 'uid-b-a' });
    expect(identityOf(withMeta(meta('a', null)), false)).toEqual({ key: 'a', namespace: '', name: 'a', uid: 'uid--a' });
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['no metadata', {}],
    ['metadata that is a list', withMeta([] as unknown as Raw)],
    ['no name', withMeta({ ...meta('a'), name: undefined })],
    ['a name with a slash', withMeta({ ...meta('a'), name: 'a/b' })],
    ['a name that is too long', withMeta({ ...meta('a'), name: 'a'.repeat(254) })],
    ['a name in capitals', withMeta({ ...meta('a'), name: 'A' })],
    ['a number for a name', withMeta({ ...meta('a'), name: 7 })],
    ['no namespace', withMeta({ ...meta('a'), namespace: undefined })],
    ['a namespace with a slash', withMeta({ ...meta('a'), namespace: 'a/b' })],
    ['a namespace that is too long', withMeta({ ...meta('a'), namespace: 'a'.repeat(64) })],
    ['no uid', withMeta({ ...meta('a'), uid: '' })],
    ['a uid that is too long', withMeta({ ...meta('a'), uid: 'u'.repeat(129) })],
  ])('%s: none', (_, raw) => expect(identityOf(raw, true)).toBeNull());

  test('K2: names that look alike when joined have different keys', () => {
    expect(id(withMeta(meta('c', 'a-b'))).key).not.toBe(id(withMeta(meta('b-c', 'a'))).key);
    fc.assert(
      fc.property(fc.tuple(label(), label(), label(), label()), ([n1, m1, n2, m2]) => {
        const [a, b] = [id(withMeta(meta(m1, n1))), id(withMeta(meta(m2, n2)))];
        expect(a.key === b.key).toBe(n1 === n2 && m1 === m2);
      }),
    );
  });

  const label = () => fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,3}[a-z0-9])?$/);

  test('metadata that cannot be read counts as unknown', () => {
    const odd = withMeta({ ...meta('a'), generation: -1, creationTimestamp: 'yesterday', labels: { a: 'b' } });
    expect(metaOf(odd, id(odd))).toMatchObject({ generation: 0, created: 0, origin: null });
    expect(metaOf(odd, id(odd)).labels.size).toBe(0);
    expect(metaOf(withMeta(meta('a')), id(odd))).toMatchObject({ generation: 1, created: Date.UTC(2026, 0, 2, 3, 4, 5) });
  });
});

describe('a Listener', () => {
  test('becomes a resource with its defaults, and its status is seen', () => {
    const raw: Raw = { ...listener('public'), status: { attachedUpstreams: 3 } };
    const read = asListener(raw);
    expect(read.verdict).toMatchObject({
      is: 'valid',
      resource: { meta: { name: 'public', generation: 1 }, spec: { className: 'spooky', port: 8443 } },
    });
    expect(read.seen).toEqual({
      uid: 'uid-default-public',
      resourceVersion: (raw['metadata'] as Raw)['resourceVersion'],
      generation: 1,
      status: { attachedUpstreams: 3 },
    });
    expect(asListener(listener('public')).seen.status).toEqual({});
  });

  test.each<[string, unknown, string]>([
    ['of our class', 'spooky', 'valid'],
    ['without a class', undefined, 'valid'],
    ['of another class', 'other', 'foreign'],
    ['of a class in other letters', 'Spooky', 'foreign'],
    ['of a class that is no text', 7, 'foreign'],
    ['of a class that is a list', ['spooky'], 'foreign'],
  ])('%s', (_, className, is) => expect(asListener(listener('l', className === undefined ? {} : { className })).verdict.is).toBe(is));

  test('without a class is not of another installation', () => {
    const raw = listener('l');
    expect(readListener(raw, id(raw), undefined, { className: 'other', controllerName: 'spooky.dev/other' }).verdict.is).toBe('foreign');
  });

  test('that the schema refuses is rejected, one of another class never', () => {
    expect(asListener(listener('l', { port: 70_000 })).verdict).toEqual({
      is: 'rejected',
      object: {
        kind: 'Listener',
        meta: expect.objectContaining({ name: 'l' }),
        faults: [{ severity: 'error', path: 'spec.port', message: 'must be a whole number, 1 to 65535, not 70000' }],
      },
      listeners: null,
    });
    expect(asListener(listener('l', { port: 70_000, className: 'other' })).verdict.is).toBe('foreign');
    expect(asListener({ ...listener('l'), spec: undefined }).verdict.is).toBe('rejected');
    expect(asListener({ ...listener('l'), spec: 'text' }).verdict.is).toBe('rejected');
  });

  test('fields of a newer definition are left alone, those that restrict access are not', () => {
    expect(asListener(listener('l', { newer: true })).verdict.is).toBe('valid');
    expect(asListener(listener('l', { tls: { certificateRefs: [{ name: 'tls' }], clientAuth: {} } })).verdict).toMatchObject({
      object: { faults: [{ path: 'spec.tls.clientAuth', message: 'clientAuth is not supported yet' }] },
    });
  });
});

describe('an Upstream', () => {
  test('names the Listeners that it wants even when it is refused', () => {
    const bad = (spec: Raw) => asUpstream(upstream('u', { hostnames: [], ...spec })).verdict;
    expect(bad({})).toMatchObject({ is: 'rejected', listeners: null });
    const named = bad({ listeners: [{ namespace: 'infra', name: 'public' }, { namespace: 'a/b', name: 'x' }, 7] });
    expect(named.is === 'rejected' && named.listeners).toEqual(new Set(['infra/public']));
    expect(bad({ listeners: 'public' })).toMatchObject({ listeners: null });
  });

  test('keeps of its status what this installation wrote', () => {
    const own = { controllerName: 'spooky.dev/spooky', attached: '1/1' };
    const status = { installations: [{ controllerName: 'spooky.dev/other', attached: '0/1' }, own] };
    expect(asUpstream({ ...upstream('u'), status }).seen.status).toEqual({ installations: [own] });
    expect(asUpstream({ ...upstream('u'), status: { installations: [] } }).seen.status).toEqual({});
    expect(asUpstream({ ...upstream('u'), status: { installations: 'all' } }).seen.status).toEqual({});
  });

  test('is held while fields of its status are ours', () => {
    const by = (manager: string, subresource?: string) =>
      asUpstream(upstream('u', {}, meta('u', 'default', { managedFields: [{ manager, subresource }] }))).held;
    expect([by('spooky.dev/spooky', 'status'), by('spooky.dev/spooky'), by('spooky.dev/other', 'status')]).toEqual([true, false, false]);
    expect(asUpstream(upstream('u')).held).toBe(false);
  });
});

describe('whether it mattered', () => {
  const first = asUpstream(upstream('u'));

  test.each<[string, Raw, boolean]>([
    ['another status', { ...upstream('u'), status: { installations: [{ controllerName: 'spooky.dev/spooky' }] } }, true],
    ['another version', upstream('u'), true],
    ['an annotation', upstream('u', {}, meta('u', 'default', { annotations: { a: 'b' } })), true],
    ['a label', upstream('u', {}, meta('u', 'default', { labels: { a: 'b' } })), true],
    ['another spec', upstream('u', { hostnames: ['x.example.com'] }, meta('u', 'default', { generation: 2 })), false],
    ['another spec without another generation', upstream('u', { hostnames: ['x.example.com'] }), false],
    ['another generation with the same spec', upstream('u', {}, meta('u', 'default', { generation: 2 })), false],
    ['another uid', upstream('u', {}, meta('u', 'default', { uid: 'new' })), false],
  ])('%s', (_, raw, same) => {
    const next = asUpstream(raw, first);
    expect(next.verdict === first.verdict).toBe(same);
    expect(next.seen.resourceVersion).toBe((raw['metadata'] as Raw)['resourceVersion']);
  });
});

describe('what an author can make us keep', () => {
  test('of faults: a few, short ones', () => {
    const matches = Array.from({ length: 64 }, () => ({ path: { type: 'x'.repeat(100_000), value: 'no' } }));
    const { verdict } = asUpstream(upstream('u', { matches, ['k'.repeat(50_000)]: 1, auth: {} }));
    const faults = verdict.is === 'rejected' ? verdict.object.faults : [];
    expect(faults).toHaveLength(MAX_FAULTS);
    for (const { path, message } of faults) expect(path.length + message.length).toBeLessThanOrEqual(2 * MAX_FAULT_TEXT);
  });

  test('of a status: what we could have written', () => {
    const status = { installations: [{ controllerName: 'spooky.dev/spooky', attached: 'x'.repeat(MAX_STATUS) }] };
    expect(asUpstream({ ...upstream('u'), status }).seen.status).toEqual({});
    expect(asListener({ ...listener('l'), status: { x: 'x'.repeat(MAX_STATUS) } }).seen.status).toEqual({});
  });

  test('of a megabyte of hostnames: one fault', () => {
    const hostnames = Array.from({ length: 60_000 }, (_, i) => `h${i}.example.com`);
    const read = (): void =>
      expect(asUpstream(upstream('u', { hostnames })).verdict).toMatchObject({
        object: { faults: [{ path: 'spec.hostnames', message: 'must have at most 64 items, has 60000' }] },
      });
    expect(leastCost(read, 2000, 3)).toBeLessThan(2000);
  });

  test('nothing of it by nesting without end', () => {
    let deep: unknown = 1;
    for (let i = 0; i < 50_000; i++) deep = [deep];
    expect(() => asUpstream(upstream('u', { deep }))).toThrow(RangeError);
  });
});

describe('a Service', () => {
  const read = (raw: Raw) => {
    const found = core.readService(raw, id(raw));
    return found === 'malformed' ? found : { ...found.service, meta: found.service.meta.name, family: found.family };
  };

  test('with everything', () => {
    const raw = {
      ...service('web', {
        type: 'LoadBalancer',
        ipFamilies: ['IPv6', 'IPv4'],
        externalIPs: ['192.0.2.9', 'no'],
        ports: [
          { name: 'https', port: 443, targetPort: 'tls', nodePort: 30443, appProtocol: 'https' },
          { name: 'quic', port: 443, protocol: 'UDP', targetPort: 8443 },
        ],
      }),
      status: { loadBalancer: { ingress: [{ ip: '2001:DB8::0:1' }, { hostname: 'lb.example.com' }, { hostname: 'not a host' }, 7, {}] } },
    };
    expect(read(raw)).toEqual({
      meta: 'web',
      type: 'LoadBalancer',
      family: 'IPv6',
      ports: [
        { name: 'https', port: 443, protocol: 'TCP', targetPort: 'tls', nodePort: 30443, appProtocol: 'https' },
        { name: 'quic', port: 443, protocol: 'UDP', targetPort: 8443, nodePort: 0, appProtocol: '' },
      ],
      addresses: ['2001:db8::1', 'lb.example.com', '192.0.2.9'],
    });
  });

  test('with next to nothing', () => {
    expect(read({ ...service('web'), spec: undefined })).toEqual({ meta: 'web', type: 'ClusterIP', family: '', ports: [], addresses: [] });
    expect(
      read(service('web', { ports: [{ port: 80 }, { port: 0 }, { port: '80' }, { port: 80, protocol: 'QUIC' }, null] })),
    ).toMatchObject({
      ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 80, nodePort: 0, appProtocol: '' }],
    });
  });

  test('of a type that nobody knows is left out', () => expect(read(service('web', { type: 'Tunnel' }))).toBe('malformed'));

  test('keeps no more than its limits', () => {
    const many = {
      ports: Array.from({ length: 5000 }, (_, i) => ({ port: i + 1 })),
      externalIPs: Array.from({ length: 5000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`),
    };
    expect(read(service('web', many))).toMatchObject({ ports: { length: core.MAX_PORTS }, addresses: { length: core.MAX_ADDRESSES } });
  });
});

describe('credentials', () => {
  const secret = (data: unknown, type: unknown = 'kubernetes.io/tls'): Raw => ({ metadata: meta('tls'), type, data });
  const read = (raw: Raw) => {
    const { type, data } = core.readSecret(raw, id(raw)).secret;
    return { type, data: Object.fromEntries([...data].map(([k, v]) => [k, Buffer.from(v.reveal()).toString()])) };
  };
  const base64 = (text: string) => Buffer.from(text).toString('base64');

  test('of a Secret only what is ever read', () => {
    expect(read(secret({ 'tls.crt': base64('cert'), 'tls.key': base64('key'), 'ca.crt': base64('ca'), password: base64('x') }))).toEqual({
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': 'cert', 'tls.key': 'key', 'ca.crt': 'ca' },
    });
  });

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['a list', ['x']],
    ['numbers', { 'tls.crt': 7 }],
    ['no base64', { 'tls.crt': 'not base64!' }],
    ['base64 that is cut', { 'tls.crt': 'YWJ' }],
  ])('data that is %s counts as absent', (_, data) => expect(read(secret(data, 7))).toEqual({ type: 'Opaque', data: {} }));

  test('of a ConfigMap only the bundle', () => {
    const of = (data: unknown) => [...core.readConfigMap({ metadata: meta('ca'), data }, id({ metadata: meta('ca') })).configMap.data];
    expect(of({ 'ca.crt': 'PEM', huge: 'x'.repeat(1000) })).toEqual([['ca.crt', 'PEM']]);
    expect(of({ 'ca.crt': 7 })).toEqual([]);
    expect(of(undefined)).toEqual([]);
  });
});

describe('a Namespace', () => {
  const read = (labels: unknown) =>
    core.readNamespace({ metadata: meta('web', null, { labels }) }, id({ metadata: meta('web', null) }, false));

  test('has labels', () => {
    const found = read({ team: 'a', __proto__: 'b' });
    expect(found !== 'malformed' && found.labels.get('team')).toBe('a');
    expect(read(undefined)).toMatchObject({ labels: new Map() });
    expect(read(null)).toMatchObject({ labels: new Map() });
  });

  test.each<[string, unknown]>([
    ['a list', ['team']],
    ['values that are no text', { team: 7 }],
    ['values that are too long', { team: 'x'.repeat(64) }],
    ['keys that are too long', { ['k'.repeat(318)]: 'x' }],
    ['too many', Object.fromEntries(Array.from({ length: core.MAX_LABELS + 1 }, (_, i) => [`k${i}`, 'x']))],
  ])('is left out when its labels are %s: half of them could choose what all would not', (_, labels) =>
    expect(read(labels)).toBe('malformed'),
  );
});

describe('a Node', () => {
  const node = (addresses: unknown, ready: unknown = 'True', more: Raw = {}) => {
    const raw = {
      metadata: meta('n1', null, { labels: { 'topology.kubernetes.io/zone': 'z1' }, ...more }),
      status: { conditions: [{ type: 'Ready', status: ready }], addresses },
    };
    return core.readNode(raw, id(raw, false));
  };
  const inner = { type: 'InternalIP', address: '10.0.0.1' };

  test('is reached by its outer addresses, else by the inner ones', () => {
    expect(node([inner, { type: 'ExternalIP', address: '192.0.2.1' }, { type: 'Hostname', address: 'n1' }])).toMatchObject({
      ready: true,
      zone: 'z1',
      addresses: ['192.0.2.1'],
    });
    expect(node([inner, { type: 'InternalIP', address: '2001:DB8::1' }, { type: 'InternalIP', address: 'no' }, 7])).toMatchObject({
      addresses: ['10.0.0.1', '2001:db8::1'],
    });
  });

  test('counts while it is ready and not being deleted', () => {
    expect(node([inner], 'Unknown').ready).toBe(false);
    expect(node([inner], 'True', { deletionTimestamp: '2026-01-01T00:00:00Z' }).ready).toBe(false);
    expect(node('none', 7)).toMatchObject({ ready: false, addresses: [] });
  });
});

describe('a ReferenceGrant', () => {
  const grant = (spec: unknown, more: Raw = {}) => {
    const raw = { metadata: meta('g', 'target', more), spec };
    return core.readGrant(raw, id(raw)).grant;
  };
  const from = { group: 'spooky.dev', kind: 'Upstream', namespace: 'web' };
  const to = { group: '', kind: 'Service' };

  test('opens what it says', () => {
    expect(grant({ from: [from], to: [to, { group: '', kind: 'Secret', name: 'tls' }] })).toEqual({
      namespace: 'target',
      from: [{ kind: 'Upstream', namespace: 'web' }],
      to: [
        { group: '', kind: 'Service', name: '' },
        { group: '', kind: 'Secret', name: 'tls' },
      ],
    });
  });

  test.each<[string, unknown]>([
    ['another group', { from: [{ ...from, group: 'gateway.networking.k8s.io' }], to: [to] }],
    ['no namespace', { from: [{ ...from, namespace: undefined }], to: [to] }],
    ['a namespace that is a wildcard', { from: [{ ...from, namespace: '*' }], to: [to] }],
    ['no list', { from, to: [to] }],
    ['nothing', undefined],
  ])('K1: %s opens nothing', (_, spec) => expect(grant(spec).from).toEqual([]));

  test.each<[string, unknown]>([
    ['a name that is none', { from: [from], to: [{ ...to, name: '*' }] }],
    ['a name that is no text', { from: [from], to: [{ ...to, name: 7 }] }],
    ['no group', { from: [from], to: [{ kind: 'Service' }] }],
    ['no kind', { from: [from], to: [{ group: '' }] }],
  ])('K1: to %s opens nothing', (_, spec) => expect(grant(spec).to).toEqual([]));

  test('K1: that is being deleted opens nothing', () => {
    expect(grant({ from: [from], to: [to] }, { deletionTimestamp: '2026-01-01T00:00:00Z' })).toEqual({
      namespace: 'target',
      from: [],
      to: [],
    });
  });
});

describe('whatever comes', () => {
  const shapes: readonly Raw[] = [
    listener('l'),
    upstream('u', { listeners: [{ name: 'l', namespace: 'x' }], matches: [{ path: { value: '/a' } }], tls: { verify: 'None' } }),
    service('s', { externalIPs: ['192.0.2.1'] }),
    { ...slice('e', 's', [endpoint('10.0.0.1', { zones: ['a'], nodes: ['n'] })]) },
    { metadata: meta('x'), type: 'Opaque', data: { 'tls.crt': 'YQ==' } },
    {
      metadata: meta('g'),
      spec: { from: [{ group: 'spooky.dev', kind: 'Upstream', namespace: 'a' }], to: [{ group: '', kind: 'Service' }] },
    },
    {
      metadata: meta('n'),
      status: { conditions: [{ type: 'Ready', status: 'True' }], addresses: [{ type: 'InternalIP', address: '10.0.0.1' }] },
    },
  ];
  const MANY: readonly Raw[] = Array.from({ length: 1500 }, (_, i) => endpoint(`10.0.${i >> 8}.${i & 255}`));
  const junk = fc.oneof(
    fc.anything({ maxDepth: 2 }).map((v) => jsonOf(v)),
    fc.constantFrom<unknown>(
      null,
      '',
      'x'.repeat(5000),
      -1,
      1e300,
      [],
      {},
      [null],
      { length: 1e9 },
      true,
      '\u0000',
      '10.0.0.1',
      'é.example.com',
      '*.com',
      MANY,
      Object.fromEntries(MANY.map((m, i) => [`k${i}`, m])),
    ),
  );

  /** Beyond what a status may be, there is nothing that long. */
  const LARGEST = MAX_STATUS + 128 * 1024;

  const sizeOf = (value: unknown): number =>
    JSON.stringify(value, (_, v: unknown) =>
      v instanceof Map ? [...v] : v instanceof Set ? [...v] : v instanceof Secret ? [...v.reveal()] : v,
    ).length;

  /** What JSON can carry. */
  const jsonOf = (value: unknown): unknown => {
    try {
      return JSON.parse(
        JSON.stringify(value, (_, v: unknown) => (typeof v === 'bigint' || typeof v === 'symbol' ? String(v) : v)) ?? 'null',
      );
    } catch {
      return null;
    }
  };

  const places = (value: unknown, path: readonly (string | number)[] = []): (readonly (string | number)[])[] =>
    typeof value !== 'object' || value === null ? [path] : [path, ...Object.entries(value).flatMap(([k, v]) => places(v, [...path, k]))];

  const put = (value: unknown, [step, ...rest]: readonly (string | number)[], what: unknown): unknown => {
    if (step === undefined) return what;
    const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as Raw) }) as Raw;
    copy[step] = put(copy[step], rest, what);
    return copy;
  };

  const mutated = fc
    .tuple(fc.constantFrom(...shapes), fc.array(fc.tuple(fc.nat(), junk), { minLength: 1, maxLength: 4 }))
    .map(([shape, changes]) =>
      changes.reduce<unknown>((object, [n, what]) => {
        const all = places(object);
        return put(object, all[n % all.length] ?? [], what);
      }, shape),
    );

  test('never throws, and never keeps more than its limits', () => {
    fc.assert(
      fc.property(mutated, (raw) => {
        const identity = identityOf(raw, true) ?? id(listener('fallback'));
        const kept: unknown[] = [
          metaOf(raw, identity),
          readListener(raw, identity, undefined, OURS),
          readUpstream(raw, identity, undefined, OURS),
          core.readService(raw, identity),
          core.readSecret(raw, identity),
          core.readConfigMap(raw, identity),
          core.readNamespace(raw, identity),
          core.readNode(raw, identity),
          core.readGrant(raw, identity),
          readSlice(raw, identity, (names) => names),
        ];
        for (const one of kept) expect(sizeOf(one)).toBeLessThan(LARGEST);
        const read = kept[9] as ReturnType<typeof readSlice>;
        if (read !== 'ignored') expect(read.endpoints.length).toBeLessThanOrEqual(MAX_SLICE_ENDPOINTS);
      }),
      { numRuns: 500 },
    );
  });
});
