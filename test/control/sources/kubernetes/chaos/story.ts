/**
 * Hundreds of writes a second while everything goes wrong between the source and its API server. In the middle of it no state may lack what
 * nobody touched; afterwards what the source has is what the server lists.
 */
import { createClient } from '../../../../../src/control/sources/kubernetes/client.ts';
import { createKubernetesSource, type KubernetesSource } from '../../../../../src/control/sources/kubernetes/source.ts';
import type { SourceState } from '../../../../../src/control/sources/source.ts';
import { systemClock, type Clock } from '../../../../../src/lib/clock.ts';
import { createLog } from '../../../../../src/lib/log.ts';
import { seeded } from '../contract/random.ts';
import { installation } from '../story.ts';
import { beginning, nextWrite, STEADY } from './churn.ts';
import type { ChaosTarget } from './target.ts';
import { serverTruth, sourceTruth, type Truth } from './truth.ts';

export interface ChaosOptions {
  readonly seed: number;
  /** How long things go wrong; a busy machine that has not written what belongs to that time goes on, to four times of it. */
  readonly ms: number;
  readonly writesPerSecond: number;
  /** From one fault to the next, at most. */
  readonly everyMs: number;
  readonly clock: Clock;
  /** How long the source may take to be right again, by the wall's time. */
  readonly healMs: number;
}

export interface ChaosReport {
  readonly writes: number;
  readonly states: number;
  /** What went wrong, how often. */
  readonly faults: Readonly<Record<string, number>>;
  /** What the source counted, by kind and reason. */
  readonly counted: Readonly<Record<string, number>>;
  /** States, and answers about endpoints, that lacked what nobody touched. */
  readonly lacking: readonly string[];
  /** From the end of the faults to the right state; null: it never came. */
  readonly healedMs: number | null;
  readonly server: Truth;
  readonly source: Truth;
  /** Lines of the log at level error. */
  readonly errors: readonly string[];
}

/** Minutes pass in seconds. */
export const hurried = (times: number): Clock => ({
  now: () => systemClock.now() * times,
  wall: () => systemClock.wall(),
  after: (ms, fn) => systemClock.after(ms / times, fn),
});

const BITE = 100;
/** The last bites of the time may come after it. */
const PART_WRITTEN = 0.95;
const SLOWER = 4;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export async function chaos(target: ChaosTarget, o: ChaosOptions): Promise<ChaosReport> {
  const random = seeded(o.seed);
  for (const object of beginning()) await target.write({ what: 'put', object });
  const errors: string[] = [];
  const log = createLog({ level: 'error', format: 'plain', wall: () => 0, write: (line) => errors.push(line) });
  const api = createClient({ credentials: await target.credentials(o.clock, log), clock: o.clock, log, userAgent: 'spooky/chaos' });
  const counted: Record<string, number> = {};
  const count = (...words: string[]): void => void (counted[words.join(' ')] = (counted[words.join(' ')] ?? 0) + 1);
  const source = createKubernetesSource({
    api,
    installation: installation(),
    namespaces: null,
    nodes: false,
    zone: null,
    nodeName: '',
    clock: o.clock,
    log,
    random,
    hooks: {
      list: () => count('list'),
      reconnect: () => count('reconnect'),
      event: () => count('event'),
      error: (_kind, reason) => count('error', reason),
      heard: () => undefined,
      synced: () => undefined,
      objects: () => undefined,
      gone: () => undefined,
    },
  });
  const watched = watchSteady(source);
  try {
    let last = await source.start((state) => watched.see((last = state)));
    watched.see(last);
    const { writes, faults } = await disturbed(target, o);
    await target.heal();
    const { healedMs, server, mine } = await healed(target, source, () => last, o.healMs);
    return { writes, states: watched.states(), faults, counted, lacking: watched.lacking, healedMs, server, source: mine, errors };
  } finally {
    watched.stop();
    await source.stop();
    api.close();
  }
}

interface Watched {
  see(state: SourceState): void;
  states(): number;
  stop(): void;
  readonly lacking: string[];
}

function watchSteady(source: KubernetesSource): Watched {
  const { namespace, name, addresses } = STEADY;
  const key = `${namespace}/${name}`;
  const lacking: string[] = [];
  let states = 0;
  const checkEndpoints = (): void => {
    const found = source.endpoints.endpoints({ namespace, name, portName: 'web' }).map((e) => e.address);
    if (found.toSorted().join() !== addresses.join()) lacking.push(`endpoints: ${found.join()}`);
  };
  const stop = source.endpoints.onChange(() => states > 0 && checkEndpoints());
  return {
    lacking,
    states: () => states,
    stop,
    see({ set }) {
      states++;
      if (!set.upstreams.has(key)) lacking.push('Upstream');
      if (!set.secrets.has(key)) lacking.push('Secret');
      if (set.cluster?.services.has(key) !== true) lacking.push('Service');
      if (set.cluster?.namespaces.has(namespace) !== true) lacking.push('Namespace');
      checkEndpoints();
    },
  };
}

async function disturbed(target: ChaosTarget, o: ChaosOptions): Promise<{ writes: number; faults: Record<string, number> }> {
  // Streams of their own: how many writes fit between two faults does not change which faults come.
  const [forWrites, forFaults] = [seeded(o.seed), seeded(~o.seed)];
  const faults: Record<string, number> = {};
  const from = performance.now();
  let writes = 0;
  let next = 0;
  const wanted = (PART_WRITTEN * o.ms * o.writesPerSecond) / 1000;
  for (let now = 0; now < o.ms || (writes < wanted && now < SLOWER * o.ms); now = performance.now() - from) {
    // A busy machine does the same in larger bites; a server that cannot follow gets fewer.
    const due = Math.min(Math.floor((now * o.writesPerSecond) / 1000), writes + BITE);
    const bite: Promise<void>[] = [];
    for (; writes < due; writes++) bite.push(target.write(nextWrite(forWrites)));
    await Promise.all(bite);
    if (now >= next) {
      next = now + forFaults() * o.everyMs;
      const what = await target.disturb(forFaults);
      faults[what] = (faults[what] ?? 0) + 1;
    }
    await pause(5);
  }
  return { writes, faults };
}

async function healed(
  target: ChaosTarget,
  source: KubernetesSource,
  last: () => SourceState,
  boundMs: number,
): Promise<{ healedMs: number | null; server: Truth; mine: Truth }> {
  const from = performance.now();
  for (;;) {
    const server = await serverTruth(target);
    const mine = sourceTruth(source, last());
    const took = performance.now() - from;
    if (JSON.stringify(server) === JSON.stringify(mine)) return { healedMs: took, server, mine };
    if (took > boundMs) return { healedMs: null, server, mine };
    await pause(50);
  }
}
