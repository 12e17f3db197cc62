/** A closed loop whose clients have another port all the time. */
import { join } from 'node:path';
import type { Sample } from '../figures.ts';
import { HOST, loadArguments } from '../h2load.ts';
import { Program } from '../program.ts';
import { PATHS, type LoadRow, type RebindRow } from '../rows.ts';
import { CPU, type Setting, type Subject } from '../setting.ts';
import { runH2load } from './load.ts';
import { using } from './ticks.ts';

/** A connection on which nothing comes for so long is given up, with its requests. */
const GIVEN_UP = '-N5s';
/** What a client that may not even begin would need: more than this failing is no figure. */
const WORST = 0.5;

const RELAY = join(import.meta.dirname, 'relay.ts');

async function startRelay(port: number, every: number): Promise<{ port: number; program: Program }> {
  const program = new Program(process.execPath, ['--no-warnings', RELAY, String(port), String(every)], { cpu: CPU.load });
  return { program, port: await program.waitFor((line) => Number(/^port (\d+)$/.exec(line)?.[1]) || undefined) };
}

/** The load that goes through the relay, as long as `row` wants it to last. */
export const stormLoad = (row: RebindRow): LoadRow => ({
  ...row,
  kind: 'load',
  path: PATHS.small,
  upload: false,
  routes: 1,
  byHost: false,
  workers: null,
});

export async function runStorm(s: Setting, subject: Subject, row: RebindRow, requests: number): Promise<Sample> {
  const relay = await startRelay(subject.port, row.every);
  try {
    const args = loadArguments(stormLoad(row), relay.port, { host: HOST, clients: row.clients, requests }, s.body);
    const { result, ticks, mainTicks } = await using(subject, () => runH2load([GIVEN_UP, ...args]));
    const [answered] = result.statuses;
    if (answered < requests * WORST) throw new Error(`${requests - answered} of ${requests} requests failed`);
    return { requests: answered, failures: requests - answered, seconds: result.seconds, ticks, mainTicks };
  } finally {
    await relay.program.stop();
  }
}
