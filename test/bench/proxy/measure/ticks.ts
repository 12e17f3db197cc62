/** What a proxy uses while something is done. */
import type { Subject } from '../setting.ts';
import { cpuTicks } from '../stat.ts';

export interface Used<T> {
  readonly result: T;
  readonly ticks: number;
  readonly mainTicks: number;
}

export async function using<T>(subject: Subject, work: () => Promise<T>): Promise<Used<T>> {
  const [all, serving] = [cpuTicks([subject.root]), cpuTicks(subject.workers)];
  const result = await work();
  const ticks = cpuTicks([subject.root]) - all;
  return { result, ticks, mainTicks: Math.max(0, ticks - (cpuTicks(subject.workers) - serving)) };
}
