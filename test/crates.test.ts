/** The page of the native engine's crates is that of its lock file; their days come from the page, or from cargo's index. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { cratesOf, daysOf, dependenciesPage } from '../scripts/crates.ts';
import { temporaryFolder } from './kit/spooky.ts';

const ROOT = resolve(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const sum = (digit: string): string => digit.repeat(64);
const LOCK = `version = 4

[[package]]
name = "quiche"
version = "0.30.0"
dependencies = [
 "cc",
]

[[package]]
name = "cc"
version = "1.11.1"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "${sum('b')}"

[[package]]
name = "spooky-quic"
version = "0.1.0"
`;
const PATCHED = `${sum('a')}  quiche-0.30.0.crate\n`;

let home: string;
const before = process.env['CARGO_HOME'];
beforeEach(() => {
  home = temporaryFolder('spooky-cargo');
  process.env['CARGO_HOME'] = home;
});
afterEach(() => {
  if (before === undefined) delete process.env['CARGO_HOME'];
  else process.env['CARGO_HOME'] = before;
});

/** cargo's cache of a crate: some bytes, then version and line of JSON, each closed by a zero. */
function index(path: string, entries: readonly (readonly [version: string, json: string])[]): void {
  const file = join(home, 'registry', 'index', 'index.crates.io-1', '.cache', path);
  mkdirSync(resolve(file, '..'), { recursive: true });
  writeFileSync(file, `\u0003\u0002etag\0${entries.map((e) => e.join('\0')).join('\0')}\0`, 'latin1');
}

test('crates of a lock file: those of the registry, and what is patched', () => {
  expect(cratesOf(LOCK, PATCHED)).toEqual([
    { name: 'cc', version: '1.11.1', checksum: sum('b') },
    { name: 'quiche', version: '0.30.0', checksum: sum('a') },
  ]);
});

test('days come from the page first, then from the index of cargo, and only for the very same file', () => {
  expect(() => dependenciesPage(LOCK, PATCHED, new Map())).toThrow('cc 1.11.1: its day is not known');
  index('qu/ic/quiche', [
    ['0.29.0', `{"cksum":"${sum('c')}","pubtime":"2026-07-01T00:00:00Z"}`],
    ['0.30.0', `{"cksum":"${sum('a')}","pubtime":"2026-09-17T16:14:41Z"}`],
  ]);
  index('2/cc', [['1.11.1', `{"cksum":"${sum('d')}","pubtime":"2026-08-08T00:00:00Z"}`]]);
  expect(() => dependenciesPage(LOCK, PATCHED, new Map())).toThrow('cc 1.11.1: its day is not known');
  const page = dependenciesPage(LOCK, PATCHED, new Map([['cc 1.11.1', '2026-10-10']]));
  expect([...daysOf(page)]).toEqual([
    ['cc 1.11.1', '2026-10-10'],
    ['quiche 0.30.0', '2026-09-17'],
  ]);
});

test('the page that is there has every crate of the lock file, and no other', () => {
  expect(existsSync(join(ROOT, 'native/Cargo.lock'))).toBe(true);
  const page = read('docs/security/dependencies.md');
  const patched = read('native/patches/quiche-0.30.0.sha256');
  expect(dependenciesPage(read('native/Cargo.lock'), patched, daysOf(page))).toBe(page);
  expect(cratesOf('', patched).map((c) => c.name)).toEqual(['quiche']);
  expect(cratesOf(read('native/Cargo.lock')).length).toBeGreaterThan(40);
});
