/** A worker's whole data plane behind one object: parts come in, a load builds and binds, a switch replaces one reference. */
import type { Cells, RowReading } from '../../contract/cells.ts';
import type { BoundListener, EndpointActivity, LoadProblem, SocketShare, WorkerStart } from '../../contract/channel.ts';
import type { EndpointList, GroupId, GroupPart, PartHash } from '../../contract/snapshot/index.ts';
import { socketKey } from '../../contract/socket.ts';
import type { Clock } from '../../lib/clock.ts';
import { DenyList, LOOPBACK } from '../../lib/deny.ts';
import { messageOf } from '../../lib/message.ts';
import { TimerWheel } from '../../lib/wheel.ts';
import { Backends, type Connect } from '../backends/index.ts';
import type { QuicEngine } from '../quic/engine.ts';
import { deriveCidKey, derivePseudonym, deriveResetKey, deriveTokenKeys } from '../quic/keys.ts';
import { AccessLog } from './accesslog.ts';
import { Activator } from './activate.ts';
import { connector } from './connect.ts';
import { Dates } from './dates.ts';
import { DropCounter } from './headers.ts';
import { Lists } from './lists.ts';
import { codeOf, Listener, RETIRE_MS, type Wiring } from './listener.ts';
import { internalError, type Log, type Plant } from './plant.ts';
import { Overload, watchOverload } from './overload.ts';
import { Shares } from './shares.ts';
import { Slices } from './slices.ts';
import { TurnClock } from './turnclock.ts';
import { Via } from './via.ts';
import type { ListenerView } from './view.ts';

export interface EdgeOptions {
  readonly engine: QuicEngine;
  readonly clock: Clock;
  readonly start: WorkerStart;
  readonly cells: Cells;
  readonly log: Log;
  readonly access: (lines: string) => void;
  /** The endpoint of a listener is dead: the worker is to drain and to be replaced. */
  readonly fault?: (message: string) => void;
  /** Whether it says when newcomers are turned away. */
  readonly watchOverload?: boolean;
  /** How backends are reached; tests put their own here. */
  readonly connectFor?: (part: GroupPart) => Connect;
}

export interface Loaded {
  readonly bound: BoundListener[];
  readonly problems: LoadProblem[];
}

export interface Edge {
  part(hash: PartHash, bytes: Uint8Array): void;
  /** Builds and binds everything for this root, but for what somebody else has; changes nothing that serves. */
  load(version: number, listeners: readonly PartHash[], taken?: readonly PartHash[]): Promise<Loaded>;
  /** One reference swapped; listeners that are gone drain. */
  switch(version: number): void;
  /** No root that is served or loaded from now on needs these parts. */
  forget(hashes: readonly PartHash[]): void;
  endpoints(lists: readonly EndpointList[]): void;
  /** The same of these groups' lists. */
  forgetLists(groups: readonly GroupId[]): void;
  /** So many connections may be open at these sockets from now on; answers how many are. */
  share(shares: readonly SocketShare[]): SocketShare[];
  /** From now on these workers take what would begin a connection here. */
  succeed(workers: readonly number[]): void;
  /** Refreshes the gauges. */
  measure(): void;
  /** Every row, gauges refreshed. */
  read(): RowReading[];
  activity(): EndpointActivity[];
  /** Requests that wait for a stream to a backend. */
  readonly waiting: number;
  /** New connections are refused, open ones sent away in two steps; what is left after the time-out is closed. */
  drain(timeoutMs: number): Promise<void>;
  close(): Promise<void>;
}

/** What requests see: replaced as a whole. */
interface Active {
  readonly version: number;
  readonly views: ReadonlyMap<Listener, ListenerView>;
}

interface Pending extends Active {
  /** Of its ticket keys. */
  readonly period: number;
  readonly listeners: readonly PartHash[];
  /** Bound for this load: to be closed when it is given up. */
  readonly fresh: readonly Listener[];
}

const HOUR_MS = 3_600_000;
/** Ticket keys: a ticket is good for the rest of its period and the next one. */
const TICKET_PERIOD_MS = 12 * HOUR_MS;

export function createEdge(options: EdgeOptions): Edge {
  return new WorkerEdge(options);
}

class WorkerEdge implements Edge {
  private readonly options: EdgeOptions;
  private readonly plant: Plant;
  private readonly activator: Activator;
  private readonly lists = new Lists({ take: (list) => this.guarded('endpoints', () => this.plant.backends.setEndpoints(list)) });
  private readonly wiring: Wiring;
  private readonly retiring = new Map<string, Listener>();
  /** Of the whole worker: fifty thousand endpoints share it. */
  private readonly deny: DenyList;
  private active: Active = { version: -1, views: new Map() };
  private pending: Pending | null = null;
  private cancelRotation: () => void;
  private stopLooking = (): void => {};
  private closed = false;
  /** Who takes newcomers, also those of listeners that a switch is still to bring. */
  private successors: readonly number[] = [];
  /** New ticket keys, on their way. */
  private renewing: Promise<void> = Promise.resolve();

  constructor(options: EdgeOptions) {
    const { start, cells, log } = options;
    this.options = options;
    this.deny = new DenyList(start.allowLoopbackEndpoints ? start.endpointDeny : [...start.endpointDeny, ...LOOPBACK]);
    const clock = new TurnClock(options.clock);
    const wheel = new TimerWheel(clock, (e) => internalError({ cells, log }, 'timer', e));
    const connectFor = options.connectFor ?? ((part: GroupPart): Connect => this.connectFor(part));
    this.plant = {
      clock,
      wheel,
      cells,
      log,
      backends: new Backends({ wheel, cells, random: Math.random, connectFor, metricsDetail: start.metricsDetail }),
      drops: new DropCounter(cells),
      accessLog: new AccessLog(start.accessLog, options.access, (e) => internalError({ cells, log }, 'access_log', e)),
      via: new Via(derivePseudonym(start.installationKey)),
      dates: new Dates(clock),
    };
    this.activator = new Activator(this.plant, options.engine, start.installationKey, start.metricsDetail);
    this.wiring = this.wire();
    this.cancelRotation = this.planRotation();
    if (options.watchOverload === true) this.stopLooking = this.watch();
  }

  part(hash: PartHash, bytes: Uint8Array): void {
    this.activator.parts.add(hash, bytes);
  }

  async load(version: number, listeners: readonly PartHash[], taken: readonly PartHash[] = []): Promise<Loaded> {
    await this.giveUp();
    await this.lists.settled();
    const period = this.period();
    const problems: LoadProblem[] = [];
    const views = new Map<Listener, ListenerView>();
    const fresh: Listener[] = [];
    const built = await this.buildAll(listeners, period, problems);
    const keys = new Set(Array.from(built.values(), (view) => socketKey(view.part)));
    for (const [hash, view] of built) {
      problems.push(...view.unfit.map((message): LoadProblem => ({ kind: 'certificate', listener: view.label, code: 'unfit', message })));
      const listener =
        this.bySocket(socketKey(view.part), views) ?? (await this.bind(view, problems, taken.includes(hash), this.near(view, keys)));
      if (listener === null) continue;
      if (!this.active.views.has(listener)) fresh.push(listener);
      views.set(listener, view);
    }
    this.pending = { version, period, listeners, views, fresh };
    return { bound: Array.from(views, ([listener, view]) => listener.bound(view)), problems };
  }

  switch(version: number): void {
    const next = this.pending;
    if (next === null || next.version !== version) {
      this.plant.log('error', 'switch to a version that is not loaded', { version });
      return;
    }
    this.pending = null;
    const before = this.active;
    this.active = next;
    for (const [listener, view] of next.views) this.guarded('apply', () => listener.apply(view));
    if (this.successors.length > 0) this.succeed(this.successors);
    for (const listener of before.views.keys()) if (!next.views.has(listener)) this.retire(listener);
    this.guarded('sweep', () => this.letting('sweep', this.activator.serve([...next.views.values()])));
    if (next.period !== this.period()) this.renew();
  }

  forget(hashes: readonly PartHash[]): void {
    this.activator.parts.forget(hashes);
  }

  endpoints(lists: readonly EndpointList[]): void {
    this.lists.take(lists);
  }

  forgetLists(groups: readonly GroupId[]): void {
    this.lists.forget(groups);
    this.plant.backends.forgetLists(groups);
  }

  share(shares: readonly SocketShare[]): SocketShare[] {
    return this.wiring.shares.take(shares);
  }

  succeed(workers: readonly number[]): void {
    this.successors = workers;
    for (const listener of this.active.views.keys()) this.guarded('succeed', () => listener.succeed(workers));
  }

  get waiting(): number {
    return this.plant.backends.pending;
  }

  measure(): void {
    for (const listener of this.active.views.keys()) this.guarded('measure', () => listener.measure());
    this.guarded('measure', () => this.plant.backends.measure());
  }

  read(): RowReading[] {
    this.measure();
    return this.plant.cells.read();
  }

  activity(): EndpointActivity[] {
    return this.plant.backends.activity();
  }

  async drain(timeoutMs: number): Promise<void> {
    await this.giveUp();
    await Promise.all([...this.active.views.keys(), ...this.retiring.values()].map((l) => l.drain(timeoutMs)));
    await this.close();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.cancelRotation();
    this.stopLooking();
    await this.giveUp();
    await Promise.all([...this.active.views.keys(), ...this.retiring.values()].map((l) => l.close()));
    this.plant.backends.close();
    this.plant.accessLog.flush();
    this.plant.wheel.stop();
  }

  private async buildAll(listeners: readonly PartHash[], period: number, problems: LoadProblem[]): Promise<Map<PartHash, ListenerView>> {
    const built = new Map<PartHash, ListenerView>();
    for (const hash of listeners) {
      const view = await this.build(hash, period, problems);
      if (view !== null) built.set(hash, view);
    }
    return built;
  }

  /** A listener that cannot be built is not served at all: no part of it may stand in for the rest. */
  private async build(hash: PartHash, period: number, problems: LoadProblem[]): Promise<ListenerView | null> {
    try {
      return await this.activator.view(hash, period);
    } catch (e) {
      problems.push({ kind: 'part', listener: hash, code: codeOf(e), message: messageOf(e) });
      return null;
    }
  }

  /** `near`: a listener that can come to be there, and keep what it has. */
  private async bind(view: ListenerView, problems: LoadProblem[], taken: boolean, near: Listener | null): Promise<Listener | null> {
    try {
      if (taken) throw Object.assign(new Error('bind EADDRINUSE: address already in use'), { code: 'EADDRINUSE' });
      // The same addresses, left a moment ago: the socket is wanted again.
      const leaving = this.retiring.get(socketKey(view.part));
      if (leaving !== undefined) await leaving.close();
      if (near !== null && (await this.widen(near, view))) return near;
      return await Listener.bind(this.wiring, view);
    } catch (e) {
      const code = codeOf(e);
      problems.push({ kind: /^E[A-Z]+$/.test(code) ? 'bind' : 'part', listener: view.label, code, message: messageOf(e) });
      return null;
    }
  }

  private bySocket(key: string, taken: ReadonlyMap<Listener, ListenerView>): Listener | null {
    for (const listener of this.active.views.keys()) if (listener.key === key && !taken.has(listener)) return listener;
    return null;
  }

  /** False: a socket of its own has to do, and what keeps it from one as well is what is told. */
  private async widen(listener: Listener, view: ListenerView): Promise<boolean> {
    try {
      await listener.widen(view);
      return true;
    } catch (e) {
      this.plant.log('warn', 'listener cannot keep its connections', { listener: view.label, error: messageOf(e) });
      return false;
    }
  }

  /** The one that was at other addresses, unless somebody is to be where it is. */
  private near(view: ListenerView, keys: ReadonlySet<string>): Listener | null {
    for (const listener of this.active.views.keys()) if (!keys.has(listener.key) && listener.canMoveTo(view)) return listener;
    return null;
  }

  private async giveUp(): Promise<void> {
    const given = this.pending;
    this.pending = null;
    for (const listener of this.active.views.keys()) this.guarded('stay', () => listener.stay());
    this.letting('sweep', this.activator.abandon([...this.active.views.values()]));
    if (given !== null) await Promise.all(given.fresh.map((l) => l.close()));
  }

  private letting(where: string, done: Promise<void>): void {
    done.catch((e: unknown) => internalError(this.plant, `edge.${where}`, e));
  }

  private retire(listener: Listener): void {
    this.retiring.set(listener.key, listener);
    listener
      .drain(RETIRE_MS)
      .catch((e: unknown) => internalError(this.plant, 'edge.retire', e))
      .finally(() => {
        if (this.retiring.get(listener.key) === listener) this.retiring.delete(listener.key);
        const label = listener.view().label;
        if (![...this.active.views.values()].some((v) => v.label === label)) listener.forgetGauges();
      });
  }

  private wire(): Wiring {
    const { engine, start } = this.options;
    return {
      plant: this.plant,
      engine,
      workers: start.workers,
      handover: start.handover,
      shares: new Shares((step) => this.guarded('share', step)),
      cid: { nodeId: start.nodeId, workerId: start.workerId, key: deriveCidKey(start.installationKey) },
      resetKey: (port) => deriveResetKey(start.installationKey, port),
      tokenKeys: () => deriveTokenKeys(start.installationKey, Math.floor(this.plant.clock.wall() / HOUR_MS)),
      receiveBuffer: start.udpReceiveBuffer,
      sendBuffer: start.udpSendBuffer,
      active: (listener) => this.active.views.get(listener) ?? null,
      onFault: (e) => {
        this.plant.log('error', 'QUIC endpoint failed', { error: messageOf(e) });
        this.options.fault?.(messageOf(e));
      },
    };
  }

  private connectFor(part: GroupPart): Connect {
    const named = part.tls?.client ?? null;
    const client = named === null ? null : this.activator.parts.get(named, 'certificate');
    return connector(this.plant, this.deny, part, client);
  }

  private watch(): () => void {
    const overload = new Overload();
    const turnedAway = (): number => [...this.active.views.keys()].reduce((sum, l) => sum + l.turnedAway(), 0);
    return watchOverload(overload, this.plant.clock, turnedAway, () => this.guarded('overload', () => this.tellOverload(overload.sheds)));
  }

  private tellOverload(sheds: boolean): void {
    this.plant.cells.set(this.plant.cells.row('worker_overloaded'), sheds ? 1 : 0);
    this.plant.log('warn', sheds ? 'overload: newcomers are refused' : 'overload is over', {});
  }

  private period(): number {
    return Math.floor(this.plant.clock.wall() / TICKET_PERIOD_MS);
  }

  /** Each hour new keys for address tokens, and when their period ends, for tickets. */
  private planRotation(): () => void {
    const { clock } = this.plant;
    return clock.after(HOUR_MS - (clock.wall() % HOUR_MS), () => {
      this.guarded('rotate', () => this.rotate());
      this.cancelRotation = this.planRotation();
    });
  }

  private rotate(): void {
    for (const listener of this.active.views.keys()) listener.setTokenKeys();
    this.renew();
  }

  /** One after the other: a thousand certificates take many turns. */
  private renew(): void {
    this.renewing = this.renewing.then(() => this.renewAll()).catch((e: unknown) => internalError(this.plant, 'edge.rotate', e));
  }

  private async renewAll(): Promise<void> {
    const slices = new Slices();
    for (const listener of this.active.views.keys()) {
      const view = this.active.views.get(listener);
      if (view === undefined) continue;
      const renewed = await this.renewed(listener, view, slices);
      if (renewed === view || !this.serves(listener, view)) continue;
      this.active = { version: this.active.version, views: new Map(this.active.views).set(listener, renewed) };
      await listener.renew(renewed, slices);
    }
  }

  private async renewed(listener: Listener, view: ListenerView, slices: Slices): Promise<ListenerView> {
    try {
      return await this.activator.renewed(view, this.period(), slices);
    } catch (e) {
      // Of one that has been left meanwhile parts may be forgotten.
      if (this.serves(listener, view)) throw e;
      return view;
    }
  }

  /** Who is switched to brings keys of its own. */
  private serves(listener: Listener, view: ListenerView): boolean {
    return !this.closed && this.active.views.get(listener) === view;
  }

  private guarded(where: string, fn: () => void): void {
    try {
      fn();
    } catch (e) {
      internalError(this.plant, `edge.${where}`, e);
    }
  }
}
