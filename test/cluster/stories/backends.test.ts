/** What befalls the pods behind an Upstream, under load: as long as there is one that can answer, every request is answered by one. */
import { describe, expect, test } from '@jest/globals';
import {
  ENTRANCES,
  eventually,
  forbidden,
  kubectl,
  pods,
  rolledOut,
  sample,
  apply,
  scale,
  scrape,
  served,
  startLoad,
  withQuickstart,
  WHOLE,
  type Pod,
} from './kit.ts';

const VERSION = 'app=demo,version=v1';
const backends = (): Promise<readonly Pod[]> => pods(VERSION, 'demo');

/** So many pods, each ready, and the others gone. */
const settled = (count: number): Promise<readonly Pod[]> =>
  eventually(async () => {
    const all = await backends();
    if (all.length !== count || all.some((pod) => !pod.ready || pod.going)) throw new Error(JSON.stringify(all));
    return all;
  }, 120_000, 250); // prettier-ignore

/** What the Spooky pods have answered so far but 200, as `status reason`. */
async function refusals(): Promise<Record<string, number>> {
  const samples = (await Promise.all((await pods()).map(({ ip }) => scrape(ip)))).flat();
  const counts: Record<string, number> = {};
  for (const { name, labels, value } of samples) {
    if (name !== 'spooky_requests_total' || labels['code'] === '200') continue;
    const key = `${labels['code']} ${labels['reason']}`;
    counts[key] = (counts[key] ?? 0) + value;
  }
  return counts;
}

/** What there is now and was not before. */
const since = (before: Readonly<Record<string, number>>, after: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(after)
      .map(([key, count]) => [key, count - (before[key] ?? 0)] as const)
      .filter(([, count]) => count > 0),
  );

describe('backends under load', () => {
  withQuickstart();

  test('scaled up, and down to one', async () => {
    const load = await startLoad();
    for (const count of [4, 1, 3]) {
      await scale('demo-v1', count);
      await settled(count);
      await load.more(80);
    }
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun } });
  }, 400_000);

  test('rolled', async () => {
    const load = await startLoad();
    const old = await backends();
    for (let i = 0; i < 2; i++) {
      await kubectl(['--namespace', 'demo', 'rollout', 'restart', 'deployment/demo-v1']);
      await rolledOut('deployment', 'demo-v1', 'demo');
    }
    const fresh = await settled(old.length);
    expect(fresh.filter(({ uid }) => old.some((pod) => pod.uid === uid))).toEqual([]);
    await load.more(80);
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun } });
  }, 400_000);

  test('one pod of several deleted', async () => {
    await settled((await backends()).length);
    const load = await startLoad({ path: '/' });
    const [victim] = await backends();
    await kubectl(['--namespace', 'demo', 'delete', 'pod', victim?.name ?? '', '--wait']);
    await settled((await backends()).filter(({ going }) => !going).length);
    await load.more(80);
    const counts = await load.stop();
    expect(counts).toMatchObject({ ...WHOLE, statuses: { 200: counts.begun } });
  }, 240_000);

  // A process that has ended refuses connections for the moment until its slice says so; where its network is gone, too, nobody even does that.
  const ENDED = ['502 connect_refused', '504 connect_timeout', '503 no_endpoint'];

  test.each([
    ['scaled to zero and back', () => scale('demo-v1', 0), () => scale('demo-v1', 2), ENDED],
    [
      'its Deployment deleted and made again',
      () => kubectl(['--namespace', 'demo', 'delete', 'deployment', 'demo-v1', '--wait=false']),
      () => apply(sample('quickstart')),
      ENDED,
    ],
    [
      'its Service deleted and made again',
      () => kubectl(['--namespace', 'demo', 'delete', 'service', 'demo-v1']),
      () => apply(sample('quickstart')),
      ['500 reference_unresolved', '503 no_endpoint'],
    ],
  ] as const)(
    '%s: refused while there is none, and only then',
    async (_, away, back, allowed) => {
      const before = await refusals();
      let refused = 0;
      const load = await startLoad({ path: '/', heard: ({ status }) => void (refused += Number(status !== 200)) });
      await load.more(80);
      expect(refused).toBe(0);
      await away();
      await eventually(() => (refused > 40 ? Promise.resolve() : Promise.reject(new Error(`${refused} refused`))), 60_000);
      await back();
      await rolledOut('deployment', 'demo-v1', 'demo');
      await Promise.all(ENTRANCES.map(served));
      const whole = refused;
      await load.more(200);
      const counts = await load.stop();
      // Not one since both nodes knew of a backend again.
      expect(refused).toBe(whole);
      expect(counts).toMatchObject(WHOLE);
      const reasons = since(before, await refusals());
      expect(Object.keys(reasons).filter((reason) => !(allowed as readonly string[]).includes(reason))).toEqual([]);
      expect(reasons['503 no_endpoint'] ?? reasons['500 reference_unresolved']).toBeGreaterThan(0);
      // What clients were answered is what was counted; `served` asked, too.
      for (const status of ['500', '502', '503', '504']) {
        const counted = Object.entries(reasons)
          .filter(([reason]) => reason.startsWith(status))
          .reduce((sum, [, count]) => sum + count, 0);
        expect(counted).toBeGreaterThanOrEqual(counts.statuses[status] ?? 0);
      }
    },
    300_000,
  );

  test('in all of this the API server has refused the pods nothing', () => {
    expect(forbidden()).toEqual([]);
  });
});
