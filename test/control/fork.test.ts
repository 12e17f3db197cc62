import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Child } from '../kit/process.ts';

/** A process without a descriptor to spare, which wants a worker. */
const SCRIPT = `
  import { openSync } from 'node:fs';
  import { forkWorkers } from ${JSON.stringify(new URL('../../src/control/fork.ts', import.meta.url).href)};
  process.on('uncaughtException', (e) => console.log('uncaught ' + e.message));
  const spawn = forkWorkers(new URL('file:///nowhere.js'), false);
  try {
    for (;;) openSync('/dev/null');
  } catch {}
  const worker = spawn(0, { onMessage() {}, onOutput() {}, onExit: (code, signal) => console.log('ended ' + code + ' ' + signal) });
  worker.send({ type: 'exit' });
`;

test('a process that cannot be started has ended', async () => {
  const node = [process.execPath, '--no-warnings', '--input-type=module', '-e', SCRIPT];
  const child = new Child('/bin/sh', ['-c', 'ulimit -n 64; exec "$@"', 'sh', ...node]);
  await child.exited;
  expect(child.stdout).toEqual(['ended null null']);
});

/** What a process makes of the lines of the worker that it forked and sent a message to. */
async function told(worker: string, quota: boolean, onOutput: string): Promise<readonly string[]> {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-fork-'));
  const script = join(dir, 'worker.mjs');
  const parent = `
    import { getPriority } from 'node:os';
    import { pathToFileURL } from 'node:url';
    import { forkWorkers } from ${JSON.stringify(new URL('../../src/control/fork.ts', import.meta.url).href)};
    const spawn = forkWorkers(pathToFileURL(${JSON.stringify(script)}), ${quota});
    const worker = spawn(0, { onMessage() {}, onOutput: (line) => ${onOutput}, onExit() {} });
    worker.send({ type: 'exit' });
  `;
  try {
    writeFileSync(script, worker);
    const child = new Child(process.execPath, ['--no-warnings', '--input-type=module', '-e', parent]);
    await child.exited;
    return child.stdout;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** Says how nice it is, and how many helpers V8 has. */
const NICE = `
  import { readdirSync, readFileSync } from 'node:fs';
  import { getPriority } from 'node:os';
  process.once('message', () => {
    const names = readdirSync('/proc/self/task').map((id) => readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim());
    console.log(getPriority(), names.filter((name) => name === 'node-V8Worker').length);
    process.disconnect();
  });
`;

test.each([
  [true, '5 nicer, 1 helpers'],
  [false, '0 nicer, 1 helpers'],
])('with a quota (%p) of the CPU workers are nicer than the process that answers probes, with one helper each', async (quota, seen) => {
  const say = `console.log(line.split(' ')[0] - getPriority() + ' nicer, ' + line.split(' ')[1] + ' helpers')`;
  expect(await told(NICE, quota, say)).toEqual([seen]);
});

/** Allocates until V8 has made the young generation as large as it ever does, and says how many MiB it takes. */
const YOUNG = `
  import { getHeapSpaceStatistics } from 'node:v8';
  process.once('message', () => {
    const kept = [];
    let largest = 0;
    for (let i = 0; i < 3_000_000; i++) {
      kept[i % 25_000] = { i, text: [i] };
      if (i % 10_000 === 0) largest = Math.max(largest, getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size);
    }
    console.log(Math.round(largest / 1024 / 1024));
    process.disconnect();
  });
`;

test('the young generation of a worker takes 32 MiB at most', async () => {
  const [size, ...more] = await told(YOUNG, false, 'console.log(line)');
  expect(more).toEqual([]);
  expect(Number(size)).toBeGreaterThan(16);
  expect(Number(size)).toBeLessThanOrEqual(32);
});
