import { performance, type EventLoopUtilization } from 'node:perf_hooks';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Clock } from './clock.ts';

const PERIOD_MS = 5000;
/** The share of its time that an idle process may work: some requests and probes, also on a busy machine, where it waits for its CPU while it works. */
const IDLE = 0.05;
/** The end of a period, which is to be idle by itself: what has just begun to come is not to wait for a collection. */
const END_MS = 100;
/** How much work since the last collection is worth one, in milliseconds. */
const WORTH_MS = 2000;

export interface IdleOptions {
  readonly clock: Clock;
  /** Of the time since `since`; how much the loop worked. */
  readonly utilization: (since: EventLoopUtilization | undefined) => EventLoopUtilization;
  /** True: once more, when the process has been idle for another period. */
  readonly collect: () => boolean;
}

/**
 * V8 collects when it needs room, not when it has time: after a burst a quiet process keeps the garbage, and the connections behind it, for as long as
 * it stays quiet. This collects once after every burst, when the loop has been idle for a period.
 */
export function collectWhenIdle(o: IdleOptions): () => void {
  let last: EventLoopUtilization | undefined;
  let owed = 0;
  let cancel = (): void => {};
  /** Since it was asked last. */
  const idle = (): boolean => {
    const now = o.utilization(undefined);
    const used = last === undefined ? now : o.utilization(last);
    last = now;
    owed += used.active;
    return used.utilization <= IDLE;
  };
  const begin = (): void => {
    cancel = o.clock.after(PERIOD_MS - END_MS, () => {
      const before = idle();
      cancel = o.clock.after(END_MS, () => {
        if (idle() && before && owed >= WORTH_MS) owed = o.collect() ? WORTH_MS : 0;
        begin();
      });
    });
  };
  begin();
  return () => cancel();
}

/** A heap of this size is collected at once in some 15 ms. */
const AT_ONCE = 48 * 1024 * 1024;
/** What V8 keeps of its pages beyond what is in use; so much is worth some 35 ms. */
const KEPT = 16 * 1024 * 1024;

interface HowToCollect {
  readonly type: 'minor' | 'major';
  readonly execution?: 'sync';
  readonly flavor?: 'last-resort';
}

/**
 * The collector of this process. A whole collection at once gives back the most, and stops the process: with 150 MiB of configuration for 40 ms. So in a
 * large heap V8 is made to begin to mark, which goes on in other threads and between turns; what has to be done at once at the end takes a tenth of
 * that. V8 judges whether to begin when it has looked through the young generation, and under this switch, which says no more than that, it always does.
 * What was mostly garbage is small afterwards: the second time it is collected at once, too. Where that leaves many pages empty, V8 keeps them, for ever
 * if nothing happens: only what it does before it gives up gives them back to the system (`givesBack`: for who has time for that).
 */
export function processCollector(givesBack: boolean): () => boolean {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as (options?: HowToCollect) => void;
  let again = false;
  let kept = false;
  const atOnce = (pages: number): boolean => {
    if (kept) gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    else gc();
    kept = givesBack && !kept && pages - getHeapStatistics().used_heap_size >= KEPT;
    return kept;
  };
  return () => {
    const { used_heap_size: used, total_heap_size: pages } = getHeapStatistics();
    if (used < AT_ONCE) {
      again = false;
      return atOnce(pages);
    }
    kept = false;
    setFlagsFromString('--stress-incremental-marking');
    try {
      gc({ type: 'minor' });
    } finally {
      setFlagsFromString('--no-stress-incremental-marking');
    }
    again = !again;
    return again;
  };
}

export const processUtilization = (since: EventLoopUtilization | undefined): EventLoopUtilization =>
  since === undefined ? performance.eventLoopUtilization() : performance.eventLoopUtilization(since);
