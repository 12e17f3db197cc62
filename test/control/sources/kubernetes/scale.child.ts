/** The control process of a large cluster, without the rest: it follows an API server, compiles, and tells its parent how it went. */
import { compile, Memo } from '../../../../src/control/compile/index.ts';
import { follow, installation } from './story.ts';

export interface Facts {
  readonly is: 'ready';
  /** Milliseconds since the process began. */
  readonly started: number;
  readonly firstState: number;
  readonly compiled: number;
  /** Milliseconds of processor time until then, of all threads. */
  readonly cpu: number;
  readonly upstreams: number;
  readonly services: number;
  readonly groups: number;
  readonly endpoints: number;
  readonly problems: readonly string[];
  /** MiB: the most that it ever was, and what it is now. */
  readonly peak: number;
  readonly rss: number;
  readonly heap: number;
  /** Milliseconds: the longest that the event loop stood still until the state was there. */
  readonly stall: number;
}

/** A change of a slice, from its event to the call with its endpoints in hand. */
export interface Changed {
  readonly is: 'changed';
  /** Milliseconds by the clock. */
  readonly ms: number;
  /** Milliseconds of processor time. */
  readonly cpu: number;
}

const MIB = 1024 * 1024;
const [kubeconfig] = process.argv.slice(2) as [string];
const send = (message: Facts | Changed): void => void process.send?.(message);

let stall = 0;
let turn = 0;
// From the first answer on: before it, modules are loaded.
const watch = setInterval(() => {
  const now = performance.now();
  if (turn > 0) stall = Math.max(stall, now - turn - 5);
  if (heard) turn = now;
}, 5);
let heard = false;

const used = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
let eventAt = 0;
let usedAt = 0;
const started = performance.now();
const story = await follow(kubeconfig, {
  hooks: {
    list: () => undefined,
    reconnect: () => undefined,
    event: (kind) => {
      if (kind !== 'EndpointSlice') return;
      eventAt = performance.now();
      usedAt = used();
    },
    error: () => undefined,
    heard: () => {
      heard = true;
    },
    synced: () => undefined,
    objects: () => undefined,
    gone: () => undefined,
  },
});
const state = await story.first;
const firstState = performance.now();
clearInterval(watch);
const compiled = compile(state.set, { standalone: false, installation: installation(), memo: new Memo() });
const services = [...compiled.groups.values()].flatMap((g) => g.service ?? []);
const endpoints = services.reduce((sum, s) => sum + story.source.endpoints.endpoints(s).length, 0);
const memory = process.memoryUsage();
send({
  is: 'ready',
  started,
  firstState,
  compiled: performance.now(),
  cpu: used(),
  upstreams: state.set.upstreams.size,
  services: state.set.cluster?.services.size ?? 0,
  groups: compiled.groups.size,
  endpoints,
  problems: compiled.problems.slice(0, 5).map((p) => `${p.object} ${p.path}: ${p.message}`),
  peak: process.resourceUsage().maxRSS / 1024,
  rss: memory.rss / MIB,
  heap: memory.heapUsed / MIB,
  stall,
});
// What the lists changed is told within milliseconds; changes from then on are the parent's.
setTimeout(() => {
  story.source.endpoints.onChange((changed) => {
    for (const service of services) if (changed.has(`${service.namespace}/${service.name}`)) story.source.endpoints.endpoints(service);
    send({ is: 'changed', ms: performance.now() - eventAt, cpu: used() - usedAt });
  });
}, 200);
process.on('disconnect', () => process.exit(0));
