/** Another version of this checkout, built in a folder of the cache. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../setting.ts';

export interface Version {
  readonly commit: string;
  readonly root: string;
  /** The native engine of that version; null where it is not built. */
  readonly addon: string | null;
}

/** What the addon is made of. */
const NATIVE = ['native/src', 'native/patches', 'native/Cargo.toml', 'native/Cargo.lock', 'native/build.rs'];

const git = (...args: readonly string[]): string => execFileSync('git', ['-C', ROOT, ...args], { encoding: 'utf8' }).trim();

/** Output goes where people see it: a build of minutes that says nothing looks hung. */
const run = (cwd: string, command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): void => {
  execFileSync(command, args, { cwd, stdio: ['ignore', process.stderr.fd, process.stderr.fd], env: { ...process.env, ...env } });
};

export function commitOf(ref: string): string | null {
  try {
    return git('rev-parse', '--verify', '--quiet', '--end-of-options', `${ref}^{commit}`);
  } catch {
    return null;
  }
}

const sameNative = (commit: string): boolean => {
  try {
    git('diff', '--quiet', commit, '--', ...NATIVE);
    return true;
  } catch {
    return false;
  }
};

function checkOut(commit: string, root: string): void {
  if (existsSync(join(root, 'package.json'))) return;
  git('worktree', 'prune');
  git('worktree', 'add', '--quiet', '--force', '--detach', root, commit);
}

function dependencies(root: string): void {
  if (existsSync(join(root, 'node_modules'))) return;
  const lock = (folder: string): string => readFileSync(join(folder, 'package-lock.json'), 'utf8');
  if (lock(root) === lock(ROOT)) symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  else run(root, 'npm', ['ci', '--no-audit', '--no-fund']);
}

function addonOf(commit: string, root: string, cache: string): string | null {
  const [own, other] = [join(ROOT, 'native', 'spooky-quic.node'), join(root, 'native', 'spooky-quic.node')];
  if (sameNative(commit)) return existsSync(own) ? own : null;
  // One folder for all versions: BoringSSL is built once.
  if (!existsSync(other)) run(root, 'scripts/native', ['build'], { CARGO_TARGET_DIR: join(cache, 'target') });
  return other;
}

/** Builds what is missing of it; what is there stays for the next time. */
export function checkoutOf(commit: string, native: boolean): Version {
  const cache = join(process.env['SPOOKY_CACHE'] || join(homedir(), '.cache', 'spooky'), 'bench');
  mkdirSync(cache, { recursive: true });
  const root = join(cache, commit.slice(0, 12));
  checkOut(commit, root);
  dependencies(root);
  if (!existsSync(join(root, 'dist', 'main.js'))) {
    run(root, process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json']);
  }
  return { commit, root, addon: native ? addonOf(commit, root, cache) : null };
}
