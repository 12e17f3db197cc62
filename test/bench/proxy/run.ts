/**
 * `make bench [ROWS=m1,idle] [ROUNDS=3] [ENGINES=native] [PEERS=nginx,caddy] [SCALE=0.1] [PROFILE=1]`: the whole proxy, on its engines, beside
 * its peers in one run. docs/develop/benchmarks.md says how it measures and how to read it.
 */
import { Bench } from './bench.ts';
import { engineContestant, peerContestant } from './contest.ts';
import { minutesSoFar, progress, runMain, say, Usage } from './main.ts';
import { readOptions } from './options.ts';
import { profiled } from './profiled.ts';
import { loadAverage, save } from './save.ts';
import { tableOf } from './table.ts';

runMain('bench', async (s) => {
  const o = readOptions(process.env);
  if (typeof o === 'string') throw new Usage(o);
  const contestants = [...o.engines.map((e) => engineContestant(e, o.profile)), ...o.peers.map(peerContestant)];
  const before = loadAverage();
  const bench = new Bench(s, { ...o, contestants, progress, ...(o.profile ? { measure: profiled(say) } : {}) });
  const names = contestants.map((c) => c.name).join(', ');
  say(`${names}; ${o.rounds} rounds${o.profile ? '; PROFILED, the figures are those of a profiled worker' : ''}`);
  await bench.run();
  const rows = bench.rows();
  const load = { before, after: loadAverage() };
  say(`\nload average ${load.before} before, ${load.after} after; ${[...bench.versions].map((v) => v.join(' ')).join(', ')}\n`);
  say(tableOf(rows));
  const { rounds, scale, profile } = o;
  say(save({ load, rounds, scale, profile, minutes: minutesSoFar(), versions: Object.fromEntries(bench.versions), rows }));
  return rows.some((row) => Object.values(row.results).some((r) => 'failed' in r)) ? 1 : 0;
});
