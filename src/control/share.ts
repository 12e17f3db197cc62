/** A listener's limit of connections holds for the node: workers get what they use and an equal part of what is free. */

/** `uses[i]` connections are open at worker i; the shares never exceed `total` together, unless the uses alone do. */
export const shareOut = (total: number, uses: readonly number[]): number[] => {
  const used = uses.reduce((sum, n) => sum + n, 0);
  const free = Math.max(0, total - used);
  const each = Math.floor(free / uses.length);
  let rest = free - each * uses.length;
  return uses.map((n) => n + each + (rest-- > 0 ? 1 : 0));
};
