/**
 * `make bench-config [UPSTREAMS=10000] [ENDPOINTS=5] [HOSTS=2000] [CHANGES=100] [LAYOUTS=one-file,many-files,one-host,cluster,certificates] [CERTIFICATES=1000]`:
 * what configuration of that size costs the real `serve`, from files, or objects of a cluster, to the acknowledgement of all workers; where a change is one
 * of endpoints alone, which workers do not acknowledge, until all of them have taken it up.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cluster } from './cluster.ts';
import { Documents, type Shape } from './documents.ts';
import { spreadsOf, tableOf, type Change, type LayoutResult, type Start } from './figures.ts';
import { measureHandshakes } from './handshakes.ts';
import { endBySignals, Instance } from './instance.ts';
import { readOptions, shapeOf, type Layout, type Options } from './options.ts';
import { makeScratch } from './scratch.ts';

const MIB = 1024 * 1024;
/** Between two changes: what the first left to be done is done. */
const REST_MS = 150;

const say = (text: string): void => void process.stdout.write(`${text}\n`);
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const max = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), 0);
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function started(instance: Instance): Promise<Start> {
  const began = performance.now();
  await instance.line('ready');
  const wallMs = performance.now() - began;
  const readings = await instance.readings();
  const workers = instance.workers();
  return {
    wallMs,
    mainCpuMs: readings.get(instance.main)?.totalMs ?? NaN,
    workerCpuMs: mean(workers.map((pid) => readings.get(pid)?.totalMs ?? NaN)),
    mainMiB: instance.rss(instance.main) / MIB,
    workerMiB: mean(workers.map((pid) => instance.rss(pid))) / MIB,
  };
}

/** When all workers have it. */
type Seen = (instance: Instance) => Promise<number>;

const applied: Seen = (instance) => instance.line('configuration applied').then(() => performance.now());
const taken: Seen = (instance) => instance.lists();

async function changed(instance: Instance, write: () => void, seen: Seen): Promise<Change> {
  const before = await instance.readings();
  const done = seen(instance);
  const began = performance.now();
  write();
  const wallMs = (await done) - began;
  await wait(REST_MS);
  const after = await instance.readings();
  const cpu = (pid: number): number => (after.get(pid)?.totalMs ?? NaN) - (before.get(pid)?.totalMs ?? NaN);
  const workers = instance.workers();
  return {
    wallMs,
    mainCpuMs: cpu(instance.main),
    workerCpuMs: mean(workers.map(cpu)),
    mainPauseMs: after.get(instance.main)?.cpuMs ?? NaN,
    workerPauseMs: max(workers.map((pid) => after.get(pid)?.cpuMs ?? NaN)),
    workerPauseWallMs: max(workers.map((pid) => after.get(pid)?.wallMs ?? NaN)),
  };
}

interface Kind {
  readonly make: (n: number) => () => void;
  readonly seen: Seen;
}

interface Written {
  readonly source: readonly string[];
  readonly kinds: Readonly<Record<string, Kind>>;
  readonly stop: () => Promise<void>;
}

async function written(layout: Layout, root: string, shape: Shape): Promise<Written> {
  const any = (n: number): number => n % shape.upstreams;
  if (layout === 'cluster') {
    const cluster = await Cluster.start(shape);
    const route = { make: (n: number) => cluster.route(any(n)), seen: applied };
    const endpoint = { make: (n: number) => cluster.endpoint(any(n)), seen: taken };
    return { source: cluster.arguments, kinds: { route, endpoint }, stop: () => cluster.stop() };
  }
  const documents = new Documents(root, shape);
  const certificate = { make: (n: number) => documents.renew(1 + (n % (shape.certificates - 1))), seen: applied };
  const route = { make: (n: number) => documents.route(any(n)), seen: applied };
  const endpoint = { make: (n: number) => documents.endpoint(any(n)), seen: applied };
  const kinds: Written['kinds'] = layout === 'certificates' ? { certificate } : { route, endpoint };
  return { source: ['--config', documents.folder], kinds, stop: () => Promise.resolve() };
}

async function measure(layout: Layout, o: Options): Promise<LayoutResult> {
  const { folder: root, remove } = makeScratch();
  const { source, kinds, stop } = await written(layout, root, shapeOf(layout, o));
  const probes = join(root, 'probes');
  mkdirSync(probes);
  const instance = new Instance(source, probes, o.workers);
  try {
    const start = await started(instance);
    process.stderr.write(`${layout}: ready after ${start.wallMs.toFixed(0)} ms\n`);
    const changes: Record<string, Change[]> = {};
    await wait(500);
    for (const [kind, { make, seen }] of Object.entries(kinds)) {
      const list: Change[] = (changes[kind] = []);
      for (let i = 0; i < o.changes; i++) list.push(await changed(instance, make(i * 37), seen));
      process.stderr.write(`${layout}: ${o.changes} changes of kind ${kind}\n`);
    }
    const workers = instance.workers();
    return {
      layout,
      start,
      changes,
      mainMiB: instance.rss(instance.main) / MIB,
      workerMiB: mean(workers.map((pid) => instance.rss(pid))) / MIB,
    };
  } finally {
    await instance.stop();
    await stop();
    remove();
  }
}

const options = readOptions(process.env);
if (typeof options === 'string') {
  process.stderr.write(`${options}\n`);
  process.exit(2);
}
endBySignals();
const results: LayoutResult[] = [];
for (const layout of options.layouts) results.push(await measure(layout, options));
say(tableOf(results));
const handshakes = options.layouts.includes('certificates') ? await measureHandshakes(options) : null;
if (handshakes !== null) {
  const { certificates, oneMs, manyMs } = handshakes;
  say(
    `\nA full handshake: ${oneMs.toFixed(2)} ms CPU of a worker with 1 certificate, ${manyMs.toFixed(2)} ms with ${certificates} (${(manyMs / oneMs).toFixed(2)}).`,
  );
}
const folder = join(import.meta.dirname, '../results');
mkdirSync(folder, { recursive: true });
const json = results.map(({ changes, ...rest }) => ({
  ...rest,
  changes: Object.fromEntries(Object.entries(changes).map(([kind, list]) => [kind, spreadsOf(list)])),
}));
writeFileSync(join(folder, 'config.json'), `${JSON.stringify({ options, results: json, handshakes }, null, 2)}\n`);
say(`\n${join(folder, 'config.json')}`);
