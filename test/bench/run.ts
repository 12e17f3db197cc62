/**
 * `make bench-micro [BENCH=words]`: nanoseconds and bytes of allocation per operation for every case of every *.bench.ts here.
 * A case runs its operation n times in one call, so that the loop costs nothing; the best of several rounds counts.
 */
import { readdirSync } from 'node:fs';

export interface Case {
  readonly name: string;
  run(n: number): void;
}

const ROUND_MS = 60;
const ROUNDS = 7;
/** Below the young generation that the Makefile asks for: no collection falls into a measurement. */
const MAX_ALLOCATION = 48 * 1024 * 1024;

const collect = (globalThis as { gc?: () => void }).gc ?? ((): void => {});

const time = (c: Case, n: number): number => {
  const began = performance.now();
  c.run(n);
  return performance.now() - began;
};

/** How many operations take about a round; warms the code up on the way. */
const calibrate = (c: Case): number => {
  let n = 1;
  for (;;) {
    const ms = time(c, n);
    if (ms >= ROUND_MS || n >= 2 ** 30) return n;
    n = ms < 1 ? n * 8 : Math.ceil((n * ROUND_MS * 1.1) / ms);
  }
};

const allocated = (): number => {
  const m = process.memoryUsage();
  return m.heapUsed + m.arrayBuffers;
};

const bytesOf = (c: Case, n: number): number => {
  let count = Math.min(n, 4096);
  for (let i = 0; i < 20; i++) {
    collect();
    const before = allocated();
    c.run(count);
    const grown = allocated() - before;
    if (grown >= 0 && grown < MAX_ALLOCATION) return grown / count;
    count = Math.max(1, count >> 1);
  }
  return Number.NaN;
};

const measure = (c: Case): { ns: number; bytes: number } => {
  const n = calibrate(c);
  let best = Infinity;
  for (let i = 0; i < ROUNDS; i++) best = Math.min(best, time(c, n));
  return { ns: (best * 1e6) / n, bytes: bytesOf(c, n) };
};

const wanted = process.argv.slice(2).map((word) => word.toLowerCase());
const files = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.bench.ts'))
  .sort();

process.stdout.write(`${'case'.padEnd(64)} ${'ns/op'.padStart(12)} ${'bytes/op'.padStart(10)}\n`);
let [tried, failed] = [0, 0];
for (const file of files) {
  const { cases } = (await import(`./${file}`)) as { cases: readonly Case[] };
  for (const c of cases) {
    if (wanted.length > 0 && !wanted.some((word) => `${file} ${c.name}`.toLowerCase().includes(word))) continue;
    tried++;
    try {
      const { ns, bytes } = measure(c);
      process.stdout.write(`${c.name.padEnd(64)} ${ns.toFixed(1).padStart(12)} ${bytes.toFixed(1).padStart(10)}\n`);
    } catch (e) {
      failed++;
      process.stdout.write(`${c.name.padEnd(64)} FAILED: ${e instanceof Error ? e.message : String(e)}\n`);
    }
  }
}
if (tried === 0) {
  process.stderr.write(`BENCH=${wanted.join(' ')}: neither a case nor a file (${files.join(', ')}) has that in its name\n`);
  process.exit(2);
}
// Engines and timers that a case left open are no reason to wait.
process.exit(failed === 0 ? 0 : 1);
