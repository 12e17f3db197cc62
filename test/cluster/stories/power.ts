/** The power of a node: cut at once, and given back. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, run } from '../../kit/process.ts';
import { getJson, kubectl, outside, STATE } from './cluster.ts';

const off = (node: string): string => join(STATE, `${node}.off`);
const pidOf = (node: string): number => Number(readFileSync(join(STATE, node, 'pid'), 'utf8'));

const alive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Every process of the node ends at once, and nothing comes from it or to it any more: nobody is told. */
export async function cutPower(node: string): Promise<void> {
  writeFileSync(off(node), '');
  // The cable first: what the kernel says for processes that end must not be heard.
  await outside(['ip', 'link', 'set', `to-${node}`, 'down']);
  const pid = pidOf(node);
  process.kill(pid, 'SIGKILL');
  await eventually(() => (alive(pid) ? Promise.reject(new Error(`${node} is alive`)) : Promise.resolve()));
  // Its network namespace stays here, and remembers flows as no machine would.
  await run('ip', ['netns', 'exec', node, 'conntrack', '-F']);
}

/** Resolves when kubelet says that the node is ready. */
export async function givePower(node: string): Promise<void> {
  if (!existsSync(off(node))) return;
  await outside(['ip', 'link', 'set', `to-${node}`, 'up']);
  rmSync(off(node));
  await kubectl(['wait', '--for', 'condition=Ready', `node/${node}`, '--timeout', '90s']);
}

export const isReady = async (node: string): Promise<boolean> => {
  const { status } = await getJson<{ status: { conditions: { type: string; status: string }[] } }>(['node', node]);
  return status.conditions.some(({ type, status: is }) => type === 'Ready' && is === 'True');
};
