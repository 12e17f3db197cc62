import { describe, expect, test } from '@jest/globals';
import { Families } from '../../../src/control/admin/families.ts';
import { METRICS } from '../../../src/control/admin/metrics.ts';
import { createProcessMetrics } from '../../../src/control/admin/process.ts';
import { chooseFormat, renderMetrics } from '../../../src/control/admin/render.ts';

const filled = (): Families => {
  const families = new Families();
  families.fold('0:1', [
    { metric: 'requests_total', labels: ['default/l', 'default/u', '200', 'ok'], values: [3] },
    { metric: 'handshake_duration_seconds', labels: ['default/l'], values: [1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1.5] },
    { metric: 'connections_active', labels: ['evil"\\\n'], values: [2] },
  ]);
  families.set('config_last_success_timestamp_seconds', [], 12.5);
  return families;
};
const render = (format: 'text' | 'openmetrics'): string => [...renderMetrics(filled(), [], format)].join('');

describe('text', () => {
  test('families with help and type, labels escaped, buckets cumulative', () => {
    const text = render('text');
    expect(text).toContain('# HELP spooky_requests_total Requests answered or ended.\n# TYPE spooky_requests_total counter\n');
    expect(text).toContain('spooky_requests_total{listener="default/l",upstream="default/u",code="200",reason="ok"} 3\n');
    expect(text).toContain('spooky_connections_active{listener="evil\\"\\\\\\n"} 2\n');
    expect(text).toContain('spooky_config_last_success_timestamp_seconds 12.5\n');
    expect(text).toContain('spooky_handshake_duration_seconds_bucket{listener="default/l",le="0.001"} 1\n');
    expect(text).toContain('spooky_handshake_duration_seconds_bucket{listener="default/l",le="0.005"} 3\n');
    expect(text).toContain('spooky_handshake_duration_seconds_bucket{listener="default/l",le="1"} 3\n');
    expect(text).toContain('spooky_handshake_duration_seconds_bucket{listener="default/l",le="+Inf"} 4\n');
    expect(text).toContain(
      'spooky_handshake_duration_seconds_sum{listener="default/l"} 1.5\nspooky_handshake_duration_seconds_count{listener="default/l"} 4\n',
    );
    expect(text).not.toContain('# EOF');
  });

  test('families without rows are left out', () => {
    expect(render('text')).not.toContain('spooky_panic_total');
  });

  test('every line is a comment or a sample', () => {
    for (const line of render('text').trimEnd().split('\n'))
      expect(line).toMatch(/^(# (HELP|TYPE) [a-z0-9_]+ .+|[a-z0-9_]+(\{.*\})? \S+)$/);
  });
});

test('OpenMetrics names counters without _total, writes canonical floats, and ends', () => {
  const text = render('openmetrics');
  expect(text).toContain('# TYPE spooky_requests counter\nspooky_requests_total{');
  expect(text).toContain('le="1.0"}');
  expect(text.endsWith('# EOF\n')).toBe(true);
});

test('metrics of the process itself, once each', async () => {
  const text = [...renderMetrics(new Families(), await createProcessMetrics().read(), 'text')].join('');
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m);
  expect(text).toMatch(/^nodejs_version_info\{version="v26.*\} 1$/m);
  const types = [...text.matchAll(/^# TYPE (\S+)/gm)].map((m) => m[1]);
  expect(new Set(types).size).toBe(types.length);
});

test.each([
  ['', 'text'],
  ['*/*', 'text'],
  ['text/plain', 'text'],
  ['application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2', 'openmetrics'],
  ['application/openmetrics-text;q=0.1,text/plain;q=0.9', 'text'],
  ['application/openmetrics-text;q=0', 'text'],
])('Accept %j gives %s', (accept, format) => expect(chooseFormat(accept)).toBe(format));

test('no metric has a label whose values a client chooses', () => {
  const allowed = new Set(
    'listener upstream backend code reason outcome direction side kind limit rule state where stream endpoint result name accepted worker version engine engine_version node'.split(
      ' ',
    ),
  );
  for (const facts of Object.values(METRICS)) for (const label of facts.labels) expect(allowed).toContain(label);
});
