/** What work costs in CPU time, told so that a slow or busy machine says nearly the same as a fast and idle one. */

/** CPU milliseconds of one `yard` on the machine that the bounds of the tests are written for. */
const YARD_MS = 2;
const YARDS = 3;

/** Strings, objects, maps and sorting, as in what is measured here. */
function yard(): number {
  const seen = new Map<string, { readonly name: string; readonly parts: string[] }>();
  for (let i = 0; i < 4000; i++) {
    const name = `host-${(i * 7919) % 4001}.example`;
    seen.set(name, { name, parts: name.split('.') });
  }
  const names = [...seen.values()].map((v) => v.parts.join('/')).sort();
  let sum = 0;
  for (const name of names) for (let i = 0; i < name.length; i++) sum = (sum * 31 + name.charCodeAt(i)) | 0;
  return sum;
}

/** Of this process alone: what others on the machine do is no part of it. (The kernel counts a thread's time in whole ticks only.) */
function spent(work: () => unknown): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

let warm = false;

/** How many times slower than that machine this one is now, with what else it has to do: at least 1. */
export function slowness(): number {
  if (!warm) for (let i = 0; i < 20; i++) yard();
  warm = true;
  let least = Infinity;
  for (let i = 0; i < YARDS; i++) least = Math.min(least, spent(yard));
  return Math.max(1, least / YARD_MS);
}

/** CPU milliseconds of one run, as they would be there. */
export function cost(work: () => unknown): number {
  const before = slowness();
  const took = spent(work);
  return took / Math.max(before, slowness());
}

/** The same of work that others' turns come in between of: what they take counts as well. */
export async function costOf(work: () => Promise<unknown>): Promise<number> {
  const before = slowness();
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000 / Math.max(before, slowness());
}

/** The least of several runs: what comes in between (a collection, a compilation) is in some of them only. Ends early below `enough`. */
export function leastCost(work: () => unknown, enough = 0, attempts = 10): number {
  let least = Infinity;
  for (let i = 0; i < attempts && least >= enough; i++) least = Math.min(least, cost(work));
  return least;
}
