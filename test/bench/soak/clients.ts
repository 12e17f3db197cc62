/** h2load in as many processes as descriptors ask for. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { faultOf, HOST, parseH2load } from '../proxy/h2load.ts';
import { Program } from '../proxy/program.ts';
import { PATHS, SMALL_BYTES } from '../proxy/rows.ts';
import { TOOLS, type Setting } from '../proxy/setting.ts';

const H2LOAD = join(TOOLS, 'h2load');
/** A process has about as many descriptors: one connection is one of them, and h2load has others. */
const PER_PROCESS = 5_000;
/** Of all processes together: a machine that does other work as well keeps up with so many handshakes. */
export const DIALS_PER_SECOND = 150;
const PERIODS_PER_SECOND = 10;

const common = (port: number): string[] => ['run', '--h3', `--connect-to=127.0.0.1:${port}`];
const url = (path: string): string => `https://${HOST}${path}`;

/** Into how many processes, and how many connections each has. */
export function split(connections: number): readonly number[] {
  const processes = Math.ceil(connections / PER_PROCESS);
  return Array.from({ length: processes }, (_, i) => Math.floor((connections + i) / processes));
}

const rateOf = (processes: number): string[] => {
  const perPeriod = Math.max(1, Math.round(DIALS_PER_SECOND / processes / PERIODS_PER_SECOND));
  return ['-r', String(perPeriod), `--rate-period=${1000 / PERIODS_PER_SECOND}ms`];
};

/** How long it takes to open so many. */
export const dialSeconds = (connections: number): number => connections / DIALS_PER_SECOND;

async function ended(programs: readonly Program[], requests: readonly number[]): Promise<void> {
  await Promise.all(programs.map((p) => p.ended));
  programs.forEach((p, i) => {
    const n = requests[i] ?? NaN;
    const fault = faultOf(parseH2load(p.lines.join('\n')), n, SMALL_BYTES);
    if (fault !== null) throw new Error(`clients ${i}: ${fault}`);
  });
}

/** Opens connections, one after the other, makes a request on each and closes it. */
export async function openAndClose(port: number, connections: number): Promise<void> {
  const shares = split(connections);
  const programs = shares.map((n) => {
    const args = [...common(port), '-n', String(n), '-c', String(n), '-m', '1', ...rateOf(shares.length), url(PATHS.small)];
    return new Program(H2LOAD, args, { cpu: '0-1' });
  });
  await ended(programs, shares);
}

/** h2load gives connections up that hear nothing for half a minute. */
const SILENCE = 20;

/** When each of so many connections asks, in seconds of its own, so that all of them are silent together for `idle` seconds but for that. */
export function askTimes(connections: number, idle: number): readonly number[] {
  const last = dialSeconds(connections) + idle;
  return [...Array.from({ length: Math.ceil(last / SILENCE) }, (_, i) => i * SILENCE), last];
}

/** Connections with a request when they open, one every now and then, and one when the last one was opened `idle` seconds ago. */
export function holdIdle(s: Setting, port: number, connections: number, idle: number): { readonly ended: Promise<void> } {
  const shares = split(connections);
  const script = join(s.scratch, `idle-${port}`);
  const times = askTimes(connections, idle);
  writeFileSync(script, times.map((at) => `${(at * 1000).toFixed(1)}\t${url(PATHS.small)}\n`).join(''));
  const programs = shares.map((n) => {
    const args = [...common(port), '-c', String(n), ...rateOf(shares.length), '-n', String(times.length), `--timing-script-file=${script}`];
    return new Program(H2LOAD, args, { cpu: '0-1' });
  });
  return {
    ended: ended(
      programs,
      shares.map((n) => n * times.length),
    ),
  };
}

/** One helping of what clients do: new connections, small and large answers, uploads. */
export async function helping(s: Setting, port: number, turn: number): Promise<void> {
  const [clients, streams] = [8 + (turn % 5) * 8, 1 + (turn % 7) * 4];
  const shapes: readonly (readonly string[])[] = [
    ['-n', String(clients * 60), '-c', String(clients), '-m', String(streams), url(PATHS.small)],
    ['-n', '120', '-c', '12', '-m', '2', url(PATHS.large)],
    ['-n', '120', '-c', '12', '-m', '2', '-d', s.body, url(PATHS.upload)],
    // Nothing but handshakes.
    ['-n', '200', '-c', '200', '-m', '1', '-r', '20', '--rate-period=100ms', url(PATHS.small)],
  ];
  const shape = shapes[turn % shapes.length] ?? [];
  const program = new Program(H2LOAD, [...common(port), ...shape], { cpu: '0-1' });
  await program.ended;
  const result = parseH2load(program.lines.join('\n'));
  const requests = Number(shape[1]);
  if (result.statuses[0] !== requests)
    throw new Error(`${requests - result.statuses[0]} of ${requests} requests went wrong (${shape.join(' ')})`);
}
