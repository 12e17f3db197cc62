/**
 * Clients behind a NAT that forgets them. A QUIC connection lives on when its datagrams come from elsewhere, as long as they reach the pod that has
 * it: that holds for one node. Behind an address that leads to several nodes the new flow may reach another one, which says at once that it does
 * not know the connection; the pods share a key, so that the client comes back within one round trip.
 */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Connection, Dial } from '../../kit/peers.ts';
import { clean, install, pods } from './cluster.ts';
import { inCluster } from './clusters.ts';
import { quickstart, served } from './demo.ts';
import { ask, ENTRANCES, eventually, HOST, scrape, total, type Whoami } from './kit.ts';
import { Balancer, BALANCED, Home } from './network.ts';
import { SWIFT, upgrade } from './release.ts';

inCluster('usual');

const MiB = 1024 * 1024;
const ENTRANCE = ENTRANCES[0] ?? '';
/** The client is heard of every 2 s, so that the other side learns soon where it is. */
const dial = (address: string): Dial => ({ address, name: HOST, timeoutMs: 10_000, idleMs: 6000, resume: true });

const seen = async (connection: Connection): Promise<Whoami> => JSON.parse((await connection.request(ask('/whoami'))).text) as Whoami;
const node = ({ peer }: Whoami): string => peer.slice(0, peer.lastIndexOf(':'));

describe('a NAT that forgets', () => {
  let home: Home;
  const balancer = new Balancer();
  const undo: (() => Promise<unknown>)[] = [];

  beforeAll(async () => {
    await clean();
    undo.push(() => balancer.close());
    home = await Home.open();
    undo.push(() => home.close());
    await install(SWIFT);
    await quickstart();
  }, 400_000);
  afterAll(async () => {
    for (const close of undo) await close();
    await clean();
  }, 240_000);

  /** Forgets the one flow to this address in the midst of a download of which so much has come. */
  async function forgottenAfter(connection: Connection, address: string, change: () => Promise<void>): Promise<void> {
    const [host = ''] = address.split(':');
    const [port] = await home.ports(host);
    const before = await home.received();
    const running = connection.attempt({ ...ask(`/bytes/${16 * MiB}`), readChunk: 64 * 1024, readPauseMs: 5, timeoutMs: 60_000 });
    await eventually(async () => expect((await home.received()) - before).toBeGreaterThan(4 * MiB), 30_000);
    await change();
    const answer = await running;
    expect(answer).toMatchObject({ status: 200, size: 16 * MiB });
    expect(answer.error).toBeUndefined();
    const now = await home.ports(host);
    expect(now).toHaveLength(1);
    expect(now).not.toEqual([port]);
  }

  const moves = async (): Promise<number> => {
    const counts = await Promise.all((await pods()).map(async ({ ip }) => total(await scrape(ip), 'spooky_quic_path_changes_total')));
    return counts.reduce((a, b) => a + b, 0);
  };

  test('in the midst of a download: it goes on, from another port of the same address', async () => {
    const connection = await home.driver.open(dial(ENTRANCE));
    expect((await seen(connection)).headers['x-forwarded-for']).toBe(Home.ADDRESS);
    const before = await moves();
    await forgottenAfter(connection, ENTRANCE, () => home.forget());
    expect((await seen(connection)).headers['x-forwarded-for']).toBe(Home.ADDRESS);
    expect(await moves()).toBeGreaterThan(before);
    await connection.close();
  }, 120_000);

  test('and gives the client another address: it goes on, and backends hear of the new one', async () => {
    const connection = await home.driver.open(dial(ENTRANCE));
    expect((await seen(connection)).headers['x-forwarded-for']).toBe(Home.ADDRESS);
    await forgottenAfter(connection, ENTRANCE, async () => {
      await home.appearAs(Home.SECOND_ADDRESS);
      await home.forget();
    });
    const { headers } = await seen(connection);
    expect([headers['x-forwarded-for'], headers['forwarded']?.split(';')[0]]).toEqual([Home.SECOND_ADDRESS, `for=${Home.SECOND_ADDRESS}`]);
    await connection.close();
    await home.appearAs(Home.ADDRESS);
  }, 120_000);

  test('behind an address of both nodes: the connection goes on, or is reset at once where its flow comes to the other node', async () => {
    await Promise.all([upgrade({ ...SWIFT, exposure: { type: 'loadBalancer' } }), balancer.publish()]);
    await balancer.route();
    await served(`${BALANCED}:443`);
    const connection = await home.driver.open(dial(`${BALANCED}:443`));
    const first = node(await seen(connection));
    for (let times = 1; ; times++) {
      // Each flow has a hash of its own: one in two comes to the other node.
      expect(times).toBeLessThanOrEqual(40);
      await home.forget();
      const started = Date.now();
      const answer = await connection.attempt({ ...ask('/whoami'), timeoutMs: 20_000 });
      if (answer.error === undefined) {
        expect(node(JSON.parse(answer.text) as Whoami)).toBe(first);
        continue;
      }
      expect(answer.error).toMatchObject({ kind: 'reset', remote: true });
      // Not its idle timeout, which is 6 s.
      expect(Date.now() - started).toBeLessThan(4000);
      break;
    }
    // Every pod has the key: the next connection resumes, whichever node it comes to.
    const next = await home.driver.open(dial(`${BALANCED}:443`));
    expect(next.resumed).toBe(true);
    expect((await seen(next)).headers['x-forwarded-for']).toBe(Home.ADDRESS);
    await next.close();
  }, 300_000);
});
