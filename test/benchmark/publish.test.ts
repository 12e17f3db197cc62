/** The table that the README shows. */
import { describe, expect, test } from '@jest/globals';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pageOf, withTable } from '../bench/proxy/publish/page.ts';
import { incomplete, machineClass, summaryOf, type Summary } from '../bench/proxy/publish/summary.ts';
import { ROWS } from '../bench/proxy/rows.ts';
import type { Saved } from '../bench/proxy/save.ts';
import { ROOT } from '../bench/proxy/setting.ts';
import { ratiosOf, type Result } from '../bench/proxy/table.ts';

const figures = (cpuMicros: number, failedPerMille = 0, share?: number | null): Result => ({
  figures: { requestsPerSecond: 1, cpuMicros, mainMicros: 0, requestsPerCpuSecond: 1e6 / cpuMicros, rounds: [cpuMicros], failedPerMille },
  ...(share === undefined ? {} : { share }),
});

function resultsOf(name: string): Record<string, Result> {
  const delay = (p99: number): Result => ({ latency: { offered: 3000.4, p50: 210, p99, rounds: [p99] } });
  if (name === 'latency')
    return { native: delay(900), matrixai: delay(1000), nginx: delay(1800), haproxy: delay(900), caddy: { failed: 'it\nis late' } };
  if (name === 'idle') return { native: { idleBytes: 25600 }, nginx: { idleBytes: 51200 } };
  if (name === 'workers')
    return { native: figures(10), 'native x2': figures(10, 0, 0.53), 'matrixai x2': figures(10, 0, null), nginx: { skipped: 'not asked' } };
  if (name === 'rebind') return { native: figures(10), haproxy: figures(20, 25) };
  return { native: figures(10), matrixai: figures(40), nginx: figures(15), haproxy: figures(20), caddy: figures(123.456) };
}

const saved: Saved = {
  when: '2026-11-21T13:00:00.000Z',
  machine: { cpu: 'Some CPU', cores: 2, gib: 24, kernel: '6.18.44-fc-v595', node: '26.1.0' },
  load: { before: '0.1 0.2 0.3', after: '1.0 0.9 0.8' },
  rounds: 3,
  scale: 1,
  profile: false,
  minutes: 15.2,
  versions: { native: '0.30.0', matrixai: '0.18.0', nginx: '1.30.6', haproxy: '3.2.26', caddy: '2.11.4' },
  rows: ROWS.map(({ name, title }) => ({
    name,
    title,
    results: resultsOf(name),
    ratios: ratiosOf({ name, title, results: resultsOf(name) }),
  })),
};

describe('a run to show', () => {
  test('has every row and every proxy', () => {
    expect(incomplete(saved)).toBeNull();
    expect(incomplete({ ...saved, profile: true })).toBe('it was a run with PROFILE=1');
    expect(incomplete({ ...saved, rows: saved.rows.slice(2) })).toBe('rows are missing: m1, m8');
    const [first, ...rest] = saved.rows as [Saved['rows'][number], ...Saved['rows'][number][]];
    const { caddy: _, ...results } = first.results;
    expect(incomplete({ ...saved, rows: [{ ...first, results }, ...rest] })).toBe('proxies are missing: caddy');
    const { caddy: __, ...versions } = saved.versions;
    expect(incomplete({ ...saved, versions })).toBe('proxies did not start: caddy');
  });

  test('is one of make bench: other results lie in the same folder', () => {
    expect([null, 1, 'x'].map((json) => incomplete(json as unknown as Saved))).toEqual(
      ['', '', ''].map(() => 'it is no result of make bench'),
    );
    const other = { options: {}, results: [], handshakes: null };
    expect(incomplete(other as unknown as Saved)).toBe('it is no result of make bench');
  });

  test('medians stay, with where they come from', () => {
    const summary = summaryOf(saved);
    expect(summary).toMatchObject({
      date: '2026-11-21',
      machine: 'Some CPU, 2 cores, 24 GiB, Linux 6.18.44',
      rounds: 3,
      versions: { node: '26.1.0' },
    });
    const results = (name: string) => summary.rows.find((row) => row.name === name)?.results;
    expect(results('m1')?.['caddy']).toEqual({ requestsPerCpuSecond: 8100 });
    expect(results('rebind')?.['haproxy']).toEqual({ requestsPerCpuSecond: 50_000, failedPerMille: 25 });
    expect(results('workers')).toMatchObject({ 'native x2': { share: 0.53 }, nginx: { skipped: 'not asked' } });
    expect(results('latency')).toMatchObject({ native: { p50: 210, p99: 900, offered: 3000 }, caddy: { failed: 'it' } });
    expect(machineClass({ ...saved.machine, kernel: '6.1' })).toBe('Some CPU, 2 cores, 24 GiB, Linux 6.1');
  });
});

describe('the table', () => {
  const lines = pageOf(summaryOf(saved)).split('\n');
  const row = (title: string): string | undefined => lines.find((line) => line.startsWith(`| ${title}`));

  test('a row for each, peers with how much more native does', () => {
    expect(lines.find((l) => l.includes('HAProxy |'))).toBe('|  | `native` | two workers | `matrixai` | nginx | HAProxy | Caddy |');
    expect(row('100 B, 32 x 1 ')).toBe('| 100 B, 32 x 1 | 100,000 |  | 25,000 | 66,670 (1.50) | 50,000 (2.00) | 8,100 (12.35) |');
    expect(row('rebinding')).toBe('| rebinding storm, 32 x 8 | 100,000 |  |  |  | 50,000, 2.5 % failed (2.00) |  |');
    expect(row('256 x 2')).toBe('| 256 x 2 on workers | 100,000 | 100,000, 53 % on one |  |  |  |  |');
    expect(row('p50')).toBe(
      '| p50 / p99 at 3,000 requests/s, half of what the slowest peer can do | 210 / 900 µs |  | 210 / 1,000 µs | 210 / 1,800 µs (2.00) | 210 / 900 µs (1.00) | failed |',
    );
    expect(row('idle')).toBe('| idle connection | 25.0 KiB |  |  | 50.0 KiB (2.00) |  |  |');
  });

  test('says when, on what, under which load, and how', () => {
    const text = lines.join('\n');
    expect(text).toContain('2026-11-21, Some CPU, 2 cores, 24 GiB, Linux 6.18.44, load average 0.1 0.2 0.3 before and 1.0 0.9 0.8 after');
    expect(text).toContain('Medians of 3 rounds in one run of 15.2 minutes (`make bench`)');
    expect(pageOf({ ...summaryOf(saved), scale: 0.3 })).toContain('(`make bench`, SCALE=0.3)');
  });

  test('takes the place of the one before, and nothing else', () => {
    const readme = `before\n${pageOf({ ...summaryOf(saved), rows: [] })}\nafter\n`;
    expect(withTable(readme, summaryOf(saved))).toBe(`before\n${lines.join('\n')}\nafter\n`);
    expect(withTable('nothing', summaryOf(saved))).toBeNull();
  });

  test('is in the README as the summary says it; without one there is a place for it', () => {
    const file = join(ROOT, 'test', 'bench', 'summary.json');
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    expect(withTable(readme, summaryOf(saved))).not.toBeNull();
    const kept = existsSync(file) ? withTable(readme, JSON.parse(readFileSync(file, 'utf8')) as Summary) : readme;
    expect(kept).toBe(readme);
  });
});
