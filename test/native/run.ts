import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../..');
const NATIVE = join(ROOT, 'native');

export interface Ended {
  /** The exit code, or the signal's name. */
  readonly code: number | string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly args?: readonly string[];
  /** Sent when this stands on the standard output. */
  readonly killAt?: string;
  readonly ms?: number;
}

/** A file of test/native/cases in a process of its own, where a crash is a finding and not the end of the test. */
export function run(name: string, addon: string, o: RunOptions = {}): Promise<Ended> {
  const file = join(import.meta.dirname, 'cases', `${name}.ts`);
  const child = spawn(process.execPath, ['--no-warnings', '--expose-gc', file, addon, ...(o.args ?? [])], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
    if (o.killAt !== undefined && stdout.includes(o.killAt)) child.kill('SIGTERM');
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), o.ms ?? 110_000);
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      done({ code: code ?? signal, stdout, stderr });
    });
  });
}

/** What a case told; the process must have ended well. */
export async function found(name: string, addon: string, o: RunOptions = {}): Promise<unknown> {
  const ended = await run(name, addon, o);
  if (ended.code !== 0) throw new Error(`${name} ended with ${String(ended.code)}\n${ended.stdout}${ended.stderr}`);
  return JSON.parse(ended.stdout) as unknown;
}

/** Whether scripts/native finds what a build needs. */
export const canBuild = (): boolean => spawnSync(join(ROOT, 'scripts/native'), ['check'], { stdio: 'ignore' }).status === 0;

/** Builds the addon with the feature `inject`, in a folder of its own, which begins with what the addon's own build has compiled. */
export function buildInjectable(): string {
  const target = join(NATIVE, 'target/inject');
  const compiled = join(process.env['CARGO_TARGET_DIR'] || join(NATIVE, 'target'), 'release');
  if (!existsSync(target) && existsSync(compiled)) {
    mkdirSync(join(target, 'release'), { recursive: true });
    // Cargo trusts what it has compiled by its times, to the nanosecond.
    for (const part of ['build', 'deps', '.fingerprint']) command('cp', ['-a', join(compiled, part), join(target, 'release', part)]);
  }
  command(join(NATIVE, 'patched'), []);
  const manifest = join(NATIVE, 'Cargo.toml');
  command('cargo', [
    'build',
    '--release',
    '--locked',
    '--quiet',
    '--features',
    'inject',
    '--manifest-path',
    manifest,
    '--target-dir',
    target,
  ]);
  return join(target, 'release/libspooky_quic.so');
}

function command(name: string, args: readonly string[]): void {
  const ended = spawnSync(name, args, { encoding: 'utf8' });
  if (ended.status !== 0) throw new Error(`${name} ${args.join(' ')}: ${ended.error?.message ?? ended.stderr}`);
}
