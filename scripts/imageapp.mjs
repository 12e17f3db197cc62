/** What runs, out of a checkout: scripts/imageapp.mjs FOLDER. Plain JavaScript, since a stage of the Dockerfile has nothing that compiles. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const to = process.argv[2];
if (to === undefined) {
  process.stderr.write('usage: scripts/imageapp.mjs FOLDER\n');
  process.exit(2);
}

/** Types, maps, documents and sources are for people who build; licences stay. Prebuilt binaries for other programs and systems are for nobody here. */
const UNUSED = /(\.d\.[cm]?ts|\.ts|\.map|\.md|\.markdown|\.flow|\.tsbuildinfo)$/i;
const UNUSED_FOLDERS = new Set(['test', 'tests', '__tests__', 'example', 'examples', 'docs', '.github', 'prebuilds', 'coverage']);

/** The packages that an installation without development has, without the pinned Node: the image has it once. */
const packages = () => {
  const { packages: all } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
  return Object.entries(all)
    .filter(([path, facts]) => path !== '' && facts.dev !== true && !/\/(node-linux-|@types\/|bare-)/.test(path) && existsSync(path))
    .map(([path]) => path);
};

const prune = (folder) => {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (UNUSED_FOLDERS.has(entry.name)) rmSync(path, { recursive: true });
      else prune(path);
    } else if (UNUSED.test(entry.name)) rmSync(path);
  }
};

mkdirSync(to, { recursive: true });
for (const path of packages()) {
  // Packages inside of packages are in the list themselves.
  const nested = join(path, 'node_modules');
  cpSync(path, join(to, path), { recursive: true, filter: (source) => source !== nested && !source.startsWith(`${nested}/`) });
}
prune(join(to, 'node_modules'));
cpSync('dist', join(to, 'dist'), { recursive: true, filter: (source) => !UNUSED.test(source) });
for (const name of ['package.json', 'LICENSE']) cpSync(name, join(to, name));
mkdirSync(join(to, 'native'));
cpSync('native/spooky-quic.node', join(to, 'native/spooky-quic.node'));

const launcher = join(dirname(dirname(to)), 'usr/local/bin/spooky');
mkdirSync(dirname(launcher), { recursive: true });
// As bin/spooky does; the kernel hands over one argument only, so that warnings are turned off by hand.
const text = `#!/usr/local/bin/node --max-semi-space-size=8\nprocess.removeAllListeners('warning');\nimport('/opt/spooky/dist/main.js');\n`;
writeFileSync(launcher, text, { mode: 0o755 });
