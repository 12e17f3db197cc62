import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { compareRoutes, matchIdentity, whyAfter } from '../../../src/contract/routes/rank.ts';
import { buildTable } from '../../../src/contract/routes/table.ts';
import { cases } from '../../bench/routes.bench.ts';
import type { FieldMatch, HostPart, PartHash, RouteMatch, RoutePart } from '../../../src/contract/snapshot/parts.ts';
import { leastCost, memorySlowness } from '../../kit/cost.ts';

interface Written {
  readonly name?: string;
  readonly namespace?: string;
  readonly host?: string;
  readonly created?: number;
  readonly index?: number;
  readonly match?: Partial<RouteMatch>;
}

const route = (w: Written): RoutePart => ({
  upstream: { namespace: w.namespace ?? 'default', name: w.name ?? 'a' },
  hostname: w.host ?? '*',
  matchIndex: w.index ?? 0,
  created: w.created ?? 0,
  match: { path: null, methods: [], headers: [], query: [], ...w.match },
  target: 'none' as PartHash,
});

const prefix = (value: string): Partial<RouteMatch> => ({ path: { type: 'Prefix', value } });
const exact = (value: string): Partial<RouteMatch> => ({ path: { type: 'Exact', value } });
const regex = (value: string): Partial<RouteMatch> => ({ path: { type: 'Regex', value } });
const field = (name: string, value: string): FieldMatch => ({ name, type: 'Exact', value });

function table(routes: readonly RoutePart[], effective: (r: RoutePart) => string = (r) => r.hostname) {
  const hosts = new Map<string, RoutePart[]>();
  for (const r of routes) hosts.set(effective(r), [...(hosts.get(effective(r)) ?? []), r]);
  const parts = Array.from(hosts, ([hostname, list]): HostPart => ({ kind: 'host', hostname, routes: list }));
  return buildTable(parts, (r) => r);
}

function answer(
  routes: readonly RoutePart[],
  host: string,
  path: string,
  method = 'GET',
  headers: [string, string][] = [],
  query = '',
): string | null {
  const names = headers.map((h) => h[0]);
  const values = headers.map((h) => h[1]);
  return table(routes).match(host, path, query, method, names, values)?.upstream.name ?? null;
}

describe('K9: precedence, each step beating all that follow', () => {
  // In every pair the first wins although the second is better in the steps after.
  const pairs: [string, Written, Written, string][] = [
    ['exact host', { host: 'a.b.c', match: {} }, { host: '*.b.c', match: exact('/x') }, 'the other hostname is more specific'],
    ['longer wildcard', { host: '*.b.c' }, { host: '*.c', match: exact('/x') }, 'the other hostname is more specific'],
    ['wildcard before any', { host: '*.c' }, { host: '*', match: exact('/x') }, 'the other hostname is more specific'],
    [
      'exact path',
      { match: exact('/x') },
      { match: { ...regex('/x.*.*.*'), methods: ['GET'] } },
      'the other kind of path comes first (Exact, Regex, Prefix)',
    ],
    [
      'regex before prefix',
      { match: regex('.*') },
      { match: { ...prefix('/x'), methods: ['GET'] } },
      'the other kind of path comes first (Exact, Regex, Prefix)',
    ],
    ['longer regex', { match: regex('/x.*') }, { match: { ...regex('/.*'), methods: ['GET'] } }, 'the other path is longer'],
    ['longer prefix', { match: prefix('/x') }, { match: { ...prefix('/'), methods: ['GET'] } }, 'the other path is longer'],
    [
      'methods',
      { match: { methods: ['GET'] } },
      { match: { headers: [field('h', '1'), field('i', '1')] } },
      'the other match names methods',
    ],
    [
      'more headers',
      { match: { headers: [field('h', '1')] } },
      { match: { query: [field('q', '1')] } },
      'the other match has more headers',
    ],
    ['more query', { created: 9, match: { query: [field('q', '1')] } }, { created: 1 }, 'the other match has more query parameters'],
    ['older', { created: 1, namespace: 'z' }, { created: 2, namespace: 'a' }, 'the other Upstream is older'],
    [
      'namespace',
      { namespace: 'a', name: 'z' },
      { namespace: 'a-b', name: 'a' },
      'the namespace and name of the other Upstream come first',
    ],
    ['name', { name: 'a', index: 5 }, { name: 'b', index: 0 }, 'the namespace and name of the other Upstream come first'],
    ['order of matches', { index: 0 }, { index: 1 }, 'the other match comes first in its Upstream'],
  ];

  test.each(pairs)('%s', (_title, first, second, why) => {
    const winner = route({ name: 'w', ...first });
    const loser = route({ name: 'w', ...second });
    expect(compareRoutes(winner, loser)).toBeLessThan(0);
    expect(compareRoutes(loser, winner)).toBeGreaterThan(0);
    expect(whyAfter(winner, loser)).toBe(why);
    for (const order of [
      [winner, loser],
      [loser, winner],
    ]) {
      const found = table(order).match('a.b.c', '/x', 'q=1', 'GET', ['h', 'i'], ['1', '1']);
      expect(found).toBe(winner);
    }
  });

  test('K2: namespaces and names are compared apart, never joined', () => {
    const one = route({ namespace: 'a-b', name: 'c' });
    const other = route({ namespace: 'a', name: 'b-c' });
    expect(compareRoutes(one, other)).toBeGreaterThan(0);
    expect(compareRoutes(other, one)).toBeLessThan(0);
  });
});

describe('paths', () => {
  test('a prefix covers whole segments, with and without its last slash', () => {
    for (const value of ['/v1', '/v1/']) {
      const routes = [route({ match: prefix(value) })];
      for (const hit of ['/v1', '/v1/', '/v1/x', '/v1//']) expect(answer(routes, 'h', hit)).toBe('a');
      for (const miss of ['/v1x', '/v', '/', '/V1', '/x/v1', '*']) expect(answer(routes, 'h', miss)).toBeNull();
    }
  });

  test('no path and the prefix / are every path, and the one of OPTIONS *', () => {
    for (const match of [{}, prefix('/')])
      for (const hit of ['/', '/a', '//', '*']) expect(answer([route({ match })], 'h', hit, 'OPTIONS')).toBe('a');
  });

  test('an exact path is that path', () => {
    const routes = [route({ match: exact('/a') })];
    expect(answer(routes, 'h', '/a')).toBe('a');
    for (const miss of ['/a/', '/A', '/ab', '/']) expect(answer(routes, 'h', miss)).toBeNull();
  });

  test('a better path that refuses the method gives way to the next', () => {
    const routes = [
      route({ name: 'exact', match: { ...exact('/a/b'), methods: ['PUT'] } }),
      route({ name: 'regex', match: { ...regex('/a/.'), methods: ['POST'] } }),
      route({ name: 'long', match: { ...prefix('/a/b'), headers: [field('x', '1')] } }),
      route({ name: 'middle', match: { ...prefix('/a'), query: [field('q', '1')] } }),
      route({ name: 'root', match: prefix('/') }),
    ];
    expect(answer(routes, 'h', '/a/b', 'PUT')).toBe('exact');
    expect(answer(routes, 'h', '/a/b', 'POST')).toBe('regex');
    expect(answer(routes, 'h', '/a/b', 'GET', [['x', '1']])).toBe('long');
    expect(answer(routes, 'h', '/a/b', 'GET', [], 'q=1')).toBe('middle');
    expect(answer(routes, 'h', '/a/b')).toBe('root');
  });
});

describe('hosts', () => {
  test('a host that refuses gives way to the next level', () => {
    const routes = [
      route({ name: 'exact', host: 'x.b.c', match: exact('/only') }),
      route({ name: 'deep', host: '*.b.c', match: { ...prefix('/'), methods: ['POST'] } }),
      route({ name: 'wide', host: '*.c', match: prefix('/w') }),
      route({ name: 'any', host: '*' }),
    ];
    expect(answer(routes, 'x.b.c', '/only')).toBe('exact');
    expect(answer(routes, 'x.b.c', '/', 'POST')).toBe('deep');
    expect(answer(routes, 'x.b.c', '/w')).toBe('wide');
    expect(answer(routes, 'x.b.c', '/')).toBe('any');
    expect(answer(routes, 'b.c', '/', 'POST')).toBe('any');
    expect(answer(routes, 'c', '/w')).toBe('any');
    expect(answer(routes, 'z.y.b.c', '/', 'POST')).toBe('deep');
  });

  test('what a listener leaves of a hostname does not change its rank', () => {
    const narrow = (r: RoutePart): string => (r.upstream.name === 'any' || r.upstream.name === 'wild' ? 'api.example.com' : r.hostname);
    const routes = [
      route({ name: 'any', host: '*', match: exact('/v1') }),
      route({ name: 'wild', host: '*.example.com', match: exact('/v1') }),
      route({ name: 'exact', host: 'api.example.com', match: { ...prefix('/'), methods: ['GET'] } }),
    ];
    for (const order of [routes, [...routes].reverse()]) {
      expect(table(order, narrow).match('api.example.com', '/v1', '', 'GET', [], [])?.upstream.name).toBe('exact');
      expect(table(order, narrow).match('api.example.com', '/v1', '', 'PUT', [], [])?.upstream.name).toBe('wild');
      expect(table(order, narrow).match('www.example.com', '/v1', '', 'PUT', [], [])).toBeNull();
    }
  });

  test('names of objects that JavaScript knows are found only where they are written', () => {
    const routes = [route({ host: 'a.example' })];
    for (const host of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) expect(answer(routes, host, '/')).toBeNull();
    expect(answer([route({ host: '__proto__', match: exact('/__proto__') })], '__proto__', '/__proto__')).toBe('a');
    expect(answer([route({ match: exact('/a') })], 'h', 'constructor')).toBeNull();
  });
});

test('a table with an expression that does not compile is not built', () => {
  expect(() => table([route({ match: regex('(') })])).toThrow('not a regular expression');
});

test('what makes two matches one', () => {
  const id = (m: Partial<RouteMatch>): string => matchIdentity(route({ match: m }).match);
  expect(id(prefix('/a/'))).toBe(id(prefix('/a')));
  expect(id({})).toBe(id(prefix('/')));
  expect(id({ methods: ['GET', 'PUT'] })).toBe(id({ methods: ['PUT', 'GET'] }));
  expect(id({ headers: [field('a', '1'), field('b', '2')] })).toBe(id({ headers: [field('b', '2'), field('a', '1')] }));
  expect(id({ headers: [field('a', '1')] })).not.toBe(id({ query: [field('a', '1')] }));
  expect(id(exact('/a'))).not.toBe(id(prefix('/a')));
  expect(id(exact('/a/'))).not.toBe(id(exact('/a')));
  // K3: whatever the values hold, no two different matches have one text.
  expect(id({ headers: [field('a', '"],["b'), field('b', '')] })).not.toBe(id({ headers: [field('a', ''), field('b', '"],["b')] }));
});

/** An opinion of its own on whether a route takes a request, and on which of two comes first: written from the rules, not from the table. */
interface Request {
  host: string;
  path: string;
  method: string;
  headers: [string, string][];
  query: string;
}

function takes(r: RoutePart, q: Request): boolean {
  const labels = r.hostname.split('.');
  const asked = q.host.split('.');
  if (r.hostname !== '*') {
    if (labels[0] === '*') {
      const tail = labels.slice(1);
      if (asked.length <= tail.length || asked.slice(-tail.length).join('.') !== tail.join('.')) return false;
    } else if (r.hostname !== q.host) return false;
  }
  const path = r.match.path;
  if (path?.type === 'Exact' && path.value !== q.path) return false;
  if (path?.type === 'Regex' && !new RegExp(`^(?:${path.value})$`).test(q.path)) return false;
  if (path?.type === 'Prefix') {
    const want = path.value.split('/').slice(1);
    if (want.at(-1) === '') want.pop();
    if (
      q.path
        .split('/')
        .slice(1, 1 + want.length)
        .join('/') !== want.join('/')
    )
      return false;
  }
  if (r.match.methods.length > 0 && !r.match.methods.includes(q.method)) return false;
  if (!r.match.headers.every((h) => q.headers.some(([n, v]) => n === h.name && v === h.value))) return false;
  return r.match.query.every((h) => new URLSearchParams(q.query).get(h.name) === h.value);
}

function better(a: RoutePart, b: RoutePart): number {
  const key = (r: RoutePart): (number | string)[] => {
    const path = r.match.path ?? { type: 'Prefix', value: '/' };
    const trimmed = path.type === 'Prefix' ? path.value.replace(/\/$/, '') : path.value;
    return [
      r.hostname === '*' ? 2 : r.hostname.startsWith('*') ? 1 : 0,
      -r.hostname.length,
      ['Exact', 'Regex', 'Prefix'].indexOf(path.type),
      path.type === 'Exact' ? 0 : -trimmed.length,
      r.match.methods.length > 0 ? 0 : 1,
      -r.match.headers.length,
      -r.match.query.length,
      r.created,
      r.upstream.namespace,
      r.upstream.name,
      r.matchIndex,
    ];
  };
  const [x, y] = [key(a), key(b)];
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return (x[i] as number | string) < (y[i] as number | string) ? -1 : 1;
  return 0;
}

const someHost = fc.constantFrom('a.com', 'b.a.com', 'c.b.a.com', 'com', 'b.com');
const somePattern = fc.oneof(someHost, fc.constantFrom('*', '*.com', '*.a.com', '*.b.a.com'));
const somePath = fc.array(fc.constantFrom('a', 'ab', 'b', ''), { maxLength: 3 }).map((s) => `/${s.join('/')}`);
const someMatch: fc.Arbitrary<Partial<RouteMatch>> = fc.record({
  path: fc.oneof(
    fc.constant(null),
    somePath.map((value) => ({ type: 'Prefix' as const, value })),
    somePath.map((value) => ({ type: 'Exact' as const, value })),
    fc.constantFrom('/.*', '/a.*', '/(a|b)', '.+').map((value) => ({ type: 'Regex' as const, value })),
  ),
  methods: fc.subarray(['GET', 'PUT']),
  headers: fc.subarray([field('h', '1'), field('i', '2')]),
  query: fc.subarray([field('q', '1'), field('r', '2')]),
});
const someRoutes = fc
  .array(
    fc.record({
      host: somePattern,
      created: fc.nat(1),
      namespace: fc.constantFrom('a', 'a-b'),
      name: fc.constantFrom('b-c', 'c'),
      match: someMatch,
    }),
    { maxLength: 14 },
  )
  .map((list) => list.map((w, index) => route({ ...w, index })));
const someRequest: fc.Arbitrary<Request> = fc.record({
  host: someHost,
  path: somePath,
  method: fc.constantFrom('GET', 'PUT', 'POST'),
  headers: fc.subarray<[string, string]>([
    ['h', '1'],
    ['i', '2'],
  ]),
  query: fc.constantFrom('', 'q=1', 'q=1&r=2', 'q=2&r=2'),
});

test('the table finds what trying every route finds', () => {
  fc.assert(
    fc.property(someRoutes, fc.array(someRequest, { minLength: 1, maxLength: 8 }), (routes, requests) => {
      const built = table(routes);
      for (const q of requests) {
        const expected = routes.filter((r) => takes(r, q)).sort(better)[0] ?? null;
        const found = built.match(
          q.host,
          q.path,
          q.query,
          q.method,
          q.headers.map((h) => h[0]),
          q.headers.map((h) => h[1]),
        );
        expect(found).toBe(expected);
        const explained = built.explain({ ...q, names: q.headers.map((h) => h[0]), values: q.headers.map((h) => h[1]) });
        expect(explained.chosen?.route ?? null).toBe(expected);
        for (const other of explained.others) {
          expect(other.outcome).toBe(takes(other.route, q) ? 'beaten' : 'refused');
          expect(other.why).not.toBe('');
        }
        expect(explained.others).toHaveLength(routes.filter((r) => r !== expected && takes({ ...r, match: route({}).match }, q)).length);
      }
    }),
    { numRuns: 3000 },
  );
});

test('the order of the input does not matter', () => {
  fc.assert(
    fc.property(
      someRoutes.chain((routes) => fc.tuple(fc.constant(routes), fc.shuffledSubarray(routes, { minLength: routes.length }))),
      someRequest,
      ([routes, shuffled], q) => {
        const args = [q.host, q.path, q.query, q.method, q.headers.map((h) => h[0]), q.headers.map((h) => h[1])] as const;
        expect(table(shuffled).match(...args)).toBe(table(routes).match(...args));
        expect([...shuffled].sort(compareRoutes)).toEqual([...routes].sort(compareRoutes));
      },
    ),
    { numRuns: 1000 },
  );
});

test('10,000 routes on 2,000 hosts match in at most 1 µs on average', () => {
  const bench = cases.find((c) => c.name === 'routes: match, 10,000 routes on 2,000 hosts');
  if (bench === undefined) throw new Error('the case has another name');
  bench.run(200_000);
  expect(leastCost(() => bench.run(200_000), 200, 20, memorySlowness)).toBeLessThanOrEqual(200);
});
