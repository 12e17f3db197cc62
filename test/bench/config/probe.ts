/**
 * Loaded into every process of `serve` by NODE_OPTIONS, so that the product needs no hook for it. Each millisecond it looks how long the event
 * loop was away: by the clock, which counts what else the machine does, and by the CPU time of the thread, which does not. SIGUSR2 writes down the
 * longest of both and begins anew. A worker also writes down when it has taken up lists of endpoints, which it tells nobody.
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
  const write = (name: string, content: object): void => {
    const path = join(folder, name);
    writeFileSync(`${path}.new`, JSON.stringify(content));
    renameSync(`${path}.new`, path);
  };
  let lists = 0;
  const heard = (message: unknown): void => {
    const { type } = message as { readonly type?: unknown };
    if (type === 'endpoints')
      setImmediate(() => write(`${process.pid}.lists`, { count: ++lists, at: performance.timeOrigin + performance.now() }));
  };
  // After the worker's own: messages that come before anybody listens are kept for the first who does.
  const begin = (name: string | symbol): void => {
    if (name !== 'message') return;
    process.off('newListener', begin);
    setImmediate(() => process.on('message', heard));
  };
  if (process.connected) process.on('newListener', begin);
  let count = 0;
  process.on('SIGUSR2', () => {
    const { user, system } = process.cpuUsage();
    write(String(process.pid), { count: ++count, wallMs, cpuMs, totalMs: (user + system) / 1000 });
    wallMs = 0;
    cpuMs = 0;
  });
}
