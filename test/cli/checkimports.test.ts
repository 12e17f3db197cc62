/** Commands that can do without a cluster load nothing that speaks to one. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from '@jest/globals';

const SRC = resolve(import.meta.dirname, '../../src');
const STATIC = /^\s*(?:import|export)\s+(?!type\s)[^'"`;]*?from\s+['"](\.[^'"]+)['"]|^\s*import\s+['"](\.[^'"]+)['"]/gm;

/** What comes with a file, without what it imports when it is needed. */
function reach(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const [, from, bare] of readFileSync(file, 'utf8').matchAll(STATIC)) {
    const next = resolve(dirname(file), (from ?? bare) as string);
    if (existsSync(next)) reach(next, seen);
  }
  return seen;
}

test.each(['check', 'explain', 'probe'])('%s', (command) => {
  const files = [...reach(join(SRC, 'cli', `${command}.ts`))].map((file) => relative(SRC, file).replaceAll('\\', '/'));
  expect(files.length).toBeGreaterThan(10);
  expect(files.filter((file) => file.startsWith('control/sources/kubernetes/') || /^cli\/\w+\/cluster\.ts$/.test(file))).toEqual([]);
});

test('and with a cluster they do', () => {
  for (const command of ['check', 'explain', 'probe'])
    expect([...reach(join(SRC, 'cli', command, 'cluster.ts'))].some((file) => file.includes('/control/sources/kubernetes/'))).toBe(true);
});
