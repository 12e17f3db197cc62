/** `PROFILE=1`: the CPU profile of the worker during the measured part. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Measure } from './bench.ts';
import { measureLoad } from './measure/load.ts';
import type { SpookySubject } from './peers/spooky.ts';
import { Profiler, selfTimes } from './profile.ts';
import { ROOT } from './setting.ts';

const SHOWN = 40;

export const profiled =
  (say: (text: string) => void): Measure =>
  async (s, subject, row, requests) => {
    const profiler = await Profiler.open((subject as SpookySubject).program, subject.workers[0] ?? 0);
    await profiler.start();
    const sample = await measureLoad(s, subject, row, requests);
    const profile = await profiler.stop();
    profiler.close();
    const dir = join(ROOT, 'build', 'profiles');
    mkdirSync(dir, { recursive: true });
    const file = join(dir, `${subject.name}-${row.name}.cpuprofile`);
    writeFileSync(file, JSON.stringify(profile));
    say(`\n${row.title}, ${subject.name}: own time of functions (${relative(ROOT, file)} opens in Chromium's developer tools)`);
    for (const { name, share } of selfTimes(profile).slice(0, SHOWN)) say(`${(share * 100).toFixed(1).padStart(6)} %  ${name}`);
    return sample;
  };
