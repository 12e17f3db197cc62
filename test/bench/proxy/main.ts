/** What the commands of the benchmark have in common: output, an end that leaves nothing behind. */
import { availableParallelism } from 'node:os';
import { messageOf } from '../../../src/lib/message.ts';
import { endBySignals, stopAll } from './program.ts';
import { makeSetting, type Setting } from './setting.ts';

export const say = (text: string): void => void process.stdout.write(`${text}\n`);

const began = performance.now();
export const minutesSoFar = (): number => Math.round((performance.now() - began) / 6_000) / 10;
export const progress = (text: string): void =>
  void process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`);

/** For what is wrong with how it was called. */
export class Usage extends Error {}

async function inSetting(work: (s: Setting) => Promise<number>): Promise<number> {
  if (availableParallelism() < 2) throw new Usage('two cores are needed, one for the proxy and one for load and backend');
  const s = makeSetting();
  try {
    return await work(s);
  } finally {
    await stopAll();
    s.remove();
  }
}

/** Runs `work` in a folder of its own, and ends the process with what it returns. */
export function runMain(name: string, work: (s: Setting) => Promise<number>): void {
  endBySignals();
  inSetting(work).then(
    (code) => process.exit(code),
    (e: unknown) => {
      process.stderr.write(`${name}: ${messageOf(e)}\n`);
      process.exit(e instanceof Usage ? 2 : 1);
    },
  );
}
