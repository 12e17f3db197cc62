/** h2load: the command line of a row, and what it prints. */
import { BODY_BYTES, type HandshakeRow, type LatencyRow, type LoadRow } from './rows.ts';

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

/** One load generator's part of a row. */
export interface Part {
  readonly host: string;
  readonly clients: number;
  readonly requests: number;
}

export function loadArguments(row: Pick<LoadRow, 'upload' | 'streams' | 'path'>, port: number, part: Part, body: string): string[] {
  const upload = row.upload ? ['-d', body] : [];
  const shape = ['-n', String(part.requests), '-c', String(part.clients), '-m', String(row.streams)];
  return [...common(port), ...shape, ...upload, `https://${part.host}${row.path}`];
}

export const handshakes = (row: HandshakeRow): number => Math.max(8, Math.round(row.perSecond * row.seconds));

/** A request on each of so many connections, opened a hundredth of a second's worth at a time. With a file of a session all resume that one. */
export function handshakeArguments(row: HandshakeRow, port: number, path: string, session: string | null): string[] {
  const count = String(handshakes(row));
  const rate = ['-r', String(Math.ceil(row.perSecond / 100)), '--rate-period=10ms'];
  return [...common(port), '-n', count, '-c', count, ...rate, ...resumption(session), `https://${HOST}${path}`];
}

const resumption = (session: string | null): string[] => (session === null ? [] : [`--tls-session-file=${session}`]);

/** One connection that leaves the session in the file. */
export const sessionArguments = (port: number, path: string, session: string): string[] => [
  ...common(port),
  ...`-n 1 -c 1`.split(' '),
  ...resumption(session),
  `https://${HOST}${path}`,
];

/** Streams that a client may have open in an open loop: so many that none ever waits for another. */
export const OPEN_STREAMS = 100;

/**
 * h2load's clients ask every 10 ms, each for all that is due, from the moment of their own handshakes on. Proxies that shake hands with all of them at
 * once would get all their requests at once from then on, and others a few at a time: each client begins three tenths of that period after the last one.
 */
const APART = '-r 1 --rate-period=3ms'.split(' ');

export function latencyArguments(row: LatencyRow, port: number, perSecond: number, path: string, log: string): string[] {
  const each = perSecond / row.clients;
  const count = Math.max(row.clients, Math.round(perSecond * row.seconds));
  const shape = ['-n', String(count), '-c', String(row.clients), '-m', String(OPEN_STREAMS), `--rps=${each.toFixed(3)}`, ...APART];
  return [...common(port), ...shape, `--log-file=${log}`, `https://${HOST}${path}`];
}

/** How long it takes to open so many. */
export const dialSeconds = (connections: number): number => connections / dialsPerSecond(connections);

/** One request when a connection opens and one after so many seconds. */
export const idleScript = (seconds: number, path: string): string =>
  [0, seconds * 1000].map((ms) => `${ms.toFixed(1)}\thttps://${HOST}${path}\n`).join('');

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

export const answerBytes = (row: Pick<LoadRow, 'path'>, smallBytes: number): number => (row.path === '/large' ? BODY_BYTES : smallBytes);
