/** Golden files: what is expected stands beside what is read, and is written anew with SPOOKY_GOLDEN=update (make golden). */
import { expect } from '@jest/globals';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const GOLDEN = resolve(dirname(fileURLToPath(import.meta.url)), '../golden');

export const goldenCases = (folder: string): string[] =>
  readdirSync(join(GOLDEN, folder), { withFileTypes: true })
    .filter((e) => e.isDirectory())
    .map((e) => e.name)
    .sort();

/** Compares with the file, or writes it. A file that is missing fails: nothing may pass for want of an expectation. */
export function expectGolden(path: string, actual: string): void {
  const file = join(GOLDEN, path);
  if (process.env['SPOOKY_GOLDEN'] === 'update') {
    writeFileSync(file, actual);
    return;
  }
  expect(actual).toBe(readFileSync(file, 'utf8'));
}
