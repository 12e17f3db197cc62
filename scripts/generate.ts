/** `make generate` writes every generated file; with --check nothing is written, and one that is stale fails. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadCommands } from '../src/cli/commands.ts';
import { commandLinePage } from '../src/cli/generate/commandline.ts';
import { generateAll } from '../src/cli/generate/index.ts';
import { metricsPage, reasonsPage } from '../src/cli/generate/metrics.ts';
import { withTable } from '../test/bench/proxy/publish/page.ts';
import type { Summary } from '../test/bench/proxy/publish/summary.ts';
import { daysOf, dependenciesPage } from './crates.ts';
import { findHelm, installManifest } from './helm.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const check = process.argv.includes('--check');

const files = generateAll();
files.set('docs/reference/command-line.md', commandLinePage(await loadCommands()));
files.set('docs/reference/metrics.md', metricsPage());
files.set('docs/reference/reasons.md', reasonsPage());

const DEPENDENCIES = 'docs/security/dependencies.md';
const text = (path: string): string => (existsSync(join(ROOT, path)) ? readFileSync(join(ROOT, path), 'utf8') : '');
files.set(
  DEPENDENCIES,
  dependenciesPage(text('native/Cargo.lock'), text('native/patches/quiche-0.30.0.sha256'), daysOf(text(DEPENDENCIES))),
);

const SUMMARY = 'test/bench/summary.json';
const README = 'README.md';
if (text(SUMMARY) !== '') {
  const page = withTable(text(README), JSON.parse(text(SUMMARY)) as Summary);
  if (page === null) throw new Error(`${README} has no place for the table of the benchmark`);
  files.set(README, page);
}

let stale = 0;
const settle = (path: string, content: string): void => {
  const full = join(ROOT, path);
  if (existsSync(full) && readFileSync(full, 'utf8') === content) return;
  stale++;
  if (!check) {
    mkdirSync(dirname(full), { recursive: true });
    writeFileSync(full, content);
  }
  process.stdout.write(`${check ? 'stale' : 'written'}: ${path}\n`);
};
for (const [path, content] of files) settle(path, content);

// The last one: helm renders it from those above.
const INSTALL = 'manifests/install.yaml';
const helm = findHelm();
if (helm === null) process.stdout.write(`NOT CHECKED: ${INSTALL}, for want of helm (on the PATH, or test/cluster/build)\n`);
else settle(INSTALL, installManifest(helm, ROOT));

if (check && stale > 0) {
  process.stdout.write('run `make generate` and commit the result\n');
  process.exit(1);
}
process.stdout.write(`${files.size + (helm === null ? 0 : 1)} generated files, ${stale} ${check ? 'stale' : 'written'}\n`);
