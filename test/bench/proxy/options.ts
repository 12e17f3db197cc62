/** What `make bench` was asked for. */
import { pickRows, scaled, words, type Row } from './rows.ts';

export const ENGINES = ['matrixai', 'native', 'nginx'] as const;
export type EngineChoice = (typeof ENGINES)[number];

export interface Options {
  readonly rows: readonly Row[];
  readonly rounds: number;
  readonly engines: readonly EngineChoice[];
  readonly profile: boolean;
  readonly scale: number;
}

const isEngine = (name: string): name is EngineChoice => (ENGINES as readonly string[]).includes(name);

/** The options, or what is wrong with them. */
export function readOptions(env: Readonly<Record<string, string | undefined>>): Options | string {
  const profile = env['PROFILE'] === '1';
  const scale = Number(env['SCALE'] || '1');
  if (!(scale > 0 && scale <= 100)) return `SCALE=${env['SCALE']}: a factor above 0 and up to 100 is wanted`;
  const rounds = Number(env['ROUNDS'] || (profile ? '1' : '3'));
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 99) return `ROUNDS=${env['ROUNDS']}: a whole number from 1 to 99 is wanted`;
  const rows = pickRows(env['ROWS']);
  if (rows === null) return `ROWS=${env['ROWS']}: rows are ${(pickRows(undefined) ?? []).map((row) => row.name).join(', ')}`;
  const wanted = words(env['ENGINES']);
  if (!wanted.every(isEngine)) return `ENGINES=${env['ENGINES']}: engines are ${ENGINES.join(', ')}`;
  const engines = wanted.length === 0 ? ENGINES : ENGINES.filter((name) => wanted.includes(name));
  return {
    rows: rows.filter((row) => !profile || row.kind === 'load').map((row) => scaled(row, scale)),
    rounds,
    engines: profile ? engines.filter((name) => name !== 'nginx') : engines,
    profile,
    scale,
  };
}
