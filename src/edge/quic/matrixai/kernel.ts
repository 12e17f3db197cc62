import { readFileSync, readdirSync, readlinkSync } from 'node:fs';

/** Datagrams that the kernel dropped at this process's sockets on `port`: the last column of /proc/net/udp. 0 where there is no such file. */
export function kernelDrops(port: number): number {
  const own = ownSockets();
  let drops = 0;
  for (const file of ['/proc/self/net/udp', '/proc/self/net/udp6']) {
    for (const line of readLines(file)) {
      const columns = line.trim().split(/\s+/);
      const local = columns[1] ?? '';
      if (Number.parseInt(local.slice(local.indexOf(':') + 1), 16) !== port) continue;
      if (own.has(columns[9] ?? '')) drops += Number(columns[12] ?? 0) || 0;
    }
  }
  return drops;
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'latin1').split('\n').slice(1);
  } catch {
    return [];
  }
}

function ownSockets(): Set<string> {
  const out = new Set<string>();
  let fds: string[];
  try {
    fds = readdirSync('/proc/self/fd');
  } catch {
    return out;
  }
  for (const fd of fds) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      if (target.startsWith('socket:[')) out.add(target.slice(8, -1));
    } catch {
      // Closed in the meantime.
    }
  }
  return out;
}
