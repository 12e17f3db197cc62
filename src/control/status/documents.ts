/** A verdict as the status that is applied: our own fields and no others. Pure. */
import { secondsTime } from './times.ts';
import type { Condition, ObjectStatus, PublishedAddress } from '../compile/index.ts';
import type { SeenObject } from './client.ts';
import { field, isGood, isOurs, listField, ownPart, readConditions, type WrittenCondition } from './conditions.ts';

/** What the CRDs hold. */
const MAX_ADDRESSES = 256;
const MAX_LISTENERS = 64;

export interface EndpointCounts {
  readonly total: number;
  readonly ready: number;
}

export interface ListenerDocument {
  readonly addresses?: readonly PublishedAddress[];
  readonly attachedUpstreams?: number;
  readonly conditions: readonly WrittenCondition[];
}

export interface InstallationEntry {
  readonly controllerName: string;
  readonly attached?: string;
  readonly endpoints?: EndpointCounts;
  readonly conditions: readonly WrittenCondition[];
  readonly listeners?: readonly { readonly namespace: string; readonly name: string; readonly conditions: readonly WrittenCondition[] }[];
}

export interface UpstreamDocument {
  readonly installations: readonly [InstallationEntry];
}

/** What is to be applied, and how much of it is news. */
export interface Plan {
  readonly document: ListenerDocument | UpstreamDocument | Readonly<Record<string, never>>;
  /** Nothing but numbers of endpoints or Upstreams: they may wait. */
  readonly countsOnly: boolean;
}

/** null: what is seen is what is wanted, or somebody has judged a newer generation already. */
export function plan(
  status: ObjectStatus,
  endpoints: EndpointCounts | null,
  controller: string,
  seen: Pick<SeenObject, 'generation' | 'status'>,
  wall: number,
): Plan | null {
  const own = ownPart(status.kind, controller, seen.status);
  const before = readConditions(own);
  if (isOutrun(before, status.generation, seen.generation)) return null;
  return status.kind === 'Listener' ? listenerPlan(status, own, wall) : upstreamPlan(status, endpoints, controller, own, wall);
}

/** {}, when there is something of ours to take away. */
export function releasePlan(kind: ObjectStatus['kind'], controller: string, seen: Pick<SeenObject, 'status'>): Plan | null {
  const own = ownPart(kind, controller, seen.status);
  const nothing = kind === 'Upstream' ? own === undefined : readConditions(own).size === 0;
  return nothing ? null : { document: {}, countsOnly: false };
}

/** Our watch or our compile is behind a leader before us. What is above the object's own generation is nonsense and does not count. */
function isOutrun(before: ReadonlyMap<string, WrittenCondition>, ours: number, seen: number): boolean {
  for (const c of before.values()) if (c.observedGeneration > ours && c.observedGeneration <= seen) return true;
  return false;
}

function listenerPlan(status: ObjectStatus, own: unknown, wall: number): Plan | null {
  const addresses = (status.addresses ?? []).slice(0, MAX_ADDRESSES);
  const document: ListenerDocument = {
    ...(addresses.length === 0 ? {} : { addresses }),
    ...(status.attachedUpstreams === undefined ? {} : { attachedUpstreams: status.attachedUpstreams }),
    conditions: written(status.conditions, own, status.generation, wall),
  };
  const same = sameConditions(document.conditions, own) && sameAddresses(addresses, listField(own, 'addresses'));
  const sameCounts = field(own, 'attachedUpstreams') === document.attachedUpstreams;
  return same && sameCounts ? null : { document, countsOnly: same };
}

function upstreamPlan(status: ObjectStatus, endpoints: EndpointCounts | null, controller: string, own: unknown, wall: number): Plan | null {
  const before = listField(own, 'listeners');
  const listeners = worstFirst(status.listeners ?? []).map(({ namespace, name, conditions }) => {
    const known = before.find((l) => field(l, 'namespace') === namespace && field(l, 'name') === name);
    return { namespace, name, known, conditions: written(conditions, known, status.generation, wall) };
  });
  const entry: InstallationEntry = {
    controllerName: controller,
    ...(status.attached === undefined ? {} : { attached: `${status.attached.taken}/${status.attached.asked}` }),
    ...(endpoints === null ? {} : { endpoints: { total: endpoints.total, ready: endpoints.ready } }),
    conditions: written(status.conditions, own, status.generation, wall),
    ...(listeners.length === 0 ? {} : { listeners: listeners.map(({ namespace, name, conditions }) => ({ namespace, name, conditions })) }),
  };
  const same =
    own !== undefined &&
    sameConditions(entry.conditions, own) &&
    field(own, 'attached') === entry.attached &&
    before.length === listeners.length &&
    listeners.every((l) => l.known !== undefined && sameConditions(l.conditions, l.known));
  return same && sameEndpoints(entry.endpoints, field(own, 'endpoints'))
    ? null
    : { document: { installations: [entry] }, countsOnly: same };
}

/** What does not fit is what has nothing to say. */
function worstFirst(listeners: NonNullable<ObjectStatus['listeners']>): NonNullable<ObjectStatus['listeners']> {
  if (listeners.length <= MAX_LISTENERS) return listeners;
  const isBad = (l: (typeof listeners)[number]): boolean => l.conditions.some((c) => !isGood(c));
  return [...listeners.filter(isBad), ...listeners.filter((l) => !isBad(l))].slice(0, MAX_LISTENERS);
}

/** The time of the last transition is that of the status, whatever reason or message say. */
function written(conditions: readonly Condition[], own: unknown, generation: number, wall: number): WrittenCondition[] {
  const before = readConditions(own);
  return conditions.map(({ type, status, reason, message }) => {
    const known = before.get(type);
    const stays = known !== undefined && known.status === status && Number.isFinite(Date.parse(known.lastTransitionTime));
    const lastTransitionTime = stays ? known.lastTransitionTime : secondsTime(wall);
    return { type, status, reason, message, observedGeneration: generation, lastTransitionTime };
  });
}

/** Types that are not in our table are somebody else's. */
function sameConditions(wanted: readonly WrittenCondition[], own: unknown): boolean {
  const seen = readConditions(own);
  return (
    seen.size === wanted.length &&
    wanted.every((c) => {
      const s = isOurs(c.type) ? seen.get(c.type) : undefined;
      return (
        s !== undefined &&
        s.status === c.status &&
        s.reason === c.reason &&
        s.message === c.message &&
        s.observedGeneration === c.observedGeneration &&
        s.lastTransitionTime === c.lastTransitionTime
      );
    })
  );
}

const sameAddresses = (wanted: readonly PublishedAddress[], seen: readonly unknown[]): boolean =>
  wanted.length === seen.length &&
  wanted.every((a, i) => field(seen[i], 'type') === a.type && field(seen[i], 'value') === a.value && field(seen[i], 'port') === a.port);

const sameEndpoints = (wanted: EndpointCounts | undefined, seen: unknown): boolean =>
  wanted === undefined ? seen === undefined : field(seen, 'total') === wanted.total && field(seen, 'ready') === wanted.ready;
