import { expect, test } from '@jest/globals';
import { Child } from '../kit/process.ts';

/** A process without a descriptor to spare, which wants a worker. */
const SCRIPT = `
  import { openSync } from 'node:fs';
  import { forkWorkers } from ${JSON.stringify(new URL('../../src/control/fork.ts', import.meta.url).href)};
  process.on('uncaughtException', (e) => console.log('uncaught ' + e.message));
  const spawn = forkWorkers(new URL('file:///nowhere.js'));
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
