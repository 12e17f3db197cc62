/** The running tree's side: waits at a socket for one that takes over. */
import { lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { Lines, unreadFirst, type Silence } from './lines.ts';
import { fromNew, PROTOCOL, type Follow, type FromNew, type Offer, type Take } from './messages.ts';

/** For the first word. */
const HELLO_MS = 5000;
/** For the same of our own. */
const ESTABLISHED_MS = 120_000;
/** For reading a configuration, starting workers and loading it. */
const SERVING_MS = 120_000;
/** For binding three addresses. */
const READY_MS = 15_000;
const MAX_CONNECTIONS = 16;
/** While the one that has failed still has what was released for it. */
const RESUME_MS = 1000;

export interface TakeoverHost {
  /** It serves: until then whoever takes over waits. */
  readonly established: Promise<void>;
  /** null: another process has taken over already. */
  offer(): Omit<Offer, 'type'> | null;
  /** Gives up the addresses that only one process can have. */
  release(): Promise<void>;
  /** Takes those again that it does not have. What is wrong, or null. */
  resume(): Promise<string | null>;
  /** It serves, for good; its workers have these numbers. */
  handedOver(pid: number, numbers: readonly number[]): void;
  /** Another one has taken over from it. */
  succeeded(numbers: readonly number[]): void;
  /** It has ended: whoever comes takes over from here again. */
  orphaned(): void;
  /** Who takes new connections, among the workers in that folder; null when it is not this process's. */
  takers(folder: string): readonly number[] | null;
}

export interface TakeoverServerOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly host: TakeoverHost;
}

const SILENCES: Readonly<Record<Silence, string>> = {
  closed: 'it has ended',
  broken: 'it said what nobody understands',
  late: 'it said nothing for too long',
};

export class TakeoverServer {
  private readonly o: TakeoverServerOptions;
  private server: Server | null = null;
  /** The process that is about to take over. */
  private taker: Take | null = null;
  private readonly open = new Set<Lines<FromNew>>();
  /** Who could not take over, and drain. */
  private readonly followers = new Set<Lines<FromNew>>();
  private closed = false;

  constructor(o: TakeoverServerOptions) {
    this.o = o;
  }

  get listening(): boolean {
    return this.server !== null;
  }

  /** Rejects with the system's error. A socket that nobody listens at any more is replaced; anything else is not. */
  async listen(): Promise<void> {
    let server: Server;
    try {
      server = await this.bind();
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw e;
      const found = identityOf(this.o.path);
      // Another one may have replaced it meanwhile.
      if (!(await isDead(this.o.path)) || identityOf(this.o.path) !== found) throw e;
      unlinkSync(this.o.path);
      server = await this.bind();
    }
    server.on('error', (error) => this.o.log.warn('take-over socket', { error }));
    server.unref();
    this.server = server;
    if (this.closed) this.stopListening();
  }

  /** Whoever is there is told nothing more; a connection of one that has taken over stays. */
  stopListening(): void {
    this.server?.close();
    this.server = null;
  }

  close(): void {
    this.closed = true;
    this.stopListening();
    for (const lines of this.open) lines.close();
  }

  /** New connections are for these from now on. */
  tell(numbers: readonly number[]): void {
    for (const lines of this.followers) lines.send({ type: 'succeed', numbers });
  }

  private async bind(): Promise<Server> {
    const server = createServer((socket) => this.attend(socket));
    server.maxConnections = MAX_CONNECTIONS;
    await listenPrivately(server, this.o.path);
    return server;
  }

  private attend(socket: Socket): void {
    const lines = new Lines(socket, this.o.clock, fromNew);
    this.open.add(lines);
    this.serve(lines)
      .catch((error: unknown) => this.o.log.error('internal error', { where: 'takeover', error }))
      .finally(() => {
        this.open.delete(lines);
        lines.close();
      });
  }

  private async serve(lines: Lines<FromNew>): Promise<void> {
    const first = await lines.next(HELLO_MS);
    // Whoever does not know the first word is a stranger: nothing is said to it, and nobody hears of it.
    if (typeof first === 'string') return;
    if (first.type === 'follow') return this.lead(lines, first);
    if (first.type !== 'take') return;
    const why = this.refusal(first);
    if (why !== null) {
      this.o.log.warn('take-over refused', { by: first.pid, version: first.version, why });
      lines.send({ type: 'refuse', why });
      return;
    }
    this.taker = first;
    try {
      await this.handOver(lines, first);
    } finally {
      this.taker = null;
    }
  }

  /** Until its end, or ours. One that only begins itself knows it when it serves. */
  private async lead(lines: Lines<FromNew>, { protocol, folder }: Follow): Promise<void> {
    const { host } = this.o;
    await Promise.race([host.established, lines.closed]);
    if (lines.isOver) return;
    const numbers = protocol === PROTOCOL ? host.takers(folder) : null;
    if (numbers === null) return lines.send({ type: 'refuse', why: 'the running process has nothing to do with that folder' });
    lines.send({ type: 'succeed', numbers });
    this.followers.add(lines);
    await lines.closed;
    this.followers.delete(lines);
  }

  private refusal(take: Take): string | null {
    if (take.protocol !== PROTOCOL)
      return `spooky ${take.version} speaks version ${take.protocol} of the take-over, the running process ${PROTOCOL}: stop it and start the new one`;
    if (this.taker !== null) return `process ${this.taker.pid} takes over already`;
    return null;
  }

  private async handOver(lines: Lines<FromNew>, { pid, version }: Take): Promise<void> {
    const { log, host, clock } = this.o;
    let cancel = (): void => {};
    const late = new Promise<void>((resolve) => (cancel = clock.after(ESTABLISHED_MS, resolve)));
    await Promise.race([host.established, lines.closed, late]);
    cancel();
    const offer = host.offer();
    if (offer === null) return lines.send({ type: 'refuse', why: 'the running process does not serve yet' });
    log.info('take-over begins', { by: pid, version });
    lines.send({ type: 'offer', ...offer });
    const serving = await lines.next(SERVING_MS);
    if (typeof serving === 'string' || serving.type !== 'serving') return this.failed(lines, pid, serving);
    this.stopListening();
    await host.release();
    lines.send({ type: 'released' });
    const ready = await lines.next(READY_MS);
    // Whoever has ended since serves nobody.
    await unreadFirst();
    const wrong = lines.isOver && typeof ready !== 'string' ? 'closed' : ready;
    if (typeof wrong === 'string' || wrong.type !== 'ready') {
      this.failed(lines, pid, wrong);
      await this.resume();
      return;
    }
    lines.send({ type: 'handed' });
    log.info(`handed over to pid ${pid}`, { by: pid, version, numbers: serving.numbers });
    host.handedOver(pid, serving.numbers);
    this.taker = null;
    await this.follow(lines);
    await this.outlive(pid);
  }

  /** It is gone and we still drain: whoever comes next would find nobody here, and its ports taken. Unless somebody has come already. */
  private async outlive(pid: number): Promise<void> {
    if (this.closed || (await this.listenAgain()) !== null || this.closed) return;
    this.o.host.orphaned();
    this.o.log.warn('the process that took over has ended: until this one has drained it can be taken over from again', { by: pid });
  }

  /** Until its end, or ours. */
  private async follow(lines: Lines<FromNew>): Promise<void> {
    for (;;) {
      const said = await lines.next(null);
      if (typeof said === 'string') return;
      if (said.type === 'succeed') this.o.host.succeeded(said.numbers);
    }
  }

  /** It hears that, should it only have been slow: two must not serve for good. */
  private failed(lines: Lines<FromNew>, pid: number, what: FromNew | Silence): void {
    const why = typeof what === 'string' ? SILENCES[what] : `it said ${what.type} out of turn`;
    lines.send({ type: 'refuse', why: `the running process goes on: ${why}` });
    this.o.log.warn('take-over failed: this process goes on', { by: pid, why });
  }

  /** It may take the other one a while to hear that it is to leave what it has bound. */
  private async resume(): Promise<void> {
    const { host, log, clock } = this.o;
    for (let said = false; !this.closed; said = true) {
      const why = (await host.resume()) ?? (await this.listenAgain());
      if (why === null) return;
      if (!said) log.error('not bound again after a take-over that failed: tried again until it is', { why });
      await new Promise<void>((resolve) => clock.after(RESUME_MS, resolve));
    }
  }

  private async listenAgain(): Promise<string | null> {
    try {
      if (!this.closed) await this.listen();
      return null;
    } catch (e) {
      return `--takeover: ${this.o.path}: ${e instanceof Error ? e.message : String(e)}`;
    }
  }
}

/** An inode may be used again at once: its time is another one then. */
function identityOf(path: string): string {
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.dev} ${stats.ino} ${stats.ctimeNs}`;
}

/** Whether the path is a socket of a process that is gone. */
function isDead(path: string): Promise<boolean> {
  try {
    if (!lstatSync(path).isSocket()) return Promise.resolve(false);
  } catch {
    return Promise.resolve(false);
  }
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (e: NodeJS.ErrnoException) => resolve(e.code === 'ECONNREFUSED'));
  });
}

/** The mask holds while `listen` binds, which it does before it returns: there is no moment in which others could connect. */
function listenPrivately(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}
