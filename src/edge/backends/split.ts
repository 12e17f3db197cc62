/** Turns that the beginning may be ahead: of a longer round it is as good a part. */
const ROUND = 1000;

/**
 * The choice of a group by weight, whatever its number of endpoints. By turns (smooth weighted round robin), or by the balancing key's hash,
 * so that a key keeps its side of a canary.
 */
export class Split {
  private readonly weights: readonly number[];
  private readonly total: number;
  private readonly current: Float64Array;

  /** `start` in [0, 1): where in the round this worker begins. All at its beginning would leave few requests to many workers to the heaviest group. */
  constructor(weights: readonly number[], start = 0) {
    this.weights = weights;
    this.total = weights.reduce((a, b) => a + b, 0);
    this.current = new Float64Array(weights.length);
    if (weights.length < 2 || this.total === 0) return;
    const round = this.total / weights.reduce(commonDivisor);
    for (let turns = Math.floor(start * Math.min(round, ROUND)); turns > 0; turns--) this.byTurns();
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

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
