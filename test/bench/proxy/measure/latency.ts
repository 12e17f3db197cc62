/** How long answers take when requests come at their own pace. */
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from '../../../../src/lib/message.ts';
import { percentile, type Delays } from '../figures.ts';
import { faultOf, latencyArguments, OPEN_STREAMS } from '../h2load.ts';
import { PATHS, SMALL_BYTES, type LatencyRow, type LoadRow } from '../rows.ts';
import type { Setting, Subject } from '../setting.ts';
import { countFor, load, runH2load } from './load.ts';

/** The beginning, with its handshakes, does not count, nor the end, when the first clients are done. */
const [SKIPPED, LEFT] = [0.2, 0.1];

const CAPACITY: LoadRow = {
  kind: 'load',
  name: 'capacity',
  title: 'capacity',
  path: PATHS.small,
  upload: false,
  clients: 32,
  streams: 8,
  seconds: 1,
  routes: 1,
  byHost: false,
  workers: null,
};

/** Requests per second in a closed loop of 32 x 8. */
export async function capacityOf(s: Setting, { port }: Subject): Promise<number> {
  // Of the clock here: what it can do with what the machine leaves it.
  const count = await countFor(CAPACITY, (n) => load(s, port, CAPACITY, n));
  return count / (await load(s, port, CAPACITY, count));
}

/** The least of what these can do; NaN when none of them can. One that cannot is told of, and does not count. */
export async function slowest<T>(
  all: readonly T[],
  capacity: (one: T) => Promise<number>,
  failed: (one: T, why: string) => void,
): Promise<number> {
  const found: number[] = [];
  for (const one of all) {
    try {
      found.push(await capacity(one));
    } catch (e) {
      failed(one, messageOf(e));
    }
  }
  return found.length > 0 ? Math.min(...found) : NaN;
}

interface Line {
  readonly start: number;
  readonly micros: number;
}

/** h2load's log: microseconds since 1970 at which a request began, its status, microseconds until the end of its answer. */
export function parseLog(text: string): readonly Line[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [start = NaN, status = NaN, micros = NaN] = line.split('\t').map(Number);
      if (!(status >= 200 && status < 300)) throw new Error(`a request ended with status ${status}`);
      return { start, micros };
    });
}

/** The most requests that were open at one time. */
export function mostOpen(lines: readonly Line[]): number {
  const moments = lines.flatMap(({ start, micros }) => [[start, 1] as const, [start + micros, -1] as const]);
  // What ends in the moment in which another begins is not open together with it.
  moments.sort(([a, up], [b, alsoUp]) => a - b || up - alsoUp);
  let open = 0;
  let most = 0;
  for (const [, change] of moments) most = Math.max(most, (open += change));
  return most;
}

/** Of all the streams that clients may have open, those that may be: far from where one of them, with its equal part, has none left. */
const ALLOWED = 1 / 8;
/** Of the requests that were to begin. */
const MADE = 0.95;

/**
 * Delays by the log of a run. As long as no client has as many requests open as it may have, each begins at its time, however long the
 * others take: nothing is left out of what clients would have waited. A run that came near to that is an error, not a figure.
 */
export function delaysOf(lines: readonly Line[], perSecond: number, clients: number): Delays {
  const most = mostOpen(lines);
  if (most > OPEN_STREAMS * clients * ALLOWED)
    throw new Error(`${most} requests were open at one time: more than it can serve at this pace`);
  const starts = Float64Array.from(lines, (l) => l.start).sort();
  const [first = NaN, last = NaN] = [starts[0], starts[starts.length - 1]];
  const [from, to] = [first + (last - first) * SKIPPED, last - (last - first) * LEFT];
  const within = lines.filter(({ start }) => start >= from && start < to);
  const offered = (within.length * 1e6) / (to - from);
  if (!(offered > perSecond * MADE))
    throw new Error(`${offered.toFixed(0)} requests a second were made instead of ${perSecond.toFixed(0)}`);
  const counted = Float64Array.from(within, (l) => l.micros).sort();
  return { p50: percentile(counted, 50), p99: percentile(counted, 99) };
}

/** What else the machine does may hold a run up: so many are made before it is the proxy's own. */
const TRIES = 3;

export async function measureLatency(s: Setting, subject: Subject, row: LatencyRow, perSecond: number): Promise<Delays> {
  const log = join(s.scratch, `latency-${subject.port}.log`);
  for (let tries = 1; ; tries++) {
    rmSync(log, { force: true });
    const result = await runH2load(latencyArguments(row, subject.port, perSecond, PATHS.small, log));
    const fault = faultOf(result, result.done, SMALL_BYTES);
    if (fault !== null) throw new Error(fault);
    try {
      return delaysOf(parseLog(readFileSync(log, 'utf8')), perSecond, row.clients);
    } catch (e) {
      if (tries === TRIES) throw e;
    }
  }
}
