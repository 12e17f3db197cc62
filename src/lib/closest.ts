/** The number of single edits (insert, delete, replace, swap of neighbours) between two words; `limit + 1` when there are more than `limit`. */
export function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((last[j] as number) + 1, (row[j - 1] as number) + 1, (last[j - 1] as number) + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, (before[j - 2] as number) + 1);
      row.push(cost);
    }
    before = last;
    last = row;
  }
  return Math.min(last[b.length] as number, limit + 1);
}

/** The candidate that `word` was probably meant to be, or null: letter case counts for nothing, and about a third of the letters may differ; or it was cut short. */
export function closest(word: string, candidates: Iterable<string>): string | null {
  if (word.length > 64) return null;
  const wanted = word.toLowerCase();
  // Of two letters nearly everything is one edit away.
  const limit = wanted.length < 3 ? 0 : Math.max(1, Math.floor(wanted.length / 3));
  let best: string | null = null;
  let bestDistance = limit + 1;
  for (const c of candidates) {
    const d = editDistance(wanted, c.toLowerCase(), limit);
    if (d < bestDistance) {
      best = c;
      bestDistance = d;
    }
  }
  if (best !== null || wanted.length < 3) return best;
  const longer = [...candidates].filter((c) => c.toLowerCase().startsWith(wanted));
  return longer.length === 1 ? (longer[0] as string) : null;
}
