/**
 * `make bench-compare REF=main [ROWS=m1,m8] [ROUNDS=5] [SCALE=1] [ENGINES=matrixai]`: this checkout and another version of it in one run.
 * docs/develop/benchmarks.md says by which rule it judges.
 */
import { Bench } from '../bench.ts';
import { spookyContestant } from '../contest.ts';
import { minutesSoFar, progress, runMain, say, Usage } from '../main.ts';
import { readOptions, type EngineChoice } from '../options.ts';
import { loadAverage, save } from '../save.ts';
import { ROOT } from '../setting.ts';
import { tableOf } from '../table.ts';
import { checkoutOf, commitOf } from './checkout.ts';
import { comparedTable } from './lines.ts';

const DEFAULTS = { ROWS: 'm1,m8,m32,download,upload,full', ROUNDS: '5', ENGINES: 'native' } as const;
const HERE = 'here';
/** Below, a good part of what is measured is JavaScript that is not compiled yet. */
const LEAST_SCALE = 0.5;

function asked(): { readonly ref: string; readonly engine: EngineChoice } & Exclude<ReturnType<typeof readOptions>, string> {
  const ref = process.env['REF'] ?? '';
  if (ref === '') throw new Usage('REF=version is wanted: a branch, a tag or a commit');
  const given = Object.entries(process.env).filter(([, value]) => value !== '');
  const o = readOptions({ ...DEFAULTS, ...Object.fromEntries(given), PEERS: 'none', PROFILE: '' });
  if (typeof o === 'string') throw new Usage(o);
  const [engine, ...more] = o.engines;
  if (engine === undefined || more.length > 0) throw new Usage('one engine at a time: ENGINES=native or ENGINES=matrixai');
  return { ...o, ref, engine };
}

runMain('bench-compare', async (s) => {
  const { ref, engine, ...o } = asked();
  const commit = commitOf(ref);
  if (commit === null) throw new Usage(`REF=${ref}: there is no such version`);
  const there = ref === HERE ? commit.slice(0, 12) : ref;
  progress(`building ${there} (${commit.slice(0, 12)})`);
  const other = checkoutOf(commit, engine === 'native');
  const contestants = [
    spookyContestant({ engine, name: HERE, root: ROOT }),
    spookyContestant({ engine, name: there, root: other.root, ...(other.addon === null ? {} : { addon: other.addon }) }),
  ];
  const before = loadAverage();
  const bench = new Bench(s, { ...o, contestants, progress, alike: true });
  await bench.run();
  const rows = bench.rows();
  const load = { before, after: loadAverage() };
  say(`\nload average ${load.before} before, ${load.after} after\n`);
  say(tableOf(rows));
  say(`${HERE} against ${there} (${commit.slice(0, 12)}), engine ${engine}:`);
  say(comparedTable(rows, HERE, there));
  if (o.scale < LEAST_SCALE) say(`SCALE=${o.scale} is for a look: below ${LEAST_SCALE} the version that was started first may seem worse`);
  const { rounds, scale, profile } = o;
  const versions = { ...Object.fromEntries(bench.versions), [`commit of ${there}`]: commit };
  say(`\n${save({ load, rounds, scale, profile, minutes: minutesSoFar(), versions, rows }, '-compare')}`);
  return rows.some((row) => Object.values(row.results).some((r) => 'failed' in r)) ? 1 : 0;
});
