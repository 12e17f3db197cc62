/** A closed loop against one proxy. */
import { join } from 'node:path';
import type { Sample } from '../figures.ts';
import { answerBytes, faultOf, HOST, loadArguments, parseH2load, type LoadResult, type Part } from '../h2load.ts';
import { runProgram } from '../program.ts';
import { askedHosts, SMALL_BYTES, type LoadRow } from '../rows.ts';
import { CPU, TOOLS, type Setting, type Subject } from '../setting.ts';
import { using } from './ticks.ts';

const LOAD_MS = 300_000;
/** How much more the next attempt may be, until one has lasted long enough to say how much is wanted. */
const GROWTH = 20;
const ENOUGH = 0.4;

export const runH2load = async (args: readonly string[]): Promise<LoadResult> =>
  parseH2load(await runProgram(join(TOOLS, 'h2load'), ['run', ...args], { cpu: CPU.load }, LOAD_MS));

/** Who asks what: one generator, or one for each of the hosts. */
export function partsOf(row: LoadRow, requests: number): readonly Part[] {
  const hosts = row.byHost ? askedHosts(row.routes, HOST) : [HOST];
  const clients = row.clients / hosts.length;
  const share = Math.max(clients * row.streams, Math.round(requests / hosts.length));
  return hosts.map((host) => ({ host, clients, requests: share }));
}

async function part(s: Setting, port: number, row: LoadRow, p: Part): Promise<number> {
  const result = await runH2load(loadArguments(row, port, p, s.body));
  const fault = faultOf(result, p.requests, answerBytes(row, SMALL_BYTES));
  if (fault !== null) throw new Error(fault);
  return result.seconds;
}

/** How long it took; an error unless every request was answered. */
export async function load(s: Setting, port: number, row: LoadRow, requests: number): Promise<number> {
  return Math.max(...(await Promise.all(partsOf(row, requests).map((p) => part(s, port, row, p)))));
}

/** Many connections are no row about handshakes, however short it is to be: each stream has its requests. */
const EACH = 40;

export const leastRequests = (row: LoadRow): number => row.clients * row.streams * (row.clients > 100 ? EACH : 1);

/**
 * How many requests cost the proxy as much CPU time as the row wants: found by more and more of them, which warms up what serves them.
 * CPU time and not that of the clock: on a machine that is busy with other things the same work is done.
 */
export async function countFor(row: LoadRow, attempt: (requests: number) => Promise<number>): Promise<number> {
  let requests = leastRequests(row) * 2;
  for (;;) {
    const seconds = Math.max(1e-4, await attempt(requests));
    const wanted = Math.max(leastRequests(row), Math.round((requests * row.seconds) / seconds));
    if (seconds >= row.seconds * ENOUGH) return wanted;
    requests = Math.min(wanted, requests * GROWTH);
  }
}

/**
 * How many requests each one's measurement of a row has. Of versions of one program (`alike`) all have as many as the first: what a measurement
 * costs by itself, such as its connections, would otherwise weigh more for the one that was given fewer, in every round.
 */
export class Counts {
  readonly #alike: boolean;
  readonly #first = new Map<string, number>();

  constructor(alike: boolean) {
    this.#alike = alike;
  }

  /** `find` is called for everybody, since it warms up. */
  async of(what: string, find: () => Promise<number>): Promise<number> {
    const own = await find();
    if (!this.#alike) return own;
    const count = this.#first.get(what) ?? own;
    this.#first.set(what, count);
    return count;
  }
}

export async function measureLoad(s: Setting, subject: Subject, row: LoadRow, requests: number): Promise<Sample> {
  const { result, ticks, mainTicks } = await using(subject, () => load(s, subject.port, row, requests));
  const made = partsOf(row, requests).reduce((n, p) => n + p.requests, 0);
  return { requests: made, failures: 0, seconds: result, ticks, mainTicks };
}
