/**
 * `make bench [ROWS=m1,idle] [ROUNDS=3] [ENGINES=matrixai,nginx] [SCALE=0.1] [PROFILE=1]`: the whole proxy, engine beside engine in one run.
 * docs/develop/benchmarks.md says how it measures and how to read it.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { execFileSync } from 'node:child_process';
import { join, relative } from 'node:path';
import { figuresOf, type Sample } from './figures.ts';
import { measureIdle, measureLoad, warmUp } from './measure.ts';
import { nginxVersion, startBackend, startNginxProxy } from './nginx.ts';
import { readOptions, type EngineChoice, type Options } from './options.ts';
import { Profiler, selfTimes } from './profile.ts';
import { stopAll } from './program.ts';
import { ROWS, type IdleRow, type LoadRow } from './rows.ts';
import { makeSetting, ROOT, TOOLS, type Setting, type Subject } from './setting.ts';
import { startSpooky, type SpookySubject } from './spooky.ts';
import { ratiosOf, tableOf, type Result, type RowResult } from './table.ts';

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const began = performance.now();
const progress = (text: string): void =>
  void process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`);
const messageOf = (e: unknown): string => (e instanceof Error ? e.message : String(e));
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** Those that can run here; one that cannot is named, so that a table without it is no surprise. */
function present(engines: readonly EngineChoice[]): EngineChoice[] {
  const addon = process.env['SPOOKY_NATIVE'] || join(ROOT, 'native', 'spooky-quic.node');
  return engines.filter((name) => {
    if (name !== 'native' || existsSync(addon)) return true;
    say(`SKIPPED: engine native, because ${relative(ROOT, addon)} is not built (make native)`);
    return false;
  });
}

class Bench {
  readonly s: Setting;
  readonly o: Options;
  readonly engines: readonly EngineChoice[];
  readonly results = new Map<string, Map<string, Result>>();
  readonly versions = new Map<string, string>();
  readonly #nginx: string;
  #backend = '';
  #folders = 0;

  constructor(s: Setting, o: Options, engines: readonly EngineChoice[]) {
    this.s = s;
    this.o = o;
    this.engines = engines;
    // nginx says its version on standard error.
    this.#nginx = nginxVersion(execFileSync('sh', ['-c', '"$0" run nginx -v 2>&1', join(TOOLS, 'sid')], { encoding: 'utf8' }));
  }

  async run(): Promise<void> {
    this.#backend = (await startBackend(this.s)).address;
    const loads = this.o.rows.filter((row) => row.kind === 'load');
    if (loads.length > 0) await this.#loads(loads);
    for (const row of this.o.rows) if (row.kind === 'idle') for (const engine of this.engines) await this.#idle(engine, row);
  }

  async #start(engine: EngineChoice): Promise<Subject> {
    const folder = `${engine}-${this.#folders++}`;
    const subject =
      engine === 'nginx'
        ? await startNginxProxy(this.s, folder, this.#nginx, this.#backend)
        : await startSpooky(this.s, this.#backend, { engine, folder, inspect: this.o.profile });
    this.versions.set(engine, subject.version);
    return subject;
  }

  #note(row: string, engine: string, result: Result): void {
    const ofRow = this.results.get(row) ?? new Map<string, Result>();
    this.results.set(row, ofRow.set(engine, result));
  }

  /** Engines take turns within a row, and every round begins with another: what the machine does meanwhile hits all alike. */
  async #loads(rows: readonly LoadRow[]): Promise<void> {
    const subjects = await Promise.all(this.engines.map((engine) => this.#start(engine)));
    const samples = new Map<string, Sample[]>();
    for (let round = 0; round < this.o.rounds; round++) {
      const turned = subjects.map((_, i) => subjects[(i + round) % subjects.length] as Subject);
      for (const row of rows) {
        for (const subject of turned) await this.#sample(subject, row, round, samples);
      }
    }
    for (const row of rows) {
      for (const { name } of subjects) {
        const taken = samples.get(`${row.name} ${name}`);
        const failed = this.results.get(row.name)?.get(name);
        if (failed === undefined) this.#note(row.name, name, { figures: figuresOf(taken ?? [], ticksPerSecond) });
      }
    }
    for (const subject of subjects) await subject.stop();
  }

  async #sample(subject: Subject, row: LoadRow, round: number, samples: Map<string, Sample[]>): Promise<void> {
    if (this.results.get(row.name)?.get(subject.name) !== undefined) return; // it has failed
    const key = `${row.name} ${subject.name}`;
    try {
      await warmUp(this.s, subject, row, round === 0 ? 0.5 : 0.1);
      const measured = this.o.profile ? await this.#profiled(subject as SpookySubject, row) : await measureLoad(this.s, subject, row);
      samples.set(key, [...(samples.get(key) ?? []), measured]);
      const micros = (measured.workerTicks * 1e6) / ticksPerSecond / measured.requests;
      progress(`round ${round + 1}, ${row.title}, ${subject.name}: ${micros.toPrecision(3)} us CPU per request`);
    } catch (e) {
      progress(`round ${round + 1}, ${row.title}, ${subject.name}: FAILED: ${messageOf(e)}`);
      this.#note(row.name, subject.name, { failed: messageOf(e) });
    }
  }

  async #profiled(subject: SpookySubject, row: LoadRow): Promise<Sample> {
    const profiler = await Profiler.open(subject.program, subject.workers[0] ?? 0);
    await profiler.start();
    const sample = await measureLoad(this.s, subject, row);
    const profile = await profiler.stop();
    profiler.close();
    const dir = join(ROOT, 'build', 'profiles');
    mkdirSync(dir, { recursive: true });
    const file = join(dir, `${subject.name}-${row.name}.cpuprofile`);
    writeFileSync(file, JSON.stringify(profile));
    say(`\n${row.title}, ${subject.name}: own time of functions (${relative(ROOT, file)} opens in Chromium's developer tools)`);
    for (const { name, share } of selfTimes(profile).slice(0, 40)) say(`${(share * 100).toFixed(1).padStart(6)} %  ${name}`);
    return sample;
  }

  /** In a process of its own: what other rows have left behind is not counted. */
  async #idle(engine: EngineChoice, row: IdleRow): Promise<void> {
    try {
      const subject = await this.#start(engine);
      const busy = ROWS.find((r): r is LoadRow => r.kind === 'load');
      if (busy !== undefined) await warmUp(this.s, subject, busy, 0.2);
      const idleBytes = await measureIdle(this.s, subject, row);
      this.#note(row.name, engine, { idleBytes });
      progress(`${row.title}, ${engine}: ${(idleBytes / 1024).toFixed(1)} KiB`);
      await subject.stop();
    } catch (e) {
      progress(`${row.title}, ${engine}: FAILED: ${messageOf(e)}`);
      this.#note(row.name, engine, { failed: messageOf(e) });
    }
  }

  rows(): RowResult[] {
    return this.o.rows.map((row) => ({
      name: row.name,
      title: row.title,
      results: Object.fromEntries(
        this.engines.flatMap((e) => [[e, this.results.get(row.name)?.get(e) ?? { failed: 'not measured' }] as const]),
      ),
    }));
  }
}

function save(bench: Bench, rows: readonly RowResult[]): string {
  const dir = join(ROOT, 'test', 'bench', 'results');
  mkdirSync(dir, { recursive: true });
  const when = new Date().toISOString();
  const file = join(dir, `${when.replaceAll(':', '-').slice(0, 19)}.json`);
  const machine = { cpu: cpus()[0]?.model ?? '', cores: cpus().length, kernel: release(), node: process.versions.node };
  const { rounds, scale, profile } = bench.o;
  const whole = {
    when,
    machine,
    rounds,
    scale,
    profile,
    engines: Object.fromEntries(bench.versions),
    rows: rows.map((row) => ({ ...row, ratios: ratiosOf(row) })),
  };
  writeFileSync(file, `${JSON.stringify(whole, null, 2)}\n`);
  return relative(ROOT, file);
}

async function main(): Promise<number> {
  const o = readOptions(process.env);
  if (typeof o === 'string') {
    process.stderr.write(`bench: ${o}\n`);
    return 2;
  }
  if (availableParallelism() < 2) {
    process.stderr.write('bench: two cores are needed, one for the proxy and one for load and backend\n');
    return 2;
  }
  const engines = present(o.engines);
  const s = makeSetting();
  try {
    const bench = new Bench(s, o, engines);
    say(`${engines.join(', ')}; ${o.rounds} rounds${o.profile ? '; PROFILED, the figures are those of a profiled worker' : ''}`);
    await bench.run();
    const rows = bench.rows();
    say(
      `\n${readFileSync('/proc/loadavg', 'utf8').split(' ').slice(0, 3).join(' ')} load average; ${[...bench.versions].map((v) => v.join(' ')).join(', ')}\n`,
    );
    say(tableOf(rows));
    say(save(bench, rows));
    return rows.some((row) => Object.values(row.results).some((r) => 'failed' in r)) ? 1 : 0;
  } finally {
    await stopAll();
    s.remove();
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stopAll().then(() => process.exit(130)));
main().then(
  (code) => process.exit(code),
  (e: unknown) => {
    process.stderr.write(`bench: ${messageOf(e)}\n`);
    process.exit(1);
  },
);
