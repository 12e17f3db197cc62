/** What `make bench` was asked for. */
import { pickRows, scaled, words, type Row } from './rows.ts';

export const ENGINES = ['native', 'matrixai'] as const;
export type EngineChoice = (typeof ENGINES)[number];
export const PEERS = ['nginx', 'haproxy', 'caddy'] as const;
export type PeerChoice = (typeof PEERS)[number];

export interface Options {
  readonly rows: readonly Row[];
  readonly rounds: number;
  readonly engines: readonly EngineChoice[];
  readonly peers: readonly PeerChoice[];
  readonly profile: boolean;
  readonly scale: number;
}

type Env = Readonly<Record<string, string | undefined>>;

/** Those that are named, in their own order; all when nothing is said, none for `none`. */
function pick<T extends string>(env: Env, variable: string, all: readonly T[]): readonly T[] | string {
  const wanted = words(env[variable]);
  if (wanted.length === 0) return all;
  if (wanted.length === 1 && wanted[0] === 'none') return [];
  const unknown = wanted.filter((name) => !(all as readonly string[]).includes(name));
  return unknown.length > 0
    ? `${variable}=${env[variable]}: wanted are some of ${all.join(', ')}, or none`
    : all.filter((name) => wanted.includes(name));
}

/** The options, or what is wrong with them. */
export function readOptions(env: Env): Options | string {
  if (!['', '0', '1'].includes(env['PROFILE'] ?? '')) return `PROFILE=${env['PROFILE']}: 0 or 1 is wanted`;
  const profile = env['PROFILE'] === '1';
  const scale = Number(env['SCALE'] || '1');
  if (!(scale > 0 && scale <= 100)) return `SCALE=${env['SCALE']}: a factor above 0 and up to 100 is wanted`;
  const rounds = Number(env['ROUNDS'] || (profile ? '1' : '3'));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 99) return `ROUNDS=${env['ROUNDS']}: a whole number from 1 to 99 is wanted`;
  const rows = pickRows(env['ROWS']);
  if (rows === null) return `ROWS=${env['ROWS']}: rows are ${(pickRows(undefined) ?? []).map((row) => row.name).join(', ')}`;
  const engines = pick(env, 'ENGINES', ENGINES);
  if (typeof engines === 'string') return engines;
  const peers = pick(env, 'PEERS', PEERS);
  if (typeof peers === 'string') return peers;
  if (engines.length + peers.length === 0) return 'ENGINES=none PEERS=none: nothing is left to measure';
  return {
    rows: rows.filter((row) => !profile || (row.kind === 'load' && row.workers === null)).map((row) => scaled(row, scale)),
    rounds,
    engines,
    peers: profile ? [] : peers,
    profile,
    scale,
  };
}
