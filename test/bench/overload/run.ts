/**
 * `make overload`: the whole of `serve` on a fifth of a core and 512 MiB, offered three times its capacity. In the cage are main process and
 * worker, as they are in a pod: whoever asks for health asks a process that has to share with the one that is overloaded.
 */
import { join } from 'node:path';
import { messageOf } from '../../../src/lib/message.ts';
import { startBackend } from '../proxy/backend.ts';
import { endBySignals, Program, stopAll, wait } from '../proxy/program.ts';
import { PATHS } from '../proxy/rows.ts';
import { CPU, makeSetting, type Setting } from '../proxy/setting.ts';
import { figuresOf, recoveryOf, type Answer } from './answers.ts';
import { Cage } from './cage.ts';
import { Health } from './health.ts';
import { closedLoad, newcomers, openLoad } from './load.ts';
import { readOptions, type Kind } from './options.ts';
import { startCaged, type Caged } from './subject.ts';
import { shortfalls, type Story } from './verdict.ts';

/** Less of a core where the generator has less to itself. */
const ALLOWANCE = { bytes: 512 << 20, weight: 100 };
/** Generator and backend; and who asks for health. */
const [GENERATOR, PROBER] = [{ weight: 24 }, { weight: 100 }];
const TIMES = 3;
const EXIT_USAGE = 2;
const EXIT_IMPOSSIBLE = 3;
const [SLOW_MS, SLOW_STREAMS] = [100, 8];
/** Of an answer to a client that asks alone: a cage that has used up its share waits for most of a tenth of a second. */
const SOON_MS = 500;
const CLIENTS = 128;

const say = (text: string): void => void process.stdout.write(`${text}\n`);

/** What it can do of this kind, at its best; and the load that is so many a second, for so long. */
interface Load {
  readonly path: string;
  capacity(): Promise<number>;
  offer(perSecond: number, seconds: number): Promise<Answer[]>;
}

const rateOf = (answers: readonly Answer[]): number => {
  const last = answers.reduce((max, { at, ms }) => Math.max(max, at + ms), 0);
  // The beginning is not measured.
  return figuresOf(answers, last - 4000, last).goodput;
};

/** Answers of our own that say 503. */
const delivered = (caged: Caged): Promise<number> => caged.counted(/^spooky_requests_total\{.*code="200",reason="ok"/);
const refusals = (caged: Caged): Promise<number> => caged.counted(/^spooky_requests_total\{.*code="503"/);

function loadOf(kind: Kind, s: Setting, caged: Caged): Load {
  const { port } = caged;
  const path = kind === 'slow' ? '/slow' : PATHS.small;
  const offer = (perSecond: number, seconds: number): Promise<Answer[]> => openLoad(s, port, path, CLIENTS, perSecond, seconds);
  if (kind !== 'connections') return { path, offer, capacity: async () => rateOf(await closedLoad(s, port, path, 64, 16, 6)) };
  return {
    path,
    offer: (perSecond, seconds) => newcomers(s, port, path, perSecond, seconds),
    // The most of any rate: beyond it some are turned away, and it is not known beforehand where that begins.
    capacity: async () => {
      let most = 0;
      for (let rate = 80; rate < 5000; rate *= 1.5) {
        const load = newcomers(s, port, path, rate, 6);
        await wait(2000);
        // While they come: those who are answered when no others come any more are none that it can do a second.
        const [before, from] = [await delivered(caged), Date.now()];
        await wait(4000);
        const good = ((await delivered(caged)) - before) / ((Date.now() - from) / 1000);
        await load;
        most = Math.max(most, good);
        say(`    ${rate.toFixed(0)} newcomers/s: ${good.toFixed(0)} answered`);
        if (good < 0.7 * rate) break;
      }
      return most;
    },
  };
}

async function tell(kind: Kind, s: Setting, { cage, prober }: Cages, caged: Caged, seconds: number): Promise<Story> {
  const load = loadOf(kind, s, caged);
  const capacity = await load.capacity();
  say(`  ${kind}: capacity ${capacity.toFixed(0)}/s, offered ${(TIMES * capacity).toFixed(0)}/s for ${seconds} s`);
  await wait(2000);
  const [before, throttled] = [await refusals(caged), cage.throttling()];
  const health = await Health.ask(`${caged.metrics}/healthz`, prober);
  const from = Date.now();
  const good = await delivered(caged);
  const offered = load.offer(TIMES * capacity, seconds);
  await wait(seconds * 1000);
  // By our own count: a generator whose clients still try when it is ended tells nothing of those that were answered.
  const goodput = ((await delivered(caged)) - good) / ((Date.now() - from) / 1000);
  const to = Date.now();
  await health.stop();
  const answers = await offered;
  const probing = Date.now();
  const probes = await openLoad(s, caged.port, load.path, 4, 40, 8).catch(() => []);
  const figures = figuresOf(answers, from + 2000, to);
  const all = figuresOf(answers, from, Infinity);
  const now = cage.throttling();
  const story = {
    capacity,
    goodput,
    healthP99: health.within(0.99),
    healthFailed: health.failed,
    refused: all.refused,
    counted: (await refusals(caged)) - before,
    refusedP99: all.refusedP99,
    goodP99: all.goodP99,
    recoveryMs: recoveryOf(probes, probing, SOON_MS),
    restarts: (await caged.workerPid()) === caged.worker ? 0 : 1,
    kills: cage.kills(),
  };
  say(`    ${goodput.toFixed(0)}/s answered (${((100 * goodput) / capacity).toFixed(0)} %), 99 % within ${figures.goodP99.toFixed(0)} ms; ${all.refused} refused, within ${all.refusedP99.toFixed(0)} ms; ${all.failed} others`); // prettier-ignore
  say(`    health within ${health.within(0.5).toFixed(0)}, ${story.healthP99.toFixed(0)}, ${health.within(1).toFixed(0)} ms (half, 99 %, all of ${health.times.length}); recovery after ${story.recoveryMs.toFixed(0)} ms`); // prettier-ignore
  say(`    throttled in ${now.throttled - throttled.throttled} of ${now.periods - throttled.periods} periods`);
  return story;
}

interface Cages {
  /** The proxy's. */
  readonly cage: Cage;
  readonly prober: Cage;
  /** This process, and what it starts and has no other. */
  readonly generator: Cage;
}

function makeCages(cores: number): Cages | string {
  const made: Cage[] = [];
  for (const [name, allowance] of Object.entries({ proxy: { ...ALLOWANCE, cores }, prober: PROBER, generator: GENERATOR })) {
    const cage = Cage.make(name, allowance);
    if (typeof cage === 'string') {
      for (const other of made) other.remove();
      return cage;
    }
    made.push(cage);
  }
  const [cage, prober, generator] = made as [Cage, Cage, Cage];
  generator.enter();
  return { cage, prober, generator };
}

async function startSlow(): Promise<string> {
  const program = new Program(process.execPath, ['--no-warnings', join(import.meta.dirname, 'slow.ts'), String(SLOW_MS), String(SLOW_STREAMS)], { cpu: CPU.load }); // prettier-ignore
  return `127.0.0.1:${await program.waitFor((line) => /^port (\d+)$/.exec(line)?.[1])}`;
}

async function main(): Promise<number> {
  const options = readOptions(process.env);
  if (typeof options === 'string') {
    process.stderr.write(`overload: ${options}\n`);
    return EXIT_USAGE;
  }
  const { engines, kinds, seconds, cores } = options;
  let short = 0;
  for (const engine of engines) {
    const cages = makeCages(cores);
    if (typeof cages === 'string') {
      process.stderr.write(`overload: ${cages}; nothing was measured\n`);
      return EXIT_IMPOSSIBLE;
    }
    const s = makeSetting();
    // Also when it is told to end: stopAll has ended what was in the cage by then.
    const leave = (): void => {
      s.remove();
      cages.generator.leave();
      for (const cage of Object.values(cages) as Cage[]) cage.remove();
    };
    process.once('exit', leave);
    try {
      const caged = await startCaged(s, cages.cage, engine, await startBackend(s), await startSlow());
      say(`${engine}: ${cores} of a core, ${ALLOWANCE.bytes >> 20} MiB`);
      for (const kind of kinds) {
        const found = shortfalls(await tell(kind, s, cages, caged, seconds));
        short += found.length;
        for (const text of found) say(`    SHORT: ${text}`);
      }
    } finally {
      await stopAll();
      leave();
      process.off('exit', leave);
    }
  }
  return short > 0 ? 1 : 0;
}

endBySignals();
main().then(
  (code) => process.exit(code),
  (e: unknown) => {
    process.stderr.write(`overload: ${messageOf(e)}\n`);
    void stopAll().then(() => process.exit(2));
  },
);
