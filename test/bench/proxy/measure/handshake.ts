/** New connections, with and without a session of before. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Sample } from '../figures.ts';
import { handshakeArguments, handshakes, sessionArguments } from '../h2load.ts';
import { PATHS, type HandshakeRow } from '../rows.ts';
import type { Setting, Subject } from '../setting.ts';
import { runH2load } from './load.ts';
import { using } from './ticks.ts';

async function sessionOf(s: Setting, subject: Subject): Promise<string> {
  const file = join(s.scratch, `session-${subject.port}.pem`);
  await runH2load(sessionArguments(subject.port, PATHS.small, file));
  if (!existsSync(file) || statSync(file).size === 0) throw new Error('it gives no session ticket');
  return file;
}

export async function measureHandshakes(s: Setting, subject: Subject, row: HandshakeRow): Promise<Sample> {
  const session = row.resumed ? await sessionOf(s, subject) : null;
  const { result, ticks, mainTicks } = await using(subject, () => runH2load(handshakeArguments(row, subject.port, PATHS.small, session)));
  const [answered] = result.statuses;
  // Some turn newcomers away when many come at once: counted, and no figure when it is every other.
  const failures = handshakes(row) - answered;
  if (failures > answered) throw new Error(`${failures} of ${handshakes(row)} connections failed`);
  return { requests: answered, failures, seconds: result.seconds, ticks, mainTicks };
}
