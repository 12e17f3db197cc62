/** A rolling restart of the DaemonSet under load, spanned by a download through each node. */
import { expect } from '@jest/globals';
import { kubectl, OWN, ready, rolledOut, type Pod } from './cluster.ts';
import { download, ENTRANCES, startLoad, WHOLE } from './load.ts';

const SIZE = 32 * 1024 * 1024;

/** No request fails, and every download is whole. Answers the pods of before. */
export async function restartUnderLoad(): Promise<readonly Pod[]> {
  const old = await ready();
  const load = await startLoad();
  const downloads = await Promise.all(ENTRANCES.map((address) => download({ address, bytes: SIZE })));
  await kubectl(['--namespace', OWN, 'rollout', 'restart', 'daemonset/spooky']);
  await rolledOut('daemonset', 'spooky', OWN);
  const answers = await Promise.all(downloads.map(({ answer }) => answer));
  // Each has received GOAWAY in the middle of its answer, and all of that.
  expect(answers.map(({ status, size, error, goaways }) => ({ status, size, error, spanned: (goaways ?? []).length > 0 }))).toEqual(
    ENTRANCES.map(() => ({ status: 200, size: SIZE, error: undefined, spanned: true })),
  );
  await load.replaced(6, 120_000);
  await load.more(100);
  const counts = await load.stop();
  expect(counts).toMatchObject(WHOLE);
  expect(counts.statuses).toEqual({ 200: counts.begun });
  return old;
}
