/** The memory of connections that do nothing. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { perConnection } from '../figures.ts';
import { faultOf, idleArguments, idleScript, idleSeconds, parseH2load } from '../h2load.ts';
import { Program, wait } from '../program.ts';
import { PATHS, SMALL_BYTES, type IdleRow } from '../rows.ts';
import { CPU, TOOLS, type Setting, type Subject } from '../setting.ts';
import { rssBytes } from '../stat.ts';

const LOAD_MS = 300_000;
/** How long the last connection has been idle when memory is read, and how long after a warm-up it is read before. */
const SETTLE_MS = 9_000;

/** Every connection makes a request when it opens and one at the end: that all of them lived in between is shown by the answers. */
export async function measureIdle(s: Setting, subject: Subject, row: IdleRow): Promise<number> {
  const script = join(s.dir, `idle-${subject.port}`);
  writeFileSync(script, idleScript(row.connections, PATHS.small));
  await wait(SETTLE_MS);
  const before = rssBytes(subject.workers);
  const args = ['run', ...idleArguments(row.connections, subject.port, script)];
  const program = new Program(join(TOOLS, 'h2load'), args, { cpu: CPU.load });
  await wait(idleSeconds(row.connections) * 1000 - 14_000 + SETTLE_MS);
  const after = rssBytes(subject.workers);
  const timer = setTimeout(() => program.signal('SIGKILL'), LOAD_MS);
  await program.ended;
  clearTimeout(timer);
  const fault = faultOf(parseH2load(program.lines.join('\n')), row.connections * 2, SMALL_BYTES);
  if (fault !== null) throw new Error(fault);
  return perConnection(before, after, row.connections);
}
