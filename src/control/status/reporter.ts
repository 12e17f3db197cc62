/**
 * Tells users what became of their objects. It knows what each is to have (a wish), who has a reason to look again, and what has to be taken away;
 * when and how often anything is written is the writer's. Every process keeps the wishes, the leader alone writes them.
 */

import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Compiled, GroupService, ObjectStatus } from '../compile/index.ts';
import type { ServiceEndpoints } from '../sources/services.ts';
import type { ObjectRef, SeenObject, StatusClient, WriteOutcome } from './client.ts';
import { controllerName } from './conditions.ts';
import { plan, releasePlan, type EndpointCounts, type Plan } from './documents.ts';
import { Events, type EventResult } from './events.ts';
import { atTime, nextDate } from './validity.ts';
import { Programmed, type WorkerFacts } from './programmed.ts';
import { turns } from './turns.ts';
import { sameData } from './same.ts';
import { StatusWriter, type Cause, type Wish, type WriterLimits } from './writer.ts';

export interface ReporterOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly client: StatusClient;
  readonly leader: () => boolean;
  readonly className: string;
  /** null: endpoints are not counted. */
  readonly endpoints: ServiceEndpoints | null;
  readonly onWrite: (kind: ObjectRef['kind'], outcome: WriteOutcome) => void;
  readonly onEvent: (result: EventResult) => void;
  /** In [0, 1). */
  readonly random: () => number;
  readonly limits?: WriterLimits;
}

/** Everything is compared again so often, up to twice: a net below what watches tell. */
export const RECHECK_MS = 300_000;
/** The longest that a certificate's end is slept towards: clocks are set. */
const MAX_SLEEP_MS = 3_600_000;

/** What an Upstream's groups are made of. */
interface Backends {
  readonly services: readonly GroupService[];
  readonly addresses: number;
}

const NO_BACKENDS: Backends = { services: [], addresses: 0 };

interface ReportWish extends Wish {
  /** null: our entry is taken away. */
  readonly status: ObjectStatus | null;
  readonly backends: Backends;
}

const keyOf = (o: Pick<ObjectRef, 'kind' | 'namespace' | 'name'>): string => `${o.kind} ${o.namespace}/${o.name}`;

export class Reporter {
  private readonly o: ReporterOptions;
  private readonly controller: string;
  private readonly writer: StatusWriter;
  private readonly events: Events;
  private readonly programmed = new Programmed();
  private wishes = new Map<string, ReportWish>();
  /** Upstreams by the Services (`namespace/name`) that they use. */
  private users = new Map<string, Set<string>>();
  private began = false;
  private stopped = false;
  private datesCheckedAt = -Infinity;
  private cancelDates: () => void = () => {};
  private cancelRecheck: () => void = () => {};

  constructor(o: ReporterOptions) {
    this.o = o;
    this.controller = controllerName(o.className);
    this.events = new Events({ clock: o.clock, log: o.log, client: o.client, leader: o.leader, onEvent: o.onEvent });
    this.writer = new StatusWriter({
      clock: o.clock,
      random: o.random,
      log: o.log,
      client: o.client,
      leader: o.leader,
      wish: (key) => this.wishes.get(key),
      onWrite: o.onWrite,
      onWritten: (wish, before, after) => this.written(wish, before, after),
      onDone: (key, wish) => this.done(key, wish),
      ...(o.limits === undefined ? {} : { limits: o.limits }),
    });
    this.planRecheck();
  }

  /** Objects that something is wanted of. */
  get size(): number {
    return this.wishes.size;
  }

  /** A state is on its way to the workers, or has arrived there. */
  applied(compiled: Compiled, facts: WorkerFacts): void {
    if (this.stopped) return;
    const before = this.wishes;
    const changed: string[] = [];
    this.wishes = new Map();
    for (const status of this.programmed.judge(compiled.statuses, facts)) {
      const key = keyOf(status);
      const wish = this.wishFor(status, backendsOf(compiled, status), before.get(key));
      this.wishes.set(key, wish);
      if (wish !== before.get(key)) changed.push(key);
    }
    for (const [key, wish] of before) if (!this.wishes.has(key) && this.mustRelease(key, wish)) changed.push(key);
    if (changed.length > 0 || this.wishes.size !== before.size) this.indexUsers();
    this.planDates();
    if (!this.began) {
      this.began = true;
      return this.becameLeader();
    }
    this.enqueue(changed, 'changed');
  }

  /** Slices of these Services (`namespace/name`) have changed. */
  endpointsChanged(services: ReadonlySet<string>): void {
    for (const service of services) this.enqueue(this.users.get(service) ?? [], 'counts');
  }

  /** Somebody has written the object, and not its spec: we did, or it is not as it should be. */
  seenAgain(ref: ObjectRef): void {
    const key = keyOf(ref);
    if (this.wishes.has(key)) this.enqueue([key], 'check');
  }

  /** Whatever a leader before us wrote is compared with what we would have. */
  becameLeader(): void {
    if (!this.began || !this.o.leader()) return;
    this.guarded(() => {
      for (const ref of this.o.client.held?.() ?? []) {
        const key = keyOf(ref);
        if (!this.wishes.has(key)) this.wishes.set(key, this.release(ref));
      }
    });
    this.enqueue(this.wishes.keys(), 'check');
  }

  /** Nothing is written from now on; resolves when what was under way has ended, within a second. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.cancelDates();
    this.cancelRecheck();
    this.events.stop();
    await this.writer.stop();
  }

  private enqueue(keys: Iterable<string>, cause: Cause): void {
    if (this.stopped || !this.o.leader()) return;
    for (const key of keys) this.writer.enqueue(key, cause);
  }

  // Wishes.

  /** The same wish as before, unless something has changed. */
  private wishFor(status: ObjectStatus, backends: Backends, known: ReportWish | undefined): ReportWish {
    if (known !== undefined && sameData(known.status, status) && sameData(known.backends, backends)) return known;
    const { kind, namespace, name, uid } = status;
    return {
      ref: { kind, namespace, name, uid },
      status,
      backends,
      plan: (seen, wall) => this.planOf(status, backends, seen, wall),
    };
  }

  private planOf(status: ObjectStatus, backends: Backends, seen: SeenObject, wall: number): Plan | null {
    return plan(atTime(status, wall), this.counts(status, backends), this.controller, seen, wall);
  }

  /** Of an Upstream that has groups. An address that a user wrote is there. */
  private counts(status: ObjectStatus, { services, addresses }: Backends): EndpointCounts | null {
    const { endpoints } = this.o;
    if (status.kind !== 'Upstream' || endpoints === null || (services.length === 0 && addresses === 0)) return null;
    let [total, ready] = [addresses, addresses];
    for (const service of services) {
      const counted = endpoints.counts(service);
      total += counted.total;
      ready += counted.ready;
    }
    return { total, ready };
  }

  private indexUsers(): void {
    this.users = new Map();
    for (const [key, { backends }] of this.wishes) {
      for (const { namespace, name } of backends.services) {
        const service = `${namespace}/${name}`;
        const users = this.users.get(service);
        if (users === undefined) this.users.set(service, new Set([key]));
        else users.add(key);
      }
    }
  }

  private release(ref: ObjectRef): ReportWish {
    return { ref, status: null, backends: NO_BACKENDS, plan: (seen) => releasePlan(ref.kind, this.controller, seen) };
  }

  /** An object that is there and not ours any more. One that is gone took our entry with it. */
  private mustRelease(key: string, wish: ReportWish): boolean {
    const seen = this.o.client.seen(wish.ref);
    if (seen === null || (wish.ref.uid !== '' && seen.uid !== wish.ref.uid)) return false;
    this.wishes.set(key, wish.status === null ? wish : this.release(wish.ref));
    return wish.status !== null;
  }

  private done(key: string, wish: Wish): void {
    const current = this.wishes.get(key);
    if (current === wish && current.status === null) this.wishes.delete(key);
  }

  private written(wish: Wish, before: unknown, after: unknown): void {
    for (const note of turns(wish.ref, this.controller, before, after)) this.events.add(note);
  }

  // Time.

  /** One timer, whatever the number of certificates. */
  private planDates(): void {
    this.cancelDates();
    const wall = this.o.clock.wall();
    if (this.datesCheckedAt === -Infinity) this.datesCheckedAt = wall;
    let next = Infinity;
    for (const { status } of this.wishes.values()) if (status !== null) next = Math.min(next, nextDate(status, this.datesCheckedAt));
    if (next === Infinity) return;
    this.cancelDates = this.o.clock.after(Math.min(Math.max(0, next - wall), MAX_SLEEP_MS), () => this.guarded(() => this.passDates()));
  }

  private passDates(): void {
    const wall = this.o.clock.wall();
    for (const [key, wish] of this.wishes) {
      if (wish.status === null || nextDate(wish.status, this.datesCheckedAt) > wall) continue;
      // A wish of its own, so that its write is not taken for a repetition.
      this.wishes.set(key, this.wishFor(wish.status, wish.backends, undefined));
      this.enqueue([key], 'changed');
    }
    this.datesCheckedAt = Math.max(wall, this.datesCheckedAt);
    this.planDates();
  }

  private planRecheck(): void {
    this.cancelRecheck = this.o.clock.after(RECHECK_MS * (1 + this.o.random()), () => {
      this.guarded(() => this.enqueue(this.wishes.keys(), 'check'));
      if (!this.stopped) this.planRecheck();
    });
  }

  private guarded(work: () => void): void {
    try {
      work();
    } catch (e) {
      this.o.log.error('internal error', { where: 'status', error: e });
    }
  }
}

/** Each Service's port once, however many groups use it. */
function backendsOf(compiled: Compiled, status: ObjectStatus): Backends {
  if (status.groups === undefined || status.groups.length === 0) return NO_BACKENDS;
  const services: GroupService[] = [];
  let addresses = 0;
  for (const id of status.groups) {
    const source = compiled.groups.get(id);
    if (source === undefined) continue;
    const { service } = source;
    addresses += source.addresses.length;
    if (service !== null && !services.some((s) => sameData(s, service))) services.push(service);
  }
  return { services, addresses };
}
