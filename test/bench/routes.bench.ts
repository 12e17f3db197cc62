/** 10,000 routes on 2,000 hosts, and the pieces on the way to the table. */
import { normaliseAuthority } from '../../src/contract/routes/host.ts';
import { normaliseTarget } from '../../src/contract/routes/path.ts';
import { buildTable, type RouteTable } from '../../src/contract/routes/table.ts';
import type { HostPart, PartHash, RouteMatch, RoutePart } from '../../src/contract/snapshot/parts.ts';

export interface Case {
  readonly name: string;
  run(n: number): void;
}

const HOSTS = 2000;

function route(name: string, hostname: string, match: Partial<RouteMatch>, index = 0): RoutePart {
  return {
    upstream: { namespace: 'default', name },
    hostname,
    matchIndex: index,
    created: 0,
    match: { path: null, methods: [], headers: [], query: [], ...match },
    target: 'none' as PartHash,
  };
}

/** Five routes a host, as sites have them; every tenth host is a wildcard. */
export function sites(): HostPart[] {
  const hosts: HostPart[] = [];
  for (let i = 0; i < HOSTS; i++) {
    const hostname = i % 10 === 0 ? `*.site-${i}.example.com` : `www.site-${i}.example.com`;
    const paths: Partial<RouteMatch>[] = [
      { path: { type: 'Prefix', value: '/' } },
      { path: { type: 'Prefix', value: '/api/v1' } },
      { path: { type: 'Prefix', value: '/api/v1/orders' }, methods: ['GET', 'POST'] },
      { path: { type: 'Exact', value: '/healthz' } },
      { path: { type: 'Prefix', value: '/static' }, headers: [{ name: 'x-canary', type: 'Exact', value: '1' }] },
    ];
    hosts.push({ kind: 'host', hostname, routes: paths.map((match, k) => route(`u${i}-${k}`, hostname, match)) });
  }
  return hosts;
}

/** All of them on one host. */
function crowd(): HostPart[] {
  const routes = Array.from({ length: 10_000 }, (_, i) =>
    route(`u${i}`, 'www.example.com', { path: { type: 'Prefix', value: `/team-${i % 100}/service-${i}` } }),
  );
  return [{ kind: 'host', hostname: 'www.example.com', routes }];
}

interface Asked {
  readonly host: string;
  readonly path: string;
}

/** Strings of their own for each entry, as they come from a decoder. */
const fresh = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');

const NAMES = ['user-agent', 'accept', 'accept-encoding', 'accept-language', 'cookie', 'priority'];
const VALUES = ['Mozilla/5.0', '*/*', 'gzip, br', 'en', 'session=1', 'u=1'];

function matchCase(name: string, table: RouteTable<RoutePart>, asked: readonly Asked[], hit: boolean): Case {
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) {
        const { host, path } = asked[i % asked.length] as Asked;
        const found = table.match(host, path, '', 'GET', NAMES, VALUES);
        if ((found !== null) !== hit) throw new Error(`${host}${path}`);
      }
    },
  };
}

const site = (i: number): string => fresh(i % 10 === 0 ? `shop.site-${i}.example.com` : `www.site-${i}.example.com`);
const PATHS = ['/', '/api/v1/orders/123456', '/api/v1/users/42', '/healthz', '/static/js/main.3f8a1c2d.js', '/about/team'];

const table = buildTable(sites(), (r) => r);
const mixed: Asked[] = Array.from({ length: 12_000 }, (_, i) => ({
  host: site((i * 7919) % HOSTS),
  path: fresh(PATHS[i % PATHS.length] as string),
}));
const misses: Asked[] = Array.from({ length: 2000 }, (_, i) => ({ host: fresh(`www.other-${i}.example.com`), path: fresh('/api/v1') }));
const deep: Asked[] = Array.from({ length: 10_000 }, (_, i) => ({
  host: 'www.example.com',
  path: fresh(`/team-${i % 100}/service-${i}/items/1`),
}));

const regexes = buildTable(
  [{ kind: 'host', hostname: '*', routes: [route('r', '*', { path: { type: 'Regex', value: '/api/v[0-9]+/users/.*' } })] }],
  (r) => r,
);

function targetCase(name: string, raw: string): Case {
  return {
    name,
    run(n) {
      for (let i = 0; i < n; i++) if (typeof normaliseTarget(raw, 'Reject') === 'string') throw new Error('refused');
    },
  };
}

const authorityCase: Case = {
  name: 'routes: authority',
  run(n) {
    for (let i = 0; i < n; i++) if (normaliseAuthority('www.site-123.example.com') === null) throw new Error('refused');
  },
};

export const cases: Case[] = [
  matchCase('routes: match, 10,000 routes on 2,000 hosts', table, mixed, true),
  matchCase('routes: match, unknown host', table, misses, false),
  matchCase(
    'routes: match, 10,000 prefixes on one host',
    buildTable(crowd(), (r) => r),
    deep,
    true,
  ),
  matchCase('routes: match, regex', regexes, [{ host: 'a.example', path: fresh('/api/v12/users/abc') }], true),
  targetCase('routes: clean target', '/static/js/main.3f8a1c2d.chunk.js?v=20260301'),
  targetCase('routes: target to be normalised', '/a/./b/%7Euser/../%c3%a9?q=1'),
  authorityCase,
];
