/** A benchmark that is told to end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, watch } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

const PROXY = join(import.meta.dirname, '..', 'bench', 'proxy');
const from = (name: string): string => JSON.stringify(join(PROXY, name));
const script = `
  import { runMain, say } from ${from('main.ts')};
  import { Program } from ${from('program.ts')};
  const begin = () => new Program(process.execPath, ['-e', 'console.log("up"); setInterval(() => {}, 1000)'], { cpu: '0-1023' });
  runMain('test', async (s) => {
    const slow = new Program(process.execPath, ['-e', 'process.on("SIGTERM", () => setTimeout(process.exit, 300)); console.log("up"); setInterval(() => {}, 1000)'], { cpu: '0-1023' });
    const quick = begin();
    for (const program of [slow, quick]) await program.waitFor((line) => line === 'up' || undefined);
    say(JSON.stringify({ dir: s.dir, pids: [slow.pid, quick.pid] }));
    // As a run goes on with its next row.
    await quick.ended.catch(() => undefined);
    say('a program has ended');
    await begin().waitFor((line) => line === 'up' || undefined);
    say('another one was begun');
    return 0;
  });`;

const runs = (pid: number): boolean => existsSync(`/proc/${pid}`);

test.each(['SIGTERM', 'SIGINT'] as const)('%s: its programs, its folder, and what it would have made of them are gone', async (signal) => {
  const child = spawn(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const lines: string[] = [];
    const reader = createInterface({ input: child.stdout });
    reader.on('line', (line) => lines.push(line));
    const ended = once(child, 'close');
    await once(reader, 'line');
    const { dir, pids } = JSON.parse(lines[0] ?? '') as { dir: string; pids: number[] };
    expect([existsSync(dir), ...pids.map(runs)]).toEqual([true, true, true]);
    child.kill(signal);
    expect((await ended)[0]).toBe(130);
    expect([existsSync(dir), ...pids.map(runs)]).toEqual([false, false, false]);
    expect(lines).toHaveLength(1);
  } finally {
    child.kill('SIGKILL');
  }
});

test('the measurement of hand-overs leaves no folder', async () => {
  const temporary = mkdtempSync(join(tmpdir(), 'spooky-ends-'));
  const begun = watch(temporary);
  const child = spawn(process.execPath, ['--no-warnings', join(PROXY, '../handover/run.ts')], {
    stdio: 'ignore',
    env: { ...process.env, TMPDIR: temporary },
  });
  try {
    const ended = once(child, 'exit');
    await once(begun, 'change');
    expect(readdirSync(temporary)).toHaveLength(1);
    child.kill('SIGTERM');
    expect((await ended)[0]).toBe(130);
    expect(readdirSync(temporary)).toEqual([]);
  } finally {
    begun.close();
    child.kill('SIGKILL');
    rmSync(temporary, { recursive: true });
  }
});
