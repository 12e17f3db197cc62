/** Who may import whom: the table of docs/develop/architecture.md, kept true by reading import lines. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from '@jest/globals';

const ROOT = resolve(import.meta.dirname, '..');
const SRC = join(ROOT, 'src');

interface Import {
  readonly from: string;
  /** A path below src, or the name of a package. */
  readonly to: string;
  readonly types: boolean;
}

interface Rule {
  /** Files whose path below src begins so; the first rule that fits holds. */
  readonly folder: string;
  /** What they may import beside lib and their own folder. */
  readonly may: readonly string[];
  /** The same, but only as types. */
  readonly asTypes?: readonly string[];
  readonly why: string;
}

const RULES: readonly Rule[] = [
  { folder: 'main.ts', may: [''], why: 'wiring' },
  { folder: 'worker.ts', may: [''], why: 'wiring' },
  { folder: 'cli/', may: [''], why: 'wiring' },
  { folder: 'settings.ts', may: ['contract/'], why: 'settings are read before there is either half' },
  { folder: 'contract/', may: ['contract/'], why: 'the contract knows neither half' },
  { folder: 'control/compile/', may: ['contract/'], why: 'compile is pure: no clock, log, source or worker' },
  {
    folder: 'control/health/',
    may: ['contract/', 'edge/http/h2/', 'edge/http/fields.ts'],
    asTypes: ['control/endpoints.ts', 'edge/http/message.ts'],
    why: 'checks share the HTTP/2 client with the pools, nothing else of the data plane',
  },
  { folder: 'control/', may: ['contract/', 'control/', 'settings.ts'], why: 'the control plane reaches workers by messages alone' },
  {
    folder: 'edge/proxy/',
    // The seam, and what is the same above every engine.
    may: [
      'contract/',
      'edge/http/',
      'edge/backends/',
      'edge/filters/',
      'edge/quic/engine.ts',
      'edge/quic/address.ts',
      'edge/quic/keys.ts',
      'edge/quic/sni.ts',
    ],
    why: 'the proxy does not know which engine runs',
  },
  { folder: 'edge/backends/', may: ['contract/', 'edge/http/'], why: 'backends know neither clients nor routes' },
  { folder: 'edge/filters/', may: ['contract/', 'edge/http/'], why: 'filters know messages, not connections' },
  {
    folder: 'edge/http/',
    may: [],
    asTypes: ['contract/reasons.ts', 'edge/quic/engine.ts'],
    why: 'codecs and sessions know no configuration',
  },
  {
    folder: 'edge/quic/native/',
    may: [
      'contract/tls.ts',
      'edge/quic/address.ts',
      'edge/quic/cid.ts',
      'edge/quic/codes.ts',
      'edge/quic/engine.ts',
      'edge/quic/entry.ts',
      'edge/quic/failure.ts',
      'edge/quic/options.ts',
      'edge/quic/report.ts',
    ],
    why: 'the native engine works where no other one is installed',
  },
  { folder: 'edge/quic/', may: ['contract/cells.ts', 'contract/reasons.ts', 'contract/tls.ts'], why: 'an engine knows no HTTP' },
  { folder: 'lib/', may: [], why: 'lib is below everything' },
];

/** One fence per dependency. */
const PACKAGES: ReadonlyMap<string, readonly string[]> = new Map([
  ['@matrixai/quic', ['edge/quic/matrixai/']],
  ['@kubernetes/client-node', ['control/sources/kubernetes/']],
  ['yaml', ['control/sources/', 'cli/']],
  ['zod', ['contract/resources/', 'settings.ts', 'control/sources/classic', 'control/admin/']],
  ['prom-client', ['control/admin/']],
  ['pino', ['lib/log.ts']],
  ['re2js', ['contract/routes/']],
]);

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => name.replaceAll('\\', '/'))
    .sort();
}

/** `import ... from 'x'`, `export ... from 'x'`, `import 'x'` and `import('x')`. */
const IMPORT =
  /^\s*(import|export)\s+(type\s)?[^'"`;]*?from\s+['"]([^'"]+)['"]|^\s*import\s+['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

export function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  for (const [, , type, from, bare, dynamic] of text.matchAll(IMPORT)) {
    const target = (from ?? bare ?? dynamic) as string;
    if (target.startsWith('node:')) continue;
    const to = target.startsWith('.') ? relative(SRC, resolve(SRC, dirname(file), target)).replaceAll('\\', '/') : target;
    found.push({ from: file, to, types: type !== undefined });
  }
  return found;
}

const isPackage = (to: string): boolean => !to.endsWith('.ts') && !to.startsWith('..');
const packageName = (to: string): string =>
  to
    .split('/')
    .slice(0, to.startsWith('@') ? 2 : 1)
    .join('/');

/** What is wrong with an import, or null. */
export function judge({ from, to, types }: Import): string | null {
  if (isPackage(to)) {
    const fence = PACKAGES.get(packageName(to));
    if (fence === undefined) return `${from} imports ${to}: a new dependency needs a fence here`;
    return fence.some((place) => from.startsWith(place)) ? null : `${from} imports ${to}: only ${fence.join(', ')} may`;
  }
  if (to.startsWith('..')) return `${from} imports ${to}: outside of src`;
  const rule = RULES.find((r) => from.startsWith(r.folder));
  if (rule === undefined) return `${from}: no rule says what it may import`;
  if (to.startsWith('lib/') || to.startsWith(rule.folder) || rule.may.some((place) => to.startsWith(place))) return null;
  if (types && (rule.asTypes ?? []).some((place) => to.startsWith(place))) return null;
  return `${from} imports ${to}${types ? ' (types)' : ''}: ${rule.why}`;
}

test('every import keeps to the table', () => {
  const files = sources(SRC);
  expect(files.length).toBeGreaterThan(100);
  const all = files.flatMap((file) => importsOf(file, readFileSync(join(SRC, file), 'utf8')));
  expect(all.length).toBeGreaterThan(files.length);
  expect(all.map(judge).filter((fault) => fault !== null)).toEqual([]);
});

test('every dependency has its fence, and every fence a dependency', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
  const fenced = [...PACKAGES.keys()].filter((name) => name !== '@kubernetes/client-node');
  expect(
    Object.keys(manifest.dependencies)
      .filter((name) => name !== '@kubernetes/client-node')
      .sort(),
  ).toEqual(fenced.sort());
});

test('native code is loaded in one place', () => {
  const loaders = sources(SRC).filter((file) => /createRequire|process\.dlopen/.test(readFileSync(join(SRC, file), 'utf8')));
  expect(loaders).toEqual(['edge/quic/native/binding.ts']);
});

test('import lines are read in all of their forms', () => {
  const text = [
    "import { a } from '../lib/a.ts';",
    "import type { B } from './b.ts';",
    'import {',
    '  c,',
    "} from '../contract/c.ts';",
    "export * from './d.ts';",
    "export type * from './e.ts';",
    "import 'side';",
    "const f = await import('./f.ts');",
    "import quiche from '@matrixai/quic/native/quiche.js';",
    "import { g } from 'node:g';",
    "const text = 'an import of mine';",
  ].join('\n');
  expect(importsOf('edge/x.ts', text).map((i) => `${i.to}${i.types ? ' types' : ''}`)).toEqual([
    'lib/a.ts',
    'edge/b.ts types',
    'contract/c.ts',
    'edge/d.ts',
    'edge/e.ts types',
    'side',
    'edge/f.ts',
    '@matrixai/quic/native/quiche.js',
  ]);
});

test.each([
  ['contract/routes/table.ts', 'edge/proxy/edge.ts', false],
  ['control/compile/index.ts', 'control/loop.ts', false],
  ['control/loop.ts', 'edge/proxy/edge.ts', false],
  ['edge/proxy/edge.ts', 'edge/quic/matrixai/endpoint.ts', false],
  ['edge/proxy/edge.ts', 'edge/quic/choose.ts', false],
  ['edge/http/h3/server.ts', 'edge/quic/engine.ts', false],
  ['edge/proxy/edge.ts', 'control/loop.ts', true],
  ['edge/http/h2/session.ts', 'edge/backends/pool.ts', false],
  ['edge/quic/cid.ts', 'edge/http/message.ts', true],
  ['lib/log.ts', 'contract/cells.ts', true],
  ['control/compile/index.ts', 're2js', false],
  ['edge/quic/cid.ts', '@matrixai/quic/native/quiche.js', false],
  ['edge/quic/native/link.ts', 'edge/quic/matrixai/token.ts', false],
  ['edge/proxy/edge.ts', 'edge/quic/native/engine.ts', false],
  ['edge/proxy/edge.ts', 'leftpad', false],
  ['cli/explain.ts', '../test/kit/documents.ts', false],
])('a breach is seen: %s -> %s', (from, to, types) => {
  expect(judge({ from, to, types })).not.toBeNull();
});
