/** What the kernel says of a process: its CPU time and its memory. */
import { readFileSync } from 'node:fs';

/** utime + stime, and those of children that were waited for, in clock ticks. */
export function parseStat(text: string): number {
  // The second field is a name in brackets that may hold blanks and brackets: what counts begins behind the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [user, system, childUser, childSystem] = [11, 12, 13, 14].map((i) => Number(fields[i]));
  const sum = (user ?? NaN) + (system ?? NaN) + (childUser ?? NaN) + (childSystem ?? NaN);
  if (!Number.isFinite(sum)) throw new Error(`not a line of /proc/PID/stat: ${text.slice(0, 80)}`);
  return sum;
}

/** VmRSS in bytes. */
export function parseRss(text: string): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1];
  if (kib === undefined) throw new Error('no VmRSS in /proc/PID/status');
  return Number(kib) * 1024;
}

export const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((word) => word !== '')
    .map(Number);

const tree = (pid: number): number[] => [pid, ...childrenOf(pid).flatMap(tree)];

/** Of these processes and their descendants. A process that is gone is an error: it took its work with it. */
export const cpuTicks = (pids: readonly number[]): number =>
  pids.flatMap(tree).reduce((sum, pid) => sum + parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8')), 0);

export const rssBytes = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => sum + parseRss(readFileSync(`/proc/${pid}/status`, 'utf8')), 0);
