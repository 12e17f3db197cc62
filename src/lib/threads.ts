import { readdirSync, readFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';

const FOLDER = '/proc/self/task';
/** As Node calls the threads in which V8 compiles and collects. */
const HELPER = 'node-V8Worker';
/** A tenth of the weight: enough to be done soon beside an event loop that is never idle, and nothing that an answer waits for. */
const NICENESS = 10;

/**
 * V8 compiles and collects in threads of its own. Where they have no CPU to themselves, a datagram that comes while one of them runs waits for the
 * end of its time, 3 to 4 ms, unless the kernel knows which of the two can wait. Called once, by the thread of the event loop: the helpers have been
 * there since before its first line of JavaScript.
 */
export function helpersStandBack(): void {
  try {
    const niceness = Math.min(constants.priority.PRIORITY_LOW, getPriority() + NICENESS);
    for (const id of readdirSync(FOLDER))
      if (readFileSync(`${FOLDER}/${id}/comm`, 'utf8').startsWith(HELPER)) setPriority(Number(id), niceness);
  } catch {
    // No Linux, or none of ours to set: then they are equals, as everywhere.
  }
}
