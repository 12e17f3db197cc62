/** What work that is done again and again leaves behind in this process, and for how long it keeps the loop from everybody else. */
import { expect } from '@jest/globals';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { slowness } from './cost.ts';

const MIB = 1 << 20;
const SAMPLE_MS = 5;
const ATTEMPTS = 3;

const used = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** CPU milliseconds between two looks at the loop: what it is busy with, and not what it waits for while others have the machine. */
class Turns {
  private readonly took: number[] = [];
  private last = used();
  private timer = setTimeout(() => this.look(), SAMPLE_MS);

  private look(): void {
    const now = used();
    this.took.push(now - this.last);
    this.last = now;
    this.timer = setTimeout(() => this.look(), SAMPLE_MS);
  }

  /** The 99th percentile. */
  end(): number {
    clearTimeout(this.timer);
    this.took.push(used() - this.last);
    this.took.sort((a, b) => a - b);
    return this.took[Math.floor(this.took.length * 0.99)] ?? 0;
  }
}

async function settled(gc: () => void): Promise<NodeJS.MemoryUsage> {
  for (let i = 0; i < 5; i++) {
    await new Promise((done) => setImmediate(done));
    gc();
  }
  return process.memoryUsage();
}

/**
 * The heap and buffers are as they were after each pass, and so is resident memory after one of them: what the allocator keeps to itself
 * comes and goes, while what leaks grows every time. A first pass, for what is made once, is the caller's.
 */
export async function expectNothingLeft(pass: () => Promise<void>, heap = MIB): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  let grown = Infinity;
  for (let attempt = 0; attempt < ATTEMPTS && grown >= 32 * MIB; attempt++) {
    const before = await settled(gc);
    const slow = slowness();
    const turns = new Turns();
    await pass();
    const busy = turns.end();
    const after = await settled(gc);
    expect(busy / Math.max(slow, slowness())).toBeLessThan(100);
    expect(after.heapUsed - before.heapUsed).toBeLessThan(heap);
    expect(after.external - before.external).toBeLessThan(heap);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(heap);
    grown = after.rss - before.rss;
  }
  expect(grown).toBeLessThan(32 * MIB);
}
