import { afterAll } from '@jest/globals';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** Children of this test file; whatever a test forgets or fails before stopping is stopped after the last one. */
const running = new Set<Child>();

afterAll(async () => {
  await Promise.all([...running].map((child) => child.stop()));
}, 60_000);

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

const KEPT_LINES = 50_000;

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ChildOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Extra pipes at descriptors 3 and on. */
  readonly pipes?: number;
}

type Stream = 'stdout' | 'stderr';

interface Waiter {
  readonly stream: Stream;
  readonly take: (line: string) => boolean;
  readonly resolve: () => void;
  readonly reject: (cause: Error) => void;
}

/** A started program whose lines of output a test reads and waits for. */
export class Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly stdout: string[] = [];
  readonly stderr: string[] = [];
  readonly began = performance.now();
  readonly exited: Promise<Exit>;
  #exit: Exit | null = null;
  #waiters = new Set<Waiter>();

  constructor(command: string, args: readonly string[], options: ChildOptions = {}) {
    this.name = [command, ...args].join(' ');
    // A process for each core, in every test file that runs, would be too many: tests that want more workers say so.
    const env = { ...process.env, SPOOKY_WORKERS: '1', ...options.env };
    const extra = Array.from({ length: options.pipes ?? 0 }, () => 'pipe' as const);
    this.process = spawn(command, args, { cwd: options.cwd, env, stdio: ['pipe', 'pipe', 'pipe', ...extra] });
    running.add(this);
    this.#read('stdout');
    this.#read('stderr');
    this.process.stdin?.on('error', () => undefined);
    this.exited = new Promise((resolve) => {
      this.process.once('error', (cause) => {
        this.stderr.push(String(cause));
        this.#ended({ code: 127, signal: null }, resolve);
      });
      this.process.once('close', (code, signal) => this.#ended({ code, signal }, resolve));
    });
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  get exit(): Exit | null {
    return this.#exit;
  }

  write(line: string): void {
    this.process.stdin?.write(`${line}\n`);
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#exit === null && this.pid !== 0) this.process.kill(signal);
  }

  /** TERM, and KILL for one that does not heed it. */
  async stop(graceMs = 10_000): Promise<Exit> {
    this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), graceMs);
    try {
      return await this.exited;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The first line, past or coming, of which `pick` makes something; the whole output is in the error when none comes. */
  waitFor<T>(stream: Stream, pick: (line: string) => T | undefined, timeoutMs = 30_000): Promise<T> {
    for (const line of this[stream]) {
      const found = pick(line);
      if (found !== undefined) return Promise.resolve(found);
    }
    if (this.#exit !== null) return Promise.reject(this.#failure('has ended'));
    return new Promise<T>((resolve, reject) => {
      const waiter: Waiter = {
        stream,
        take: (line) => {
          const found = pick(line);
          if (found === undefined) return false;
          clearTimeout(timer);
          resolve(found);
          return true;
        },
        resolve: () => undefined,
        reject: (cause) => {
          clearTimeout(timer);
          reject(cause);
        },
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        reject(this.#failure(`did not say it within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  tail(lines = 30): string {
    return [...this.stdout.slice(-lines), ...this.stderr.slice(-lines)].join('\n');
  }

  #failure(what: string): Error {
    return new Error(`${this.name}: ${what} (${JSON.stringify(this.#exit)})\n${this.tail()}`);
  }

  #read(stream: Stream): void {
    let rest = '';
    const source = this.process[stream];
    source?.setEncoding('utf8');
    source?.on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) this.#line(stream, line);
    });
  }

  #line(stream: Stream, line: string): void {
    const lines = this[stream];
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
    for (const waiter of this.#waiters) {
      if (waiter.stream === stream && waiter.take(line)) this.#waiters.delete(waiter);
    }
  }

  #ended(exit: Exit, resolve: (exit: Exit) => void): void {
    if (this.#exit !== null) return;
    this.#exit = exit;
    running.delete(this);
    for (const waiter of this.#waiters) waiter.reject(this.#failure('ended before it said it'));
    this.#waiters.clear();
    resolve(exit);
  }
}

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: ChildOptions & { timeoutMs?: number } = {},
): Promise<Exit & { stdout: string; stderr: string }> {
  const child = new Child(command, args, options);
  child.process.stdin?.end();
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 60_000);
  const exit = await child.exited;
  clearTimeout(timer);
  return { ...exit, stdout: child.stdout.join('\n'), stderr: child.stderr.join('\n') };
}

/** JSON of a line, or undefined for what is not an object in JSON. */
export function parseLine(line: string): Record<string, unknown> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Asks again until the answer is there: for states that announce themselves nowhere. The last refusal is in the error. */
export async function eventually<T>(ask: () => Promise<T>, timeoutMs = 30_000, everyMs = 50): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await ask();
    } catch (cause) {
      if (Date.now() > end) throw new Error(`not within ${timeoutMs} ms`, { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

/** Below those that the kernel gives to whoever asks for any: what other tests dial from meanwhile does not take it. */
const LOW_PORT = 12_000;
const HIGH_PORT = 32_000;
const PORT_ATTEMPTS = 100;

async function freePort(isFree: (port: number) => Promise<boolean>): Promise<number> {
  for (let i = 0; i < PORT_ATTEMPTS; i++) {
    const port = randomInt(LOW_PORT, HIGH_PORT);
    if (await isFree(port)) return port;
  }
  throw new Error(`no port between ${LOW_PORT} and ${HIGH_PORT} is free`);
}

/** A UDP port that was free a moment ago, for programs that must be told one. */
export function freeUdpPort(): Promise<number> {
  return freePort(
    (port) =>
      new Promise((resolve) => {
        const socket = createSocket('udp4');
        socket.once('error', () => resolve(false));
        socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)));
      }),
  );
}

export function freeTcpPort(): Promise<number> {
  return freePort(
    (port) =>
      new Promise((resolve) => {
        const server = createServer();
        server.once('error', () => resolve(false));
        server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
      }),
  );
}
