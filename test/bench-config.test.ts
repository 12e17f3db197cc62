/** What `make bench-config` is asked, what it writes, and how it counts. */
import { afterAll, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { loadPaths } from '../src/control/sources/load.ts';
import { compile } from '../src/control/compile/index.ts';
import { Cluster } from './bench/config/cluster.ts';
import { Documents } from './bench/config/documents.ts';
import { quantile, spreadOf, tableOf } from './bench/config/figures.ts';
import { readOptions, shapeOf, type Options } from './bench/config/options.ts';
import { childrenOf } from './bench/proxy/stat.ts';

const root = mkdtempSync(join(tmpdir(), 'spooky-bench-config-'));
afterAll(() => rmSync(root, { recursive: true }));

test('options', () => {
  expect(readOptions({})).toMatchObject({ upstreams: 10_000, endpoints: 5, hosts: 2000, changes: 100, certificates: 1000, workers: 2 });
  expect(readOptions({ LAYOUTS: 'one-host,one-file' })).toMatchObject({ layouts: ['one-file', 'one-host'] });
  expect(readOptions({ LAYOUTS: 'two-files' })).toMatch(/^LAYOUTS=two-files: layouts are one-file, /);
  expect(readOptions({ CHANGES: 'many' })).toBe('CHANGES=many: a whole number from 1 to 10000 is wanted');
});

test('shares of values', () => {
  expect(quantile([5, 1, 3], 0.5)).toBe(3);
  expect(spreadOf(Array.from({ length: 100 }, (_, i) => i + 1))).toEqual({ p50: 50, p99: 99, max: 100 });
  expect(quantile([], 0.5)).toBeNaN();
});

test('the table has a line for each kind of change', () => {
  const change = { wallMs: 90, mainCpuMs: 20, workerCpuMs: 5, mainPauseMs: 10, workerPauseMs: 2, workerPauseWallMs: 3 };
  const start = { wallMs: 4000, mainCpuMs: 3500, workerCpuMs: 900, mainMiB: 350, workerMiB: 300 };
  const text = tableOf([{ layout: 'one-file', start, changes: { route: [change], endpoint: [change] }, mainMiB: 400, workerMiB: 310 }]);
  expect(text).toContain('| one-file: route | 90.0 / 90.0 / 90.0 | 20.0 / 20.0 / 20.0 |');
  expect(text.split('\n')).toHaveLength(8);
});

test.each(['one-file', 'many-files', 'one-host', 'certificates'] as const)(
  '%s: what is written is a configuration without a fault, and changes change it',
  async (layout) => {
    const options = readOptions({ UPSTREAMS: '40', HOSTS: '8', CERTIFICATES: '5' }) as Options;
    const shape = shapeOf(layout, options);
    const documents = new Documents(mkdtempSync(join(root, layout)), shape);
    const read = async () => {
      const { state } = await loadPaths([documents.folder], { cwd: '/' });
      const compiled = compile(state.set, { standalone: true });
      expect([...state.problems, ...compiled.problems].filter((p) => p.severity === 'error')).toEqual([]);
      return { set: state.set, compiled };
    };
    const { set, compiled } = await read();
    expect(set.upstreams.size).toBe(shape.upstreams);
    expect(readdirSync(documents.folder).filter((name) => name.startsWith('upstreams-'))).toHaveLength(shape.files);
    expect([...compiled.parts.values()].filter((p) => p.kind === 'certificate')).toHaveLength(shape.certificates);
    const hashes = async () => new Set((await read()).compiled.parts.keys());
    const before = await hashes();
    documents.endpoint(3)();
    expect(await hashes()).toEqual(before);
    documents.route(3)();
    expect(await hashes()).not.toEqual(before);
    const routed = await hashes();
    if (layout === 'certificates') {
      documents.renew(1)();
      expect(await hashes()).not.toEqual(routed);
    }
  },
);

test('cluster: the same as objects, and changes change them', async () => {
  const cluster = await Cluster.start(shapeOf('cluster', readOptions({ UPSTREAMS: '40', HOSTS: '8' }) as Options));
  try {
    const { server } = cluster;
    expect(['upstreams', 'services', 'endpointslices'].map((kind) => server.list(kind).length)).toEqual([40, 40, 40]);
    const text = (kind: string, name: string): string => JSON.stringify(server.get(kind, 'team-3', name));
    expect(text('upstreams', 'upstream-3')).toContain('"/service-3"');
    const slice = text('endpointslices', 'slice-3');
    const [route, endpoint] = [cluster.route(3), cluster.endpoint(3)];
    // Prepared, and not written yet.
    expect(text('endpointslices', 'slice-3')).toBe(slice);
    route();
    endpoint();
    expect(text('upstreams', 'upstream-3')).toContain('"/service-3/v1"');
    expect(text('endpointslices', 'slice-3')).not.toBe(slice);
    expect(slice.match(/"10\.0\.3\.[0-9]+"/g)).toHaveLength(5);
  } finally {
    await cluster.stop();
  }
});

test('told to end, it leaves neither a process nor a folder', async () => {
  const temporary = join(root, 'told-to-end');
  mkdirSync(temporary);
  const child = spawn(process.execPath, ['--no-warnings', join(import.meta.dirname, 'bench/config/run.ts')], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: temporary, LAYOUTS: 'one-file', UPSTREAMS: '10', HOSTS: '10', CHANGES: '10000' },
  });
  try {
    const ended = once(child, 'exit');
    const lines = createInterface({ input: child.stderr });
    await once(lines, 'line');
    const begun = childrenOf(child.pid as number);
    expect(begun).toHaveLength(1);
    expect(readdirSync(temporary).some((name) => name.startsWith('spooky-config-'))).toBe(true);
    child.kill('SIGTERM');
    expect((await ended)[0]).toBe(130);
    expect([begun.map((pid) => existsSync(`/proc/${pid}`)), readdirSync(temporary)]).toEqual([[false], []]);
  } finally {
    child.kill('SIGKILL');
  }
}, 60_000);
