/**
 * Loaded into every process of `serve` by NODE_OPTIONS, so that the product needs no hook for it. Each millisecond it looks how long the event
 * loop was away: by the clock, which counts what else the machine does, and by the CPU time of the thread, which does not. SIGUSR2 writes down the
 * longest of both and begins anew.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.env['SPOOKY_BENCH_PROBE'];
const TICK_MS = 1;

/** Milliseconds. */
const threadCpu = (): number => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};

if (folder !== undefined) {
  let wall = performance.now();
  let cpu = threadCpu();
  let wallMs = 0;
  let cpuMs = 0;
  setInterval(() => {
    const now = performance.now();
    const used = threadCpu();
    wallMs = Math.max(wallMs, now - wall - TICK_MS);
    cpuMs = Math.max(cpuMs, used - cpu);
    wall = now;
    cpu = used;
  }, TICK_MS).unref();
  let count = 0;
  process.on('SIGUSR2', () => {
    const { user, system } = process.cpuUsage();
    const path = join(folder, String(process.pid));
    writeFileSync(`${path}.new`, JSON.stringify({ count: ++count, wallMs, cpuMs, totalMs: (user + system) / 1000 }));
    renameSync(`${path}.new`, path);
    wallMs = 0;
    cpuMs = 0;
  });
}
