/**
 * Brings workers to a state in two phases, so that all of them serve the same version:
 *
 *     main    parts* endpoints* load ------------> switch ------------>
 *     worker                         --> loaded            --> switched
 *                                   (all of them)        (all of them)
 *
 * A problem of a bind or a certificate is data in `loaded`; only silence, or death, costs a worker its place.
 */
import type { BoundListener, LoadProblem, ToWorker } from '../contract/channel.ts';
import { cutList } from '../contract/pieces.ts';
import type { EndpointInfo, EndpointList, GroupId, PartHash } from '../contract/snapshot/parts.ts';
import type { Clock } from '../lib/clock.ts';

/** Leaves room for the envelope below the channel's 64 KiB. */
export const CHUNK_BYTES = 60 * 1024;
/** Hashes of parts in a message. */
const HASHES = 1000;
/** Groups in a message: each is named by its object's full name. */
const GROUPS = 100;
/** Of a part in a message: names, lengths, its hash. */
const PART_OVERHEAD = 80;
export const SILENCE_MS = 5000;
/** A worker that gives signs of life may take this long. */
export const PATIENCE_MS = 30_000;
/** A version that this many workers died on is given up: the last one that served stays. */
const LOST_WORKERS = 3;

export interface PublishState {
  readonly listeners: readonly PartHash[];
  readonly encoded: ReadonlyMap<PartHash, Uint8Array>;
  readonly groups: Pick<ReadonlySet<GroupId>, 'has' | 'keys'>;
  /** What is not as in the state before; absent: all of it is looked at. */
  readonly changes?: StateChanges | null;
  /** Listeners whose address somebody else has. */
  readonly taken?: readonly PartHash[];
  /** A Listener that cannot be served as it says keeps all from being switched to: one that only cannot be bound does not. */
  readonly whole?: boolean;
}

export interface StateChanges {
  /** The mark of the state before. */
  readonly since: object | null;
  readonly mark: object;
  readonly added: readonly PartHash[];
  readonly removed: readonly PartHash[];
  readonly groups: readonly GroupId[];
}

/** One process of a worker. */
export interface Link {
  readonly workerId: number;
  send(message: ToWorker): void;
}

export interface WorkerLoad {
  readonly workerId: number;
  readonly bound: readonly BoundListener[];
  readonly problems: readonly LoadProblem[];
}

export type Published =
  | { readonly ok: true; readonly version: number; readonly loads: readonly WorkerLoad[] }
  | { readonly ok: false; readonly version: number; readonly why: string };

export interface PublisherOptions {
  readonly clock: Clock;
  /** Ends a process that has not answered: another one comes and is attached. */
  readonly replace: (workerId: number, reason: string) => void;
  /** What a worker has bound and could not, each time it has loaded. */
  readonly onLoaded: (load: WorkerLoad) => void;
}

type Phase = 'idle' | 'loading' | 'loaded' | 'switching' | 'serving';

class Seat {
  readonly link: Link;
  phase: Phase = 'idle';
  /** Some version of ours: while it takes up another one it goes on with that. */
  serves = false;
  load: WorkerLoad | null = null;
  version = 0;
  /** Present when the version under way was begun: the barrier waits for it. */
  awaited = false;
  known = new Set<PartHash>();
  /** Of the state that `known` is; null: of none that could be named. */
  mark: object | null = null;
  readonly sequences = new Map<GroupId, number>();
  cancelSilence: (() => void) | null = null;
  askedAt = 0;

  constructor(link: Link) {
    this.link = link;
  }
}

interface Target {
  readonly version: number;
  readonly state: PublishState;
  switched: boolean;
  lost: number;
  finish: ((outcome: Published) => void) | null;
}

const infoBytes = (e: EndpointInfo): number => 130 + e.address.length + e.host.length * 2 + e.label.length * 2;
const listBytes = (list: EndpointList): number => list.list.reduce((sum, e) => sum + infoBytes(e), 150 + list.group.length * 2);

/** Messages of at most `CHUNK_BYTES`. */
export const endpointMessages = (lists: readonly EndpointList[]): ToWorker[] => {
  const messages: ToWorker[] = [];
  let batch: EndpointList[] = [];
  let size = 0;
  for (const list of lists) {
    const n = listBytes(list);
    if (n > CHUNK_BYTES) {
      messages.push(...cutList(list, CHUNK_BYTES, infoBytes).map((cut): ToWorker => ({ type: 'piece', ...cut })));
      continue;
    }
    if (batch.length > 0 && size + n > CHUNK_BYTES) {
      messages.push({ type: 'endpoints', lists: batch });
      batch = [];
      size = 0;
    }
    batch.push(list);
    size += n;
  }
  if (batch.length > 0) messages.push({ type: 'endpoints', lists: batch });
  return messages;
};

const chunks = (hash: PartHash, bytes: Uint8Array): ToWorker[] => {
  const messages: ToWorker[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    const end = Math.min(at + CHUNK_BYTES, bytes.length);
    // A copy: serialising a view would carry along the whole buffer that it looks into.
    messages.push({ type: 'chunk', hash, last: end === bytes.length, bytes: bytes.slice(at, end) });
  }
  return messages;
};

/** Large parts cut, small ones together. */
export const partMessages = (parts: Iterable<readonly [PartHash, Uint8Array]>): ToWorker[] => {
  const messages: ToWorker[] = [];
  let batch: { hash: PartHash; bytes: Uint8Array }[] = [];
  let size = 0;
  const flush = (): void => {
    if (batch.length > 0) messages.push({ type: 'parts', parts: batch });
    batch = [];
    size = 0;
  };
  for (const [hash, bytes] of parts) {
    const n = bytes.length + PART_OVERHEAD;
    if (n > CHUNK_BYTES) {
      messages.push(...chunks(hash, bytes));
      continue;
    }
    if (size + n > CHUNK_BYTES) flush();
    batch.push({ hash, bytes: bytes.slice() });
    size += n;
  }
  flush();
  return messages;
};

/** Whether the worker has the state before, and no more. */
const follows = (seat: Seat, changes: StateChanges | null | undefined): changes is StateChanges =>
  changes !== undefined && changes !== null && changes.since !== null && changes.since === seat.mark;

export class Publisher {
  private readonly o: PublisherOptions;
  private readonly seats = new Map<number, Seat>();
  private readonly lists = new Map<GroupId, EndpointList>();
  private target: Target | null = null;
  /** The last version that was switched to: where workers go back to when a newer one cannot be loaded. */
  private good: Target | null = null;
  private versions = 0;
  /** Of the last state that everybody switched to. */
  private mark: object | null = null;

  constructor(o: PublisherOptions) {
    this.o = o;
  }

  get version(): number {
    return this.good?.version ?? 0;
  }

  /** A worker that is busy with what it was given may be silent for as long as the publisher waits. */
  loading(workerId: number): boolean {
    const phase = this.seats.get(workerId)?.phase;
    return phase === 'loading' || phase === 'switching';
  }

  /** Whether every worker of `count` serves the current version. */
  serving(count: number): boolean {
    if (this.good === null || this.seats.size < count) return false;
    for (const seat of this.seats.values()) if (seat.phase !== 'serving') return false;
    return true;
  }

  phaseOf(workerId: number): { readonly phase: string; readonly version: number; readonly serves: boolean } {
    const seat = this.seats.get(workerId);
    return seat === undefined
      ? { phase: 'absent', version: 0, serves: false }
      : { phase: seat.phase, version: seat.version, serves: seat.serves };
  }

  /** One at a time. */
  publish(state: PublishState): Promise<Published> {
    return new Promise((resolve) => {
      this.target = { version: ++this.versions, state, switched: false, lost: 0, finish: resolve };
      for (const seat of this.seats.values()) {
        seat.awaited = true;
        this.load(seat, this.target);
      }
    });
  }

  /** The lane of its own: newer lists for workers that have the group. */
  endpoints(lists: readonly EndpointList[]): void {
    for (const list of lists) this.lists.set(list.group, list);
    for (const seat of this.seats.values()) {
      const newer = lists.filter((list) => seat.sequences.has(list.group));
      this.sendLists(seat, newer);
    }
  }

  /** A process that has said hello. */
  attach(link: Link): void {
    const seat = new Seat(link);
    this.seats.set(link.workerId, seat);
    if (this.target !== null) this.load(seat, this.target);
  }

  detach(workerId: number): void {
    const seat = this.seats.get(workerId);
    if (seat === undefined) return;
    seat.cancelSilence?.();
    this.seats.delete(workerId);
    const target = this.target;
    if (target === null || target.finish === null) return;
    if (!target.switched && seat.phase === 'loading' && ++target.lost >= LOST_WORKERS && !this.anyLoaded())
      this.giveUp(target, `${target.lost} workers were lost while they loaded it`);
    else this.advance(target);
  }

  /** The worker lives: whatever it is busy with may go on. */
  heard(workerId: number): void {
    const seat = this.seats.get(workerId);
    if (seat !== undefined && seat.cancelSilence !== null) this.planSilence(seat);
  }

  loaded(workerId: number, version: number, bound: readonly BoundListener[], problems: readonly LoadProblem[]): void {
    const seat = this.seats.get(workerId);
    const target = this.target;
    if (seat === undefined || target === null || seat.phase !== 'loading' || version !== seat.version) return;
    seat.cancelSilence?.();
    seat.cancelSilence = null;
    seat.phase = 'loaded';
    seat.load = { workerId, bound, problems };
    this.o.onLoaded(seat.load);
    if (target.switched) this.switch(seat, target);
    else this.advance(target);
  }

  /** A defect of the worker, which serves on what it had: so does everybody. One that cannot load what others serve is replaced. */
  notLoaded(workerId: number, version: number, why: string): void {
    const seat = this.seats.get(workerId);
    const { target } = this;
    if (seat === undefined || target === null || seat.phase !== 'loading' || version !== seat.version) return;
    if (target.switched) this.o.replace(workerId, 'load_failed');
    else this.giveUp(target, `worker ${workerId} cannot load it: ${why}`);
  }

  switched(workerId: number, version: number): void {
    const seat = this.seats.get(workerId);
    const target = this.target;
    if (seat === undefined || target === null || seat.phase !== 'switching' || version !== seat.version) return;
    seat.cancelSilence?.();
    seat.cancelSilence = null;
    seat.phase = 'serving';
    seat.serves = true;
    // A worker keeps what its version reaches and no more; so does our notion of it.
    this.forget(seat, target.state);
    this.advance(target);
  }

  /** What the state does not need any more. */
  private forget(seat: Seat, { encoded, groups, changes }: PublishState): void {
    const left = follows(seat, changes) ? changes.removed : [...seat.known].filter((hash) => !encoded.has(hash));
    for (const hash of left) seat.known.delete(hash);
    for (let at = 0; at < left.length; at += HASHES) seat.link.send({ type: 'forget', hashes: left.slice(at, at + HASHES) });
    const lists: GroupId[] = [];
    for (const group of follows(seat, changes) ? changes.groups : seat.sequences.keys())
      if (!groups.has(group) && seat.sequences.delete(group)) lists.push(group);
    for (let at = 0; at < lists.length; at += GROUPS) seat.link.send({ type: 'forgetLists', groups: lists.slice(at, at + GROUPS) });
    seat.mark = changes?.mark ?? null;
  }

  private anyLoaded(): boolean {
    for (const seat of this.seats.values()) if (seat.phase === 'loaded') return true;
    return false;
  }

  private load(seat: Seat, target: Target): void {
    seat.phase = 'loading';
    seat.version = target.version;
    const { encoded, groups, changes } = target.state;
    const lacking: [PartHash, Uint8Array][] = [];
    for (const hash of follows(seat, changes) ? changes.added : encoded.keys()) {
      const bytes = seat.known.has(hash) ? undefined : encoded.get(hash);
      if (bytes !== undefined) lacking.push([hash, bytes]);
    }
    for (const [hash] of lacking) seat.known.add(hash);
    for (const message of partMessages(lacking)) seat.link.send(message);
    const fresh: EndpointList[] = [];
    for (const group of follows(seat, changes) ? changes.groups : groups.keys()) {
      if (!groups.has(group)) continue;
      const list = this.lists.get(group);
      if (list !== undefined && seat.sequences.get(group) !== list.sequence) fresh.push(list);
    }
    this.sendLists(seat, fresh);
    seat.link.send({ type: 'load', version: target.version, listeners: target.state.listeners, taken: target.state.taken ?? [] });
    this.awaitAnswer(seat);
  }

  private sendLists(seat: Seat, lists: readonly EndpointList[]): void {
    for (const list of lists) seat.sequences.set(list.group, list.sequence);
    for (const message of endpointMessages(lists)) seat.link.send(message);
  }

  private switch(seat: Seat, target: Target): void {
    seat.phase = 'switching';
    seat.link.send({ type: 'switch', version: target.version });
    this.awaitAnswer(seat);
  }

  private awaitAnswer(seat: Seat): void {
    seat.askedAt = this.o.clock.now();
    this.planSilence(seat);
  }

  private planSilence(seat: Seat): void {
    seat.cancelSilence?.();
    const patience = seat.askedAt + PATIENCE_MS - this.o.clock.now();
    seat.cancelSilence = this.o.clock.after(Math.min(SILENCE_MS, patience), () => {
      seat.cancelSilence = null;
      this.o.replace(seat.link.workerId, seat.phase === 'loading' ? 'load_silent' : 'switch_silent');
    });
  }

  /** Passes a barrier when everybody who counts has reached it. */
  private advance(target: Target): void {
    if (!target.switched) {
      if (!this.anyLoaded() || this.someAwaited('loading')) return;
      const fault = target.state.whole === true ? this.faultOfLoads() : undefined;
      if (fault !== undefined) return this.giveUp(target, `listener ${fault.listener} cannot be served: ${fault.message}`);
      target.switched = true;
      this.good = target;
      for (const seat of this.seats.values()) if (seat.phase === 'loaded') this.switch(seat, target);
    }
    if (target.finish === null || this.someAwaited('switching') || !this.someServing()) return;
    const finish = target.finish;
    target.finish = null;
    for (const seat of this.seats.values()) seat.awaited = false;
    const { groups, changes } = target.state;
    const left =
      changes !== undefined && changes !== null && changes.since !== null && changes.since === this.mark
        ? changes.groups
        : this.lists.keys();
    for (const group of left) if (!groups.has(group)) this.lists.delete(group);
    this.mark = changes?.mark ?? null;
    const loads = [...this.seats.values()].flatMap((seat) => (seat.load === null ? [] : [seat.load]));
    finish({ ok: true, version: target.version, loads });
  }

  private faultOfLoads(): LoadProblem | undefined {
    const loaded = [...this.seats.values()].filter((seat) => seat.phase === 'loaded');
    return loaded.flatMap((seat) => seat.load?.problems ?? []).find((p) => p.kind !== 'bind');
  }

  private someAwaited(phase: Phase): boolean {
    for (const seat of this.seats.values()) if (seat.awaited && seat.phase === phase) return true;
    return false;
  }

  private someServing(): boolean {
    for (const seat of this.seats.values()) if (seat.phase === 'serving') return true;
    return false;
  }

  private giveUp(target: Target, why: string): void {
    this.target = this.good;
    const finish = target.finish;
    target.finish = null;
    for (const seat of this.seats.values()) {
      seat.awaited = false;
      seat.cancelSilence?.();
      seat.cancelSilence = null;
      if (this.good !== null) this.load(seat, this.good);
      else seat.phase = 'idle';
    }
    finish?.({ ok: false, version: target.version, why });
  }
}
