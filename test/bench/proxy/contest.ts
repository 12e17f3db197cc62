/** Who takes part, and who cannot. */
import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { EngineChoice, PeerChoice } from './options.ts';
import { startCaddy } from './peers/caddy.ts';
import { startHaproxy } from './peers/haproxy.ts';
import { startNginxProxy } from './peers/nginx.ts';
import { startSpooky, type SpookyOptions } from './peers/spooky.ts';
import type { Row } from './rows.ts';
import { ROOT, type Contestant } from './setting.ts';

export const spookyContestant = (o: SpookyOptions): Contestant => ({
  name: o.name,
  ours: true,
  start: (s, ask) => startSpooky(s, ask, o),
});

const PEER: Readonly<Record<PeerChoice, Contestant['start']>> = {
  nginx: startNginxProxy,
  haproxy: startHaproxy,
  caddy: startCaddy,
};

export const peerContestant = (name: PeerChoice): Contestant => ({ name, ours: false, start: PEER[name] });

export const engineContestant = (engine: EngineChoice, inspect: boolean): Contestant => {
  const addon = process.env['SPOOKY_NATIVE'] || join(ROOT, 'native', 'spooky-quic.node');
  if (engine === 'native' && !existsSync(addon)) {
    const why = `${relative(ROOT, addon)} is not built (make native)`;
    return { name: engine, ours: true, start: () => Promise.reject(new Error(why)) };
  }
  return spookyContestant({ engine, name: engine, inspect });
};

/** A contestant with a number of workers: what has a line of its own in the table. */
export interface Entrant {
  readonly label: string;
  readonly contestant: Contestant;
  readonly workers: number;
}

export const entrantsOf = (contestants: readonly Contestant[], workers: number): Entrant[] =>
  contestants.map((contestant) => ({ label: workers === 1 ? contestant.name : `${contestant.name} x${workers}`, contestant, workers }));

/** The numbers of workers that a row asks for. */
export const workersOf = (row: Row): readonly number[] => {
  if (row.kind === 'rebind') return [1, 2];
  return row.kind === 'load' && row.workers !== null ? row.workers : [1];
};

/** Those that a row measures. */
export const takesPart = (row: Row, e: Entrant): boolean =>
  workersOf(row).includes(e.workers) && absence(row, e) === null && (e.workers === 1 || e.contestant.ours);

/** Why an entrant is not asked at all. */
export const absence = (row: Row, { contestant }: Entrant): string | null =>
  row.kind === 'load' && row.workers !== null && !contestant.ours ? 'not asked: this is one worker of Spooky against two' : null;
