// Writes what schemas, flags and tables generate; with --check, compares instead and fails when a file is stale.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generateAll } from '../src/cli/generate/index.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const check = process.argv.includes('--check');
let stale = 0;

const read = (path: string): string | null => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
};

for (const [name, content] of generateAll()) {
  const path = resolve(root, name);
  if (read(path) === content) continue;
  stale++;
  if (check) {
    process.stderr.write(`${name} is stale: run make generate\n`);
    continue;
  }
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
  process.stdout.write(`wrote ${name}\n`);
}
if (check && stale > 0) process.exitCode = 1;
