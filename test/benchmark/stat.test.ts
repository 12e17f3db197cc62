/** How what the kernel prints is read. */
import { describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { boundPorts } from '../bench/proxy/program.ts';
import { childrenOf, cpuTicks, parseRss, parseStat, rssBytes } from '../bench/proxy/stat.ts';

describe('the kernel', () => {
  test('CPU time, whatever the name of the program is', () => {
    const rest = 'S 1 2 3 0 -1 4194304 5 0 0 0 111 22 3 4 20 0 12 0 99 1234 55';
    expect(parseStat(`42 (node) ${rest}`)).toBe(140);
    expect(parseStat(`42 (a) b (c) ${rest}`)).toBe(140);
    expect(() => parseStat('42 (node) S 1')).toThrow('not a line of /proc/PID/stat');
  });

  test('memory', () => {
    expect(parseRss('VmPeak:\t 9 kB\nVmRSS:\t   1500 kB\nRssAnon:\t 7 kB\n')).toBe(1536000);
    expect(() => parseRss('VmPeak:\t 9 kB\n')).toThrow('no VmRSS');
  });

  test('of this process, children included', () => {
    const ticks = cpuTicks([process.pid]);
    expect(ticks).toBeGreaterThan(0);
    const end = performance.now() + 10_000;
    const burn = 'const end = Date.now() + 60; while (Date.now() < end);';
    while (cpuTicks([process.pid]) <= ticks && performance.now() < end) spawnSync(process.execPath, ['-e', burn]);
    expect(cpuTicks([process.pid])).toBeGreaterThan(ticks);
    expect(rssBytes([process.pid])).toBeGreaterThan(10_000_000);
    expect(childrenOf(process.pid)).toEqual(expect.any(Array));
  });

  test('a process that is gone is an error', () => {
    const { pid } = spawnSync(process.execPath, ['-e', '']);
    expect(() => cpuTicks([pid])).toThrow('ENOENT');
  });

  test('ports that are bound', () => {
    const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  333: 0100007F:115C 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5
 1023: 00000000:1F90 0100007F:0050 07 00000000:00000000 00:00000000 00000000     0        0 6
`;
    expect([...boundPorts(table)]).toEqual([4444, 8080]);
  });
});
