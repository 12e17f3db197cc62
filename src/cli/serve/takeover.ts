/** `--takeover`: from a running process to this one, and from this one to the next. */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Claims } from '../../control/claims.ts';
import { MAX_NUMBERS, type Numbers } from '../../control/numbers.ts';
import { RuntimeFolder } from '../../control/runtime.ts';
import type { Service } from '../../control/service.ts';
import { askForTakeover, type Takeover } from '../../control/takeover/client.ts';
import { follow } from '../../control/takeover/follow.ts';
import type { Offer } from '../../control/takeover/messages.ts';
import { TakeoverServer, type TakeoverHost } from '../../control/takeover/server.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { messageOf } from '../../lib/message.ts';
import { err, ok, type Result } from '../../lib/result.ts';
import type { ServeSettings } from '../../settings.ts';
import type { Servers } from './servers.ts';

/** How long handshakes whose client had a Retry from us may still begin here: their ids name our workers. */
const GRACE_MS = 1000;

/**
 * Between attempts: whoever is there may end, and another one come, while we ask; or hang up because of too many connections, of which the silent
 * ones are over before the last attempt.
 */
const PAUSES_MS = [200, 800, 1600, 4000] as const;

/** What this process is, whether it has made that up or was told. */
export interface Identity {
  readonly installationKey: Uint8Array;
  readonly nodeId: number;
  readonly engine: ServeSettings['engine'];
  /** null: its only worker stays alone. */
  readonly folder: RuntimeFolder | null;
}

export interface SuccessionOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly numbers: Numbers;
  readonly claims: Claims;
  readonly servers: Servers;
}

export class Succession implements TakeoverHost {
  /** Another process serves instead of this one: what is left is to drain. */
  readonly handed: Promise<null>;
  readonly established: Promise<void>;
  private readonly o: SuccessionOptions;
  private readonly server: TakeoverServer;
  private resolveHanded: (value: null) => void = () => {};
  private resolveEstablished: () => void = () => {};
  /** The tree that this one takes, or took, over from, while there is any of it. */
  private predecessor: Takeover | null = null;
  /** The same, also when nothing is left of it: it may have said something at its end. */
  private taken: Takeover | null = null;
  private identity: Identity | null = null;
  /** That of the tree before. */
  private folder: RuntimeFolder | null = null;
  private service: Service | null = null;
  /** Who takes new connections: workers of ours, or of whoever has succeeded us. As was heard last. */
  private newest: readonly number[] = [];
  /** The same, as the tree before was told that ours serve. */
  private told: readonly number[] = [];
  private over = false;

  constructor(o: SuccessionOptions) {
    this.o = o;
    this.handed = new Promise((resolve) => (this.resolveHanded = resolve));
    this.established = new Promise((resolve) => (this.resolveEstablished = resolve));
    this.server = new TakeoverServer({ path: o.path, clock: o.clock, log: o.log, host: this });
  }

  // From a running process to this one

  /** What a running process gives us. null when there is none: then the socket is ours, so that of two that start at once one waits for the other. */
  async ask(workers: number): Promise<Result<Offer | null, string>> {
    const { path, version, clock } = this.o;
    for (let i = 0; i <= PAUSES_MS.length; i++) {
      const asked = await askForTakeover(path, { pid: process.pid, version }, clock);
      if (!asked.ok) return err(`--takeover: ${asked.error}`);
      if (asked.value !== null && asked.value !== 'gone') return this.begin(asked.value, workers);
      const fault = asked.value === null ? await this.listen() : 'EADDRINUSE';
      if (fault === null) return ok(null);
      if (fault !== 'EADDRINUSE') return err(fault);
      const ms = PAUSES_MS[i];
      if (ms !== undefined) await new Promise<void>((resolve) => clock.after(ms, resolve));
    }
    return err(`--takeover: ${path}: whoever listens there hangs up again and again: it ends, has too many connections, or is no spooky`);
  }

  private begin(takeover: Takeover, workers: number): Result<Offer, string> {
    const { path, log } = this.o;
    const { offer } = takeover;
    this.predecessor = takeover;
    this.taken = takeover;
    log.always(`taking over from pid ${offer.pid}`, { from: offer.pid, version: offer.version, socket: path });
    if (offer.numbers.length + workers > MAX_NUMBERS)
      return err(`--takeover: ${workers} workers beside ${offer.numbers.length} that run are more than ${MAX_NUMBERS}`);
    this.o.numbers.reserve(offer.numbers);
    this.o.claims.inherit(offer.ports);
    takeover.gone.then(
      () => this.alone(),
      () => {},
    );
    return ok(offer);
  }

  /** Enters the folder of a running process; its connections go on under its key, on its engine. */
  async inherit(offer: Offer, settings: ServeSettings, own: { key: Uint8Array | null; nodeId: number }): Promise<Result<Identity, string>> {
    const { log } = this.o;
    if (settings.engine !== 'auto' && settings.engine !== offer.engine)
      return err(
        `--takeover: process ${offer.pid} serves with ${offer.engine}, and connections cannot be handed over to --engine ${settings.engine}: stop it first`,
      );
    if (own.key !== null && !Buffer.from(own.key).equals(offer.installationKey))
      log.warn('--key-file has another key than the running process, whose key stays', { from: offer.pid });
    if (own.nodeId !== offer.nodeId)
      log.warn('this node has another name than for the running process, whose number stays', { from: offer.pid });
    try {
      const folder = await RuntimeFolder.join(offer.folder, this.o.clock);
      this.folder = folder;
      await this.reserve();
      return ok({ installationKey: offer.installationKey, nodeId: offer.nodeId, engine: offer.engine as ServeSettings['engine'], folder });
    } catch (e) {
      return err(`--takeover: ${messageOf(e)}`);
    }
  }

  /** All workers serve. Resolves when what only one process can have is free for us. */
  async takeAddresses(service: Service): Promise<Result<null, string>> {
    if (this.predecessor === null) return ok(null);
    this.told = service.fleet.takers();
    const released = await this.predecessor.serving(this.told);
    return released.ok ? released : err(`--takeover: ${released.error}`);
  }

  /** The socket is ours. What is wrong, or null. */
  async claim(): Promise<string | null> {
    const fault = this.server.listening ? null : await this.listen();
    return fault === 'EADDRINUSE' ? `--takeover: somebody listens at ${this.o.path}` : fault;
  }

  /** The process before this one goes, and this one can be taken over from from now on; or that one stays, for the reason given. */
  async establish(service: Service, identity: Identity): Promise<string | null> {
    if (this.over) return null;
    const handed = await this.taken?.ready();
    if (handed?.ok === false) return `--takeover: ${handed.error}`;
    this.service = service;
    this.identity = identity;
    this.resolveEstablished();
    // From now on that one begins no more of its own.
    this.recount();
    // One of ours may have been relieved meanwhile.
    if (this.newest.join() !== this.told.join()) this.tell(this.newest);
    return null;
  }

  private async listen(): Promise<string | null> {
    try {
      await this.server.listen();
      return null;
    } catch (e) {
      if ((e as NodeJS.ErrnoException).code === 'EADDRINUSE') return 'EADDRINUSE';
      // libuv says EACCES for it.
      const why = existsSync(dirname(this.o.path)) ? messageOf(e) : 'there is no such folder';
      return `--takeover: ${this.o.path} cannot be listened at: ${why}`;
    }
  }

  get tookOverFrom(): number | null {
    return this.predecessor?.offer.pid ?? null;
  }

  /** The process before this one, as long as it drains: it hears from this one who is the newest, and whoever comes hears of its numbers. */
  get before(): { readonly pid: number; readonly gone: Promise<void> } | null {
    return this.predecessor === null ? null : { pid: this.predecessor.offer.pid, gone: this.predecessor.gone };
  }

  /** From now on nothing is taken over, if it has not been yet. */
  abandon(): void {
    this.over = true;
  }

  get isOver(): boolean {
    return this.over;
  }

  /**
   * This process will not serve after all, though its workers have sockets already: who came to them is not cut but sent away, and whoever comes
   * now goes to the one that goes on.
   */
  async retreat(service: Service, drainMs: number): Promise<void> {
    const { predecessor } = this;
    if (predecessor === null) return;
    const { own, folder } = predecessor.offer;
    const { path, clock, log, servers } = this.o;
    service.fleet.succeed(own);
    await servers.close();
    this.close();
    const drained = new AbortController();
    // That one may be succeeded in its turn, long before the last client here is gone.
    follow({ path, folder, clock, hear: (numbers) => service.fleet.succeed(numbers) }, drained.signal).catch((error: unknown) =>
      log.error('internal error', { where: 'takeover', error }),
    );
    await new Promise<void>((resolve) => clock.after(GRACE_MS, resolve));
    await service.drain(drainMs);
    drained.abort();
  }

  private alone(): void {
    this.predecessor = null;
    this.o.claims.inherit([]);
    this.recount();
  }

  /** Whether others of this node have their numbers still, and no more of them. */
  recount(): void {
    this.reserve().catch((error: unknown) => this.o.log.error('internal error', { where: 'takeover', error }));
  }

  /**
   * What the process before this one has, and what is in its folder beside that: one that has tried to take over, and could not, may have clients
   * whom it sends away still. Of those the process before knows nothing.
   */
  private async reserve(): Promise<void> {
    const found = (await this.folder?.workers()) ?? [];
    const own = new Set(this.o.numbers.inUse());
    const theirs = this.predecessor?.offer.numbers ?? [];
    this.o.numbers.reserve([...theirs, ...found.filter((number) => !own.has(number))]);
  }

  // From this process to the next

  offer(): Omit<Offer, 'type'> | null {
    const { service, identity } = this;
    // One that drains offers as well: the sooner there is another one, the fewer clients are refused.
    if (this.over || service === null || identity === null || identity.folder === null) return null;
    return {
      pid: process.pid,
      version: this.o.version,
      installationKey: identity.installationKey,
      nodeId: identity.nodeId,
      folder: identity.folder.path,
      engine: service.fleet.engine,
      numbers: [...this.o.numbers.inUse(), ...(this.predecessor?.offer.numbers ?? [])],
      own: service.fleet.takers(),
      ports: this.o.claims.ports(),
    };
  }

  async release(): Promise<void> {
    await this.o.servers.close();
  }

  resume(): Promise<string | null> {
    return this.service === null ? Promise.resolve(null) : this.o.servers.start(this.service);
  }

  handedOver(_pid: number, numbers: readonly number[]): void {
    this.over = true;
    this.service?.beginDrain();
    this.succeeded(numbers);
    this.o.clock.after(GRACE_MS, () => this.resolveHanded(null));
  }

  succeeded(numbers: readonly number[]): void {
    this.service?.fleet.succeed(numbers);
    this.tell(numbers);
  }

  orphaned(): void {
    this.over = false;
  }

  takers(folder: string): readonly number[] | null {
    return this.identity?.folder?.path === folder ? this.newest : null;
  }

  /** A worker of ours was relieved by another one: whoever brings newcomers to us brings them to that. */
  renumbered(numbers: readonly number[]): void {
    if (!this.over) this.tell(numbers);
  }

  private tell(numbers: readonly number[]): void {
    this.newest = numbers;
    if (this.service === null) return;
    this.predecessor?.succeed(numbers);
    this.server.tell(numbers);
  }

  close(): void {
    this.over = true;
    this.server.close();
    this.predecessor?.close();
    this.predecessor = null;
  }
}
