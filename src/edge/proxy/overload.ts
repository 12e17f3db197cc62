/**
 * Whether a worker has too much to do. It is the engine that sheds: a turn that could not read all that had come begins hardly any handshake,
 * newcomers wait, and when that lasts those that have waited for a quarter of a second (or are too many) are refused. What is here looks whether
 * that happens, and says so.
 */
import type { Clock } from '../../lib/clock.ts';

export const LOOK_MS = 250;
/** After so many looks at which nobody was turned away it is over. */
export const CALM = 4;

export class Overload {
  private turnedAway = 0;
  private calm = CALM;

  /** Newcomers are turned away. */
  get sheds(): boolean {
    return this.calm < CALM;
  }

  /** `turnedAway`: newcomers, so far. Whether `sheds` is another than before. */
  look(turnedAway: number): boolean {
    const before = this.sheds;
    this.calm = turnedAway > this.turnedAway ? 0 : this.calm + 1;
    // A listener that is gone has taken its count with it.
    this.turnedAway = turnedAway;
    return this.sheds !== before;
  }
}

/** Looks again and again; `changed` is called when it begins and when it is over. */
export function watchOverload(overload: Overload, clock: Clock, turnedAway: () => number, changed: () => void): () => void {
  let cancel = (): void => {};
  const look = (): void => {
    if (overload.look(turnedAway())) changed();
    cancel = clock.after(LOOK_MS, look);
  };
  cancel = clock.after(LOOK_MS, look);
  return () => cancel();
}
