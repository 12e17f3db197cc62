/** The API server of a chaos story, and what can go wrong with it. */
import { loadCredentials } from '../../../../../src/control/sources/kubernetes/credentials.ts';
import type { Credentials } from '../../../../../src/control/sources/kubernetes/access.ts';
import type { Clock } from '../../../../../src/lib/clock.ts';
import type { Log } from '../../../../../src/lib/log.ts';
import { startApiServer, type FakeApiServer, type KubeObject, type Plain } from '../../../../kit/apiserver/index.ts';

export type Write =
  | { readonly what: 'put'; readonly object: Plain }
  | { readonly what: 'status'; readonly plural: string; readonly namespace: string; readonly name: string; readonly status: Plain }
  | { readonly what: 'remove'; readonly plural: string; readonly namespace: string; readonly name: string };

/** The fake with all its faults, or a real server that is killed and started. */
export interface ChaosTarget {
  credentials(clock: Clock, log: Log): Promise<Credentials>;
  /** What a server that is away misses is lost, and no fault. */
  write(write: Write): Promise<void>;
  /** What is there, past all faults. */
  list(plural: string): Promise<readonly KubeObject[]>;
  /** Something goes wrong; says what. Resolves at once: the next thing may go wrong in the middle of it. */
  disturb(random: () => number): Promise<string>;
  /** Nothing goes wrong any more. */
  heal(): Promise<void>;
  stop(): Promise<void>;
}

const must = <T>(result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: string }): T => {
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

export async function fakeTarget(adjust: (fake: FakeApiServer) => void = () => undefined): Promise<ChaosTarget> {
  const fake = await startApiServer({ bookmarkMs: 250, window: 2000 });
  fake.installGrants();
  adjust(fake);
  const down = new Set<Promise<void>>();
  return {
    credentials: async (clock, log) => {
      const { env, folder } = fake.mount();
      return must(await loadCredentials({ kubeconfig: null, context: null, env, clock, log, serviceAccount: folder }));
    },
    write: async (write) => apply(fake, write),
    list: async (plural) => fake.list(plural),
    disturb: async (random) => {
      const [name, fault] = FAULTS[Math.floor(random() * FAULTS.length)] as (typeof FAULTS)[number];
      const lasts = fault(fake, random);
      if (lasts !== undefined) {
        down.add(lasts);
        void lasts.finally(() => down.delete(lasts));
      }
      return name;
    },
    heal: async () => {
      await Promise.all(down);
      fake.faults.clear();
      fake.watchLists = true;
      // Streams in a black hole stay there: only their silence tells.
      fake.refreshFiles();
    },
    stop: () => fake.stop(),
  };
}

/** By the rules of the API, but not over the wire: other servers of the same cluster go on when this one is away. */
function apply(fake: FakeApiServer, write: Write): void {
  if (write.what === 'put') fake.put(write.object);
  else if (fake.get(write.plural, write.namespace, write.name) === undefined) return;
  else if (write.what === 'remove') fake.remove(write.plural, write.namespace, write.name);
  else fake.setStatus(write.plural, write.namespace, write.name, write.status);
}

const KINDS = ['upstreams', 'listeners', 'services', 'endpointslices', 'namespaces', 'secrets', 'configmaps', 'referencegrants'];
const some = (random: () => number): { path: string } => ({ path: `/${KINDS[Math.floor(random() * KINDS.length)] as string}?` });
const times = (random: () => number): number => 1 + Math.floor(random() * 4);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

type Fault = (fake: FakeApiServer, random: () => number) => void | Promise<void>;

const FAULTS: readonly (readonly [name: string, fault: Fault])[] = [
  ['cut', (f, r) => f.faults.cut(some(r))],
  ['cut everything', (f) => f.cutAll()],
  ['half a line', (f, r) => f.faults.halfLine(some(r))],
  ['half of an answer', (f, r) => f.faults.halfBody({ times: times(r) })],
  ['gone', (f, r) => f.faults.gone(some(r))],
  ['a storm of gone', (f, r) => f.faults.gone({ times: 8, as: r() < 0.5 ? 'event' : 'status' })],
  ['compacted', (f) => f.compact()],
  ['an error event', (f, r) => f.faults.errorEvent(500, 'etcdserver: leader changed', some(r))],
  ['429', (f, r) => f.faults.status(429, { retryAfter: 1, times: times(r) })],
  ['500', (f, r) => f.faults.status(500, { times: times(r) })],
  ['503', (f, r) => f.faults.status(503, { times: times(r) })],
  ['404', (f, r) => f.faults.status(404, { times: times(r), ...some(r) })],
  ['403', (f, r) => f.faults.status(403, { times: 1, ...some(r) })],
  ['a page of HTML', (f, r) => f.faults.html(502, { times: times(r) })],
  ['HTML in the place of a list', (f, r) => f.faults.html(200, { times: times(r) })],
  ['slow headers', (f, r) => f.faults.slowHeaders(300, { times: times(r) })],
  ['a black hole', (f, r) => f.faults.blackHole({ times: times(r), ...some(r) })],
  ['no JSON', (f, r) => f.faults.raw('{"type":"ADDED","object":}\n', some(r))],
  ['an unknown event', (f, r) => f.faults.raw('{"type":"NEWS","object":{}}\n', some(r))],
  ['an event without an object', (f, r) => f.faults.raw('{"type":"MODIFIED"}\n', some(r))],
  ['a line that is too long', (f, r) => f.faults.huge(5 * 1024 * 1024, some(r))],
  ['duplicates, disorder and pieces', (f, random) => f.faults.lineRate({ duplicate: 0.1, reorder: 0.05, split: 0.3, random })],
  ['order again', (f) => f.faults.lineRate({})],
  ['no lists by watch', (f) => void (f.watchLists = false)],
  ['lists by watch', (f) => void (f.watchLists = true)],
  ['another token', (f) => void f.rotateToken()],
  ['another token, told late', (f) => late(f, () => void f.rotateToken(f.token, { tellFiles: false }))],
  ['another authority', (f) => (f.rotateCa(), f.cutAll())],
  ['killed and started', killed],
  ['killed and started', killed],
];

async function late(fake: FakeApiServer, rotate: () => void): Promise<void> {
  rotate();
  await pause(200);
  fake.refreshFiles();
}

async function killed(fake: FakeApiServer, random: () => number): Promise<void> {
  await fake.kill();
  await pause(random() * 400);
  await fake.restart();
}
