/** h2load for a time, with its log of every request. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { HOST } from '../proxy/h2load.ts';
import { Program, wait } from '../proxy/program.ts';
import { CPU, TOOLS, type Setting } from '../proxy/setting.ts';
import { parseLog, type Answer } from './answers.ts';

const ALL_CORES = `0-${availableParallelism() - 1}`;
const PERIODS = 20;
let runs = 0;

/** With these arguments, until it ends or the time is over. */
async function logged(s: Setting, port: number, path: string, args: string, patienceMs: number): Promise<Answer[]> {
  const log = join(s.scratch, `log-${runs++}`);
  const common = ['run', '--h3', `--connect-to=127.0.0.1:${port}`, `--log-file=${log}`];
  // Of all cores, beside what the cage leaves of its own: the proxy has a fifth of one.
  const command = ['-c', ALL_CORES, join(TOOLS, 'h2load'), ...common, ...args.split(' '), `https://${HOST}${path}`];
  const program = new Program('taskset', command, { cpu: CPU.load });
  const timer = setTimeout(() => program.signal('SIGTERM'), patienceMs);
  await program.ended;
  clearTimeout(timer);
  const answers = existsSync(log) ? parseLog(readFileSync(log, 'utf8')) : [];
  rmSync(log, { force: true });
  // Its log is written at its end: a generator that had to be ended says nothing of what it got.
  if (program.lines.length === 0)
    process.stderr.write(`h2load ${args}: no end within ${patienceMs} ms: the generator cannot offer so much here\n`);
  return answers;
}

/** As fast as answers come. */
export const closedLoad = (s: Setting, port: number, path: string, clients: number, streams: number, seconds: number): Promise<Answer[]> =>
  logged(s, port, path, `-c ${clients} -m ${streams} -D ${seconds}`, seconds * 1000 + 10_000);

/** So many requests a second, as far as the server's limit of streams lets them be sent. */
export const openLoad = (s: Setting, port: number, path: string, clients: number, perSecond: number, seconds: number): Promise<Answer[]> =>
  logged(s, port, path, `-c ${clients} -m 100 --rps=${Math.max(1, Math.ceil(perSecond / clients))} -D ${seconds}`, seconds * 1000 + 10_000);

const BATCH_SECONDS = 2;
/** One process cannot shake hands so often. */
const PROCESSES = 2;

/** So many new connections a second, each with one request; those that take more than three seconds are given up. */
export async function newcomers(s: Setting, port: number, path: string, perSecond: number, seconds: number): Promise<Answer[]> {
  const batches: Promise<Answer[]>[] = [];
  for (let left = seconds; left > 0; left -= BATCH_SECONDS) {
    const now = Math.min(left, BATCH_SECONDS);
    const rate = Math.max(1, Math.round(perSecond / PROCESSES / PERIODS));
    const total = rate * PERIODS * now;
    const args = `-c ${total} -n ${total} -m 1 -r ${rate} --rate-period=${1000 / PERIODS}ms -T 3s`;
    for (let i = 0; i < PROCESSES; i++) batches.push(logged(s, port, path, args, now * 1000 + 3000));
    await wait(now * 1000);
  }
  return (await Promise.all(batches)).flat();
}
