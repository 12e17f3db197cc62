/** One run of one row against one engine. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { perConnection, type Sample } from './figures.ts';
import { answerBytes, faultOf, idleArguments, idleScript, idleSeconds, loadArguments, parseH2load } from './h2load.ts';
import { Program, runProgram, wait } from './program.ts';
import { PATHS, SMALL_BYTES, type IdleRow, type LoadRow } from './rows.ts';
import { CPU, TOOLS, type Setting, type Subject } from './setting.ts';
import { cpuTicks, rssBytes } from './stat.ts';

const H2LOAD = join(TOOLS, 'h2load');
const LOAD_MS = 300_000;

async function load(s: Setting, subject: Subject, row: LoadRow, requests: number): Promise<number> {
  const args = ['run', ...loadArguments(row, subject.port, requests, s.body)];
  const result = parseH2load(await runProgram(H2LOAD, args, { cpu: CPU.load }, LOAD_MS));
  const fault = faultOf(result, requests, answerBytes(row, SMALL_BYTES));
  if (fault !== null) throw new Error(fault);
  return result.seconds;
}

/** Until V8 has compiled what this row runs, and buffers and pools have their size. */
export async function warmUp(s: Setting, subject: Subject, row: LoadRow, share: number): Promise<void> {
  await load(s, subject, row, Math.max(row.clients * row.streams, Math.round(row.requests * share)));
}

export async function measureLoad(s: Setting, subject: Subject, row: LoadRow): Promise<Sample> {
  const main = subject.main === null ? [] : [subject.main];
  const mainOnly = (): number => (main.length === 0 ? 0 : cpuTicks(main) - cpuTicks(subject.workers));
  const [worker, supervisor] = [cpuTicks(subject.workers), mainOnly()];
  const seconds = await load(s, subject, row, row.requests);
  return { requests: row.requests, seconds, workerTicks: cpuTicks(subject.workers) - worker, mainTicks: mainOnly() - supervisor };
}

/** How long the last connection has been idle when memory is read, and how long after a warm-up it is read before. */
const SETTLE_MS = 9_000;

/** Every connection makes a request when it opens and one at the end: that all of them lived in between is shown by the answers. */
export async function measureIdle(s: Setting, subject: Subject, row: IdleRow): Promise<number> {
  const script = join(s.dir, `idle-${subject.name}`);
  writeFileSync(script, idleScript(row.connections, PATHS.small));
  await wait(SETTLE_MS);
  const before = rssBytes(subject.workers);
  const program = new Program(H2LOAD, ['run', ...idleArguments(row.connections, subject.port, script)], { cpu: CPU.load });
  await wait(idleSeconds(row.connections) * 1000 - 14_000 + SETTLE_MS);
  const after = rssBytes(subject.workers);
  const timer = setTimeout(() => program.signal('SIGKILL'), LOAD_MS);
  await program.ended;
  clearTimeout(timer);
  const fault = faultOf(parseH2load(program.lines.join('\n')), row.connections * 2, SMALL_BYTES);
  if (fault !== null) throw new Error(fault);
  return perConnection(before, after, row.connections);
}
