import { DROPS, OUTCOMES, type Drop, type Outcome } from '../engine.ts';

/** What an endpoint counts: plain numbers, read by `stats()`. */
export class Counters {
  received = 0;
  receivedBytes = 0;
  readonly dropped = Object.fromEntries(DROPS.map((d) => [d, 0])) as Record<Drop, number>;
  readonly handshakes = Object.fromEntries(OUTCOMES.map((o) => [o, 0])) as Record<Outcome, number>;
  readonly answered = { retry: 0, version: 0, reset: 0, refused: 0 };
}
