/** Who holds an address that we could not bind, as far as /proc tells. */
import { readdir, readFile, readlink } from 'node:fs/promises';

const MAX_PROCESSES = 5000;

/** Sockets bound to the port: their inodes. Lines of /proc/net/udp: `sl local rem st tx:rx tr:tm retrnsmt uid timeout inode ...` */
export const inodesOfPort = (table: string, port: number, listeningOnly: boolean): string[] => {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return table.split('\n').flatMap((line) => {
    const columns = line.trim().split(/\s+/);
    const local = columns[1] ?? '';
    const inode = columns[9] ?? '';
    const fits = local.endsWith(`:${wanted}`) && (!listeningOnly || columns[3] === '0A');
    return fits && /^[1-9]\d*$/.test(inode) ? [inode] : [];
  });
};

const readText = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

const ownerOf = async (inodes: ReadonlySet<string>): Promise<string | null> => {
  const pids = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name)).slice(0, MAX_PROCESSES);
  for (const pid of pids) {
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const fd of fds) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      const command = (await readText(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ').trim() || (await readText(`/proc/${pid}/comm`)).trim();
      return `process ${pid} (${command.slice(0, 100)})`;
    }
  }
  return null;
};

/** `process 123 (nginx ...)`, or null when it cannot be known (another user's process, another namespace). */
export const holderOf = async (protocol: 'udp' | 'tcp', port: number): Promise<string | null> => {
  const tables = await Promise.all([readText(`/proc/net/${protocol}`), readText(`/proc/net/${protocol}6`)]);
  const inodes = new Set(tables.flatMap((table) => inodesOfPort(table, port, protocol === 'tcp')));
  return inodes.size === 0 ? null : ownerOf(inodes);
};
