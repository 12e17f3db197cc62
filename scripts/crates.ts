/** docs/security/dependencies.md: the crates of the native engine as Cargo.lock pins them, with the days on which they were published. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface Crate {
  readonly name: string;
  readonly version: string;
  readonly checksum: string;
}

const PACKAGE = /^\[\[package\]\]\nname = "([^"]+)"\nversion = "([^"]+)"\nsource = "[^"]+"\nchecksum = "([0-9a-f]{64})"$/gm;
/** A crate that we patch has no source in the lock: the patch's own file pins what it is applied to. */
const PATCHED = /^([0-9a-f]{64}) +([\w-]+)-(\d[^ ]*)\.crate$/gm;
const ROW = /^\| ([\w-]+) \| (\S+) \| (\d{4}-\d\d-\d\d) \| `[0-9a-f]+` \|$/gm;

/** The crates of a lock file, and those of `patched`: lines as sha256sum writes them. */
export const cratesOf = (lock: string, patched = ''): readonly Crate[] =>
  [
    ...[...lock.matchAll(PACKAGE)].map(([, name = '', version = '', checksum = '']) => ({ name, version, checksum })),
    ...[...patched.matchAll(PATCHED)].map(([, checksum = '', name = '', version = '']) => ({ name, version, checksum })),
  ].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));

const key = (c: { readonly name: string; readonly version: string }): string => `${c.name} ${c.version}`;

/** What a page says already: a version's day does not change, so that a machine without cargo can check the page. */
export const daysOf = (page: string): ReadonlyMap<string, string> =>
  new Map([...page.matchAll(ROW)].map(([, name = '', version = '', day = '']) => [key({ name, version }), day]));

/** The folder of a crate in an index: https://doc.rust-lang.org/cargo/reference/registry-index.html */
const folderOf = (name: string): string => {
  const n = name.toLowerCase();
  return n.length < 3 ? String(n.length) : n.length === 3 ? `3/${n.slice(0, 1)}` : `${n.slice(0, 2)}/${n.slice(2, 4)}`;
};

/** From cargo's own copy of its index, where there is one. */
function published(crate: Crate): string | undefined {
  const root = join(process.env['CARGO_HOME'] ?? join(homedir(), '.cargo'), 'registry', 'index');
  for (const index of existsSync(root) ? readdirSync(root) : []) {
    const file = join(root, index, '.cache', folderOf(crate.name), crate.name.toLowerCase());
    const lines = existsSync(file) ? readFileSync(file, 'latin1').split('\0') : [];
    const line = lines[lines.indexOf(crate.version) + 1] ?? '';
    const day = /"pubtime":\s*"(\d{4}-\d\d-\d\d)T/.exec(line)?.[1];
    if (day !== undefined && line.includes(crate.checksum)) return day;
  }
  return undefined;
}

/** Throws for a crate whose day neither the page nor cargo's index knows. */
export function dependenciesPage(lock: string, patched: string, known: ReadonlyMap<string, string>): string {
  const rows = cratesOf(lock, patched).map((c) => {
    const day = known.get(key(c)) ?? published(c);
    if (day === undefined) throw new Error(`${key(c)}: its day is not known; run this where cargo has fetched it (cargo fetch --locked)`);
    return `| ${c.name} | ${c.version} | ${day} | \`${c.checksum.slice(0, 16)}\` |`;
  });
  return `# What the native engine is made of

<!-- Generated from native/Cargo.lock and cargo's index: make generate -->

\`native/Cargo.lock\` pins every crate by version and SHA-256, and everything is built with \`--locked\`. quiche and boring, whose versions decide what a hostile client meets, are pinned in \`Cargo.toml\` too (\`=\`).
quiche is built with our patch (\`native/patches\`, which says what it mends), applied to the file with the SHA-256 below. BoringSSL's source is inside the crate boring-sys: its date is that crate's. Some of these are only there to build (bindgen and what it needs), and those named \`win\` are never compiled on Linux.

Advisories about crates are collected by the [RustSec database](https://rustsec.org), which lives in a git repository. **CI does not ask it**: the machines that it runs on reach the registries of packages and nothing else. So nobody
but you notices when one of these versions gets an advisory: run \`cargo audit\` in \`native/\` from a machine that reaches the database, before a release and every week. quiche's own are on
[its security page](https://github.com/cloudflare/quiche/security/advisories). How to update: [the engine](../develop/engine.md#updating-quiche).

| crate | version | published | SHA-256 |
|---|---|---|---|
${rows.join('\n')}
`;
}
