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

/** A process that asks its worker how nice it is. */
const NICE = (worker: string, quota: boolean): string => `
  import { getPriority } from 'node:os';
  import { pathToFileURL } from 'node:url';
  import { forkWorkers } from ${JSON.stringify(new URL('../../src/control/fork.ts', import.meta.url).href)};
  const spawn = forkWorkers(pathToFileURL(${JSON.stringify(worker)}), ${quota});
  const worker = spawn(0, { onMessage() {}, onOutput: (line) => console.log(Number(line) - getPriority()), onExit() {} });
  worker.send({ type: 'exit' });
`;
const WORKER = `
  import { getPriority } from 'node:os';
  process.once('message', () => {
    console.log(getPriority());
    process.disconnect();
  });
`;

test.each([
  [true, '5'],
  [false, '0'],
])('with a quota (%p) of the CPU workers are nicer than the process that answers probes', async (quota, nicer) => {
  const dir = mkdtempSync(join(tmpdir(), 'spooky-nice-'));
  try {
    writeFileSync(join(dir, 'worker.mjs'), WORKER);
    const child = new Child(process.execPath, ['--no-warnings', '--input-type=module', '-e', NICE(join(dir, 'worker.mjs'), quota)]);
    await child.exited;
    expect(child.stdout).toEqual([nicer]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
