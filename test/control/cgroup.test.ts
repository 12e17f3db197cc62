/** What machines look like whose processes are limited in one way or another: the files as they were read there, shortened. */
import { describe, expect, test } from '@jest/globals';
import { allowedCpus, cpuQuota, memoryLimit, type ReadFile } from '../../src/control/cgroup.ts';

const reader =
  (files: Readonly<Record<string, string>>): ReadFile =>
  (path) =>
    files[path] ?? null;

const V2 = '25 21 0:23 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n';
const MI = 1024 ** 2;

interface Golden {
  readonly name: string;
  readonly files: Readonly<Record<string, string>>;
  readonly cpu: readonly [number, string] | null;
  readonly memory: readonly [number, string] | null;
}

const GOLDEN: readonly Golden[] = [
  {
    name: 'docker, version 2, a namespace of its own: --cpus 1.5 --memory 512m',
    files: {
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': V2,
      '/sys/fs/cgroup/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/memory.max': '536870912\n',
      '/sys/fs/cgroup/memory.high': 'max\n',
    },
    cpu: [1.5, '/sys/fs/cgroup/cpu.max'],
    memory: [512 * MI, '/sys/fs/cgroup/memory.max'],
  },
  {
    name: 'docker, version 2, without limits',
    files: {
      '/proc/self/cgroup': '0::/\n',
      '/proc/self/mountinfo': V2,
      '/sys/fs/cgroup/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/memory.max': 'max\n',
    },
    cpu: null,
    memory: null,
  },
  {
    name: "docker, version 1, the host's namespace: the mount begins at the container's group",
    files: {
      '/proc/self/cgroup': '11:memory:/docker/0f1e\n4:cpu,cpuacct:/docker/0f1e\n1:name=systemd:/docker/0f1e\n',
      '/proc/self/mountinfo':
        '734 725 0:29 /docker/0f1e /sys/fs/cgroup/cpu,cpuacct ro,nosuid - cgroup cgroup rw,cpu,cpuacct\n735 725 0:30 /docker/0f1e /sys/fs/cgroup/memory ro,nosuid - cgroup cgroup rw,memory\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '200000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '268435456\n',
    },
    cpu: [2, '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us'],
    memory: [256 * MI, '/sys/fs/cgroup/memory/memory.limit_in_bytes'],
  },
  {
    name: 'a pod on version 1, burstable: the pod above the container has the smaller limit',
    files: {
      '/proc/self/cgroup': '5:memory:/kubepods/burstable/podab/cd\n3:cpu,cpuacct:/kubepods/burstable/podab/cd\n',
      '/proc/self/mountinfo':
        '30 25 0:26 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n',
      '/sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/podab/cd/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/podab/cd/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/podab/cpu.cfs_quota_us': '350000\n',
      '/sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/podab/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/memory/kubepods/burstable/podab/cd/memory.limit_in_bytes': '9223372036854771712\n',
      '/sys/fs/cgroup/memory/kubepods/burstable/podab/memory.limit_in_bytes': '1073741824\n',
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
    },
    cpu: [3.5, '/sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/podab/cpu.cfs_quota_us'],
    memory: [1024 * MI, '/sys/fs/cgroup/memory/kubepods/burstable/podab/memory.limit_in_bytes'],
  },
  {
    name: "a pod on version 2, seen from the node's namespace",
    files: {
      '/proc/self/cgroup': '0::/kubepods.slice/kubepods-podab.slice/cri-containerd-cd.scope\n',
      '/proc/self/mountinfo': V2,
      '/sys/fs/cgroup/kubepods.slice/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/kubepods.slice/kubepods-podab.slice/cpu.max': '50000 100000\n',
      '/sys/fs/cgroup/kubepods.slice/kubepods-podab.slice/cri-containerd-cd.scope/cpu.max': '50000 100000\n',
      '/sys/fs/cgroup/kubepods.slice/kubepods-podab.slice/cri-containerd-cd.scope/memory.max': '536870912\n',
      '/sys/fs/cgroup/kubepods.slice/memory.max': '24000000000\n',
    },
    cpu: [0.5, '/sys/fs/cgroup/kubepods.slice/kubepods-podab.slice/cri-containerd-cd.scope/cpu.max'],
    memory: [512 * MI, '/sys/fs/cgroup/kubepods.slice/kubepods-podab.slice/cri-containerd-cd.scope/memory.max'],
  },
  {
    name: 'systemd: CPUQuota=250% of the unit, less of the slice above it, MemoryHigh below MemoryMax',
    files: {
      '/proc/self/cgroup': '0::/system.slice/system-edge.slice/spooky@a\\x2db.service\n',
      '/proc/self/mountinfo': V2,
      '/sys/fs/cgroup/system.slice/system-edge.slice/spooky@a\\x2db.service/cpu.max': '250000 100000\n',
      '/sys/fs/cgroup/system.slice/system-edge.slice/cpu.max': '20000 10000\n',
      '/sys/fs/cgroup/system.slice/cpu.max': 'max 100000\n',
      '/sys/fs/cgroup/system.slice/system-edge.slice/spooky@a\\x2db.service/memory.max': '2147483648\n',
      '/sys/fs/cgroup/system.slice/system-edge.slice/spooky@a\\x2db.service/memory.high': '1610612736\n',
    },
    cpu: [2, '/sys/fs/cgroup/system.slice/system-edge.slice/cpu.max'],
    memory: [1536 * MI, '/sys/fs/cgroup/system.slice/system-edge.slice/spooky@a\\x2db.service/memory.high'],
  },
  {
    name: 'hybrid: controllers of version 1 beside a hierarchy of version 2 that has none',
    files: {
      '/proc/self/cgroup':
        '9:name=systemd:/user.slice\n4:memory:/user.slice/a\n2:cpuacct:/\n1:cpu:/user.slice/a\n0::/user.slice/user-0.slice\n',
      '/proc/self/mountinfo':
        '32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n' +
        '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n',
      '/sys/fs/cgroup/cpu/user.slice/a/cpu.cfs_quota_us': '20000\n',
      '/sys/fs/cgroup/cpu/user.slice/a/cpu.cfs_period_us': '100000\n',
      '/sys/fs/cgroup/cpuacct/user.slice/a/cpu.cfs_quota_us': '1\n',
      '/sys/fs/cgroup/memory/user.slice/a/memory.limit_in_bytes': '536870912\n',
    },
    cpu: [0.2, '/sys/fs/cgroup/cpu/user.slice/a/cpu.cfs_quota_us'],
    memory: [512 * MI, '/sys/fs/cgroup/memory/user.slice/a/memory.limit_in_bytes'],
  },
  {
    name: 'a group outside of the namespace: what is mounted is all that can be seen',
    files: {
      '/proc/self/cgroup': '0::/../../other\n',
      '/proc/self/mountinfo': '25 21 0:23 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n',
      '/sys/fs/cgroup/cpu.max': '400000 100000\n',
    },
    cpu: [4, '/sys/fs/cgroup/cpu.max'],
    memory: null,
  },
  {
    name: 'a mount whose path has a blank',
    files: {
      '/proc/self/cgroup': '0::/a\n',
      '/proc/self/mountinfo': '25 21 0:23 / /mnt/control\\040groups rw shared:4 - cgroup2 cgroup rw\n',
      '/mnt/control groups/a/cpu.max': '100000 100000\n',
    },
    cpu: [1, '/mnt/control groups/a/cpu.max'],
    memory: null,
  },
  {
    name: 'no /proc/self/cgroup',
    files: { '/proc/self/mountinfo': V2, '/sys/fs/cgroup/cpu.max': '100000 100000\n' },
    cpu: null,
    memory: null,
  },
  {
    name: 'nothing mounted',
    files: { '/proc/self/cgroup': '0::/a\n', '/proc/self/mountinfo': '21 1 0:20 / /proc rw - proc proc rw\n' },
    cpu: null,
    memory: null,
  },
  {
    name: 'files with what nobody expects',
    files: {
      '/proc/self/cgroup': '0::/a\nnonsense\n::\n',
      '/proc/self/mountinfo': `${V2}nonsense\n - - \n`,
      '/sys/fs/cgroup/a/cpu.max': '',
      '/sys/fs/cgroup/cpu.max': '100000 0',
      '/sys/fs/cgroup/a/memory.max': '-5',
      '/sys/fs/cgroup/memory.max': 'much',
    },
    cpu: null,
    memory: null,
  },
];

describe('limits of control groups', () => {
  test.each(GOLDEN)('$name', ({ files, cpu, memory }) => {
    const read = reader(files);
    expect(cpuQuota(read)).toEqual(cpu === null ? null : { value: cpu[0], file: cpu[1] });
    expect(memoryLimit(read)).toEqual(memory === null ? null : { value: memory[0], file: memory[1] });
  });

  test('a group of any depth is looked at as far as 64 folders up', () => {
    const seen: string[] = [];
    const read: ReadFile = (path) => {
      seen.push(path);
      return { '/proc/self/cgroup': `0::${'/x'.repeat(1000)}\n`, '/proc/self/mountinfo': V2 }[path] ?? null;
    };
    expect(cpuQuota(read)).toBeNull();
    expect(seen.length).toBeLessThan(80);
  });
});

test.each<[string, number | null]>([
  ['Cpus_allowed:\tf\nCpus_allowed_list:\t0-3\n', 4],
  ['Cpus_allowed_list:\t0,2-3,8\n', 4],
  ['Cpus_allowed_list:\t5\n', 1],
  ['Cpus_allowed_list:\t\n', null],
  ['Name:\tnode\n', null],
])('the affinity mask %j has room for %j', (status, cpus) => {
  expect(allowedCpus(reader({ '/proc/self/status': status }))).toBe(cpus);
});

// As on a virtual machine to which CPUs can be added: the kernel names all that it could ever have.
test.each<[string, string, number]>([
  ['0-127', '0-3\n', 4],
  ['0-31', '0-7,16-23\n', 16],
  ['2-3', '0-3\n', 2],
  ['0-1', '\n', 2],
])('the affinity mask %s where %j are online has room for %d', (mask, online, cpus) => {
  const files = { '/proc/self/status': `Cpus_allowed_list:\t${mask}\n`, '/sys/devices/system/cpu/online': online };
  expect(allowedCpus(reader(files))).toBe(cpus);
});
