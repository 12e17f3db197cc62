import { describe, expect, test } from '@jest/globals';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { buildTable } from '../../../src/contract/routes/table.ts';
import type { HostPart, PartHash } from '../../../src/contract/snapshot/index.ts';
import { CLASSIC_KEYS, type ClassicKey } from '../../../src/control/sources/classickeys.ts';
import { routeDifferences, type ClassicRoute } from '../../../src/control/sources/classicroutes.ts';
import { createLoadCache, loadPaths, type LoadResult } from '../../../src/control/sources/load.ts';
import { makeCa, makeLeaf } from '../../kit/certs.ts';
import { cost, costOf } from '../../kit/cost.ts';

interface Read {
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
}

async function inFolder<T>(files: Readonly<Record<string, string | Uint8Array>>, run: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-classic-'));
  try {
    for (const [name, content] of Object.entries(files)) {
      mkdirSync(join(dir, name, '..'), { recursive: true });
      writeFileSync(join(dir, name), content);
    }
    return await run(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const FILES = { 'c.pem': 'c', 'k.pem': 'k' };
const LISTEN = { listen: { tls: { cert: 'c.pem', key: 'k.pem' } } };
const POOL = { route: { path_prefix: '/' }, backends: [{ id: 'a', address: 'h2c://127.0.0.1:1' }] };
const base = (): Record<string, unknown> => ({ version: 1, ...structuredClone(LISTEN), upstream: { pool: structuredClone(POOL) } });

const read = (config: unknown, files: Readonly<Record<string, string | Uint8Array>> = FILES): Promise<Read> =>
  inFolder({ ...files, 'config.yaml': JSON.stringify(config) }, async (dir) => {
    const { state } = await loadPaths(['config.yaml'], { cwd: dir });
    const lines = (severity: string) => state.problems.filter((p) => p.severity === severity).map((p) => `${p.path}: ${p.message}`);
    return { errors: lines('error'), warnings: lines('warning') };
  });

/** A configuration with one key set, features above it enabled. */
function withKey(path: string, value: unknown): Record<string, unknown> {
  const config = base();
  let at: Record<string, unknown> = config;
  const steps = path.replace('upstream.*', 'upstream.pool').replace('listeners[]', 'listen').split('.');
  const last = steps.pop() as string;
  for (const step of steps) {
    const name = step.replace('[]', '');
    const next = (at[name] ??= step.endsWith('[]') ? [{}] : {});
    at = (Array.isArray(next) ? next[0] : next) as Record<string, unknown>;
    const enabled = CLASSIC_KEYS.find((k) => k.path === `${path.slice(0, path.indexOf(step) + step.length)}.enabled`);
    if (enabled !== undefined && enabled.path !== path) at['enabled'] = true;
  }
  at[last] = value;
  return config;
}

const shown = (path: string): string =>
  path.replace('upstream.*', 'upstream.pool').replace('listeners[]', 'listen').replaceAll('[]', '[0]');

const another = (key: ClassicKey): unknown => {
  if (key.type === 'bool') return key.fallback !== true;
  if (key.type === 'int') return typeof key.fallback === 'number' ? key.fallback + 1 : 1;
  if (key.type === 'text') return 'something else';
  return key.type === 'list' ? ['something else'] : { something: 'else' };
};

test('a small file has nothing wrong', async () => {
  expect(await read(base())).toEqual({ errors: [], warnings: [] });
});

describe('what is not honoured is refused by name, or at its default', () => {
  // Turning off what is on by default is always accepted: see below.
  const keys = CLASSIC_KEYS.filter((k) => k.state === 'default' && !(k.path.endsWith('.enabled') && k.fallback === true));

  test('there are such keys', () => {
    expect(keys.length).toBeGreaterThan(100);
  });

  test.each(keys.map((k) => [k.path, k] as const))('%s', async (path, key) => {
    const refused = await read(withKey(path, another(key)));
    expect(refused.errors.filter((e) => e.startsWith(`${shown(path)}: is not supported yet: remove it`))).toHaveLength(1);
    if (key.fallback === null) return;
    const accepted = await read(withKey(path, key.fallback));
    expect(accepted.errors.filter((e) => e.startsWith(`${shown(path)}:`))).toEqual([]);
  });
});

describe('what is honoured must be of its type', () => {
  test.each(
    CLASSIC_KEYS.filter((k) => k.state === 'yes' && !k.path.startsWith('listeners') && k.type !== 'map').map((k) => [k.path, k] as const),
  )('%s', async (path, key) => {
    const { errors } = await read(withKey(path, key.type === 'text' ? 5 : 'text'));
    expect(errors.some((e) => e.startsWith(`${shown(path)}: must be `))).toBe(true);
  });

  const numbers = CLASSIC_KEYS.filter(
    (k) => k.state === 'yes' && k.type === 'int' && !k.path.startsWith('listeners') && k.path !== 'version',
  );
  test.each(numbers.map((k) => k.path))('%s is told its range in its own unit', async (path) => {
    const told = async (n: number) =>
      (await read(withKey(path, n))).errors.flatMap((e) => (e.startsWith(`${shown(path)}: `) ? [e.slice(shown(path).length + 2)] : []));
    expect(await told(-1)).toEqual(['must be 0 or more, not -1']);
    const large = await told(1e15);
    expect(large).toHaveLength(1);
    for (const message of [...large, ...(await told(0))]) {
      const range =
        /^must be a whole number(?: of (?:milliseconds|bytes))?, (?:0 or )?([0-9]+) to ([0-9]+), not (?:0|1000000000000000)$/.exec(message);
      for (const bound of range?.slice(1) ?? [message])
        expect((await told(Number(bound))).filter((m) => m !== 'must be at most interval')).toEqual([]);
    }
  });

  test('unknown keys are errors at every depth', async () => {
    for (const path of [
      'lisen',
      'listen.prot',
      'listen.tls.certs',
      'upstream.*.rout',
      'upstream.*.backends[].adress',
      'performance.workers',
      'observability.metrics.adress',
      'resilience.protocol.x',
      '__proto__x',
    ]) {
      const { errors } = await read(withKey(path, 1));
      expect(errors.filter((e) => e.startsWith(`${shown(path)}: is unknown`))).toHaveLength(1);
    }
  });
});

test.each(CLASSIC_KEYS.filter((k) => k.state === 'default' && k.path.endsWith('.enabled') && k.fallback === true).map((k) => k.path))(
  '%s may be turned off',
  async (path) => {
    expect(await read(withKey(path, false))).toEqual({ errors: [], warnings: [] });
  },
);

test('defaults of ours are told as they are', () =>
  inFolder({ ...FILES, 'config.yaml': JSON.stringify(base()) }, async (dir) => {
    const { state } = await loadPaths(['config.yaml'], { cwd: dir });
    const specs: Record<string, unknown> = {
      Listener: state.set.listeners.get('default/listen')?.spec,
      Upstream: state.set.upstreams.get('default/pool')?.spec,
    };
    const told = CLASSIC_KEYS.filter((k) => k.path.startsWith('performance.') || k.path.startsWith('resilience.'));
    let compared = 0;
    for (const key of told) {
      const field = /^(Listener|Upstream) ([a-z]+)\.([A-Za-z]+)$/.exec(key.becomes);
      if (field === null) continue;
      const value = (specs[field[1] as string] as Record<string, Record<string, unknown>>)[field[2] as string]?.[field[3] as string];
      expect([key.path, String(value)]).toEqual([key.path, key.ours === '' ? String(key.fallback) : key.ours]);
      compared++;
    }
    expect(compared).toBeGreaterThan(10);
  }));

test('a feature that is off may hold anything known', async () => {
  const config = {
    ...base(),
    resilience: {
      hedging: { enabled: false, delay_ms: 7 },
      brownout: { enabled: false, core_routes: ['a'] },
      watchdog: { restart_command: ['x'] },
    },
  };
  expect((await read(config)).errors).toEqual([]);
  const typo = { ...base(), resilience: { hedging: { enabled: false, delay: 7 } } };
  expect((await read(typo)).errors).toEqual(['resilience.hedging.delay: is unknown (did you mean delay_ms?)']);
});

test('of a file that is wrong all through so much is told as anybody mends, soon', async () => {
  const pools = Array.from({ length: 5000 }, (_, i) => `  p${i}: {}\n`);
  const text = `version: 1\nlisten: {tls: {cert: c.pem, key: k.pem}}\nupstream:\n${pools.join('')}`;
  await inFolder({ ...FILES, 'config.yaml': text }, async (dir) => {
    const took = await costOf(async () => {
      const { state } = await loadPaths(['config.yaml'], { cwd: dir });
      expect(state.problems.filter((p) => p.severity === 'error')).toHaveLength(1000);
    });
    expect(took).toBeLessThan(2000);
  });
});

describe('files', () => {
  test('are tried relative to the working directory, then to the file', () =>
    inFolder(
      {
        'conf/config.yaml': JSON.stringify({ ...base(), upstream_tls: { ca_file: 'ca.pem' } }),
        'c.pem': 'cwd',
        'conf/c.pem': 'file',
        'conf/k.pem': 'k',
      },
      async (dir) => {
        const { state } = await loadPaths(['conf/config.yaml'], { cwd: dir });
        const files = state.set.listeners.get('default/listen')?.spec.tls.certificateRefs?.[0]?.files;
        expect(files).toEqual({ cert: join(dir, 'c.pem'), key: join(dir, 'conf/k.pem') });
        expect(state.problems).toEqual([]);
      },
    ));

  test('have a name: the working directory is no bundle of roots', async () => {
    const secure = { pool: { ...POOL, backends: [{ id: 'a', address: 'https://127.0.0.1:1' }] } };
    for (const [key, what] of [
      ['ca_file', 'a file'],
      ['ca_dir', 'a folder'],
      ['client_certificate', 'a file'],
      ['client_key', 'a file'],
    ] as const) {
      // prettier-ignore
      const both = key.startsWith('client') ? { client_certificate: 'c.pem', client_key: 'k.pem' } : {};
      const { errors } = await read({ ...base(), upstream: secure, upstream_tls: { ...both, [key]: '' } });
      expect(errors).toEqual([`upstream_tls.${key}: must be the path of ${what}, not empty`]);
    }
  });

  test('that exist nowhere are named with both places', () =>
    inFolder({ 'conf/config.yaml': JSON.stringify(base()) }, async (dir) => {
      const { state } = await loadPaths(['conf/config.yaml'], { cwd: dir });
      expect(state.problems[0]?.message).toBe(
        `names a file that does not exist: neither "${join(dir, 'c.pem')}" nor "${join(dir, 'conf/c.pem')}"`,
      );
    }));
});

describe('files that come and go', () => {
  const paths = (r: LoadResult) => ({
    errors: r.state.problems.map((p) => p.path),
    files: r.state.set.listeners.get('default/listen')?.spec.tls.certificateRefs?.[0]?.files,
  });

  test('are looked for again, though the configuration itself stays as it is', () =>
    inFolder({ 'conf/config.yaml': JSON.stringify(base()) }, async (dir) => {
      const cache = createLoadCache();
      const load = () => loadPaths(['conf/config.yaml'], { cwd: dir, cache });
      const place = (folder: string) => ['c.pem', 'k.pem'].forEach((name) => writeFileSync(join(dir, folder, name), name));
      const at = (folder: string) => ({ cert: join(dir, folder, 'c.pem'), key: join(dir, folder, 'k.pem') });
      const digests = new Set<string>();
      const found = async () => {
        const result = await load();
        digests.add(result.digest);
        return paths(result);
      };
      expect((await found()).errors).toEqual(['listen.tls.cert', 'listen.tls.key']);
      place('conf');
      expect(await found()).toEqual({ errors: [], files: at('conf') });
      place('.');
      expect(await found()).toEqual({ errors: [], files: at('.') });
      ['c.pem', 'k.pem'].forEach((name) => rmSync(join(dir, name)));
      expect(await found()).toEqual({ errors: [], files: at('conf') });
      expect(digests.size).toBe(3);
    }));

  test('are followed in both places', () =>
    inFolder({ 'conf/config.yaml': JSON.stringify(base()), 'conf/c.pem': 'c', 'conf/k.pem': 'k' }, async (dir) => {
      const { inputs } = await loadPaths(['conf/config.yaml'], { cwd: dir });
      expect([...inputs].flatMap(([path, i]) => (i.kind === 'missing' ? [path] : []))).toEqual([join(dir, 'c.pem'), join(dir, 'k.pem')]);
    }));
});

describe('server names', () => {
  const ca = makeCa('classic');
  const pem = (names: string[]) => makeLeaf(ca, { names });
  const files = (certs: Readonly<Record<string, string[]>>) => {
    const made: Record<string, Uint8Array> = {};
    for (const [name, names] of Object.entries(certs)) {
      made[`${name}.pem`] = pem(names).cert;
      made[`${name}-key.pem`] = pem(names).key;
    }
    return made;
  };
  const config = (first: string, ...certificates: [name: string, cert: string][]) => ({
    ...base(),
    listen: {
      tls: {
        cert: `${first}.pem`,
        key: `${first}-key.pem`,
        certificates: certificates.map(([server_name, cert]) => ({ server_name, cert: `${cert}.pem`, key: `${cert}-key.pem` })),
      },
    },
  });

  test('must be covered, by name or by a wildcard of one label', async () => {
    const made = files({ a: ['a.example.com'], wild: ['*.example.com'] });
    expect((await read(config('a', ['a.example.com', 'a'], ['b.example.com', 'wild']), made)).errors).toEqual([]);
    const { errors } = await read(config('a', ['b.c.example.com', 'wild'], ['example.com', 'wild']), made);
    expect(errors.map((e) => e.replace(/"\/[^"]*\//, '"'))).toEqual([
      'listen.tls.certificates[0].server_name: is not covered by "wild.pem", which is for *.example.com',
      'listen.tls.certificates[1].server_name: is not covered by "wild.pem", which is for *.example.com',
    ]);
  });

  test('must not be covered by another certificate as well', async () => {
    const made = files({ a: ['a.example.com'], both: ['a.example.com', 'b.example.com'], wild: ['*.example.com'] });
    // By name goes before by a wildcard.
    expect((await read(config('wild', ['a.example.com', 'a']), made)).errors).toEqual([]);
    const { errors } = await read(config('both', ['a.example.com', 'a']), made);
    expect(errors[0]).toMatch(
      /server_name: is covered by ".*both\.pem" as well: certificates are chosen by the names in them, so that only one may be for "a\.example\.com"$/,
    );
    const wild = await read(config('a', ['b.example.com', 'wild']), made);
    expect(wild.errors).toEqual([]);
  });
});

describe('precedence', () => {
  const route = fc.record({
    host: fc.constantFrom(null, 'a.x', '*.x', 'b.a.x', '*.a.x'),
    prefix: fc.constantFrom('', '/', '/a', '/a/', '/ab', '/a/b', '/b'),
    method: fc.constantFrom(null, 'GET', 'POST'),
  });
  const routes = fc
    .uniqueArray(route, { minLength: 1, maxLength: 6, selector: (r) => JSON.stringify(r) })
    .map((list): ClassicRoute[] => list.map((r, i) => ({ ...r, name: `p${i}` })));

  /** Ours, by the table that serves. */
  const now = (list: readonly ClassicRoute[], host: string, path: string, method: string): string | null => {
    const byHost = new Map<string, HostPart['routes'][number][]>();
    for (const r of list) {
      const part = {
        upstream: { namespace: 'default', name: r.name },
        hostname: r.host ?? '*',
        matchIndex: 0,
        created: 0,
        match: {
          path: r.prefix === '' ? null : ({ type: 'Prefix', value: r.prefix } as const),
          methods: r.method === null ? [] : [r.method],
          headers: [],
          query: [],
        },
        target: '' as PartHash,
      };
      byHost.set(r.host ?? '*', [...(byHost.get(r.host ?? '*') ?? []), part]);
    }
    const hosts = [...byHost].map(([hostname, list]): HostPart => ({ kind: 'host', hostname, routes: list }));
    return buildTable(hosts, (r) => r.upstream.name).match(host === '' ? 'other.example' : host, path, '', method, [], []);
  };

  test('each warning tells the truth about who serves now', () => {
    fc.assert(
      fc.property(routes, (list) => {
        for (const d of routeDifferences(list)) {
          expect(d.before).not.toBe(d.now);
          expect([d.path, now(list, d.host, d.path, d.method)]).toEqual([d.path, d.now.name]);
        }
      }),
      { numRuns: 1000 },
    );
  });

  /** Theirs, as it was written down: longest path as text, then hosts, then methods, then names. */
  const then = (list: readonly ClassicRoute[], host: string, path: string, method: string): string | null => {
    const rank = ({ host: h, prefix, method: m, name }: ClassicRoute): [number, number, number, number, string] => [
      -prefix.length,
      h === null ? 2 : h.startsWith('*.') ? 1 : 0,
      h?.startsWith('*.') === true ? -h.length : 0,
      m === null ? 1 : 0,
      name,
    ];
    const serves = (r: ClassicRoute): boolean =>
      path.startsWith(r.prefix) &&
      (r.method === null || r.method === method) &&
      (r.host === null || r.host === host || (r.host.startsWith('*.') && host.endsWith(r.host.slice(1))));
    const serving = list.filter(serves).map((r) => [rank(r), r.name] as const);
    serving.sort(([a], [b]) => {
      const i = a.findIndex((x, j) => x !== b[j]);
      return i < 0 ? 0 : (a[i] as number) < (b[i] as number) ? -1 : 1;
    });
    return serving[0]?.[1] ?? null;
  };

  test('each pair of routes is warned about of which one serves now what the other served', () => {
    const hosts = ['', 'a.x', 'c.x', 'b.a.x', 'c.a.x'];
    const paths = ['/', '/a', '/a/', '/a/c', '/ac', '/ab', '/ab/', '/abc', '/a/b', '/a/b/c', '/a/bc', '/b', '/b/c', '/bc', '/c'];
    fc.assert(
      fc.property(routes, (list) => {
        const warned = new Set(routeDifferences(list).map((d) => `${d.before.name} ${d.now.name}`));
        for (const host of hosts)
          for (const path of paths)
            for (const method of ['GET', 'POST', 'PUT']) {
              const [before, after] = [then(list, host, path, method), now(list, host, path, method)];
              if (before === null || after === null || before === after) continue;
              expect([host, path, method, warned.has(`${before} ${after}`)]).toEqual([host, path, method, true]);
            }
      }),
      { numRuns: 300 },
    );
  });

  test('hosts come first, and prefixes end with a segment', () => {
    const site: ClassicRoute = { name: 'site', host: 'a.x', prefix: '/', method: null };
    const api: ClassicRoute = { name: 'api', host: null, prefix: '/api', method: null };
    const rest: ClassicRoute = { name: 'rest', host: null, prefix: '/', method: null };
    expect(routeDifferences([site, api])).toEqual([{ before: api, now: site, host: 'a.x', path: '/api', method: 'GET' }]);
    expect(routeDifferences([rest, api])).toEqual([{ before: api, now: rest, host: '', path: '/apix', method: 'GET' }]);
    expect(routeDifferences([site, rest])).toEqual([]);
    const slash = { ...api, prefix: '/api/' };
    expect(routeDifferences([slash, rest])).toEqual([{ before: rest, now: slash, host: '', path: '/api', method: 'GET' }]);
  });

  test('two thousand routes are compared in good time', () => {
    const many = Array.from({ length: 2000 }, (_, i): ClassicRoute => ({
      name: `p${i}`,
      host: i % 3 === 0 ? null : `h${i % 50}.x`,
      prefix: `/a${i % 40}`,
      method: null,
    }));
    expect(cost(() => expect(routeDifferences(many).length).toBeLessThanOrEqual(1000))).toBeLessThan(5000);
  });

  test('ten thousand routes that do not meet are compared at once', () => {
    const lists = [
      (i: number) => ({ host: `h${i}.x`, prefix: '/' }),
      (i: number) => ({ host: i % 2 === 0 ? null : 'a.x', prefix: `/a${i}` }),
    ];
    for (const one of lists) {
      const many = Array.from({ length: 10_000 }, (_, i): ClassicRoute => ({ ...one(i), name: `p${i}`, method: null }));
      expect(cost(() => routeDifferences(many))).toBeLessThan(1500);
    }
  });
});
