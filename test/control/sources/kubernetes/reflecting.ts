/** A reflector on a scripted API, and what its handler and its hooks got. */
import { Outage } from '../../../../src/control/sources/kubernetes/backoff.ts';
import { Reflector, type RawObject, type ReflectorHandler } from '../../../../src/control/sources/kubernetes/reflector.ts';
import { ManualClock } from '../../../../src/lib/clock.ts';
import { createLog } from '../../../../src/lib/log.ts';
import { ScriptedApi, settle } from './scripted.ts';

const KIND = { kind: 'Upstream', group: 'spooky.dev', version: 'v1alpha1', plural: 'upstreams' };

export const object = (name: string, version: string, uid = `uid-${name}`): Record<string, unknown> => ({
  metadata: { name, namespace: 'shop', uid, resourceVersion: version },
  spec: { from: version },
});
export const nameOf = ({ metadata }: RawObject): string => `${metadata.name}@${metadata.resourceVersion}`;

export interface Setup {
  readonly random?: () => number;
  readonly optional?: boolean;
  readonly namespace?: string | null;
  readonly query?: string;
  readonly accept?: string;
  readonly outage?: Outage;
  readonly api?: ScriptedApi;
  readonly clock?: ManualClock;
  readonly handler?: Partial<ReflectorHandler<string>>;
}

const stops: (() => void)[] = [];
export const stopAll = (): void => {
  for (const stop of stops.splice(0)) stop();
};

export const setUp = (s: Setup = {}) => {
  const api = s.api ?? new ScriptedApi();
  const clock = s.clock ?? new ManualClock();
  const seen: string[] = [];
  const counts = new Map<string, number>();
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
  const logged: string[] = [];
  const reflector = new Reflector<string>({
    api,
    kind: KIND,
    namespace: s.namespace ?? null,
    ...(s.query === undefined ? {} : { query: s.query }),
    ...(s.accept === undefined ? {} : { accept: s.accept }),
    ...(s.outage === undefined ? {} : { outage: s.outage }),
    clock,
    log: createLog({ level: 'trace', format: 'plain', write: (line) => logged.push(line), wall: () => 0 }),
    random: s.random ?? (() => 0),
    handler: {
      project: nameOf,
      replaced: (objects) => void seen.push(`= ${[...objects].sort().join(' ')}`),
      changed: (type, o) => void seen.push(`${type} ${o}`),
      missing: () => void seen.push('missing'),
      ...s.handler,
    },
    hooks: {
      list: () => count('list'),
      reconnect: () => count('reconnect'),
      event: () => count('event'),
      error: (_kind, reason) => count(reason),
      heard: () => count('heard'),
      synced: (_kind, yes) => count(yes ? 'synced' : 'unsynced'),
    },
    optional: s.optional ?? false,
  });
  stops.push(() => reflector.stop());
  reflector.start();
  return { api, clock, seen, counts, logged, reflector };
};

/** With one object, at version 10. */
export const setUpSynced = async (s: Setup = {}) => {
  const t = setUp(s);
  t.api.last.open().event('ADDED', object('a', '5')).listed('10');
  await settle();
  t.seen.length = 0;
  return t;
};

/** Synced, and the watch that came after the list is open. */
export const setUpWatching = async (s: Setup = {}) => {
  const t = await setUpSynced(s);
  t.clock.advance(60_000);
  await t.api.last.end();
  t.api.last.open();
  await settle();
  return t;
};
