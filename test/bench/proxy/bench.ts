/** A run: rows by what the proxies have to be configured for, rounds, and within a row one proxy after the other. */
import { execFileSync } from 'node:child_process';
import { messageOf } from '../../../src/lib/message.ts';
import { startBackend } from './backend.ts';
import { absence, entrantsOf, takesPart, workersOf, type Entrant } from './contest.ts';
import { figuresOf, largestShare, latencyOf, total, type Delays, type Sample } from './figures.ts';
import { measureHandshakes } from './measure/handshake.ts';
import { measureIdle } from './measure/idle.ts';
import { capacityOf, measureLatency, slowest } from './measure/latency.ts';
import { countFor, Counts, leastRequests, load, measureLoad } from './measure/load.ts';
import { runStorm, stormLoad } from './measure/rebind.ts';
import type { SpookySubject } from './peers/spooky.ts';
import { wait } from './program.ts';
import type { IdleRow, LoadRow, Row } from './rows.ts';
import { ROWS } from './rows.ts';
import type { Contestant, Setting, Subject } from './setting.ts';
import type { Result, RowResult } from './table.ts';

export const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
/** CPU time of the proxy. */
const secondsOf = (sample: Sample): number => sample.ticks / ticksPerSecond;
/** Of the time that a row takes, for warming up in rounds after the first. */
const AGAIN = 0.1;
/** Requests to a worker after which V8 has compiled what serves them, however short the rows are to be. */
const COMPILED = 60_000;
/** Requests after which buffers and pools have the size that they keep. */
const AT_WORK = 20_000;
/** Between two looks at the connections of workers. */
const LOOK_MS = 100;
const COMMON = ROWS.find((row): row is LoadRow => row.kind === 'load') as LoadRow;

interface Started {
  readonly entrant: Entrant;
  readonly subject: Subject;
}

/** Instead of the plain measurement of a closed loop. */
export type Measure = (s: Setting, subject: Subject, row: LoadRow, requests: number) => Promise<Sample>;

export interface BenchOptions {
  readonly rows: readonly Row[];
  readonly rounds: number;
  readonly contestants: readonly Contestant[];
  readonly progress: (text: string) => void;
  readonly measure?: Measure;
  /** The contestants are versions of one program. */
  readonly alike?: boolean;
}

/** What was taken of one entrant in one row. */
class Taken {
  readonly samples: Sample[] = [];
  readonly delays: Delays[] = [];
  /** Requests that make the time of the row; found in the first round. */
  requests = 0;
  /** Of connections, those of the fullest worker; null where that is not told. */
  share: number | null | undefined;
  over: Result | null = null;
}

const routesOf = (row: Row): number => (row.kind === 'load' ? row.routes : 1);

export class Bench {
  readonly versions = new Map<string, string>();
  readonly #s: Setting;
  readonly #o: BenchOptions;
  readonly #taken = new Map<string, Taken>();
  #backend = '';
  readonly #counts: Counts;
  #folders = 0;
  /** Requests per second of the open loop. */
  #offered = 0;

  constructor(s: Setting, o: BenchOptions) {
    this.#s = s;
    this.#o = o;
    this.#counts = new Counts(o.alike === true);
  }

  async run(): Promise<void> {
    this.#backend = await startBackend(this.#s);
    const loads = this.#o.rows.filter((row) => row.kind !== 'idle');
    for (const routes of new Set(loads.map(routesOf)))
      await this.#stage(
        routes,
        loads.filter((row) => routesOf(row) === routes),
      );
    for (const row of this.#o.rows) if (row.kind === 'idle') for (const e of this.#entrants([row])) await this.#idle(e, row);
  }

  #entrants(rows: readonly Row[]): Entrant[] {
    const workers = new Set([1, ...rows.flatMap(workersOf)]);
    return [...workers].flatMap((n) => entrantsOf(n === 1 ? this.#o.contestants : this.#o.contestants.filter((c) => c.ours), n));
  }

  #of(row: Row, label: string): Taken {
    const key = `${row.name} ${label}`;
    const taken = this.#taken.get(key) ?? new Taken();
    this.#taken.set(key, taken);
    return taken;
  }

  async #start({ contestant, workers, label }: Entrant, routes: number): Promise<Subject> {
    const folder = `${label.replace(' ', '-')}-${this.#folders++}`;
    const subject = await contestant.start(this.#s, { folder, backend: this.#backend, routes, workers });
    this.versions.set(contestant.name, subject.version);
    if (contestant.ours) await load(this.#s, subject.port, { ...COMMON, streams: 8 }, COMPILED * workers);
    return subject;
  }

  /** Every round begins with another: what the machine does meanwhile hits all alike. */
  async #stage(routes: number, rows: readonly Row[]): Promise<void> {
    const started: Started[] = [];
    for (const entrant of this.#entrants(rows)) {
      try {
        started.push({ entrant, subject: await this.#start(entrant, routes) });
      } catch (e) {
        this.#o.progress(`${entrant.label}: did not start: ${messageOf(e)}`);
        for (const row of rows) this.#of(row, entrant.label).over = { failed: `did not start: ${messageOf(e)}` };
      }
    }
    for (let round = 0; round < this.#o.rounds; round++) {
      const turned = started.map((_, i) => started[(i + round) % started.length] as Started);
      for (const row of rows) {
        if (row.kind === 'latency' && this.#offered === 0) await this.#calibrate(started, row);
        for (let turn = 0; turn < (row.kind === 'latency' ? row.turns : 1); turn++)
          for (const one of turned) if (takesPart(row, one.entrant)) await this.#sample(one, row, round);
      }
    }
    for (const { subject } of started) await subject.stop();
  }

  async #calibrate(started: readonly Started[], row: Row): Promise<void> {
    const single = started.filter(({ entrant }) => entrant.workers === 1);
    const peers = single.filter(({ entrant }) => !entrant.contestant.ours);
    const failed = ({ entrant }: Started, why: string): void => {
      this.#o.progress(`latency, ${entrant.label}: FAILED: ${why}`);
      this.#of(row, entrant.label).over ??= { failed: why };
    };
    const capacity = ({ subject }: Started): Promise<number> => capacityOf(this.#s, subject);
    this.#offered = (await slowest(peers.length > 0 ? peers : single, capacity, failed)) / 2;
    if (Number.isNaN(this.#offered))
      for (const one of single) failed(one, 'there is no pace to offer: nobody could be measured of whose it is half');
    else this.#o.progress(`latency: ${this.#offered.toFixed(0)} requests a second are offered`);
  }

  async #sample({ entrant, subject }: Started, row: Row, round: number): Promise<void> {
    const taken = this.#of(row, entrant.label);
    if (taken.over !== null) return;
    const where = `round ${round + 1}, ${row.title}, ${entrant.label}`;
    try {
      this.#o.progress(`${where}: ${await this.#measure(subject, row, taken, entrant)}`);
    } catch (e) {
      this.#o.progress(`${where}: FAILED: ${messageOf(e)}`);
      taken.over = { failed: messageOf(e) };
    }
  }

  async #measure(subject: Subject, row: Row, taken: Taken, entrant: Entrant): Promise<string> {
    if (row.kind === 'latency') {
      const delays = await measureLatency(this.#s, subject, row, this.#offered);
      taken.delays.push(delays);
      return `p50 ${delays.p50} us, p99 ${delays.p99} us`;
    }
    const sample = await this.#load(subject, row, taken, entrant);
    taken.samples.push(sample);
    const { cpuMicros, failedPerMille } = figuresOf([sample], ticksPerSecond);
    return `${cpuMicros.toPrecision(3)} us CPU per request${failedPerMille > 0 ? `, ${sample.failures} failed` : ''}`;
  }

  async #load(subject: Subject, row: Exclude<Row, { kind: 'latency' | 'idle' }> | IdleRow, taken: Taken, e: Entrant): Promise<Sample> {
    if (row.kind === 'idle') throw new Error('an idle row has no load');
    if (row.kind === 'handshake') {
      if (taken.samples.length === 0) await measureHandshakes(this.#s, subject, row); // warms up
      return measureHandshakes(this.#s, subject, row);
    }
    const what = `${row.name}, ${e.workers} workers`;
    const loop = row.kind === 'rebind' ? stormLoad(row) : row;
    if (row.kind === 'rebind') {
      const storm = (): Promise<number> => countFor(loop, async (n) => secondsOf(await runStorm(this.#s, subject, row, n)));
      taken.requests ||= await this.#counts.of(what, storm);
      return runStorm(this.#s, subject, row, taken.requests);
    }
    const first = taken.requests === 0;
    const closed = (): Promise<number> => countFor(row, async (n) => secondsOf(await measureLoad(this.#s, subject, row, n)));
    if (first) taken.requests = await this.#counts.of(what, closed);
    if (!first || row.workers !== null) {
      const warming = load(this.#s, subject.port, row, Math.max(leastRequests(row), Math.round(taken.requests * AGAIN)));
      // Not while it is measured: to tell costs the workers as much as some requests.
      if (row.workers !== null && e.workers > 1) taken.share = await this.#share(subject, warming);
      await warming;
    }
    return (this.#o.measure ?? measureLoad)(this.#s, subject, row, taken.requests);
  }

  /** Asked again and again: what counts is the moment in which most connections are open. */
  async #share(subject: Subject, loading: Promise<unknown>): Promise<number | null> {
    const end = loading.then(
      () => true,
      () => true,
    );
    let most: readonly number[] = [];
    do {
      const counts = await (subject as SpookySubject).connections();
      if (counts === null) return null;
      if (total(counts) > total(most)) most = counts;
    } while (!(await Promise.race([end, wait(LOOK_MS).then(() => false)])));
    return total(most) === 0 ? null : largestShare(most);
  }

  /** In a process of its own: what other rows have left behind is not counted. */
  async #idle(entrant: Entrant, row: IdleRow): Promise<void> {
    const taken = this.#of(row, entrant.label);
    try {
      const subject = await this.#start(entrant, 1);
      await load(this.#s, subject.port, COMMON, AT_WORK);
      const idleBytes = await measureIdle(this.#s, subject, row);
      taken.over = { idleBytes };
      this.#o.progress(`${row.title}, ${entrant.label}: ${(idleBytes / 1024).toFixed(1)} KiB`);
      await subject.stop();
    } catch (e) {
      this.#o.progress(`${row.title}, ${entrant.label}: FAILED: ${messageOf(e)}`);
      taken.over = { failed: messageOf(e) };
    }
  }

  #result(row: Row, entrant: Entrant): Result {
    const why = absence(row, entrant);
    if (why !== null) return { skipped: why };
    const { over, samples, delays, share } = this.#of(row, entrant.label);
    if (over !== null) return over;
    if (row.kind === 'latency' && delays.length > 0) return { latency: latencyOf(delays, this.#offered) };
    if (samples.length === 0) return { failed: 'not measured' };
    return { figures: figuresOf(samples, ticksPerSecond), ...(share === undefined ? {} : { share }) };
  }

  rows(): RowResult[] {
    return this.#o.rows.map((row) => ({
      name: row.name,
      title: row.title,
      results: Object.fromEntries(
        this.#entrants([row])
          .filter((e) => takesPart(row, e) || absence(row, e) !== null)
          .map((e) => [e.label, this.#result(row, e)] as const),
      ),
    }));
  }
}
