/** One of two Spooky pods is deleted under load. */
import { describe, expect, test } from '@jest/globals';
import { download, ENTRANCES, forbidden, kubectl, NODES, OWN, pods, ready, startLoad, withQuickstart } from './kit.ts';

const MiB = 1024 * 1024;

describe('kubectl delete pod of a Spooky pod', () => {
  withQuickstart();

  test.each(NODES.map(({ name }, i) => [name, i] as const))(
    'of %s, under load',
    async (node, i) => {
      const before = await ready();
      const victim = before.find((pod) => pod.node === node);
      const other = before.find((pod) => pod.node !== node);
      const load = await startLoad();
      const spanning = await Promise.all(Array.from({ length: 3 }, () => download({ address: ENTRANCES[i] as string, bytes: 16 * MiB })));
      const elsewhere = await download({ address: ENTRANCES[1 - i] as string, bytes: 8 * MiB });
      await kubectl(['--namespace', OWN, 'delete', 'pod', victim?.name ?? '', '--wait=false']);
      const answers = await Promise.all(spanning.map(({ answer }) => answer));
      expect(answers.map(({ status, size, error, goaways }) => ({ status, size, error, spanned: (goaways ?? []).length > 0 }))).toEqual(
        spanning.map(() => ({ status: 200, size: 16 * MiB, error: undefined, spanned: true })),
      );
      // The connections of that node's clients went away with it, and others took their place, here or there.
      await load.replaced(3, 90_000);
      const after = await ready(120_000);
      expect(after.find((pod) => pod.node === node)?.uid).not.toBe(victim?.uid);
      expect(after.find((pod) => pod.node !== node)?.uid).toBe(other?.uid);
      await load.more(200);
      const counts = await load.stop();
      expect(counts).toMatchObject({ failedBeforeGoaway: 0, failures: [], statuses: { 200: counts.begun } });
      // Nothing has happened to the other pod: its connection had no GOAWAY.
      expect(await Promise.race([elsewhere.connection.closed().then(() => 'closed'), elsewhere.connection.request({ authority: 'demo.example.com', path: '/' }).then(({ status }) => status)])).toBe(200); // prettier-ignore
      await elsewhere.connection.close();
      expect((await elsewhere.answer).goaways ?? []).toEqual([]);
      expect((await pods()).filter(({ uid }) => uid === victim?.uid)).toEqual([]);
    },
    400_000,
  );

  test('in all of this the API server has refused the pods nothing', () => {
    expect(forbidden()).toEqual([]);
  });
});
