/** h2load: the command line of a row, and what it prints. */
import { BODY_BYTES, type LoadRow } from './rows.ts';

export const HOST = 'bench.test';

export interface LoadResult {
  readonly seconds: number;
  readonly done: number;
  readonly succeeded: number;
  readonly failed: number;
  /** Answers by the first digit of their status: 2xx to 5xx. */
  readonly statuses: readonly [number, number, number, number];
  /** Bytes of bodies that came. */
  readonly data: number;
}

const common = (port: number): string[] => ['--h3', `--connect-to=127.0.0.1:${port}`];

/**
 * Connections are opened at most this fast, so that no engine turns one away, and a tenth at a time: h2load sends the first packets of all
 * that a period brings at once, 500 of them are more than a socket buffer of the system's usual size holds, and what is dropped comes again
 * after seconds. h2load wants no rate above their number.
 */
const dialsPerSecond = (connections: number): number => Math.min(500, connections);
const PERIODS_PER_SECOND = 10;

export function loadArguments(row: LoadRow, port: number, requests: number, body: string): string[] {
  const upload = row.upload ? ['-d', body] : [];
  const shape = ['-n', String(requests), '-c', String(row.clients), '-m', String(row.streams)];
  return [...common(port), ...shape, ...upload, `https://${HOST}${row.path}`];
}

/** How long connections that a script opens lie idle between their two requests. */
export const idleSeconds = (connections: number): number => connections / dialsPerSecond(connections) + 14;

/** One request when a connection opens and one when the idle time is over. */
export const idleScript = (connections: number, path: string): string =>
  [0, idleSeconds(connections) * 1000].map((ms) => `${ms.toFixed(1)}\thttps://${HOST}${path}\n`).join('');

export const idleArguments = (connections: number, port: number, script: string): string[] => [
  ...common(port),
  ...`-c ${connections} -r ${Math.ceil(dialsPerSecond(connections) / PERIODS_PER_SECOND)} --rate-period=${1000 / PERIODS_PER_SECOND}ms`.split(
    ' ',
  ),
  ...`-n 2 --timing-script-file=${script}`.split(' '),
];

const UNITS: Readonly<Record<string, number>> = { us: 1e-6, ms: 1e-3, s: 1, m: 60 };

const seconds = (text: string): number =>
  [...text.matchAll(/([\d.]+)(us|ms|s|m)/g)].reduce((sum, [, value, unit]) => sum + Number(value) * (UNITS[unit ?? ''] ?? NaN), 0);

const numbers = (line: string): number[] => [...line.matchAll(/\d+/g)].map(([n]) => Number(n));

const lineOf = (text: string, begin: string): string => {
  const line = text.split('\n').find((l) => l.startsWith(begin));
  if (line === undefined) throw new Error(`h2load did not print "${begin}"\n${text.slice(-1000)}`);
  return line.slice(begin.length);
};

export function parseH2load(text: string): LoadResult {
  const [, , done = NaN, succeeded = NaN, failed = NaN, errored = NaN, timeout = NaN] = numbers(lineOf(text, 'requests: '));
  // Of "200 2xx, 0 3xx, ..." each second number is the class.
  const classes = numbers(lineOf(text, 'status codes: ').replaceAll(/\dxx/g, ''));
  const [two = NaN, three = NaN, four = NaN, five = NaN] = classes;
  return {
    seconds: seconds(lineOf(text, 'finished in ').split(',')[0] ?? ''),
    done,
    succeeded,
    failed: failed + errored + timeout,
    statuses: [two, three, four, five],
    data: Number(/\((\d+)\) data/.exec(lineOf(text, 'traffic: '))?.[1] ?? NaN),
  };
}

/** Why a run does not count; null when every request was answered with 2xx, whole. */
export function faultOf(result: LoadResult, requests: number, bodyBytes: number): string | null {
  const [two, three, four, five] = result.statuses;
  if (result.failed !== 0) return `${result.failed} of ${requests} requests failed`;
  if (result.succeeded !== requests || result.done !== requests) return `${result.succeeded} of ${requests} requests succeeded`;
  if (two !== requests) return `${two} answers of ${requests} were 2xx (${three} 3xx, ${four} 4xx, ${five} 5xx)`;
  if (result.data !== requests * bodyBytes) return `${result.data} bytes of bodies came instead of ${requests * bodyBytes}`;
  return null;
}

export const answerBytes = (row: LoadRow, smallBytes: number): number => (row.path === '/large' ? BODY_BYTES : smallBytes);
