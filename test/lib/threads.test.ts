import { expect, test } from '@jest/globals';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** In a process of its own: name and niceness of each of its threads, before and after. */
const SCRIPT = `
  import { readdirSync, readFileSync } from 'node:fs';
  import { getPriority, setPriority } from 'node:os';
  import { helpersStandBack } from ${JSON.stringify(new URL('../../src/lib/threads.ts', import.meta.url).href)};
  const threads = () => readdirSync('/proc/self/task').map((id) => ({
    name: readFileSync('/proc/self/task/' + id + '/comm', 'utf8').trim(),
    nice: Number(readFileSync('/proc/self/task/' + id + '/stat', 'utf8').split(') ')[1].split(' ')[16]),
    main: Number(id) === process.pid,
  }));
  setPriority(getPriority() + Number(process.argv[1]));
  const before = threads();
  helpersStandBack();
  console.log(JSON.stringify({ before, after: threads(), loop: getPriority() }));
`;

interface Thread {
  readonly name: string;
  readonly nice: number;
  readonly main: boolean;
}

test.each([0, 5])('what V8 does beside the event loop stands back behind it, also when that is %i nicer than others', async (nicer) => {
  const node = ['--no-warnings', '--v8-pool-size=2', '--input-type=module', '-e', SCRIPT, String(nicer)];
  const { stdout } = await promisify(execFile)(process.execPath, node, { timeout: 30_000 });
  const { before, after, loop } = JSON.parse(stdout) as { before: Thread[]; after: Thread[]; loop: number };
  const helpers = after.filter(({ name }) => name === 'node-V8Worker');
  expect(helpers.map(({ nice }) => nice - loop)).toEqual([10, 10]);
  const others = (all: readonly Thread[]): Thread[] => all.filter(({ name }) => name !== 'node-V8Worker');
  expect(others(after)).toEqual(others(before));
  expect(after.filter(({ main }) => main).map(({ nice }) => nice)).toEqual([loop]);
});
