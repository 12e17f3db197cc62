import { expect, test } from '@jest/globals';
import { realTarget } from '../../control/sources/kubernetes/chaos/real.ts';
import { chaos, hurried } from '../../control/sources/kubernetes/chaos/story.ts';
import { startApi } from '../api.ts';

test('hundreds of writes a second while the server is killed again and again: in the end the source knows what the server has', async () => {
  const api = await startApi();
  await api.crds();
  const report = await chaos(await realTarget(api), {
    seed: 3,
    ms: 25_000,
    writesPerSecond: 500,
    everyMs: 120,
    clock: hurried(4),
    healMs: 30_000,
  });
  expect(report.lacking).toEqual([]);
  expect(report.source).toEqual(report.server);
  expect(report.healedMs).not.toBeNull();
  expect(report.errors).toEqual([]);
  // How many writes a killed server takes is the machine's to say.
  expect(report.writes).toBeGreaterThan(500);
  expect(report.faults['killed and started']).toBeGreaterThan(0);
}, 240_000);
