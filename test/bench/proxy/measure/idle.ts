/** The memory of connections that do nothing. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { perConnection } from '../figures.ts';
import { dialSeconds, faultOf, idleArguments, idleScript, parseH2load } from '../h2load.ts';
import { Program, wait } from '../program.ts';
import { PATHS, SMALL_BYTES, type IdleRow } from '../rows.ts';
import { CPU, TOOLS, type Setting, type Subject } from '../setting.ts';
import { rssBytes } from '../stat.ts';

const LOAD_MS = 300_000;
/** How long the last connection has been idle when memory is read. With the time that dialling takes the first ones stay below the client's idle time of 30 s. */
const SETTLE = 6;
/** Connections are held so much longer than they need to be: dialling may take its time. */
const MARGIN = 5;
/** Of the connections, those that are open before the growth is measured: what a process has spare is used up by them. */
const BEFORE = 1 / 8;

/** Idle connections; each makes a request when it opens and one at the end, so that all of them are shown to have lived in between. */
class Held {
  readonly #connections: number;
  readonly #program: Program;

  constructor(s: Setting, subject: Subject, connections: number, seconds: number) {
    const script = join(s.scratch, `idle-${subject.port}-${connections}`);
    writeFileSync(script, idleScript(seconds, PATHS.small));
    const args = ['run', ...idleArguments(connections, subject.port, script)];
    this.#connections = connections;
    this.#program = new Program(join(TOOLS, 'h2load'), args, { cpu: CPU.load });
  }

  async ended(): Promise<void> {
    const timer = setTimeout(() => this.#program.signal('SIGKILL'), LOAD_MS);
    await this.#program.ended;
    clearTimeout(timer);
    const fault = faultOf(parseH2load(this.#program.lines.join('\n')), this.#connections * 2, SMALL_BYTES);
    if (fault !== null) throw new Error(fault);
  }
}

/** What a connection more costs, of all that come after the first ones. */
export async function measureIdle(s: Setting, subject: Subject, row: IdleRow): Promise<number> {
  const first = Math.max(1, Math.round(row.connections * BEFORE));
  const seconds = dialSeconds(row.connections) + SETTLE + MARGIN;
  const spare = new Held(s, subject, first, dialSeconds(first) + SETTLE + seconds);
  await wait((dialSeconds(first) + SETTLE) * 1000);
  const before = rssBytes(subject.workers);
  const rest = new Held(s, subject, row.connections, seconds);
  await wait((dialSeconds(row.connections) + SETTLE) * 1000);
  const after = rssBytes(subject.workers);
  await Promise.all([spare.ended(), rest.ended()]);
  const grown = perConnection(before, after, row.connections);
  // What a process gave back meanwhile was more: with so few connections there is nothing to see.
  if (!(grown > 0)) throw new Error(`memory went from ${before} to ${after} bytes: more connections are needed to see what they cost`);
  return grown;
}
