/** Programs that a benchmark starts: each on a core of its own, each ended with the benchmark. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';

const KEPT_LINES = 2_000;
const running = new Set<Program>();
/** The run is cut short: nothing more is begun, and whoever waits for a program waits for ever, so that nothing is made of what was cut off. */
let cut = false;
const NEVER = new Promise<never>(() => undefined);

export interface ProgramOptions {
  /** One, or a list or range as taskset reads it. */
  readonly cpu: number | string;
  readonly env?: Readonly<Record<string, string>>;
}

type Take = (line: string) => void;

export class Program {
  readonly name: string;
  readonly pid: number;
  readonly lines: string[] = [];
  readonly ended: Promise<number>;
  #gone: Promise<number>;
  #process: ChildProcess | null = null;
  #over = false;
  #listeners = new Set<Take>();

  constructor(command: string, args: readonly string[], options: ProgramOptions) {
    this.name = command;
    this.#gone = this.#begin(command, args, options);
    this.ended = this.#gone.then((code) => (cut ? NEVER : code));
    this.pid = this.#process?.pid ?? 0;
  }

  #begin(command: string, args: readonly string[], options: ProgramOptions): Promise<number> {
    if (cut) return NEVER;
    // taskset becomes the command: the pid is that of the program.
    const child = spawn('taskset', ['-c', String(options.cpu), command, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...options.env },
    });
    this.#process = child;
    running.add(this);
    this.#read(child.stdout);
    this.#read(child.stderr);
    return new Promise((resolve) => {
      const end = (code: number): void => {
        this.#over = true;
        running.delete(this);
        resolve(code);
      };
      child.once('error', (e) => {
        this.lines.push(e.message);
        end(127);
      });
      child.once('close', (code) => end(code ?? 1));
    });
  }

  /** What `pick` makes of the first line, past or coming, of which it makes something. */
  waitFor<T>(pick: (line: string) => T | undefined, timeoutMs = 60_000): Promise<T> {
    for (const line of this.lines) {
      const found = pick(line);
      if (found !== undefined) return Promise.resolve(found);
    }
    return new Promise((resolve, reject) => {
      const done = (settle: () => void): void => {
        clearTimeout(timer);
        this.#listeners.delete(take);
        settle();
      };
      const take = (line: string): void => {
        const found = pick(line);
        if (found !== undefined) done(() => resolve(found));
      };
      const fail = (why: string): void => done(() => reject(new Error(`${this.name} ${why}\n${this.lines.slice(-20).join('\n')}`)));
      const timer = setTimeout(() => fail(`did not become ready within ${timeoutMs} ms`), timeoutMs);
      this.#listeners.add(take);
      void this.ended.then((code) => fail(`ended with ${code}`));
    });
  }

  signal(name: NodeJS.Signals): void {
    if (!this.#over) this.#process?.kill(name);
  }

  async stop(): Promise<void> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), 5_000);
    await this.#gone;
    clearTimeout(timer);
  }

  #read(stream: NodeJS.ReadableStream | null): void {
    let rest = '';
    stream?.setEncoding('utf8');
    stream?.on('data', (text: string) => {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) this.#line(line);
    });
  }

  #line(line: string): void {
    this.lines.push(line);
    if (this.lines.length > KEPT_LINES) this.lines.shift();
    // One that takes the line leaves the set: a Set may shrink while it is walked.
    for (const take of this.#listeners) take(line);
  }
}

/** To its end: what it printed. */
export async function runProgram(command: string, args: readonly string[], options: ProgramOptions, timeoutMs: number): Promise<string> {
  const program = new Program(command, args, options);
  const timer = setTimeout(() => program.signal('SIGKILL'), timeoutMs);
  const code = await program.ended;
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${command} ended with ${code}\n${program.lines.slice(-20).join('\n')}`);
  return program.lines.join('\n');
}

export function stopAll(): Promise<unknown> {
  return Promise.all([...running].map((program) => program.stop()));
}

/** Told to end, this process ends with all that it has begun. */
export function endBySignals(): void {
  const end = (): void => {
    cut = true;
    void stopAll().then(() => process.exit(130));
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
}

process.on('exit', () => {
  for (const program of running) program.signal('SIGKILL');
});

export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export function freeTcpPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

export function freeUdpPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4').once('error', reject);
    socket.bind(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

/** The local ports of a table in /proc/net: udp, tcp. */
export const boundPorts = (table: string): ReadonlySet<number> =>
  new Set([...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /gm)].map(([, hex = '']) => Number.parseInt(hex, 16)));

/** Until somebody has bound the UDP port; an error when the program has ended before. */
export async function udpBound(program: Program, port: number): Promise<void> {
  const ended = program.ended.then((code): never => {
    throw new Error(`${program.name} ended with ${code}\n${program.lines.slice(-20).join('\n')}`);
  });
  const bound = async (): Promise<void> => {
    for (let i = 0; i < 1_200; i++) {
      if (boundPorts(readFileSync('/proc/net/udp', 'utf8')).has(port)) return;
      await wait(50);
    }
    throw new Error(`${program.name} did not bind its port\n${program.lines.slice(-20).join('\n')}`);
  };
  ended.catch(() => undefined);
  await Promise.race([bound(), ended]);
}
