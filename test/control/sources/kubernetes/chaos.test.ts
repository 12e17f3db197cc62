/** The short form of the chaos story; test/fuzz has the long one. */
import { expect, test } from '@jest/globals';
import { chaos, hurried } from './chaos/story.ts';
import { fakeTarget } from './chaos/target.ts';

test.each([1, 2])('500 writes a second while everything goes wrong: seed %d', async (seed) => {
  const target = await fakeTarget();
  try {
    const report = await chaos(target, { seed, ms: 4000, writesPerSecond: 500, everyMs: 120, clock: hurried(20), healMs: 12_000 });
    expect(report.lacking).toEqual([]);
    expect(report.source).toEqual(report.server);
    expect(report.healedMs).not.toBeNull();
    expect(report.writes).toBeGreaterThanOrEqual(1900);
    expect(report.errors).toEqual([]);
    // It did go wrong, and it was noticed.
    expect(Object.keys(report.faults).length).toBeGreaterThan(10);
    for (const what of ['list', 'reconnect', 'event', 'error gone', 'error connection', 'error server'])
      expect(report.counted[what] ?? 0).toBeGreaterThan(0);
  } finally {
    await target.stop();
  }
});

test('a server that loses events is found out', async () => {
  let dropped = 0;
  const target = await fakeTarget((fake) => {
    const lines = fake.faults.lines.bind(fake.faults);
    fake.faults.lines = (line, stream) => (line.startsWith('{"type":"MODIFIED"') && ++dropped > 0 ? [] : lines(line, stream));
  });
  try {
    const well = { ...target, disturb: async () => 'nothing' };
    const report = await chaos(well, { seed: 3, ms: 400, writesPerSecond: 500, everyMs: 1000, clock: hurried(1), healMs: 300 });
    expect(dropped).toBeGreaterThan(10);
    expect(report.healedMs).toBeNull();
    expect(report.source).not.toEqual(report.server);
  } finally {
    await target.stop();
  }
});
