/**
 * EndpointSlices as lists of endpoints, by kube-proxy's rules: ready ones, and those that still serve while they end only when no other is
 * ready; of one family; of our node or zone when every ready one has a hint and some name us. A change reaches whoever listens within a few
 * milliseconds, and needs no state.
 */
import { objectKey, type ObjectKey } from '../../../contract/resources/index.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { GroupService } from '../../compile/index.ts';
import type { ServiceEndpoint, ServiceEndpoints } from '../services.ts';
import type { Family, Slice, SliceEndpoint } from './slice.ts';

/** Long enough for the slices of one roll-out step, short enough for 100 ms to the last worker. */
export const GATHER_MS = 10;
/** Of all Services together. */
export const MAX_ENDPOINTS = 500_000;
/** Of the Services of one namespace: the others have room, whatever one author writes. */
export const MAX_NAMESPACE_ENDPOINTS = 100_000;
/** Of one Service: whoever writes slices without end takes time from nobody else. */
export const MAX_SERVICE_ENDPOINTS = 20_000;
export const MAX_SERVICE_SLICES = 2000;

export interface SlicesOptions {
  readonly clock: Clock;
  /** '' when not known. */
  readonly nodeName: string;
  readonly onError: (e: unknown) => void;
  /** A slice whose endpoints do not fit counts as empty, until there is room. */
  readonly onBeyond: (slice: ObjectKey) => void;
  readonly max?: number;
  readonly maxOfNamespace?: number;
}

export interface ServiceFacts {
  readonly uid: string;
  readonly family: Family | '';
}

/** An endpoint of one port, with everything that decides whether it is used. */
interface Candidate extends SliceEndpoint {
  readonly port: number;
  readonly family: Family;
}

interface Choice {
  readonly endpoints: readonly ServiceEndpoint[];
  readonly total: number;
  readonly ready: number;
}

/** There are tens of thousands of these, most with one slice and one port: no map where a list or nothing does. */
interface Known {
  slices: readonly Slice[];
  facts: ServiceFacts | null;
  /** By the port's name, from when they are asked for until something changes. */
  choices: Map<string, Choice> | null;
}

type Listener = (services: ReadonlySet<string>) => void;

export class Slices implements ServiceEndpoints {
  private readonly o: SlicesOptions;
  private readonly services = new Map<ObjectKey, Known>();
  private readonly listeners = new Set<Listener>();
  private zone = '';
  private held = 0;
  private readonly heldOf = new Map<string, number>();
  /** Those that did not fit. */
  private readonly beyond = new Map<ObjectKey, Slice>();
  private hasRoom = false;
  private dirty = new Set<ObjectKey>();
  private cancel: (() => void) | null = null;

  constructor(o: SlicesOptions) {
    this.o = o;
  }

  endpoints(service: GroupService): readonly ServiceEndpoint[] {
    return this.choice(service).endpoints;
  }

  counts(service: GroupService): { readonly total: number; readonly ready: number } {
    const { total, ready } = this.choice(service);
    return { total, ready };
  }

  onChange(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** A slice came, changed, moved to another Service, or went. */
  changed(before: Slice | undefined, after: Slice | undefined): void {
    if (before !== undefined) this.drop(before);
    if (after !== undefined) this.add(after);
  }

  /** null: the Service is gone. */
  service(key: ObjectKey, facts: ServiceFacts | null): void {
    const known = this.services.get(key);
    if (known?.facts?.uid === facts?.uid && known?.facts?.family === facts?.family) return;
    this.known(key).facts = facts;
    this.touch(key);
  }

  ownZone(zone: string): void {
    if (zone === this.zone) return;
    this.zone = zone;
    for (const key of this.services.keys()) this.touch(key);
  }

  stop(): void {
    this.cancel?.();
    this.cancel = null;
    this.listeners.clear();
  }

  private add(slice: Slice): void {
    const known = this.known(slice.service);
    const kept = this.fits(known, slice) ? slice : { ...slice, endpoints: [] };
    if (kept !== slice) {
      this.beyond.set(slice.key, slice);
      this.o.onBeyond(slice.key);
    }
    if (known.slices.length < MAX_SERVICE_SLICES) {
      this.count(slice.namespace, kept.endpoints.length);
      known.slices = [...known.slices, kept].sort(byKey);
    }
    this.touch(slice.service);
  }

  private count(namespace: string, endpoints: number): void {
    this.held += endpoints;
    const now = (this.heldOf.get(namespace) ?? 0) + endpoints;
    if (now === 0) this.heldOf.delete(namespace);
    else this.heldOf.set(namespace, now);
  }

  private fits({ slices }: Known, { endpoints, namespace }: Slice): boolean {
    if (slices.length >= MAX_SERVICE_SLICES || this.held + endpoints.length > (this.o.max ?? MAX_ENDPOINTS)) return false;
    const ofNamespace = (this.heldOf.get(namespace) ?? 0) + endpoints.length;
    if (ofNamespace > (this.o.maxOfNamespace ?? MAX_NAMESPACE_ENDPOINTS)) return false;
    return slices.reduce((sum, s) => sum + s.endpoints.length, endpoints.length) <= MAX_SERVICE_ENDPOINTS;
  }

  private drop({ key, service, namespace }: Slice): void {
    this.beyond.delete(key);
    const known = this.services.get(service);
    const slice = known?.slices.find((s) => s.key === key);
    if (known === undefined || slice === undefined) return;
    this.count(namespace, -slice.endpoints.length);
    this.hasRoom = true;
    known.slices = known.slices.filter((s) => s !== slice);
    this.touch(service);
  }

  private known(key: ObjectKey): Known {
    let known = this.services.get(key);
    if (known === undefined) this.services.set(key, (known = { slices: [], facts: null, choices: null }));
    return known;
  }

  private touch(key: ObjectKey): void {
    const known = this.services.get(key);
    if (known !== undefined) known.choices = null;
    if (known?.slices.length === 0 && known.facts === null) this.services.delete(key);
    this.dirty.add(key);
    this.cancel ??= this.o.clock.after(GATHER_MS, () => this.tell());
  }

  /** Once for everything that went: those of before first. */
  private fill(): void {
    if (!this.hasRoom) return;
    const full = new Set<ObjectKey>();
    for (const slice of this.beyond.values()) {
      if (full.has(slice.service)) continue;
      const known = this.known(slice.service);
      // In its place is an empty one, if there was a place.
      const others = known.slices.filter((s) => s.key !== slice.key);
      if (this.fits({ ...known, slices: others }, slice)) {
        known.slices = others;
        this.beyond.delete(slice.key);
        this.add(slice);
      } else full.add(slice.service);
    }
    this.hasRoom = false;
  }

  private tell(): void {
    this.fill();
    this.cancel?.();
    this.cancel = null;
    const services = this.dirty;
    this.dirty = new Set();
    for (const listener of this.listeners) {
      try {
        listener(services);
      } catch (e) {
        this.o.onError(e);
      }
    }
  }

  private choice({ namespace, name, portName }: GroupService): Choice {
    const known = this.services.get(objectKey(namespace, name));
    if (known === undefined) return NOTHING;
    // As many as a Service has ports: the names come from compile.
    const choices = (known.choices ??= new Map());
    let choice = choices.get(portName);
    if (choice === undefined) choices.set(portName, (choice = this.choose(known, portName)));
    return choice;
  }

  private choose({ slices, facts }: Known, portName: string): Choice {
    const all = merged(ownSlices(slices, facts?.uid ?? ''), portName);
    const ready = all.filter((c) => c.ready);
    const serving = ready.length > 0 ? ready : all.filter((c) => c.draining);
    // The addresses of one pod are not two endpoints.
    const family = familyOf(serving.length > 0 ? serving : all, facts?.family ?? '');
    const used = serving.filter((c) => c.family === family);
    const near = ready.length > 0 ? this.near(used) : used;
    return {
      endpoints: near.map(({ address, port, draining }) => ({ address, port, draining })).sort(byPlace),
      total: all.filter((c) => c.family === family).length,
      ready: ready.length > 0 ? used.length : 0,
    };
  }

  /** Hints hold only together: one endpoint without means that they are being made anew. */
  private near(ready: readonly Candidate[]): readonly Candidate[] {
    const { nodeName } = this.o;
    const here = chosen(ready, (c) => c.nodes, nodeName);
    return here ?? chosen(ready, (c) => c.zones, this.zone) ?? ready;
  }
}

const NOTHING: Choice = { endpoints: [], total: 0, ready: 0 };

function chosen(ready: readonly Candidate[], hints: (c: Candidate) => readonly string[] | null, own: string): readonly Candidate[] | null {
  if (own === '' || !ready.every((c) => hints(c) !== null)) return null;
  const near = ready.filter((c) => hints(c)?.includes(own));
  return near.length > 0 ? near : null;
}

/**
 * A Service that was made anew under its name has slices of its own at once, while those of the old one are still being collected: they are left
 * out. Slices of no Service, made by hand or by others, count always; so do all as long as none is known to be of this one.
 */
function ownSlices(all: readonly Slice[], uid: string): readonly Slice[] {
  if (uid === '' || !all.some((s) => s.owner === uid)) return all;
  return all.filter((s) => s.owner === uid || s.owner === '');
}

const byKey = (a: Slice, b: Slice): number => (a.key < b.key ? -1 : 1);

/** All endpoints of a port, each address and port once: the ready one where slices disagree. */
function merged(slices: readonly Slice[], portName: string): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const { family, ports, endpoints } of slices) {
    for (const port of ports) {
      if (port.name !== portName) continue;
      for (const endpoint of endpoints) {
        const place = `${endpoint.address} ${port.port}`;
        const known = found.get(place);
        if (known === undefined || rank(known) < rank(endpoint)) found.set(place, { ...endpoint, port: port.port, family });
      }
    }
  }
  return [...found.values()];
}

const rank = ({ ready, draining }: SliceEndpoint): number => (ready ? 2 : draining ? 1 : 0);

/** The Service's first family, where it has something; else whatever has. */
function familyOf(some: readonly Candidate[], preferred: Family | ''): Family {
  const first = preferred === '' ? 'IPv4' : preferred;
  if (some.some((c) => c.family === first)) return first;
  return some[0]?.family ?? first;
}

const byPlace = (a: ServiceEndpoint, b: ServiceEndpoint): number =>
  a.address === b.address ? a.port - b.port : a.address < b.address ? -1 : 1;
