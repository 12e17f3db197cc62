/** `spooky serve` under measurement. */
import { spawn, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { childrenOf, rssBytes } from '../proxy/stat.ts';

const ROOT = join(import.meta.dirname, '../../..');
const PATIENCE_MS = 60_000;

/** What the probe of a process says: since it was asked before, and in all. */
export interface Reading {
  readonly count: number;
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly totalMs: number;
}

type Fields = Readonly<Record<string, unknown>>;

const parse = (line: string): Fields | null => {
  try {
    return JSON.parse(line) as Fields;
  } catch {
    return null;
  }
};

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const running = new Set<Instance>();

/** Told to end, this process ends with all that it has begun. */
export function endBySignals(): void {
  const end = (): void => void Promise.all([...running].map((instance) => instance.stop())).then(() => process.exit(130));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
}

export class Instance {
  readonly main: number;
  private readonly child: ChildProcess;
  private readonly probes: string;
  private readonly lines: string[] = [];
  private readonly waiters = new Set<(line: Fields) => void>();
  private readonly ended: Promise<void>;
  private readonly counts = new Map<number, number>();
  private over = false;

  /** `source`: the arguments that say where configuration comes from. */
  constructor(source: readonly string[], probes: string, workers: number) {
    this.probes = probes;
    const flags = `--workers ${workers} --log-format json --metrics 127.0.0.1:0 --admin 127.0.0.1:0 --drain-timeout 1s`;
    this.child = spawn(join(ROOT, 'bin', 'spooky'), ['serve', ...source, ...flags.split(' ')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        NODE_OPTIONS: `--no-warnings --import ${join(import.meta.dirname, 'probe.ts')} ${process.env['SERVE_NODE_OPTIONS'] ?? ''}`,
        SPOOKY_BENCH_PROBE: probes,
      },
    });
    this.main = this.child.pid ?? 0;
    running.add(this);
    for (const stream of [this.child.stdout, this.child.stderr]) this.read(stream);
    this.ended = new Promise((resolve) => {
      this.child.once('close', () => {
        this.over = true;
        running.delete(this);
        resolve();
      });
    });
  }

  /** Of a running instance. */
  workers(): number[] {
    return childrenOf(this.main);
  }

  /** The first line with this message from now on. */
  line(msg: string, timeoutMs = PATIENCE_MS): Promise<Fields> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => fail(`said no "${msg}" within ${timeoutMs} ms`), timeoutMs);
      const fail = (why: string): void => {
        clearTimeout(timer);
        reject(new Error(`serve ${why}\n${this.lines.slice(-20).join('\n')}`));
      };
      const take = (line: Fields): void => {
        if (line['msg'] === 'configuration not applied' || line['msg'] === 'internal error') fail(`said ${JSON.stringify(line)}`);
        if (line['msg'] !== msg) return;
        clearTimeout(timer);
        this.waiters.delete(take);
        resolve(line);
      };
      this.waiters.add(take);
      void this.ended.then(() => fail('ended'));
    });
  }

  /** What every process did since the last question. */
  async readings(): Promise<ReadonlyMap<number, Reading>> {
    const pids = [this.main, ...this.workers()];
    const found = new Map<number, Reading>();
    for (const pid of pids) process.kill(pid, 'SIGUSR2');
    for (const pid of pids) {
      const reading = await this.reading(pid);
      this.counts.set(pid, reading.count);
      found.set(pid, reading);
    }
    return found;
  }

  /** When every worker has taken up lists of endpoints that it did not have when this was asked, on the clock of `performance`. */
  async lists(): Promise<number> {
    const before = new Map(this.workers().map((pid) => [pid, this.taken(pid)?.count ?? 0]));
    const until = performance.now() + PATIENCE_MS;
    let last = 0;
    for (const [pid, count] of before)
      for (;;) {
        const taken = this.taken(pid);
        if (taken !== null && taken.count > count) {
          last = Math.max(last, taken.at - performance.timeOrigin);
          break;
        }
        if (performance.now() > until) throw new Error(`worker ${pid} got no endpoints`);
        await wait(2);
      }
    return last;
  }

  private taken(pid: number): { readonly count: number; readonly at: number } | null {
    try {
      return JSON.parse(readFileSync(join(this.probes, `${pid}.lists`), 'utf8')) as { count: number; at: number };
    } catch {
      return null;
    }
  }

  rss(pid: number): number {
    return rssBytes([pid]);
  }

  async stop(): Promise<void> {
    if (!this.over) this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 10_000);
    await this.ended;
    clearTimeout(timer);
  }

  private async reading(pid: number): Promise<Reading> {
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        const reading = JSON.parse(readFileSync(join(this.probes, String(pid)), 'utf8')) as Reading;
        if (reading.count > (this.counts.get(pid) ?? 0)) return reading;
      } catch {
        // Not written yet.
      }
      if (performance.now() > until) throw new Error(`the probe of process ${pid} does not answer`);
      await wait(2);
    }
  }

  private read(stream: NodeJS.ReadableStream | null): void {
    let rest = '';
    stream?.setEncoding('utf8');
    stream?.on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) this.take(line);
    });
  }

  private take(text: string): void {
    this.lines.push(text);
    if (this.lines.length > 200) this.lines.shift();
    const line = parse(text);
    if (line !== null) for (const waiter of this.waiters) waiter(line);
  }
}
