/** A source that follows a fake API server, with what it told. */
import type { Installation } from '../../../../src/contract/resources/index.ts';
import { createClient } from '../../../../src/control/sources/kubernetes/client.ts';
import { loadCredentials } from '../../../../src/control/sources/kubernetes/credentials.ts';
import {
  createKubernetesSource,
  type KubernetesSource,
  type KubernetesSourceOptions,
} from '../../../../src/control/sources/kubernetes/source.ts';
import type { KubeApi } from '../../../../src/control/sources/kubernetes/api.ts';
import type { SourceState } from '../../../../src/control/sources/source.ts';
import { systemClock, type Clock } from '../../../../src/lib/clock.ts';
import { createLog } from '../../../../src/lib/log.ts';
import type { FakeApiServer } from '../../../kit/apiserver/index.ts';

export const installation = (more: Partial<Installation> = {}): Installation => ({
  className: 'spooky',
  namespace: 'spooky-system',
  listenerNamespaces: null,
  secretNamespaces: null,
  ports: null,
  reservedPorts: new Set(),
  publishService: null,
  publishAddresses: [],
  publishNodeAddresses: false,
  allowAddressBackends: false,
  ...more,
});

/** Of a server in this process, or the path of a kubeconfig. */
export async function apiOf(server: FakeApiServer | string, token?: string): Promise<KubeApi> {
  const log = createLog({ level: 'off', format: 'json', wall: () => 0, write: () => undefined });
  const credentials = await loadCredentials({
    kubeconfig: typeof server === 'string' ? server : server.kubeconfig(token),
    context: null,
    env: {},
  });
  if (!credentials.ok) throw new Error(credentials.error);
  return createClient({ credentials: credentials.value, clock: systemClock, log, userAgent: 'spooky/test' });
}

/** What happens each half minute happens at once, again and again; everything else takes the time that it takes. */
export const hasty: Clock = {
  ...systemClock,
  after: (ms, fn) => systemClock.after(ms >= 20_000 && ms <= 33_000 ? 20 : ms, fn),
};

/** Changes are told in the turn after they came, so that two that were made one after the other are never one. */
export const eager: Clock = { ...systemClock, after: (ms, fn) => systemClock.after(ms === 10 ? 0 : ms, fn) };

export interface Story {
  readonly source: KubernetesSource;
  /** The first one, then those that came. */
  readonly states: SourceState[];
  readonly counted: Map<string, number>;
  readonly lines: string[];
  /** When the first state is there. */
  readonly first: Promise<SourceState>;
  last(): SourceState;
  stop(): Promise<void>;
}

export async function follow(
  server: FakeApiServer | string,
  options: Partial<KubernetesSourceOptions> & { token?: string } = {},
): Promise<Story> {
  const { token, ...more } = options;
  const api = await apiOf(server, token);
  const counted = new Map<string, number>();
  const lines: string[] = [];
  const count = (...words: string[]) => counted.set(words.join(' '), (counted.get(words.join(' ')) ?? 0) + 1);
  const source = createKubernetesSource({
    api,
    installation: installation(),
    namespaces: null,
    nodes: false,
    zone: 'z1',
    nodeName: 'n1',
    clock: systemClock,
    log: createLog({ level: 'debug', format: 'json', wall: () => 0, write: (line) => lines.push(line) }),
    random: () => 0.5,
    hooks: {
      list: (kind) => count('list', kind),
      reconnect: (kind) => count('reconnect', kind),
      event: (kind) => count('event', kind),
      error: (kind, reason) => count('error', kind, reason),
      heard: (kind) => count('heard', kind),
      synced: (kind, yes) => counted.set(`synced ${kind}`, yes ? 1 : 0),
      objects: (kind, n) => counted.set(`objects ${kind}`, n),
      gone: (kind) => {
        for (const what of ['objects', 'synced']) counted.delete(`${what} ${kind}`);
      },
    },
    ...more,
  });
  const states: SourceState[] = [];
  const first = source
    .start((state) => states.push(state))
    .then((state) => {
      states.unshift(state);
      return state;
    });
  return {
    source,
    states,
    counted,
    lines,
    first,
    last: () => states.at(-1) as SourceState,
    async stop() {
      await source.stop();
      api.close();
    },
  };
}

/** Waits for a condition, at most ten seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within ten seconds: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
