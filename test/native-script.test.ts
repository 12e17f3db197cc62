/** scripts/native on machines that lack something: a copy of it in a folder of its own, with a PATH of stand-ins. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { temporaryFolder } from './kit/spooky.ts';

const SCRIPT = resolve(import.meta.dirname, '../scripts/native');
const NEEDED = ['dirname', 'readlink', 'sed', 'sort', 'head', 'tr', 'find', 'cp', 'mv', 'rm'];
const ADDON = 'native/spooky-quic.node';
const CARGO = 'cargo 1.88 or newer (rustup: https://rustup.rs)';

/** A program of a machine, by its name: what it does. */
type Tools = Readonly<Record<string, string>>;
const ALL: Tools = { cargo: 'echo "cargo 1.95.0 (0123456789 2026-01-01)"', cc: ':', 'c++': ':', cmake: ':', make: ':', patch: ':' };
const without = (...names: string[]): Tools => Object.fromEntries(Object.entries(ALL).filter(([name]) => !names.includes(name)));

const real = (name: string): string => (existsSync(join('/usr/bin', name)) ? '/usr/bin' : '/bin') + `/${name}`;

interface Machine {
  readonly root: string;
  run(word: string): { readonly code: number | null; readonly stdout: string; readonly stderr: string };
}

/** `library`: what lies where libclang is looked for. */
function machine(tools: Tools, library = 'libclang.so'): Machine {
  const root = temporaryFolder('spooky-native-script');
  const bin = join(root, 'bin');
  for (const folder of [bin, join(root, 'scripts'), join(root, 'native/src'), join(root, 'clang')]) mkdirSync(folder, { recursive: true });
  for (const name of NEEDED) symlinkSync(real(name), join(bin, name));
  for (const [name, does] of Object.entries(tools)) writeFileSync(join(bin, name), `#!/bin/sh\n${does}\n`, { mode: 0o755 });
  for (const file of ['Cargo.toml', 'Cargo.lock', 'build.rs', 'src/lib.rs']) writeFileSync(join(root, 'native', file), '');
  writeFileSync(join(root, 'native/patched'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(root, 'clang', library), '');
  cpSync(SCRIPT, join(root, 'scripts/native'));
  const env = { PATH: bin, LIBCLANG_PATH: join(root, 'clang') };
  return {
    root,
    run: (word) => {
      const { status, stdout, stderr } = spawnSync('/bin/sh', [join(root, 'scripts/native'), word], { env, encoding: 'utf8' });
      return { code: status, stdout, stderr };
    },
  };
}

/** An addon that was built when `seconds` had passed since the sources changed. */
function prebuilt(m: Machine, seconds: number): void {
  writeFileSync(join(m.root, ADDON), 'built elsewhere');
  const at = Date.now() / 1000 + seconds;
  utimesSync(join(m.root, ADDON), at, at);
}

describe('one line says what is missing, and how to get it', () => {
  const cases: readonly (readonly [string, Tools, string])[] = [
    ['no cargo', without('cargo'), CARGO],
    ['an old cargo', { ...ALL, cargo: 'echo "cargo 1.63.0 (fd9c4297c 2022-07-01)"' }, CARGO],
    ['a cargo without a toolchain', { ...ALL, cargo: 'echo "error: rustup could not choose a version" >&2; exit 1' }, CARGO],
    ['no cmake', without('cmake'), 'cmake (apt-get install cmake)'],
    ['no C++ compiler', without('c++'), 'g++ (apt-get install g++)'],
    ['no C compiler', without('cc'), 'g++ (apt-get install g++)'],
    ['no make', without('make'), 'make (apt-get install make)'],
    ['no patch', without('patch'), 'patch (apt-get install patch)'],
    ['none of them', without('cargo', 'cc', 'c++', 'cmake', 'make'), `${CARGO}, and g++ cmake make (apt-get install g++ cmake make)`],
  ];
  test.each(cases)('%s', (_what, tools, missing) => {
    const m = machine(tools);
    const line = `the native engine cannot be built here; missing: ${missing}`;
    for (const word of ['check', 'build']) expect(m.run(word)).toEqual({ code: 1, stdout: '', stderr: `${line}\n` });
    expect(m.run('want')).toEqual({ code: 0, stdout: '', stderr: `${line}: going on with @matrixai/quic\n` });
  });

  test.each(['libclang.so.1', 'libclang-19.so', 'libclang-19.so.1'])('%s will do', (library) => {
    expect(machine(ALL, library).run('check')).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  test.each(['libclang-cpp.so.14', 'libclang-cpp.so', 'libclang.a'])('%s is none', (library) => {
    const line = 'the native engine cannot be built here; missing: libclang-dev (apt-get install libclang-dev)\n';
    expect(machine(ALL, library).run('check')).toEqual({ code: 1, stdout: '', stderr: line });
  });

  test('all is there', () => expect(machine(ALL).run('check')).toEqual({ code: 0, stdout: '', stderr: '' }));
});

describe('where it cannot be built', () => {
  test('an addon that is newer than the sources is taken without a word', () => {
    const m = machine(without('cargo', 'cmake'));
    prebuilt(m, 10);
    expect(m.run('want')).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(m.run('build')).toEqual({ code: 0, stdout: `${ADDON} is up to date\n`, stderr: '' });
  });

  test('an older one is taken too, and the line says so', () => {
    const m = machine(without('cmake'));
    prebuilt(m, -3600);
    const { code, stderr } = m.run('want');
    expect([code, stderr.split('\n')]).toEqual([
      0,
      [
        `the native engine cannot be built here; missing: cmake (apt-get install cmake): going on with ${ADDON} as it is, older than its sources`,
        '',
      ],
    ]);
    expect(readFileSync(join(m.root, ADDON), 'utf8')).toBe('built elsewhere');
  });

  test('a build that fails leaves what there was', () => {
    const m = machine({ ...ALL, cargo: `case $1 in build) exit 101 ;; esac; ${ALL['cargo']}` });
    const said = 'the native engine did not build (make native shows why): going on with';
    expect(m.run('build').code).toBe(1);
    expect(m.run('want')).toMatchObject({ code: 0, stderr: `${said} @matrixai/quic\n` });
    prebuilt(m, -3600);
    expect(m.run('want')).toMatchObject({ code: 0, stderr: `${said} ${ADDON} as it is, older than its sources\n` });
    expect(readFileSync(join(m.root, ADDON), 'utf8')).toBe('built elsewhere');
  });
});
