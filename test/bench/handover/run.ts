/**
 * What it costs when the kernel brings a worker the datagrams of another one's connections: CPU of both workers, hand-over and event
 * loops and all, with every datagram astray, against the owner alone; each in a process of its own, in turns. Then the same of two that share the port,
 * where the kernel is told whose they are. At the end floor.rs, where there is a compiler for it. All of it twice: with both workers on one core and
 * their client on another, as `make bench` places a proxy and its load, and with every process wherever the kernel puts it.
 *
 *     node --no-warnings test/bench/handover/run.ts
 */
import { execFileSync, fork, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { engineEnvironment } from '../../../src/edge/quic/index.ts';
import { loadAddon } from '../../../src/edge/quic/native/binding.ts';
import { NativeEngine } from '../../../src/edge/quic/native/engine.ts';
import type { QuicConn } from '../../../src/edge/quic/engine.ts';
import { connectOptions, Recorder } from '../../edge/quic/kit.ts';
import { CPU } from '../proxy/setting.ts';
import type { Answer, Order } from './worker.ts';

/** What comes to this address goes to the socket that is bound to it, if there is one, and else to the one that is bound to all. */
const HOST = '127.0.0.2';
const ROUNDS = 15;
const ROWS = [
  { connections: 1, streams: 1, requests: 8_000 },
  { connections: 32, streams: 1, requests: 10_000 },
  { connections: 32, streams: 8, requests: 20_000 },
] as const;

/** Lists of cores, as taskset reads them. */
interface Layout {
  readonly name: string;
  readonly workers: string;
  readonly client: string;
}

const CORES = availableParallelism();
const ALL = `0-${CORES - 1}`;
const LAYOUTS: readonly Layout[] = [
  { name: 'both workers on one core, their client on another', workers: String(CPU.proxy), client: String(CPU.load) },
  { name: 'every process on any core', workers: ALL, client: ALL },
];

function place(pid: number | undefined, cores: string): void {
  execFileSync('taskset', ['--all-tasks', '--pid', '--cpu-list', cores, String(pid)], { stdio: ['ignore', 'ignore', 'inherit'] });
}

class Worker {
  private readonly child: ChildProcess;

  constructor() {
    this.child = fork(join(import.meta.dirname, 'worker.ts'), { execArgv: ['--no-warnings'] });
  }

  moveTo(cores: string): void {
    place(this.child.pid, cores);
  }

  async tell(order: Order): Promise<Answer> {
    this.child.send(order);
    const [answer] = (await once(this.child, 'message')) as [Answer];
    return answer;
  }

  end(): void {
    this.child.disconnect();
  }
}

class Asking extends Recorder {
  left = 0;
  private next = new Map<QuicConn, number>();
  private done: (() => void) | null = null;
  private answered = 0;
  private wanted = 0;

  override onClose(c: QuicConn): void {
    process.stderr.write(`a connection was lost: ${JSON.stringify(c.stats())}\n`);
    process.exit(1);
  }

  override onTurnEnd(): void {}

  override onData(c: QuicConn, _id: number, _b: Uint8Array, _s: number, _e: number, fin: boolean): void {
    if (!fin) return;
    this.answered++;
    if (this.left > 0) this.ask(c);
    if (this.answered === this.wanted) this.done?.();
  }

  run(conns: readonly QuicConn[], streams: number, requests: number): Promise<void> {
    [this.left, this.answered, this.wanted] = [requests, 0, requests];
    for (const c of conns) for (let i = 0; i < streams; i++) this.ask(c);
    return new Promise((done) => (this.done = done));
  }

  private ask(c: QuicConn): void {
    this.left--;
    const id = this.next.get(c) ?? 0;
    this.next.set(c, id + 4);
    c.write(id, QUESTION, 0, QUESTION.length, true);
  }
}

const QUESTION = Buffer.alloc(40, 0x62);

interface Figure {
  readonly cpu: number;
  readonly handed: number;
}

async function measure(
  row: (typeof ROWS)[number],
  workers: readonly Worker[],
  asking: Asking,
  conns: readonly QuicConn[],
): Promise<Figure> {
  // Warm, and past what was under way.
  await asking.run(conns, row.streams, row.requests / 4);
  const before = await Promise.all(workers.map((w) => w.tell({ do: 'ask' })));
  await asking.run(conns, row.streams, row.requests);
  const after = await Promise.all(workers.map((w) => w.tell({ do: 'ask' })));
  const sum = (of: (a: Answer) => number): number => after.reduce((n, a, i) => n + of(a) - of(before[i] as Answer), 0);
  return { cpu: sum((a) => a.cpu), handed: sum((a) => a.handover?.sent ?? 0) };
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] as number;

/** What the kernel alone takes to hand one over, to judge the lone ones by. */
function floor(folder: string, cores: string): string {
  const program = join(folder, 'relay');
  const built = spawnSync('rustc', ['--edition', '2024', '-O', '-o', program, join(import.meta.dirname, 'floor.rs')], { encoding: 'utf8' });
  if (built.status !== 0) return `not measured: ${built.error?.message ?? built.stderr.trim()}`;
  return execFileSync(program, [folder, cores], { encoding: 'utf8' }).trim();
}

async function measureAll(folder: string, layout: Layout): Promise<void> {
  process.stdout.write(`${layout.name}:\n`);
  place(process.pid, layout.client);
  const [owner, other] = [new Worker(), new Worker()];
  for (const w of [owner, other]) w.moveTo(layout.workers);
  const { port } = await owner.tell({ do: 'open', number: 3, host: '0.0.0.0', port: 0, folder });
  const addon = engineEnvironment(process.env).addon;
  const engine = new NativeEngine({ addon: addon === undefined ? loadAddon() : loadAddon(addon) });
  for (const row of ROWS) {
    const asking = new Asking();
    const conns: QuicConn[] = [];
    for (let i = 0; i < row.connections; i++)
      conns.push(await engine.connect({ ...connectOptions(port, { host: HOST, idleMs: 60_000 }), insecure: true }, asking));
    const [alone, astray, each, share]: [number[], number[], number[], number[]] = [[], [], [], []];
    for (let i = 0; i < ROUNDS; i++) {
      const direct = await measure(row, [owner, other], asking, conns);
      await other.tell({ do: 'open', number: 4, host: HOST, port, folder });
      const indirect = await measure(row, [owner, other], asking, conns);
      await other.tell({ do: 'close' });
      alone.push(direct.cpu / row.requests);
      astray.push(indirect.cpu / row.requests);
      each.push((indirect.cpu - direct.cpu) / indirect.handed);
      share.push(indirect.handed / row.requests);
    }
    process.stdout.write(
      `  ${row.connections} x ${row.streams}: ${median(alone).toFixed(1)} us of CPU per request at the owner, ${median(astray).toFixed(1)} at both when all is astray; ` +
        `${median(share).toFixed(2)} hand-overs per request, ${median(each).toFixed(1)} us each (${each.map((n) => n.toFixed(1)).join(' ')})\n`,
    );
    if (row.connections > 1) {
      // Bound to all addresses as well: one group with the owner's, among which the kernel chooses.
      await other.tell({ do: 'open', number: 4, host: '0.0.0.0', port, folder });
      const group = await measure(row, [owner, other], asking, conns);
      await other.tell({ do: 'close' });
      process.stdout.write(
        `    sharing the port: ${(group.handed / row.requests).toFixed(2)} hand-overs per request, ${(group.cpu / row.requests).toFixed(1)} us of CPU per request at both\n`,
      );
    }
    asking.onClose = () => {};
    for (const c of conns) c.close(true, 0x100, '');
  }
  owner.end();
  other.end();
  process.stdout.write(`  bare programs, a datagram at a time: ${floor(folder, layout.workers)}\n`);
}

async function main(): Promise<void> {
  if (CORES < 2) {
    process.stderr.write('handover: two cores are needed, one for the workers and one for their client; nothing was measured\n');
    process.exit(3);
  }
  const folder = mkdtempSync(join(tmpdir(), 'spooky-handover-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  for (const layout of LAYOUTS) await measureAll(folder, layout);
  process.exit(0);
}

// The workers end with this process.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
await main();
