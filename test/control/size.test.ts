import { availableParallelism, totalmem } from 'node:os';
import { describe, expect, test } from '@jest/globals';
import { machineOf, workerCount, workerMemory, type Machine } from '../../src/control/size.ts';

const MI = 1024 ** 2;
const machine = (cpus: number, quota: number | null, memory = 8192 * MI): Machine => ({
  cpus,
  quota: quota === null ? null : { value: quota, file: '/q' },
  memory: { value: memory, file: '/m' },
});

describe('how many workers', () => {
  test.each<[number, number | null, number]>([
    [8, null, 8],
    [1, null, 1],
    [8, 4, 4],
    // To the nearest whole number, at least one, and never more than there are CPUs.
    [8, 0.05, 1],
    [8, 1.4, 1],
    [8, 1.5, 2],
    [8, 2.49, 2],
    [2, 3.5, 2],
    [2, 64, 2],
    [512, null, 256],
    [512, 300, 256],
  ])('%d CPUs and a quota of %j: %d', (cpus, quota, count) => {
    expect(workerCount('auto', machine(cpus, quota)).count).toBe(count);
  });

  test('and why', () => {
    expect(workerCount(3, machine(8, null))).toEqual({ count: 3, why: 'as set' });
    expect(workerCount('auto', machine(8, null)).why).toBe('auto: 8 CPUs may be used');
    expect(workerCount('auto', machine(1, 3)).why).toBe('auto: 1 CPU may be used');
    expect(workerCount('auto', machine(8, 1.5)).why).toBe('auto: the CPU quota is 1.5 cores (/q)');
    expect(workerCount('auto', machine(8, 1)).why).toBe('auto: the CPU quota is 1 core (/q)');
  });
});

describe('how much memory each may take', () => {
  test('auto: an equal part of four fifths, without what the main process needs; the hard limit is a quarter above', () => {
    expect(workerMemory('auto', 2, machine(2, null, 1024 * MI))).toEqual({
      soft: Math.floor((1024 * 0.8 - 128) * MI * 0.5),
      hard: Math.floor((1024 * 0.8 - 128) * MI * 0.5) + Math.ceil(Math.floor((1024 * 0.8 - 128) * MI * 0.5) / 4),
      why: 'auto: of 1Gi (/m) for 2 workers',
    });
  });

  test('auto: never less than a worker at rest takes', () => {
    expect(workerMemory('auto', 4, machine(4, null, 256 * MI))).toMatchObject({ soft: 128 * MI, hard: 160 * MI });
  });

  test('all hard limits and the main process fit into the memory that there is', () => {
    for (const workers of [1, 2, 8, 64]) {
      const memory = (256 + 512 * workers) * MI;
      const { hard } = workerMemory('auto', workers, machine(workers, null, memory));
      expect(hard * workers + 128 * MI).toBeLessThanOrEqual(memory);
    }
  });

  test('a size, and off', () => {
    expect(workerMemory(200 * MI, 2, machine(2, null))).toEqual({ soft: 200 * MI, hard: 250 * MI, why: 'as set' });
    expect(workerMemory(null, 2, machine(2, null))).toEqual({ soft: 0, hard: 0, why: 'off' });
  });
});

test('this machine', () => {
  const here = machineOf();
  expect(here.cpus).toBeGreaterThanOrEqual(availableParallelism());
  expect(here.memory.value).toBeLessThanOrEqual(totalmem());
});

test('a machine without /proc is what Node says', () => {
  expect(machineOf(() => null)).toEqual({
    cpus: availableParallelism(),
    quota: null,
    memory: { value: totalmem(), file: '/proc/meminfo' },
  });
});
