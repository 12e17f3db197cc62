/**
 * A node loses its power: nobody is told. Those who reach the other node notice nothing. Requests that go to a backend on the dead node get 504
 * after `timeouts.response` until somebody notices: the active health check (here after 2 failures, a second apart), or the cluster, whose
 * EndpointSlice follows the node's grace period (here 8 s, 50 s by default). No request is sent twice that a backend may have seen.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Connection } from '../../kit/peers.ts';
import { demoPods, published } from './backend.ts';
import { apply, clean, install, kubectl, NODES, OUTSIDE, OWN, pods, ready, type Node } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart, served } from './demo.ts';
import { ask, client, eventually, HOST, NODE_PORT, scrape, startLoad, total, whoami, WHOLE, type Load } from './kit.ts';
import { cutPower, givePower, isReady } from './power.ts';
import { leader, listener, SWIFT, told } from './release.ts';

const CLUSTER = 'hasty';
inCluster(CLUSTER);

const RESPONSE_MS = 1000;
/** kubelet tells every second, and is missed after 8 s; two more for the controllers, the slice and us. A machine under load may take as long again. */
const NOTICED_BY_CLUSTER_MS = 25_000;
/** A check each second with half a second to answer: after the second failure. */
const NOTICED_BY_CHECK_MS = 6000;

const entrance = (node: Node): string => `${node.address}:${NODE_PORT}`;

interface Seen {
  /** When it was asked, in ms after the power was cut. */
  readonly ms: number;
  readonly status: number;
}

/** A request every 50 ms on one connection, whatever becomes of those before. */
class Watcher {
  /** Zero of `seen`. */
  since = Date.now();
  readonly #answers: { readonly at: number; readonly status: number }[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #under: Promise<void>[] = [];
  readonly #connection: Connection;

  constructor(connection: Connection, authority: string) {
    this.#connection = connection;
    this.#timer = setInterval(() => {
      const at = Date.now();
      const asked = connection.attempt({ ...ask('/'), authority, timeoutMs: 15_000 });
      this.#under.push(asked.then(({ status, error }) => void this.#answers.push({ at, status: error === undefined ? status : 0 })));
    }, 50);
  }

  get seen(): readonly Seen[] {
    return this.#answers.map(({ at, status }) => ({ ms: at - this.since, status }));
  }

  /** When the last request was made that was not answered as it should be. */
  get lastBad(): number {
    return Math.max(0, ...this.seen.filter(({ status }) => status !== 200).map(({ ms }) => ms));
  }

  async stop(): Promise<readonly Seen[]> {
    clearInterval(this.#timer);
    await Promise.all(this.#under);
    await this.#connection.close();
    return this.seen;
  }
}

describe('the power of a node', () => {
  let dead: Node;
  let alive: Node;
  let load: Load | null = null;
  const watchers: Watcher[] = [];

  beforeAll(async () => {
    await clean();
    await install(SWIFT);
    await quickstart();
    const led = await eventually(async () => {
      const name = await leader();
      const pod = (await pods()).find((one) => one.name === name);
      if (pod === undefined) throw new Error(`${name} leads`);
      return pod;
    });
    [dead, alive] = NODES[0]?.name === led.node ? [NODES[0], NODES[1] as Node] : [NODES[1] as Node, NODES[0] as Node];
    await Promise.all([demoPods('here', { node: alive.name }), demoPods('spread', { replicas: 2 })]);
    const timeouts = { response: `${RESPONSE_MS}ms` };
    const healthCheck = { http: { path: '/health' }, interval: '1s', timeout: '500ms', unhealthyThreshold: 2, healthyThreshold: 1 };
    await apply([
      ...published('here', 'here'),
      ...published('checked', 'spread', { upstream: { timeouts, healthCheck } }),
      ...published('unchecked', 'spread', { upstream: { timeouts } }),
    ]);
    for (const name of ['here', 'checked', 'unchecked'])
      await eventually(async () => expect((await whoami(entrance(alive), { name: `${name}.${HOST}` })).host).not.toBe(''), 20_000);
    expect((await pods('app=spread', 'demo')).map(({ node }) => node)).toEqual(['node1', 'node2']);
  }, 400_000);
  afterAll(async () => {
    await load?.stop();
    for (const watcher of watchers) await watcher.stop();
    if (dead !== undefined) await givePower(dead.name);
    await clean();
  }, 400_000);

  /** Endpoints that the pod on the other node holds for healthy. */
  const healthy = async (): Promise<number> => {
    const survivor = (await pods()).find(({ node }) => node === alive.name);
    return total(await scrape(survivor?.ip ?? ''), 'spooky_endpoint_healthy', { upstream: 'demo/checked' });
  };

  test('goes, under load', async () => {
    await eventually(async () => expect(await healthy()).toBe(2));
    load = await startLoad({ addresses: [entrance(alive)], where: { name: `here.${HOST}` } });
    for (const name of ['checked', 'unchecked'])
      watchers.push(new Watcher(await client(entrance(alive), { name: `${name}.${HOST}` }), `${name}.${HOST}`));
    // Two seconds of good answers to compare with.
    await eventually(async () => expect(watchers.map(({ seen }) => seen.length > 60)).toEqual([true, true]));
    await load.more(50);
    await cutPower(dead.name);
    for (const watcher of watchers) watcher.since = Date.now();
    await expect(client(entrance(dead), { timeoutMs: 1500 })).rejects.toThrow();
  }, 60_000);

  test('the health check finds out before the cluster does', async () => {
    await eventually(async () => expect(await healthy()).toBe(1), NOTICED_BY_CHECK_MS);
    expect(await isReady(dead.name)).toBe(true);
  }, 30_000);

  test('another pod leads, and writes', async () => {
    const was = (await pods()).find(({ node }) => node === dead.name);
    // client-go's lease of 15 s, and a try every 2 s.
    await eventually(async () => expect([was?.name, '']).not.toContain(await leader()), 30_000, 500);
    await kubectl(['--namespace', OWN, 'patch', 'listener', 'public', '--type=merge', '-p', '{"spec":{"quic":{"idleTimeout":"29s"}}}']);
    await eventually(async () => expect((await listener()).verdicts['Programmed']).toBe('True Programmed'), 20_000);
  }, 90_000);

  test('the cluster finds out: the endpoint on the dead node is left', async () => {
    await eventually(
      async () => expect((await told('upstream', 'unchecked', 'demo')).endpoints).toEqual({ total: 2, ready: 1 }),
      60_000,
      500,
    );
    await load?.more(100);
  }, 90_000);

  test('clients of the other node have noticed nothing, or 504 until it was found out', async () => {
    const [checked, unchecked] = watchers as [Watcher, Watcher];
    for (const watcher of [checked, unchecked]) {
      const seen = await watcher.stop();
      expect(new Set(seen.map(({ status }) => status))).toEqual(new Set([200, 504]));
      expect(new Set(seen.filter(({ ms }) => ms < -2 * RESPONSE_MS).map(({ status }) => status))).toEqual(new Set([200]));
    }
    expect(checked.lastBad).toBeLessThan(NOTICED_BY_CHECK_MS);
    expect(unchecked.lastBad).toBeLessThan(NOTICED_BY_CLUSTER_MS);
    expect(unchecked.lastBad).toBeGreaterThan(checked.lastBad);
    const counts = await load?.stop();
    load = null;
    expect(counts).toMatchObject(WHOLE);
    expect(counts?.statuses).toEqual({ 200: counts?.begun });
  }, 60_000);

  test('comes back: the node answers again, and its backends are used', async () => {
    await givePower(dead.name);
    await ready(90_000);
    await served(entrance(dead));
    expect((await whoami(entrance(dead))).headers['x-forwarded-for']).toBe(OUTSIDE);
    const hosts = new Set<string>();
    await eventually(async () => {
      for (const name of ['checked', 'unchecked']) hosts.add((await whoami(entrance(alive), { name: `${name}.${HOST}` })).host);
      expect(hosts.size).toBe(2);
    }, 60_000);
  }, 240_000);
});
