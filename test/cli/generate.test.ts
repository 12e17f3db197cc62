import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { crds } from '../../src/cli/crds.ts';
import { crdFiles, crdText } from '../../src/cli/generate/crds.ts';
import { generateAll } from '../../src/cli/generate/index.ts';
import { CLASSIC_KEYS } from '../../src/control/sources/classickeys.ts';

type Node = { readonly [key: string]: unknown };

const documents = [...crdFiles().values()].map((text) => parse(text) as Node);
const at = (value: unknown, ...steps: (string | number)[]): unknown => steps.reduce<unknown>((v, s) => (v as Node | undefined)?.[s], value);
const schema = (kind: string): unknown =>
  at(
    documents.find((d) => at(d, 'spec', 'names', 'kind') === kind),
    'spec',
    'versions',
    0,
    'schema',
    'openAPIV3Schema',
  );
const field = (kind: string, ...names: string[]): Node =>
  at(schema(kind), 'properties', 'spec', ...names.flatMap((n) => (n === '[]' ? ['items'] : ['properties', n]))) as Node;

/** Every schema in a schema, with its path. */
function* nodes(node: Node, path: string): Generator<[string, Node]> {
  yield [path, node];
  for (const [name, inner] of Object.entries((node['properties'] ?? {}) as Node)) yield* nodes(inner as Node, `${path}.${name}`);
  if (node['items'] !== undefined) yield* nodes(node['items'] as Node, `${path}[]`);
  if (node['additionalProperties'] !== undefined) yield* nodes(node['additionalProperties'] as Node, `${path}.*`);
}

const all = documents.flatMap((d) => [
  ...nodes(at(d, 'spec', 'versions', 0, 'schema', 'openAPIV3Schema') as Node, String(at(d, 'spec', 'names', 'kind'))),
]);
const rules = all.flatMap(([path, node]) =>
  ((node['x-kubernetes-validations'] ?? []) as { rule: string; message: string }[]).map((r) => ({ path, ...r })),
);

describe('CRDs', () => {
  test('names, short names, category, subresource', () => {
    expect(
      documents.map((d) => [
        at(d, 'metadata', 'name'),
        at(d, 'spec', 'names', 'shortNames'),
        at(d, 'spec', 'names', 'categories'),
        at(d, 'spec', 'scope'),
        at(d, 'spec', 'versions', 0, 'subresources'),
      ]),
    ).toEqual([
      ['listeners.spooky.dev', ['lsn'], ['spooky'], 'Namespaced', { status: {} }],
      ['upstreams.spooky.dev', ['ups'], ['spooky'], 'Namespaced', { status: {} }],
    ]);
  });

  test('structural: every node has a type, or is an int or string; nothing that a server refuses', () => {
    for (const [path, node] of all) {
      const typed = node['type'] !== undefined || node['x-kubernetes-int-or-string'] === true;
      expect([path, typed]).toEqual([path, true]);
      for (const word of ['$ref', '$schema', 'anyOf', 'oneOf', 'allOf', 'examples', 'readOnly', 'uniqueItems', 'nullable', 'const'])
        expect([path, word in node]).toEqual([path, false]);
      // A rule has a message, a pattern has none: only where no rule can be afforded.
      if ('pattern' in node) expect([path, node['x-kubernetes-int-or-string'], typeof node['maxLength']]).toEqual([path, true, 'number']);
      if (node['properties'] !== undefined) expect([path, node['additionalProperties']]).toEqual([path, undefined]);
    }
  });

  test('everything is bounded, so that rules can be afforded', () => {
    for (const [path, node] of all) {
      if (node['type'] === 'array')
        expect([path, typeof node['maxItems'], typeof node['x-kubernetes-list-type']]).toEqual([path, 'number', 'string']);
      if (node['additionalProperties'] !== undefined) expect([path, typeof node['maxProperties']]).toEqual([path, 'number']);
      const free = path.endsWith('.apiVersion') || path.endsWith('r.kind') || path.endsWith('m.kind') || node['enum'] !== undefined;
      if (node['type'] === 'string' && !free) expect([path, typeof node['maxLength']]).toEqual([path, 'number']);
    }
  });

  test('no rule reads a number or text within a list: no server before 1.34 could afford it', () => {
    const within = all.filter(([path, node]) => path.includes('[]') && node['x-kubernetes-int-or-string'] === true);
    expect(within.map(([path]) => path)).toContain('Upstream.spec.backends[].service.port');
    for (const [path, node] of within) expect([path, node['x-kubernetes-validations']]).toEqual([path, undefined]);
  });

  test('keys of list-maps are required or have a default', () => {
    const maps = all.filter(([, node]) => node['x-kubernetes-list-type'] === 'map');
    expect(maps.length).toBeGreaterThan(5);
    for (const [path, node] of maps)
      for (const key of node['x-kubernetes-list-map-keys'] as string[]) {
        const known =
          ((at(node, 'items', 'required') ?? []) as string[]).includes(key) ||
          at(node, 'items', 'properties', key, 'default') !== undefined;
        expect([path, key, known]).toEqual([path, key, true]);
      }
  });

  test('rules have messages, and expressions that Go understands', () => {
    expect(rules.length).toBeGreaterThan(50);
    for (const r of rules) {
      expect([r.path, r.message.length > 0 && r.message.length <= 2048 && !r.message.includes('\n')]).toEqual([r.path, true]);
      expect([r.path, /\(\?[=!<]/.test(r.rule)]).toEqual([r.path, false]);
      expect([r.path, balanced(r.rule)]).toEqual([r.path, true]);
    }
  });

  test('what restricts access is refused, not dropped', () => {
    const refused = rules.filter((r) => r.rule === 'false').map((r) => `${r.path}: ${r.message}`);
    expect(refused.sort()).toEqual([
      'Listener.spec.tls.clientAuth: clientAuth is not supported yet',
      'Upstream.spec.auth: auth is not supported yet',
      'Upstream.spec.cors: cors is not supported yet',
      'Upstream.spec.ipAccess: ipAccess is not supported yet',
      'Upstream.spec.rateLimits: rateLimits is not supported yet',
    ]);
    expect(field('Upstream', 'retry')).toBeUndefined();
  });

  test('what is for files is left out, and names are required instead', () => {
    expect(all.filter(([path]) => path.endsWith('.files'))).toEqual([]);
    expect(field('Listener', 'tls', 'certificateRefs', '[]')['required']).toEqual(['name']);
    expect(field('Upstream', 'tls', 'caRef')['required']).toEqual(['name']);
    expect(field('Upstream', 'listeners', '[]')['required']).toEqual(['name', 'namespace']);
    expect(field('Listener', 'port')['minimum']).toBe(1);
  });

  test('defaults, also of objects whose members have them', () => {
    expect(field('Listener', 'limits', 'headerBytes')).toMatchObject({ default: '64Ki', 'x-kubernetes-int-or-string': true });
    expect(field('Listener', 'limits')['default']).toEqual({});
    expect(field('Listener', 'allowedNamespaces')['default']).toEqual({ from: 'Same' });
    expect(field('Upstream', 'loadBalancing')['default']).toEqual({ type: 'RoundRobin' });
    expect(field('Listener', 'quic')['default']).toMatchObject({ idleTimeout: '30s', keepAlive: 'Auto' });
    expect(field('Upstream', 'backends')).toMatchObject({
      minItems: 1,
      maxItems: 16,
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['name'],
    });
  });

  test('descriptions say default, range and format', () => {
    expect(field('Listener', 'quic', 'idleTimeout')['description']).toBe(
      'How long a connection may be silent. Default: 30s. Range: 1s to 1h. Format: duration.',
    );
  });

  test('what a default lets through, its own rules let through', () => {
    for (const [path, node] of all) {
      const {
        default: fallback,
        enum: words,
        minimum,
        maximum,
      } = node as { default?: unknown; enum?: unknown[]; minimum?: number; maximum?: number };
      if (words !== undefined && fallback !== undefined) expect([path, words.includes(fallback)]).toEqual([path, true]);
      if (typeof fallback === 'number' && minimum !== undefined)
        expect([path, fallback >= minimum && fallback <= (maximum ?? Infinity)]).toEqual([path, true]);
    }
  });

  test('small enough for any client', () => {
    for (const text of crdFiles().values()) expect(text.length).toBeLessThan(250_000);
  });
});

/** Brackets outside of quotes. */
function balanced(cel: string): boolean {
  let depth = 0;
  for (const c of cel.replaceAll(/'(?:\\.|[^'\\])*'/g, '').replaceAll('"', '')) {
    if ('([{'.includes(c)) depth++;
    if (')]}'.includes(c)) depth--;
    if (depth < 0) return false;
  }
  return depth === 0;
}

test('spooky crds prints them all', async () => {
  let printed = '';
  const io = { stdout: (s: string) => void (printed += s), stderr: () => {}, env: {}, cwd: '/' };
  expect(await crds.run([], io)).toBe(0);
  expect(printed).toBe(crdText());
  expect(printed.split('\n---\n').length + (printed.startsWith('---\n') ? 0 : 1)).toBe(documents.length);
  expect(await crds.run(['x'], io)).toBe(2);
});

test('the pages name every field and key, and nothing twice', () => {
  const files = generateAll();
  const page = files.get('docs/reference/resources.md') ?? '';
  for (const name of [
    'limits.requestsPerConnection',
    'backends[].addresses[].weight',
    'loadBalancing.consistentHash.key.header.name',
    '--udp-receive-buffer',
  ])
    expect(page).toContain(`\`${name}\``);
  const classic = files.get('docs/reference/classic.md') ?? '';
  for (const key of CLASSIC_KEYS) expect([key.path, classic.split(`| \`${key.path}\` |`).length]).toEqual([key.path, 2]);
});
