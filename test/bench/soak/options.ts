/** What `make soak` was asked for. */
import { words } from '../proxy/rows.ts';

export const STEPS = ['soak', 'burst', 'idle'] as const;
export type Step = (typeof STEPS)[number];

export interface Options {
  readonly steps: readonly Step[];
  readonly engine: 'native' | 'matrixai';
  readonly workers: number;
  /** Of the step `soak`. */
  readonly minutes: number;
  /** Of the steps `burst` and `idle`; null: what each has by itself. */
  readonly connections: number | null;
}

const isStep = (name: string): name is Step => (STEPS as readonly string[]).includes(name);

const whole = (text: string, most: number): number | null => {
  const n = Number(text);
  return Number.isInteger(n) && n >= 1 && n <= most ? n : null;
};

/** The options, or what is wrong with them. */
export function readOptions(env: Readonly<Record<string, string | undefined>>): Options | string {
  const wanted = words(env['STEPS']);
  if (!wanted.every(isStep)) return `STEPS=${env['STEPS']}: steps are ${STEPS.join(', ')}`;
  const engine = env['ENGINE'] || 'native';
  if (engine !== 'native' && engine !== 'matrixai') return `ENGINE=${engine}: native or matrixai is wanted`;
  const minutes = Number(env['MINUTES'] || '20');
  if (!(minutes >= 1 && minutes <= 2880)) return `MINUTES=${env['MINUTES']}: a number from 1 to 2880 is wanted`;
  const workers = whole(env['WORKERS'] || '2', 64);
  if (workers === null) return `WORKERS=${env['WORKERS']}: a whole number from 1 to 64 is wanted`;
  const connections = env['CONNECTIONS'] ? whole(env['CONNECTIONS'], 1_000_000) : 0;
  if (connections === null) return `CONNECTIONS=${env['CONNECTIONS']}: a whole number from 1 to 1000000 is wanted`;
  return {
    steps: wanted.length === 0 ? STEPS : STEPS.filter((s) => wanted.includes(s)),
    engine,
    workers,
    minutes,
    connections: connections === 0 ? null : connections,
  };
}
