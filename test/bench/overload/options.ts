/** What `make overload` was asked for. */
import { words } from '../proxy/rows.ts';

export const KINDS = ['requests', 'connections', 'slow'] as const;
export type Kind = (typeof KINDS)[number];
const ENGINES = ['native', 'matrixai'] as const;

export interface Options {
  readonly engines: readonly string[];
  readonly kinds: readonly Kind[];
  /** How long too much is offered. */
  readonly seconds: number;
  /** What the proxy has of a core. */
  readonly cores: number;
}

type Env = Readonly<Record<string, string | undefined>>;

/** The options, or what is wrong with them. */
export function readOptions(env: Env): Options | string {
  const [engines, kinds] = [some(env, 'ENGINES', ENGINES), some(env, 'KINDS', KINDS)];
  if (typeof engines === 'string') return engines;
  if (typeof kinds === 'string') return kinds;
  const seconds = Number(env['DURATION'] || '120');
  if (!Number.isInteger(seconds) || seconds < 5 || seconds > 86_400)
    return `DURATION=${env['DURATION']}: whole seconds from 5 to 86400 are wanted`;
  const cores = Number(env['CORES'] || '0.2');
  if (!(cores >= 0.05 && cores <= 64)) return `CORES=${env['CORES']}: a number from 0.05 to 64 is wanted`;
  return { engines, kinds, seconds, cores };
}

/** Those that are named; all when nothing is said. */
function some<T extends string>(env: Env, variable: string, all: readonly T[]): readonly T[] | string {
  const wanted = words(env[variable]);
  if (wanted.length === 0) return all;
  const isKnown = (name: string): name is T => (all as readonly string[]).includes(name);
  return wanted.every(isKnown) ? wanted : `${variable}=${env[variable]}: wanted are some of ${all.join(', ')}`;
}
