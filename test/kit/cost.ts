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

/** Objects of the walk: more than a core has caches for, as tables of ten thousand routes are. */
const CELLS = 1 << 17;
const WALK_MS = 34;

interface Cell {
  readonly name: string;
  next: Cell | null;
}

let cells: readonly Cell[] | null = null;

/** From object to object all over the memory: what slows this down is who else uses the caches, and no `yard` shows it. */
function walk(): number {
  let at: Cell | null = cells?.[0] ?? null;
  let sum = 0;
  for (let i = 0; i < CELLS * 8 && at !== null; i++, at = at.next) sum = (sum + at.name.length) | 0;
  return sum;
}

/** Each once (the step is a full period modulo a power of two), none beside the one before. */
function ring(): readonly Cell[] {
  const made = Array.from({ length: CELLS }, (_, i): Cell => ({ name: `host-${i}`, next: null }));
  for (let i = 0, at = 0; i < CELLS; i++) {
    const next = (at * 25_173 + 13_849) % CELLS;
    (made[at] as Cell).next = made[next] ?? null;
    at = next;
  }
  return made;
}

/** As `slowness`, of work that waits for memory: as long as the work itself, since what others leave of the caches shows over many turns only. */
export function memorySlowness(): number {
  // What is done once is no part of it.
  if (cells === null) {
    cells = ring();
    for (let i = 0; i < 3; i++) walk();
  }
  return Math.max(slowness(), spent(walk) / WALK_MS);
}

/** CPU milliseconds of one run, as they would be there. */
export function cost(work: () => unknown, slow: () => number = slowness): number {
  const before = slow();
  const took = spent(work);
  return took / Math.max(before, slow());
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
export function leastCost(work: () => unknown, enough = 0, attempts = 10, slow: () => number = slowness): number {
  let least = Infinity;
  for (let i = 0; i < attempts && least >= enough; i++) least = Math.min(least, cost(work, slow));
  return least;
}
