import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll } from '@jest/globals';
import { ENGINE } from './engine.ts';
import { Child, eventually, parseLine, type Exit } from './process.ts';
import { ROOT } from './peers.ts';

const folders: string[] = [];
afterAll(() => {
  for (const dir of folders) rmSync(dir, { recursive: true, force: true });
});

/** A folder that goes with the test file. */
export function temporaryFolder(name = 'spooky'): string {
  const dir = mkdtempSync(join(tmpdir(), `${name}-`));
  folders.push(dir);
  return dir;
}

export type Files = Readonly<Record<string, string | Buffer>>;

export interface SpookyOptions {
  /** The YAML documents, as one file. */
  readonly documents: string;
  /** What they refer to, by names relative to them. */
  readonly files?: Files;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Where another one ran before: its files stay as they are. */
  readonly dir?: string;
}

const CONFIG = 'spooky.yaml';
/** Another build can be put to the test by naming it. */
export const BIN = process.env['SPOOKY_BIN'] ?? join(ROOT, 'bin', 'spooky');

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface WorkerRow {
  readonly worker: number;
  /** Of its process, as in connection ids. */
  readonly number: number;
  readonly pid: number;
  readonly state: string;
  readonly version: number;
  readonly connections: number;
  readonly memoryBytes: number;
}

/** A running `spooky serve` with a configuration and an engine of its own: ENGINE, unless its arguments say another. */
export class Spooky {
  readonly dir: string;
  readonly child: Child;
  readonly ready: Readonly<Record<string, unknown>>;
  readonly metricsUrl: string;
  readonly adminUrl: string;
  /** How long the start took: what the start of a worker may take is measured by it, on machines of any speed. */
  readonly startedMs: number;

  constructor(dir: string, child: Child, ready: Readonly<Record<string, unknown>>) {
    this.dir = dir;
    this.child = child;
    this.ready = ready;
    // In tens, so that parts of it are whole.
    this.startedMs = Math.ceil((performance.now() - child.began) / 10) * 10;
    this.metricsUrl = `http://${String(ready['metrics'])}`;
    this.adminUrl = `http://${String(ready['admin'])}`;
  }

  /** Replaces a file by a rename, as editors and operators do. */
  write(name: string, content: string | Buffer): void {
    const path = join(this.dir, name);
    writeFileSync(`${path}.new`, content);
    renameSync(`${path}.new`, path);
  }

  change(documents: string): void {
    this.write(CONFIG, documents);
  }

  async text(url: string): Promise<{ status: number; body: string }> {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
    return { status: answer.status, body: await answer.text() };
  }

  async admin<T>(path: string): Promise<T> {
    const { status, body } = await this.text(`${this.adminUrl}${path}`);
    if (status !== 200) throw new Error(`GET ${path}: ${status}`);
    return JSON.parse(body) as T;
  }

  async metrics(): Promise<Sample[]> {
    const { body } = await this.text(`${this.metricsUrl}/metrics`);
    return parseMetrics(body);
  }

  /** The sum of a metric's samples that carry these labels. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels);
    const samples = (await this.metrics()).filter((s) => s.name === name && wanted.every(([key, value]) => s.labels[key] === value));
    return samples.reduce((sum, s) => sum + s.value, 0);
  }

  /** Waits until a metric has grown past a value, as after a change of configuration. */
  async metricAbove(name: string, labels: Readonly<Record<string, string>>, above: number, timeoutMs = 30_000): Promise<number> {
    return eventually(async () => {
      const value = await this.metric(name, labels);
      if (value <= above) throw new Error(`${name} is ${value}`);
      return value;
    }, timeoutMs);
  }

  /** Changes the documents and waits until every worker serves them. */
  async apply(documents: string): Promise<void> {
    const before = await this.metric('spooky_config_apply_total', { result: 'applied' });
    this.change(documents);
    await this.metricAbove('spooky_config_apply_total', { result: 'applied' }, before);
  }

  async workers(): Promise<readonly WorkerRow[]> {
    return (await this.admin<{ workers: WorkerRow[] }>('/admin/workers')).workers;
  }

  /** Log lines of a message, in order. */
  logs(msg: string): Record<string, unknown>[] {
    return this.child.stderr.map(parseLine).filter((line): line is Record<string, unknown> => line !== undefined && line['msg'] === msg);
  }

  /** The process id of the only worker. */
  async worker(): Promise<number> {
    const workers = await this.workers();
    if (workers.length !== 1) throw new Error(`${workers.length} workers`);
    return workers[0]?.pid as number;
  }

  stop(): Promise<Exit> {
    return this.child.stop(45_000);
  }

  /** As a power cut would: the main process and its workers are gone when it returns. */
  async kill(): Promise<void> {
    const pids = [this.child.pid, ...(await this.workers()).map((w) => w.pid)];
    for (const pid of pids) if (alive(pid)) process.kill(pid, 'SIGKILL');
    await this.child.exited;
    await eventually(() => (pids.some(alive) ? Promise.reject(new Error('still there')) : Promise.resolve()));
  }
}

export async function startSpooky(options: SpookyOptions): Promise<Spooky> {
  const dir = options.dir ?? temporaryFolder();
  for (const [name, content] of Object.entries({ ...options.files, [CONFIG]: options.documents })) {
    mkdirSync(dirname(join(dir, name)), { recursive: true });
    writeFileSync(join(dir, name), content);
  }
  const fixed = ['serve', '--config', join(dir, CONFIG), '--log-format', 'json'];
  const args = options.args ?? [];
  const usual = { '--metrics': '127.0.0.1:0', '--admin': '127.0.0.1:0', '--engine': ENGINE.name };
  for (const [flag, value] of Object.entries(usual)) if (!args.includes(flag)) fixed.push(flag, value);
  const child = new Child(BIN, [...fixed, ...args], { cwd: dir, env: options.env });
  const ready = await child.waitFor(
    'stderr',
    (line) => {
      const json = parseLine(line);
      return json?.['msg'] === 'ready' ? json : undefined;
    },
    60_000,
  );
  return new Spooky(dir, child, ready);
}

/** A bound in milliseconds for what processes do: on machines so slow, or so busy, that it says nothing, thrice what the start of this one took there. */
export const within = (spooky: Spooky, ms: number): number => Math.max(ms, 3 * spooky.startedMs);

/** A zombie that nobody has reaped yet is dead all the same. */
export function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Resident memory of a process, in bytes. */
export function residentMemory(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

/** `spooky demo` on a port of its own; answers its address. */
export async function startDemo(): Promise<{ child: Child; address: string }> {
  const child = new Child(BIN, ['demo', '--listen', '127.0.0.1:0']);
  const pick = (line: string): string | undefined => /127\.0\.0\.1:[1-9]\d*/.exec(line)?.[0];
  const address = await Promise.any([child.waitFor('stdout', pick), child.waitFor('stderr', pick)]);
  return { child, address };
}

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const match = SAMPLE.exec(line);
    if (match === null) continue;
    const labels = Object.fromEntries([...(match[2] ?? '').matchAll(LABEL)].map((m) => [m[1] ?? '', m[2] ?? '']));
    samples.push({ name: match[1] ?? '', labels, value: Number(match[3]) });
  }
  return samples;
}
