/**
 * The choice of a group by weight, whatever its number of endpoints. By turns (smooth weighted round robin), or by the balancing key's hash,
 * so that a key keeps its side of a canary.
 */
export class Split {
  private readonly weights: readonly number[];
  private readonly total: number;
  private readonly current: Float64Array;

  constructor(weights: readonly number[]) {
    this.weights = weights;
    this.total = weights.reduce((a, b) => a + b, 0);
    this.current = new Float64Array(weights.length);
  }

  /** Index of the group; `hash` (uint32) decides when it is not negative. -1 when no group has weight. */
  choose(hash: number): number {
    if (this.total === 0) return -1;
    if (this.weights.length === 1) return 0;
    return hash < 0 ? this.byTurns() : this.byHash(hash);
  }

  private byTurns(): number {
    const current = this.current;
    let best = 0;
    for (let i = 0; i < current.length; i++) {
      current[i] = (current[i] as number) + (this.weights[i] as number);
      if ((this.weights[i] as number) > 0 && ((current[i] as number) > (current[best] as number) || this.weights[best] === 0)) best = i;
    }
    current[best] = (current[best] as number) - this.total;
    return best;
  }

  private byHash(hash: number): number {
    let point = (hash / 0x100000000) * this.total;
    for (let i = 0; i < this.weights.length; i++) {
      point -= this.weights[i] as number;
      if (point < 0) return i;
    }
    return this.weights.length - 1;
  }
}
