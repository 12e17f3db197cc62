/**
 * What the process's control groups leave it of the machine. A limit holds for a group and all below it, so the least of the own group's and its
 * ancestors' counts, as far up as they are mounted here. Pure: the files come from the caller, by path; null for one that is not there.
 */
import { posix } from 'node:path';

export type ReadFile = (path: string) => string | null;

/** A limit and the file that says it. */
export interface Limit {
  readonly value: number;
  readonly file: string;
}

interface Mount {
  /** The group that is seen at `at`. */
  readonly root: string;
  readonly at: string;
  /** null: the one hierarchy of version 2. */
  readonly controllers: ReadonlySet<string> | null;
}

/** Version 1 says "no limit" by the largest number of pages that there is. */
const UNLIMITED_BYTES = 2 ** 60;
const MAX_DEPTH = 64;

/** CPU time per time, in cores. */
export const cpuQuota = (read: ReadFile): Limit | null =>
  least([
    ...limits(read, null, 'cpu.max', (text) => quotaOf(text.trim().split(/\s+/))),
    ...limits(read, 'cpu', 'cpu.cfs_quota_us', (text, sibling) => quotaOf([text.trim(), sibling('cpu.cfs_period_us')?.trim() ?? ''])),
  ]);

/** Bytes: what kills, and what throttles before (memory.high). */
export const memoryLimit = (read: ReadFile): Limit | null =>
  least([
    ...limits(read, null, 'memory.max', bytesOf),
    ...limits(read, null, 'memory.high', bytesOf),
    ...limits(read, 'memory', 'memory.limit_in_bytes', bytesOf),
  ]);

/**
 * How many CPUs the scheduler may put this process on; null when /proc does not say. A process that was never bound to any has all in its mask that the
 * machine could ever have: on virtual machines that CPUs can be added to, many times those that there are.
 */
export const allowedCpus = (read: ReadFile): number | null => {
  const allowed = cpusIn(/^Cpus_allowed_list:\s*([\d,-]+)\s*$/m.exec(read('/proc/self/status') ?? '')?.[1] ?? '');
  const online = cpusIn(read('/sys/devices/system/cpu/online')?.trim() ?? '');
  if (allowed === 0) return null;
  return online === 0 ? allowed : Math.min(allowed, online);
};

/** `0-3,8`: five. */
function cpusIn(list: string): number {
  let count = 0;
  for (const range of list.split(',')) {
    const [low, high = low] = range.split('-').map(Number);
    if (range !== '' && low !== undefined && high !== undefined && high >= low) count += high - low + 1;
  }
  return count;
}

const least = (all: readonly Limit[]): Limit | null => all.reduce<Limit | null>((a, b) => (a === null || b.value < a.value ? b : a), null);

/** `150000 100000`, `max 100000`, `-1 100000`: cores, or none. */
const quotaOf = ([quota = '', period = '']: readonly string[]): number | null => {
  const cores = Number(quota) / Number(period);
  return Number.isFinite(cores) && cores > 0 ? cores : null;
};

const bytesOf = (text: string): number | null => {
  const n = Number(text.trim());
  return Number.isFinite(n) && n > 0 && n < UNLIMITED_BYTES ? n : null;
};

type Sibling = (name: string) => string | null;

/** What `name` says in the own group of a controller (null: version 2) and in each group above. */
function limits(
  read: ReadFile,
  controller: string | null,
  name: string,
  parse: (text: string, sibling: Sibling) => number | null,
): Limit[] {
  const group = groups(read('/proc/self/cgroup') ?? '').get(controller ?? '');
  if (group === undefined) return [];
  const found: Limit[] = [];
  for (const mount of mounts(read('/proc/self/mountinfo') ?? '')) {
    if (controller === null ? mount.controllers !== null : mount.controllers?.has(controller) !== true) continue;
    for (const folder of foldersOf(mount, group)) {
      const file = posix.join(folder, name);
      const text = read(file);
      const value = text === null ? null : parse(text, (sibling) => read(posix.join(folder, sibling)));
      if (value !== null) found.push({ value, file });
    }
  }
  return found;
}

/** The own group's folder and those above it, up to where the hierarchy is mounted. */
function foldersOf(mount: Mount, group: string): string[] {
  // A mount of another part of the tree, as with a group that is outside of the container's namespace (`/../..`): what is mounted is all we see.
  const inside =
    mount.root === '/' ? group : group === mount.root || group.startsWith(`${mount.root}/`) ? group.slice(mount.root.length) : '/';
  const parts = inside.split('/').filter((part) => part !== '');
  if (parts.includes('..')) return [mount.at];
  const folders: string[] = [];
  for (let n = Math.min(parts.length, MAX_DEPTH); n >= 0; n--) folders.push(posix.join(mount.at, ...parts.slice(0, n)));
  return folders;
}

/** Lines of /proc/self/cgroup, `4:cpu,cpuacct:/path`: the group by controller; version 2's is under the empty name. */
function groups(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const name of controllers.split(',')) found.set(name, path);
  }
  return found;
}

/** Lines of /proc/self/mountinfo: `36 31 0:29 ROOT AT OPTIONS [optional fields] - TYPE SOURCE SUPER_OPTIONS` */
function mounts(text: string): Mount[] {
  return text.split('\n').flatMap((line): Mount[] => {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , root, at] = before.split(' ');
    const [type, , options = ''] = after.split(' ');
    if (root === undefined || at === undefined) return [];
    const place = { root: unescape(root), at: unescape(at) };
    if (type === 'cgroup2') return [{ ...place, controllers: null }];
    return type === 'cgroup' ? [{ ...place, controllers: new Set(options.split(',')) }] : [];
  });
}

/** The kernel writes blanks and backslashes as octal numbers. */
const unescape = (path: string): string => path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
