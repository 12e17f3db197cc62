/** CPU time of this process: what else the machine does is none of its business. */
export function cpuOf<T>(run: () => T): { readonly value: T; readonly ms: number } {
  const start = process.cpuUsage();
  const value = run();
  const { user, system } = process.cpuUsage(start);
  return { value, ms: (user + system) / 1000 };
}
