/** The table of the README, from the summary that is kept beside the benchmark. */
import { PEERS } from '../options.ts';
import type { Short, Summary, SummaryRow } from './summary.ts';

const BEGIN = '<!-- benchmark: made by `make generate` from test/bench/summary.json -->';
const END = '<!-- end of benchmark -->';
const COLUMNS = ['native', 'native x2', 'matrixai', ...PEERS] as const;
const TITLES: Readonly<Record<string, string>> = {
  native: '`native`',
  'native x2': 'two workers',
  matrixai: '`matrixai`',
  nginx: 'nginx',
  haproxy: 'HAProxy',
  caddy: 'Caddy',
};

const count = (value: number): string => Math.round(value).toLocaleString('en-US');

function value(result: Short | undefined): string {
  if (result === undefined || 'skipped' in result) return '';
  if ('failed' in result) return 'failed';
  if ('idleBytes' in result) return `${(result.idleBytes / 1024).toFixed(1)} KiB`;
  if ('p99' in result) return `${count(result.p50)} / ${count(result.p99)} µs`;
  const { requestsPerCpuSecond, failedPerMille, share } = result;
  const failed = failedPerMille === undefined ? '' : `, ${(failedPerMille / 10).toFixed(1)} % failed`;
  return `${count(requestsPerCpuSecond)}${failed}${share === undefined ? '' : `, ${(share * 100).toFixed(0)} % on one`}`;
}

/** A peer's cell says in brackets how many times better native is. */
function cell(row: SummaryRow, column: string): string {
  const text = value(row.results[column]);
  const against = (PEERS as readonly string[]).includes(column) ? row.ratios[`native/${column}`] : undefined;
  return against === undefined ? text : `${text} (${against.toFixed(2)})`;
}

const latencyTitle = (row: SummaryRow): string => {
  const offered = Object.values(row.results).flatMap((r) => ('offered' in r ? [r.offered] : []))[0];
  return offered === undefined ? row.title : `p50 / p99 at ${count(offered)} requests/s, half of what the slowest peer can do`;
};

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

export function pageOf(summary: Summary): string {
  const { versions: v, load } = summary;
  const columns = COLUMNS.filter((column) => summary.rows.some((row) => row.results[column] !== undefined));
  const versions = `\`native\` with quiche ${v['native']}, \`matrixai\` with quiche ${v['matrixai']}, Node ${v['node']}, nginx ${v['nginx']}, HAProxy ${v['haproxy']}, Caddy ${v['caddy']}`;
  const scale = summary.scale === 1 ? '' : `, SCALE=${summary.scale}`;
  return [
    BEGIN,
    'Requests (new connections, in their rows) per second of CPU time of the proxy; in brackets how many times more the native engine does than that peer with the same CPU (memory; how many times shorter its p99 is):',
    '',
    line(['', ...columns.map((c) => TITLES[c] ?? c)]),
    line(['---', ...columns.map(() => '---:')]),
    ...summary.rows.map((row) => line([row.name === 'latency' ? latencyTitle(row) : row.title, ...columns.map((c) => cell(row, c))])),
    '',
    `${summary.date}, ${summary.machine}, load average ${load.before} before and ${load.after} after; ${versions}. ${summary.rounds === 1 ? 'One round' : `Medians of ${summary.rounds} rounds`} in one run of ${summary.minutes} minutes (\`make bench\`${scale}), in which the proxies take turns: ` +
      'one core for the proxy, one for load and backend, the same certificate and backend for all, one worker or thread each, over loopback. 32 x 8 is 32 connections with 8 streams each. ' +
      "[How it measures, and how to read it](docs/develop/benchmarks.md); [where a request's time goes](docs/develop/performance.md).",
    END,
  ].join('\n');
}

/** The README with this table in place of the one that it has; null without a place for it. */
export function withTable(readme: string, summary: Summary): string | null {
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (from < 0 || to < from) return null;
  return readme.slice(0, from) + pageOf(summary) + readme.slice(to + END.length);
}
